//! What the tests share: a main file, a policy, and the day on which they are read.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use xensnap::config::{CheckedPolicy, Config, Diagnostics, Loaded};

/// A main file with two pools.
pub const MAIN: &str = r#"
installation = "test"

[[pool]]
name = "prod"
addresses = ["xen1.example.org"]
username = "root"
password = "secret word"

[[pool]]
name = "lab"
addresses = ["lab1.example.org"]
username = "root"
password = "secret word"
"#;

/// A policy that is right.
pub const POLICY: &str = r#"
[[policy]]
name = "Nightly"
id = "nightly"
schedule = { cron = "30 2 * * *", zone = "Europe/Berlin" }
select = { all = true }
retention = { last = 7 }
"#;

pub fn now() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// Reads policies beside [`MAIN`].
pub fn read(policies: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    Config::from_texts(("xensnap.toml", MAIN), policies, now())
}

/// The one policy of a text.
pub fn policy(text: &str) -> CheckedPolicy {
    read(&[("a.toml", text)]).unwrap().config.policies.remove(0)
}

/// The problems of a text, one line each.
pub fn problems(text: &str) -> Vec<String> {
    match read(&[("a.toml", text)]) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The `config` folder of the project.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// The `*.toml` files of a folder, in order.
pub fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    files
}
