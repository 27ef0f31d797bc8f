//! Why a snapshot stays or goes, in words for `explain`, the journal and the database.

use std::fmt;

use super::super::id::SnapshotUuid;

/// Why a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The newest good one, which is never removed.
    LastGood,
    /// Among the newest that always stay (`min`).
    Min,
    /// Kept by `last`.
    Last,
    /// Kept by `hourly`.
    Hourly,
    /// Kept by `daily`.
    Daily,
    /// Kept by `weekly`.
    Weekly,
    /// Kept by `monthly`.
    Monthly,
    /// Kept by `yearly`.
    Yearly,
    /// Kept by `within`.
    Within,
    /// Pinned by a person.
    Pinned,
    /// Dated in the future: some clock was wrong.
    Future,
    /// The server may still forget it.
    NotDurable,
    /// Nobody knows yet what became of it.
    Unresolved,
    /// Members of the pool may know no newer one.
    Members,
    /// No longer a plain snapshot of its VM.
    Detached,
    /// Not ours.
    Foreign,
}

impl Reason {
    const ALL: [Reason; 16] = [
        Reason::LastGood,
        Reason::Min,
        Reason::Last,
        Reason::Hourly,
        Reason::Daily,
        Reason::Weekly,
        Reason::Monthly,
        Reason::Yearly,
        Reason::Within,
        Reason::Pinned,
        Reason::Future,
        Reason::NotDurable,
        Reason::Unresolved,
        Reason::Members,
        Reason::Detached,
        Reason::Foreign,
    ];

    /// A word; stable over releases.
    pub fn word(self) -> &'static str {
        match self {
            Reason::LastGood => "last good",
            Reason::Min => "min",
            Reason::Last => "last",
            Reason::Hourly => "hourly",
            Reason::Daily => "daily",
            Reason::Weekly => "weekly",
            Reason::Monthly => "monthly",
            Reason::Yearly => "yearly",
            Reason::Within => "within",
            Reason::Pinned => "pinned",
            Reason::Future => "dated in the future",
            Reason::NotDurable => "not durable yet",
            Reason::Unresolved => "unresolved",
            Reason::Members => "members may lack newer ones",
            Reason::Detached => "detached",
            Reason::Foreign => "not ours",
        }
    }
}

/// A set of reasons.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Reasons(u16);

impl Reasons {
    /// Adds a reason.
    pub fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u8;
    }

    /// True when nothing speaks for keeping.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when `reason` is among them.
    pub fn has(self, reason: Reason) -> bool {
        self.0 & 1 << reason as u8 != 0
    }

    /// The reasons, the strongest first.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.has(*reason))
    }
}

impl FromIterator<Reason> for Reasons {
    fn from_iter<I: IntoIterator<Item = Reason>>(reasons: I) -> Self {
        let mut set = Self::default();
        reasons.into_iter().for_each(|reason| set.add(reason));
        set
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Reason::word).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Why a snapshot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// No rule keeps it.
    NotKept,
    /// Failed or partial.
    Partial,
    /// Removed before and back again.
    Ghost,
    /// The same slot has an older one.
    DuplicateOf(SnapshotUuid),
}

impl Removal {
    /// A word; stable over releases.
    pub fn word(self) -> &'static str {
        match self {
            Removal::NotKept => "not kept",
            Removal::Partial => "partial",
            Removal::Ghost => "ghost",
            Removal::DuplicateOf(_) => "duplicate",
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Removal::NotKept => f.write_str("no rule keeps it"),
            Removal::Partial => f.write_str("it is incomplete and counts for nothing"),
            Removal::Ghost => f.write_str("it was removed before; the server forgot that and brought the record back"),
            Removal::DuplicateOf(other) => write!(f, "its slot has an older snapshot, {other}"),
        }
    }
}
