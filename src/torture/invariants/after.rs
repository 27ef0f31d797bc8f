//! What must be true once the pool has been healthy for a while.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use uuid::Uuid;

use super::during::verdict;
use super::{Evidence, Held};
use crate::domain::policy::Policy;

/// So long before the end a due time must lie to be through.
const THROUGH: TimeDelta = TimeDelta::hours(2);

/// Nothing more will happen to any slot.
pub(super) fn slots_final(evidence: &Evidence) -> Vec<String> {
    let open = evidence.slots.iter().filter(|slot| !slot.is_final && slot.due_at < evidence.ended - THROUGH);
    open.map(|slot| format!("the slot {} of {} is still open", slot.due_at, slot.policy)).collect()
}

/// Every due time has a row.
pub(super) fn slots_complete(evidence: &Evidence) -> Vec<String> {
    let rows: BTreeSet<(&str, i64)> = evidence.slots.iter().map(|slot| (&*slot.policy, slot.due_at.timestamp())).collect();
    let lacks = |policy: &Policy| {
        let due = policy.schedule.slots_after(evidence.began).take_while(|due| *due < evidence.ended - THROUGH);
        let missing = due.filter(|due| !rows.contains(&(policy.id.as_str(), due.timestamp())));
        missing.map(|due| format!("the history knows nothing of the slot {due} of {}", policy.id)).collect::<Vec<_>>()
    };
    evidence.policies.iter().flat_map(lacks).collect()
}

/// Every snapshot that the service took and that is there carries its mark.
pub(super) fn marked(evidence: &Evidence) -> Vec<String> {
    evidence.remains.unmarked.iter().map(|snapshot| format!("the snapshot {snapshot} was taken by us and has no mark")).collect()
}

/// Nothing of a run is left at the pool but its snapshots.
pub(super) fn nothing_left(evidence: &Evidence) -> Vec<String> {
    let remains = &evidence.remains;
    let disks = remains.disks.iter().map(|disk| format!("the disk {disk} was made by us and belongs to nothing"));
    let tasks = remains.tasks.iter().map(|task| format!("the task {task} is still there"));
    let operations = remains.operations.iter().map(|operation| format!("an operation is left behind: {operation}"));
    let halted = remains.halted.iter().map(|vm| format!("the VM {vm} was halted by us and does not run"));
    let claims = remains.claims.iter().map(|claim| format!("the claim {claim} to the lease is still there"));
    let sessions = (remains.sessions > 0).then(|| format!("{} sessions are still there", remains.sessions));
    disks.chain(tasks).chain(halted).chain(operations).chain(claims).chain(sessions).collect()
}

/// The pool is as the policies want it: each VM has a good snapshot of the newest slot or a later one, none twice, and nothing that goes is still there.
pub(super) fn converged(evidence: &Evidence) -> Vec<String> {
    evidence.policies.iter().flat_map(|policy| converged_for(evidence, policy)).collect()
}

fn converged_for(evidence: &Evidence, policy: &Policy) -> Vec<String> {
    let slots = policy.schedule.slots_after(evidence.healthy).take_while(|due| *due < evidence.ended - THROUGH);
    let newest = slots.last();
    let covered = evidence.remains.covered.get(policy.id.as_str()).map_or(&[][..], Vec::as_slice);
    let mut wrong = Vec::new();
    for vm in covered {
        let of_vm = |held: &&Held| held.policy == policy.id.as_str() && held.vm == *vm;
        let held: Vec<&Held> = evidence.remains.held.iter().filter(of_vm).collect();
        if let Some(due) = newest
            && !held.iter().any(|held| held.due_at >= due && held.whole)
        {
            wrong.push(format!("VM {vm} has no good snapshot of {} for {due} or later, though all was well", policy.id));
        }
        wrong.extend(too_many(evidence, policy, *vm, &held));
    }
    wrong
}

fn too_many(evidence: &Evidence, policy: &Policy, vm: Uuid, held: &[&Held]) -> Vec<String> {
    let now = evidence.ended;
    // Of what came in the last hours the turn to go may not have come.
    let settled: Vec<&Held> = held.iter().copied().filter(|held| held.due_at < now - THROUGH).collect();
    let goes = |one: &&&Held| verdict(policy, &settled, one, now).is_none();
    let told = |one: &&Held| {
        format!(
            "the snapshot {} of VM {vm} for {} is still there, though {} does not keep it",
            one.snapshot, one.due_at, policy.id
        )
    };
    settled.iter().filter(goes).map(told).collect()
}
