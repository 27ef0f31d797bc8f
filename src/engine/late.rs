//! Jobs that came to nothing decided while their run went on without them: a call whose end was not known then. They are looked at
//! again at every chance; a snapshot that turns up is marked, made durable and counted, and a call that had no effect is a failure.

use super::attempt::{self, Went};
use super::errand::kind_of;
use super::error::{Effect, Result};
use super::leftover;
use super::marking;
use super::members;
use super::prune;
use super::resolve;
use super::site::Site;
use super::worker::Worker;
use crate::domain::id::{RunId, SnapshotUuid, VmUuid};
use crate::domain::mark::Mark;
use crate::store::{Cause, EventKind, Job, JobState, SnapshotFilter, SnapshotState};
use crate::xenapi::records::Vm;
use crate::xenapi::types::Uuid as ServerUuid;

/// Settles what can be settled. `free` says whether no run of a policy works now: what belongs to a run that works is its own.
///
/// # Errors
/// When the history cannot be kept.
pub async fn settle(worker: &mut Worker, site: &Site, free: impl Fn(&str) -> bool) -> Result<()> {
    for job in site.store.unfinished_jobs().await?.into_iter().filter(|job| job.pool == site.uuid.0 && free(&job.policy)) {
        if site.store.run(job.run).await?.outcome.is_some() {
            bring_to_its_end(worker, site, job).await?;
        }
    }
    Ok(())
}

/// Takes a job as far as it goes now.
async fn bring_to_its_end(worker: &mut Worker, site: &Site, mut job: Job) -> Result<()> {
    loop {
        match job.state {
            JobState::Unresolved | JobState::Intent | JobState::Calling => look(worker, site, &job).await?,
            JobState::Taken => mark(worker, site, &job).await?,
            JobState::Marked => secure_all(worker, site).await?,
            JobState::Durable | JobState::Pruned => {
                let cause = Cause::new("late", "the snapshot turned up after its run had ended");
                site.store.end_job(job.id, JobState::Done, Some(cause), site.now()).await?;
            }
            _ => return Ok(()),
        }
        let now = site.store.job(job.id).await?;
        if now.state == job.state {
            return Ok(());
        }
        job = now;
    }
}

async fn look(worker: &mut Worker, site: &Site, job: &Job) -> Result<()> {
    let attempts = site.store.attempts(job.id).await?;
    let Some(attempt) = attempts.into_iter().rfind(|attempt| attempt.state.is_open()) else { return Ok(()) };
    match resolve::resolve(worker, site, job, &attempt).await? {
        Went::Doubtful(_) => {}
        Went::Taken(snapshot) => {
            attempt::record(worker, site, job, attempt.id, kind_of(job.kind), &snapshot).await?;
        }
        Went::Not(setback) => {
            attempt::ended(worker, site, job, attempt.id, &setback, site.now()).await?;
            let text = format!("it is certain by now that no snapshot was taken: {}", setback.cause.text);
            site.note_of_job(job, EventKind::ResolvedAbsent, &Cause::new(setback.cause.code.clone(), text)).await?;
            if let (Effect::Refused, Ok(policy)) = (setback.effect, job.policy.parse()) {
                leftover::clear(worker, site, job, &attempt, &prune::queue_of(&policy)).await?;
            }
        }
    }
    Ok(())
}

/// Marks the job's snapshot.
async fn mark(worker: &mut Worker, site: &Site, job: &Job) -> Result<()> {
    let filter = SnapshotFilter { vm: Some(job.vm), policy: Some(job.policy.clone()), ..SnapshotFilter::default() };
    let rows = site.store.snapshots(filter, crate::store::Page::first(50)).await?.rows;
    let Some(row) = rows.into_iter().find(|row| row.job == Some(job.id) && row.state == SnapshotState::Taken) else {
        return Ok(());
    };
    let Some(mark) = mark_of(site, job, &row).await? else { return Ok(()) };
    let found = site.inventory.read().by_uuid::<Vm>(&ServerUuid::new(row.uuid)).map(|(r, vm)| (r.clone(), vm.clone()));
    let Some((reference, seen)) = found else { return Ok(()) };
    match marking::put(worker, site, &reference, &seen, &mark).await {
        Ok(()) => site.store.snapshot_marked(row.id, site.now()).await?,
        Err(setback) => {
            tracing::warn!(pool = %site.name(), vm = %job.vm_name, error = %setback.cause.text, "the mark could not be written; trying again");
        }
    }
    Ok(())
}

/// The mark of a job's snapshot; nothing if the history lacks a part of it.
///
/// # Errors
/// When the history cannot be read.
pub async fn mark_of(site: &Site, job: &Job, row: &crate::store::Snapshot) -> Result<Option<Mark>> {
    let attempts = site.store.attempts(job.id).await?;
    let attempt = attempts.iter().find(|attempt| Some(attempt.id) == row.attempt);
    let (Ok(policy), Some(Ok(nonce))) = (job.policy.parse(), attempt.map(|attempt| attempt.nonce.parse())) else {
        return Ok(None);
    };
    let run = site.store.run(job.run).await?;
    Ok(Some(Mark {
        installation: site.installation.clone(),
        pool: site.uuid,
        snapshot: SnapshotUuid(row.uuid),
        vm: VmUuid(job.vm_uuid),
        policy,
        due_at: job.due_at,
        run: RunId(run.uuid),
        kind: kind_of(row.kind),
        nonce,
    }))
}

/// Makes durable everything that is marked, and what was removed; nothing while history and pool may differ.
///
/// # Errors
/// When the history cannot be kept.
pub async fn secure_all(worker: &mut Worker, site: &Site) -> Result<()> {
    let Some(known) = site.agrees_with() else { return Ok(()) };
    let marked = site.store.snapshots_to_secure(site.uuid.0).await?;
    let removed: Vec<_> = site.store.removals_to_settle(site.uuid.0).await?.into_iter().map(|removal| removal.id).collect();
    if marked.is_empty() && removed.is_empty() {
        return Ok(());
    }
    if let Ok(passed) = worker.wait(site.barrier.pass_since(known)).await {
        members::take_in(site, passed).await?;
        site.store.snapshots_durable(marked, site.now()).await?;
        site.store.removals_settled(removed, site.now()).await?;
    }
    Ok(())
}
