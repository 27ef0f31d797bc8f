//! A channel is tried now, because somebody asks. What is tried is not written down: whoever asked sees what happened.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Handle, Plan};
use super::channels::{Alarms, channel_of_pool, pool_of_channel};
use super::courier::write_to_pool;
use crate::domain::alarm::Content;
use crate::domain::event::Severity;
use crate::engine::worker::Worker;
use crate::xenapi::error::chain;

/// The monitor's name among the channels.
const DEAD_MAN: &str = "dead-man";

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The channel.
    pub channel: String,
    /// What happened, as a sentence.
    pub text: String,
    /// Whether it was delivered.
    pub delivered: bool,
}

/// The names of all channels.
pub(in crate::daemon) fn names(alarms: &Alarms, plan: &Plan) -> Vec<String> {
    let mut names: Vec<String> = alarms.channels.iter().map(|channel| channel.name.clone()).collect();
    if alarms.pool_messages.is_some() {
        names.extend(plan.pools.iter().map(|pool| channel_of_pool(&pool.settings.name)));
    }
    names.extend(alarms.dead_man.iter().map(|_| DEAD_MAN.to_owned()));
    names
}

/// Tries mail servers and addresses on the web, for whoever has no service to ask. Messages of pools need one.
pub async fn try_channels(plan: &Plan, only: Option<&str>, now: DateTime<Utc>) -> Vec<Outcome> {
    let Some(alarms) = &plan.alarms else { return Vec::new() };
    let content = Content::test(Uuid::new_v4(), plan.installation.as_str(), 0, now);
    let mut outcomes = Vec::new();
    for name in names(alarms, plan).into_iter().filter(|name| only.is_none_or(|only| only == name)) {
        let outcome = match by_ourselves(alarms, &name, &content, now).await {
            Some(outcome) => outcome,
            None => Outcome { text: "only a service that runs can try it".to_owned(), channel: name, delivered: false },
        };
        outcomes.push(outcome);
    }
    outcomes
}

/// Nothing where it is a pool.
async fn by_ourselves(alarms: &Alarms, name: &str, content: &Content, now: DateTime<Utc>) -> Option<Outcome> {
    let channel = name.to_owned();
    let (told, to) = match (alarms.channel(name), &alarms.dead_man) {
        (Some(channel), _) => (channel.route.deliver(content, now).await, channel.route.to_string()),
        (None, Some(dead_man)) if name == DEAD_MAN => (dead_man.route.ping().await, dead_man.route.to_string()),
        _ => return None,
    };
    Some(match told {
        Ok(()) => Outcome { channel, text: format!("{to} took it"), delivered: true },
        Err(error) => Outcome { channel, text: chain(&error), delivered: false },
    })
}

/// Tries one of a service that runs.
pub(in crate::daemon) async fn try_one(
    worker: &mut Worker,
    handle: &Handle,
    alarms: &Alarms,
    content: &Content,
    name: &str,
) -> Outcome {
    if let Some(pool) = pool_of_channel(name) {
        return of_pool(worker, handle, content, pool).await;
    }
    let gone = || Outcome { channel: name.to_owned(), text: "there is no such channel any more".to_owned(), delivered: false };
    by_ourselves(alarms, name, content, handle.clock.now()).await.unwrap_or_else(gone)
}

async fn of_pool(worker: &mut Worker, handle: &Handle, content: &Content, pool: &str) -> Outcome {
    let channel = channel_of_pool(pool);
    match write_to_pool(worker, handle, content, pool, Severity::Info).await {
        Ok(()) => Outcome { channel, text: format!("the pool {pool} keeps it among its messages"), delivered: true },
        Err(text) => Outcome { channel, text, delivered: false },
    }
}
