//! Which slots come, and what will become of each as far as that is known now: the timekeeper's own rules, asked ahead.

use chrono::{DateTime, Utc};

use crate::domain::policy::Policy;
use crate::domain::schedule::{Closure, Progress, Verdict};

/// A policy on a pool, and how far it has come there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) policy: &'a Policy,
    /// The pool's name; none where the configuration has no pool.
    pub(super) pool: Option<&'a str>,
    /// None where the daemon has not begun to count.
    pub(super) progress: Option<Progress>,
}

/// A slot to come, or why there is none.
#[derive(Debug, Clone)]
pub(super) struct Coming<'a> {
    pub(super) line: Line<'a>,
    /// Whether it is the first of its line.
    pub(super) first: bool,
    /// When it is due.
    pub(super) due_at: Option<DateTime<Utc>>,
    pub(super) prospect: Prospect,
}

/// What will become of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prospect {
    /// It will run.
    Runs,
    /// It will be skipped: its time is closed.
    Skipped(Closure),
    /// It will be skipped: it is paused.
    Paused(String),
    /// It was due, and this is what the daemon decides once it looks. So many before it did not run either.
    Due(Verdict, usize),
    /// It was due, and waits for a window.
    Waits(DateTime<Utc>),
    /// The policy fires nothing.
    Disabled,
    /// No time matches any more.
    Never,
}

/// The next `count` slots of each line, by time; one more if none of these will run.
pub(super) fn coming(lines: Vec<Line<'_>>, now: DateTime<Utc>, count: usize) -> Vec<Coming<'_>> {
    let mut all = Vec::new();
    for line in lines {
        let slots = if line.policy.enabled { slots(&line, now, count) } else { vec![(None, Prospect::Disabled)] };
        let numbered = slots.into_iter().enumerate();
        all.extend(numbered.map(|(at, (due_at, prospect))| Coming { line, first: at == 0, due_at, prospect }));
    }
    // What has no time comes last.
    all.sort_by(|one, other| place(one).cmp(&place(other)));
    all
}

fn place<'a>(coming: &Coming<'a>) -> impl Ord + use<'a> {
    (coming.due_at.is_none(), coming.due_at, coming.line.policy.name.as_str(), coming.line.pool)
}

impl Coming<'_> {
    /// What would run is skipped if it is paused then.
    pub(super) fn pause(&mut self, past: &super::past::Past) {
        let (policy, pool) = (self.line.policy, self.line.pool);
        let pause = self.due_at.filter(|_| self.prospect.runs()).and_then(|due_at| past.paused(policy, pool, due_at));
        if let Some(pause) = pause {
            self.prospect = Prospect::Paused(pause.to_string());
        }
    }

    /// The newest slot that was decided, said once for each line.
    pub(super) fn last(&self) -> Option<DateTime<Utc>> {
        self.line.progress.and_then(|progress| progress.last_claimed).filter(|_| self.first)
    }
}

type Slot = (Option<DateTime<Utc>>, Prospect);

fn slots(line: &Line<'_>, now: DateTime<Utc>, count: usize) -> Vec<Slot> {
    let schedule = &line.policy.schedule;
    let ahead = |at| match schedule.windows.closed_at(schedule.zone(), at) {
        None => (Some(at), Prospect::Runs),
        Some(closure) => (Some(at), Prospect::Skipped(closure)),
    };
    // What was never counted counts from now on.
    let due = line.progress.and_then(|progress| due(line.policy, &progress, now));
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
            Prospect::Skipped(_) | Prospect::Paused(_) | Prospect::Disabled | Prospect::Never => false,
        }
    }

    /// A word for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Prospect::Runs => "runs",
            Prospect::Skipped(_) => "skipped-closed",
            Prospect::Paused(_) => "paused",
            Prospect::Due(verdict, _) => verdict.code(),
            Prospect::Waits(_) => "waits",
            Prospect::Disabled => "disabled",
            Prospect::Never => "never",
        }
    }
}

#[cfg(test)]
mod tests;
