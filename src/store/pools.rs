//! Pools and VMs as they were last seen. Rows come into being when something first refers to them, and names follow the pool.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::Store;
use super::columns::{Columns, ROWS_AT_ONCE, at, json, key, name, whole};
use super::error::{Error, Fault, Result};
use super::ids::VmId;
use super::sqlite::{Connection, Row};

/// A host of a pool: where a master can be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The host.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Its address, as the pool names it.
    pub address: String,
}

/// A pool as it was seen now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSeen {
    /// The pool.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Its hosts.
    pub members: Vec<Member>,
    /// The host that is master.
    pub master: Uuid,
    /// The master's `agent_start_time`, as the server wrote it.
    pub server_start: String,
}

/// A pool as history knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The pool.
    pub uuid: Uuid,
    /// Its name when last seen; empty if it was only referred to.
    pub name: String,
    /// Its hosts when last seen.
    pub members: Vec<Member>,
    /// The master when last seen.
    pub master: Option<Uuid>,
    /// The master's `agent_start_time` when last seen. Another value now: sessions and tasks are forgotten.
    pub server_start: Option<String>,
    /// When it was first seen.
    pub first_seen: DateTime<Utc>,
    /// When it was last seen.
    pub last_seen: DateTime<Utc>,
}

/// A VM as history knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its row.
    pub id: VmId,
    /// Its pool.
    pub pool: Uuid,
    /// The VM.
    pub uuid: Uuid,
    /// Its name when last seen.
    pub name: String,
    /// When something was last done about it.
    pub last_seen: DateTime<Utc>,
}

impl Store {
    /// Writes down how a pool looks now, and returns how it looked before. Idempotent.
    pub async fn see_pool(&self, pool: PoolSeen, now: DateTime<Utc>) -> Result<Option<Pool>> {
        let members = json("pool members", &pool.members)?;
        whole("the server's start time", &pool.server_start)?;
        self.write("write down a pool", move |c| {
            Box::pin(async move {
                let before = find(c, pool.uuid).await?;
                sqlx::query(
                    "INSERT INTO pools (uuid, name, members, master_uuid, server_start, first_seen_at, last_seen_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $6)
                     ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, members = excluded.members,
                         master_uuid = excluded.master_uuid, server_start = excluded.server_start, last_seen_at = excluded.last_seen_at",
                )
                .bind(key(pool.uuid))
                .bind(name(&pool.name).as_ref())
                .bind(&members)
                .bind(key(pool.master))
                .bind(&pool.server_start)
                .bind(at(now))
                .execute(c)
                .await?;
                Ok(before)
            })
        })
        .await
    }

    /// The pools history knows, by name.
    pub async fn pools(&self) -> Result<Vec<Pool>> {
        self.read("list pools", |c| {
            Box::pin(async move {
                let rows = sqlx::query("SELECT * FROM pools ORDER BY name, id").fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }

    /// One pool.
    pub async fn pool(&self, uuid: Uuid) -> Result<Option<Pool>> {
        self.read("look up a pool", move |c| Box::pin(find(c, uuid))).await
    }

    /// The VMs with this UUID or exactly this name, most recently seen first: one name may stand for several.
    pub async fn find_vms(&self, uuid_or_name: &str) -> Result<Vec<Vm>> {
        let wanted = uuid_or_name.to_owned();
        self.read("look up a VM", move |c| {
            Box::pin(async move {
                let uuid = Uuid::try_parse(&wanted).map_or_else(|_| wanted.clone(), key);
                let rows = sqlx::query(
                    "SELECT v.id, v.uuid, v.name, v.last_seen_at, p.uuid AS pool_uuid FROM vms v JOIN pools p ON p.id = v.pool_id
                     WHERE v.uuid = $1 OR v.name = $2 ORDER BY v.last_seen_at DESC, v.id DESC LIMIT 100",
                )
                .bind(uuid)
                .bind(name(&wanted).as_ref())
                .fetch_all(c)
                .await?;
                rows.iter().map(read_vm).collect()
            })
        })
        .await
    }
}

/// The row of a pool, made if it is new.
pub(super) async fn row_of(c: &mut Connection, uuid: Uuid, now: DateTime<Utc>) -> Result<i64, Fault> {
    if let Some(id) = existing(c, uuid).await? {
        return Ok(id);
    }
    let insert =
        "INSERT INTO pools (uuid, name, members, first_seen_at, last_seen_at) VALUES ($1, '', '[]', $2, $2) RETURNING id";
    Ok(sqlx::query_scalar(insert).bind(key(uuid)).bind(at(now)).fetch_one(c).await?)
}

/// A filter's pool: `Some(None)` if there is no such filter, `None` if history does not know the pool.
pub(super) async fn narrowed(c: &mut Connection, filter: Option<Uuid>) -> Result<Option<Option<i64>>, Fault> {
    match filter {
        None => Ok(Some(None)),
        Some(uuid) => Ok(existing(c, uuid).await?.map(Some)),
    }
}

/// The row of a pool, if there is one.
pub(super) async fn existing(c: &mut Connection, uuid: Uuid) -> Result<Option<i64>, Fault> {
    Ok(sqlx::query_scalar("SELECT id FROM pools WHERE uuid = $1").bind(key(uuid)).fetch_optional(c).await?)
}

/// The row of a VM, made if it is new; its name follows.
pub(super) async fn vm_row(c: &mut Connection, pool: i64, uuid: Uuid, called: &str, now: DateTime<Utc>) -> Result<i64, Fault> {
    let rows = vm_rows(c, pool, &[(uuid, called)], now).await?;
    rows.get(&uuid).copied().ok_or_else(|| Error::not_found("VM", uuid).into())
}

/// The same for many VMs, by their uuids. The first call of a run waits for this, and so it is a few statements and not one for each.
pub(super) async fn vm_rows(
    c: &mut Connection,
    pool: i64,
    vms: &[(Uuid, &str)],
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, i64>, Fault> {
    let mut rows = HashMap::with_capacity(vms.len());
    for some in vms.chunks(ROWS_AT_ONCE) {
        let mut upsert = QueryBuilder::new("INSERT INTO vms (pool_id, uuid, name, first_seen_at, last_seen_at) ");
        upsert.push_values(some, |mut row, (uuid, called)| {
            row.push_bind(pool).push_bind(key(*uuid)).push_bind(name(called).into_owned()).push_bind(at(now)).push_bind(at(now));
        });
        upsert.push(
            " ON CONFLICT (pool_id, uuid) DO UPDATE SET name = excluded.name, last_seen_at = excluded.last_seen_at RETURNING id, uuid",
        );
        for row in upsert.build().fetch_all(&mut *c).await? {
            rows.insert(row.uuid("uuid")?, row.int("id")?);
        }
    }
    Ok(rows)
}

/// The row of a VM, if there is one.
pub(super) async fn existing_vm(c: &mut Connection, pool: i64, uuid: Uuid) -> Result<Option<i64>, Fault> {
    let select = "SELECT id FROM vms WHERE pool_id = $1 AND uuid = $2";
    Ok(sqlx::query_scalar(select).bind(pool).bind(key(uuid)).fetch_optional(c).await?)
}

async fn find(c: &mut Connection, uuid: Uuid) -> Result<Option<Pool>, Fault> {
    let row = sqlx::query("SELECT * FROM pools WHERE uuid = $1").bind(key(uuid)).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Pool, Fault> {
    Ok(Pool {
        uuid: row.uuid("uuid")?,
        name: row.text("name")?,
        members: row.json("members")?,
        master: row.maybe_uuid("master_uuid")?,
        server_start: row.maybe_text("server_start")?,
        first_seen: row.time("first_seen_at")?,
        last_seen: row.time("last_seen_at")?,
    })
}

pub(super) fn read_vm(row: &Row) -> Result<Vm, Fault> {
    Ok(Vm {
        id: row.id("id")?,
        pool: row.uuid("pool_uuid")?,
        uuid: row.uuid("uuid")?,
        name: row.text("name")?,
        last_seen: row.time("last_seen_at")?,
    })
}
