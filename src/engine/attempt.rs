//! One attempt: one call that takes a snapshot, under one nonce. The order is the rule: the intent is on disk before the call leaves,
//! the call carries the nonce, the turn on the storage is passed on the moment the call's end is known.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::admission::Staged;
use super::errand::Errand;
use super::error::{Effect, Result, Setback};
use super::site::Site;
use super::view;
use super::worker::Worker;
use crate::domain::nonce::Nonce;
use crate::domain::snapshot::Kind;
use crate::store::{Attempt, AttemptId, Cause, Ended, EventKind, Job, NewSnapshot, SnapshotId};
use crate::xenapi::records::{Task as TaskRecord, Vm};
use crate::xenapi::types::Ref;
use crate::xenapi::{Call, Task, calls};

/// The tag that carries the nonce in a task's `other_config`.
pub const TAG: &str = "xensnap-nonce";

/// So long after its time was over a call has been told to end, and its end waited for.
const TOLD: Duration = Duration::from_secs(55);

/// How an attempt went, as far as it is known.
#[derive(Debug)]
pub enum Went {
    /// There is a snapshot.
    Taken(Ref<Vm>),
    /// There is none.
    Not(Setback),
    /// Nobody knows.
    Doubtful(Setback),
}

/// What is to be called.
#[derive(Debug, Clone)]
pub struct Target {
    /// The VM.
    pub vm: Ref<Vm>,
    /// How.
    pub kind: Kind,
    /// Disks that are left out.
    pub left_out: Vec<Ref<crate::xenapi::records::Vdi>>,
}

impl Target {
    fn call(&self, name: &str) -> Call<Ref<Vm>> {
        match self.kind {
            Kind::Quiesced => calls::vm::snapshot_with_quiesce(&self.vm, name),
            Kind::Memory => calls::vm::checkpoint(&self.vm, name),
            Kind::Disk | Kind::Offline if self.left_out.is_empty() => calls::vm::snapshot(&self.vm, name),
            Kind::Disk | Kind::Offline => calls::vm::snapshot_without(&self.vm, name, &self.left_out),
        }
    }
}

/// Writes the intent down, waits for the turn, calls, and waits for the end.
///
/// # Errors
/// When the history cannot be written: then no call was made, or its end is looked for by the next life.
pub async fn make(worker: &mut Worker, errand: &Errand, job: &Job, target: &Target, staged: Staged) -> Result<(Attempt, Went)> {
    let site = &errand.site;
    let nonce = Nonce::from_bits(rand::random());
    let mut attempt = site.store.write_intent(job.id, nonce.as_str(), &site.server_start(), site.now()).await?;
    let turn = async {
        tokio::select! { () = errand.cancellation(job) => None, turn = staged.turn() => Some(turn) }
    };
    let Some(turn) = worker.wait(turn).await else { return Ok((attempt, Went::Not(cancelled()))) };
    let name = errand.policy.snapshot.name.name(&errand.subject(job, target.kind), nonce);
    let call = target.call(&name).tagged(TAG, nonce.as_str());
    attempt.called_at = Some(site.now());
    let task = match worker.wait(site.pool.start(call)).await {
        Ok(task) => task,
        Err(error) => {
            let setback = Setback::from(error);
            let doubt = setback.effect == Effect::Unknown;
            return Ok((attempt, if doubt { Went::Doubtful(setback) } else { Went::Not(setback) }));
        }
    };
    // The turn is passed on the moment the end is known, whether or not the answer is on disk by then.
    let (scribe, reference) = (worker.fork(), task.reference().to_string());
    let answered = async {
        let _scribe = scribe;
        site.store.call_answered(attempt.id, &reference, &site.server_start(), site.now()).await
    };
    let wish = errand.cancellation(job);
    let ended = finish(worker, site, task, (site.pace.call, wish), move || drop(turn));
    let (answered, went) = tokio::join!(answered, ended);
    answered?;
    tell_if_stuck(site, job, &went).await?;
    attempt.ended_at = Some(site.now());
    Ok((attempt, went))
}

/// Takes up the task of a job's attempt again, for the rest of its time.
///
/// # Errors
/// When the history cannot be written.
pub async fn pick_up(worker: &mut Worker, site: &Site, job: &Job, task: Ref<TaskRecord>, left: Duration) -> Result<Went> {
    let task = site.pool.pick_up(task);
    let wish = site.wishes.cancellation(job.run, job.vm_uuid);
    let went = finish(worker, site, task, (left, wish), || ()).await;
    tell_if_stuck(site, job, &went).await?;
    Ok(went)
}

/// How much of its time a call has left; nothing once it is over and the call has been told to end.
pub fn left(site: &Site, attempt: &Attempt) -> Option<Duration> {
    let called = attempt.called_at.unwrap_or(attempt.intent_at);
    let gone = (site.now() - called).to_std().unwrap_or_default();
    (gone < site.pace.call + TOLD).then(|| site.pace.call.saturating_sub(gone))
}

/// Somebody has to look at what holds a call up.
async fn tell_if_stuck(site: &Site, job: &Job, went: &Went) -> Result<()> {
    if let Went::Not(setback) | Went::Doubtful(setback) = went
        && setback.is_stuck()
    {
        site.note_of_job(job, EventKind::Stuck, &setback.cause).await?;
    }
    Ok(())
}

/// Waits for the end, and asks the server for it if somebody wishes so; whatever the end is then, it counts.
async fn finish(
    worker: &mut Worker,
    site: &Site,
    task: Task<Ref<Vm>>,
    (time, wish): (Duration, impl Future<Output = ()>),
    over: impl FnOnce() + Send,
) -> Went {
    let reference = task.reference().clone();
    // A failed task is what tells the next life that the call failed, until that is written down.
    let ended = task.leaving_failures().finish_then(Some(time), over);
    let asked = async {
        wish.await;
        if let Err(error) = site.pool.call(calls::task::cancel(&reference)).await {
            tracing::warn!(pool = %site.name(), %error, "the snapshot could not be cancelled; its end is waited for");
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        tokio::select! { ended = ended => Some(ended), () = asked => None }
    };
    match worker.wait(ended).await.unwrap_or_else(|| unreachable!("it waits for ever")) {
        Ok(snapshot) => Went::Taken(snapshot),
        Err(error) => {
            let setback = Setback::from(error);
            if setback.effect == Effect::Unknown { Went::Doubtful(setback) } else { Went::Not(setback) }
        }
    }
}

fn cancelled() -> Setback {
    let cause = Cause::new("cancelled", "cancelled before it was its turn");
    Setback { kind: crate::xenapi::failure::Kind::Busy, cause, effect: Effect::NeverLeft }
}

/// Writes down that the attempt took this snapshot, with the disks that belong to it. `None`: it cannot be seen, which leaves the
/// attempt in doubt.
///
/// # Errors
/// When the history cannot be written.
pub async fn record(
    worker: &mut Worker,
    site: &Site,
    job: &Job,
    attempt: AttemptId,
    kind: Kind,
    snapshot: &Ref<Vm>,
) -> Result<Option<(SnapshotId, view::Shown)>> {
    let Some(shown) = site.seen(worker, site.pace.showing, |tables| view::shown(tables, snapshot)).await else {
        return Ok(None);
    };
    let new = NewSnapshot {
        pool: site.uuid.0,
        uuid: shown.record.uuid.get(),
        vm: job.vm_uuid,
        vm_name: job.vm_name.clone(),
        policy: job.policy.clone(),
        due_at: job.due_at,
        kind: super::errand::kind_row(kind),
        name: shown.record.name_label.to_string(),
        disks: shown.disks.clone(),
        suspend_image: shown.suspend_image,
        taken_at: shown.record.snapshot_time.happened().unwrap_or_else(|| site.now()),
    };
    let id = site.store.snapshot_taken(attempt, new, site.now()).await?;
    Ok(Some((id, shown)))
}

/// Writes down that an attempt brought nothing, and when the job is looked at again. Only then is its task cleaned away.
///
/// # Errors
/// When the history cannot be written.
pub async fn ended(
    worker: &mut Worker,
    site: &Site,
    job: &Job,
    attempt: AttemptId,
    setback: &Setback,
    next: DateTime<Utc>,
) -> Result<()> {
    let ended = if setback.effect == Effect::Refused { Ended::Refused } else { Ended::Absent };
    site.store.call_ended(attempt, ended, setback.cause.clone(), next, site.now()).await?;
    let rows = site.store.attempts(job.id).await?;
    let task = rows.into_iter().find(|row| row.id == attempt).and_then(|row| row.task);
    if let Some(task) = task.filter(|_| setback.effect == Effect::Refused) {
        worker.wait(site.pool.forget(&Ref::new(&task))).await;
    }
    Ok(())
}

/// A cause for a person, from a doubt that could not be resolved.
pub fn unresolved(setback: &Setback) -> Cause {
    let text = format!(
        "nobody knows whether the snapshot was taken: {}. It is looked for again at every comparison of history and pool",
        setback.cause.text
    );
    Cause::new("unresolved", text)
}
