//! Which policy covers which VM, and since when.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::Store;
use crate::store::columns::{Columns, at, key, name};
use crate::store::error::{Fault, Result};
use crate::store::sqlite::Connection;
use crate::store::{policies, pools};

/// A VM that a policy covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Covering {
    /// The policy's id.
    pub policy: String,
    /// The VM.
    pub vm: Uuid,
    /// Its name when last seen.
    pub vm_name: String,
    /// Since when it is covered.
    pub since: DateTime<Utc>,
}

impl Store {
    /// What is covered in a pool, by policy and VM; nothing of a pool that the history does not know.
    pub async fn coverings(&self, pool: Uuid) -> Result<Vec<Covering>> {
        self.read("list what is covered", move |c| {
            Box::pin(async move {
                let Some(pool) = pools::existing(c, pool).await? else { return Ok(Vec::new()) };
                let rows = sqlx::query(COVERINGS).bind(pool).fetch_all(c).await?;
                let covering = |row: &crate::store::sqlite::Row| {
                    Ok(Covering {
                        policy: row.text("policy_key")?,
                        vm: row.uuid("vm_uuid")?,
                        vm_name: row.text("vm_name")?,
                        since: row.time("since_at")?,
                    })
                };
                rows.iter().map(covering).collect()
            })
        })
        .await
    }

    /// What is covered more, or under another name, and what is not any more. What is covered already keeps its time. A policy that
    /// the history does not know is left out.
    pub async fn change_coverings(
        &self,
        pool: Uuid,
        more: Vec<Covering>,
        gone: Vec<(String, Uuid)>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.write("write down what is covered", move |c| {
            Box::pin(async move {
                let pool = pools::row_of(c, pool, now).await?;
                for covering in &more {
                    cover(c, pool, covering).await?;
                }
                for (policy, vm) in &gone {
                    let Some(policy) = policies::existing(c, policy).await? else { continue };
                    let delete = "DELETE FROM coverings WHERE pool_id = $1 AND policy_id = $2 AND vm_uuid = $3";
                    sqlx::query(delete).bind(pool).bind(policy).bind(key(*vm)).execute(&mut *c).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

const COVERINGS: &str = "SELECT c.*, p.key AS policy_key FROM coverings c JOIN policies p ON p.id = c.policy_id
     WHERE c.pool_id = $1 ORDER BY p.key, c.vm_uuid";

async fn cover(c: &mut Connection, pool: i64, covering: &Covering) -> Result<(), Fault> {
    let Some(policy) = policies::existing(c, &covering.policy).await? else { return Ok(()) };
    let insert = "INSERT INTO coverings (pool_id, policy_id, vm_uuid, vm_name, since_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (pool_id, policy_id, vm_uuid) DO UPDATE SET vm_name = excluded.vm_name";
    let insert = sqlx::query(insert).bind(pool).bind(policy).bind(key(covering.vm)).bind(name(&covering.vm_name));
    insert.bind(at(covering.since)).execute(c).await?;
    Ok(())
}
