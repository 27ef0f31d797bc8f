//! Our client against our simulator: over both wires, for releases from 5.6 to the newest. Each end is held against the recordings of
//! a real server in its own suite; this one holds them against each other.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod inventory;
mod pool;
mod reading;
mod snapshots;
mod support;
