//! Which slots come, and what will become of each as far as that is known now: the timekeeper's own rules, asked ahead.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::policy::Policy;
use crate::domain::schedule::{Closure, Progress, Verdict};
use crate::store::{Cursor, Run};

/// How far each policy has come on each pool.
#[derive(Debug, Default)]
pub(super) struct Past {
    cursors: HashMap<String, Vec<Cursor>>,
    running: HashMap<(String, Uuid), DateTime<Utc>>,
}

/// A slot to come, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coming<'a> {
    pub(super) policy: &'a Policy,
    /// The pool; none where the daemon has not begun to count.
    pub(super) pool: Option<Uuid>,
    /// Whether it is the first of its policy and pool.
    pub(super) first: bool,
    /// When it is due.
    pub(super) due_at: Option<DateTime<Utc>>,
    /// The slot before it, whatever became of that; none behind the first that is shown.
    pub(super) last: Option<DateTime<Utc>>,
    pub(super) prospect: Prospect,
}

/// What will become of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prospect {
    /// It will run.
    Runs,
    /// It will be skipped: its time is closed.
    Skipped(Closure),
    /// It was due, and this is what the daemon decides once it looks. So many before it did not run either.
    Due(Verdict, usize),
    /// It was due, and waits for a window.
    Waits(DateTime<Utc>),
    /// The policy fires nothing.
    Disabled,
    /// No time matches any more.
    Never,
}

impl Past {
    /// From what history says.
    pub(super) fn new(cursors: Vec<Cursor>, runs: Vec<Run>) -> Self {
        let mut past = Self::default();
        for cursor in cursors {
            past.cursors.entry(cursor.policy.clone()).or_default().push(cursor);
        }
        past.running = runs.into_iter().map(|run| ((run.policy, run.pool), run.due_at)).collect();
        past
    }

    /// How far a policy has come, on each pool.
    fn of(&self, policy: &Policy, now: DateTime<Utc>) -> Vec<(Option<Uuid>, Progress)> {
        let id = policy.id.as_str();
        let progress = |cursor: &Cursor| Progress {
            counts_from: cursor.counts_from,
            last_claimed: cursor.last_due,
            running: self.running.get(&(id.to_owned(), cursor.pool)).copied(),
        };
        let known: Vec<_> =
            self.cursors.get(id).into_iter().flatten().map(|cursor| (Some(cursor.pool), progress(cursor))).collect();
        if known.is_empty() {
            return vec![(None, Progress { counts_from: now, last_claimed: None, running: None })];
        }
        known
    }
}

/// The next `count` slots of each policy on each pool, by time; one more if none of these will run.
pub(super) fn coming<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    past: &Past,
    now: DateTime<Utc>,
    count: usize,
) -> Vec<Coming<'a>> {
    let mut all = Vec::new();
    for policy in policies {
        for (pool, progress) in past.of(policy, now) {
            let slots = if policy.enabled { slots(policy, &progress, now, count) } else { vec![(None, Prospect::Disabled)] };
            all.extend(slots.into_iter().enumerate().map(|(at, (due_at, prospect))| {
                let first = at == 0;
                Coming { policy, pool, first, due_at, last: progress.last_claimed.filter(|_| first), prospect }
            }));
        }
    }
    // What has no time comes last.
    all.sort_by(|one, other| place(one).cmp(&place(other)));
    all
}

fn place<'a>(coming: &'a Coming<'_>) -> impl Ord + use<'a> {
    (coming.due_at.is_none(), coming.due_at, coming.policy.name.as_str(), coming.pool)
}

type Slot = (Option<DateTime<Utc>>, Prospect);

fn slots(policy: &Policy, progress: &Progress, now: DateTime<Utc>, count: usize) -> Vec<Slot> {
    let schedule = &policy.schedule;
    let ahead = |at| match schedule.windows.closed_at(schedule.zone(), at) {
        None => (Some(at), Prospect::Runs),
        Some(closure) => (Some(at), Prospect::Skipped(closure)),
    };
    let due = due(policy, progress, now);
    let mut slots: Vec<Slot> = due.into_iter().chain(schedule.slots_after(now).map(ahead)).take(count).collect();
    if !slots.iter().any(|(_, prospect)| prospect.runs()) {
        let from = slots.last().and_then(|(at, _)| *at).map_or(now, |at| at.max(now));
        slots.extend(schedule.next_open_after(from).map(|at| (Some(at), Prospect::Runs)));
    }
    if slots.is_empty() { vec![(None, Prospect::Never)] } else { slots }
}

/// The newest slot that is due and was not decided yet.
fn due(policy: &Policy, progress: &Progress, now: DateTime<Utc>) -> Option<Slot> {
    let agenda = policy.schedule.agenda(progress, now);
    let runs = agenda.decisions.iter().position(|decision| decision.verdict.runs());
    let shown = runs.or(agenda.decisions.len().checked_sub(1));
    if let Some(at) = shown {
        let decision = &agenda.decisions[at];
        return Some((Some(decision.due_at), Prospect::Due(decision.verdict.clone(), at)));
    }
    let from = progress.last_claimed.map_or(progress.counts_from, |last| last.max(progress.counts_from));
    let waiting = policy.schedule.next_after(from).filter(|at| *at <= now)?;
    Some((Some(waiting), Prospect::Waits(agenda.wake_at?)))
}

impl Prospect {
    /// True if a run is to be expected.
    pub(super) fn runs(&self) -> bool {
        match self {
            Prospect::Runs | Prospect::Waits(_) => true,
            Prospect::Due(verdict, _) => verdict.runs(),
            Prospect::Skipped(_) | Prospect::Disabled | Prospect::Never => false,
        }
    }

    /// A word for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Prospect::Runs => "runs",
            Prospect::Skipped(_) => "skipped-closed",
            Prospect::Due(verdict, _) => verdict.code(),
            Prospect::Waits(_) => "waits",
            Prospect::Disabled => "disabled",
            Prospect::Never => "never",
        }
    }
}

#[cfg(test)]
mod tests;
