//! What becomes of a slot, as a value with its reason. Every due time ends as one of these; none ends in silence.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::span::Exact;
use super::window::Closure;

/// A slot that starts within this time of being due is on time: the clock is looked at every thirty seconds at least.
pub const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// A due time with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When the slot was due.
    pub due_at: DateTime<Utc>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs now.
    Run {
        /// How long after its due time; never negative.
        late_by: TimeDelta,
    },
    /// Nobody was there at its time, and it is not made up for.
    Missed(Missed),
    /// It was decided not to run it.
    Skipped(Skipped),
}

/// Why a slot was not made up for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Found too late for the policy's `catch_up`.
    TooLate {
        /// How long after its due time.
        late_by: TimeDelta,
        /// What the policy allows; nothing when it does not catch up at all.
        allowed: Option<Exact>,
    },
    /// A newer slot of the same policy runs in its place.
    Superseded {
        /// That slot.
        by: DateTime<Utc>,
    },
    /// It could have been made up for, but no window opens in time.
    NeverOpened(Closure),
}

/// Why a slot was not run at its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// Its due time was closed.
    Closed(Closure),
    /// The run of an earlier slot still worked.
    Overlap {
        /// The slot of that run.
        running: DateTime<Utc>,
    },
}

impl Verdict {
    /// A word for the database and for metrics; stable over releases.
    pub fn code(&self) -> &'static str {
        match self {
            Verdict::Run { late_by } if *late_by <= ON_TIME => "on-time",
            Verdict::Run { .. } => "late",
            Verdict::Missed(Missed::TooLate { .. }) => "missed-too-late",
            Verdict::Missed(Missed::Superseded { .. }) => "missed-superseded",
            Verdict::Missed(Missed::NeverOpened(_)) => "missed-never-open",
            Verdict::Skipped(Skipped::Closed(_)) => "skipped-closed",
            Verdict::Skipped(Skipped::Overlap { .. }) => "skipped-overlap",
        }
    }

    /// True when the slot is to be run.
    pub fn runs(&self) -> bool {
        matches!(self, Verdict::Run { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Run { late_by } if *late_by <= ON_TIME => f.write_str("on time"),
            Verdict::Run { late_by } => write!(f, "late by {}", length(*late_by)),
            Verdict::Missed(missed) => write!(f, "missed: {missed}"),
            Verdict::Skipped(skipped) => write!(f, "skipped: {skipped}"),
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missed::TooLate { late_by, allowed: None } => {
                write!(f, "found {} late, and the policy does not catch up", length(*late_by))
            }
            Missed::TooLate { late_by, allowed: Some(allowed) } => {
                write!(f, "found {} late, the policy catches up for {allowed}", length(*late_by))
            }
            Missed::Superseded { by } => write!(f, "the newer slot {} runs in its place", by.format("%Y-%m-%d %H:%M:%SZ")),
            Missed::NeverOpened(closure) => write!(f, "{closure}, which does not open in time to catch up"),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skipped::Closed(closure) => closure.fmt(f),
            Skipped::Overlap { running } => {
                write!(f, "the run of slot {} still works", running.format("%Y-%m-%d %H:%M:%SZ"))
            }
        }
    }
}

fn length(length: TimeDelta) -> Exact {
    Exact::seconds(length.num_seconds().unsigned_abs())
}
