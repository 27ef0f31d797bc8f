//! The engine against a simulated pool, over the real wire and on a clock that only the test moves.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

#[path = "../simulated/mod.rs"]
mod simulated;

mod admission;
mod barrier;
mod lab;
