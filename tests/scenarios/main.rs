//! The whole service against a simulated pool over a real wire, on a hand-moved clock, with a real history: what a policy promises,
//! the pool has, whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod alarms;
mod control;
mod crash;
mod deletion;
mod foreign;
mod forgetting;
mod frugal;
mod guards;
mod journal;
mod lab;
mod lease;
mod leftovers;
mod look;
mod metrics;
mod nights;
mod orphans;
mod ownership;
mod person;
mod pools;
mod receiver;
mod slots;
mod stuck;
mod wishes;
mod year;
