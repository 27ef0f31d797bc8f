//! The verb `check`, as a program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use snapbox::cmd::Command;
use snapbox::str;

use crate::support::{MAIN, POLICY};

fn folder(main: &str, policies: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies.d")).unwrap();
    put(folder.path(), "xensnap.toml", main, 0o600);
    for (name, text) in policies {
        std::fs::write(folder.path().join("policies.d").join(name), text).unwrap();
    }
    folder
}

fn put(folder: &Path, name: &str, text: &str, mode: u32) {
    std::fs::write(folder.join(name), text).unwrap();
    std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(mode)).unwrap();
}

fn check(folder: &Path) -> Command {
    let command = Command::new(snapbox::cmd::cargo_bin!("xensnap")).current_dir(folder);
    command.args(["check", "--config", "xensnap.toml"])
}

#[test]
fn a_good_configuration_is_told_and_ends_with_0() {
    let policy = format!("{POLICY}pools = [\"prod\"]\nsnapshot = {{ kind = \"memory\", fallback = \"disk\" }}\n");
    let folder = folder(MAIN, &[("a.toml", &policy), ("notes.txt", "x")]);
    check(folder.path()).assert().code(0).stderr_eq(str![""]).stdout_eq(str![[r#"
Nightly (id nightly), policies.d/a.toml:2
  next     [..] 02:30 [..] Europe/Berlin, then [..] 02:30 [..] Europe/Berlin
  selects  in pool prod: every VM
  takes    memory snapshots, or disk snapshots where that is not possible
  keeps    last 7, min 1

warning: policies.d/notes.txt is not read
--> xensnap.toml
 = help: policy files end in .toml

xensnap.toml: good for installation test: 1 policy, 2 pools, 1 warning

"#]]);
}

#[test]
fn a_wrong_configuration_ends_with_78_and_all_its_errors() {
    let one = POLICY.replace("last", "lst");
    let two = POLICY.replace("30 2 * * *", "30 25 * * *");
    let folder = folder(MAIN, &[("a.toml", &one), ("b.toml", &two)]);
    check(folder.path()).assert().code(78).stdout_eq(str![""]).stderr_eq(str![[r#"
error: unknown key `lst`
 --> policies.d/a.toml:7:15
  |
7 | retention = { lst = 7 }
  |               ^^^
  |
  = help: write `last`

error: 25 is no hour
 --> policies.d/b.toml:5:25
  |
5 | schedule = { cron = "30 25 * * *", zone = "Europe/Berlin" }
  |                         ^^
  |
  = help: write a number from 0 to 23

xensnap.toml: not usable, 2 errors

"#]]);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    check(folder.path()).assert().code(78).stderr_eq(str![[r#"
error: the file cannot be read: No such file or directory (os error 2)
--> xensnap.toml
 = help: check the path and its rights

xensnap.toml: not usable, 1 error

"#]]);
}

#[test]
fn a_policy_that_never_fires_is_a_warning_and_says_never() {
    let closed = POLICY.replace("zone =", "window = \"12:00-13:00\", zone =");
    let disabled = POLICY.replace("ightly\"", "ightly 2\"").replace("id = \"nightly 2\"", "id = \"two\"\nenabled = false");
    let folder = folder(MAIN, &[("a.toml", &closed), ("b.toml", &disabled)]);
    let text = check(folder.path()).assert().code(0).get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("next     never, its window is closed at all its times"), "{text}");
    assert!(text.contains("next     never, it is disabled"), "{text}");
    assert!(text.contains("warning: \"Nightly\" does not fire"), "{text}");
}

#[cfg(unix)]
#[test]
fn what_is_no_plain_readable_file_is_skipped_or_told() {
    let folder = folder(MAIN, &[("a.toml", POLICY), ("A.toml", "\u{0}"), (".hidden", "x")]);
    let policies = folder.path().join("policies.d");
    std::fs::create_dir(policies.join("dir.toml")).unwrap();
    std::os::unix::fs::symlink("/nowhere", policies.join("gone.toml")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(policies.join("pipe.toml")).status();
    let text = check(folder.path()).assert().code(78).get_output().stderr.clone();
    let text = String::from_utf8(text).unwrap();
    for expected in ["the file cannot be read", "policies.d/gone.toml", "the file is no text", "policies.d/A.toml"] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    for name in ["A.toml", "gone.toml"] {
        std::fs::remove_file(policies.join(name)).unwrap();
    }
    let text = check(folder.path()).assert().code(0).get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("dir.toml is not read: it is no file"), "{text}");
    assert!(made.is_err() || text.contains("pipe.toml is not read: it is no file"), "{text}");
    assert!(!text.contains(".hidden"), "{text}");
}

#[test]
fn a_written_folder_must_be_there_and_the_default_one_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "xensnap.toml", &format!("{MAIN}{POLICY}"), 0o600);
    let text = check(folder.path()).assert().code(0).get_output().stdout.clone();
    assert!(String::from_utf8(text).unwrap().contains("there is no folder policies.d"));
    put(folder.path(), "xensnap.toml", &format!("policies = \"elsewhere\"\n{MAIN}"), 0o600);
    let text = check(folder.path()).assert().code(78).get_output().stderr.clone();
    assert!(String::from_utf8(text).unwrap().contains("the folder elsewhere cannot be read"));
}

#[test]
fn doctor_reads_pools_with_the_same_reader_and_needs_nothing_else() {
    let pools = "[[pool]]\nname = \"prod\"\naddresses = [\"ftp://x\"]\nuser = \"root\"\npassword = \"hunter2\"\n";
    let folder = folder(pools, &[("a.toml", "broken")]);
    let command = Command::new(snapbox::cmd::cargo_bin!("xensnap")).current_dir(folder.path());
    let told = command.args(["doctor", "--config", "xensnap.toml"]).assert().code(1).get_output().stderr.clone();
    let told = String::from_utf8(told).unwrap();
    for expected in ["xensnap.toml:3:14", "xensnap.toml:4:1", "write `username`"] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(!told.contains("hunter2") && !told.contains("installation") && !told.contains("a.toml"), "{told}");
}

#[test]
fn the_control_socket_is_known_whatever_else_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("xensnap.toml");
    let socket = || xensnap::config::Config::socket(&main, crate::support::now());
    let default = std::path::PathBuf::from("/run/xensnap/control.sock");
    assert_eq!(socket(), default, "no file");
    std::fs::write(&main, "[daemon]\nsocket = \"my.sock\"\nsync_interval = \"never\"\n[[pool]]\nname = 7\n").unwrap();
    assert_eq!(socket(), folder.path().join("my.sock"));
    std::fs::write(&main, "[daemon]\nsocket = \"my.sock\n").unwrap();
    assert_eq!(socket(), default, "it is no TOML");
}

#[test]
fn a_password_that_everybody_may_read_is_refused() {
    let folder = folder(MAIN, &[("a.toml", POLICY)]);
    put(folder.path(), "xensnap.toml", MAIN, 0o644);
    check(folder.path()).assert().code(78).stdout_eq(str![""]).stderr_eq(str![[r#"
error: everybody on this machine may read the password in this file
 --> xensnap.toml:5:8
  |
5 | name = "prod"
  |        ^^^^^^
  |
  = help: chmod o-r xensnap.toml, or put the password into a file of its own (password_file)

xensnap.toml: not usable, 1 error

"#]]);
}

#[test]
fn a_hook_that_everybody_may_change_is_not_run() {
    let folder = folder(MAIN, &[]);
    let hook = folder.path().join("hook");
    let policy = format!("{POLICY}\n[[policy.hooks]]\nphase = \"before_run\"\ncommand = [\"{}\"]\n", hook.display());
    put(folder.path(), "policies.d/a.toml", &policy, 0o644);
    put(folder.path(), "hook", "#!/bin/sh\n", 0o757);
    check(folder.path()).assert().code(78).stderr_eq(str![[r#"
error: everybody on this machine may change this program
  --> policies.d/a.toml:11:12
   |
11 | command = ["[..]/hook"]
   |            ^[..]
   |
   = help: whoever writes there decides what the service runs: chmod o-w [..]/hook

xensnap.toml: not usable, 1 error

"#]]);
    put(folder.path(), "hook", "#!/bin/sh\n", 0o755);
    check(folder.path()).assert().code(0);
}

#[test]
fn what_everybody_may_write_decides_nothing() {
    let folder = folder(MAIN, &[("a.toml", POLICY)]);
    put(folder.path(), "policies.d/a.toml", POLICY, 0o666);
    check(folder.path()).assert().code(78).stderr_eq(str![[r#"
error: everybody on this machine may write this file
--> policies.d/a.toml
 = help: whoever writes it decides what is removed: chmod o-w policies.d/a.toml

xensnap.toml: not usable, 1 error

"#]]);
    put(folder.path(), "policies.d/a.toml", POLICY, 0o664);
    std::fs::set_permissions(folder.path().join("policies.d"), PermissionsExt::from_mode(0o777)).unwrap();
    check(folder.path()).assert().code(78).stderr_eq(str![[r#"
error: everybody on this machine may write into the folder of this file
--> policies.d/a.toml
 = help: whoever writes it decides what is removed: chmod o-w policies.d

xensnap.toml: not usable, 1 error

"#]]);
    // Nobody but a file's owner may change what is in there: /tmp.
    std::fs::set_permissions(folder.path().join("policies.d"), PermissionsExt::from_mode(0o1777)).unwrap();
    check(folder.path()).assert().code(0);
}
