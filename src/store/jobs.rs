//! Jobs: one VM inside a run. Most steps of a job come with a step of its attempt or its snapshot and are written with them, in one
//! transaction (`attempts`, `snapshots`); here is the rest, and the lines along which a job may move.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::Store;
use super::closed::closed;
use super::columns::{Cause, Columns, ROWS_AT_ONCE, at, name};
use super::error::{Error, Fault, Result};
use super::ids::{JobId, RunId, VmId};
use super::sqlite::{Connection, Row};
use super::{pools, runs};

closed! {
    /// What kind of snapshot.
    Kind {
        /// `VM.snapshot`.
        Disk = "disk",
        /// `VM.snapshot_with_quiesce`.
        Quiesced = "quiesced",
        /// `VM.checkpoint`.
        Memory = "memory",
        /// Clean shutdown, snapshot, start.
        Offline = "offline",
    }
}

closed! {
    /// Where a job is.
    JobState {
        /// It waits for its turn, or for the next try.
        Queued = "queued",
        /// Its nonce is written; the call leaves now. After a crash: it may have left.
        Intent = "intent",
        /// The server has answered with a task.
        Calling = "calling",
        /// The snapshot exists and carries no mark yet.
        Taken = "taken",
        /// The mark is on it.
        Marked = "marked",
        /// The pool's database was synchronised after the mark.
        Durable = "durable",
        /// Retention for this VM was done.
        Pruned = "pruned",
        /// Nobody knows whether the call had an effect. A person, or a later look, decides; never a retry.
        Unresolved = "unresolved",
        /// All is well.
        Done = "done",
        /// There is no snapshot, or something after it went wrong; the cause says which.
        Failed = "failed",
        /// It was not to be tried: a guard, a missing prerequisite.
        Skipped = "skipped",
        /// Stopped before it began.
        Cancelled = "cancelled",
        /// The run only looked.
        Observed = "observed",
    }
}

impl JobState {
    /// True if nothing more happens to a job in this state.
    pub fn is_final(self) -> bool {
        self >= Self::Done
    }

    /// True if a job in this state may come to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use JobState::*;
        match self {
            Queued => matches!(next, Intent | Failed | Skipped | Cancelled | Observed),
            Intent => matches!(next, Calling | Taken | Queued | Unresolved),
            Calling => matches!(next, Taken | Queued | Unresolved),
            Unresolved => matches!(next, Calling | Taken | Queued | Failed),
            Taken => matches!(next, Marked | Queued | Failed),
            Marked => matches!(next, Durable | Queued | Failed),
            Durable => matches!(next, Pruned | Done | Queued | Failed),
            Pruned => matches!(next, Done | Queued | Failed),
            // The pool forgot the snapshot: the promise is kept anew.
            Done => next == Queued,
            Failed | Skipped | Cancelled | Observed => false,
        }
    }
}

/// A job to be added to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The VM.
    pub vm: Uuid,
    /// Its name now.
    pub vm_name: String,
    /// What kind of snapshot.
    pub kind: Kind,
    /// The call does not leave earlier.
    pub not_before: DateTime<Utc>,
    /// Nor later.
    pub deadline: DateTime<Utc>,
    /// Set: it is skipped at once, for this reason.
    pub skip: Option<Cause>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its row.
    pub id: JobId,
    /// Its run.
    pub run: RunId,
    /// The policy's id.
    pub policy: String,
    /// The policy's present name.
    pub policy_name: String,
    /// The pool.
    pub pool: Uuid,
    /// The VM's row.
    pub vm: VmId,
    /// The VM.
    pub vm_uuid: Uuid,
    /// The name the VM had then.
    pub vm_name: String,
    /// When its slot was due.
    pub due_at: DateTime<Utc>,
    /// What kind of snapshot.
    pub kind: Kind,
    /// Where it is.
    pub state: JobState,
    /// How many calls were intended so far.
    pub attempts: u64,
    /// The call does not leave earlier.
    pub not_before: DateTime<Utc>,
    /// Nor later.
    pub deadline: DateTime<Utc>,
    /// When to look at it again.
    pub next_try: DateTime<Utc>,
    /// Why it is where it is, if that needs a reason.
    pub cause: Option<Cause>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When its state last changed.
    pub changed_at: DateTime<Utc>,
    /// When it came to its end.
    pub finished_at: Option<DateTime<Utc>>,
}

macro_rules! select_job {
    ($($rest:tt)+) => {
        concat!(
            "SELECT j.*, s.due_at, p.key AS policy_key, p.name AS policy_name, o.uuid AS pool_uuid, v.uuid AS vm_uuid,
                 (SELECT count(*) FROM attempts a WHERE a.job_id = j.id) AS attempts
             FROM jobs j JOIN vms v ON v.id = j.vm_id JOIN pools o ON o.id = v.pool_id JOIN policies p ON p.id = j.policy_id
                 JOIN runs r ON r.id = j.run_id JOIN slots s ON s.id = r.slot_id ",
            $($rest)+
        )
    };
}
pub(super) use select_job;

impl Store {
    /// Adds jobs to a run, one per VM. A VM that has one already keeps it. Returns all jobs of the run, oldest first.
    ///
    /// # Errors
    /// [`Error::Illegal`] if the run is over.
    pub async fn add_jobs(&self, run: RunId, jobs: Vec<NewJob>, now: DateTime<Utc>) -> Result<Vec<Job>> {
        self.write("add jobs to a run", move |c| {
            Box::pin(async move {
                let parent = sqlx::query("SELECT * FROM runs WHERE id = $1").bind(run.0).fetch_optional(&mut *c).await?;
                let parent = parent.ok_or_else(|| Error::not_found("run", run))?;
                if parent.closed::<runs::RunState>("state")? == runs::RunState::Done {
                    return Err(Error::Illegal { what: "run", id: run.0, from: "done", to: "snapshotting" }.into());
                }
                let (policy, pool) = (parent.int("policy_id")?, parent.int("pool_id")?);
                let vms: Vec<_> = jobs.iter().map(|job| (job.vm, job.vm_name.as_str())).collect();
                let vms = pools::vm_rows(c, pool, &vms, now).await?;
                insert(c, run, policy, &vms, &jobs, now).await?;
                of_run(c, run).await
            })
        })
        .await
    }

    /// One job.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn job(&self, id: JobId) -> Result<Job> {
        self.read("look up a job", move |c| Box::pin(find(c, id))).await
    }

    /// All jobs of a run, oldest first.
    pub async fn jobs_of(&self, run: RunId) -> Result<Vec<Job>> {
        self.read("list the jobs of a run", move |c| Box::pin(of_run(c, run))).await
    }

    /// Puts a waiting job off, for a reason found before any call left.
    ///
    /// # Errors
    /// [`Error::Illegal`] if it does not wait.
    pub async fn postpone_job(&self, id: JobId, next_try: DateTime<Utc>, cause: Cause, now: DateTime<Utc>) -> Result<()> {
        self.write("postpone a job", move |c| {
            Box::pin(async move {
                let state = state_of(c, id).await?;
                if state != JobState::Queued {
                    return Err(illegal(id, state, JobState::Queued));
                }
                put(c, id, JobState::Queued, Some(&cause), now).await?;
                put_next_try(c, id, next_try).await
            })
        })
        .await
    }

    /// Retention for this job's VM was done. Idempotent.
    ///
    /// # Errors
    /// [`Error::Illegal`] if its snapshot is not durable.
    pub async fn job_pruned(&self, id: JobId, now: DateTime<Utc>) -> Result<()> {
        self.write("write down that retention was done", move |c| {
            Box::pin(async move { step(c, id, JobState::Pruned, None, now).await })
        })
        .await
    }

    /// Ends a job: done, failed, skipped, cancelled or observed. Idempotent.
    ///
    /// # Errors
    /// [`Error::Illegal`] for another state, or when the end does not follow from where it is: a job whose call may still have an
    /// effect cannot end.
    pub async fn end_job(&self, id: JobId, end: JobState, cause: Option<Cause>, now: DateTime<Utc>) -> Result<()> {
        self.write("end a job", move |c| {
            Box::pin(async move {
                let state = state_of(c, id).await?;
                if !end.is_final() || (state == JobState::Unresolved && end != state) {
                    return Err(illegal(id, state, end));
                }
                step(c, id, end, cause.as_ref(), now).await?;
                runs::recount(c, id).await
            })
        })
        .await
    }

    /// Takes up a job again whose snapshot the pool forgot, and its run with it. The next intent is a new attempt.
    ///
    /// # Errors
    /// [`Error::Illegal`] unless its newest attempt is recorded as forgotten.
    pub async fn requeue_forgotten(&self, id: JobId, next_try: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
        self.write("take up a job again", move |c| {
            Box::pin(async move {
                let newest = "SELECT state FROM attempts WHERE job_id = $1 ORDER BY number DESC LIMIT 1";
                let newest: Option<String> = sqlx::query_scalar(newest).bind(id.0).fetch_optional(&mut *c).await?;
                let state = state_of(c, id).await?;
                if state == JobState::Queued {
                    return Ok(());
                }
                if newest.as_deref() != Some("forgotten") {
                    return Err(illegal(id, state, JobState::Queued));
                }
                let run = run_of(c, id).await?;
                if runs::state_of(c, run).await? == runs::RunState::Done {
                    runs::reopen(c, run).await?;
                }
                let cause = Cause::new("forgotten", "the pool forgot the snapshot; it is taken again");
                step(c, id, JobState::Queued, Some(&cause), now).await?;
                put_next_try(c, id, next_try).await
            })
        })
        .await
    }
}

async fn insert(
    c: &mut Connection,
    run: RunId,
    policy: i64,
    vms: &HashMap<Uuid, i64>,
    jobs: &[NewJob],
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    for some in jobs.chunks(ROWS_AT_ONCE) {
        let mut insert = QueryBuilder::new(
            "INSERT INTO jobs (run_id, vm_id, policy_id, vm_name, kind, state, not_before, deadline_at, next_try_at, cause_code,
                 cause_text, created_at, changed_at, finished_at) ",
        );
        insert.push_values(some, |mut row, job| {
            let state = if job.skip.is_some() { JobState::Skipped } else { JobState::Queued };
            let (code, text) = Cause::columns(job.skip.as_ref());
            row.push_bind(run.0).push_bind(vms.get(&job.vm).copied()).push_bind(policy);
            row.push_bind(name(&job.vm_name).into_owned()).push_bind(job.kind.as_str()).push_bind(state.as_str());
            row.push_bind(at(job.not_before)).push_bind(at(job.deadline)).push_bind(at(job.not_before));
            row.push_bind(code).push_bind(text).push_bind(at(now)).push_bind(at(now));
            row.push_bind(state.is_final().then_some(at(now)));
        });
        insert.push(" ON CONFLICT (run_id, vm_id) DO NOTHING").build().execute(&mut *c).await?;
    }
    Ok(())
}

/// Moves a job along its lines. The same state again is no step and changes nothing.
pub(super) async fn step(
    c: &mut Connection,
    id: JobId,
    next: JobState,
    cause: Option<&Cause>,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let state = state_of(c, id).await?;
    if state == next {
        return Ok(());
    }
    if !state.may_become(next) {
        return Err(illegal(id, state, next));
    }
    put(c, id, next, cause, now).await
}

async fn put(c: &mut Connection, id: JobId, next: JobState, cause: Option<&Cause>, now: DateTime<Utc>) -> Result<(), Fault> {
    let (code, text) = Cause::columns(cause);
    sqlx::query("UPDATE jobs SET state = $2, cause_code = $3, cause_text = $4, changed_at = $5, finished_at = $6 WHERE id = $1")
        .bind(id.0)
        .bind(next.as_str())
        .bind(code)
        .bind(text)
        .bind(at(now))
        .bind(next.is_final().then_some(at(now)))
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn put_next_try(c: &mut Connection, id: JobId, next_try: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query("UPDATE jobs SET next_try_at = $2 WHERE id = $1").bind(id.0).bind(at(next_try)).execute(c).await?;
    Ok(())
}

pub(super) async fn state_of(c: &mut Connection, id: JobId) -> Result<JobState, Fault> {
    let row = sqlx::query("SELECT state FROM jobs WHERE id = $1").bind(id.0).fetch_optional(c).await?;
    row.ok_or_else(|| Error::not_found("job", id))?.closed("state")
}

pub(super) async fn run_of(c: &mut Connection, id: JobId) -> Result<RunId, Fault> {
    let run: Option<i64> = sqlx::query_scalar("SELECT run_id FROM jobs WHERE id = $1").bind(id.0).fetch_optional(c).await?;
    run.map(RunId).ok_or_else(|| Error::not_found("job", id).into())
}

pub(super) fn illegal(id: JobId, from: JobState, to: JobState) -> Fault {
    Error::Illegal { what: "job", id: id.0, from: from.as_str(), to: to.as_str() }.into()
}

async fn find(c: &mut Connection, id: JobId) -> Result<Job, Fault> {
    let row = sqlx::query(select_job!("WHERE j.id = $1")).bind(id.0).fetch_optional(c).await?;
    read(&row.ok_or_else(|| Error::not_found("job", id))?)
}

async fn of_run(c: &mut Connection, run: RunId) -> Result<Vec<Job>, Fault> {
    let rows = sqlx::query(select_job!("WHERE j.run_id = $1 ORDER BY j.id")).bind(run.0).fetch_all(c).await?;
    rows.iter().map(read).collect()
}

pub(super) fn read(row: &Row) -> Result<Job, Fault> {
    Ok(Job {
        id: row.id("id")?,
        run: row.id("run_id")?,
        policy: row.text("policy_key")?,
        policy_name: row.text("policy_name")?,
        pool: row.uuid("pool_uuid")?,
        vm: row.id("vm_id")?,
        vm_uuid: row.uuid("vm_uuid")?,
        vm_name: row.text("vm_name")?,
        due_at: row.time("due_at")?,
        kind: row.closed("kind")?,
        state: row.closed("state")?,
        attempts: row.count("attempts")?,
        not_before: row.time("not_before")?,
        deadline: row.time("deadline_at")?,
        next_try: row.time("next_try_at")?,
        cause: row.cause()?,
        created_at: row.time("created_at")?,
        changed_at: row.time("changed_at")?,
        finished_at: row.maybe_time("finished_at")?,
    })
}
