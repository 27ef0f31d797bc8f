//! Questions of a daemon that starts, or that has lost its trust in what it remembers: what was begun and not ended? The answers
//! are lists to look at the pool with, not to act upon: history says what may be, the pool what is.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::attempts::{self, Attempt};
use super::columns::{Columns, at};
use super::error::{Fault, Result};
use super::ids::SnapshotId;
use super::jobs::{self, Job, select_job};
use super::removals::{self, Removal, select_removal};
use super::runs::{self, Run, select_run};
use super::slots::{self, Slot, select_slot};
use super::snapshots::{self, Snapshot, select_snapshot};
use super::sqlite::{Connection, Row};
use super::{Store, pools};

impl Store {
    /// Slots that were claimed to be run and have no run: the daemon died in between. Oldest first.
    pub async fn slots_without_run(&self) -> Result<Vec<Slot>> {
        self.read("list slots without a run", |c| {
            Box::pin(async move { all(sqlx::query(SLOTS_WITHOUT_RUN).fetch_all(c).await?, slots::read) })
        })
        .await
    }

    /// Runs that have not ended. Oldest first.
    pub async fn unfinished_runs(&self) -> Result<Vec<Run>> {
        self.read("list unfinished runs", |c| {
            Box::pin(async move { all(sqlx::query(UNFINISHED_RUNS).fetch_all(c).await?, runs::read) })
        })
        .await
    }

    /// Jobs that have not ended, unresolved ones included. Oldest first.
    pub async fn unfinished_jobs(&self) -> Result<Vec<Job>> {
        self.read("list unfinished jobs", |c| {
            Box::pin(async move { all(sqlx::query(UNFINISHED_JOBS).fetch_all(c).await?, jobs::read) })
        })
        .await
    }

    /// Calls whose end is not known. Each must be looked for in the pool before anything else is done about its job.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>> {
        self.read("list calls whose end is unknown", |c| {
            Box::pin(async move { all(sqlx::query(OPEN_ATTEMPTS).fetch_all(c).await?, attempts::read) })
        })
        .await
    }

    /// The newest time history knows of: a clock that shows an earlier one is, or was, wrong. `None` for an empty history.
    pub async fn newest_time(&self) -> Result<Option<DateTime<Utc>>> {
        self.read("look for the newest time", |c| {
            Box::pin(async move {
                let row = sqlx::query(NEWEST_TIME).fetch_one(c).await?;
                row.maybe_time("newest")
            })
        })
        .await
    }

    /// Snapshots of a pool that are marked and not durable: what the next synchronisation is for.
    pub async fn snapshots_to_secure(&self, pool: Uuid) -> Result<Vec<SnapshotId>> {
        self.read("list snapshots that are not durable", move |c| {
            Box::pin(async move {
                let Some(pool) = pools::existing(c, pool).await? else { return Ok(Vec::new()) };
                let ids: Vec<i64> = sqlx::query_scalar(TO_SECURE).bind(pool).fetch_all(c).await?;
                Ok(ids.into_iter().map(SnapshotId).collect())
            })
        })
        .await
    }

    /// Every snapshot the pool should have, to be compared with what it has. Oldest first.
    pub async fn present_snapshots(&self, pool: Uuid) -> Result<Vec<Snapshot>> {
        self.read("list the snapshots of a pool", move |c| {
            Box::pin(async move {
                let Some(pool) = pools::existing(c, pool).await? else { return Ok(Vec::new()) };
                all(sqlx::query(PRESENT).bind(pool).fetch_all(c).await?, snapshots::read)
            })
        })
        .await
    }

    /// Snapshots whose record is gone from the pool: all that vanished, and those that were removed since then. Oldest row first.
    pub async fn gone_snapshots(&self, pool: Uuid, since: DateTime<Utc>) -> Result<Vec<Snapshot>> {
        self.read("list the snapshots that are gone", move |c| {
            Box::pin(async move {
                let Some(pool) = pools::existing(c, pool).await? else { return Ok(Vec::new()) };
                all(sqlx::query(GONE).bind(pool).bind(at(since)).fetch_all(c).await?, snapshots::read)
            })
        })
        .await
    }

    /// Snapshots that share VM, policy and due time with another that counts: duplicates. The oldest of each comes first.
    pub async fn duplicates(&self, pool: Uuid) -> Result<Vec<Vec<Snapshot>>> {
        self.read("look for duplicates", move |c| {
            Box::pin(async move {
                let Some(pool) = pools::existing(c, pool).await? else { return Ok(Vec::new()) };
                let rows = sqlx::query(DUPLICATES).bind(pool).fetch_all(c).await?;
                let same = |a: &Snapshot, b: &Snapshot| (a.vm, &a.policy, a.due_at) == (b.vm, &b.policy, b.due_at);
                Ok(all(rows, snapshots::read)?.chunk_by(same).map(<[Snapshot]>::to_vec).collect())
            })
        })
        .await
    }

    /// Pinned snapshots whose date has passed, so that the server's guard on them is taken off.
    pub async fn pins_over(&self, now: DateTime<Utc>) -> Result<Vec<Snapshot>> {
        self.read("list pins that are over", move |c| {
            Box::pin(async move { all(sqlx::query(PINS_OVER).bind(at(now)).fetch_all(c).await?, snapshots::read) })
        })
        .await
    }

    /// Removals to be worked on now: planned, interrupted, or waiting no longer. The longest due first.
    pub async fn removals_due(&self, now: DateTime<Utc>) -> Result<Vec<Removal>> {
        self.read("list removals that are due", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(REMOVALS_DUE).bind(at(now)).fetch_all(&mut *c).await?;
                removals::with_parts(c, &rows).await
            })
        })
        .await
    }

    /// Removals that are open on a pool, due or not.
    pub async fn open_removals(&self, pool: Uuid) -> Result<Vec<Removal>> {
        self.removals_where("list open removals", OPEN_REMOVALS, pool).await
    }

    /// What stays on a pool because it cannot be removed.
    pub async fn orphans(&self, pool: Uuid) -> Result<Vec<Removal>> {
        self.removals_where("list orphans", ORPHANS, pool).await
    }

    /// Removals that are done and that the pool may still forget: what the second synchronisation is for.
    pub async fn removals_to_settle(&self, pool: Uuid) -> Result<Vec<Removal>> {
        self.removals_where("list removals that are not durable", TO_SETTLE, pool).await
    }

    async fn removals_where(&self, operation: &'static str, select: &'static str, pool: Uuid) -> Result<Vec<Removal>> {
        self.read(operation, move |c| Box::pin(async move { of_pool(c, select, pool).await })).await
    }
}

const SLOTS_WITHOUT_RUN: &str = select_slot!("WHERE s.id IN (SELECT slot_id FROM slots_waiting) ORDER BY s.due_at, s.id");

const UNFINISHED_RUNS: &str = select_run!("WHERE r.state <> 'done' ORDER BY r.id");

const UNFINISHED_JOBS: &str = select_job!(
    "WHERE j.state IN ('queued', 'intent', 'calling', 'taken', 'marked', 'durable', 'pruned', 'unresolved') ORDER BY j.id"
);

// In the order of the index that holds the open ones only: in that of the table, all are walked.
const OPEN_ATTEMPTS: &str = "SELECT * FROM attempts WHERE state IN ('intent', 'calling', 'unresolved') ORDER BY job_id";

const NEWEST_TIME: &str = "SELECT max(t) AS newest FROM (SELECT max(started_at) AS t FROM runs
    UNION ALL SELECT max(created_at) FROM jobs UNION ALL SELECT max(at) FROM events) AS times";

const TO_SECURE: &str = "SELECT id FROM snapshots WHERE pool_id = $1 AND state = 'marked' ORDER BY id";

const PRESENT: &str = select_snapshot!(
    "WHERE n.pool_id = $1 AND n.state IN ('taken', 'marked', 'durable', 'removing', 'ghost', 'detached') ORDER BY n.taken_at, n.id"
);

const GONE: &str = select_snapshot!(
    "WHERE n.pool_id = $1 AND (n.state = 'vanished' OR (n.state = 'removed' AND n.changed_at >= $2)) ORDER BY n.id"
);

const DUPLICATES: &str = select_snapshot!(
    "WHERE n.pool_id = $1 AND n.state IN ('taken', 'marked', 'durable') AND EXISTS (
         SELECT 1 FROM snapshots m WHERE m.vm_id = n.vm_id AND m.policy_id = n.policy_id AND m.due_at = n.due_at AND m.id <> n.id
             AND m.pool_id = n.pool_id AND m.state IN ('taken', 'marked', 'durable'))
     ORDER BY n.vm_id, n.policy_id, n.due_at, n.taken_at, n.id"
);

const PINS_OVER: &str = select_snapshot!("WHERE n.pinned_until <= $1 ORDER BY n.pinned_until, n.id");

const REMOVALS_DUE: &str =
    select_removal!("WHERE m.state IN ('planned', 'working', 'waiting') AND m.next_try_at <= $1 ORDER BY m.next_try_at, m.id");

const OPEN_REMOVALS: &str =
    select_removal!("WHERE m.pool_id = $1 AND m.state IN ('planned', 'working', 'waiting') ORDER BY m.id");

const ORPHANS: &str = select_removal!("WHERE m.pool_id = $1 AND m.state = 'orphaned' ORDER BY m.id");

const TO_SETTLE: &str = select_removal!("WHERE m.pool_id = $1 AND m.state = 'done' AND m.settled_at IS NULL ORDER BY m.id");

async fn of_pool(c: &mut Connection, select: &'static str, pool: Uuid) -> Result<Vec<Removal>, Fault> {
    let Some(pool) = pools::existing(c, pool).await? else { return Ok(Vec::new()) };
    let rows = sqlx::query(select).bind(pool).fetch_all(&mut *c).await?;
    removals::with_parts(c, &rows).await
}

fn all<T>(rows: Vec<Row>, read: fn(&Row) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::plans::Explained;

    #[tokio::test]
    async fn what_is_unfinished_is_found_without_walking_what_is_not() {
        let explained = Explained::new().await;
        let all = [
            SLOTS_WITHOUT_RUN,
            UNFINISHED_RUNS,
            UNFINISHED_JOBS,
            OPEN_ATTEMPTS,
            NEWEST_TIME,
            TO_SECURE,
            PRESENT,
            GONE,
            DUPLICATES,
            PINS_OVER,
            REMOVALS_DUE,
            OPEN_REMOVALS,
            ORPHANS,
            TO_SETTLE,
        ];
        // An index that holds only what is unfinished may be walked whole.
        let small = ["SCAN r USING INDEX runs_unfinished", "SCAN attempts USING INDEX attempts_one_open"];
        for sql in all {
            let plan = explained.plan(sql).await;
            let walks = plan.lines().filter(|step| step.contains("SCAN ") && !small.contains(step) && !step.contains("times"));
            assert_eq!(walks.collect::<Vec<_>>(), Vec::<&str>::new(), "{sql}\n{plan}");
        }
    }
}
