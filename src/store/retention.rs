//! History's own retention: what is long over goes, a bounded number of rows at a time, so that claims and intents never wait long.
//!
//! What recovery may still need stays, however old: anything that has not ended, snapshots the pool should have, removals that are
//! open, orphaned or not settled, questions nobody has answered. Rows of snapshots that are gone stay at least a week: a member that
//! is promoted works from a pool database up to a day old, and what it brings back must be recognised. Slots that are deleted stay
//! claimed, because each schedule remembers how far it was forgotten.

use chrono::{DateTime, TimeDelta, Utc};

use super::Store;
use super::columns::{Columns, at};
use super::error::{Fault, Result};
use super::sqlite::{Connection, Row};

/// Rows about snapshots that are gone stay this long at least, in days.
const LEAST_DAYS: i64 = 7;

/// How long what is over is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Runs with their jobs and attempts, slots, and decided approvals.
    pub runs: TimeDelta,
    /// Snapshots that are gone, with their removals; at least a week.
    pub snapshots: TimeDelta,
    /// Events.
    pub events: TimeDelta,
}

/// How many rows went in one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Runs.
    pub runs: u64,
    /// Their jobs.
    pub jobs: u64,
    /// Slots.
    pub slots: u64,
    /// Snapshots that were gone.
    pub snapshots: u64,
    /// Removals that had ended.
    pub removals: u64,
    /// Events.
    pub events: u64,
    /// Decided approvals.
    pub approvals: u64,
    /// Alarms that are over.
    pub alarms: u64,
    /// VMs nothing refers to.
    pub vms: u64,
    /// There may be more: call again.
    pub more: bool,
}

impl Store {
    /// Deletes one batch of what is over, at most about `limit` rows of each kind (a run goes as a whole), in one transaction. Call
    /// until [`Forgotten::more`] is false.
    pub async fn forget(&self, keep: Keep, limit: u32, now: DateTime<Utc>) -> Result<Forgotten> {
        let limit = limit.max(1);
        self.write("forget what is over", move |c| Box::pin(async move { Batch::new(keep, limit, now).run(c).await })).await
    }
}

struct Batch {
    limit: u32,
    runs: i64,
    snapshots: i64,
    events: i64,
    forgotten: Forgotten,
}

impl Batch {
    fn new(keep: Keep, limit: u32, now: DateTime<Utc>) -> Self {
        let before = |age: TimeDelta| now.checked_sub_signed(age).map_or(i64::MIN, at);
        let gone = keep.snapshots.max(TimeDelta::days(LEAST_DAYS));
        let (runs, snapshots, events) = (before(keep.runs), before(gone), before(keep.events));
        Self { limit, runs, snapshots, events, forgotten: Forgotten::default() }
    }

    async fn run(mut self, c: &mut Connection) -> Result<Forgotten, Fault> {
        self.forget_runs(c).await?;
        self.forget_slots(c).await?;
        self.forget_snapshots(c).await?;
        self.forgotten.removals += self.delete(c, LOOSE_REMOVALS, self.snapshots).await?;
        self.forgotten.events = self.delete(c, EVENTS, self.events).await?;
        self.forgotten.approvals = self.delete(c, APPROVALS, self.runs).await?;
        self.forgotten.alarms = self.delete(c, ALARMS, self.events).await?;
        self.delete(c, MESSAGES, self.events).await?;
        self.forgotten.vms = self.delete(c, VMS, self.runs.min(self.snapshots)).await?;
        Ok(self.forgotten)
    }

    async fn delete(&mut self, c: &mut Connection, sql: &'static str, before: i64) -> Result<u64, Fault> {
        let gone = sqlx::query(sql).bind(before).bind(self.limit).execute(c).await?.rows_affected();
        self.reached(gone);
        Ok(gone)
    }

    fn reached(&mut self, count: u64) {
        self.forgotten.more |= count >= u64::from(self.limit);
    }

    async fn forget_runs(&mut self, c: &mut Connection) -> Result<(), Fault> {
        let over = sqlx::query(RUNS).bind(self.runs).bind(self.limit).fetch_all(&mut *c).await?;
        self.reached(over.len() as u64);
        for run in &over {
            if self.forgotten.jobs >= u64::from(self.limit) {
                self.forgotten.more = true;
                break;
            }
            self.forget_run(c, run).await?;
        }
        Ok(())
    }

    async fn forget_run(&mut self, c: &mut Connection, run: &Row) -> Result<(), Fault> {
        let id = run.int("id")?;
        let attempts = "DELETE FROM attempts WHERE job_id IN (SELECT id FROM jobs WHERE run_id = $1)";
        sqlx::query(attempts).bind(id).execute(&mut *c).await?;
        self.forgotten.jobs += sqlx::query("DELETE FROM jobs WHERE run_id = $1").bind(id).execute(&mut *c).await?.rows_affected();
        sqlx::query("DELETE FROM runs WHERE id = $1").bind(id).execute(&mut *c).await?;
        self.forgotten.runs += 1;
        self.forget_slot(c, run.int("slot_id")?, run).await
    }

    async fn forget_slots(&mut self, c: &mut Connection) -> Result<(), Fault> {
        let over = sqlx::query(SLOTS).bind(self.runs).bind(self.limit).fetch_all(&mut *c).await?;
        self.reached(over.len() as u64);
        for slot in &over {
            self.forget_slot(c, slot.int("slot_id")?, slot).await?;
        }
        Ok(())
    }

    /// The row goes, the claim stays.
    async fn forget_slot(&mut self, c: &mut Connection, id: i64, slot: &Row) -> Result<(), Fault> {
        sqlx::query(
            "INSERT INTO cursors (policy_id, pool_id, counts_from, forgotten_until) VALUES ($1, $2, $3, $3)
             ON CONFLICT (policy_id, pool_id) DO UPDATE SET forgotten_until = CASE
                 WHEN cursors.forgotten_until > excluded.forgotten_until THEN cursors.forgotten_until ELSE excluded.forgotten_until END",
        )
        .bind(slot.int("policy_id")?)
        .bind(slot.int("pool_id")?)
        .bind(slot.int("due_at")?)
        .execute(&mut *c)
        .await?;
        self.forgotten.slots += sqlx::query("DELETE FROM slots WHERE id = $1").bind(id).execute(c).await?.rows_affected();
        Ok(())
    }

    async fn forget_snapshots(&mut self, c: &mut Connection) -> Result<(), Fault> {
        let over: Vec<i64> = sqlx::query_scalar(SNAPSHOTS).bind(self.snapshots).bind(self.limit).fetch_all(&mut *c).await?;
        self.reached(over.len() as u64);
        for id in over {
            let removals = sqlx::query("DELETE FROM removals WHERE snapshot_id = $1").bind(id).execute(&mut *c).await?;
            self.forgotten.removals += removals.rows_affected();
            sqlx::query("DELETE FROM snapshots WHERE id = $1").bind(id).execute(&mut *c).await?;
            self.forgotten.snapshots += 1;
        }
        Ok(())
    }
}

const RUNS: &str = "SELECT r.id, r.slot_id, r.policy_id, r.pool_id, s.due_at FROM runs r JOIN slots s ON s.id = r.slot_id
    WHERE r.finished_at < $1
        AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.run_id = r.id AND j.finished_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM removals m WHERE m.run_id = r.id AND m.state IN ('planned', 'working', 'waiting', 'orphaned'))
        AND NOT EXISTS (SELECT 1 FROM approvals q WHERE q.run_id = r.id AND q.state IN ('pending', 'granted'))
    ORDER BY r.finished_at LIMIT $2";

const SLOTS: &str = "SELECT s.id AS slot_id, s.policy_id, s.pool_id, s.due_at FROM slots s
    WHERE s.due_at < $1 AND s.state IN ('missed', 'skipped', 'overlapped', 'covered') LIMIT $2";

const SNAPSHOTS: &str = "SELECT n.id FROM snapshots n
    WHERE n.state IN ('removed', 'vanished', 'released') AND n.changed_at < $1
        AND NOT EXISTS (SELECT 1 FROM removals m WHERE m.snapshot_id = n.id
            AND (m.state IN ('planned', 'working', 'waiting', 'orphaned') OR (m.state = 'done' AND m.settled_at IS NULL)))
    LIMIT $2";

const LOOSE_REMOVALS: &str = "DELETE FROM removals WHERE id IN (SELECT m.id FROM removals m
    WHERE m.finished_at < $1 AND (m.state IN ('dropped', 'withdrawn') OR (m.state = 'done' AND m.snapshot_id IS NULL
        AND m.settled_at IS NOT NULL))
    ORDER BY m.finished_at LIMIT $2)";

const EVENTS: &str = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < $1 ORDER BY at LIMIT $2)";

const APPROVALS: &str = "DELETE FROM approvals WHERE id IN (SELECT id FROM approvals
    WHERE state IN ('refused', 'expired', 'used') AND asked_at < $1 LIMIT $2)";

const ALARMS: &str = "DELETE FROM alarms WHERE id IN (SELECT a.id FROM alarms a
    WHERE a.cleared_at < $1 AND NOT EXISTS (SELECT 1 FROM alarm_edges e WHERE e.alarm_id = a.id) ORDER BY a.cleared_at LIMIT $2)";

const MESSAGES: &str = "DELETE FROM alarm_messages WHERE id IN (SELECT m.id FROM alarm_messages m WHERE m.created_at < $1
    AND NOT EXISTS (SELECT 1 FROM alarm_deliveries d WHERE d.message_id = m.id AND d.state = 'waiting')
    ORDER BY m.created_at LIMIT $2)";

const VMS: &str = "DELETE FROM vms WHERE id IN (SELECT v.id FROM vms v WHERE v.last_seen_at < $1
    AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.vm_id = v.id) AND NOT EXISTS (SELECT 1 FROM snapshots n WHERE n.vm_id = v.id)
    ORDER BY v.last_seen_at LIMIT $2)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::plans::Explained;

    #[tokio::test]
    async fn what_is_over_is_found_without_walking_what_is_not() {
        let explained = Explained::new().await;
        for sql in [RUNS, SLOTS, SNAPSHOTS, LOOSE_REMOVALS, EVENTS, APPROVALS, ALARMS, MESSAGES, VMS] {
            let plan = explained.plan(sql).await;
            assert!(plan.contains("SEARCH") && !plan.contains("SCAN ") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }
}
