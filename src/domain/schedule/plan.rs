//! The schedule of a policy, and the one rule by which slots become due: a slot is due when the next one after the last claimed
//! is not in the future. On time, late and after a restart are the same rule; a clock set back doubles nothing, since the claimed
//! slot is behind it; and nothing is due from before the policy was first seen.

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use super::super::span::Exact;
use super::super::zone::Zone;
use super::expression::CronExpression;
use super::slot::{Decision, Missed, ON_TIME, Skipped, Verdict};
use super::window::Windows;

/// What happens to a slot whose time passed unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// It is recorded as missed.
    None,
    /// The newest one is run late, the others are recorded as missed.
    One {
        /// Not when it is older than this.
        max_age: Exact,
    },
}

/// When a policy fires and within which bounds its run works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    expressions: Vec<CronExpression>,
    zone: Zone,
    /// Over how much time the VMs of a run are spread.
    pub spread: Exact,
    /// When jobs may start.
    pub windows: Windows,
    /// How long after its start a run may still start jobs.
    pub deadline: Option<Exact>,
    /// What happens to slots that passed unseen.
    pub catch_up: CatchUp,
    /// One more slot whenever the daemon starts.
    pub run_on_start: bool,
}

/// A schedule that does not hang together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// No expression at all.
    #[error("a schedule needs at least one cron expression")]
    Empty,
    /// Spread as long as the deadline, or longer.
    #[error("the spread of {spread} reaches the deadline of {deadline}, so the last VMs would never start; shorten the spread")]
    SpreadBeyondDeadline {
        /// The spread.
        spread: Exact,
        /// The deadline.
        deadline: Exact,
    },
    /// Every slot is outside the windows.
    #[error("no slot lies within the windows, so nothing would ever run; the first is due {first}")]
    NeverOpen {
        /// An example, in the policy's zone.
        first: String,
    },
}

/// What is known of a policy's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When this schedule was first seen, last changed or last enabled: nothing before it is due.
    pub counts_from: DateTime<Utc>,
    /// The newest slot with a row, whatever became of it.
    pub last_claimed: Option<DateTime<Utc>>,
    /// The slot whose run still works.
    pub running: Option<DateTime<Utc>>,
}

/// What is to be done about a policy now, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agenda {
    /// Slots in the order of their due times; at most one runs, and it is the last that is not skipped.
    pub decisions: Vec<Decision>,
    /// When something will be due next; nothing when never.
    pub wake_at: Option<DateTime<Utc>>,
}

/// How many slots one look decides. More are decided by the next look.
pub const MOST_SLOTS: usize = 1000;

/// How many slots are looked at to say that none is open.
const SAMPLE: usize = 400;

/// What is looked at for the longest time between two slots: five weeks, which hold every weekend and a turn of the month, and so many
/// slots at least, which hold a year of months; but no more than this time and number.
const USUAL: TimeDelta = TimeDelta::weeks(5);
const USUAL_SLOTS: usize = 14;
const LONGEST: TimeDelta = TimeDelta::days(2 * 366);
const MOST_LOOKED_AT: usize = 20_000;

impl Schedule {
    /// A schedule of these expressions, always open, without spread and deadline, that catches up for a day.
    pub fn new(expressions: Vec<CronExpression>, zone: Zone) -> Result<Self, ScheduleError> {
        if expressions.is_empty() {
            return Err(ScheduleError::Empty);
        }
        Ok(Self {
            expressions,
            zone,
            spread: Exact::default(),
            windows: Windows::default(),
            deadline: None,
            catch_up: CatchUp::One { max_age: Exact::seconds(86_400) },
            run_on_start: false,
        })
    }

    /// A schedule without any slot.
    pub fn never(zone: Zone) -> Self {
        Self {
            expressions: Vec::new(),
            zone,
            spread: Exact::default(),
            windows: Windows::default(),
            deadline: None,
            catch_up: CatchUp::None,
            run_on_start: false,
        }
    }

    /// Whether the parts hang together. `from` is where the search for an open slot begins.
    pub fn check(&self, from: DateTime<Utc>) -> Result<(), ScheduleError> {
        if let Some(deadline) = self.deadline.filter(|deadline| self.spread >= *deadline) {
            return Err(ScheduleError::SpreadBeyondDeadline { spread: self.spread, deadline });
        }
        let mut slots = self.slots_after(from).take(SAMPLE).peekable();
        let Some(first) = slots.peek().copied() else { return Ok(()) };
        if slots.all(|at| self.windows.closed_at(&self.zone, at).is_some()) {
            let first = self.zone.civil(first).format("%Y-%m-%d %H:%M").to_string();
            return Err(ScheduleError::NeverOpen { first });
        }
        Ok(())
    }

    /// The expressions.
    pub fn expressions(&self) -> &[CronExpression] {
        &self.expressions
    }

    /// The zone they are meant in.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What decides the due times, as text: when it differs from what was seen before, slots count from now.
    pub fn signature(&self) -> String {
        let expressions: Vec<&str> = self.expressions.iter().map(CronExpression::as_str).collect();
        format!("{}; {}", self.zone, expressions.join("; "))
    }

    /// The first slot after `after`, open or not.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.expressions.iter().filter_map(|expression| expression.next_after(&self.zone, after)).min()
    }

    /// All slots after `after`, in order.
    pub fn slots_after(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }

    /// The first slot after `after` that will not be skipped because its time is closed; nothing when the next thousand are.
    pub fn next_open_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.slots_after(after).take(MOST_SLOTS).find(|at| self.windows.closed_at(&self.zone, *at).is_none())
    }

    /// The longest time between two slots that follow one another, of those that come after `from` and are not closed: what lies between
    /// two snapshots when all goes well. Nothing for a schedule without two slots in two years.
    pub fn longest_interval(&self, from: DateTime<Utc>) -> Option<TimeDelta> {
        let open = |at: &DateTime<Utc>| self.windows.closed_at(&self.zone, *at).is_none();
        let within = self.slots_after(from).take(MOST_LOOKED_AT).take_while(|at| *at - from <= LONGEST);
        let (mut longest, mut before) = (None, None);
        for (seen, at) in within.filter(open).enumerate() {
            longest = longest.max(before.map(|before| at - before));
            before = Some(at);
            if seen >= USUAL_SLOTS && at - from > USUAL {
                break;
            }
        }
        longest
    }

    /// What to do at `now`. Asked again with the decided slots claimed, it goes on where it stopped.
    pub fn agenda(&self, progress: &Progress, now: DateTime<Utc>) -> Agenda {
        let from = progress.last_claimed.map_or(progress.counts_from, |last| last.max(progress.counts_from));
        let due: Vec<_> = self.slots_after(from).take_while(|at| *at <= now).take(MOST_SLOTS).collect();
        let Some(last) = due.last().copied() else {
            return Agenda { decisions: Vec::new(), wake_at: self.next_after(from) };
        };
        let next = self.next_after(last);
        if let Some(next) = next.filter(|next| *next <= now) {
            // More than one look decides: of these, none is the newest.
            let decisions = due.into_iter().map(|at| self.passed_over(at, now, next)).collect();
            return Agenda { decisions, wake_at: Some(next) };
        }
        self.decide(&due, next, progress, now)
    }

    /// Decides all slots that are due; `next` is the first that is not.
    fn decide(&self, due: &[DateTime<Utc>], next: Option<DateTime<Utc>>, progress: &Progress, now: DateTime<Utc>) -> Agenda {
        let open = |at: &&DateTime<Utc>| self.windows.closed_at(&self.zone, **at).is_none();
        let candidate = due.iter().rev().find(open).copied();
        let mut agenda = Agenda { decisions: Vec::with_capacity(due.len()), wake_at: next };
        for at in due.iter().copied() {
            if Some(at) != candidate {
                agenda.decisions.push(self.passed_over(at, now, candidate.unwrap_or(now)));
                continue;
            }
            match self.newest(at, next, progress, now) {
                Outcome::Decided(verdict) => agenda.decisions.push(Decision { due_at: at, verdict }),
                Outcome::Wait(until) => {
                    // Later slots are closed; they are decided once this one is, so that slots are claimed in order.
                    agenda.wake_at = Some(until);
                    return agenda;
                }
            }
        }
        agenda
    }

    /// A slot that is closed, too late, or in whose place the slot `by` is looked at.
    fn passed_over(&self, at: DateTime<Utc>, now: DateTime<Utc>, by: DateTime<Utc>) -> Decision {
        let closed = self.windows.closed_at(&self.zone, at).map(|closure| Verdict::Skipped(Skipped::Closed(closure)));
        let verdict = closed.unwrap_or_else(|| Verdict::Missed(self.too_late(at, now).unwrap_or(Missed::Superseded { by })));
        Decision { due_at: at, verdict }
    }

    fn too_late(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Missed> {
        let late_by = now - at;
        match self.catch_up {
            CatchUp::None => (late_by > ON_TIME).then_some(Missed::TooLate { late_by, allowed: None }),
            CatchUp::One { max_age } => {
                (late_by > ON_TIME.max(delta(max_age))).then_some(Missed::TooLate { late_by, allowed: Some(max_age) })
            }
        }
    }

    /// The slot that runs if any does.
    fn newest(&self, at: DateTime<Utc>, next: Option<DateTime<Utc>>, progress: &Progress, now: DateTime<Utc>) -> Outcome {
        if let Some(too_late) = self.too_late(at, now) {
            return Outcome::Decided(Verdict::Missed(too_late));
        }
        if let Some(running) = progress.running {
            return Outcome::Decided(Verdict::Skipped(Skipped::Overlap { running }));
        }
        let Some(closure) = self.windows.closed_at(&self.zone, now) else {
            return Outcome::Decided(Verdict::Run { late_by: now - at });
        };
        let opens = self.windows.next_open(&self.zone, now);
        match opens.filter(|opens| self.too_late(at, *opens).is_none()) {
            Some(opens) => Outcome::Wait(next.map_or(opens, |next| next.min(opens))),
            None => Outcome::Decided(Verdict::Missed(Missed::NeverOpened(closure))),
        }
    }

    /// The slot that `run_on_start` adds when the daemon starts.
    pub fn on_start(&self, started_at: DateTime<Utc>) -> Option<Decision> {
        let due_at = DateTime::from_timestamp(started_at.timestamp(), 0).unwrap_or(started_at);
        let verdict = match self.windows.closed_at(&self.zone, due_at) {
            Some(closure) => Verdict::Skipped(Skipped::Closed(closure)),
            None => Verdict::Run { late_by: TimeDelta::zero() },
        };
        self.run_on_start.then_some(Decision { due_at, verdict })
    }
}

enum Outcome {
    Decided(Verdict),
    /// Late, and closed at the moment; look again then.
    Wait(DateTime<Utc>),
}

/// An exact length as chrono counts it; lengths are bounded where they are read.
pub(super) fn delta(length: Exact) -> TimeDelta {
    TimeDelta::from_std(length.0).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
