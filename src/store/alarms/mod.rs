//! What is wrong, from its beginning to its end, and who is to be told. An alarm is raised once and cleared once; what is to be told of it
//! waits as an edge until a message takes it; and a message is written, with a delivery for each channel, before anything is sent. So a
//! life that ends in between loses nothing, and tells at most one message a second time.

mod coverings;
mod deliveries;

use chrono::{DateTime, Utc};

use super::Store;
use super::columns::{Columns, at, json, key, name, prose, whole};
use super::error::{Fault, Result};
use super::sqlite::{Connection, Row};
use crate::domain::alarm::{Changes, Condition, Edge, Raised, Telling};

pub use coverings::Covering;
pub use deliveries::{AlarmForm, Delivery, DeliveryState, Due, Tried};

impl super::closed::Closed for Edge {
    fn of_word(word: &str) -> Option<Self> {
        Self::from_word(word)
    }
}

impl Store {
    /// Everything that is wrong, the oldest first.
    pub async fn raised_alarms(&self) -> Result<Vec<Raised>> {
        self.read("list alarms", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(RAISED).fetch_all(c).await?;
                rows.iter().map(raised).collect()
            })
        })
        .await
    }

    /// Writes down what a look at everything changed, in one transaction.
    ///
    /// # Errors
    /// [`super::Error::TooLong`] for a key that cannot be compared whole.
    pub async fn change_alarms(&self, changes: Changes, now: DateTime<Utc>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write("write down alarms", move |c| Box::pin(async move { change(c, &changes, now).await })).await
    }

    /// What waits to be told, at once or with the digest, the oldest first.
    pub async fn alarms_to_tell(&self, urgent: bool) -> Result<Vec<Telling>> {
        self.read("list what is to be told", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(TO_TELL).bind(urgent).fetch_all(c).await?;
                rows.iter().map(telling).collect()
            })
        })
        .await
    }
}

const RAISED: &str = "SELECT * FROM alarms WHERE cleared_at IS NULL ORDER BY raised_at, id";

const TO_TELL: &str = "SELECT a.*, e.edge AS edge, e.at AS edge_at FROM alarm_edges e JOIN alarms a ON a.id = e.alarm_id
     WHERE e.urgent = $1 ORDER BY e.id";

const RAISE: &str = "INSERT INTO alarms (key, code, severity, pool, policy, vm_uuid, vm_name, run_id, text, since_at, raised_at, seen_at, told_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $11) ON CONFLICT (key) WHERE cleared_at IS NULL DO NOTHING RETURNING id";

const RENEW: &str =
    "UPDATE alarms SET code = $2, severity = $3, vm_name = $4, run_id = $5, text = $6, seen_at = $7 WHERE id = $1";

async fn change(c: &mut Connection, changes: &Changes, now: DateTime<Utc>) -> Result<(), Fault> {
    for (alarm, urgent) in &changes.raise {
        let raised = raise(c, alarm, now).await?;
        if let (Some(id), Some(urgent)) = (raised, urgent) {
            edge(c, id, Edge::Raised, *urgent, now).await?;
        }
    }
    for (id, alarm, anew) in &changes.renew {
        renew(c, *id, alarm, now).await?;
        if *anew {
            edge(c, *id, Edge::Raised, true, now).await?;
        }
    }
    for id in &changes.seen {
        sqlx::query("UPDATE alarms SET seen_at = $2 WHERE id = $1").bind(*id).bind(at(now)).execute(&mut *c).await?;
    }
    for id in &changes.remind {
        edge(c, *id, Edge::Reminded, true, now).await?;
    }
    for (id, told) in &changes.clear {
        let clear = "UPDATE alarms SET cleared_at = $2 WHERE id = $1 AND cleared_at IS NULL";
        let cleared = sqlx::query(clear).bind(*id).bind(at(now)).execute(&mut *c).await?.rows_affected();
        if let Some(urgent) = told.filter(|_| cleared > 0) {
            edge(c, *id, Edge::Cleared, urgent, now).await?;
        }
    }
    Ok(())
}

/// Nothing if it is raised already.
async fn raise(c: &mut Connection, alarm: &Condition, now: DateTime<Utc>) -> Result<Option<i64>, Fault> {
    let run = existing_run(c, alarm.run).await?;
    let id = sqlx::query_scalar(RAISE)
        .bind(whole("an alarm's key", &alarm.key)?)
        .bind(name(&alarm.code))
        .bind(alarm.severity.as_str())
        .bind(alarm.pool.as_deref().map(name))
        .bind(alarm.policy.as_deref().map(name))
        .bind(alarm.vm.as_ref().map(|(vm, _)| key(*vm)))
        .bind(alarm.vm.as_ref().map(|(_, vm)| name(vm)))
        .bind(run)
        .bind(prose(&alarm.text))
        .bind(at(alarm.since))
        .bind(at(now))
        .fetch_optional(c)
        .await?;
    Ok(id)
}

async fn renew(c: &mut Connection, id: i64, alarm: &Condition, now: DateTime<Utc>) -> Result<(), Fault> {
    let run = existing_run(c, alarm.run).await?;
    let update = sqlx::query(RENEW).bind(id).bind(name(&alarm.code)).bind(alarm.severity.as_str());
    let update = update.bind(alarm.vm.as_ref().map(|(_, vm)| name(vm))).bind(run);
    update.bind(prose(&alarm.text)).bind(at(now)).execute(c).await?;
    Ok(())
}

/// History may have forgotten it meanwhile.
async fn existing_run(c: &mut Connection, run: Option<i64>) -> Result<Option<i64>, Fault> {
    let Some(run) = run else { return Ok(None) };
    Ok(sqlx::query_scalar("SELECT id FROM runs WHERE id = $1").bind(run).fetch_optional(c).await?)
}

/// It waits to be told; what is told is not told again for a while.
async fn edge(c: &mut Connection, alarm: i64, edge: Edge, urgent: bool, now: DateTime<Utc>) -> Result<(), Fault> {
    let insert = "INSERT INTO alarm_edges (alarm_id, edge, urgent, at) VALUES ($1, $2, $3, $4)";
    sqlx::query(insert).bind(alarm).bind(edge.as_str()).bind(urgent).bind(at(now)).execute(&mut *c).await?;
    sqlx::query("UPDATE alarms SET told_at = $2 WHERE id = $1").bind(alarm).bind(at(now)).execute(c).await?;
    Ok(())
}

fn telling(row: &Row) -> Result<Telling, Fault> {
    Ok(Telling { edge: row.closed("edge")?, at: row.time("edge_at")?, alarm: row.int("id")?, what: condition(row)? })
}

fn raised(row: &Row) -> Result<Raised, Fault> {
    let (raised_at, seen_at, told_at) = (row.time("raised_at")?, row.time("seen_at")?, row.time("told_at")?);
    Ok(Raised { id: row.int("id")?, what: condition(row)?, raised_at, seen_at, told_at })
}

fn condition(row: &Row) -> Result<Condition, Fault> {
    let vm = match row.maybe_uuid("vm_uuid")? {
        Some(vm) => Some((vm, row.maybe_text("vm_name")?.unwrap_or_default())),
        None => None,
    };
    Ok(Condition {
        key: row.text("key")?,
        code: row.text("code")?,
        severity: row.closed("severity")?,
        pool: row.maybe_text("pool")?,
        policy: row.maybe_text("policy")?,
        vm,
        run: row.maybe_int("run_id")?,
        text: row.text("text")?,
        since: row.time("since_at")?,
    })
}

/// The content of a message as its column keeps it.
fn content(content: &serde_json::Value) -> Result<String, Fault> {
    Ok(json("a message's content", content)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::plans::Explained;

    #[tokio::test]
    async fn what_is_asked_each_minute_walks_an_index() {
        let explained = Explained::new().await;
        for sql in [RAISED, RENEW, deliveries::WAITING, deliveries::COUNTED] {
            let plan = explained.plan(sql).await;
            assert!(!plan.contains("SCAN alarms\n") && !plan.contains("SCAN alarm_deliveries\n"), "{sql}\n{plan}");
        }
    }
}
