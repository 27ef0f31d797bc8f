//! The simulator answers the recorded operations with the recorded bytes.
//!
//! As `recorded_simulator`, for what changes VMs and disks: the world is brought to the state before the first exchange of a folder,
//! which is read off the row that the recorded snapshot itself remembers (`snapshot_metadata`), and the folder's exchanges are
//! replayed in order. Everything must be the same but for references and uuids that the server made (they must differ consistently),
//! and what each test names as masked.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod aftermath;
#[path = "../recorded_simulator/compare.rs"]
#[allow(dead_code)]
mod compare;
mod folders;
mod origin;
#[path = "../recorded_simulator/replay.rs"]
#[allow(dead_code)]
mod replay;
#[path = "../recorded_simulator/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/transcript.rs"]
mod transcript;

use std::path::{Path, PathBuf};

/// The recordings: the whole set where there is one, else the selection that goes with the package, which has all that is replayed here.
fn recordings() -> PathBuf {
    support::shared("xenapi/transcripts").unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded"))
}
