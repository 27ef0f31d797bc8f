//! The history, on real files with real SQLite: races, crashes, full disks, old and foreign files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what failed by panicking")]

mod alarms;
mod backup;
mod crash;
mod events;
mod history;
mod hostile;
mod jobs;
mod migrations;

mod opening;
mod removals;
mod restored;
mod retention;
mod schema;
mod slots;
mod snapshots;
mod support;
