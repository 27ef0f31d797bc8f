//! Retention for one VM: from what exists and the policy's rules to a plan with reasons, and from the plan to removals that are on
//! disk before anything is destroyed. Nothing is planned while history and pool may differ, nothing is removed while the clock is in
//! doubt, and what is more than usual waits for a person's word.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::admission::Request;
use super::consent::Whose;
use super::error::Result;
use super::guards::allowances::{self, Purse};
use super::guards::clocks;
use super::holdings::{self, Held};
use super::members;
use super::site::Site;
use super::uninstall::{self, Removed};
use super::view;
use super::worker::Worker;
use crate::domain::id::PolicyId;
use crate::domain::policy::{Limits, Policy, Priority};
use crate::domain::retention::{self, Plan, Verdict};
use crate::store::{NewRemoval, Removal, Role, RunId};

/// When retention decides: with the new snapshot there, or before it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// By what exists.
    Now,
    /// As if the snapshot of this slot existed too (`order = "prune-first"`).
    Ahead(DateTime<Utc>),
}

/// What a policy holds of one VM, and what retention says about it.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// The VM.
    pub vm: Uuid,
    /// Its snapshots, oldest first.
    pub held: Vec<Held>,
    /// The decisions, newest first.
    pub plan: Plan,
}

impl Verdicts {
    /// What goes, oldest first, with the reason in words.
    pub fn removals(&self) -> Vec<(&Held, String)> {
        let held = |snapshot| self.held.iter().find(|held| held.candidate.snapshot == snapshot);
        self.plan.removals().filter_map(|(snapshot, why)| Some((held(snapshot)?, why.to_string()))).collect()
    }
}

/// Decides, and changes nothing in the pool.
///
/// # Errors
/// When the history cannot be read.
pub async fn decide(site: &Site, policy: &Policy, vm: Uuid, when: When) -> Result<Verdicts> {
    let held = holdings::of(site, vm, &policy.id).await?;
    let candidates: Vec<_> = held.iter().map(|held| held.candidate).collect();
    let (rules, zone, now) = (&policy.retention.rules, policy.schedule.zone(), site.now());
    let plan = match when {
        When::Now => retention::decide(rules, zone, &candidates, now),
        When::Ahead(slot) => retention::decide_ahead(rules, zone, &candidates, now, slot),
    };
    let plan = members::spare(site, plan, &held).await?;
    Ok(Verdicts { vm, held, plan })
}

/// What became of one VM's retention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Snapshots that are gone.
    pub removed: usize,
    /// Snapshots that could not be removed now, with the reason.
    pub left: Vec<String>,
    /// True: a person has to say yes first.
    pub awaits_approval: bool,
}

/// Removes what retention does not keep of one VM, as [`prune_all`].
///
/// # Errors
/// When the history cannot be written.
pub async fn prune(
    worker: &mut Worker,
    site: &Site,
    policy: &Policy,
    run: Option<RunId>,
    vm: Uuid,
    when: When,
) -> Result<Pruned> {
    let pruned = prune_all(worker, site, policy, run, &[vm], when).await?;
    Ok(pruned.into_iter().next().map(|(_, pruned)| pruned).unwrap_or_default())
}

/// Removes what retention does not keep of some VMs, side by side, oldest first, pins that are over let go before
/// ([`super::pins::let_go`]): an interrupted pruning has then removed the least valuable. Nothing goes while the clock is in doubt; and
/// what is more than passes without a person's word waits for it, VM by VM, those with the fewest removals being first.
///
/// # Errors
/// When the history cannot be written.
pub async fn prune_all(
    worker: &mut Worker,
    site: &Site,
    policy: &Policy,
    run: Option<RunId>,
    vms: &[Uuid],
    when: When,
) -> Result<Vec<(Uuid, Pruned)>> {
    let whose = Whose { site, policy, run };
    site.trust(worker).await;
    whose.catch_up(worker, vms).await?;
    let mut decided = try_join_all(vms.iter().map(|vm| decide(site, policy, *vm, when))).await?;
    if decided.iter().any(|verdicts| !verdicts.removals().is_empty())
        && let Some(why) = clocks::doubt(worker, site).await?
    {
        let left = Pruned { left: vec![clocks::told(site, &why)], ..Pruned::default() };
        return Ok(decided.into_iter().map(|verdicts| (verdicts.vm, left.clone())).collect());
    }
    decided.sort_by_key(|verdicts| (verdicts.removals().len(), verdicts.vm));
    let purse = allowances::purse(site, policy, run, vms.len()).await?;
    let mut lines = Vec::with_capacity(vms.len());
    for verdicts in decided {
        let may = whose.may(&purse, &verdicts, when).await?;
        lines.push(line(worker.fork(), whose, &purse, verdicts, may, when));
    }
    worker.wait(try_join_all(lines)).await
}

/// The removals of one VM. If the server may have forgotten something meanwhile, what justified the rest may be gone, and it is decided
/// anew.
async fn line(
    mut worker: Worker,
    whose: Whose<'_>,
    purse: &Purse<'_>,
    mut verdicts: Verdicts,
    mut may: bool,
    when: When,
) -> Result<(Uuid, Pruned)> {
    let Whose { site, policy, run } = whose;
    let (vm, mut pruned) = (verdicts.vm, Pruned::default());
    loop {
        if !may {
            return Ok((vm, Pruned { awaits_approval: true, ..pruned }));
        }
        pruned.left.clear();
        let (before, planned) = (pruned.removed, verdicts.removals().len());
        if remove(&mut worker, site, policy, run, &verdicts, &mut pruned).await? {
            return Ok((vm, pruned));
        }
        purse.give_back(vm, planned - (pruned.removed - before).min(planned));
        site.trust(&mut worker).await;
        verdicts = decide(site, policy, vm, when).await?;
        may = whose.may(purse, &verdicts, when).await?;
    }
}

/// Removes what goes. False if history and pool have to be compared before any more goes.
///
/// # Errors
/// When the history cannot be written.
pub(super) async fn remove(
    worker: &mut Worker,
    site: &Site,
    policy: &Policy,
    run: Option<RunId>,
    verdicts: &Verdicts,
    pruned: &mut Pruned,
) -> Result<bool> {
    let queue = queue(policy);
    for (held, reason) in verdicts.removals() {
        if !site.is_trusted() {
            return Ok(false);
        }
        let removal = match plan_removal(site, run, held, reason).await? {
            Ok(removal) => removal,
            Err(why) => {
                pruned.left.push(why);
                continue;
            }
        };
        match uninstall::carry_out(worker, site, &removal, &queue).await? {
            Removed::Done => pruned.removed += 1,
            Removed::Waiting(cause) | Removed::Withdrawn(cause) | Removed::Orphaned(cause) => pruned.left.push(cause.text),
        }
    }
    Ok(true)
}

/// Whose turn a removal takes.
pub fn queue(policy: &Policy) -> Request {
    Request { policy: policy.id.clone(), priority: policy.priority, srs: Vec::new(), host: None, own: policy.limits }
}

/// The same for a policy that is in no file any more.
pub fn queue_of(policy: &PolicyId) -> Request {
    Request { policy: policy.clone(), priority: Priority::default(), srs: Vec::new(), host: None, own: Limits::default() }
}

/// Writes down all that will be destroyed with a snapshot: what was recorded when it was taken, and what its drives name now.
async fn plan_removal(
    site: &Site,
    run: Option<RunId>,
    held: &Held,
    reason: String,
) -> Result<std::result::Result<Removal, String>> {
    let snapshot = held.record.uuid.get();
    let mut disks: BTreeSet<Uuid> = held.row.disks.iter().map(|disk| disk.vdi).collect();
    disks.extend(view::disks(&site.inventory.read(), &held.reference).into_iter().map(|disk| disk.vdi));
    let mut parts = vec![(Role::Snapshot, snapshot)];
    parts.extend(disks.into_iter().map(|disk| (Role::Disk, disk)));
    parts.extend(held.row.suspend_image.map(|image| (Role::Suspend, image)));
    let new = NewRemoval { pool: site.uuid.0, snapshot, run, reason, parts };
    match site.store.plan_removal(new, site.now()).await {
        Ok(removal) => Ok(Ok(removal)),
        // Pinned or given away since the plan was made: it stays.
        Err(error @ (crate::store::Error::Pinned { .. } | crate::store::Error::Illegal { .. })) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// How many snapshots stay and go.
pub fn counts(plan: &Plan) -> (usize, usize) {
    let kept = plan.decisions.iter().filter(|decision| matches!(decision.verdict, Verdict::Keep(_))).count();
    (kept, plan.decisions.len() - kept)
}
