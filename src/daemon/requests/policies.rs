//! What is asked of a policy: a run or its retention now, what they would do, a person's yes, and snapshots to take over.

use chrono::SubsecRound;
use uuid::Uuid;

use super::super::runs::{Start, only_note, only_value};
use super::super::{Assigned, Handle};
use super::{Ask, Reply, refusal, snapshots};
use crate::engine::error::Result;
use crate::engine::prune::{self, Pruned, When};
use crate::engine::selecting;
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::engine::{holdings, late};
use crate::store::{ApprovalState, Claim, NewSlot, Origin, SlotState};

pub(super) async fn answer(worker: &mut Worker, handle: &Handle, sites: &[SharedSite], id: &str, ask: &Ask) -> Result<Reply> {
    let plan = handle.plan();
    let Some(assigned) = plan.find(id) else {
        let known: Vec<&str> = plan.policies.iter().map(|assigned| assigned.policy.id.as_str()).collect();
        return Ok(refusal(format!("there is no policy {id}; there is {}. Reload the service if it is new", known.join(", "))));
    };
    let sites = sites.iter().filter(|site| assigned.applies_to(site.name()));
    let mut reply = Reply::default();
    let mut reached = false;
    for site in sites {
        reached = true;
        match ask {
            Ask::Run { vms, .. } => run(handle, site, assigned, vms, &mut reply).await?,
            Ask::Prune { .. } => prune_now(worker, site, assigned, &mut reply).await?,
            Ask::Preview { vms, prune, .. } => preview(site, assigned, vms, *prune, &mut reply).await?,
            Ask::Approve { by, .. } => approve(worker, site, assigned, by, &mut reply).await?,
            Ask::Adopt { snapshots, .. } => snapshots::adopt(worker, site, &assigned.policy, snapshots, &mut reply).await?,
            Ask::Explain { .. } | Ask::Pin { .. } | Ask::Unpin { .. } | Ask::Release { .. } => {}
        }
    }
    Ok(if reached {
        reply
    } else {
        refusal(format!("none of the pools of policy {id} is reached now; `xensnap doctor` says why"))
    })
}

async fn run(handle: &Handle, site: &SharedSite, assigned: &Assigned, vms: &[Uuid], reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    if let Some(running) = handle.runs.running(&policy.id, site.uuid.0) {
        reply.failed = true;
        reply
            .lines
            .push(format!("{}: the run of slot {running} of this policy still works; ask again when it has ended", site.name()));
        return Ok(());
    }
    let due_at = handle.clock.now().trunc_subsecs(6);
    if !vms.is_empty() {
        handle.store.keep(&only_note(policy.id.as_str(), site.uuid.0, due_at), &only_value(vms), due_at).await?;
    }
    let slot = NewSlot {
        policy: policy.id.to_string(),
        pool: site.uuid.0,
        due_at,
        origin: Origin::Manual,
        state: SlotState::Claimed,
        reason: "manual".to_owned(),
        detail: "a person asked for it".to_owned(),
    };
    if let Claim::Won(slot) = handle.store.claim(slot, due_at).await? {
        handle.runs.start(site, policy, due_at, Start::Slot(slot));
        reply.slots.push((policy.id.to_string(), site.uuid.0, due_at));
        reply.lines.push(format!("{}: a run of policy {} was started", site.name(), policy.name));
    }
    Ok(())
}

async fn prune_now(worker: &mut Worker, site: &SharedSite, assigned: &Assigned, reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    late::secure_all(worker, site).await?;
    let mut removed = 0;
    for vm in holdings::vms_of(site, &policy.id) {
        let Pruned { removed: gone, left, awaits_approval } = prune::prune(worker, site, policy, None, vm.0, When::Now).await?;
        removed += gone;
        reply.failed |= !left.is_empty() || awaits_approval;
        reply.lines.extend(left.into_iter().map(|why| format!("{}: left: {why}", name_of(site, vm.0))));
        if awaits_approval {
            let name = name_of(site, vm.0);
            reply.lines.push(format!("{name}: a person has to agree first: xensnap prune {} --approve", policy.id));
        }
    }
    reply.lines.push(format!("{}: {removed} snapshots of policy {} removed", site.name(), policy.name));
    late::secure_all(worker, site).await
}

async fn preview(site: &SharedSite, assigned: &Assigned, vms: &[Uuid], only_prune: bool, reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    let only = (!vms.is_empty()).then_some(vms);
    let chosen = selecting::choose(site, policy, only);
    reply.lines.extend(chosen.unmatched.iter().map(|unmatched| format!("note: {unmatched}")));
    let (when, subjects) = if only_prune {
        let held = holdings::vms_of(site, &policy.id).into_iter().map(|vm| (vm.0, name_of(site, vm.0)));
        (When::Now, held.filter(|(vm, _)| only.is_none_or(|only| only.contains(vm))).collect::<Vec<_>>())
    } else {
        reply.lines.push(format!("{}: would take {} snapshots ({})", site.name(), chosen.vms.len(), policy.snapshot.kind.kind()));
        (When::Ahead(site.now()), chosen.vms.into_iter().map(|vm| (vm.uuid, vm.name)).collect())
    };
    for (vm, name) in subjects {
        let verdicts = prune::decide(site, policy, vm, when).await?;
        let (kept, gone) = prune::counts(&verdicts.plan);
        reply.lines.push(format!("  {name}: keeps {kept}, removes {gone}"));
        for (held, why) in verdicts.removals() {
            let due = policy.schedule.zone().civil(held.mark.due_at).format("%Y-%m-%d %H:%M");
            reply.lines.push(format!("    removes {} of {due}: {why}", held.mark.snapshot));
        }
    }
    Ok(())
}

async fn approve(worker: &mut Worker, site: &SharedSite, assigned: &Assigned, by: &str, reply: &mut Reply) -> Result<()> {
    let id = assigned.policy.id.as_str();
    let open = site.store.approvals(ApprovalState::Pending).await?;
    let mine: Vec<_> = open.into_iter().filter(|open| open.pool == site.uuid.0 && open.policy == id).collect();
    for approval in &mine {
        site.store.decide(approval.id, ApprovalState::Granted, by, site.now()).await?;
    }
    reply.lines.push(format!("{}: agreed to {} prunings", site.name(), mine.len()));
    prune_now(worker, site, assigned, reply).await?;
    if site.store.approvals(ApprovalState::Pending).await?.iter().all(|open| open.pool != site.uuid.0 || open.policy != id) {
        site.store.drop_note(&prune::adopted_note(site.uuid.0, id)).await?;
    }
    Ok(())
}

/// What people call a VM.
pub(super) fn name_of(site: &SharedSite, vm: Uuid) -> String {
    let tables = site.inventory.read();
    let vm = crate::engine::view::vm_of(&tables, vm).and_then(|vm| tables.get(&vm).cloned());
    vm.map_or_else(String::new, |vm| vm.name_label.to_string())
}
