//! Runs: the work of one slot. Snapshots and marks first, then the pool's synchronisation, only then removals, then a second
//! synchronisation; a run may go back to snapshots when the pool turns out to have forgotten some.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::closed::closed;
use super::columns::{Cause, Columns, at, key};
use super::error::{Error, Fault, Result};
use super::ids::{JobId, RunId, SlotId};
use super::jobs;
use super::slots::{Origin, SlotState};
use super::sqlite::{Connection, Row};

closed! {
    /// Where a run is.
    RunState {
        /// Snapshots are taken and marked.
        Snapshotting = "snapshotting",
        /// The pool's database is being synchronised, so that what was taken is durable.
        Synchronising = "synchronising",
        /// What retention no longer wants goes.
        Removing = "removing",
        /// The second synchronisation, so that what went does not come back.
        Settling = "settling",
        /// Over.
        Done = "done",
    }
}

impl RunState {
    /// True if a run in this state may come to `next`: forward, and from anywhere back to snapshots.
    pub fn may_become(self, next: Self) -> bool {
        next > self || next == Self::Snapshotting
    }
}

closed! {
    /// How a run ended.
    Outcome {
        /// Every job did what it should.
        Succeeded = "succeeded",
        /// Some did.
        Partial = "partial",
        /// None did.
        Failed = "failed",
        /// A person or the end of the service stopped it.
        Cancelled = "cancelled",
        /// The policy selected no VM.
        Empty = "empty",
        /// It only looked (`observe`).
        Observed = "observed",
    }
}

/// A run to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The slot it works for.
    pub slot: SlotId,
    /// Names it beyond this database: in marks and in the journal.
    pub uuid: Uuid,
    /// True: it plans and records, and touches nothing.
    pub observe: bool,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its row: what people type.
    pub id: RunId,
    /// Names it beyond this database.
    pub uuid: Uuid,
    /// The slot it works for.
    pub slot: SlotId,
    /// The policy's id.
    pub policy: String,
    /// The policy's present name.
    pub policy_name: String,
    /// The pool.
    pub pool: Uuid,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// Why there is a slot.
    pub origin: Origin,
    /// On time or late.
    pub slot_state: SlotState,
    /// Where it is.
    pub state: RunState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// It only looks.
    pub observe: bool,
    /// A guard stopped a part of it until a person decides.
    pub approval_needed: bool,
    /// Jobs in all; zero while it goes on, as are the next four.
    pub jobs: u64,
    /// Jobs that ended well.
    pub done: u64,
    /// Jobs that failed or could not be decided.
    pub failed: u64,
    /// Jobs that were skipped or cancelled.
    pub skipped: u64,
    /// Snapshots that were removed.
    pub removed: u64,
    /// Why it ended as it did, if that needs a reason.
    pub cause: Option<Cause>,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

macro_rules! select_run {
    ($($rest:tt)+) => {
        concat!(
            "SELECT r.*, s.due_at, s.origin, s.state AS slot_state, p.key AS policy_key, p.name AS policy_name, o.uuid AS pool_uuid
             FROM runs r JOIN slots s ON s.id = r.slot_id JOIN policies p ON p.id = r.policy_id JOIN pools o ON o.id = r.pool_id ",
            $($rest)+
        )
    };
}
pub(super) use select_run;

impl Store {
    /// Starts the run of a claimed slot. A slot has one run: asked again, this returns it, whatever uuid is offered then.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the slot, [`Error::Illegal`] if the slot was not claimed to be run.
    pub async fn start_run(&self, run: NewRun, now: DateTime<Utc>) -> Result<Run> {
        self.write("start a run", move |c| {
            Box::pin(async move {
                let slot = sqlx::query("SELECT * FROM slots WHERE id = $1").bind(run.slot.0).fetch_optional(&mut *c).await?;
                let slot = slot.ok_or_else(|| Error::not_found("slot", run.slot))?;
                let state: SlotState = slot.closed("state")?;
                if !state.has_run() {
                    return Err(Error::Illegal { what: "slot", id: run.slot.0, from: state.as_str(), to: "run" }.into());
                }
                insert(c, &run, slot.int("policy_id")?, slot.int("pool_id")?, now).await?;
                let row = sqlx::query(select_run!("WHERE r.slot_id = $1")).bind(run.slot.0).fetch_one(c).await?;
                read(&row)
            })
        })
        .await
    }

    /// One run.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn run(&self, id: RunId) -> Result<Run> {
        self.read("look up a run", move |c| Box::pin(find(c, id))).await
    }

    /// One run, by the uuid that marks and the journal name.
    pub async fn run_by_uuid(&self, uuid: Uuid) -> Result<Option<Run>> {
        self.read("look up a run", move |c| {
            Box::pin(async move {
                let row = sqlx::query(select_run!("WHERE r.uuid = $1")).bind(key(uuid)).fetch_optional(c).await?;
                row.as_ref().map(read).transpose()
            })
        })
        .await
    }

    /// Takes a run to its next state. Idempotent.
    ///
    /// # Errors
    /// [`Error::Illegal`] for a step back (except to snapshots), or out of `done`; for the way into `done` see [`Self::finish_run`].
    pub async fn advance_run(&self, id: RunId, next: RunState) -> Result<()> {
        self.write("advance a run", move |c| {
            Box::pin(async move {
                let state = state_of(c, id).await?;
                if state == next {
                    return Ok(());
                }
                if state == RunState::Done || next == RunState::Done || !state.may_become(next) {
                    return Err(Error::Illegal { what: "run", id: id.0, from: state.as_str(), to: next.as_str() }.into());
                }
                sqlx::query("UPDATE runs SET state = $2 WHERE id = $1").bind(id.0).bind(next.as_str()).execute(c).await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends a run and counts its jobs. Idempotent: a run that has ended stays as it ended.
    ///
    /// # Errors
    /// [`Error::JobsOpen`] while a job has neither ended nor been given up as unresolved.
    pub async fn finish_run(&self, id: RunId, outcome: Outcome, cause: Option<Cause>, now: DateTime<Utc>) -> Result<Run> {
        self.write("end a run", move |c| {
            Box::pin(async move {
                if state_of(c, id).await? != RunState::Done {
                    finish(c, id, outcome, cause.as_ref(), now).await?;
                }
                find(c, id).await
            })
        })
        .await
    }
}

async fn insert(c: &mut Connection, run: &NewRun, policy: i64, pool: i64, now: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO runs (uuid, slot_id, policy_id, pool_id, state, observe, approval_needed, jobs_total, jobs_done, jobs_failed,
             jobs_skipped, removals_done, started_at)
         VALUES ($1, $2, $3, $4, 'snapshotting', $5, 0, 0, 0, 0, 0, 0, $6) ON CONFLICT (slot_id) DO NOTHING",
    )
    .bind(key(run.uuid))
    .bind(run.slot.0)
    .bind(policy)
    .bind(pool)
    .bind(i64::from(run.observe))
    .bind(at(now))
    .execute(&mut *c)
    .await?;
    sqlx::query("DELETE FROM slots_waiting WHERE slot_id = $1").bind(run.slot.0).execute(c).await?;
    Ok(())
}

async fn finish(c: &mut Connection, id: RunId, outcome: Outcome, cause: Option<&Cause>, now: DateTime<Utc>) -> Result<(), Fault> {
    let open = "SELECT count(*) FROM jobs WHERE run_id = $1 AND finished_at IS NULL AND state <> 'unresolved'";
    let open: i64 = sqlx::query_scalar(open).bind(id.0).fetch_one(&mut *c).await?;
    if open > 0 {
        return Err(Error::JobsOpen { run: id, open }.into());
    }
    let (code, text) = Cause::columns(cause);
    sqlx::query("UPDATE runs SET state = 'done', outcome = $2, cause_code = $3, cause_text = $4, finished_at = $5 WHERE id = $1")
        .bind(id.0)
        .bind(outcome.as_str())
        .bind(code)
        .bind(text)
        .bind(at(now))
        .execute(&mut *c)
        .await?;
    count(c, id).await
}

/// Counts the jobs of a run that has ended, and leaves others alone.
async fn count(c: &mut Connection, id: RunId) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE runs SET
             jobs_total    = (SELECT count(*) FROM jobs WHERE run_id = $1),
             jobs_done     = (SELECT count(*) FROM jobs WHERE run_id = $1 AND state IN ('done', 'observed')),
             jobs_failed   = (SELECT count(*) FROM jobs WHERE run_id = $1 AND state IN ('failed', 'unresolved')),
             jobs_skipped  = (SELECT count(*) FROM jobs WHERE run_id = $1 AND state IN ('skipped', 'cancelled')),
             removals_done = (SELECT count(*) FROM removals WHERE run_id = $1 AND state = 'done')
         WHERE id = $1 AND state = 'done'",
    )
    .bind(id.0)
    .execute(c)
    .await?;
    Ok(())
}

/// A job came to its end after its run did: the run's counts follow.
pub(super) async fn recount(c: &mut Connection, job: JobId) -> Result<(), Fault> {
    let run = jobs::run_of(c, job).await?;
    count(c, run).await
}

/// A run that has ended has work again: the pool forgot what it had taken.
pub(super) async fn reopen(c: &mut Connection, id: RunId) -> Result<(), Fault> {
    sqlx::query("UPDATE runs SET state = 'snapshotting', outcome = NULL, finished_at = NULL WHERE id = $1")
        .bind(id.0)
        .execute(c)
        .await?;
    Ok(())
}

pub(super) async fn state_of(c: &mut Connection, id: RunId) -> Result<RunState, Fault> {
    let row = sqlx::query("SELECT state FROM runs WHERE id = $1").bind(id.0).fetch_optional(c).await?;
    row.ok_or_else(|| Error::not_found("run", id))?.closed("state")
}

pub(super) async fn find(c: &mut Connection, id: RunId) -> Result<Run, Fault> {
    let row = sqlx::query(select_run!("WHERE r.id = $1")).bind(id.0).fetch_optional(c).await?;
    read(&row.ok_or_else(|| Error::not_found("run", id))?)
}

pub(super) fn read(row: &Row) -> Result<Run, Fault> {
    Ok(Run {
        id: row.id("id")?,
        uuid: row.uuid("uuid")?,
        slot: row.id("slot_id")?,
        policy: row.text("policy_key")?,
        policy_name: row.text("policy_name")?,
        pool: row.uuid("pool_uuid")?,
        due_at: row.time("due_at")?,
        origin: row.closed("origin")?,
        slot_state: row.closed("slot_state")?,
        state: row.closed("state")?,
        outcome: row.maybe_closed("outcome")?,
        observe: row.flag("observe")?,
        approval_needed: row.flag("approval_needed")?,
        jobs: row.count("jobs_total")?,
        done: row.count("jobs_done")?,
        failed: row.count("jobs_failed")?,
        skipped: row.count("jobs_skipped")?,
        removed: row.count("removals_done")?,
        cause: row.cause()?,
        started_at: row.time("started_at")?,
        finished_at: row.maybe_time("finished_at")?,
    })
}
