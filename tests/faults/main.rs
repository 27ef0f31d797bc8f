//! The fault plan seen from the other end of the wire: every action strikes the real client over loopback, and the client says what
//! is true. Both live by one hand-moved clock, so that delays, restarts and patience take no time; only what never answers at all is
//! bounded by real time.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod answers;
mod bench;
mod servers;
mod storage;
mod time;
