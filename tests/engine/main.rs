//! The engine against simulated pools, over the wire.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod kind;
mod offline;
mod small_pool;
