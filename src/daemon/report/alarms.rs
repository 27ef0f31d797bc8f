//! What is raised, and what waits to be delivered.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::daemon::alarms::{self, Monitor};
use crate::daemon::{Handle, Plan};
use crate::domain::alarm::Raised;
use crate::engine::error::Result;
use crate::store::{Delivery, Store};

/// What ended longer ago is not told.
const TOLD: TimeDelta = TimeDelta::days(7);

/// So many deliveries are told.
const MOST: u32 = 200;

/// Everything about alarms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmsReport {
    /// The time at which it was so.
    pub at: DateTime<Utc>,
    /// Whether anybody looks: a service runs, and its main file has `[alarms]`.
    pub watching: bool,
    /// What is wrong, the oldest first.
    pub alarms: Vec<RaisedAlarm>,
    /// What waits to be delivered, and what ended within the last week, the newest first.
    pub deliveries: Vec<AlarmDelivery>,
    /// The names of the channels.
    pub channels: Vec<String>,
    /// How the last ping of the monitor outside went.
    pub monitor: Option<Monitor>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedAlarm {
    /// Its number.
    pub alarm: i64,
    /// A short code that stays the same over versions.
    pub code: String,
    /// How much it matters.
    pub severity: String,
    /// The pool's name.
    pub pool: Option<String>,
    /// The policy's id.
    pub policy: Option<String>,
    /// The VM.
    pub vm: Option<AlarmVm>,
    /// The run's number.
    pub run: Option<i64>,
    /// Since when it is wrong.
    pub since: DateTime<Utc>,
    /// When it was noticed.
    pub raised_at: DateTime<Utc>,
    /// When it was last told.
    pub told_at: DateTime<Utc>,
    /// One sentence.
    pub text: String,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmVm {
    /// The VM.
    pub uuid: Uuid,
    /// Its name when last seen.
    pub name: String,
}

/// A message on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmDelivery {
    /// Its number.
    pub delivery: i64,
    /// The message, the same in every channel.
    pub message: Uuid,
    /// `immediate` or `digest`.
    pub form: String,
    /// The channel.
    pub channel: String,
    /// How far it is.
    pub state: String,
    /// So often it was tried.
    pub attempts: u64,
    /// When the message was written.
    pub created_at: DateTime<Utc>,
    /// When it is tried next, if it is.
    pub next_try_at: Option<DateTime<Utc>>,
    /// When it arrived or was given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// As a service that runs knows it.
pub(in crate::daemon) async fn alarms(handle: &Handle) -> Result<AlarmsReport> {
    let plan: std::sync::Arc<Plan> = handle.plan();
    let mut report = alarms_from_history(&handle.store, handle.clock.now()).await?;
    report.watching = plan.alarms.is_some();
    report.channels = plan.alarms.as_ref().map(|told| alarms::names(told, &plan)).unwrap_or_default();
    report.monitor = handle.desk.monitor.borrow().clone();
    Ok(report)
}

/// As far as a history tells that no service works with.
///
/// # Errors
/// When it cannot be read.
pub async fn alarms_from_history(store: &Store, now: DateTime<Utc>) -> Result<AlarmsReport> {
    Ok(AlarmsReport {
        at: now,
        watching: false,
        alarms: store.raised_alarms().await?.into_iter().map(raised).collect(),
        deliveries: store.deliveries(now - TOLD, MOST).await?.into_iter().map(delivery).collect(),
        channels: Vec::new(),
        monitor: None,
    })
}

fn raised(raised: Raised) -> RaisedAlarm {
    let what = raised.what;
    RaisedAlarm {
        alarm: raised.id,
        code: what.code,
        severity: what.severity.as_str().to_owned(),
        pool: what.pool,
        policy: what.policy,
        vm: what.vm.map(|(uuid, name)| AlarmVm { uuid, name }),
        run: what.run,
        since: what.since,
        raised_at: raised.raised_at,
        told_at: raised.told_at,
        text: what.text,
    }
}

fn delivery(delivery: Delivery) -> AlarmDelivery {
    AlarmDelivery {
        delivery: delivery.id.0,
        message: delivery.message,
        form: delivery.form.as_str().to_owned(),
        channel: delivery.channel,
        state: delivery.state.as_str().to_owned(),
        attempts: delivery.attempts,
        created_at: delivery.created_at,
        next_try_at: delivery.finished_at.is_none().then_some(delivery.next_try_at),
        finished_at: delivery.finished_at,
        error: delivery.error,
    }
}
