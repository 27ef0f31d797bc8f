//! The demonstration, as a newcomer sees it.

use snapbox::cmd::{Command, cargo_bin};

/// Up to the night in which an SR is full: what is not begun there is told as a part of the story, and not once more as a line of the journal.
#[test]
fn a_demonstration_tells_its_story_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let program = Command::new(cargo_bin!("xensnap")).args(["demo", "--nights", "5", "--vms", "6", "--folder"]);
    let shown = program.arg(folder.path()).env_remove("XENSNAP_LOG").assert().success();
    let output = shown.get_output();
    let (told, logged) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(logged, "");
    assert!(told.contains("fills") && told.contains("in reserve: the snapshot needs up to"), "{told}");
    assert!(told.contains("objects that were in the pool before are still there"), "{told}");
}
