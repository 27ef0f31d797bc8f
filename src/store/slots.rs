//! Slots: due times of policies on pools. Inserting the row is the claim, and the row is never changed afterwards.
//!
//! What became of a claimed slot is told by its run; a slot that was missed, skipped or overlapped has only its reason. Either way one
//! row per due time, for ever: slots that history's own retention has deleted stay claimed too.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::closed::closed;
use super::columns::{Columns, at, name, prose};
use super::error::{Fault, Result};
use super::ids::{RunId, SlotId};
use super::runs::Outcome;
use super::sqlite::{Connection, Row};
use super::{policies, pools};

closed! {
    /// Why there is a slot.
    Origin {
        /// The policy's schedule.
        Schedule = "schedule",
        /// `run_on_start`.
        Start = "start",
        /// A person.
        Manual = "manual",
    }
}

closed! {
    /// What was decided when the slot came due.
    SlotState {
        /// It gets a run, on time.
        Claimed = "claimed",
        /// It gets a run, later than it should: within the policy's `catch_up`.
        Late = "late",
        /// Nobody was there in time.
        Missed = "missed",
        /// It must not run: paused, blackout, outside its window, superseded by a later one.
        Skipped = "skipped",
        /// The run before was still going.
        Overlapped = "overlapped",
        /// A restored history did not know it, but the pool's marks say that it was done.
        Covered = "covered",
    }
}

impl SlotState {
    /// True if a run belongs to it.
    pub fn has_run(self) -> bool {
        matches!(self, Self::Claimed | Self::Late)
    }
}

/// A slot to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlot {
    /// The policy's id.
    pub policy: String,
    /// The pool.
    pub pool: Uuid,
    /// When it was due. For a manual run: now.
    pub due_at: DateTime<Utc>,
    /// Why there is a slot.
    pub origin: Origin,
    /// What is decided.
    pub state: SlotState,
    /// Why, as a short code: `on-time`, `blackout`.
    pub reason: String,
    /// Why, as a sentence.
    pub detail: String,
}

/// A slot that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its row.
    pub id: SlotId,
    /// The policy's id.
    pub policy: String,
    /// The policy's present name.
    pub policy_name: String,
    /// The pool.
    pub pool: Uuid,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// Why there is a slot.
    pub origin: Origin,
    /// What was decided.
    pub state: SlotState,
    /// Why, as a short code.
    pub reason: String,
    /// Why, as a sentence.
    pub detail: String,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Its run, once there is one.
    pub run: Option<RunId>,
    /// How the run ended.
    pub outcome: Option<Outcome>,
}

impl Slot {
    /// True when nothing more will happen to it.
    pub fn is_final(&self) -> bool {
        !self.state.has_run() || self.outcome.is_some()
    }
}

/// Who has a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// We do, from now on.
    Won(SlotId),
    /// Somebody did before; this is what they decided.
    Lost(Box<Slot>),
    /// Somebody did, so long ago that history has deleted the row.
    Forgotten,
}

macro_rules! select_slot {
    ($($rest:tt)+) => {
        concat!(
            "SELECT s.*, p.key AS policy_key, p.name AS policy_name, o.uuid AS pool_uuid, r.id AS run_id, r.outcome AS outcome
             FROM slots s JOIN policies p ON p.id = s.policy_id JOIN pools o ON o.id = s.pool_id LEFT JOIN runs r ON r.slot_id = s.id ",
            $($rest)+
        )
    };
}
pub(super) use select_slot;

impl Store {
    /// Claims a slot. Of any number of processes exactly one wins; asked again, the winner too is told who has it.
    ///
    /// # Errors
    /// [`super::Error::NotFound`] for a policy that was never seen.
    pub async fn claim(&self, slot: NewSlot, now: DateTime<Utc>) -> Result<Claim> {
        self.write("claim a slot", move |c| Box::pin(async move { claim(c, &slot, now).await })).await
    }

    /// Claims many slots in one transaction, for the missed ones of a long absence. Answers in the order asked.
    pub async fn claim_all(&self, slots: Vec<NewSlot>, now: DateTime<Utc>) -> Result<Vec<Claim>> {
        self.write("claim slots", move |c| {
            Box::pin(async move {
                let mut claims = Vec::with_capacity(slots.len());
                for slot in &slots {
                    claims.push(claim(c, slot, now).await?);
                }
                Ok(claims)
            })
        })
        .await
    }

    /// Takes back what a clock that was ahead decided on a pool: the decisions without a run that were made at a time to come or are about
    /// one, and how far the schedules have come. What has a run stays claimed. How many decisions that were. Idempotent.
    pub async fn take_back(&self, pool: Uuid, now: DateTime<Utc>) -> Result<u64> {
        self.write("take back what was decided for a time to come", move |c| {
            Box::pin(async move {
                let Some(pool) = pools::existing(c, pool).await? else { return Ok(0) };
                let gone = sqlx::query(
                    "DELETE FROM slots WHERE pool_id = $1 AND (due_at > $2 OR decided_at > $2) AND origin = $3
                         AND id NOT IN (SELECT slot_id FROM runs) AND id NOT IN (SELECT slot_id FROM slots_waiting)
                     RETURNING policy_id",
                );
                let gone = gone.bind(pool).bind(at(now)).bind(Origin::Schedule.as_str()).fetch_all(&mut *c).await?;
                let policies: BTreeSet<i64> = gone.iter().map(|row| row.int("policy_id")).collect::<Result<_, _>>()?;
                let policies = serde_json::to_string(&policies).unwrap_or_default();
                sqlx::query(
                    "UPDATE cursors SET counts_from = MIN(counts_from, $2), last_due = (
                         SELECT MAX(s.due_at) FROM slots s WHERE s.policy_id = cursors.policy_id AND s.pool_id = cursors.pool_id
                             AND s.due_at <= $2 AND s.origin = $3)
                     WHERE pool_id = $1
                         AND (last_due > $2 OR counts_from > $2 OR policy_id IN (SELECT value FROM json_each($4)))",
                )
                .bind(pool)
                .bind(at(now))
                .bind(Origin::Schedule.as_str())
                .bind(policies)
                .execute(c)
                .await?;
                Ok(gone.len() as u64)
            })
        })
        .await
    }

    /// The slot of a due time, if it was claimed.
    pub async fn slot(&self, policy: &str, pool: Uuid, due_at: DateTime<Utc>) -> Result<Option<Slot>> {
        let policy = policy.to_owned();
        self.read("look up a slot", move |c| {
            Box::pin(async move {
                let (Some(policy), Some(pool)) = (policies::existing(c, &policy).await?, pools::existing(c, pool).await?) else {
                    return Ok(None);
                };
                find(c, policy, pool, due_at).await
            })
        })
        .await
    }
}

async fn claim(c: &mut Connection, slot: &NewSlot, now: DateTime<Utc>) -> Result<Claim, Fault> {
    let policy = policies::known(c, &slot.policy).await?;
    let pool = pools::row_of(c, slot.pool, now).await?;
    if is_forgotten(c, policy, pool, slot).await? {
        return Ok(find(c, policy, pool, slot.due_at).await?.map_or(Claim::Forgotten, |slot| Claim::Lost(Box::new(slot))));
    }
    if let Some(id) = insert(c, policy, pool, slot, now).await? {
        if slot.origin == Origin::Schedule {
            advance(c, policy, pool, slot.due_at).await?;
        }
        if slot.state.has_run() {
            sqlx::query("INSERT INTO slots_waiting (slot_id) VALUES ($1)").bind(id).execute(c).await?;
        }
        return Ok(Claim::Won(SlotId(id)));
    }
    let before = find(c, policy, pool, slot.due_at).await?;
    Ok(before.map_or(Claim::Forgotten, |slot| Claim::Lost(Box::new(slot))))
}

async fn is_forgotten(c: &mut Connection, policy: i64, pool: i64, slot: &NewSlot) -> Result<bool, Fault> {
    let select = "SELECT forgotten_until FROM cursors WHERE policy_id = $1 AND pool_id = $2";
    let until: Option<Option<i64>> = sqlx::query_scalar(select).bind(policy).bind(pool).fetch_optional(c).await?;
    Ok(until.flatten().is_some_and(|until| at(slot.due_at) <= until))
}

async fn insert(c: &mut Connection, policy: i64, pool: i64, slot: &NewSlot, now: DateTime<Utc>) -> Result<Option<i64>, Fault> {
    let id = sqlx::query_scalar(
        "INSERT INTO slots (policy_id, pool_id, due_at, origin, state, reason, detail, decided_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (policy_id, pool_id, due_at) DO NOTHING RETURNING id",
    )
    .bind(policy)
    .bind(pool)
    .bind(at(slot.due_at))
    .bind(slot.origin.as_str())
    .bind(slot.state.as_str())
    .bind(name(&slot.reason).as_ref())
    .bind(prose(&slot.detail).as_ref())
    .bind(at(now))
    .fetch_optional(c)
    .await?;
    Ok(id)
}

/// The schedule has come this far. Never goes back.
async fn advance(c: &mut Connection, policy: i64, pool: i64, due_at: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO cursors (policy_id, pool_id, counts_from, last_due) VALUES ($1, $2, $3, $3)
         ON CONFLICT (policy_id, pool_id) DO UPDATE SET last_due = CASE
             WHEN cursors.last_due > excluded.last_due THEN cursors.last_due ELSE excluded.last_due END",
    )
    .bind(policy)
    .bind(pool)
    .bind(at(due_at))
    .execute(c)
    .await?;
    Ok(())
}

async fn find(c: &mut Connection, policy: i64, pool: i64, due_at: DateTime<Utc>) -> Result<Option<Slot>, Fault> {
    let select = select_slot!("WHERE s.policy_id = $1 AND s.pool_id = $2 AND s.due_at = $3");
    let row = sqlx::query(select).bind(policy).bind(pool).bind(at(due_at)).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

pub(super) fn read(row: &Row) -> Result<Slot, Fault> {
    Ok(Slot {
        id: row.id("id")?,
        policy: row.text("policy_key")?,
        policy_name: row.text("policy_name")?,
        pool: row.uuid("pool_uuid")?,
        due_at: row.time("due_at")?,
        origin: row.closed("origin")?,
        state: row.closed("state")?,
        reason: row.text("reason")?,
        detail: row.text("detail")?,
        decided_at: row.time("decided_at")?,
        run: row.maybe_id("run_id")?,
        outcome: row.maybe_closed("outcome")?,
    })
}
