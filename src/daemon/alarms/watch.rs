//! What is news, and the messages that tell it. Everything is written down before anything is sent: what is raised and cleared, then the
//! message with a delivery for each channel, then how far the history of events was read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Handle;
use super::super::report;
use super::channels::{Alarms, channel_of_pool};
use super::{look, promises};
use crate::domain::alarm::{self, Changes, Condition, Content, Edge, Part, Raised, Telling, ToldVm, is_about_snapshots};
use crate::domain::event::EventKind;
use crate::engine::error::Result;
use crate::engine::worker::Worker;
use crate::store::{AlarmForm, JobState, NewEvent, RunId};
use crate::telemetry::Fact;

/// Promises are about hours: they are looked at less often.
const PROMISES_EVERY: TimeDelta = TimeDelta::minutes(5);

/// So many events are taken up at one look; what is beyond waits for the next.
const EVENTS: u32 = 2000;

/// So many runs are looked into for the VMs that failed.
const RUNS: usize = 50;

/// How far the history of events was read, and when the digest was last due.
const EVENTS_NOTE: &str = "alarms/events";
const DIGEST_NOTE: &str = "alarms/digest";

/// Looks again and again, while anybody is to be told.
pub(in crate::daemon) async fn watch(handle: Handle) -> Result<()> {
    let mut worker = Worker::new(&handle.clock);
    let mut plan = handle.plan.subscribe();
    let mut sites = handle.sites.clone();
    let mut watcher = Watcher { promises: Vec::new(), promises_at: None, immediate_at: None, handle };
    loop {
        let alarms = plan.borrow_and_update().alarms.clone();
        if let Some(alarms) = &alarms {
            watcher.look(&mut worker, alarms).await?;
        }
        let clock = &watcher.handle.clock;
        let sleep = alarms.as_ref().map(|alarms| clock.sleep(alarms.look_every));
        let stop = &watcher.handle.stop;
        let on = async {
            tokio::select! {
                () = stop.cancelled() => News::Stop,
                Ok(()) = plan.changed() => News::World,
                // A pool that was reached shows what is covered.
                Ok(()) = sites.changed() => News::World,
                () = async { sleep.unwrap_or_else(|| Box::pin(std::future::pending())).await } => News::Time,
            }
        };
        match worker.wait(on).await {
            News::Stop => return Ok(()),
            News::World => watcher.promises_at = None,
            News::Time => {}
        }
    }
}

enum News {
    Stop,
    /// There are other policies or pools.
    World,
    Time,
}

struct Watcher {
    handle: Handle,
    promises: Vec<Condition>,
    promises_at: Option<DateTime<Utc>>,
    immediate_at: Option<DateTime<Utc>>,
}

impl Watcher {
    async fn look(&mut self, worker: &mut Worker, alarms: &Arc<Alarms>) -> Result<()> {
        let status = report::live(worker, &self.handle).await?;
        let now = self.handle.clock.now();
        if self.promises_at.is_none_or(|at| now - at >= PROMISES_EVERY || now < at) {
            self.promises = promises::broken(&self.handle).await?;
            self.promises_at = Some(now);
        }
        let pools: HashMap<Uuid, String> =
            self.handle.store.pools().await?.into_iter().map(|pool| (pool.uuid, pool.name)).collect();
        let (happened, read_to) = self.happened(&pools).await?;
        let mut present = look::of_status(&status);
        present.extend(self.promises.iter().cloned());
        present.extend(happened);
        let raised = self.handle.store.raised_alarms().await?;
        let unknown = |condition: &Condition| look::is_unknown(&status, condition);
        let changes = alarm::changes(&raised, present, unknown, &alarms.rules, now);
        self.handle.store.change_alarms(changes.clone(), now).await?;
        self.note_promises(&changes, &raised, &pools).await?;
        self.tell(alarms, now).await?;
        if let Some(read_to) = read_to {
            self.handle.store.keep(EVENTS_NOTE, &json!(read_to), now).await?;
        }
        Ok(())
    }

    /// What happened since the last look, and how far that was read. The first look of all begins with what happens from then on.
    async fn happened(&self, pools: &HashMap<Uuid, String>) -> Result<(Vec<Condition>, Option<i64>)> {
        let store = &self.handle.store;
        let newest = store.newest_event().await?;
        let before = store.kept(EVENTS_NOTE).await?.as_ref().and_then(Value::as_i64);
        // A history that was put back has fewer.
        let Some(after) = before.filter(|before| *before <= newest) else { return Ok((Vec::new(), Some(newest))) };
        let events = store.events_after(after, EVENTS).await?;
        let read_to = if events.len() < EVENTS as usize { newest } else { events.last().map_or(newest, |event| event.id.0) };
        let happened = events.iter().filter_map(|event| look::of_event(event, pools)).collect();
        Ok((happened, (read_to != after).then_some(read_to)))
    }

    /// That a promise is broken or kept again is told nowhere else.
    async fn note_promises(&self, changes: &Changes, raised: &[Raised], pools: &HashMap<Uuid, String>) -> Result<()> {
        let is_promise = |condition: &&Condition| condition.key.starts_with("rpo/");
        let began = changes.raise.iter().map(|(condition, _)| condition).filter(is_promise);
        let began =
            began.filter_map(|condition| Some((condition, EventKind::from_word(&condition.code)?, condition.text.clone())));
        let over: BTreeSet<i64> = changes.clear.iter().map(|(id, _)| *id).collect();
        let ended = raised.iter().filter(|raised| over.contains(&raised.id)).map(|raised| &raised.what).filter(is_promise);
        let ended = ended.map(|condition| {
            let name = condition.vm.as_ref().map_or("a VM", |(_, name)| name);
            let policy = condition.policy.as_deref().unwrap_or_default();
            (
                condition,
                EventKind::RpoKept,
                format!("VM {name}, policy {policy}: its newest good snapshot is as new as promised again"),
            )
        });
        let all = began.chain(ended).map(|(condition, kind, text)| self.note(condition, kind, text, pools));
        join_all(all).await.into_iter().collect()
    }

    async fn note(&self, condition: &Condition, kind: EventKind, text: String, pools: &HashMap<Uuid, String>) -> Result<()> {
        let mut fact = Fact::new(kind);
        if let Some(pool) = &condition.pool {
            fact = fact.pool(pool);
        }
        if let Some(policy) = &condition.policy {
            fact = fact.policy(policy);
        }
        if let Some((vm, name)) = &condition.vm {
            fact = fact.named_vm(*vm, name);
        }
        fact.say(&text);
        let pool = pools.iter().find(|(_, name)| Some(*name) == condition.pool.as_ref()).map(|(pool, _)| *pool);
        let vm = condition.vm.as_ref().map(|(vm, _)| *vm);
        let event = NewEvent::new(self.handle.clock.now(), kind, text);
        self.handle.store.note_event(NewEvent { pool, policy: condition.policy.clone(), vm, ..event }).await?;
        Ok(())
    }

    /// Writes the messages whose time has come.
    async fn tell(&mut self, alarms: &Arc<Alarms>, now: DateTime<Utc>) -> Result<()> {
        let gathered = self.immediate_at.is_none_or(|at| now - at >= alarms.interval || now < at);
        if gathered && self.write(alarms, AlarmForm::Immediate, now).await? {
            self.immediate_at = Some(now);
        }
        if self.digest_is_due(alarms, now).await? {
            self.write(alarms, AlarmForm::Digest, now).await?;
        }
        Ok(())
    }

    async fn digest_is_due(&self, alarms: &Alarms, now: DateTime<Utc>) -> Result<bool> {
        // Nobody reads it, so it does not pile up.
        let Some(digest) = &alarms.digest else { return Ok(true) };
        let store = &self.handle.store;
        let last = store.kept(DIGEST_NOTE).await?.and_then(|last| last.as_str()?.parse::<DateTime<Utc>>().ok());
        let due = last.is_some_and(|last| digest.next_after(last).is_some_and(|next| next <= now));
        if due || last.is_none_or(|last| now < last) {
            let now_text = now.to_rfc3339_opts(SecondsFormat::Micros, true);
            store.keep(DIGEST_NOTE, &json!(now_text), now).await?;
        }
        Ok(due)
    }

    /// Writes a message of all that is to be told in this form. False if there is nothing.
    async fn write(&self, alarms: &Alarms, form: AlarmForm, now: DateTime<Utc>) -> Result<bool> {
        let store = &self.handle.store;
        let tellings = store.alarms_to_tell(form == AlarmForm::Immediate).await?;
        if tellings.is_empty() {
            return Ok(false);
        }
        let raised = store.raised_alarms().await?.len();
        let message = Uuid::new_v4();
        let plan = self.handle.plan();
        let from = (plan.installation.as_str(), alarms.zone());
        let parts = self.parts(tellings).await?;
        let content = Content::new(message, form.as_str(), from, parts, raised, now);
        let channels = if form == AlarmForm::Digest && alarms.digest.is_none() { Vec::new() } else { channels(alarms, &content) };
        let what = serde_json::to_value(&content).unwrap_or_default();
        store.write_message((form, message, what), channels, now).await?;
        self.handle.desk.letters.notify_one();
        Ok(true)
    }

    /// With the VMs that runs did not take, and why.
    async fn parts(&self, tellings: Vec<Telling>) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut runs = 0;
        for telling in tellings {
            let run = telling.what.run.filter(|_| telling.edge != Edge::Cleared && runs < RUNS);
            let vms = match run {
                Some(run) => {
                    runs += 1;
                    self.failed_vms(RunId(run)).await?
                }
                None => Vec::new(),
            };
            parts.push((telling, vms));
        }
        Ok(parts)
    }

    async fn failed_vms(&self, run: RunId) -> Result<Vec<ToldVm>> {
        let jobs = self.handle.store.jobs_of(run).await?;
        let without = jobs.iter().filter(|job| matches!(job.state, JobState::Failed | JobState::Skipped | JobState::Unresolved));
        let told = without.map(|job| {
            let cause = job.cause.as_ref().map(|cause| (cause.code.as_str(), cause.text.as_str()));
            ToldVm::new(job.vm_uuid, &job.vm_name, cause)
        });
        Ok(told.collect())
    }
}

/// Everybody who gets it: all channels, and the pools that it is about.
fn channels(alarms: &Alarms, content: &Content) -> Vec<String> {
    let mut channels: Vec<String> = alarms.channels.iter().map(|channel| channel.name.clone()).collect();
    if let Some(least) = alarms.pool_messages {
        let about = content.alarms.iter().filter(|told| is_about_snapshots(&told.code)).filter_map(|told| told.pool.as_deref());
        let pools: BTreeSet<&str> = about.collect();
        let told = pools.into_iter().filter(|pool| !alarm::pool_messages(content, pool, least).is_empty());
        channels.extend(told.map(channel_of_pool));
    }
    channels
}
