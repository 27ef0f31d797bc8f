//! What a pool holds, in numbers, for those who look often: no rows are read that are only counted.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::columns::Columns;
use super::error::{Fault, Result};
use super::pools;
use super::snapshots::SnapshotState;
use super::sqlite::{Connection, Row};

/// Numbers of one pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Snapshots that are in the pool, by policy and state.
    pub held: Vec<(String, SnapshotState, u64)>,
    /// When the newest durable snapshot of each VM by each policy was taken.
    pub newest: Vec<(Uuid, String, DateTime<Utc>)>,
    /// Removals that are planned, at work, or wait.
    pub open_removals: u64,
    /// Snapshots that cannot be removed.
    pub orphans: u64,
}

const HELD: &str =
    "SELECT p.key AS policy, s.state AS state, count(*) AS number FROM snapshots s JOIN policies p ON p.id = s.policy_id
     WHERE s.pool_id = $1 AND s.state IN ('taken', 'marked', 'durable', 'removing', 'ghost', 'detached')
     GROUP BY s.policy_id, s.state ORDER BY p.key, s.state";

const NEWEST: &str = "SELECT v.uuid AS vm, p.key AS policy, max(s.taken_at) AS taken_at
     FROM snapshots s JOIN policies p ON p.id = s.policy_id JOIN vms v ON v.id = s.vm_id
     WHERE s.pool_id = $1 AND s.state = 'durable' GROUP BY s.vm_id, s.policy_id ORDER BY v.uuid, p.key";

const OPEN: &str = "SELECT count(*) FROM removals WHERE pool_id = $1 AND state IN ('planned', 'working', 'waiting')";

const ORPHANS: &str = "SELECT count(*) FROM removals WHERE pool_id = $1 AND state = 'orphaned'";

impl Store {
    /// What a pool holds; nothing of one that the history does not know.
    pub async fn figures(&self, pool: Uuid) -> Result<Figures> {
        self.read("count what a pool holds", move |c| {
            Box::pin(async move {
                match pools::existing(c, pool).await? {
                    Some(pool) => figures(c, pool).await,
                    None => Ok(Figures::default()),
                }
            })
        })
        .await
    }

    /// Bytes of the history on disk, with its log.
    pub fn bytes(&self) -> u64 {
        let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        size(self.path()) + size(&super::lineage::beside(self.path(), "-wal"))
    }
}

async fn figures(c: &mut Connection, pool: i64) -> Result<Figures, Fault> {
    let held = sqlx::query(HELD).bind(pool).fetch_all(&mut *c).await?;
    let held = held.iter().map(|row: &Row| Ok((row.text("policy")?, row.closed("state")?, row.count("number")?)));
    let held = held.collect::<Result<_, Fault>>()?;
    let newest = sqlx::query(NEWEST).bind(pool).fetch_all(&mut *c).await?;
    let newest = newest.iter().map(|row: &Row| Ok((row.uuid("vm")?, row.text("policy")?, row.time("taken_at")?)));
    let newest = newest.collect::<Result<_, Fault>>()?;
    let open: i64 = sqlx::query_scalar(OPEN).bind(pool).fetch_one(&mut *c).await?;
    let orphans: i64 = sqlx::query_scalar(ORPHANS).bind(pool).fetch_one(&mut *c).await?;
    Ok(Figures { held, newest, open_removals: open.unsigned_abs(), orphans: orphans.unsigned_abs() })
}
