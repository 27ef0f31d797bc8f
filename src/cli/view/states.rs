//! States as cells: the word of the database, and whether somebody has to look at it.

use super::{Cell, Tone};
use crate::store::{
    Attempt, AttemptState, Cause, Job, JobState, Outcome, PartState, Removal, RemovalState, Run, Severity, Slot, SlotState,
    SnapshotState,
};

/// How a run ended, or that it has not.
pub(in crate::cli) fn run(run: &Run) -> Cell {
    match run.outcome {
        Some(outcome) => Cell::toned(of_outcome(outcome), outcome.as_str()),
        None => Cell::toned(Tone::Strong, "running"),
    }
}

/// What an outcome means.
pub(in crate::cli) fn of_outcome(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Succeeded | Outcome::Observed => Tone::Good,
        Outcome::Partial | Outcome::Cancelled | Outcome::Empty => Tone::Doubt,
        Outcome::Failed => Tone::Bad,
    }
}

/// Where a job is.
pub(in crate::cli) fn job(job: &Job) -> Cell {
    let tone = match job.state {
        JobState::Done | JobState::Observed => Tone::Good,
        JobState::Failed | JobState::Unresolved => Tone::Bad,
        JobState::Skipped | JobState::Cancelled => Tone::Doubt,
        _ => Tone::Strong,
    };
    Cell::toned(tone, job.state.as_str())
}

/// What was decided about a slot.
pub(in crate::cli) fn slot(slot: &Slot) -> Cell {
    let tone = match slot.state {
        SlotState::Claimed => Tone::Plain,
        SlotState::Covered => Tone::Good,
        SlotState::Late | SlotState::Skipped | SlotState::Overlapped => Tone::Doubt,
        SlotState::Missed => Tone::Bad,
    };
    Cell::toned(tone, slot.state.as_str())
}

/// What is known of a call.
pub(in crate::cli) fn attempt(attempt: &Attempt) -> Cell {
    let tone = match attempt.state {
        AttemptState::Succeeded => Tone::Good,
        AttemptState::Refused | AttemptState::Unresolved => Tone::Bad,
        AttemptState::Absent | AttemptState::Forgotten => Tone::Doubt,
        AttemptState::Intent | AttemptState::Calling => Tone::Strong,
    };
    Cell::toned(tone, attempt.state.as_str())
}

/// What is known of a snapshot.
pub(in crate::cli) fn of_snapshot(state: SnapshotState) -> Tone {
    match state {
        SnapshotState::Durable => Tone::Good,
        SnapshotState::Vanished | SnapshotState::Ghost | SnapshotState::Detached => Tone::Bad,
        SnapshotState::Taken | SnapshotState::Marked | SnapshotState::Removing => Tone::Doubt,
        SnapshotState::Removed | SnapshotState::Released => Tone::Faint,
    }
}

/// Where a removal is.
pub(in crate::cli) fn removal(removal: &Removal) -> Cell {
    let tone = match removal.state {
        RemovalState::Done => Tone::Good,
        RemovalState::Orphaned => Tone::Bad,
        RemovalState::Waiting | RemovalState::Dropped | RemovalState::Withdrawn => Tone::Doubt,
        RemovalState::Planned | RemovalState::Working => Tone::Strong,
    };
    Cell::toned(tone, removal.state.as_str())
}

/// What is known of a piece of a removal.
pub(in crate::cli) fn part(state: PartState) -> Cell {
    let tone = match state {
        PartState::Gone => Tone::Good,
        PartState::Stuck => Tone::Bad,
        PartState::Spared => Tone::Doubt,
        PartState::There | PartState::Destroying => Tone::Strong,
    };
    Cell::toned(tone, state.as_str())
}

/// How much an event matters.
pub(in crate::cli) fn severity(severity: Severity) -> Cell {
    let tone = match severity {
        Severity::Info => Tone::Faint,
        Severity::Notice => Tone::Plain,
        Severity::Warning => Tone::Doubt,
        Severity::Error | Severity::Critical => Tone::Bad,
    };
    Cell::toned(tone, severity.as_str())
}

/// A cause as a sentence: the code says it where there is no text, or where the text does not begin with it.
pub(in crate::cli) fn cause(cause: &Cause) -> String {
    match (cause.code.as_str(), cause.text.as_str()) {
        (code, "") => code.to_owned(),
        ("", text) => text.to_owned(),
        (code, text) if text.starts_with(code) => text.to_owned(),
        (code, text) => format!("{code}: {text}"),
    }
}
