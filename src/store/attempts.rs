//! Attempts: one call, one nonce. The row is on disk before the call leaves, and a job never has two whose end is unknown.
//!
//! A second attempt exists only after the first is known to have had no effect, or its effect was forgotten by the server; both stay.

use chrono::{DateTime, Utc};

use super::Store;
use super::closed::closed;
use super::columns::{Cause, Columns, at, whole};
use super::error::{Error, Fault, Result};
use super::ids::{AttemptId, JobId};
use super::jobs::{self, JobState};
use super::runs::{self, RunState};
use super::sqlite::{Connection, Row};

closed! {
    /// What is known of a call.
    AttemptState {
        /// It leaves now, or has left: look before acting.
        Intent = "intent",
        /// The server has answered with a task.
        Calling = "calling",
        /// Whether it had an effect cannot be decided.
        Unresolved = "unresolved",
        /// The snapshot exists.
        Succeeded = "succeeded",
        /// The server said no, or the task failed.
        Refused = "refused",
        /// It never arrived, or ended without an effect: proven.
        Absent = "absent",
        /// It succeeded, and the server forgot.
        Forgotten = "forgotten",
    }
}

impl AttemptState {
    /// True while the call may still have an effect that is not known.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Intent | Self::Calling | Self::Unresolved)
    }
}

/// How a call ended that left no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The server said no, or the task failed.
    Refused,
    /// It is proven that it had no effect.
    Absent,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its row.
    pub id: AttemptId,
    /// Its job.
    pub job: JobId,
    /// 1 for the first.
    pub number: u64,
    /// Stands in the task's `other_config` and in the snapshot's name.
    pub nonce: String,
    /// What is known of it.
    pub state: AttemptState,
    /// The task, which means something only while `server_start` is the server's.
    pub task: Option<String>,
    /// The master's `agent_start_time` when the call left.
    pub server_start: Option<String>,
    /// Why it ended as it did.
    pub cause: Option<Cause>,
    /// When the intent was written.
    pub intent_at: DateTime<Utc>,
    /// When the server answered with a task.
    pub called_at: Option<DateTime<Utc>>,
    /// When its end was known.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Writes down that a call is about to leave, and under which nonce. On disk when this returns; only then may the call leave.
    ///
    /// `server_start` is the master's `agent_start_time` now: later it tells whether the server has restarted since. The same nonce
    /// for the same job again is the same attempt.
    ///
    /// # Errors
    /// [`Error::AttemptOpen`] while the end of an earlier attempt is unknown, [`Error::NonceTaken`], [`Error::Illegal`].
    pub async fn write_intent(&self, job: JobId, nonce: &str, server_start: &str, now: DateTime<Utc>) -> Result<Attempt> {
        let nonce = whole("a nonce", nonce)?.to_owned();
        let server_start = whole("the server's start time", server_start)?.to_owned();
        self.write("write down an intent", move |c| {
            Box::pin(async move {
                if let Some(before) = by_nonce(c, &nonce).await? {
                    return if before.job == job { Ok(before) } else { Err(Error::NonceTaken { nonce }.into()) };
                }
                if let Some(open) = open_of(c, job).await? {
                    return Err(Error::AttemptOpen { job, nonce: open.nonce }.into());
                }
                jobs::step(c, job, JobState::Intent, None, now).await?;
                insert(c, job, &nonce, &server_start, now).await
            })
        })
        .await
    }

    /// The server has answered with a task, or a pending task with the nonce was found. Idempotent; a task found later replaces the
    /// one that was written down.
    pub async fn call_answered(&self, attempt: AttemptId, task: &str, server_start: &str, now: DateTime<Utc>) -> Result<()> {
        let task = whole("a task's reference", task)?.to_owned();
        let server_start = whole("the server's start time", server_start)?.to_owned();
        self.write("write down a task", move |c| {
            Box::pin(async move {
                let before = find(c, attempt).await?;
                if !before.state.is_open() {
                    return Err(illegal(&before, AttemptState::Calling));
                }
                sqlx::query(
                    "UPDATE attempts SET state = 'calling', task_ref = $2, server_start = $3, called_at = coalesce(called_at, $4)
                     WHERE id = $1",
                )
                .bind(attempt.0)
                .bind(&task)
                .bind(&server_start)
                .bind(at(now))
                .execute(&mut *c)
                .await?;
                jobs::step(c, before.job, JobState::Calling, None, now).await
            })
        })
        .await
    }

    /// A call is known to have left no snapshot. Its job waits for `next_try`; if its run is over by now, the job has failed.
    /// Idempotent.
    pub async fn call_ended(
        &self,
        attempt: AttemptId,
        ended: Ended,
        cause: Cause,
        next_try: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let state = match ended {
            Ended::Refused => AttemptState::Refused,
            Ended::Absent => AttemptState::Absent,
        };
        self.write("write down how a call ended", move |c| {
            Box::pin(async move {
                let before = find(c, attempt).await?;
                if before.state == state {
                    return Ok(());
                }
                close(c, &before, state, Some(&cause), now).await?;
                let run = jobs::run_of(c, before.job).await?;
                if runs::state_of(c, run).await? == RunState::Done {
                    jobs::step(c, before.job, JobState::Failed, Some(&cause), now).await?;
                    return runs::recount(c, before.job).await;
                }
                jobs::step(c, before.job, JobState::Queued, Some(&cause), now).await?;
                jobs::put_next_try(c, before.job, next_try).await
            })
        })
        .await
    }

    /// Whether the call had an effect cannot be decided now. Its job is unresolved until it can. Idempotent.
    pub async fn call_unresolved(&self, attempt: AttemptId, cause: Cause, now: DateTime<Utc>) -> Result<()> {
        self.write("write down an unresolved call", move |c| {
            Box::pin(async move {
                let before = find(c, attempt).await?;
                if before.state == AttemptState::Unresolved {
                    return Ok(());
                }
                close(c, &before, AttemptState::Unresolved, Some(&cause), now).await?;
                jobs::step(c, before.job, JobState::Unresolved, Some(&cause), now).await
            })
        })
        .await
    }

    /// The attempts of a job, first one first.
    pub async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>> {
        self.read("list the attempts of a job", move |c| {
            Box::pin(async move {
                let rows =
                    sqlx::query("SELECT * FROM attempts WHERE job_id = $1 ORDER BY number").bind(job.0).fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }

    /// The attempt with this nonce: how a task or a snapshot of the pool is traced back.
    pub async fn attempt_by_nonce(&self, nonce: &str) -> Result<Option<Attempt>> {
        let nonce = nonce.to_owned();
        self.read("look up a nonce", move |c| Box::pin(async move { by_nonce(c, &nonce).await })).await
    }
}

/// Ends an attempt. Only an open one ends, except that a success may be forgotten.
pub(super) async fn close(
    c: &mut Connection,
    before: &Attempt,
    next: AttemptState,
    cause: Option<&Cause>,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let fine = before.state.is_open() || (before.state == AttemptState::Succeeded && next == AttemptState::Forgotten);
    if !fine {
        return Err(illegal(before, next));
    }
    let (code, text) = Cause::columns(cause);
    sqlx::query("UPDATE attempts SET state = $2, cause_code = $3, cause_text = $4, ended_at = $5 WHERE id = $1")
        .bind(before.id.0)
        .bind(next.as_str())
        .bind(code)
        .bind(text)
        .bind((!next.is_open()).then_some(at(now)))
        .execute(c)
        .await?;
    Ok(())
}

async fn insert(c: &mut Connection, job: JobId, nonce: &str, server_start: &str, now: DateTime<Utc>) -> Result<Attempt, Fault> {
    let row = sqlx::query(
        "INSERT INTO attempts (job_id, number, nonce, state, server_start, intent_at)
         VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE job_id = $1), $2, 'intent', $3, $4) RETURNING *",
    )
    .bind(job.0)
    .bind(nonce)
    .bind(server_start)
    .bind(at(now))
    .fetch_one(c)
    .await?;
    read(&row)
}

async fn by_nonce(c: &mut Connection, nonce: &str) -> Result<Option<Attempt>, Fault> {
    let row = sqlx::query("SELECT * FROM attempts WHERE nonce = $1").bind(nonce).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

async fn open_of(c: &mut Connection, job: JobId) -> Result<Option<Attempt>, Fault> {
    let select = "SELECT * FROM attempts WHERE job_id = $1 AND state IN ('intent', 'calling', 'unresolved')";
    let row = sqlx::query(select).bind(job.0).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn find(c: &mut Connection, id: AttemptId) -> Result<Attempt, Fault> {
    let row = sqlx::query("SELECT * FROM attempts WHERE id = $1").bind(id.0).fetch_optional(c).await?;
    read(&row.ok_or_else(|| Error::not_found("attempt", id))?)
}

fn illegal(before: &Attempt, next: AttemptState) -> Fault {
    Error::Illegal { what: "attempt", id: before.id.0, from: before.state.as_str(), to: next.as_str() }.into()
}

pub(super) fn read(row: &Row) -> Result<Attempt, Fault> {
    Ok(Attempt {
        id: row.id("id")?,
        job: row.id("job_id")?,
        number: row.count("number")?,
        nonce: row.text("nonce")?,
        state: row.closed("state")?,
        task: row.maybe_text("task_ref")?,
        server_start: row.maybe_text("server_start")?,
        cause: row.cause()?,
        intent_at: row.time("intent_at")?,
        called_at: row.maybe_time("called_at")?,
        ended_at: row.maybe_time("ended_at")?,
    })
}
