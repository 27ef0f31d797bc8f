//! Deliveries, tried until they arrive or are given up. Each channel has a line of its own: one that does not answer holds up nobody but
//! itself, and in it one message follows another. A life that ends between the delivery and its record delivers again: receivers know a
//! message by its uuid.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

use super::super::Handle;
use super::channels::{Alarms, pool_of_channel};
use crate::domain::alarm::{Content, pause, pool_messages};
use crate::domain::event::{EventKind, Severity};
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::store::{Due, NewEvent, Tried};
use crate::telemetry::Fact;
use crate::xenapi::calls;
use crate::xenapi::error::chain;
use crate::xenapi::records::MessageClass;

/// The lines at work, by channel.
struct Courier {
    handle: Handle,
    at_work: HashSet<String>,
    lines: JoinSet<(String, Result<()>)>,
}

/// Carries what waits, for as long as the service lives.
pub(in crate::daemon) async fn carry(handle: Handle) -> Result<()> {
    let mut worker = Worker::new(&handle.clock);
    let mut plan = handle.plan.subscribe();
    let mut courier = Courier { handle, at_work: HashSet::new(), lines: JoinSet::new() };
    let mut told = plan.borrow_and_update().alarms.clone();
    loop {
        let next = courier.send(told.as_ref()).await?;
        let (clock, stop) = (courier.handle.clock.clone(), courier.handle.stop.clone());
        let letters = Arc::clone(&courier.handle.desk.letters);
        let sleep = next.map(|next| clock.sleep((next - clock.now()).to_std().unwrap_or_default()));
        let (lines, plan_changed) = (&mut courier.lines, plan.changed());
        let news = async {
            tokio::select! {
                () = stop.cancelled() => News::Stop,
                Ok(()) = plan_changed => News::Plan,
                () = letters.notified() => News::Letter,
                Some(ended) = lines.join_next() => News::Ended(ended.ok()),
                () = async { sleep.unwrap_or_else(|| Box::pin(std::future::pending())).await } => News::Letter,
            }
        };
        match worker.wait(news).await {
            News::Stop => return Ok(()),
            News::Letter => {}
            News::Plan => {
                told = plan.borrow_and_update().alarms.clone();
                // Somebody may have corrected what was in the way.
                courier.handle.store.hasten_deliveries(courier.handle.clock.now()).await?;
            }
            News::Ended(ended) => courier.ended(ended)?,
        }
    }
}

enum News {
    Stop,
    Plan,
    Letter,
    Ended(Option<(String, Result<()>)>),
}

impl Courier {
    /// Sends what is due on every line that is free. When the next is due.
    async fn send(&mut self, alarms: Option<&Arc<Alarms>>) -> Result<Option<DateTime<Utc>>> {
        let now = self.handle.clock.now();
        let mut next: Option<DateTime<Utc>> = None;
        for due in self.handle.store.deliveries_waiting().await? {
            let channel = &due.delivery.channel;
            if self.at_work.contains(channel) {
                continue;
            }
            if due.delivery.next_try_at > now && alarms.is_some() {
                next = Some(next.map_or(due.delivery.next_try_at, |next| next.min(due.delivery.next_try_at)));
                continue;
            }
            let (channel, alarms, handle) = (channel.clone(), alarms.cloned(), self.handle.clone());
            self.at_work.insert(channel.clone());
            let mut worker = Worker::new(&handle.clock);
            self.lines.spawn(async move { (channel, line(&mut worker, &handle, alarms.as_deref(), due).await) });
        }
        Ok(next)
    }

    /// A line is free again. One that panicked frees all others too: what is at work is found by its record.
    fn ended(&mut self, ended: Option<(String, Result<()>)>) -> Result<()> {
        match ended {
            Some((channel, outcome)) => {
                self.at_work.remove(&channel);
                outcome
            }
            None => {
                self.at_work.clear();
                Ok(())
            }
        }
    }
}

/// One try, and its record.
async fn line(worker: &mut Worker, handle: &Handle, alarms: Option<&Alarms>, due: Due) -> Result<()> {
    let (delivery, channel) = (&due.delivery, due.delivery.channel.as_str());
    let tried = deliver(worker, handle, alarms, &due).await;
    let now = handle.clock.now();
    let give_up = alarms.map_or_else(chrono::TimeDelta::zero, |alarms| alarms.give_up);
    let outcome = match tried {
        Ok(()) => Tried::Delivered,
        Err(Failure::Gone) => Tried::Dropped("its channel is in no file any more".to_owned()),
        Err(Failure::Because(error)) if now - delivery.created_at >= give_up => {
            let text =
                format!("a message about alarms is given up after {} tries through {channel}: {error}", delivery.attempts + 1);
            note(handle, EventKind::AlarmUndelivered, text).await?;
            Tried::GivenUp(error)
        }
        Err(Failure::Because(error)) => {
            if delivery.attempts == 0 {
                let text = format!("a message about alarms could not be delivered through {channel} and is tried again: {error}");
                note(handle, EventKind::AlarmDelayed, text).await?;
            }
            Tried::Failed(error, now + pause(delivery.attempts + 1))
        }
    };
    handle.metrics.alarm_tried(channel, outcome.word());
    handle.store.delivery_tried(delivery.id, outcome, now).await?;
    Ok(())
}

async fn note(handle: &Handle, kind: EventKind, text: String) -> Result<()> {
    Fact::new(kind).say(&text);
    handle.store.note_event(NewEvent::new(handle.clock.now(), kind, text)).await?;
    Ok(())
}

/// Why a message did not arrive.
#[derive(Debug)]
enum Failure {
    /// Nobody wants it there any more.
    Gone,
    /// What was in the way.
    Because(String),
}

async fn deliver(worker: &mut Worker, handle: &Handle, alarms: Option<&Alarms>, due: &Due) -> Result<(), Failure> {
    let channel = due.delivery.channel.as_str();
    let alarms = alarms.ok_or(Failure::Gone)?;
    let content: Content = serde_json::from_value(due.content.clone())
        .map_err(|error| Failure::Because(format!("the message cannot be read from the history: {error}")))?;
    if let Some(pool) = pool_of_channel(channel) {
        let least = alarms.pool_messages.ok_or(Failure::Gone)?;
        let known = handle.plan().pools.iter().any(|planned| planned.settings.name == pool);
        if !known {
            return Err(Failure::Gone);
        }
        return write_to_pool(worker, handle, &content, pool, least).await.map_err(Failure::Because);
    }
    let channel = alarms.channel(channel).ok_or(Failure::Gone)?;
    channel.route.deliver(&content, handle.clock.now()).await.map_err(|error| Failure::Because(chain(&error)))
}

/// How long a pool may take to write a message.
const WRITING: Duration = Duration::from_secs(60);

/// Writes what a pool is to know into its messages.
pub(super) async fn write_to_pool(
    worker: &mut Worker,
    handle: &Handle,
    content: &Content,
    pool: &str,
    least: Severity,
) -> std::result::Result<(), String> {
    let site: Option<SharedSite> = handle.sites.borrow().iter().find(|site| site.name() == pool).cloned();
    let Some(site) = site else { return Err(format!("the pool {pool} is not reached; `xensnap status` says why")) };
    let uuid = site.uuid.to_string();
    for message in pool_messages(content, pool, least) {
        let create = calls::message::create(message.name, message.priority, &MessageClass::Pool, &uuid, &message.body);
        let (late, call) = (site.clock.sleep(WRITING), site.pool.call(create));
        let written = async {
            tokio::select! { written = call => Some(written), () = late => None }
        };
        match worker.wait(written).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(chain(&error)),
            None => return Err(format!("the pool {pool} did not write it within {} s", WRITING.as_secs())),
        }
    }
    Ok(())
}
