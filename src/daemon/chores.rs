//! What is done from time to time about a pool, besides its runs: removals that wait, pins that are over, VMs that were left halted,
//! calls whose end was not known, snapshots whose policy or VM is gone and that were to stay for a while only.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use uuid::Uuid;

use super::plan::Plan;
use super::runs::Runs;
use crate::domain::id::PolicyId;
use crate::domain::pause::Work;
use crate::engine::error::Result;
use crate::engine::guards::clocks;
use crate::engine::site::SharedSite;
use crate::engine::uninstall::Queue;
use crate::engine::worker::Worker;
use crate::engine::{aftermath, late, offline, orphans, pins, prune, uninstall, view};
use crate::store::{Cause, EventKind, JobState, Keep, NewEvent, Removal, Run, Snapshot, Store};

/// Does everything that is due.
pub(super) async fn do_all(worker: &mut Worker, site: &SharedSite, plan: &Plan, runs: &Runs) -> Result<()> {
    bring_back(worker, site).await?;
    pins::let_go(worker, site).await?;
    late::settle(worker, site, |id| runs_free(runs, site, id)).await?;
    if site.is_trusted() {
        removals(worker, site, plan).await?;
        let known: BTreeSet<String> = plan.ids().map(ToString::to_string).collect();
        aftermath::tidy(worker, site, &known).await?;
    }
    // What is old by a wrong clock may be all there is.
    if clocks::doubt_at_rest(worker, site).await?.is_some() {
        return Ok(());
    }
    site.wishes.forget(&site.store, site.now()).await?;
    forget(&site.store, plan, site.now()).await
}

/// History's own retention, a little at a time.
async fn forget(store: &Store, plan: &Plan, now: DateTime<Utc>) -> Result<()> {
    let Some(keep) = plan.times.keep_history else { return Ok(()) };
    store.forget(Keep { runs: keep, snapshots: keep, events: keep }, FORGOTTEN_AT_ONCE, now).await?;
    Ok(())
}

/// So many rows of history go at one chance.
const FORGOTTEN_AT_ONCE: u32 = 500;

fn runs_free(runs: &Runs, site: &SharedSite, policy: &str) -> bool {
    policy.parse().is_ok_and(|policy| runs.running(&policy, site.uuid.0).is_none())
}

/// Removals whose time has come again. Those of a run that works are left to it.
async fn removals(worker: &mut Worker, site: &SharedSite, plan: &Plan) -> Result<()> {
    let due = site.store.removals_due(site.now()).await?;
    for removal in due.into_iter().filter(|removal| removal.pool == site.uuid.0) {
        if !site.is_trusted() {
            return Ok(());
        }
        if let Some(run) = removal.run
            && site.store.run(run).await?.outcome.is_none()
        {
            continue;
        }
        let row = match removal.snapshot_row {
            Some(row) => Some(site.store.snapshot(row).await?),
            None => None,
        };
        if is_paused(site, row.as_ref()) {
            continue;
        }
        let queue = queue_of(site, plan, &removal, row).await?;
        let claim = aftermath::claim_on(site, removal.snapshot).await?;
        uninstall::carry_out_as(worker, site, &removal, &queue, claim).await?;
    }
    settle(worker, site).await
}

/// The turns of the policy for which something is removed: of its snapshot, or of its run where what is removed never was one.
async fn queue_of(site: &SharedSite, plan: &Plan, removal: &Removal, row: Option<Snapshot>) -> Result<Queue> {
    let policy = match (row, removal.run) {
        (Some(row), _) => Some(row.policy),
        (None, Some(run)) => Some(site.store.run(run).await?.policy),
        (None, None) => None,
    };
    let known = policy.as_ref().and_then(|policy| plan.policy(policy));
    let id = policy.and_then(|policy| policy.parse().ok());
    Ok(known.map_or_else(|| prune::queue_of(&id.unwrap_or_else(PolicyId::nobody)), |policy| prune::queue(policy)))
}

/// True while a person wants that nothing is done about what a removal touches.
fn is_paused(site: &SharedSite, row: Option<&Snapshot>) -> bool {
    let policy = row.and_then(|row| row.policy.parse().ok()).unwrap_or_else(PolicyId::nobody);
    let srs: Vec<Uuid> = row.iter().flat_map(|row| row.disks.iter().map(|disk| disk.sr)).collect();
    let vm = row.map_or_else(Uuid::nil, |row| row.vm_uuid);
    let work = Work { policy: &policy, pool: site.uuid.0, vm, srs: &srs, host: None };
    site.wishes.paused(&work, site.now()).is_some()
}

/// What no run makes durable any more: removals of runs that are over, and of none.
async fn settle(worker: &mut Worker, site: &SharedSite) -> Result<()> {
    for removal in site.store.removals_to_settle(site.uuid.0).await? {
        let left = match removal.run {
            Some(run) => site.store.run(run).await?.outcome.is_some(),
            None => true,
        };
        if left {
            return late::secure_all(worker, site).await;
        }
    }
    Ok(())
}

/// VMs that we shut down and that an earlier life did not bring back; so many at a time, because a start may take long.
pub(super) async fn bring_back(worker: &mut Worker, site: &SharedSite) -> Result<()> {
    let notes = site.store.kept_under(&format!("offline/{}/", site.uuid)).await?;
    let lines = notes.into_iter().map(|(note, value)| async move {
        let mut worker = site.worker();
        bring_back_one(&mut worker, site, &note, &value).await
    });
    let back: Vec<Result<()>> = worker.wait(stream::iter(lines).buffer_unordered(STARTS_AT_ONCE).collect()).await;
    back.into_iter().collect()
}

/// So many VMs are started at a time.
const STARTS_AT_ONCE: usize = 8;

async fn bring_back_one(worker: &mut Worker, site: &SharedSite, note: &str, value: &Value) -> Result<()> {
    let Some(vm) = note.rsplit('/').next().and_then(|vm| vm.parse::<Uuid>().ok()) else {
        return Ok(site.store.drop_note(note).await?);
    };
    if orphans::is_in_work(site, value, vm).await? {
        return Ok(());
    }
    let Some(reference) = view::vm_of(&site.inventory.read(), vm) else { return Ok(site.store.drop_note(note).await?) };
    // Whoever has it brings it back.
    let Some(_turn) = site.alone.if_free(vm) else { return Ok(()) };
    match offline::bring_back(worker, &site.pool, &site.inventory, &reference).await {
        Ok(()) if is_watched(value, site.now()) => {}
        Ok(()) | Err(offline::OfflineError::Gone) => site.store.drop_note(note).await?,
        Err(error) => {
            let name = value.get("name").and_then(Value::as_str).unwrap_or("a VM");
            let error = crate::xenapi::error::chain(&error);
            let text = format!("{name} was shut down for its snapshot and cannot be started again: {error}");
            site.note(NewEvent { vm: Some(vm), ..site.event(EventKind::LeftHalted, text) }).await?;
        }
    }
    Ok(())
}

/// True while a guest that was asked to shut down and did not may still do so.
fn is_watched(note: &Value, now: DateTime<Utc>) -> bool {
    let until = note.get("until").and_then(Value::as_str).and_then(|until| until.parse::<DateTime<Utc>>().ok());
    until.is_some_and(|until| now < until)
}

/// Ends the jobs of a run whose policy is in no file any more, as far as they have not begun.
pub(super) async fn cancel_queued(store: &Store, run: &Run, now: DateTime<Utc>) -> Result<()> {
    for job in store.jobs_of(run.id).await?.into_iter().filter(|job| job.state == JobState::Queued) {
        let cause = Cause::new("policy-removed", "its policy is in no file any more");
        store.end_job(job.id, JobState::Cancelled, Some(cause), now).await?;
    }
    Ok(())
}
