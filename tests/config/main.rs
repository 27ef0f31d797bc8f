//! Configuration as people meet it: the files that are shipped, every way to be wrong, hostile files, and the verb `check`.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod changes;
mod check;
mod hostile;
mod inheritance;
mod invalid;
mod pools;
mod samples;
mod schema;
mod secrets;
mod support;
mod written;
