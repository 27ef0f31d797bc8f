//! What the program says about itself: completions, manual pages, schemas, and policies as files. None of it needs a service.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod completions;
mod documents;
mod pages;
mod policies;

use std::collections::BTreeSet;
use std::path::Path;

use snapbox::cmd::Command;

/// The program, without a terminal and without the settings of whoever runs the tests.
fn xensnap() -> Command {
    Command::new(snapbox::cmd::cargo_bin!("xensnap")).env_remove("XENSNAP_LOG").env("TZ", "UTC")
}

fn stdout(command: Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

/// The verbs that `--help` shows.
fn verbs() -> BTreeSet<String> {
    let help = stdout(xensnap().arg("--help"));
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // What a verb is goes on in lines that are indented further.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Whether a program of this machine can be used in a test.
fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_schemas_that_are_printed_are_those_that_are_shipped() {
    for (word, name) in [("config", "xensnap.schema.json"), ("policy", "policy.schema.json")] {
        let shipped = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name));
        assert_eq!(stdout(xensnap().args(["schema", word])), shipped);
    }
}

#[test]
fn the_exit_codes_are_told() {
    let help = stdout(xensnap().arg("--help"));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for code in ["0 it is done", "1 it failed", "2 the arguments are wrong", "78 a file of the configuration"] {
        assert!(help.contains(code), "{code}\n{help}");
    }
}

#[test]
fn the_version_names_the_revision_where_there_is_a_clone() {
    let told = stdout(xensnap().arg("--version"));
    let git =
        std::process::Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=7", "HEAD"]).output();
    match git.ok().filter(|git| git.status.success() && option_env!("XENSNAP_REVISION").is_none()) {
        Some(git) => {
            let revision = String::from_utf8(git.stdout).unwrap();
            assert!(told.starts_with(&format!("xensnap {} ({}", env!("CARGO_PKG_VERSION"), revision.trim())), "{told}");
        }
        None => assert!(told.starts_with(&format!("xensnap {}", env!("CARGO_PKG_VERSION"))), "{told}"),
    }
}
