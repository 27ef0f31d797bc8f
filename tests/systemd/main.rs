//! At home under systemd: the unit, the message catalogue, and the binary as the unit starts it. Where a program of systemd's is not
//! installed, the test says so and skips what needs it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what failed by panicking")]

mod catalogue;
mod launcher;
mod manager;
mod package;
mod service;
mod unit;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a program of systemd's says, if it is installed.
fn systemd(program: &str, arguments: &[&str]) -> Option<std::process::Output> {
    match Command::new(program).args(arguments).env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "cat").output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: {program} cannot be run here: {error}");
            None
        }
    }
}
