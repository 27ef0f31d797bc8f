//! The simulator answers each recorded request with the recorded bytes.
//!
//! The exact request bytes are sent over TCP to a server that was brought to the state of the recording. Head and body must be the
//! same, but for what [`compare::Mask`] lists for the exchange; references and uuids that the simulator made itself must differ
//! consistently: each recorded one stands for one of the simulator's, in later requests, too.
//!
//! A selection in `tests/fixtures/recorded`, all but the handlers and a few very long answers, runs everywhere; the whole set runs where
//! the shared material is.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod compare;
mod events;
mod folders;
mod pending;
mod replay;
mod state;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/transcript.rs"]
mod transcript;

use std::path::{Path, PathBuf};

/// The folders of recordings to hold the simulator against: the fixtures, and the whole set where there is one.
fn recordings() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded");
    [Some(fixtures), support::shared("xenapi/transcripts")].into_iter().flatten().filter(|path| path.exists()).collect()
}
