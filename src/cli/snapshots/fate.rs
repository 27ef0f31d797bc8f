//! Why each snapshot stays, and when it will go: retention's own answers, from what history knows. The daemon looks at the pool as
//! well before it removes anything, so this is what it will do if the pool agrees.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::super::view::{Cell, NOTHING, Times, Tone};
use crate::config::CheckedPolicy;
use crate::domain::id::SnapshotUuid;
use crate::domain::policy::Policy;
use crate::domain::retention::{Candidate, Expiry, Pin, State, Verdict, decide, forecast};
use crate::store::{Snapshot, SnapshotId, SnapshotState};

/// What becomes of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Fate {
    /// What retention decides now.
    pub(in crate::cli) verdict: Verdict,
    /// When it will go.
    pub(in crate::cli) expiry: Expiry,
}

/// The fates of snapshots whose policy is known. `snapshots` has to hold all that are there of each VM and policy it holds any of.
pub(in crate::cli) fn fates(
    snapshots: &[Snapshot],
    policies: Option<&[CheckedPolicy]>,
    now: DateTime<Utc>,
) -> HashMap<SnapshotId, Fate> {
    let mut fates = HashMap::new();
    let policies: HashMap<&str, &Policy> =
        policies.unwrap_or_default().iter().map(|checked| (checked.policy.id.as_str(), &checked.policy)).collect();
    let mut sets: BTreeMap<(&str, i64), Vec<(SnapshotId, Candidate)>> = BTreeMap::new();
    for snapshot in snapshots {
        if let Some(candidate) = candidate(snapshot) {
            sets.entry((&snapshot.policy, snapshot.vm.0)).or_default().push((snapshot.id, candidate));
        }
    }
    let mut ahead: HashMap<&str, Ahead<'_>> = HashMap::new();
    for ((id, _), set) in sets {
        if let Some(policy) = policies.get(id) {
            judge(ahead.entry(id).or_insert_with(|| Ahead { policy, asked: RefCell::default() }), &set, now, &mut fates);
        }
    }
    fates
}

/// The slots of a policy that come, each walked to once: thousands of VMs have snapshots of the same nights.
struct Ahead<'a> {
    policy: &'a Policy,
    asked: RefCell<HashMap<DateTime<Utc>, Option<DateTime<Utc>>>>,
}

impl Ahead<'_> {
    fn next_slot(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let walk = || self.policy.enabled.then(|| self.policy.schedule.next_open_after(after)).flatten();
        *self.asked.borrow_mut().entry(after).or_insert_with(walk)
    }
}

fn judge(ahead: &Ahead<'_>, set: &[(SnapshotId, Candidate)], now: DateTime<Utc>, fates: &mut HashMap<SnapshotId, Fate>) {
    let policy = ahead.policy;
    let (rules, zone) = (&policy.retention.rules, policy.schedule.zone());
    let candidates: Vec<Candidate> = set.iter().map(|(_, candidate)| *candidate).collect();
    let rows: HashMap<SnapshotUuid, SnapshotId> = set.iter().map(|(id, candidate)| (candidate.snapshot, *id)).collect();
    let expiries: HashMap<SnapshotUuid, Expiry> =
        forecast(rules, zone, &candidates, now, |after| ahead.next_slot(after)).into_iter().collect();
    for decision in decide(rules, zone, &candidates, now).decisions {
        let expiry = if policy.observe { Expiry::Stays } else { expiries[&decision.snapshot] };
        fates.insert(rows[&decision.snapshot], Fate { verdict: decision.verdict, expiry });
    }
}

/// What retention is told; nothing for what is gone or on its way out.
fn candidate(snapshot: &Snapshot) -> Option<Candidate> {
    let state = match snapshot.state {
        SnapshotState::Taken | SnapshotState::Marked => State::Fresh,
        SnapshotState::Durable => State::Durable,
        SnapshotState::Ghost => State::Ghost,
        SnapshotState::Detached => State::Detached,
        SnapshotState::Removing | SnapshotState::Removed | SnapshotState::Vanished | SnapshotState::Released => return None,
    };
    let pin = snapshot.pinned_until.map(Pin::Until);
    Some(Candidate { snapshot: SnapshotUuid(snapshot.uuid), due_at: snapshot.due_at, taken_at: snapshot.taken_at, state, pin })
}

impl Fate {
    /// Why it stays, or that nothing keeps it.
    pub(in crate::cli) fn kept_by(fate: Option<&Self>) -> Cell {
        match fate.map(|fate| fate.verdict) {
            None => NOTHING.into(),
            Some(Verdict::Keep(reasons)) => reasons.to_string().into(),
            Some(Verdict::Remove(removal)) => Cell::toned(Tone::Doubt, removal.word()),
        }
    }

    /// How long it still stays.
    pub(in crate::cli) fn goes(fate: Option<&Self>, times: &Times) -> Cell {
        match fate.map(|fate| fate.expiry) {
            None => NOTHING.into(),
            Some(Expiry::NextPruning) => Cell::toned(Tone::Doubt, "next run"),
            Some(Expiry::At(at)) => times.distance(at).into(),
            Some(Expiry::Stays) => "stays".into(),
        }
    }

    /// The time at which it goes.
    pub(in crate::cli) fn goes_at(fate: Option<&Self>, times: &Times) -> Cell {
        match fate.map(|fate| fate.expiry) {
            Some(Expiry::At(at)) => times.short(at).into(),
            _ => NOTHING.into(),
        }
    }
}
