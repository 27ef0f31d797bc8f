//! Questions of a person who looks at one thing closely: everything of one run, and what a name or the beginning of a uuid may mean.

use super::Store;
use super::attempts::{self, Attempt};
use super::error::{Fault, Result};
use super::ids::RunId;
use super::pools::{self, Vm};
use super::removals::{self, Removal, select_removal};
use super::snapshots::{self, Snapshot, select_snapshot};
use super::sqlite::Row;

/// The most VMs that are offered as what may have been meant.
const MOST_VMS: i64 = 20_000;
/// The most snapshots that the beginning of a uuid may mean.
const MOST_SNAPSHOTS: i64 = 20;

impl Store {
    /// Every attempt of every job of a run, in the order in which they were intended.
    pub async fn attempts_in(&self, run: RunId) -> Result<Vec<Attempt>> {
        self.read("list the attempts of a run", move |c| {
            Box::pin(async move { all(sqlx::query(ATTEMPTS_IN).bind(run.0).fetch_all(c).await?, attempts::read) })
        })
        .await
    }

    /// The snapshots that the jobs of a run took.
    pub async fn snapshots_in(&self, run: RunId) -> Result<Vec<Snapshot>> {
        self.read("list the snapshots of a run", move |c| {
            Box::pin(async move { all(sqlx::query(SNAPSHOTS_IN).bind(run.0).fetch_all(c).await?, snapshots::read) })
        })
        .await
    }

    /// The removals that a run planned, oldest first.
    pub async fn removals_in(&self, run: RunId) -> Result<Vec<Removal>> {
        self.read("list the removals of a run", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(REMOVALS_IN).bind(run.0).fetch_all(&mut *c).await?;
                removals::with_parts(c, &rows).await
            })
        })
        .await
    }

    /// The snapshots whose uuid begins so, in lower case with hyphens; the first few.
    pub async fn find_snapshots(&self, beginning: &str) -> Result<Vec<Snapshot>> {
        let from = beginning.to_owned();
        // Behind every hexadecimal digit and the hyphen.
        let until = format!("{beginning}g");
        self.read("look up a snapshot", move |c| {
            Box::pin(async move {
                let query = sqlx::query(SNAPSHOTS_FROM).bind(from).bind(until).bind(MOST_SNAPSHOTS);
                all(query.fetch_all(c).await?, snapshots::read)
            })
        })
        .await
    }

    /// The VMs about which something was done last, most recent first.
    pub async fn recent_vms(&self) -> Result<Vec<Vm>> {
        self.read("list VMs", |c| {
            Box::pin(async move { all(sqlx::query(RECENT_VMS).bind(MOST_VMS).fetch_all(c).await?, pools::read_vm) })
        })
        .await
    }
}

const ATTEMPTS_IN: &str =
    "SELECT a.* FROM jobs j JOIN attempts a ON a.job_id = j.id WHERE j.run_id = $1 ORDER BY a.intent_at, a.id";

const SNAPSHOTS_IN: &str = select_snapshot!(
    "WHERE n.attempt_id IN (SELECT t.id FROM jobs w JOIN attempts t ON t.job_id = w.id WHERE w.run_id = $1) ORDER BY n.taken_at, n.id"
);

const REMOVALS_IN: &str = select_removal!("WHERE m.run_id = $1 ORDER BY m.id");

const SNAPSHOTS_FROM: &str = select_snapshot!("WHERE n.uuid >= $1 AND n.uuid < $2 ORDER BY n.uuid, n.id LIMIT $3");

const RECENT_VMS: &str =
    "SELECT v.id, v.uuid, v.name, v.last_seen_at, p.uuid AS pool_uuid FROM vms v JOIN pools p ON p.id = v.pool_id
     WHERE v.last_seen_at > 0 ORDER BY v.last_seen_at DESC LIMIT $1";

fn all<T>(rows: Vec<Row>, read: fn(&Row) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::plans::Explained;

    #[tokio::test]
    async fn one_thing_is_found_without_walking_the_others() {
        let explained = Explained::new().await;
        for sql in [ATTEMPTS_IN, SNAPSHOTS_IN, REMOVALS_IN, SNAPSHOTS_FROM, RECENT_VMS] {
            let plan = explained.plan(sql).await;
            assert!(plan.contains("SEARCH") && !plan.contains("SCAN"), "{sql}\n{plan}");
        }
    }
}
