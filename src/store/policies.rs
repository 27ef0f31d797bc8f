//! Policies as they were last seen, and how far each has come on each pool.
//!
//! A schedule that is new, changed, enabled again or back after it was removed counts from now: nothing fires for the past merely
//! because a file was written.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::columns::{Columns, at, name, whole};
use super::error::{Error, Fault, Result};
use super::pools;
use super::sqlite::{Connection, Row};

/// A policy as it stands in the files now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySeen {
    /// Its stable id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Of everything that decides when it is due.
    pub fingerprint: String,
    /// False: it fires nothing.
    pub enabled: bool,
}

/// A policy as history knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its stable id.
    pub id: String,
    /// Its name when last seen.
    pub name: String,
    /// Of its schedule when last seen.
    pub fingerprint: String,
    /// Whether it was enabled.
    pub enabled: bool,
    /// When it was first seen.
    pub first_seen: DateTime<Utc>,
    /// Since when no file has it.
    pub removed: Option<DateTime<Utc>>,
}

/// What a new set of policies changed. Ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Never seen before, or back after they were removed.
    pub added: Vec<String>,
    /// The name is another.
    pub renamed: Vec<String>,
    /// The schedule is another, or enabled again: it counts from now.
    pub rescheduled: Vec<String>,
    /// In no file any more.
    pub removed: Vec<String>,
}

/// How far a policy has come on a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The policy's id.
    pub policy: String,
    /// The pool.
    pub pool: Uuid,
    /// Since when its present schedule counts.
    pub counts_from: DateTime<Utc>,
    /// The newest scheduled slot that was claimed.
    pub last_due: Option<DateTime<Utc>>,
}

impl Cursor {
    /// Due times at or before this are past: the policy is due when the next after it has come.
    pub fn after(&self) -> DateTime<Utc> {
        self.last_due.map_or(self.counts_from, |last| last.max(self.counts_from))
    }
}

impl Store {
    /// Writes down the whole set of policies, and returns what changed. Policies that are not in it were removed. Idempotent.
    pub async fn see_policies(&self, seen: Vec<PolicySeen>, now: DateTime<Utc>) -> Result<Changes> {
        for policy in &seen {
            whole("a policy's id", &policy.id)?;
            whole("a policy's fingerprint", &policy.fingerprint)?;
        }
        self.write("write down the policies", move |c| Box::pin(async move { see(c, &seen, now).await })).await
    }

    /// The policies history knows, removed ones included, by name.
    pub async fn policies(&self) -> Result<Vec<Policy>> {
        self.read("list policies", |c| {
            Box::pin(async move {
                let rows = sqlx::query("SELECT * FROM policies ORDER BY name, id").fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }

    /// Starts to count for policies on a pool where that was not done yet: from now. Idempotent.
    pub async fn start_cursors(&self, pool: Uuid, policies: Vec<String>, now: DateTime<Utc>) -> Result<()> {
        self.write("start schedules on a pool", move |c| {
            Box::pin(async move {
                let pool = pools::row_of(c, pool, now).await?;
                for policy in &policies {
                    let policy = known(c, policy).await?;
                    sqlx::query(
                        "INSERT INTO cursors (policy_id, pool_id, counts_from) VALUES ($1, $2, $3)
                         ON CONFLICT (policy_id, pool_id) DO NOTHING",
                    )
                    .bind(policy)
                    .bind(pool)
                    .bind(at(now))
                    .execute(&mut *c)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Has policies count from a slot of theirs on, that slot included, because another daemon has looked after the earlier ones. What
    /// was claimed stays claimed. Idempotent.
    pub async fn move_cursors(&self, pool: Uuid, slots: Vec<(String, DateTime<Utc>)>, now: DateTime<Utc>) -> Result<()> {
        self.write("take over schedules", move |c| {
            Box::pin(async move {
                let pool = pools::row_of(c, pool, now).await?;
                for (policy, slot) in &slots {
                    let policy = known(c, policy).await?;
                    sqlx::query(
                        "INSERT INTO cursors (policy_id, pool_id, counts_from) VALUES ($1, $2, $3)
                         ON CONFLICT (policy_id, pool_id) DO UPDATE SET counts_from = excluded.counts_from",
                    )
                    .bind(policy)
                    .bind(pool)
                    .bind(at(*slot) - 1)
                    .execute(&mut *c)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// How far every policy that is not removed has come, on every pool where it was started.
    pub async fn cursors(&self) -> Result<Vec<Cursor>> {
        self.read("read how far the schedules have come", |c| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "SELECT p.key, o.uuid, c.counts_from, c.last_due FROM cursors c
                     JOIN policies p ON p.id = c.policy_id JOIN pools o ON o.id = c.pool_id WHERE p.removed_at IS NULL",
                )
                .fetch_all(c)
                .await?;
                rows.iter().map(read_cursor).collect()
            })
        })
        .await
    }
}

async fn see(c: &mut Connection, seen: &[PolicySeen], now: DateTime<Utc>) -> Result<Changes, Fault> {
    let rows = sqlx::query("SELECT * FROM policies").fetch_all(&mut *c).await?;
    let mut before: HashMap<String, (i64, Policy)> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let policy = read(row)?;
        before.insert(policy.id.clone(), (row.int("id")?, policy));
    }
    let mut changes = Changes::default();
    for policy in seen {
        match before.remove(&policy.id) {
            None => insert(c, policy, now, &mut changes).await?,
            Some((row, was)) => update(c, row, &was, policy, now, &mut changes).await?,
        }
    }
    for (row, was) in before.into_values().filter(|(_, was)| was.removed.is_none()) {
        sqlx::query("UPDATE policies SET removed_at = $2 WHERE id = $1").bind(row).bind(at(now)).execute(&mut *c).await?;
        changes.removed.push(was.id);
    }
    changes.removed.sort();
    Ok(changes)
}

async fn insert(c: &mut Connection, policy: &PolicySeen, now: DateTime<Utc>, changes: &mut Changes) -> Result<(), Fault> {
    sqlx::query("INSERT INTO policies (key, name, fingerprint, enabled, first_seen_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(&policy.id)
        .bind(name(&policy.name).as_ref())
        .bind(&policy.fingerprint)
        .bind(i64::from(policy.enabled))
        .bind(at(now))
        .execute(c)
        .await?;
    changes.added.push(policy.id.clone());
    Ok(())
}

async fn update(
    c: &mut Connection,
    row: i64,
    was: &Policy,
    is: &PolicySeen,
    now: DateTime<Utc>,
    changes: &mut Changes,
) -> Result<(), Fault> {
    let back = was.removed.is_some();
    let renamed = was.name != name(&is.name);
    let rescheduled = was.fingerprint != is.fingerprint || (is.enabled && !was.enabled);
    if !(back || renamed || rescheduled || was.enabled != is.enabled) {
        return Ok(());
    }
    sqlx::query("UPDATE policies SET name = $2, fingerprint = $3, enabled = $4, removed_at = NULL WHERE id = $1")
        .bind(row)
        .bind(name(&is.name).as_ref())
        .bind(&is.fingerprint)
        .bind(i64::from(is.enabled))
        .execute(&mut *c)
        .await?;
    if back || rescheduled {
        sqlx::query("UPDATE cursors SET counts_from = $2 WHERE policy_id = $1").bind(row).bind(at(now)).execute(c).await?;
    }
    let lists = [(back, &mut changes.added), (renamed, &mut changes.renamed), (rescheduled && !back, &mut changes.rescheduled)];
    lists.into_iter().filter(|(changed, _)| *changed).for_each(|(_, list)| list.push(is.id.clone()));
    Ok(())
}

/// The row of a policy that was seen.
pub(super) async fn known(c: &mut Connection, id: &str) -> Result<i64, Fault> {
    let row: Option<i64> = existing(c, id).await?;
    row.ok_or_else(|| Error::not_found("policy", id).into())
}

/// The row of a policy, if there is one.
pub(super) async fn existing(c: &mut Connection, id: &str) -> Result<Option<i64>, Fault> {
    Ok(sqlx::query_scalar("SELECT id FROM policies WHERE key = $1").bind(id).fetch_optional(c).await?)
}

/// A filter's policy: `Some(None)` if there is no such filter, `None` if history does not know the policy.
pub(super) async fn narrowed(c: &mut Connection, filter: Option<&str>) -> Result<Option<Option<i64>>, Fault> {
    match filter {
        None => Ok(Some(None)),
        Some(id) => Ok(existing(c, id).await?.map(Some)),
    }
}

/// The row of a policy that a mark in a pool names; in no file, as far as history knows, if it is made now.
pub(super) async fn row_of(c: &mut Connection, id: &str, now: DateTime<Utc>) -> Result<i64, Fault> {
    if let Some(row) = existing(c, id).await? {
        return Ok(row);
    }
    let insert = "INSERT INTO policies (key, name, fingerprint, enabled, first_seen_at, removed_at) VALUES ($1, $1, '', 0, $2, $2) RETURNING id";
    Ok(sqlx::query_scalar(insert).bind(whole("a policy's id", id)?).bind(at(now)).fetch_one(c).await?)
}

fn read(row: &Row) -> Result<Policy, Fault> {
    Ok(Policy {
        id: row.text("key")?,
        name: row.text("name")?,
        fingerprint: row.text("fingerprint")?,
        enabled: row.flag("enabled")?,
        first_seen: row.time("first_seen_at")?,
        removed: row.maybe_time("removed_at")?,
    })
}

fn read_cursor(row: &Row) -> Result<Cursor, Fault> {
    Ok(Cursor {
        policy: row.text("key")?,
        pool: row.uuid("uuid")?,
        counts_from: row.time("counts_from")?,
        last_due: row.maybe_time("last_due")?,
    })
}
