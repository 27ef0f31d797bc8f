//! What is left at a pool although nobody works on it: which of it is ours beyond doubt and is put right, and which is shown to a person.
//!
//! The rule: what the history recorded by its uuid, or what a call of ours named by its nonce, is ours. A name is evidence for adoption,
//! never for deletion; and whatever shows that somebody else has begun to use it is that somebody's.

mod about;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};

pub use about::{Orphan, What, Why};

/// So long the disks of a snapshot that the server forgot stay: whoever promotes another member within a day may bring it back.
pub const KEPT: TimeDelta = TimeDelta::days(1);

/// A snapshot that nobody marked may be under way so long, at other installations too.
pub const UNDER_WAY: TimeDelta = TimeDelta::hours(3);

/// What is done about something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement<R> {
    /// It is as it should be, or somebody works on it.
    Fine,
    /// It is ours beyond doubt: it is put right.
    Repair(R),
    /// The same, but not before then.
    Later(DateTime<Utc>),
    /// A person is told.
    List(Why),
}

/// What became of the snapshot that a disk was recorded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The server forgot it.
    Forgotten,
    /// We removed it.
    Removed,
    /// Somebody else removed it, or nobody knows who.
    ByOthers,
}

/// A disk that the history recorded with a snapshot of ours whose own record is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What became of the snapshot.
    pub gone: Gone,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Somebody wanted the snapshot to stay.
    pub pinned: bool,
    /// A removal looked at it before, and let it be.
    pub spared: bool,
    /// What it shows of itself.
    pub signs: Signs,
}

/// What a disk shows of itself now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// The snapshot it was recorded with is there again.
    pub snapshot_is_back: bool,
    /// A drive names it, or a VM as its memory.
    pub used: bool,
    /// The storage's own nodes are left alone.
    pub unmanaged: bool,
    /// It has another name than it was recorded with.
    pub renamed: bool,
}

/// Why a disk is not destroyed that was recorded with a snapshot which is gone: somebody uses it, or the storage does.
pub fn spared(signs: Signs) -> Option<&'static str> {
    match signs {
        Signs { snapshot_is_back: true, .. } => Some("its snapshot is there again"),
        Signs { used: true, .. } => Some("it is used by another VM by now"),
        Signs { unmanaged: true, .. } => Some("it is not managed by the storage's clients"),
        Signs { renamed: true, .. } => Some("somebody gave it another name"),
        _ => None,
    }
}

/// What is done about a disk.
pub fn disk(disk: &Disk, now: DateTime<Utc>) -> Judgement<()> {
    let until = disk.since + KEPT;
    match disk {
        Disk { signs: Signs { renamed: false, .. }, .. } if spared(disk.signs).is_some() => Judgement::Fine,
        Disk { signs: Signs { renamed: true, .. }, .. } => Judgement::List(Why::Renamed),
        Disk { pinned: true, .. } => Judgement::List(Why::Pinned),
        Disk { spared: true, .. } => Judgement::List(Why::Spared),
        Disk { gone: Gone::ByOthers, .. } => Judgement::List(Why::ByOthers),
        _ if now < until => Judgement::Later(until),
        _ => Judgement::Repair(()),
    }
}

/// What the history says of a snapshot that carries no valid mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is recorded, by its uuid, as one that counts; an attempt of ours for its VM took it.
    Counts,
    /// It is recorded, by its uuid, as removed.
    Removed,
    /// The attempt that its name ends with failed, or is known to have had no effect; it was for the same VM.
    Failed,
    /// The attempt is known to have had no effect, and its slot has no other snapshot.
    Late,
    /// Somebody works on that attempt or snapshot, or it was given away.
    InHands,
    /// Its name ends as ours do, and the history knows no such attempt for its VM.
    NameOnly,
}

/// How a snapshot without a mark is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// It gets its mark again.
    Mark,
    /// It gets its mark, and goes as one that had been removed.
    Ghost,
    /// It is marked and removed: it counts for nothing.
    Remove,
}

/// What is done about a snapshot that carries no valid mark; `taken` is when it was taken.
pub fn unmarked(known: &Known, taken: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Judgement<Mend> {
    match known {
        Known::Counts | Known::Late => Judgement::Repair(Mend::Mark),
        Known::Removed => Judgement::Repair(Mend::Ghost),
        Known::Failed => Judgement::Repair(Mend::Remove),
        Known::InHands => Judgement::Fine,
        // Another installation may be about to mark it.
        Known::NameOnly if taken.is_none_or(|taken| now - taken < UNDER_WAY) => Judgement::Fine,
        Known::NameOnly => Judgement::List(Why::NameOnly),
    }
}

/// A task that carries a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Whether the history knows the nonce, and if so whether somebody still waits for the call's end.
    pub awaited: Option<bool>,
    /// It has ended.
    pub ended: bool,
    /// It was told to end before.
    pub told: bool,
}

/// How a task is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// It is over and is cleaned away.
    Forget,
    /// It is told to end.
    Cancel,
}

/// What is done about a task.
pub fn task(task: Task) -> Judgement<Settle> {
    match task {
        // Another installation's, or awaited.
        Task { awaited: None | Some(true), .. } => Judgement::Fine,
        Task { ended: true, .. } => Judgement::Repair(Settle::Forget),
        Task { told: false, .. } => Judgement::Repair(Settle::Cancel),
        Task { told: true, .. } => Judgement::List(Why::EndsNot),
    }
}

/// What is done about a guard that we put on a snapshot, by the date it tells and the one that the history has.
pub fn guard(told: DateTime<Utc>, recorded: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Judgement<Guard> {
    match recorded {
        Some(_) => Judgement::Fine,
        None if told > now => Judgement::Repair(Guard::Record),
        None => Judgement::Repair(Guard::TakeOff),
    }
}

/// How a guard is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The pin is written into the history again.
    Record,
    /// It is taken off.
    TakeOff,
}
