//! Questions to a person: a plan that a guard stopped. An approval covers the plan as it was asked and nothing else, and is used once.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Store;
use super::closed::closed;
use super::columns::{Columns, at, json, name};
use super::error::{Error, Fault, Result};
use super::ids::{ApprovalId, RunId};
use super::sqlite::{Connection, Row};
use super::{policies, pools};

closed! {
    /// Where a question is.
    ApprovalState {
        /// Nobody has decided.
        Pending = "pending",
        /// Yes.
        Granted = "granted",
        /// No.
        Refused = "refused",
        /// The plan it was about is no more.
        Expired = "expired",
        /// It was acted upon.
        Used = "used",
    }
}

impl ApprovalState {
    /// True if a question in this state may come to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Granted | Self::Refused | Self::Expired),
            Self::Granted => matches!(next, Self::Used | Self::Expired),
            Self::Refused | Self::Expired | Self::Used => false,
        }
    }
}

/// A question to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct NewApproval {
    /// What about, as a short code: `first-pruning`, `too-many`.
    pub kind: String,
    /// The pool.
    pub pool: Uuid,
    /// The policy.
    pub policy: String,
    /// The VM, if it is about one that history knows.
    pub vm: Option<Uuid>,
    /// The run that asks.
    pub run: Option<RunId>,
    /// What exactly is to be done.
    pub plan: Value,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Its row.
    pub id: ApprovalId,
    /// What about.
    pub kind: String,
    /// The pool.
    pub pool: Uuid,
    /// The policy.
    pub policy: String,
    /// The VM, if it is about one.
    pub vm: Option<Uuid>,
    /// The run that asked, while history has it.
    pub run: Option<RunId>,
    /// What exactly is to be done.
    pub plan: Value,
    /// Where it is.
    pub state: ApprovalState,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// By whom.
    pub decided_by: Option<String>,
}

macro_rules! select_approval {
    ($($rest:tt)+) => {
        concat!(
            "SELECT q.*, o.uuid AS pool_uuid, p.key AS policy_key, v.uuid AS vm_uuid FROM approvals q
             JOIN pools o ON o.id = q.pool_id JOIN policies p ON p.id = q.policy_id LEFT JOIN vms v ON v.id = q.vm_id ",
            $($rest)+
        )
    };
}

impl Store {
    /// Asks. Its run, if it has one, is shown to need an approval.
    pub async fn ask(&self, new: NewApproval, now: DateTime<Utc>) -> Result<ApprovalId> {
        self.write("ask for an approval", move |c| {
            Box::pin(async move {
                if let Some(run) = new.run {
                    super::runs::state_of(c, run).await?;
                    sqlx::query("UPDATE runs SET approval_needed = 1 WHERE id = $1").bind(run.0).execute(&mut *c).await?;
                }
                insert(c, &new, now).await
            })
        })
        .await
    }

    /// Decides, uses or drops a question. Idempotent.
    ///
    /// # Errors
    /// [`Error::Illegal`] if it was decided otherwise.
    pub async fn decide(&self, id: ApprovalId, next: ApprovalState, by: &str, now: DateTime<Utc>) -> Result<Approval> {
        let by = name(by).into_owned();
        self.write("decide on an approval", move |c| {
            Box::pin(async move {
                let before = find(c, id).await?;
                if before.state == next {
                    return Ok(before);
                }
                if !before.state.may_become(next) {
                    let (from, to) = (before.state.as_str(), next.as_str());
                    return Err(Error::Illegal { what: "approval", id: id.0, from, to }.into());
                }
                // Who granted it stays written when it is used.
                let update = if next == ApprovalState::Used {
                    "UPDATE approvals SET state = $2 WHERE id = $1"
                } else {
                    "UPDATE approvals SET state = $2, decided_by = $3, decided_at = $4 WHERE id = $1"
                };
                sqlx::query(update).bind(id.0).bind(next.as_str()).bind(by).bind(at(now)).execute(&mut *c).await?;
                settle_run(c, before.run).await?;
                find(c, id).await
            })
        })
        .await
    }

    /// The questions in a state, oldest first.
    pub async fn approvals(&self, state: ApprovalState) -> Result<Vec<Approval>> {
        self.read("list approvals", move |c| {
            Box::pin(async move {
                let select = select_approval!("WHERE q.state = $1 ORDER BY q.asked_at, q.id");
                let rows = sqlx::query(select).bind(state.as_str()).fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }

    /// The questions of a run, oldest first.
    pub async fn approvals_of(&self, run: RunId) -> Result<Vec<Approval>> {
        self.read("list the approvals of a run", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(select_approval!("WHERE q.run_id = $1 ORDER BY q.id")).bind(run.0).fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }
}

async fn insert(c: &mut Connection, new: &NewApproval, now: DateTime<Utc>) -> Result<ApprovalId, Fault> {
    let pool = pools::row_of(c, new.pool, now).await?;
    let policy = policies::known(c, &new.policy).await?;
    let vm = match new.vm {
        Some(vm) => pools::existing_vm(c, pool, vm).await?,
        None => None,
    };
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO approvals (kind, pool_id, policy_id, vm_id, run_id, plan, state, asked_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7) RETURNING id",
    )
    .bind(name(&new.kind).as_ref())
    .bind(pool)
    .bind(policy)
    .bind(vm)
    .bind(new.run.map(|run| run.0))
    .bind(json("a plan", &new.plan)?)
    .bind(at(now))
    .fetch_one(c)
    .await?;
    Ok(ApprovalId(id))
}

/// A run needs an approval while one of its questions is open.
async fn settle_run(c: &mut Connection, run: Option<RunId>) -> Result<(), Fault> {
    let Some(run) = run else { return Ok(()) };
    sqlx::query(
        "UPDATE runs SET approval_needed = CASE WHEN EXISTS (
             SELECT 1 FROM approvals WHERE run_id = $1 AND state = 'pending') THEN 1 ELSE 0 END WHERE id = $1",
    )
    .bind(run.0)
    .execute(c)
    .await?;
    Ok(())
}

async fn find(c: &mut Connection, id: ApprovalId) -> Result<Approval, Fault> {
    let row = sqlx::query(select_approval!("WHERE q.id = $1")).bind(id.0).fetch_optional(c).await?;
    read(&row.ok_or_else(|| Error::not_found("approval", id))?)
}

fn read(row: &Row) -> Result<Approval, Fault> {
    Ok(Approval {
        id: row.id("id")?,
        kind: row.text("kind")?,
        pool: row.uuid("pool_uuid")?,
        policy: row.text("policy_key")?,
        vm: row.maybe_uuid("vm_uuid")?,
        run: row.maybe_id("run_id")?,
        plan: row.json("plan")?,
        state: row.closed("state")?,
        asked_at: row.time("asked_at")?,
        decided_at: row.maybe_time("decided_at")?,
        decided_by: row.maybe_text("decided_by")?,
    })
}
