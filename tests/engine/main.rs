//! The engine against simulated pools, over the real wire and on a clock that only the test moves.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

#[path = "../simulated/mod.rs"]
mod simulated;

mod admission;
mod barrier;
mod kind;
mod lab;
mod offline;
mod small_pool;
