//! A run, from its slot to its end. The order is the rule: snapshots and marks, the pool's synchronisation, only then removals, and a
//! second synchronisation before it is called done. Where a run is stands in its row, so that the next life goes on from there; and a
//! run whose snapshots the pool forgot goes back and takes them again.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::around;
use super::barrier::BarrierError;
use super::consent;
use super::errand::{Errand, kind_row};
use super::error::Result;
use super::guards::{self, Promises};
use super::job::{self, Settled};
use super::leftover;
use super::members;
use super::pins;
use super::prune::{self, When};
use super::selecting;
use super::uninstall;
use super::worker::Worker;
use crate::domain::id::VmUuid;
use crate::domain::policy::Phase;
use crate::domain::retention::Order;
use crate::domain::schedule::Place;
use crate::store::{
    Approval, ApprovalState, Cause, EventKind, Job, JobState, NewEvent, NewJob, Origin, Outcome, Removal, Run, RunState,
    SnapshotId,
};

/// How far a run was driven.
#[derive(Debug)]
pub enum Driven {
    /// To its end.
    Done(Box<Run>),
    /// The service stops; the next life goes on.
    Stopped,
}

/// How long a run may still start jobs when its policy does not say so: until the next slot, and a day at most.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// So often a run waits for removals that the server refused for the moment; what is left then is tried again without it.
const REMOVED_AGAIN: u32 = 3;

/// Drives a run to its end, from wherever it is.
///
/// # Errors
/// When the history cannot be kept. The run is where its row says, and can be driven again.
pub async fn drive(worker: &mut Worker, errand: Errand, only: Option<Vec<Uuid>>) -> Result<Driven> {
    let errand = Arc::new(errand);
    let store = &errand.site.store;
    let mut jobs = store.jobs_of(errand.run.id).await?;
    if jobs.is_empty() && errand.run.state == RunState::Snapshotting {
        errand.site.trust(worker).await;
        jobs = begin(worker, &errand, only).await?;
    }
    leftover::clear_all(worker, &errand, &jobs).await?;
    loop {
        if !settle_all(worker, &errand, &jobs).await? {
            return Ok(Driven::Stopped);
        }
        if !secure(worker, &errand).await? {
            return Ok(Driven::Stopped);
        }
        jobs = store.jobs_of(errand.run.id).await?;
        // The comparison of history and pool may have found that the pool forgot some of them.
        if jobs.iter().any(|job| matches!(job.state, JobState::Queued | JobState::Intent | JobState::Calling | JobState::Taken)) {
            store.advance_run(errand.run.id, RunState::Snapshotting).await?;
            continue;
        }
        job::end_those_that_count_no_more(&errand, &jobs).await?;
        break;
    }
    if !errand.run.observe {
        remove_all(worker, &errand, &jobs).await?;
        if !settle_removals(worker, &errand).await? {
            return Ok(Driven::Stopped);
        }
    }
    finish(worker, &errand).await.map(|run| Driven::Done(Box::new(run)))
}

/// Chooses the VMs and writes their jobs down.
async fn begin(worker: &mut Worker, errand: &Arc<Errand>, only: Option<Vec<Uuid>>) -> Result<Vec<Job>> {
    let chosen = selecting::choose(&errand.site, &errand.policy, only.as_deref());
    let unmatched = chosen.unmatched.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if errand.site.is_news(&errand.policy.id, &unmatched) && !unmatched.is_empty() {
        let text = format!("policy {}: {unmatched}", errand.policy.name);
        let event = errand.site.event(EventKind::SelectorWithoutVm, text);
        let policy = Some(errand.policy.id.to_string());
        errand.site.note(NewEvent { run: Some(errand.run.id), policy, ..event }).await?;
    }
    let now = errand.site.now();
    let jobs = chosen.vms.into_iter().map(|vm| new_job(errand, vm, now)).collect();
    let jobs = errand.site.store.add_jobs(errand.run.id, jobs, now).await?;
    if errand.run.observe {
        return observe(errand, jobs).await;
    }
    if let Some(cause) = around::phase(worker, errand, Phase::BeforeRun, &errand.hook_context()).await? {
        for job in &jobs {
            errand.site.store.end_job(job.id, JobState::Failed, Some(cause.clone()), errand.site.now()).await?;
        }
    } else if errand.policy.retention.order == Order::PruneFirst {
        for_each(worker, errand, &jobs, When::Ahead(errand.run.due_at)).await?;
    }
    Ok(errand.site.store.jobs_of(errand.run.id).await?)
}

fn new_job(errand: &Errand, vm: selecting::Chosen, now: DateTime<Utc>) -> NewJob {
    let schedule = &errand.policy.schedule;
    let claimed = errand.claimed();
    let manual = errand.run.origin == Origin::Manual;
    let place = Place::of(&errand.site.installation, &errand.policy.id, VmUuid(vm.uuid));
    let not_before = if manual { now } else { schedule.start_of(&claimed, place) };
    let next = schedule.next_after(errand.run.due_at.max(now)).filter(|_| !manual);
    let longest = (claimed.base() + LONGEST).min(next.unwrap_or(DateTime::<Utc>::MAX_UTC));
    let deadline = schedule.deadline_of(&claimed).unwrap_or(longest).max(not_before + TimeDelta::minutes(1));
    NewJob { vm: vm.uuid, vm_name: vm.name, kind: kind_row(errand.policy.snapshot.kind.kind()), not_before, deadline, skip: None }
}

/// Only looks: what would be taken and removed is written down.
async fn observe(errand: &Errand, jobs: Vec<Job>) -> Result<Vec<Job>> {
    let together = Promises::default();
    for job in &jobs {
        let verdicts = prune::decide(&errand.site, &errand.policy, job.vm_uuid, When::Ahead(errand.run.due_at)).await?;
        let gone: Vec<String> =
            verdicts.removals().iter().map(|(held, reason)| format!("{} ({reason})", held.mark.snapshot)).collect();
        let text = if gone.is_empty() { "would remove nothing".to_owned() } else { format!("would remove {}", gone.join(", ")) };
        let outlook = guards::outlook(&errand.site, &errand.policy, job.vm_uuid, &together);
        let outlook: String = outlook.iter().map(|line| format!("; {line}")).collect();
        let cause = Cause::new("observed", format!("would take a {} snapshot; {text}{outlook}", job.kind.as_str()));
        errand.site.store.end_job(job.id, JobState::Observed, Some(cause), errand.site.now()).await?;
    }
    Ok(errand.site.store.jobs_of(errand.run.id).await?)
}

/// Drives all jobs side by side. False if the service stops.
async fn settle_all(worker: &mut Worker, errand: &Arc<Errand>, jobs: &[Job]) -> Result<bool> {
    let mut lines = JoinSet::new();
    for job in jobs.iter().filter(|job| !job.state.is_final()).cloned() {
        let (mut worker, errand) = (worker.fork(), Arc::clone(errand));
        lines.spawn(async move { job::settle(&mut worker, &errand, job).await });
    }
    let mut all = true;
    while let Some(line) = worker.wait(lines.join_next()).await {
        match line {
            Ok(settled) => all &= settled? == Settled::Yes,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(all && !errand.drain.is_cancelled())
}

/// Makes durable what was marked. False if the service stops.
async fn secure(worker: &mut Worker, errand: &Errand) -> Result<bool> {
    let site = &errand.site;
    let mine: Vec<_> = site.store.jobs_of(errand.run.id).await?.into_iter().filter(|job| job.state == JobState::Marked).collect();
    if mine.is_empty() {
        return Ok(true);
    }
    advance(errand, RunState::Synchronising).await?;
    let Some(ids) = synchronised(worker, errand).await? else { return Ok(!errand.drain.is_cancelled()) };
    site.store.snapshots_durable(ids, site.now()).await?;
    Ok(true)
}

/// Passes the barrier. The snapshots that are durable then; nothing if the pool may have forgotten some, which was looked at.
async fn synchronised(worker: &mut Worker, errand: &Errand) -> Result<Option<Vec<SnapshotId>>> {
    let site = &errand.site;
    loop {
        let Some(known) = site.trust(worker).await else { return Ok(None) };
        let marked = site.store.snapshots_to_secure(site.uuid.0).await?;
        let passed = async {
            tokio::select! { () = errand.drain.cancelled() => None, passed = site.barrier.pass_since(known) => Some(passed) }
        };
        let Some(passed) = worker.wait(passed).await else { return Ok(None) };
        match passed {
            Ok(passed) => {
                members::take_in(site, passed).await?;
                return Ok(Some(marked));
            }
            Err(BarrierError::ServerRestarted) => {
                // Whoever compares history and pool has to notice first.
                site.distrust();
                site.trust(worker).await;
                return Ok(None);
            }
            Err(error) => {
                let why = crate::xenapi::error::chain(&error);
                let text = format!("the pool's database could not be synchronised; nothing is removed before it is: {why}");
                errand.fact(EventKind::NotSynchronised).say(&text);
                let again = site.now() + site.pace.longest_retry;
                if !errand.wait_until(worker, again).await {
                    return Ok(None);
                }
            }
        }
    }
}

/// Takes the run forward; one that an earlier life had taken further stays where it is.
async fn advance(errand: &Errand, next: RunState) -> Result<()> {
    if errand.site.store.run(errand.run.id).await?.state < next {
        errand.site.store.advance_run(errand.run.id, next).await?;
    }
    Ok(())
}

/// Ends what an earlier life began to remove, then retention for every VM of the run whose snapshot is durable.
async fn remove_all(worker: &mut Worker, errand: &Arc<Errand>, jobs: &[Job]) -> Result<()> {
    advance(errand, RunState::Removing).await?;
    leftover::clear_all(worker, errand, jobs).await?;
    go_on_removing(worker, errand).await?;
    let ready: Vec<Job> = jobs.iter().filter(|job| job.state == JobState::Durable).cloned().collect();
    for_each(worker, errand, &ready, When::Now).await?;
    for _ in 0..REMOVED_AGAIN {
        let waiting = go_on_removing(worker, errand).await?;
        match waiting {
            Some(next) if errand.wait_until(worker, next).await => {}
            _ => break,
        }
    }
    // Side by side they share a commit.
    let now = errand.site.now();
    try_join_all(ready.iter().map(|job| errand.site.store.job_pruned(job.id, now))).await?;
    Ok(())
}

/// One more try of every removal of this run that is open and due. When the next of those that are left is due.
async fn go_on_removing(worker: &mut Worker, errand: &Errand) -> Result<Option<DateTime<Utc>>> {
    let site = &errand.site;
    for removal in open_removals(errand).await?.into_iter().filter(|removal| removal.next_try <= site.now()) {
        site.trust(worker).await;
        uninstall::carry_out(worker, site, &removal, &prune::queue(&errand.policy)).await?;
    }
    Ok(open_removals(errand).await?.iter().map(|removal| removal.next_try).min())
}

async fn open_removals(errand: &Errand) -> Result<Vec<Removal>> {
    let open = errand.site.store.open_removals(errand.site.uuid.0).await?;
    Ok(open.into_iter().filter(|removal| removal.run == Some(errand.run.id)).collect())
}

async fn for_each(worker: &mut Worker, errand: &Arc<Errand>, jobs: &[Job], when: When) -> Result<()> {
    // The server guards what was pinned until somebody takes the guard off, whatever the date.
    pins::let_go(worker, &errand.site).await?;
    let vms: Vec<Uuid> = jobs.iter().map(|job| job.vm_uuid).collect();
    prune::prune_all(worker, &errand.site, &errand.policy, Some(errand.run.id), &vms, when).await?;
    Ok(())
}

/// Makes durable what was removed, by this life or an earlier one. False if the service stops.
async fn settle_removals(worker: &mut Worker, errand: &Errand) -> Result<bool> {
    let site = &errand.site;
    let done: Vec<_> = site.store.removals_to_settle(site.uuid.0).await?.into_iter().map(|removal| removal.id).collect();
    if done.is_empty() {
        return Ok(true);
    }
    advance(errand, RunState::Settling).await?;
    if synchronised(worker, errand).await?.is_some() {
        site.store.removals_settled(done, site.now()).await?;
    }
    Ok(!errand.drain.is_cancelled())
}

async fn finish(worker: &mut Worker, errand: &Arc<Errand>) -> Result<Run> {
    let store = &errand.site.store;
    let jobs = store.jobs_of(errand.run.id).await?;
    let whole = jobs.iter().filter(|job| matches!(job.state, JobState::Durable | JobState::Pruned));
    let questions = store.approvals_of(errand.run.id).await?;
    try_join_all(whole.map(|job| end(errand, job, &questions))).await?;
    let jobs = store.jobs_of(errand.run.id).await?;
    let mut outcome = outcome(errand, &jobs);
    let mut context = errand.hook_context();
    context.outcome = Some(outcome.as_str().to_owned());
    let mut cause = (outcome == Outcome::Empty)
        .then(|| Cause::new("no-vm", "the policy selects no VM; `xensnap check` shows what it selects by"));
    if !errand.run.observe
        && let Some(failed) = around::phase(worker, errand, Phase::AfterRun, &context).await?
    {
        outcome = if outcome == Outcome::Succeeded { Outcome::Partial } else { outcome };
        cause = Some(failed);
    }
    let run = store.finish_run(errand.run.id, outcome, cause, errand.site.now()).await?;
    errand.site.promises.run_ended(run.id.0);
    errand.site.allowances.run_ended(run.id);
    errand.site.wishes.settled(store, run.id).await?;
    count(errand, &run, &jobs);
    say(errand, &run);
    Ok(run)
}

async fn end(errand: &Errand, job: &Job, questions: &[Approval]) -> Result<()> {
    let failed = after_failure(errand, job).await?;
    let state = if failed.is_some() { JobState::Failed } else { JobState::Done };
    let cause = failed.or_else(|| held(job, questions));
    Ok(errand.site.store.end_job(job.id, state, cause, errand.site.now()).await?)
}

/// What a job has to say whose snapshot is fine and of whose VM nothing was removed.
fn held(job: &Job, questions: &[Approval]) -> Option<Cause> {
    let mine = |question: &&Approval| question.vm == Some(job.vm_uuid) && question.state == ApprovalState::Pending;
    let question = questions.iter().find(mine)?;
    let agree = consent::agree(&job.policy, question.run);
    let text = format!("nothing of this VM was removed: {}; {agree}", consent::why(question));
    Some(Cause::new(EventKind::ApprovalNeeded.as_str(), text))
}

/// Why a job failed although its snapshot is fine: what had to follow the snapshot did not work.
async fn after_failure(errand: &Errand, job: &Job) -> Result<Option<Cause>> {
    let name = around::after_note(job.id);
    let Some(note) = errand.site.store.kept(&name).await? else { return Ok(None) };
    errand.site.store.drop_note(&name).await?;
    let text = |key: &str| note.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Some(Cause::new(text("code"), text("text"))))
}

fn outcome(errand: &Errand, jobs: &[Job]) -> Outcome {
    let count = |state: JobState| jobs.iter().filter(|job| job.state == state).count();
    let (done, failed) = (count(JobState::Done), count(JobState::Failed) + count(JobState::Unresolved));
    let cancelled = jobs.iter().any(|job| errand.cancelled(job).is_some() && job.state == JobState::Cancelled);
    match (done, failed) {
        _ if errand.run.observe => Outcome::Observed,
        _ if jobs.is_empty() => Outcome::Empty,
        (0, 0) if cancelled => Outcome::Cancelled,
        (_, 0) if cancelled => Outcome::Partial,
        (_, 0) => Outcome::Succeeded,
        (0, _) => Outcome::Failed,
        _ => Outcome::Partial,
    }
}

fn count(errand: &Errand, run: &Run, jobs: &[Job]) {
    let (metrics, pool, policy) = (&errand.site.metrics, errand.site.name(), run.policy.as_str());
    for job in jobs {
        let failed = !matches!(job.state, JobState::Done | JobState::Observed);
        let reason = job.cause.as_ref().map(|cause| cause.code.as_str()).filter(|code| failed && !code.is_empty());
        metrics.job_ended(pool, policy, job.state.as_str(), reason);
    }
    let outcome = run.outcome.map_or("unknown", Outcome::as_str);
    metrics.run_ended(pool, policy, outcome, (errand.site.now() - run.started_at).to_std().unwrap_or_default());
    if matches!(run.outcome, Some(Outcome::Succeeded | Outcome::Observed)) {
        metrics.succeeded(pool, policy, errand.site.now());
    }
}

fn say(errand: &Errand, run: &Run) {
    let (kind, outcome) = match run.outcome {
        Some(Outcome::Partial) => (EventKind::RunPartial, "did a part of its work"),
        Some(Outcome::Failed) => (EventKind::RunFailed, "failed"),
        Some(Outcome::Empty) => (EventKind::RunEmpty, "found no VM"),
        Some(Outcome::Observed) => (EventKind::RunObserved, "only looked"),
        _ => (EventKind::RunSucceeded, "succeeded"),
    };
    let took = (errand.site.now() - run.started_at).to_std().unwrap_or_default();
    let text = format!(
        "run {} of policy {} {outcome}: {} taken, {} failed, {} skipped, {} removed",
        run.id, run.policy_name, run.done, run.failed, run.skipped, run.removed
    );
    errand.fact(kind).took(took).say(&text);
}
