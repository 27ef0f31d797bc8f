//! What is asked of a policy: a run or its retention now, what they would do, and snapshots to take over.

use chrono::SubsecRound;
use uuid::Uuid;

use super::super::runs::{Start, only_note, only_value};
use super::super::{Assigned, Handle, Plan};
use super::{Ask, Reply, Slot, names, snapshots};
use crate::domain::id::PolicyId;
use crate::domain::nearest::nearest_few;
use crate::domain::pause;
use crate::engine::error::Result;
use crate::engine::guards::{self, Promises};
use crate::engine::prune::{self, Pruned, When};
use crate::engine::selecting;
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::engine::{consent, holdings, late, pins};
use crate::store::{Claim, NewSlot, Origin, SlotState};

/// Answers what is asked about a policy, on each of its pools that is reached.
pub(super) async fn answer(
    worker: &mut Worker,
    handle: &Handle,
    sites: &[SharedSite],
    policy: &str,
    (ask, by): (&Ask, &str),
    reply: &mut Reply,
) -> Result<()> {
    let plan = handle.plan();
    let Some(assigned) = plan.find(policy) else {
        reply.refuse("not-found", unknown(&plan, policy));
        return Ok(());
    };
    let mine: Vec<SharedSite> = sites.iter().filter(|site| assigned.applies_to(site.name())).cloned().collect();
    if mine.is_empty() {
        let text = format!("none of the pools of policy {} is reached now; `xensnap doctor` says why", assigned.policy.name);
        reply.refuse("no-pool", text);
        return Ok(());
    }
    let vms = match ask {
        Ask::Run { vms, .. } | Ask::Preview { vms, .. } => match names::vms(&handle.store, &mine, vms).await? {
            Ok(vms) => vms,
            Err(why) => {
                reply.refuse("not-found", why);
                return Ok(());
            }
        },
        _ => Vec::new(),
    };
    for site in &mine {
        match ask {
            Ask::Run { .. } => run(handle, site, assigned, (&vms, by), reply).await?,
            Ask::Prune { .. } => prune_now(worker, site, assigned, reply).await?,
            Ask::Preview { prune, .. } => preview(site, assigned, &vms, *prune, reply).await?,
            Ask::Adopt { snapshots, .. } => snapshots::adopt(worker, site, &assigned.policy, snapshots, reply).await?,
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn unknown(plan: &Plan, policy: &str) -> String {
    let known: Vec<&str> =
        plan.policies.iter().flat_map(|assigned| [assigned.policy.id.as_str(), assigned.policy.name.as_str()]).collect();
    let near = nearest_few(policy, known.iter().copied(), 3);
    let hint = if near.is_empty() { plan.ids().map(PolicyId::as_str).collect() } else { near };
    format!("the service has no policy {policy}; there is {}. If it is new: xensnap reload", hint.join(", "))
}

/// Claims a slot of now and starts its run. The claim is on disk before anybody is told.
async fn run(
    handle: &Handle,
    site: &SharedSite,
    assigned: &Assigned,
    (vms, by): (&[Uuid], &str),
    reply: &mut Reply,
) -> Result<()> {
    let policy = &assigned.policy;
    if let Some(running) = handle.runs.running(&policy.id, site.uuid.0) {
        let name = site.name();
        reply.fail(format!("{name}: the run of slot {running} of this policy still works; ask again when it has ended"));
        return Ok(());
    }
    let due_at = handle.clock.now().trunc_subsecs(6);
    if let Some(pause) = pause::of_slot(&handle.wishes.pauses(), (&policy.id, site.uuid.0), due_at, due_at) {
        reply.fail(format!("{}: {pause}; `xensnap resume` ends that", site.name()));
        return Ok(());
    }
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
        detail: format!("{by} asked for it"),
    };
    if let Claim::Won(slot) = handle.store.claim(slot, due_at).await? {
        handle.runs.start(site, policy, due_at, Start::Slot(slot));
        reply.slots.push(Slot { policy: policy.id.to_string(), pool: site.uuid.0, due_at });
        reply.say(format!("{}: a run of policy {} was started", site.name(), policy.name));
    }
    Ok(())
}

async fn prune_now(worker: &mut Worker, site: &SharedSite, assigned: &Assigned, reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    late::secure_all(worker, site).await?;
    pins::let_go(worker, site).await?;
    let mut removed = 0;
    let vms: Vec<Uuid> = holdings::vms_of(site, &policy.id).into_iter().map(|vm| vm.0).collect();
    for (vm, pruned) in prune::prune_all(worker, site, policy, None, &vms, When::Now).await? {
        let (Pruned { removed: gone, left, awaits_approval }, name) = (pruned, name_of(site, vm));
        removed += gone;
        left.into_iter().for_each(|why| reply.fail(format!("{name}: left: {why}")));
        if awaits_approval {
            reply.fail(format!("{name}: nothing removed: a person has to agree first: xensnap prune {} --approve", policy.id));
        }
    }
    reply.say(format!("{}: {removed} snapshots of policy {} removed", site.name(), policy.name));
    late::secure_all(worker, site).await
}

async fn preview(site: &SharedSite, assigned: &Assigned, vms: &[Uuid], only_prune: bool, reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    let only = (!vms.is_empty()).then_some(vms);
    let chosen = selecting::choose(site, policy, only);
    chosen.unmatched.iter().for_each(|unmatched| reply.say(format!("note: {unmatched}")));
    let (when, subjects) = if only_prune {
        let held = holdings::vms_of(site, &policy.id).into_iter().map(|vm| (vm.0, name_of(site, vm.0)));
        (When::Now, held.filter(|(vm, _)| only.is_none_or(|only| only.contains(vm))).collect::<Vec<_>>())
    } else {
        reply.say(format!("{}: would take {} snapshots ({})", site.name(), chosen.vms.len(), policy.snapshot.kind.kind()));
        (When::Ahead(site.now()), chosen.vms.into_iter().map(|vm| (vm.uuid, vm.name)).collect())
    };
    let together = Promises::default();
    for (vm, name) in subjects {
        let verdicts = prune::decide(site, policy, vm, when).await?;
        let (kept, gone) = prune::counts(&verdicts.plan);
        reply.say(format!("  {name}: keeps {kept}, removes {gone}"));
        if !only_prune {
            guards::outlook(site, policy, vm, &together).into_iter().for_each(|line| reply.say(format!("    {line}")));
        }
        if only_prune {
            consent::outlook(site, policy, &verdicts).into_iter().for_each(|line| reply.say(format!("    {line}")));
        }
        for (held, why) in verdicts.removals() {
            let due = policy.schedule.zone().civil(held.mark.due_at).format("%Y-%m-%d %H:%M");
            reply.say(format!("    removes {} of {due}: {why}", held.mark.snapshot));
        }
    }
    Ok(())
}

/// What people call a VM.
pub(super) fn name_of(site: &SharedSite, vm: Uuid) -> String {
    let tables = site.inventory.read();
    let vm = crate::engine::view::vm_of(&tables, vm).and_then(|vm| tables.get(&vm).cloned());
    vm.map_or_else(String::new, |vm| vm.name_label.to_string())
}
