//! What is wrong. A condition lasts as long as each look finds it; what merely happened is one too, and is over by itself when it has not
//! happened again for a while.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::event::{EventKind, Severity};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Tells it apart from all others: what it is, and what about.
    pub key: String,
    /// A short code that stays the same over versions.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// The pool's configured name.
    pub pool: Option<String>,
    /// The policy's id.
    pub policy: Option<String>,
    /// The VM and its name.
    pub vm: Option<(Uuid, String)>,
    /// The run's number.
    pub run: Option<i64>,
    /// One sentence.
    pub text: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A condition that was noticed and is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Its row.
    pub id: i64,
    /// What is wrong.
    pub what: Condition,
    /// When it was noticed.
    pub raised_at: DateTime<Utc>,
    /// When it was last seen.
    pub seen_at: DateTime<Utc>,
    /// When it was last told, or would have been.
    pub told_at: DateTime<Utc>,
}

/// How an event becomes an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is one by itself.
    Happened,
    /// What it is about is looked at as a condition.
    Watched,
    /// It is none.
    Never,
}

/// How an event of this kind becomes an alarm.
pub fn way(kind: EventKind) -> Way {
    use EventKind::*;
    match kind {
        RunPartial | RunFailed | JobFailed | JobSkipped | SlotMissed | Orphan | ApprovalNeeded | Unresolved | PoolAway
        | ReloadRefused | ConfigurationWrong | ClockImplausible | RpoBroken | BehindSchedule => Way::Watched,
        // A call whose end is doubtful is looked at by itself; and who cannot be told cannot be told that.
        Doubtful | AlarmDelayed | AlarmUndelivered | MonitorAway => Way::Never,
        _ if kind.severity() >= Severity::Warning => Way::Happened,
        _ => Way::Never,
    }
}

/// Whether what has this code is wrong as long as it is found, rather than something that happened.
pub fn lasts(code: &str) -> bool {
    EventKind::from_word(code).is_none_or(|kind| way(kind) != Way::Happened)
}
