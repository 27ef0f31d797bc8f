//! Snapshots: what we took, adopted, or found by its mark, and what became of each. What the pool says is the truth about what
//! exists; these rows say what was recorded when it was taken, how far it can be relied upon, and what must not be forgotten.

mod record;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::attempts::{self, Attempt, AttemptState};
use super::columns::{Cause, Columns, at, json, key, name, prose};
use super::error::{Error, Fault, Result};
use super::ids::{AttemptId, SnapshotId};
use super::jobs::{self, JobState};
use super::sqlite::Connection;
use super::{policies, pools};
pub use record::{Disk, NewSnapshot, Snapshot, SnapshotState};
pub(super) use record::{read, select_snapshot};

impl Store {
    /// A call had its effect: the snapshot, its attempt and its job are written down together. Idempotent.
    ///
    /// # Errors
    /// [`Error::SnapshotTaken`] if another attempt is recorded for this snapshot, [`Error::Illegal`] if the attempt had ended
    /// otherwise.
    pub async fn snapshot_taken(&self, attempt: AttemptId, new: NewSnapshot, now: DateTime<Utc>) -> Result<SnapshotId> {
        self.write("write down a snapshot", move |c| {
            Box::pin(async move {
                let before = attempts::find(c, attempt).await?;
                let id = match existing(c, new.pool, new.uuid).await? {
                    Some((_, Some(other))) if other != attempt => return Err(Error::SnapshotTaken { snapshot: new.uuid }.into()),
                    Some((id, Some(_))) => return Ok(id),
                    Some((id, None)) => claim(c, id, attempt).await?,
                    None => insert(c, &new, Birth::Taken(attempt), now).await?,
                };
                attempts::close(c, &before, AttemptState::Succeeded, None, now).await?;
                jobs::step(c, before.job, JobState::Taken, None, now).await?;
                Ok(id)
            })
        })
        .await
    }

    /// The mark is on the snapshot: it and its job are marked. Idempotent.
    pub async fn snapshot_marked(&self, id: SnapshotId, now: DateTime<Utc>) -> Result<()> {
        self.write("write down a mark", move |c| {
            Box::pin(async move {
                if matches!(state_of(c, id).await?, SnapshotState::Marked | SnapshotState::Durable) {
                    return Ok(());
                }
                step(c, id, SnapshotState::Marked, now).await?;
                follow(c, id, JobState::Taken, JobState::Marked, now).await
            })
        })
        .await
    }

    /// The pool's database was synchronised, and these snapshots were marked before that call left: they and their jobs are durable,
    /// in one transaction. Returns those that are durable now; one that has vanished meanwhile is not.
    pub async fn snapshots_durable(&self, ids: Vec<SnapshotId>, now: DateTime<Utc>) -> Result<Vec<SnapshotId>> {
        self.write("write down that snapshots are durable", move |c| {
            Box::pin(async move {
                let mut durable = Vec::with_capacity(ids.len());
                for id in ids {
                    let state = state_of(c, id).await?;
                    if state == SnapshotState::Marked {
                        step(c, id, SnapshotState::Durable, now).await?;
                        follow(c, id, JobState::Marked, JobState::Durable, now).await?;
                    }
                    if matches!(state, SnapshotState::Marked | SnapshotState::Durable) {
                        durable.push(id);
                    }
                }
                Ok(durable)
            })
        })
        .await
    }

    /// The pool does not know the snapshot any more, by nobody's doing. Its attempt is recorded as forgotten, so that the job may be
    /// taken up again ([`Self::requeue_forgotten`]). Idempotent.
    pub async fn snapshot_vanished(&self, id: SnapshotId, cause: Cause, now: DateTime<Utc>) -> Result<()> {
        self.write("write down that a snapshot vanished", move |c| {
            Box::pin(async move {
                if state_of(c, id).await? == SnapshotState::Vanished {
                    return Ok(());
                }
                step(c, id, SnapshotState::Vanished, now).await?;
                let attempt = attempt_of(c, id).await?;
                if let Some(attempt) = attempt.filter(|attempt| attempt.state == AttemptState::Succeeded) {
                    attempts::close(c, &attempt, AttemptState::Forgotten, Some(&cause), now).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The pool shows a snapshot otherwise than history: it is detached, a ghost, back (`Marked`), given away, or gone (`Removed`).
    /// Idempotent. A snapshot that is back has to become durable again.
    ///
    /// # Errors
    /// [`Error::Illegal`] for other states (they have functions of their own), or when the step does not follow.
    pub async fn snapshot_seen(&self, id: SnapshotId, seen: SnapshotState, now: DateTime<Utc>) -> Result<()> {
        use SnapshotState::*;
        self.write("write down what became of a snapshot", move |c| {
            Box::pin(async move {
                let state = state_of(c, id).await?;
                let fine = match seen {
                    Detached | Ghost | Released => true,
                    Marked => matches!(state, Vanished | Detached | Released | Marked),
                    Removed => matches!(state, Vanished | Detached | Ghost | Removed),
                    _ => false,
                };
                if !fine {
                    return Err(illegal(id, state, seen));
                }
                step(c, id, seen, now).await
            })
        })
        .await
    }

    /// Writes down a snapshot that was not ours and is now. One that was given away comes back. Idempotent.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a policy that was never seen.
    pub async fn adopt(&self, new: NewSnapshot, now: DateTime<Utc>) -> Result<SnapshotId> {
        self.write("adopt a snapshot", move |c| {
            Box::pin(async move {
                policies::known(c, &new.policy).await?;
                match existing(c, new.pool, new.uuid).await? {
                    None => insert(c, &new, Birth::Adopted, now).await,
                    Some((id, _)) => {
                        if state_of(c, id).await? != SnapshotState::Released {
                            return Ok(id);
                        }
                        step(c, id, SnapshotState::Marked, now).await?;
                        sqlx::query("UPDATE snapshots SET adopted_at = $2 WHERE id = $1")
                            .bind(id.0)
                            .bind(at(now))
                            .execute(c)
                            .await?;
                        Ok(id)
                    }
                }
            })
        })
        .await
    }

    /// Writes down a snapshot that history lacks and whose mark in the pool is valid. What history knows already stays as it is.
    pub async fn remember(&self, new: NewSnapshot, now: DateTime<Utc>) -> Result<SnapshotId> {
        self.write("write down a snapshot found by its mark", move |c| {
            Box::pin(async move {
                match existing(c, new.pool, new.uuid).await? {
                    Some((id, _)) => Ok(id),
                    None => insert(c, &new, Birth::Found, now).await,
                }
            })
        })
        .await
    }

    /// Keeps a snapshot until then, whatever retention says. A later pin replaces an earlier one.
    ///
    /// # Errors
    /// [`Error::Illegal`] if it is on its way out or gone.
    pub async fn pin(&self, id: SnapshotId, until: DateTime<Utc>, reason: &str) -> Result<()> {
        let reason = prose(reason).into_owned();
        self.write("pin a snapshot", move |c| {
            Box::pin(async move {
                let state = state_of(c, id).await?;
                if !matches!(state, SnapshotState::Taken | SnapshotState::Marked | SnapshotState::Durable) {
                    return Err(Error::Illegal { what: "snapshot", id: id.0, from: state.as_str(), to: "pinned" }.into());
                }
                let update = "UPDATE snapshots SET pinned_until = $2, pin_reason = $3 WHERE id = $1";
                sqlx::query(update).bind(id.0).bind(at(until)).bind(reason).execute(c).await?;
                Ok(())
            })
        })
        .await
    }

    /// Retention decides again. Idempotent.
    pub async fn unpin(&self, id: SnapshotId) -> Result<()> {
        self.write("unpin a snapshot", move |c| {
            Box::pin(async move {
                state_of(c, id).await?;
                sqlx::query("UPDATE snapshots SET pinned_until = NULL, pin_reason = NULL WHERE id = $1")
                    .bind(id.0)
                    .execute(c)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Snapshot> {
        self.read("look up a snapshot", move |c| {
            Box::pin(async move {
                let row = sqlx::query(select_snapshot!("WHERE n.id = $1")).bind(id.0).fetch_optional(c).await?;
                read(&row.ok_or_else(|| Error::not_found("snapshot", id))?)
            })
        })
        .await
    }

    /// The snapshots with this UUID: one per pool that knows it.
    pub async fn snapshots_by_uuid(&self, uuid: Uuid) -> Result<Vec<Snapshot>> {
        self.read("look up a snapshot", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(select_snapshot!("WHERE n.uuid = $1 ORDER BY n.id")).bind(key(uuid)).fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }
}

/// How a row comes into being.
enum Birth {
    Taken(AttemptId),
    Adopted,
    Found,
}

async fn insert(c: &mut Connection, new: &NewSnapshot, birth: Birth, now: DateTime<Utc>) -> Result<SnapshotId, Fault> {
    let pool = pools::row_of(c, new.pool, now).await?;
    let vm = pools::vm_row(c, pool, new.vm, &new.vm_name, now).await?;
    let policy = policies::row_of(c, &new.policy, now).await?;
    let (state, attempt) = match birth {
        Birth::Taken(attempt) => (SnapshotState::Taken, Some(attempt.0)),
        Birth::Adopted | Birth::Found => (SnapshotState::Marked, None),
    };
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO snapshots (pool_id, uuid, vm_id, policy_id, due_at, attempt_id, kind, name, state, disks, suspend_image, taken_at,
             marked_at, adopted_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id",
    )
    .bind(pool)
    .bind(key(new.uuid))
    .bind(vm)
    .bind(policy)
    .bind(at(new.due_at))
    .bind(attempt)
    .bind(new.kind.as_str())
    .bind(name(&new.name).as_ref())
    .bind(state.as_str())
    .bind(json("a snapshot's disks", &new.disks)?)
    .bind(new.suspend_image.map(key))
    .bind(at(new.taken_at))
    .bind((state == SnapshotState::Marked).then_some(at(now)))
    .bind(matches!(birth, Birth::Adopted).then_some(at(now)))
    .bind(at(now))
    .fetch_one(c)
    .await?;
    Ok(SnapshotId(id))
}

/// A snapshot that was found first turns out to be this attempt's.
async fn claim(c: &mut Connection, id: SnapshotId, attempt: AttemptId) -> Result<SnapshotId, Fault> {
    sqlx::query("UPDATE snapshots SET attempt_id = $2 WHERE id = $1").bind(id.0).bind(attempt.0).execute(c).await?;
    Ok(id)
}

/// Moves a snapshot along its lines, and notes when. The same state again is no step and changes nothing.
pub(super) async fn step(c: &mut Connection, id: SnapshotId, next: SnapshotState, now: DateTime<Utc>) -> Result<(), Fault> {
    let state = state_of(c, id).await?;
    if state == next {
        return Ok(());
    }
    if !state.may_become(next) {
        return Err(illegal(id, state, next));
    }
    let update = match next {
        SnapshotState::Marked => {
            "UPDATE snapshots SET state = $2, changed_at = $3, marked_at = $3, durable_at = NULL WHERE id = $1"
        }
        SnapshotState::Durable => "UPDATE snapshots SET state = $2, changed_at = $3, durable_at = $3 WHERE id = $1",
        SnapshotState::Removed => "UPDATE snapshots SET state = $2, changed_at = $3, removed_at = $3 WHERE id = $1",
        SnapshotState::Vanished => "UPDATE snapshots SET state = $2, changed_at = $3, vanished_at = $3 WHERE id = $1",
        SnapshotState::Ghost => "UPDATE snapshots SET state = $2, changed_at = $3, ghost_at = $3 WHERE id = $1",
        SnapshotState::Released => "UPDATE snapshots SET state = $2, changed_at = $3, released_at = $3 WHERE id = $1",
        SnapshotState::Taken | SnapshotState::Removing | SnapshotState::Detached => {
            "UPDATE snapshots SET state = $2, changed_at = $3 WHERE id = $1"
        }
    };
    sqlx::query(update).bind(id.0).bind(next.as_str()).bind(at(now)).execute(c).await?;
    Ok(())
}

/// A removal that is not carried out leaves the snapshot as it was before it was planned. Others stay as they are.
pub(super) async fn unplan(c: &mut Connection, id: SnapshotId, now: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE snapshots SET changed_at = $2, state = CASE
             WHEN ghost_at IS NOT NULL THEN 'ghost' WHEN durable_at IS NOT NULL THEN 'durable'
             WHEN marked_at IS NOT NULL THEN 'marked' ELSE 'taken' END
         WHERE id = $1 AND state = 'removing'",
    )
    .bind(id.0)
    .bind(at(now))
    .execute(c)
    .await?;
    Ok(())
}

/// The job that took the snapshot follows it, if it is where it should be: it may have ended, or have been taken up again.
async fn follow(c: &mut Connection, id: SnapshotId, from: JobState, to: JobState, now: DateTime<Utc>) -> Result<(), Fault> {
    let Some(attempt) = attempt_of(c, id).await? else { return Ok(()) };
    if attempt.state == AttemptState::Succeeded && jobs::state_of(c, attempt.job).await? == from {
        jobs::step(c, attempt.job, to, None, now).await?;
    }
    Ok(())
}

async fn attempt_of(c: &mut Connection, id: SnapshotId) -> Result<Option<Attempt>, Fault> {
    let attempt: Option<i64> =
        sqlx::query_scalar("SELECT attempt_id FROM snapshots WHERE id = $1").bind(id.0).fetch_optional(&mut *c).await?.flatten();
    match attempt {
        Some(attempt) => Ok(Some(attempts::find(c, AttemptId(attempt)).await?)),
        None => Ok(None),
    }
}

async fn existing(c: &mut Connection, pool: Uuid, uuid: Uuid) -> Result<Option<(SnapshotId, Option<AttemptId>)>, Fault> {
    let Some(pool) = pools::existing(c, pool).await? else { return Ok(None) };
    let select = "SELECT id, attempt_id FROM snapshots WHERE pool_id = $1 AND uuid = $2";
    let row = sqlx::query(select).bind(pool).bind(key(uuid)).fetch_optional(c).await?;
    row.map(|row| Ok((row.id("id")?, row.maybe_id("attempt_id")?))).transpose()
}

pub(super) async fn state_of(c: &mut Connection, id: SnapshotId) -> Result<SnapshotState, Fault> {
    let row = sqlx::query("SELECT state FROM snapshots WHERE id = $1").bind(id.0).fetch_optional(c).await?;
    row.ok_or_else(|| Error::not_found("snapshot", id))?.closed("state")
}

fn illegal(id: SnapshotId, from: SnapshotState, to: SnapshotState) -> Fault {
    Error::Illegal { what: "snapshot", id: id.0, from: from.as_str(), to: to.as_str() }.into()
}
