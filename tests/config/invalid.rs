//! Every file of `config/invalid` is wrong in its own way and is told so as the text beside it says. A file `main-*.toml` is read as
//! the main file, any other as a policy file. After a change of the messages: SNAPSHOTS=overwrite cargo test --test config.

use std::path::Path;

use snapbox::Data;
use xensnap::config::{Config, Diagnostics};

use crate::support::{MAIN, now, shipped, toml_files};

/// Reads a file from a folder of its own, in which nothing depends on where the project lies.
fn told(path: &Path) -> (Diagnostics, String) {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies.d");
    std::fs::create_dir(&policies).unwrap();
    let main = folder.path().join("xensnap.toml");
    let name = path.file_name().unwrap();
    if name.to_str().unwrap().starts_with("main-") {
        std::fs::copy(path, &main).unwrap();
    } else {
        std::fs::write(&main, MAIN).unwrap();
        std::fs::copy(path, policies.join(name)).unwrap();
    }
    let problems = Config::load(&main, now()).map(|_| ()).expect_err(&format!("{} is valid", path.display()));
    let text = problems.render(false).replace(&format!("{}/", folder.path().display()), "");
    (problems, text + "\n")
}

#[test]
fn every_invalid_file_is_told_what_to_write_instead() {
    let files = toml_files(&shipped().join("invalid"));
    assert!(files.len() >= 100, "{} files", files.len());
    for path in files {
        let (problems, text) = told(&path);
        assert!(problems.errors().all(|problem| !problem.help.is_empty()), "{}: no help\n{text}", path.display());
        snapbox::assert_data_eq!(text, Data::read_from(&path.with_extension("txt"), None).raw());
    }
}

#[test]
fn every_expected_message_has_its_file() {
    let folder = shipped().join("invalid");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("toml").exists(), "{} belongs to no file", path.display());
    }
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let folder = shipped().join("invalid");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let main = text("main-daemon-key.toml");
    let (cron, zone) = (text("cron-hour-24.toml"), text("zone-unknown.toml"));
    let problems = Config::from_texts(("xensnap.toml", &main), &[("a.toml", &cron), ("b.toml", &zone)], now()).unwrap_err();
    let lines: Vec<String> =
        problems.errors().map(|problem| format!("{}:{}", problem.file.display(), problem.line.unwrap())).collect();
    assert_eq!(lines, ["xensnap.toml:10", "a.toml:4", "b.toml:4"]);
}
