//! When each snapshot will go, if the policy runs as scheduled from now on. A rule lets go of a snapshot at a slot that can be
//! computed; nothing is simulated, so a yearly rule over a schedule of minutes costs no more than a daily one.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::super::id::SnapshotUuid;
use super::super::span::CalendarSpan;
use super::super::zone::Zone;
use super::bucket::Key;
use super::candidate::{Candidate, Pin, State};
use super::decide::{Verdict, decide};
use super::reason::{Reason, Reasons};
use super::rules::{Period, Rules};

/// When a snapshot will go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// With the next pruning.
    NextPruning,
    /// With the pruning of the slot due then.
    At(DateTime<Utc>),
    /// As things stand it stays: pinned for ever, not ours to judge, or no slot follows.
    Stays,
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expiry::NextPruning => f.write_str("with the next pruning"),
            Expiry::At(at) => write!(f, "{}", at.format("%Y-%m-%d %H:%M:%SZ")),
            Expiry::Stays => f.write_str("stays"),
        }
    }
}

/// When each snapshot of one VM and policy will go. `next_slot` gives the first slot after an instant that will run. Snapshots that
/// are not durable yet are taken for durable, those dated in the future for what they are.
pub fn forecast(
    rules: &Rules,
    zone: &Zone,
    candidates: &[Candidate],
    now: DateTime<Utc>,
    next_slot: impl Fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
) -> Vec<(SnapshotUuid, Expiry)> {
    let settled: Vec<Candidate> = candidates.iter().map(settled).collect();
    let plan = decide(rules, zone, &settled, now);
    let pins: std::collections::HashMap<_, _> = settled.iter().map(|candidate| (candidate.snapshot, candidate.pin)).collect();
    let mut ahead = Ahead::new(rules, zone, now, &next_slot);
    let expiries = plan.decisions.iter().map(|decision| {
        let expiry = match decision.verdict {
            Verdict::Remove(_) => Expiry::NextPruning,
            Verdict::Keep(reasons) => ahead.expiry(decision.due_at, reasons, pins[&decision.snapshot]),
        };
        (decision.snapshot, expiry)
    });
    expiries.collect()
}

fn settled(candidate: &Candidate) -> Candidate {
    let state = if candidate.state == State::Fresh { State::Durable } else { candidate.state };
    Candidate { state, ..*candidate }
}

/// The slots to come, as far as they were asked for, and what was seen of the snapshots so far, the newest first.
struct Ahead<'a, F> {
    rules: &'a Rules,
    zone: &'a Zone,
    now: DateTime<Utc>,
    next_slot: &'a F,
    /// The next slot of all.
    next: Option<DateTime<Utc>>,
    /// The next slots, one after another.
    slots: Vec<DateTime<Utc>>,
    /// The first slot of each new period.
    starts: [Vec<DateTime<Utc>>; 5],
    /// Snapshots seen that each rule keeps.
    last: usize,
    periods: [usize; 5],
    /// The newest that counts.
    newest: Option<DateTime<Utc>>,
}

impl<'a, F: Fn(DateTime<Utc>) -> Option<DateTime<Utc>>> Ahead<'a, F> {
    fn new(rules: &'a Rules, zone: &'a Zone, now: DateTime<Utc>, next_slot: &'a F) -> Self {
        let (next, slots, starts) = (next_slot(now), Vec::new(), Default::default());
        Self { rules, zone, now, next_slot, next, slots, starts, last: 0, periods: [0; 5], newest: None }
    }

    fn expiry(&mut self, at: DateTime<Utc>, reasons: Reasons, pin: Option<Pin>) -> Expiry {
        const UNTOUCHABLE: [Reason; 4] = [Reason::Unresolved, Reason::Detached, Reason::Foreign, Reason::Future];
        let by_rules = self.by_rules(at, reasons);
        let pinned = pin.filter(|_| reasons.has(Reason::Pinned)).map(|pin| self.pinned(pin));
        if UNTOUCHABLE.iter().any(|reason| reasons.has(*reason)) {
            return Expiry::Stays;
        }
        by_rules.into_iter().chain(pinned).max().unwrap_or(Expiry::NextPruning)
    }

    fn pinned(&self, pin: Pin) -> Expiry {
        match pin {
            Pin::Forever => Expiry::Stays,
            Pin::Until(until) => known((self.next_slot)(until.max(self.now) - TimeDelta::nanoseconds(1))),
        }
    }

    /// The latest moment at which a rule still lets go, of the rules that keep the snapshot now. It comes back under none: what is
    /// in front of it under a rule is kept by the same rule.
    fn by_rules(&mut self, at: DateTime<Utc>, reasons: Reasons) -> Option<Expiry> {
        let mut latest = None;
        if [Reason::LastGood, Reason::Min, Reason::Last].iter().any(|reason| reasons.has(*reason)) {
            latest = latest.max(Some(self.by_count()));
        }
        if reasons.has(Reason::LastGood) {
            self.newest = Some(at);
        }
        for period in Period::ALL.into_iter().filter(|period| reasons.has(period.reason())) {
            latest = latest.max(Some(self.by_period(period, at)));
        }
        if let Some(within) = self.rules.within.filter(|_| reasons.has(Reason::Within)) {
            latest = latest.max(Some(self.by_age(within, at)));
        }
        latest
    }

    /// Kept as one of the newest: goes when enough have come after it.
    fn by_count(&mut self) -> Expiry {
        let needed = self.rules.last.max(self.rules.floor()) as usize - self.last;
        self.last += 1;
        while self.slots.len() < needed {
            let Some(next) = (self.next_slot)(self.slots.last().copied().unwrap_or(self.now)) else { return Expiry::Stays };
            self.slots.push(next);
        }
        Expiry::At(self.slots[needed - 1])
    }

    /// Kept as the newest of its period: goes when one of the same period comes, or enough new periods have begun.
    fn by_period(&mut self, period: Period, at: DateTime<Utc>) -> Expiry {
        let needed = self.rules.of(period) as usize - self.periods[period as usize];
        self.periods[period as usize] += 1;
        if let Some(next) = self.next.filter(|next| self.key(period, *next) == self.key(period, at)) {
            return Expiry::At(next);
        }
        while self.starts[period as usize].len() < needed {
            let Some(start) = self.next_period(period) else { return Expiry::Stays };
            self.starts[period as usize].push(start);
        }
        Expiry::At(self.starts[period as usize][needed - 1])
    }

    /// The first slot in a period newer than all that have one.
    fn next_period(&self, period: Period) -> Option<DateTime<Utc>> {
        let from = self.starts[period as usize].last().copied().or(self.newest).unwrap_or(self.now);
        let mut next = (self.next_slot)((self.end(period, from) - TimeDelta::nanoseconds(1)).max(self.now))?;
        while self.key(period, next) <= self.key(period, from) {
            next = (self.next_slot)(next)?;
        }
        Some(next)
    }

    /// Kept as not too old: goes with the first slot that is further away than the span.
    fn by_age(&self, within: CalendarSpan, at: DateTime<Utc>) -> Expiry {
        let beyond = |newest: DateTime<Utc>| within.before(newest, self.zone) > at;
        let (mut low, mut high) = (at, within.after(at, self.zone) + TimeDelta::days(5));
        while high - low > TimeDelta::seconds(1) {
            let middle = low + (high - low) / 2;
            if beyond(middle) { high = middle } else { low = middle }
        }
        let mut next = (self.next_slot)(low.max(self.now));
        while let Some(at) = next.filter(|at| !beyond(*at)) {
            next = (self.next_slot)(at);
        }
        known(next)
    }

    fn key(&self, period: Period, at: DateTime<Utc>) -> Key {
        period.key(at, self.zone.civil(at))
    }

    /// When the period that holds `at` ends.
    fn end(&self, period: Period, at: DateTime<Utc>) -> DateTime<Utc> {
        let next = match period {
            Period::Hour => return DateTime::from_timestamp(self.key(period, at) + 3600, 0).unwrap_or(at),
            _ => next_period_starts(period, self.zone.civil(at)),
        };
        next.map_or(at, |next| self.zone.instant(next).max(at))
    }
}

fn next_period_starts(period: Period, civil: NaiveDateTime) -> Option<NaiveDateTime> {
    let date = civil.date();
    let next = match period {
        Period::Hour | Period::Day => date.checked_add_days(Days::new(1)),
        Period::Week => date.checked_add_days(Days::new(7 - u64::from(date.weekday().num_days_from_monday()))),
        Period::Month => date.with_day(1)?.checked_add_months(Months::new(1)),
        Period::Year => NaiveDate::from_ymd_opt(date.year() + 1, 1, 1),
    };
    next.map(|date| date.and_time(NaiveTime::MIN))
}

fn known(at: Option<DateTime<Utc>>) -> Expiry {
    at.map_or(Expiry::Stays, Expiry::At)
}

#[cfg(test)]
mod tests;
