//! Removals: what will be destroyed is written down, piece by piece, before anything is. Each piece has a state of its own, because
//! the server destroys them one by one and any of them may refuse.
//!
//! A snapshot has at most one open removal. What history says here is never enough to destroy something: the mark and each disk are
//! looked at again, in the pool, at every try.

mod record;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::columns::{Cause, Columns, at, key, prose};
use super::error::{Error, Fault, Result};
use super::ids::{RemovalId, SnapshotId};
use super::pools;
use super::snapshots::{self, SnapshotState};
use super::sqlite::{Connection, Row};
pub(super) use record::select_removal;
pub use record::{NewRemoval, Part, PartState, Removal, RemovalState, Role};
use record::{read, read_part};

impl Store {
    /// Writes down what is about to be destroyed, all of it. On disk when this returns; only then may anything be destroyed. While a
    /// removal of the snapshot is open, that one is returned unchanged.
    ///
    /// # Errors
    /// [`Error::Pinned`], or [`Error::Illegal`] if the snapshot's state forbids it (detached, given away, gone).
    pub async fn plan_removal(&self, new: NewRemoval, now: DateTime<Utc>) -> Result<Removal> {
        self.write("plan a removal", move |c| {
            Box::pin(async move {
                let pool = pools::row_of(c, new.pool, now).await?;
                if let Some(open) = open_of(c, pool, new.snapshot).await? {
                    return Ok(open);
                }
                let row = snapshot_row(c, pool, new.snapshot, now).await?;
                if let Some(id) = row {
                    snapshots::step(c, id, SnapshotState::Removing, now).await?;
                }
                let id = insert(c, pool, row, &new, now).await?;
                find(c, id).await
            })
        })
        .await
    }

    /// The same for disks alone, of a snapshot whose record is gone: its row stays as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn plan_disks_removal(&self, new: NewRemoval, now: DateTime<Utc>) -> Result<Removal> {
        self.write("plan the removal of disks", move |c| {
            Box::pin(async move {
                let pool = pools::row_of(c, new.pool, now).await?;
                if let Some(open) = open_of(c, pool, new.snapshot).await? {
                    return Ok(open);
                }
                let id = insert(c, pool, None, &new, now).await?;
                find(c, id).await
            })
        })
        .await
    }

    /// A try begins. Also how an orphan is tried again.
    pub async fn begin_removal(&self, id: RemovalId, now: DateTime<Utc>) -> Result<Removal> {
        self.write("begin a removal", move |c| {
            Box::pin(async move {
                let before = find(c, id).await?;
                if before.state != RemovalState::Working {
                    check(&before, RemovalState::Working)?;
                }
                sqlx::query("UPDATE removals SET state = 'working', tries = tries + 1, finished_at = NULL WHERE id = $1")
                    .bind(id.0)
                    .execute(&mut *c)
                    .await?;
                if let Some(snapshot) = before.snapshot_row.filter(|_| before.state == RemovalState::Orphaned) {
                    let state = snapshots::state_of(c, snapshot).await?;
                    if state != SnapshotState::Removed {
                        snapshots::step(c, snapshot, SnapshotState::Removing, now).await?;
                    }
                }
                find(c, id).await
            })
        })
        .await
    }

    /// What is known of a part now. When the snapshot's own record is gone, the snapshot is removed. Idempotent.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what the plan did not name: nothing else may be destroyed. [`Error::Illegal`] once the part is gone.
    pub async fn removal_part(
        &self,
        id: RemovalId,
        part: Uuid,
        state: PartState,
        cause: Option<Cause>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.write("write down a step of a removal", move |c| {
            Box::pin(async move {
                let removal = find(c, id).await?;
                let known = removal.parts.iter().find(|known| known.uuid == part);
                let known = known.ok_or_else(|| Error::not_found("part of the removal", part))?;
                if known.state == PartState::Gone && state != PartState::Gone {
                    return Err(Error::Illegal { what: "part of removal", id: id.0, from: "gone", to: state.as_str() }.into());
                }
                put_part(c, id, part, state, cause.as_ref(), now).await?;
                match removal.snapshot_row.filter(|_| known.role == Role::Snapshot && state == PartState::Gone) {
                    Some(snapshot) => snapshots::step(c, snapshot, SnapshotState::Removed, now).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }

    /// The server refused for the moment: tried again then.
    pub async fn postpone_removal(&self, id: RemovalId, next_try: DateTime<Utc>, cause: Cause) -> Result<()> {
        self.write("postpone a removal", move |c| {
            Box::pin(async move {
                let before = find(c, id).await?;
                if before.state != RemovalState::Waiting {
                    check(&before, RemovalState::Waiting)?;
                }
                put(c, id, RemovalState::Waiting, Some(&cause), None).await?;
                sqlx::query("UPDATE removals SET next_try_at = $2 WHERE id = $1")
                    .bind(id.0)
                    .bind(at(next_try))
                    .execute(c)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// All parts are gone or spared. Idempotent.
    ///
    /// # Errors
    /// [`Error::PartsLeft`] while something is there.
    pub async fn finish_removal(&self, id: RemovalId, now: DateTime<Utc>) -> Result<()> {
        self.write("end a removal", move |c| {
            Box::pin(async move {
                let before = find(c, id).await?;
                if before.state == RemovalState::Done {
                    return Ok(());
                }
                check(&before, RemovalState::Done)?;
                let left = before.parts.iter().filter(|part| !matches!(part.state, PartState::Gone | PartState::Spared)).count();
                if left > 0 {
                    return Err(Error::PartsLeft { removal: id.0, left: i64::try_from(left).unwrap_or(i64::MAX) }.into());
                }
                // Spared in whole: the record stays, and nobody's plan removes it again.
                if let Some(snapshot) = before.snapshot_row {
                    let state = snapshots::state_of(c, snapshot).await?;
                    if state == SnapshotState::Removing {
                        snapshots::step(c, snapshot, SnapshotState::Detached, now).await?;
                    }
                }
                put(c, id, RemovalState::Done, None, Some(now)).await
            })
        })
        .await
    }

    /// Something stays that cannot be removed. Idempotent.
    pub async fn orphan_removal(&self, id: RemovalId, cause: Cause, now: DateTime<Utc>) -> Result<()> {
        self.write("list an orphan", move |c| {
            Box::pin(async move {
                let before = find(c, id).await?;
                if before.state != RemovalState::Orphaned {
                    check(&before, RemovalState::Orphaned)?;
                }
                put(c, id, RemovalState::Orphaned, Some(&cause), Some(now)).await
            })
        })
        .await
    }

    /// The plan changed: the snapshot is again what it was. Idempotent.
    ///
    /// # Errors
    /// [`Error::Illegal`] once a call to destroy any part has left.
    pub async fn withdraw_removal(&self, id: RemovalId, cause: Cause, now: DateTime<Utc>) -> Result<()> {
        self.write("withdraw a removal", move |c| {
            Box::pin(async move {
                let before = find(c, id).await?;
                if before.state == RemovalState::Withdrawn {
                    return Ok(());
                }
                check(&before, RemovalState::Withdrawn)?;
                if before.parts.iter().any(|part| matches!(part.state, PartState::Destroying | PartState::Gone)) {
                    return Err(illegal(&before, RemovalState::Withdrawn));
                }
                put(c, id, RemovalState::Withdrawn, Some(&cause), Some(now)).await?;
                match before.snapshot_row {
                    Some(snapshot) => snapshots::unplan(c, snapshot, now).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }

    /// The pool's database was synchronised after these were done: they do not come back. Idempotent.
    pub async fn removals_settled(&self, ids: Vec<RemovalId>, now: DateTime<Utc>) -> Result<()> {
        self.write("write down that removals are durable", move |c| {
            Box::pin(async move {
                for id in ids {
                    let update = "UPDATE removals SET settled_at = $2 WHERE id = $1 AND state = 'done' AND settled_at IS NULL";
                    sqlx::query(update).bind(id.0).bind(at(now)).execute(&mut *c).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// One removal.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn removal(&self, id: RemovalId) -> Result<Removal> {
        self.read("look up a removal", move |c| Box::pin(find(c, id))).await
    }

    /// Every removal of a snapshot, oldest first.
    pub async fn removals_of(&self, snapshot: Uuid) -> Result<Vec<Removal>> {
        self.read("list the removals of a snapshot", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(select_removal!("WHERE m.snapshot_uuid = $1 ORDER BY m.id"))
                    .bind(key(snapshot))
                    .fetch_all(&mut *c)
                    .await?;
                with_parts(c, &rows).await
            })
        })
        .await
    }
}

/// Ends every open removal: an older copy of the history does not know what was removed, kept or pinned since.
pub(super) async fn drop_queue(c: &mut Connection, why: &str, now: DateTime<Utc>) -> Result<u64, Fault> {
    let open = "SELECT id, snapshot_id FROM removals WHERE state IN ('planned', 'working', 'waiting')";
    let rows = sqlx::query(open).fetch_all(&mut *c).await?;
    let cause = Cause::new("restored", why);
    for row in &rows {
        put(c, row.id("id")?, RemovalState::Dropped, Some(&cause), Some(now)).await?;
        if let Some(snapshot) = row.maybe_id("snapshot_id")? {
            snapshots::unplan(c, snapshot, now).await?;
        }
    }
    Ok(rows.len() as u64)
}

async fn snapshot_row(c: &mut Connection, pool: i64, uuid: Uuid, now: DateTime<Utc>) -> Result<Option<SnapshotId>, Fault> {
    let select = "SELECT id, pinned_until FROM snapshots WHERE pool_id = $1 AND uuid = $2";
    let Some(row) = sqlx::query(select).bind(pool).bind(key(uuid)).fetch_optional(c).await? else { return Ok(None) };
    let id = row.id("id")?;
    match row.maybe_time("pinned_until")? {
        Some(until) if until > now => Err(Error::Pinned { snapshot: id, until }.into()),
        _ => Ok(Some(id)),
    }
}

async fn insert(
    c: &mut Connection,
    pool: i64,
    snapshot: Option<SnapshotId>,
    new: &NewRemoval,
    now: DateTime<Utc>,
) -> Result<RemovalId, Fault> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO removals (pool_id, snapshot_uuid, snapshot_id, run_id, reason, state, tries, next_try_at, planned_at)
         VALUES ($1, $2, $3, $4, $5, 'planned', 0, $6, $6) RETURNING id",
    )
    .bind(pool)
    .bind(key(new.snapshot))
    .bind(snapshot.map(|id| id.0))
    .bind(new.run.map(|run| run.0))
    .bind(prose(&new.reason).as_ref())
    .bind(at(now))
    .fetch_one(&mut *c)
    .await?;
    for (role, uuid) in &new.parts {
        sqlx::query(
            "INSERT INTO removal_parts (removal_id, uuid, role, state, changed_at) VALUES ($1, $2, $3, 'there', $4)
             ON CONFLICT (removal_id, uuid) DO NOTHING",
        )
        .bind(id)
        .bind(key(*uuid))
        .bind(role.as_str())
        .bind(at(now))
        .execute(&mut *c)
        .await?;
    }
    Ok(RemovalId(id))
}

async fn put(
    c: &mut Connection,
    id: RemovalId,
    state: RemovalState,
    cause: Option<&Cause>,
    finished: Option<DateTime<Utc>>,
) -> Result<(), Fault> {
    let (code, text) = Cause::columns(cause);
    sqlx::query("UPDATE removals SET state = $2, cause_code = $3, cause_text = $4, finished_at = $5 WHERE id = $1")
        .bind(id.0)
        .bind(state.as_str())
        .bind(code)
        .bind(text)
        .bind(finished.map(at))
        .execute(c)
        .await?;
    Ok(())
}

async fn put_part(
    c: &mut Connection,
    id: RemovalId,
    part: Uuid,
    state: PartState,
    cause: Option<&Cause>,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let (code, text) = Cause::columns(cause);
    sqlx::query(
        "UPDATE removal_parts SET state = $3, cause_code = $4, cause_text = $5, changed_at = $6 WHERE removal_id = $1 AND uuid = $2",
    )
    .bind(id.0)
    .bind(key(part))
    .bind(state.as_str())
    .bind(code)
    .bind(text)
    .bind(at(now))
    .execute(c)
    .await?;
    Ok(())
}

async fn open_of(c: &mut Connection, pool: i64, snapshot: Uuid) -> Result<Option<Removal>, Fault> {
    let select =
        select_removal!("WHERE m.pool_id = $1 AND m.snapshot_uuid = $2 AND m.state IN ('planned', 'working', 'waiting')");
    let row = sqlx::query(select).bind(pool).bind(key(snapshot)).fetch_all(&mut *c).await?;
    Ok(with_parts(c, &row).await?.pop())
}

async fn find(c: &mut Connection, id: RemovalId) -> Result<Removal, Fault> {
    let row = sqlx::query(select_removal!("WHERE m.id = $1")).bind(id.0).fetch_all(&mut *c).await?;
    with_parts(c, &row).await?.pop().ok_or_else(|| Error::not_found("removal", id).into())
}

pub(super) async fn with_parts(c: &mut Connection, rows: &[Row]) -> Result<Vec<Removal>, Fault> {
    let mut removals = Vec::with_capacity(rows.len());
    for row in rows {
        let parts =
            sqlx::query("SELECT * FROM removal_parts WHERE removal_id = $1").bind(row.int("id")?).fetch_all(&mut *c).await?;
        let mut parts = parts.iter().map(read_part).collect::<Result<Vec<_>, _>>()?;
        parts.sort_by_key(|part| (part.role, part.uuid));
        removals.push(read(row, parts)?);
    }
    Ok(removals)
}

fn check(before: &Removal, next: RemovalState) -> Result<(), Fault> {
    if before.state.may_become(next) { Ok(()) } else { Err(illegal(before, next)) }
}

fn illegal(before: &Removal, next: RemovalState) -> Fault {
    Error::Illegal { what: "removal", id: before.id.0, from: before.state.as_str(), to: next.as_str() }.into()
}
