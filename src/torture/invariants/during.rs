//! What must be true at every moment.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Evidence, Held, Removal};
use crate::domain::id::SnapshotUuid;
use crate::domain::policy::Policy;
use crate::domain::retention::{Candidate, State, Verdict, decide};

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
    Some(format!(
        "{at}: the snapshot {} of VM {} for {} was destroyed, which {} keeps ({reasons}); {} others were there",
        removed.snapshot,
        removed.vm,
        removed.due_at,
        removed.policy,
        others.len()
    ))
}

/// Why a policy keeps one of these snapshots; none: it does not.
pub(super) fn verdict(policy: &Policy, all: &[&Held], one: &Held, now: DateTime<Utc>) -> Option<String> {
    let candidate = |held: &&Held| Candidate {
        snapshot: SnapshotUuid(held.snapshot),
        due_at: held.due_at,
        taken_at: held.taken_at,
        state: if held.whole { State::Durable } else { State::Partial },
        pin: None,
    };
    let candidates: Vec<Candidate> = all.iter().map(candidate).collect();
    // Whose clock is wrong is not asked here: what is dated in the future counts.
    let plan = decide(&policy.retention.rules, policy.schedule.zone(), &candidates, now + TimeDelta::days(30));
    let decision = plan.decisions.iter().find(|decision| decision.snapshot.0 == one.snapshot)?;
    match &decision.verdict {
        Verdict::Keep(reasons) => Some(format!("{reasons:?}")),
        Verdict::Remove(_) => None,
    }
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
