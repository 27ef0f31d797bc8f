//! What must be true at every moment.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Evidence, Held, Removal};
use crate::domain::guard::OnLowSpace;
use crate::domain::id::SnapshotUuid;
use crate::domain::policy::Policy;
use crate::domain::retention::{Candidate, Order, State, Verdict, decide, decide_ahead};

/// By so much a clock may be wrong.
const WRONG: TimeDelta = TimeDelta::hours(4);

/// Nothing was changed or destroyed that the service had not made.
pub(super) fn foreign_untouched(evidence: &Evidence) -> Vec<String> {
    let told = |touch: &super::Touch| {
        let what = if touch.field.is_empty() { "destroyed".to_owned() } else { format!("changed `{}` of", touch.field) };
        format!("{}: {} {what} the {} {}, which is not ours", touch.at, touch.method, touch.class, touch.object)
    };
    evidence.touches.iter().map(told).collect()
}

/// No managed snapshot was destroyed that its policy keeps, whoever judges it: all that were whole count, durable or not, which makes
/// the rules keep the least.
pub(super) fn kept_by_policy(evidence: &Evidence) -> Vec<String> {
    evidence.removals.iter().filter_map(|removal| wrongly_removed(evidence, removal)).collect()
}

fn wrongly_removed(evidence: &Evidence, removal: &Removal) -> Option<String> {
    let Removal { at, removed, others } = removal;
    let policy = evidence.policy(&removed.policy)?;
    // One that lacks disks counts for nothing.
    if !removed.whole {
        return None;
    }
    let all: Vec<&Held> = others.iter().chain([removed]).collect();
    let reasons = verdict(policy, &all, removed, *at)?;
    if goes_ahead(policy, &all, removed, *at) {
        return None;
    }
    Some(format!(
        "{at}: the snapshot {} of VM {} for {} was destroyed, which {} keeps ({reasons}); {} others were there",
        removed.snapshot,
        removed.vm,
        removed.due_at,
        removed.policy,
        others.len()
    ))
}

/// Whether a policy that prunes first lets one go for a snapshot that is about to be taken. Clocks may be wrong by some hours.
fn goes_ahead(policy: &Policy, all: &[&Held], one: &Held, now: DateTime<Utc>) -> bool {
    if policy.retention.order != Order::PruneFirst && policy.guards.on_low_space != OnLowSpace::PruneFirst {
        return false;
    }
    let (rules, zone, candidates) = (&policy.retention.rules, policy.schedule.zone(), candidates(all));
    let newest = all.iter().map(|held| held.due_at).max().unwrap_or(now);
    let mut slots = policy.schedule.slots_after(newest).take_while(|due| *due < now + WRONG);
    slots.any(|due| {
        let plan = decide_ahead(rules, zone, &candidates, now, due);
        let decision = plan.decisions.iter().find(|decision| decision.snapshot.0 == one.snapshot);
        decision.is_some_and(|decision| matches!(decision.verdict, Verdict::Remove(_)))
    })
}

/// Why a policy keeps one of these snapshots; none: it does not.
pub(super) fn verdict(policy: &Policy, all: &[&Held], one: &Held, now: DateTime<Utc>) -> Option<String> {
    let candidates = candidates(all);
    // Whose clock is wrong is not asked here: what is dated in the future counts.
    let plan = decide(&policy.retention.rules, policy.schedule.zone(), &candidates, now + TimeDelta::days(30));
    let decision = plan.decisions.iter().find(|decision| decision.snapshot.0 == one.snapshot)?;
    match &decision.verdict {
        Verdict::Keep(reasons) => Some(format!("{reasons:?}")),
        Verdict::Remove(_) => None,
    }
}

fn candidates(all: &[&Held]) -> Vec<Candidate> {
    let candidate = |held: &&Held| Candidate {
        snapshot: SnapshotUuid(held.snapshot),
        due_at: held.due_at,
        taken_at: held.taken_at,
        state: if held.whole { State::Durable } else { State::Partial },
        pin: None,
    };
    all.iter().map(candidate).collect()
}

/// No slot of a VM got a second good snapshot while the first was there.
pub(super) fn one_per_slot(evidence: &Evidence) -> Vec<String> {
    let told = |double: &super::Double| {
        let (policy, vm, due) = double.second.slot();
        format!(
            "{}: VM {vm} has two snapshots of {policy} for {due}: {} and {}",
            double.at, double.first.snapshot, double.second.snapshot
        )
    };
    evidence.doubles.iter().map(told).collect()
}

/// The service ends only when it is killed or told to.
pub(super) fn service_lives(evidence: &Evidence) -> Vec<String> {
    evidence.deaths.clone()
}
