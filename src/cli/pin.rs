//! `xensnap pin` and `unpin`: a snapshot stays until its date, whatever retention says.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::Args as ClapArgs;
use uuid::Uuid;

use super::Exit;
use super::asking::{Asking, carry_out};
use crate::clock::{Clock as _, SystemClock};
use crate::daemon::Ask;
use crate::domain::span::Exact;

/// Keeps a snapshot until a date. The server guards it too: no other tool and no click destroys it.
#[derive(Debug, ClapArgs)]
pub struct PinArgs {
    /// The snapshot's uuid, as `xensnap snapshots` shows it
    snapshot: Uuid,
    /// Until when: a date (2027-01-31, to its end in UTC), a time (2027-01-31T12:00:00Z) or a length (90d)
    #[arg(long, value_name = "WHEN", default_value = "3650d")]
    until: String,
    /// Why, for whoever wonders later
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

/// Lets retention decide about a snapshot again.
#[derive(Debug, ClapArgs)]
pub struct UnpinArgs {
    /// The snapshot's uuid
    snapshot: Uuid,
    #[command(flatten)]
    asking: Asking,
}

/// Pins.
///
/// # Errors
/// When the date is none or past, or no pool is reached.
pub async fn pin(args: PinArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let until = until(&args.until, now)?;
    if until <= now {
        return Err(Exit::usage(format!("{until} is past; name a time that is to come")).into());
    }
    carry_out(&args.asking, Ask::Pin { snapshot: args.snapshot, until, reason: args.reason }).await
}

/// Unpins.
///
/// # Errors
/// When no pool is reached.
pub async fn unpin(args: UnpinArgs) -> anyhow::Result<ExitCode> {
    carry_out(&args.asking, Ask::Unpin { snapshot: args.snapshot }).await
}

fn until(text: &str, now: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        let end = date.succ_opt().and_then(|next| next.and_hms_opt(0, 0, 0)).context("that date is too far away")?;
        return Ok(end.and_utc());
    }
    if let Ok(time) = text.parse::<DateTime<Utc>>() {
        return Ok(time);
    }
    let length: Exact =
        text.parse().map_err(|_| Exit::usage(format!("\"{text}\" is no time; write 2027-01-31, 2027-01-31T12:00:00Z or 90d")))?;
    let length = TimeDelta::from_std(length.0).ok().and_then(|length| now.checked_add_signed(length));
    length.context("that is too far away")
}
