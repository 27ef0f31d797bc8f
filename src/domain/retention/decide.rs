//! The decision for the snapshots of one VM and policy. It is a function of what exists, the rules and the time: the order in which
//! snapshots are listed does not matter, and deciding again over what was kept keeps all of it.

use chrono::{DateTime, Utc};

use super::super::id::SnapshotUuid;
use super::super::zone::Zone;
use super::bucket::{Calendar, Key};
use super::candidate::{Candidate, State};
use super::reason::{Reason, Reasons, Removal};
use super::rules::{Period, Rules};

/// What becomes of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The snapshot.
    pub snapshot: SnapshotUuid,
    /// The slot it was taken for.
    pub due_at: DateTime<Utc>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Reasons),
    /// It goes.
    Remove(Removal),
}

impl Verdict {
    /// True when the snapshot stays.
    pub fn keeps(&self) -> bool {
        matches!(self, Verdict::Keep(_))
    }
}

/// The decisions for one VM and policy, the newest snapshot first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One decision for each candidate.
    pub decisions: Vec<Decision>,
}

impl Plan {
    /// The snapshots that go, oldest first: an interrupted pruning has then removed the least valuable.
    pub fn removals(&self) -> impl Iterator<Item = (SnapshotUuid, Removal)> {
        self.decisions.iter().rev().filter_map(|decision| match decision.verdict {
            Verdict::Remove(removal) => Some((decision.snapshot, removal)),
            Verdict::Keep(_) => None,
        })
    }

    /// The snapshots that stay, newest first.
    pub fn kept(&self) -> impl Iterator<Item = (SnapshotUuid, Reasons)> {
        self.decisions.iter().filter_map(|decision| match decision.verdict {
            Verdict::Keep(reasons) => Some((decision.snapshot, reasons)),
            Verdict::Remove(_) => None,
        })
    }
}

/// Decides about all snapshots of one VM and policy.
pub fn decide(rules: &Rules, zone: &Zone, candidates: &[Candidate], now: DateTime<Utc>) -> Plan {
    Survey::new(rules, zone, now).plan(candidates)
}

/// Decides what may go before the snapshot of the slot `upcoming` is taken (`order = "prune-first"`): what will not be kept once it
/// exists, but never one of the newest `min` that exist now, because the snapshot may fail.
pub fn decide_ahead(rules: &Rules, zone: &Zone, candidates: &[Candidate], now: DateTime<Utc>, upcoming: DateTime<Utc>) -> Plan {
    let mut survey = Survey::new(rules, zone, now.max(upcoming));
    if candidates.iter().all(|candidate| candidate.due_at < upcoming) {
        survey.count_for_rules(upcoming);
    }
    survey.plan(candidates)
}

/// One walk over the snapshots from the newest to the oldest.
struct Survey<'a> {
    rules: &'a Rules,
    now: DateTime<Utc>,
    calendar: Calendar<'a>,
    /// Good ones seen that exist.
    seen: u32,
    /// Good ones seen for `last`.
    counted: u32,
    /// Periods seen, and the oldest of them.
    periods: [(u32, Key); 5],
    /// `within` keeps what is not older.
    horizon: Option<DateTime<Utc>>,
    zone: &'a Zone,
}

impl<'a> Survey<'a> {
    fn new(rules: &'a Rules, zone: &'a Zone, now: DateTime<Utc>) -> Self {
        let periods = [(0, Key::MAX); 5];
        Self { rules, now, calendar: Calendar::new(zone), seen: 0, counted: 0, periods, horizon: None, zone }
    }

    fn plan(&mut self, candidates: &[Candidate]) -> Plan {
        let mut order: Vec<&Candidate> = candidates.iter().collect();
        // Of one slot the oldest comes last, and it is the one that counts.
        order.sort_unstable_by_key(|candidate| std::cmp::Reverse((candidate.due_at, candidate.taken_at, candidate.snapshot)));
        let mut decisions = Vec::with_capacity(order.len());
        for slot in order.chunk_by(|one, other| one.due_at == other.due_at) {
            let oldest = slot.iter().rfind(|candidate| candidate.counts(self.now)).map(|candidate| candidate.snapshot);
            for candidate in slot {
                let duplicate = oldest.filter(|oldest| *oldest != candidate.snapshot);
                let verdict = self.verdict(candidate, duplicate);
                decisions.push(Decision { snapshot: candidate.snapshot, due_at: candidate.due_at, verdict });
            }
        }
        Plan { decisions }
    }

    fn verdict(&mut self, candidate: &Candidate, duplicate: Option<SnapshotUuid>) -> Verdict {
        let mut reasons = self.untouchable(candidate);
        let removal = match (candidate.state, duplicate) {
            (State::Partial, _) => Removal::Partial,
            (State::Ghost, _) => Removal::Ghost,
            (State::Durable, Some(oldest)) => Removal::DuplicateOf(oldest),
            _ => Removal::NotKept,
        };
        if candidate.counts(self.now) && duplicate.is_none() {
            self.count_existing(&mut reasons);
            self.apply_rules(candidate.due_at, &mut reasons);
        }
        if reasons.is_empty() { Verdict::Remove(removal) } else { Verdict::Keep(reasons) }
    }

    /// Reasons that no rule is needed for.
    fn untouchable(&self, candidate: &Candidate) -> Reasons {
        let state = match candidate.state {
            State::Fresh => Some(Reason::NotDurable),
            State::Unresolved => Some(Reason::Unresolved),
            State::Detached => Some(Reason::Detached),
            State::Foreign => Some(Reason::Foreign),
            State::Durable | State::Partial | State::Ghost => None,
        };
        let future = (candidate.due_at > self.now || candidate.taken_at > self.now).then_some(Reason::Future);
        let pinned = candidate.pin.is_some_and(|pin| pin.holds(self.now)).then_some(Reason::Pinned);
        [state, future, pinned].into_iter().flatten().collect()
    }

    fn count_existing(&mut self, reasons: &mut Reasons) {
        if self.seen == 0 {
            reasons.add(Reason::LastGood);
        } else if self.seen < self.rules.floor() {
            reasons.add(Reason::Min);
        }
        self.seen += 1;
    }

    fn apply_rules(&mut self, at: DateTime<Utc>, reasons: &mut Reasons) {
        for reason in self.count_for_rules(at).iter() {
            reasons.add(reason);
        }
    }

    /// Lets a good snapshot of the slot `at`, existing or about to, take its place under every rule.
    fn count_for_rules(&mut self, at: DateTime<Utc>) -> Reasons {
        let mut reasons = Reasons::default();
        if self.counted < self.rules.last {
            reasons.add(Reason::Last);
        }
        self.counted += 1;
        let civil = self.calendar.civil(at);
        for period in Period::ALL {
            if self.opens(period, || period.key(at, civil)) {
                reasons.add(period.reason());
            }
        }
        if let Some(within) = self.rules.within {
            let horizon = *self.horizon.get_or_insert_with(|| within.before(at, self.zone));
            if at >= horizon {
                reasons.add(Reason::Within);
            }
        }
        reasons
    }

    /// True when the key begins a period that is still kept. A key that returns where clocks were turned back begins none.
    fn opens(&mut self, period: Period, key: impl FnOnce() -> Key) -> bool {
        let (count, oldest) = &mut self.periods[period as usize];
        if *count >= self.rules.of(period) {
            return false;
        }
        let key = key();
        let opens = key < *oldest;
        if opens {
            (*count, *oldest) = (*count + 1, key);
        }
        opens
    }
}

#[cfg(test)]
mod tests;
