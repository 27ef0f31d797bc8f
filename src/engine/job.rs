//! One VM inside a run, from its row to its mark. The rows say where the job is; whoever drives it, the first time or after a crash,
//! reads them and goes on from there. A job ends with a marked snapshot or with a cause.

use chrono::TimeDelta;
use uuid::Uuid;

use super::admission::Request;
use super::alone::Turn;
use super::around::{self, Around, Hindrance};
use super::attempt::{self, Target, Went};
use super::errand::{Errand, kind_of, kind_row, policy_id};
use super::error::{Effect, Result, STILL_RUNNING, Setback};
use super::guards::{self, Holder, Planned};
use super::kind::{Choice, ImageStore, choose, condition_of};
use super::worker::Worker;
use super::{lease, leftover, marking, prune, resolve, view};
use crate::domain::guard::OnLowSpace;
use crate::domain::guard::chain::Chained;
use crate::domain::guard::space::Shortage;
use crate::domain::id::{HostUuid, PoolUuid, RunId, SnapshotUuid, SrUuid, VmUuid};
use crate::domain::mark::Mark;
use crate::domain::pause::Work;
use crate::domain::schedule::Admission;
use crate::domain::snapshot::Kind;
use crate::store::{Attempt, Cause, EventKind, Job, JobState, Snapshot, SnapshotFilter, SnapshotState};
use crate::xenapi::failure;
use crate::xenapi::records::{Host, Vm};
use crate::xenapi::types::Ref;

/// So long a run waits for a mark to be written.
const MARKED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// Whether the job's snapshot part is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is: marked, or ended.
    Yes,
    /// The service stops; the next life goes on.
    Stopped,
}

enum Step {
    Again,
    Stopped,
}

/// Drives a job, from its row as it was read last, until it is marked, has ended, or cannot be decided.
///
/// # Errors
/// When the history cannot be written: the job is where its row says.
pub async fn settle(worker: &mut Worker, errand: &Errand, mut job: Job) -> Result<Settled> {
    loop {
        let step = match job.state {
            JobState::Queued => queued(worker, errand, &job).await?,
            JobState::Intent | JobState::Calling => doubt(worker, errand, &job).await?,
            JobState::Taken => mark(worker, errand, &job).await?,
            _ => {
                errand.site.promises.ended(holder(errand, &job), has_snapshot(&job));
                around::make_good(worker, errand, &job).await?;
                return Ok(Settled::Yes);
            }
        };
        if let Step::Stopped = step {
            return Ok(Settled::Stopped);
        }
        job = errand.site.store.job(job.id).await?;
    }
}

/// Whose promise of space the job's is.
fn holder(errand: &Errand, job: &Job) -> Holder {
    Holder { run: errand.run.id.0, vm: job.vm_uuid }
}

fn has_snapshot(job: &Job) -> bool {
    matches!(job.state, JobState::Marked | JobState::Durable | JobState::Pruned | JobState::Done)
}

/// Waits for the job's time, makes sure that a snapshot can be taken, and takes it.
async fn queued(worker: &mut Worker, errand: &Errand, job: &Job) -> Result<Step> {
    if let Some(by) = errand.cancelled(job) {
        return end(errand, job, JobState::Cancelled, Cause::new("cancelled", format!("cancelled by {by}"))).await;
    }
    let wake = match errand.admission(job) {
        Admission::Over(over) => return end(errand, job, JobState::Failed, over_cause(job, &over)).await,
        Admission::NotBefore(at) => Some(at),
        Admission::Now => Some(job.next_try.max(job.not_before)),
    };
    if let Some(at) = wake.filter(|at| *at > errand.site.now()) {
        return Ok(if errand.wait_with(worker, job, at).await { Step::Again } else { Step::Stopped });
    }
    // Another policy may be at work on this VM: how it stands is looked at when that is over.
    let Some(_turn) = with_vm(worker, errand, job).await else {
        return Ok(if errand.drain.is_cancelled() { Step::Stopped } else { Step::Again });
    };
    if let Some(step) = begun_by_another(worker, errand, job).await? {
        return Ok(step);
    }
    match ready(errand, job) {
        Ready::Yes { target, request, notes } => {
            for (kind, cause) in notes {
                errand.site.note_of_job(job, kind, &cause).await?;
            }
            begin(worker, errand, job, target, request).await
        }
        Ready::Low(shortage) => low(worker, errand, job, &shortage).await,
        Ready::Chained { cause, gets_shorter } => chained(worker, errand, job, cause, gets_shorter).await,
        Ready::Later(cause) => postpone(errand, job, cause).await,
        Ready::No(state, cause) => end(errand, job, state, cause).await,
    }
}

/// Waits for the VM. Nothing if the service stops, somebody cancels the job or its time is over before.
async fn with_vm(worker: &mut Worker, errand: &Errand, job: &Job) -> Option<Turn> {
    if let Some(turn) = errand.site.alone.if_free(job.vm_uuid) {
        return Some(turn);
    }
    let turn = async {
        tokio::select! {
            () = errand.drain.cancelled() => None,
            () = errand.cancellation(job) => None,
            () = errand.closing(job) => None,
            turn = errand.site.alone.with(job.vm_uuid) => Some(turn),
        }
    };
    worker.wait(turn).await
}

/// Where the pool was taken over from another daemon: it may have done this job already, or made a call for it whose end is to be found.
async fn begun_by_another(worker: &mut Worker, errand: &Errand, job: &Job) -> Result<Option<Step>> {
    let (site, policy) = (&errand.site, &errand.policy.id);
    if !site.succession.as_ref().is_some_and(|succession| succession.may_have_begun(job.due_at)) {
        return Ok(None);
    }
    if lease::is_done(site, policy, job).await? {
        let cause = Cause::new("covered", "another daemon of this installation has taken it");
        site.store.end_job(job.id, JobState::Skipped, Some(cause), site.now()).await?;
        return Ok(Some(Step::Again));
    }
    let known = site.store.attempts(job.id).await?.into_iter().map(|attempt| attempt.nonce).collect::<Vec<_>>();
    match lease::begun_by_another(worker, site, policy, job, &known).await {
        Ok(None) => Ok(None),
        Ok(Some(nonce)) => {
            // From here on it is a call of ours whose end is not known.
            site.store.write_intent(job.id, nonce.as_str(), &site.server_start(), site.now()).await?;
            Ok(Some(Step::Again))
        }
        Err(error) => postpone(errand, job, Setback::from(error).cause).await.map(Some),
    }
}

async fn postpone(errand: &Errand, job: &Job, cause: Cause) -> Result<Step> {
    let next = errand.site.now() + errand.site.pace.pause(1 + postponed(job));
    errand.site.store.postpone_job(job.id, next, cause, errand.site.now()).await?;
    Ok(Step::Again)
}

/// The snapshot would go into what is to stay free. What was removed becomes free once the storage has coalesced, which is waited for.
async fn low(worker: &mut Worker, errand: &Errand, job: &Job, shortage: &Shortage) -> Result<Step> {
    let cause = guards::low_space(shortage);
    if errand.policy.guards.on_low_space != OnLowSpace::PruneFirst {
        return end(errand, job, JobState::Failed, cause).await;
    }
    let (run, when) = (Some(errand.run.id), prune::When::Ahead(job.due_at));
    let pruned = prune::prune(worker, &errand.site, &errand.policy, run, job.vm_uuid, when).await?;
    if pruned.removed > 0 { Ok(Step::Again) } else { postpone(errand, job, cause).await }
}

/// A chain is too long. Retention works after a snapshot, and there is none: so what it does not keep of the VM goes now, or a chain that
/// is full of our own snapshots would stay so for ever.
async fn chained(worker: &mut Worker, errand: &Errand, job: &Job, cause: Cause, gets_shorter: bool) -> Result<Step> {
    let run = Some(errand.run.id);
    let pruned = prune::prune(worker, &errand.site, &errand.policy, run, job.vm_uuid, prune::When::Now).await?;
    // What went is to be seen in a moment, and the storage needs a while to coalesce what it left.
    if gets_shorter || pruned.removed > 0 {
        postpone(errand, job, cause).await
    } else {
        end(errand, job, JobState::Failed, cause).await
    }
}

/// So often, roughly, a job was put off: the longer it waits, the longer its pauses.
fn postponed(job: &Job) -> u64 {
    let waited = (job.changed_at - job.created_at).num_seconds().max(0);
    u64::from((waited / 60 + 1).ilog2())
}

enum Ready {
    Yes {
        target: Target,
        request: Request,
        /// What is to be said of it: that it is not the kind that was asked for, or that there is little space.
        notes: Vec<(EventKind, Cause)>,
    },
    /// There is too little space.
    Low(Shortage),
    /// A chain is too long; it may become shorter by itself.
    Chained {
        cause: Cause,
        gets_shorter: bool,
    },
    Later(Cause),
    No(JobState, Cause),
}

/// Whether a snapshot can be taken now, by what the inventory shows.
fn ready(errand: &Errand, job: &Job) -> Ready {
    let tables = errand.site.inventory.read();
    let Some(vm) = view::vm_of(&tables, job.vm_uuid) else {
        return Ready::No(JobState::Skipped, Cause::new("vm-gone", "the VM is not in the pool any more"));
    };
    let Some(condition) = condition_of(&tables, &vm) else {
        return Ready::Later(Cause::new("vm-unseen", "the VM's drives are not to be seen yet"));
    };
    let left_out = view::left_out(&tables, &vm, &errand.policy.snapshot.exclude_disks);
    let condition = condition.without(&left_out);
    let (kind, note) = match choose(&errand.policy.snapshot.kind, &condition) {
        Choice::Take { kind, note } => (kind, note),
        Choice::Cannot { code, text, for_now: true } => return Ready::Later(Cause::new(code, text)),
        Choice::Cannot { code, text, for_now: false } => return Ready::No(JobState::Failed, Cause::new(code, text)),
    };
    let srs = srs(&tables, &vm, condition.image_store.as_ref().filter(|_| kind == Kind::Memory));
    let host = tables.get::<Vm>(&vm).and_then(|vm| tables.get::<Host>(&vm.resident_on)).map(|host| HostUuid(host.uuid.get()));
    if let Some(paused) = paused(errand, job, &srs, host) {
        return Ready::No(JobState::Skipped, Cause::new("paused", paused));
    }
    let mut notes: Vec<_> = note.into_iter().map(|note| (EventKind::AnotherKind, Cause::new("another-kind", note))).collect();
    let planned = Planned { tables: &tables, vm: &vm, condition: &condition, left_out: &left_out, kind };
    match guards::chains(&errand.site, &planned, &errand.policy.guards) {
        Chained::Fine => {}
        Chained::Long(found) => notes.push((EventKind::LongChain, guards::long_chain(&found))),
        Chained::Wait(found) => return Ready::Chained { cause: guards::long_chain(&found), gets_shorter: true },
        Chained::Refuse(found) => return Ready::Chained { cause: guards::long_chain(&found), gets_shorter: false },
    }
    match guards::space(&errand.site.promises, holder(errand, job), &planned, &errand.policy.guards) {
        Ok(()) => {}
        Err(shortage) if errand.policy.guards.on_low_space == OnLowSpace::GoAhead => {
            notes.push((EventKind::LowSpace, guards::low_space(&shortage)));
        }
        Err(shortage) => return Ready::Low(shortage),
    }
    let request =
        Request { policy: errand.policy.id.clone(), priority: errand.policy.priority, srs, host, own: errand.policy.limits };
    Ready::Yes { target: Target { vm, kind, left_out }, request, notes }
}

/// The pause that keeps the job from being begun.
fn paused(errand: &Errand, job: &Job, srs: &[SrUuid], host: Option<HostUuid>) -> Option<String> {
    let srs: Vec<uuid::Uuid> = srs.iter().map(|sr| sr.0).collect();
    let (policy, pool, vm, host) = (&errand.policy.id, errand.site.uuid.0, job.vm_uuid, host.map(|host| host.0));
    errand.site.wishes.paused(&Work { policy, pool, vm, srs: &srs, host }, errand.site.now())
}

/// The storage that a snapshot works on: that of the disks, and that of the memory image.
fn srs(tables: &crate::xenapi::inventory::Tables, vm: &Ref<Vm>, image: Option<&ImageStore<'_>>) -> Vec<SrUuid> {
    let mut srs: Vec<SrUuid> = view::srs(tables, vm).into_iter().map(|(sr, _)| sr).collect();
    srs.extend(image.map(|image| image.uuid));
    srs.sort_unstable();
    srs.dedup();
    srs
}

/// One attempt, with what goes around it: hooks, and for an offline snapshot the VM's halt.
async fn begin(worker: &mut Worker, errand: &Errand, job: &Job, target: Target, request: Request) -> Result<Step> {
    let staged = errand.site.admission.stage(request);
    let staged = async {
        tokio::select! {
            () = errand.drain.cancelled() => Err(Step::Stopped),
            () = errand.cancellation(job) => Err(Step::Again),
            () = errand.closing(job) => Err(Step::Again),
            staged = staged => Ok(staged),
        }
    };
    let staged = match worker.wait(staged).await {
        Ok(staged) => staged,
        Err(step) => return Ok(step),
    };
    if matches!(errand.admission(job), Admission::Over(_)) {
        return Ok(Step::Again);
    }
    let mut around = Around::new(errand, job, &target);
    if let Err(hindrance) = around.before(worker).await? {
        around.after(worker, "failed", None).await?;
        return match hindrance {
            Hindrance::ForNow(cause) => postpone(errand, job, cause).await,
            Hindrance::ForGood(cause) => end(errand, job, JobState::Failed, cause).await,
        };
    }
    let (attempt, went) = attempt::make(worker, errand, job, &target, staged).await?;
    let outcome = if matches!(went, Went::Taken(_)) { "succeeded" } else { "failed" };
    let snapshot = match &went {
        Went::Taken(snapshot) => errand.site.inventory.read().get(snapshot).map(|vm| vm.uuid.to_string()),
        _ => None,
    };
    // Whatever happened, the VM comes back and the hooks that follow are run; only then is the outcome looked at.
    let afterwards = around.after(worker, outcome, snapshot).await?;
    let step = take_in(worker, errand, job, &attempt, target.kind, went).await?;
    if let Some(cause) = afterwards {
        errand.site.note_of_job(job, EventKind::AfterSnapshot, &cause).await?;
    }
    Ok(step)
}

/// Writes down how an attempt went.
async fn take_in(worker: &mut Worker, errand: &Errand, job: &Job, attempt: &Attempt, kind: Kind, went: Went) -> Result<Step> {
    match went {
        Went::Taken(snapshot) => taken(worker, errand, job, attempt, kind, &snapshot).await,
        // The pool was left for good: what that says about the call is nothing, and the next life looks.
        Went::Not(Setback { effect: Effect::NeverLeft, .. }) if errand.drain.is_cancelled() => Ok(Step::Stopped),
        Went::Not(setback) => refused(worker, errand, job, attempt, &setback).await,
        Went::Doubtful(_) => doubt(worker, errand, job).await,
    }
}

/// Writes down what was taken, once it can be seen.
async fn taken(
    worker: &mut Worker,
    errand: &Errand,
    job: &Job,
    attempt: &Attempt,
    kind: Kind,
    snapshot: &Ref<Vm>,
) -> Result<Step> {
    match attempt::record(worker, &errand.site, job, attempt.id, kind, snapshot).await? {
        Some((_, shown)) => {
            say_taken(errand, job, attempt, kind, shown.record.uuid.get());
            Ok(Step::Again)
        }
        None if errand.drain.is_cancelled() => Ok(Step::Stopped),
        None => unresolved(errand, job, attempt, unseen()).await,
    }
}

fn say_taken(errand: &Errand, job: &Job, attempt: &Attempt, kind: Kind, snapshot: Uuid) {
    let mut fact = errand.site.fact_of_job(job, EventKind::SnapshotTaken).snapshot(snapshot);
    if let (Some(called), Some(ended)) = (attempt.called_at, attempt.ended_at) {
        let took = (ended - called).to_std().unwrap_or_default();
        errand.site.metrics.snapshot_taken(errand.site.name(), kind_row(kind).as_str(), took);
        fact = fact.took(took);
    }
    let kind = kind_row(kind).as_str();
    fact.say(&format!("a {kind} snapshot of VM {} was taken for policy {}", job.vm_name, job.policy_name));
}

async fn unresolved(errand: &Errand, job: &Job, attempt: &Attempt, cause: Cause) -> Result<Step> {
    errand.site.note_of_job(job, EventKind::Unresolved, &cause).await?;
    errand.site.store.call_unresolved(attempt.id, cause, errand.site.now()).await?;
    Ok(Step::Again)
}

async fn refused(worker: &mut Worker, errand: &Errand, job: &Job, attempt: &Attempt, setback: &Setback) -> Result<Step> {
    let next = errand.site.now() + errand.site.pace.pause(job.attempts + 1);
    attempt::ended(worker, &errand.site, job, attempt.id, setback, next).await?;
    if setback.effect == Effect::Refused {
        leftover::clear(worker, &errand.site, job, attempt, &prune::queue(&errand.policy)).await?;
    }
    // Somebody wanted that: the job ends as it is looked at again.
    if errand.cancelled(job).is_some() {
        return Ok(Step::Again);
    }
    if setback.may_pass() || setback.effect == Effect::NeverLeft && setback.kind == failure::Kind::Ambiguous {
        return Ok(Step::Again);
    }
    let state = if setback.kind == failure::Kind::NotFound { JobState::Skipped } else { JobState::Failed };
    end(errand, job, state, setback.cause.clone()).await
}

/// The end of the newest call is not known: it is looked for.
async fn doubt(worker: &mut Worker, errand: &Errand, job: &Job) -> Result<Step> {
    let attempts = errand.site.store.attempts(job.id).await?;
    let Some(attempt) = attempts.into_iter().rfind(|attempt| attempt.state.is_open()) else { return Ok(Step::Again) };
    let kind = kind_of(job.kind);
    match resolve::resolve(worker, &errand.site, job, &attempt).await? {
        Went::Doubtful(_) if errand.drain.is_cancelled() => Ok(Step::Stopped),
        Went::Doubtful(setback) if may_be_seen_later(errand, job, &setback) => {
            let text = format!("nobody knows yet whether the snapshot was taken; looking again: {}", setback.cause.text);
            errand.site.fact_of_job(job, EventKind::Doubtful).cause(&setback.cause.code).say(&text);
            let again = errand.site.now() + errand.site.pace.longest_retry;
            Ok(if errand.wait_until(worker, again).await { Step::Again } else { Step::Stopped })
        }
        Went::Doubtful(setback) => unresolved(errand, job, &attempt, attempt::unresolved(&setback)).await,
        Went::Taken(snapshot) => taken(worker, errand, job, &attempt, kind, &snapshot).await,
        Went::Not(setback) => refused(worker, errand, job, &attempt, &setback).await,
    }
}

/// True while the pool is only away and the slot's window is open: what is found then can still be made good in this run.
fn may_be_seen_later(errand: &Errand, job: &Job, setback: &Setback) -> bool {
    let away = matches!(setback.kind, failure::Kind::Transient | failure::Kind::Busy | failure::Kind::Ambiguous);
    // What does not end although it was told to is looked for at each look around, and the run goes on without it.
    let stays = [resolve::UNREADABLE, STILL_RUNNING].contains(&setback.cause.code.as_str());
    away && !stays && !matches!(errand.admission(job), Admission::Over(_))
}

fn unseen() -> Cause {
    Cause::new("unseen", "the pool says that the snapshot was taken, but does not show it; it is looked for again")
}

/// Puts the mark on the job's snapshot, and the description for people.
async fn mark(worker: &mut Worker, errand: &Errand, job: &Job) -> Result<Step> {
    let site = &errand.site;
    let filter = SnapshotFilter { vm: Some(job.vm), policy: Some(job.policy.clone()), ..SnapshotFilter::default() };
    let rows = site.store.snapshots(filter, crate::store::Page::first(50)).await?.rows;
    let Some(row) = rows.iter().find(|row| row.job == Some(job.id) && row.state == SnapshotState::Taken).cloned() else {
        return match counts_no_more(job, &rows) {
            Some(cause) => end(errand, job, JobState::Failed, cause).await,
            None => forgotten(errand, job).await,
        };
    };
    let attempts = site.store.attempts(job.id).await?;
    let attempt = attempts.iter().find(|attempt| Some(attempt.id) == row.attempt);
    let (Some(policy), Some(Ok(nonce))) = (policy_id(&job.policy), attempt.map(|attempt| attempt.nonce.parse())) else {
        return end(errand, job, JobState::Failed, Cause::new("history", "the history lacks what the mark needs")).await;
    };
    let found =
        site.inventory.read().by_uuid::<Vm>(&crate::xenapi::types::Uuid::new(row.uuid)).map(|(r, vm)| (r.clone(), vm.clone()));
    let Some((reference, seen)) = found else {
        let cause = Cause::new("vanished", "the snapshot is not in the pool any more, before it could be marked");
        site.store.snapshot_vanished(row.id, cause, site.now()).await?;
        return forgotten(errand, job).await;
    };
    let mark = Mark {
        installation: site.installation.clone(),
        pool: PoolUuid(site.uuid.0),
        snapshot: SnapshotUuid(row.uuid),
        vm: VmUuid(job.vm_uuid),
        policy,
        due_at: job.due_at,
        run: RunId(errand.run.uuid),
        kind: kind_of(row.kind),
        nonce,
    };
    match marking::put(worker, site, &reference, &seen, &mark).await {
        Ok(()) => {
            describe(worker, errand, job, &reference, mark.kind).await;
            site.store.snapshot_marked(row.id, site.now()).await?;
            Ok(Step::Again)
        }
        Err(setback) if setback.kind == failure::Kind::NotFound => {
            // The inventory will say so too, and then the snapshot has vanished.
            site.seen(worker, site.pace.showing, |tables| tables.get(&reference).is_none().then_some(())).await;
            Ok(Step::Again)
        }
        Err(setback) if site.now() - job.changed_at >= MARKED_WITHIN => {
            let text = format!(
                "the snapshot was taken and cannot be marked, so that it counts for nothing yet; it is tried again at each look around: {}",
                setback.cause.text
            );
            let cause = Cause::new("unmarked", text);
            site.note_of_job(job, EventKind::Stuck, &cause).await?;
            end(errand, job, JobState::Failed, cause).await
        }
        Err(setback) => {
            tracing::warn!(pool = %site.name(), vm = %job.vm_name, error = %setback.cause.text, "the mark could not be written; trying again");
            let at = site.now() + site.pace.first_retry;
            Ok(if errand.wait_until(worker, at).await { Step::Again } else { Step::Stopped })
        }
    }
}

/// The description is for people only: failing at it costs nothing but a line.
async fn describe(worker: &mut Worker, errand: &Errand, job: &Job, snapshot: &Ref<Vm>, kind: Kind) {
    let text = errand.policy.snapshot.description.description(&errand.subject(job, kind));
    let call = crate::xenapi::calls::vm::set_name_description(snapshot, &text);
    if let Err(error) = worker.call(&errand.site.pool, call).await {
        tracing::info!(pool = %errand.site.name(), vm = %job.vm_name, %error, "the snapshot's description could not be written");
    }
}

/// Ends jobs whose marked snapshot will not become durable any more, because it is gone, or somebody took its VM or gave it away
/// meanwhile: a run must not wait for them. Only after history and pool were compared, which may take a job up again.
///
/// # Errors
/// When the history cannot be written.
pub async fn end_those_that_count_no_more(errand: &Errand, jobs: &[Job]) -> Result<()> {
    let store = &errand.site.store;
    for job in jobs.iter().filter(|job| job.state == JobState::Marked) {
        let filter = SnapshotFilter { vm: Some(job.vm), policy: Some(job.policy.clone()), ..SnapshotFilter::default() };
        let rows = store.snapshots(filter, crate::store::Page::first(50)).await?.rows;
        if let Some(cause) = counts_no_more(job, &rows).or_else(|| is_there_no_more(job, &rows)) {
            end(errand, job, JobState::Failed, cause).await?;
        }
    }
    Ok(())
}

fn newest<'r>(job: &Job, rows: &'r [Snapshot]) -> Option<&'r Snapshot> {
    rows.iter().filter(|row| row.job == Some(job.id)).max_by_key(|row| row.id)
}

/// Why a marked snapshot will not become durable: it is gone, and the comparison of history and pool did not take the job up again,
/// because there is a newer one.
fn is_there_no_more(job: &Job, rows: &[Snapshot]) -> Option<Cause> {
    let newest = newest(job, rows).filter(|row| matches!(row.state, SnapshotState::Vanished | SnapshotState::Removed))?;
    let text = format!("the snapshot {} was taken, and is not in the pool any more; there is a newer one", newest.uuid);
    Some(Cause::new("vanished", text))
}

/// Why the newest snapshot of a job counts for nothing, if somebody else made it so.
fn counts_no_more(job: &Job, rows: &[Snapshot]) -> Option<Cause> {
    let newest = newest(job, rows)?;
    let text = match newest.state {
        SnapshotState::Detached => {
            "its VM is gone, or somebody uses it otherwise, before it counted: it stays, and counts for nothing"
        }
        SnapshotState::Released => "it was given away before it counted",
        _ => return None,
    };
    Some(Cause::new("counts-no-more", format!("the snapshot {} was taken; {text}", newest.uuid)))
}

/// The snapshot vanished before it was marked: the promise is kept anew.
async fn forgotten(errand: &Errand, job: &Job) -> Result<Step> {
    let now = errand.site.now();
    errand.site.store.requeue_forgotten(job.id, now, now).await?;
    Ok(Step::Again)
}

async fn end(errand: &Errand, job: &Job, state: JobState, cause: Cause) -> Result<Step> {
    let kind = match state {
        JobState::Skipped => EventKind::JobSkipped,
        JobState::Cancelled => EventKind::Cancelled,
        _ => EventKind::JobFailed,
    };
    errand.site.note_of_job(job, kind, &cause).await?;
    errand.site.store.end_job(job.id, state, Some(cause), errand.site.now()).await?;
    Ok(Step::Again)
}

fn over_cause(job: &Job, over: &crate::domain::schedule::Over) -> Cause {
    match &job.cause {
        Some(last) => Cause::new(last.code.clone(), format!("{over}; what stood in the way last: {}", last.text)),
        None => Cause::new("too-late", format!("{over}, before its turn came; allow the run more time, or spread the policies")),
    }
}
