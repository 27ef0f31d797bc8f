//! Messages, and their way out. A delivery waits until it was delivered or given up; each try is written down, so that the next life goes
//! on where this one was.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::content;
use crate::store::Store;
use crate::store::closed::closed;
use crate::store::columns::{Columns, at, key, name, prose};
use crate::store::error::{Fault, Result};
use crate::store::ids::DeliveryId;
use crate::store::sqlite::{Connection, Row};

closed! {
    /// What kind of message.
    AlarmForm {
        /// What could not wait.
        Immediate = "immediate",
        /// Everything else, from time to time.
        Digest = "digest",
    }
}

closed! {
    /// How far a delivery is.
    DeliveryState {
        /// It is tried, or waits to be.
        Waiting = "waiting",
        /// It arrived.
        Delivered = "delivered",
        /// It was tried for too long.
        GivenUp = "given-up",
        /// Nobody wants it there any more.
        Dropped = "dropped",
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// It arrived.
    Delivered,
    /// Why not, and when it is tried again.
    Failed(String, DateTime<Utc>),
    /// Why not; it is not tried again.
    GivenUp(String),
    /// Why it is not wanted any more.
    Dropped(String),
}

impl Tried {
    /// A word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Tried::Delivered => "delivered",
            Tried::Failed(..) => "failed",
            Tried::GivenUp(_) => "given-up",
            Tried::Dropped(_) => "dropped",
        }
    }
}

/// A message on its way through one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its row.
    pub id: DeliveryId,
    /// The message.
    pub message: Uuid,
    /// What kind of message.
    pub form: AlarmForm,
    /// The channel.
    pub channel: String,
    /// How far it is.
    pub state: DeliveryState,
    /// So often it was tried.
    pub attempts: u64,
    /// When it is tried next.
    pub next_try_at: DateTime<Utc>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When the message was written.
    pub created_at: DateTime<Utc>,
    /// When it arrived or was given up.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A delivery to be tried, with what is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// The delivery.
    pub delivery: Delivery,
    /// What the message tells.
    pub content: Value,
}

macro_rules! select_delivery {
    ($($rest:tt)+) => {
        concat!("SELECT d.*, m.uuid AS message_uuid, m.form AS form, m.content AS content FROM alarm_deliveries d
             JOIN alarm_messages m ON m.id = d.message_id ", $($rest)+)
    };
}

/// The oldest of each channel: one is tried after another, so that what is told arrives in order.
pub(super) const WAITING: &str = select_delivery!(
    "WHERE d.id IN (SELECT min(w.id) FROM alarm_deliveries w WHERE w.state = 'waiting' GROUP BY w.channel) ORDER BY d.id"
);

const LISTED: &str = select_delivery!("WHERE d.state = 'waiting' OR d.finished_at >= $1 ORDER BY d.id DESC LIMIT $2");

pub(super) const COUNTED: &str =
    "SELECT channel, count(*) AS number FROM alarm_deliveries WHERE state = 'waiting' GROUP BY channel ORDER BY channel";

impl Store {
    /// Writes a message with a delivery for each of these channels, and takes what it tells off the list of what is to be told: all
    /// that was urgent, or all that was not. Without channels only the latter. Whoever raises alarms writes the messages too.
    pub async fn write_message(
        &self,
        (form, uuid, what): (AlarmForm, Uuid, Value),
        channels: Vec<String>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let what = content(&what).map_err(|fault| fault.during("write a message", self.path()))?;
        self.write("write a message", move |c| {
            Box::pin(async move {
                if !channels.is_empty() {
                    insert(c, (form, uuid, &what), &channels, now).await?;
                }
                let told = "DELETE FROM alarm_edges WHERE urgent = $1";
                sqlx::query(told).bind(form == AlarmForm::Immediate).execute(c).await?;
                Ok(())
            })
        })
        .await
    }

    /// The oldest waiting delivery of each channel, whether its time has come or not.
    pub async fn deliveries_waiting(&self) -> Result<Vec<Due>> {
        self.read("list deliveries", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(WAITING).fetch_all(c).await?;
                rows.iter().map(|row| Ok(Due { delivery: read(row)?, content: row.json("content")? })).collect()
            })
        })
        .await
    }

    /// Everything that waits, and what ended since then, the newest first.
    pub async fn deliveries(&self, since: DateTime<Utc>, most: u32) -> Result<Vec<Delivery>> {
        self.read("list deliveries", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(LISTED).bind(at(since)).bind(most).fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }

    /// How many wait in each channel.
    pub async fn deliveries_by_channel(&self) -> Result<Vec<(String, u64)>> {
        self.read("count deliveries", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(COUNTED).fetch_all(c).await?;
                rows.iter().map(|row| Ok((row.text("channel")?, row.count("number")?))).collect()
            })
        })
        .await
    }

    /// A try has ended. A delivery that has ended stays as it is.
    pub async fn delivery_tried(&self, id: DeliveryId, tried: Tried, now: DateTime<Utc>) -> Result<()> {
        self.write("write down a delivery", move |c| {
            Box::pin(async move {
                let (state, next, error) = match &tried {
                    Tried::Delivered => (DeliveryState::Delivered, now, None),
                    Tried::Failed(error, next) => (DeliveryState::Waiting, *next, Some(prose(error))),
                    Tried::GivenUp(error) => (DeliveryState::GivenUp, now, Some(prose(error))),
                    Tried::Dropped(error) => (DeliveryState::Dropped, now, Some(prose(error))),
                };
                let update = "UPDATE alarm_deliveries SET state = $2, attempts = attempts + 1, next_try_at = $3, error = $4,
                     finished_at = CASE $2 WHEN 'waiting' THEN NULL ELSE $5 END WHERE id = $1 AND state = 'waiting'";
                let update = sqlx::query(update).bind(id.0).bind(state.as_str()).bind(at(next)).bind(error);
                update.bind(at(now)).execute(c).await?;
                Ok(())
            })
        })
        .await
    }

    /// What waits is tried at once: something was corrected.
    pub async fn hasten_deliveries(&self, now: DateTime<Utc>) -> Result<()> {
        self.write("hasten deliveries", move |c| {
            Box::pin(async move {
                let update = "UPDATE alarm_deliveries SET next_try_at = $1 WHERE state = 'waiting' AND next_try_at > $1";
                sqlx::query(update).bind(at(now)).execute(c).await?;
                Ok(())
            })
        })
        .await
    }
}

async fn insert(
    c: &mut Connection,
    (form, uuid, what): (AlarmForm, Uuid, &str),
    channels: &[String],
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let message = "INSERT INTO alarm_messages (uuid, form, content, created_at) VALUES ($1, $2, $3, $4) RETURNING id";
    let message = sqlx::query_scalar(message).bind(key(uuid)).bind(form.as_str()).bind(what).bind(at(now));
    let message: i64 = message.fetch_one(&mut *c).await?;
    for channel in channels {
        let delivery = "INSERT INTO alarm_deliveries (message_id, channel, state, attempts, next_try_at, created_at)
             VALUES ($1, $2, 'waiting', 0, $3, $3)";
        sqlx::query(delivery).bind(message).bind(name(channel)).bind(at(now)).execute(&mut *c).await?;
    }
    Ok(())
}

fn read(row: &Row) -> Result<Delivery, Fault> {
    Ok(Delivery {
        id: row.id("id")?,
        message: row.uuid("message_uuid")?,
        form: row.closed("form")?,
        channel: row.text("channel")?,
        state: row.closed("state")?,
        attempts: row.count("attempts")?,
        next_try_at: row.time("next_try_at")?,
        error: row.maybe_text("error")?,
        created_at: row.time("created_at")?,
        finished_at: row.maybe_time("finished_at")?,
    })
}
