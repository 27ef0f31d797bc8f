//! Questions of people: runs, jobs, slots and snapshots by VM, policy, pool, time and outcome, newest first, a page at a time.
//!
//! Each list has one statement per index that can lead it, because a statement that leaves the choice open ("if this is given") walks
//! the whole table. The rest of the filter narrows while the index is walked.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::columns::between;
use super::error::{Fault, Result};
use super::ids::{RunId, VmId};
use super::jobs::{self, Job, JobState, select_job};
use super::page::{Listed, Page};
use super::runs::{self, Outcome, Run, select_run};
use super::slots::{self, Slot, SlotState, select_slot};
use super::snapshots::{self, Snapshot, select_snapshot};
use super::sqlite::{Connection, Query};
use super::{Store, policies, pools};

/// Which jobs are wanted. Each part narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this VM.
    pub vm: Option<VmId>,
    /// Of this policy.
    pub policy: Option<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// In this state.
    pub state: Option<JobState>,
    /// Added not before.
    pub from: Option<DateTime<Utc>>,
    /// Added before.
    pub until: Option<DateTime<Utc>>,
}

/// Which runs are wanted. Each part narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this policy.
    pub policy: Option<String>,
    /// On this pool.
    pub pool: Option<Uuid>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// Started not before.
    pub from: Option<DateTime<Utc>>,
    /// Started before.
    pub until: Option<DateTime<Utc>>,
}

/// Which slots are wanted. Each part narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotFilter {
    /// Of this policy.
    pub policy: Option<String>,
    /// On this pool.
    pub pool: Option<Uuid>,
    /// Decided so.
    pub state: Option<SlotState>,
    /// Due not before.
    pub from: Option<DateTime<Utc>>,
    /// Due before.
    pub until: Option<DateTime<Utc>>,
}

/// Which snapshots are wanted. Each part narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Of this VM.
    pub vm: Option<VmId>,
    /// Of this policy.
    pub policy: Option<String>,
    /// In this pool.
    pub pool: Option<Uuid>,
    /// True: only those the pool should have.
    pub present: bool,
}

macro_rules! job_page {
    ($driver:literal) => {
        select_job!(concat!(
            "WHERE ",
            $driver,
            "j.created_at >= $5 AND j.created_at < $6 AND (j.created_at, j.id) < ($7, $8)
             AND ($1 IS NULL OR j.vm_id = $1) AND ($2 IS NULL OR j.policy_id = $2) AND ($3 IS NULL OR j.run_id = $3)
             AND ($4 IS NULL OR j.state = $4) ORDER BY j.created_at DESC, j.id DESC LIMIT $9"
        ))
    };
}

macro_rules! run_page {
    ($driver:literal) => {
        select_run!(concat!(
            "WHERE ",
            $driver,
            "r.started_at >= $4 AND r.started_at < $5 AND (r.started_at, r.id) < ($6, $7)
             AND ($1 IS NULL OR r.policy_id = $1) AND ($2 IS NULL OR r.pool_id = $2) AND ($3 IS NULL OR r.outcome = $3)
             ORDER BY r.started_at DESC, r.id DESC LIMIT $8"
        ))
    };
}

macro_rules! slot_page {
    ($driver:literal) => {
        select_slot!(concat!(
            "WHERE ",
            $driver,
            "s.due_at >= $4 AND s.due_at < $5 AND (s.due_at, s.id) < ($6, $7)
             AND ($1 IS NULL OR s.policy_id = $1) AND ($2 IS NULL OR s.pool_id = $2) AND ($3 IS NULL OR s.state = $3)
             ORDER BY s.due_at DESC, s.id DESC LIMIT $8"
        ))
    };
}

macro_rules! snapshot_page {
    ($driver:literal) => {
        select_snapshot!(concat!(
            "WHERE ",
            $driver,
            "(n.taken_at, n.id) < ($5, $6)
             AND ($1 IS NULL OR n.vm_id = $1) AND ($2 IS NULL OR n.policy_id = $2) AND ($3 IS NULL OR n.pool_id = $3)
             AND ($4 = 0 OR n.state IN ('taken', 'marked', 'durable', 'removing', 'ghost', 'detached'))
             ORDER BY n.taken_at DESC, n.id DESC LIMIT $7"
        ))
    };
}

impl Store {
    /// Jobs, newest first.
    pub async fn jobs(&self, filter: JobFilter, page: Page) -> Result<Listed<Job>> {
        self.read("list jobs", move |c| {
            Box::pin(async move {
                let place = |job: &Job| (job.created_at, job.id.0);
                let Some(policy) = policies::narrowed(c, filter.policy.as_deref()).await? else {
                    return Ok(page.cut(Vec::new(), place));
                };
                let rows = job_query(&filter, policy, page).fetch_all(c).await?;
                Ok(page.cut(rows.iter().map(jobs::read).collect::<Result<_, _>>()?, place))
            })
        })
        .await
    }

    /// Runs, newest first.
    pub async fn runs(&self, filter: RunFilter, page: Page) -> Result<Listed<Run>> {
        self.read("list runs", move |c| {
            Box::pin(async move {
                let place = |run: &Run| (run.started_at, run.id.0);
                let Some((policy, pool)) = look_up(c, filter.policy.as_deref(), filter.pool).await? else {
                    return Ok(page.cut(Vec::new(), place));
                };
                let rows = run_query(&filter, policy, pool, page).fetch_all(c).await?;
                Ok(page.cut(rows.iter().map(runs::read).collect::<Result<_, _>>()?, place))
            })
        })
        .await
    }

    /// Slots, the latest due first.
    pub async fn slots(&self, filter: SlotFilter, page: Page) -> Result<Listed<Slot>> {
        self.read("list slots", move |c| {
            Box::pin(async move {
                let place = |slot: &Slot| (slot.due_at, slot.id.0);
                let Some((policy, pool)) = look_up(c, filter.policy.as_deref(), filter.pool).await? else {
                    return Ok(page.cut(Vec::new(), place));
                };
                let rows = slot_query(&filter, policy, pool, page).fetch_all(c).await?;
                Ok(page.cut(rows.iter().map(slots::read).collect::<Result<_, _>>()?, place))
            })
        })
        .await
    }

    /// Snapshots, the newest first.
    pub async fn snapshots(&self, filter: SnapshotFilter, page: Page) -> Result<Listed<Snapshot>> {
        self.read("list snapshots", move |c| {
            Box::pin(async move {
                let place = |snapshot: &Snapshot| (snapshot.taken_at, snapshot.id.0);
                let Some((policy, pool)) = look_up(c, filter.policy.as_deref(), filter.pool).await? else {
                    return Ok(page.cut(Vec::new(), place));
                };
                let rows = snapshot_query(&filter, policy, pool, page).fetch_all(c).await?;
                Ok(page.cut(rows.iter().map(snapshots::read).collect::<Result<_, _>>()?, place))
            })
        })
        .await
    }
}

/// The rows of what a filter names; `None` if history does not know it, and nothing matches.
async fn look_up(
    c: &mut Connection,
    policy: Option<&str>,
    pool: Option<Uuid>,
) -> Result<Option<(Option<i64>, Option<i64>)>, Fault> {
    let Some(policy) = policies::narrowed(c, policy).await? else { return Ok(None) };
    Ok(pools::narrowed(c, pool).await?.map(|pool| (policy, pool)))
}

fn job_query(filter: &JobFilter, policy: Option<i64>, page: Page) -> Query {
    let sql = match filter {
        JobFilter { run: Some(_), .. } => job_page!("j.run_id = $3 AND "),
        JobFilter { vm: Some(_), .. } => job_page!("j.vm_id = $1 AND "),
        // What went well is most of the table; what did not is little.
        JobFilter { state: Some(state), .. } if *state != JobState::Done => job_page!("j.state = $4 AND "),
        _ if policy.is_some() => job_page!("j.policy_id = $2 AND "),
        _ => job_page!(""),
    };
    let ((from, until), below) = (between(filter.from, filter.until), page.below());
    sqlx::query(sql)
        .bind(filter.vm.map(|vm| vm.0))
        .bind(policy)
        .bind(filter.run.map(|run| run.0))
        .bind(filter.state.map(JobState::as_str))
        .bind(from)
        .bind(until)
        .bind(below.0)
        .bind(below.1)
        .bind(page.fetch())
}

fn run_query(filter: &RunFilter, policy: Option<i64>, pool: Option<i64>, page: Page) -> Query {
    let sql = match filter.outcome {
        Some(outcome) if outcome != Outcome::Succeeded => run_page!("r.outcome = $3 AND "),
        _ if policy.is_some() => run_page!("r.policy_id = $1 AND "),
        _ if pool.is_some() => run_page!("r.pool_id = $2 AND "),
        _ => run_page!(""),
    };
    let ((from, until), below) = (between(filter.from, filter.until), page.below());
    sqlx::query(sql)
        .bind(policy)
        .bind(pool)
        .bind(filter.outcome.map(Outcome::as_str))
        .bind(from)
        .bind(until)
        .bind(below.0)
        .bind(below.1)
        .bind(page.fetch())
}

fn slot_query(filter: &SlotFilter, policy: Option<i64>, pool: Option<i64>, page: Page) -> Query {
    let sql = match filter.state {
        Some(state) if state != SlotState::Claimed => slot_page!("s.state = $3 AND "),
        _ if policy.is_some() => slot_page!("s.policy_id = $1 AND "),
        _ if pool.is_some() => slot_page!("s.pool_id = $2 AND "),
        _ => slot_page!(""),
    };
    let ((from, until), below) = (between(filter.from, filter.until), page.below());
    sqlx::query(sql)
        .bind(policy)
        .bind(pool)
        .bind(filter.state.map(SlotState::as_str))
        .bind(from)
        .bind(until)
        .bind(below.0)
        .bind(below.1)
        .bind(page.fetch())
}

fn snapshot_query(filter: &SnapshotFilter, policy: Option<i64>, pool: Option<i64>, page: Page) -> Query {
    let sql = match filter {
        SnapshotFilter { vm: Some(_), .. } => snapshot_page!("n.vm_id = $1 AND "),
        _ if policy.is_some() => snapshot_page!("n.policy_id = $2 AND "),
        _ => snapshot_page!(""),
    };
    let below = page.below();
    sqlx::query(sql)
        .bind(filter.vm.map(|vm| vm.0))
        .bind(policy)
        .bind(pool)
        .bind(i64::from(filter.present))
        .bind(below.0)
        .bind(below.1)
        .bind(page.fetch())
}

#[cfg(test)]
mod tests {
    use sqlx::Execute;

    use super::*;
    use crate::store::sqlite::plans::Explained;

    fn combinations<T: Copy, const N: usize>(parts: [T; N]) -> impl Iterator<Item = Vec<T>> {
        (0..1_usize << N).map(move |set| (0..N).filter(|n| set >> n & 1 == 1).map(|n| parts[n]).collect())
    }

    /// Every list, whatever it is narrowed by, walks an index in the order of the list: no whole table, no sorting.
    #[tokio::test]
    async fn no_list_walks_a_whole_table_or_sorts() {
        let explained = Explained::new().await;
        let queries = || {
            let mut queries = Vec::new();
            for given in combinations(["vm", "policy", "run", "state", "pool"]) {
                let has = |part| given.contains(&part);
                let (policy, pool) = (has("policy").then_some(1), has("pool").then_some(1));
                let vm = has("vm").then_some(VmId(1));
                let run = has("run").then_some(RunId(1));
                for state in [JobState::Failed, JobState::Done] {
                    let filter = JobFilter { vm, run, state: has("state").then_some(state), ..JobFilter::default() };
                    queries.push(job_query(&filter, policy, Page::default()));
                }
                for outcome in [Outcome::Failed, Outcome::Succeeded] {
                    let filter = RunFilter { outcome: has("state").then_some(outcome), ..RunFilter::default() };
                    queries.push(run_query(&filter, policy, pool, Page::default()));
                }
                let filter = SlotFilter { state: has("state").then_some(SlotState::Missed), ..SlotFilter::default() };
                queries.push(slot_query(&filter, policy, pool, Page::default()));
                let filter = SnapshotFilter { vm, present: has("state"), ..SnapshotFilter::default() };
                queries.push(snapshot_query(&filter, policy, pool, Page::default()));
            }
            queries
        };
        for query in queries() {
            let told = explained.plan(query.sql().as_str()).await;
            let of_one_run = told.contains("jobs") && told.contains("run_id=?");
            assert!(told.contains("SEARCH") && !told.contains("SCAN"), "{told}");
            assert!(!told.contains("TEMP B-TREE") || of_one_run, "{told}");
        }
    }
}
