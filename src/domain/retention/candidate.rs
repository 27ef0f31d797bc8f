//! What retention needs to know of one snapshot of one policy and VM. Whoever fills it in has verified the mark.

use chrono::{DateTime, Utc};

use super::super::id::SnapshotUuid;

/// One snapshot to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The snapshot.
    pub snapshot: SnapshotUuid,
    /// The slot it was taken for; it decides order and periods.
    pub due_at: DateTime<Utc>,
    /// When the server took it, by the server's clock.
    pub taken_at: DateTime<Utc>,
    /// What it is worth.
    pub state: State,
    /// Whether a person wants it to stay.
    pub pin: Option<Pin>,
}

/// What a snapshot is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Complete, marked, with all its disks, and known to survive a crash of the server. Only these count.
    Durable,
    /// Complete, but the server may still forget it: it stays, and justifies no removal yet.
    Fresh,
    /// Failed, incomplete, or with disks missing: never counts and is cleaned up.
    Partial,
    /// Removed before, and back because the server forgot the removal: counts for nothing and goes again.
    Ghost,
    /// Nobody knows yet what became of it: stays, does not count.
    Unresolved,
    /// No longer a plain snapshot of its VM: stays, does not count.
    Detached,
    /// Not ours: stays, does not count.
    Foreign,
}

/// A person's wish that a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Until somebody takes the pin off.
    Forever,
    /// Until this instant, exclusive.
    Until(DateTime<Utc>),
}

impl Pin {
    /// Whether the pin still holds.
    pub fn holds(self, now: DateTime<Utc>) -> bool {
        match self {
            Pin::Forever => true,
            Pin::Until(until) => now < until,
        }
    }
}

impl Candidate {
    /// True when the snapshot counts for the rules.
    pub(super) fn counts(&self, now: DateTime<Utc>) -> bool {
        self.state == State::Durable && self.due_at <= now
    }
}
