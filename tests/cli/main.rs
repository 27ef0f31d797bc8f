//! The binary as a person and a program see it: what verbs print at two widths and as JSON, what they say when they cannot, and with
//! which exit code. `SNAPSHOTS=overwrite cargo test --test cli` writes what is expected anew; look at it before it is committed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what failed by panicking")]

mod alarms;
mod demo;
mod doctor;
mod errors;
mod help;
mod history;
mod json;
#[path = "../scenarios/lab.rs"]
mod lab;
mod next;
mod orphans;
mod reload;
mod service;
mod show;
mod snapshots;
mod world;
