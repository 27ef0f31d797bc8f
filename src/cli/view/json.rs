//! What programs read: one object, with the version of its shape and the time at which it was true. Members are added without a new
//! version; one that changes its meaning or goes makes a new one. `docs/JSON.md` describes all of them.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::out::say;

/// The version of all shapes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    now: DateTime<Utc>,
    #[serde(flatten)]
    body: &'a T,
}

/// Prints `body`'s members as a versioned object.
///
/// # Errors
/// When it cannot be written as JSON, which no body that this program makes causes.
pub(in crate::cli) fn print<T: Serialize>(now: DateTime<Utc>, body: &T) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&Document { version: VERSION, now, body }).context("cannot be written as JSON")?;
    say!("{text}");
    Ok(())
}

/// The same of a report that says itself when it was true: what it calls `at` on the socket is `now` here.
///
/// # Errors
/// As [`print()`].
pub(in crate::cli) fn print_report<T: Serialize>(at: DateTime<Utc>, report: &T) -> anyhow::Result<()> {
    let mut body = serde_json::to_value(report)?;
    body.as_object_mut().map(|body| body.remove("at"));
    print(at, &body)
}
