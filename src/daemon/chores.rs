//! What is done from time to time about a pool, besides its runs: removals that wait, pins that are over, VMs that were left halted,
//! calls whose end was not known, snapshots whose policy or VM is gone and that were to stay for a while only.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::plan::Plan;
use super::runs::Runs;
use crate::domain::policy::{Afterwards, Limits, Policy, Priority, Retention, SnapshotSettings, WantedKind};
use crate::domain::retention::{Order, Rules};
use crate::domain::schedule::Schedule;
use crate::domain::selection::Selection;
use crate::domain::zone::Zone;
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::engine::{aftermath, late, offline, pins, prune, uninstall, view};
use crate::store::{Cause, EventKind, JobState, Keep, NewEvent, Run, Store};

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
        let policy = row.as_ref().and_then(|row| plan.policy(&row.policy));
        let queue = policy.map_or_else(|| prune::queue(&stand_in("removed", "removed")), |policy| prune::queue(policy));
        uninstall::carry_out(worker, site, &removal, &queue).await?;
    }
    settle(worker, site).await
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

/// VMs that we shut down and that an earlier life did not bring back.
pub(super) async fn bring_back(worker: &mut Worker, site: &SharedSite) -> Result<()> {
    let prefix = format!("offline/{}/", site.uuid);
    for (note, value) in site.store.kept_under(&prefix).await? {
        let run = value.get("run").and_then(Value::as_str).and_then(|run| run.parse::<Uuid>().ok());
        if let Some(run) = run
            && let Some(run) = site.store.run_by_uuid(run).await?
            && site
                .store
                .jobs_of(run.id)
                .await?
                .iter()
                .any(|job| note.ends_with(&job.vm_uuid.to_string()) && matches!(job.state, JobState::Intent | JobState::Calling))
        {
            // Its snapshot may be in work.
            continue;
        }
        let vm = note.rsplit('/').next().and_then(|vm| vm.parse::<Uuid>().ok());
        let vm = vm.and_then(|vm| view::vm_of(&site.inventory.read(), vm));
        let Some(vm) = vm else {
            site.store.drop_note(&note).await?;
            continue;
        };
        match offline::bring_back(worker, &site.pool, &site.inventory, &vm).await {
            Ok(()) if is_watched(&value, site.now()) => {}
            Ok(()) | Err(offline::OfflineError::Gone) => site.store.drop_note(&note).await?,
            Err(error) => {
                let name = value.get("name").and_then(Value::as_str).unwrap_or("a VM");
                let text = format!(
                    "{name} was shut down for its snapshot and cannot be started again: {}",
                    crate::xenapi::error::chain(&error)
                );
                let vm = note.rsplit('/').next().and_then(|vm| vm.parse::<Uuid>().ok());
                site.note(NewEvent { vm, ..site.event(EventKind::LeftHalted, text) }).await?;
            }
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

/// A policy in place of one that is in no file any more: it ends what was begun, and keeps everything.
pub(super) fn stand_in(id: &str, name: &str) -> Policy {
    let yearly = "@yearly".parse().ok().and_then(|yearly| Schedule::new(vec![yearly], Zone::utc()).ok());
    let fallback = || unreachable!("@yearly is an expression");
    let template = |text: &str| text.parse().unwrap_or_else(|_| unreachable!("a constant template"));
    Policy {
        id: id.parse().unwrap_or_else(|_| "removed".parse().unwrap_or_else(|_| unreachable!("a constant id"))),
        name: name.to_owned(),
        enabled: false,
        observe: false,
        priority: Priority::default(),
        schedule: yearly.unwrap_or_else(fallback),
        selection: Selection::default(),
        snapshot: SnapshotSettings {
            kind: WantedKind::Disk,
            exclude_disks: Vec::new(),
            name: template("{policy} {due}"),
            description: template("{policy}"),
        },
        hooks: Vec::new(),
        retention: Retention {
            rules: Rules::last(100_000),
            order: Order::SnapshotFirst,
            on_vm_deleted: Afterwards::Keep,
            on_policy_removed: Afterwards::Keep,
        },
        limits: Limits::default(),
    }
}
