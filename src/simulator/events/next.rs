//! `event.register`, `event.next` and `event.unregister`: the interface of before `event.from`.
//!
//! Changes are told one by one in their order, from one queue for all sessions. The queue takes only what somebody has registered for,
//! and forgets the oldest when it grows too big; a session that had not heard of those is told EVENTS_LOST.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use md5::{Digest, Md5};

use super::{Subscription, has_events};
use crate::simulator::codec::answer::{Event, Record, Snapshot};
use crate::simulator::codec::json::JsonEmit;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::messages::Message;
use crate::simulator::model::{Class, Model, Release, release};
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// Collecting time before the first look.
const BATCH: Duration = Duration::from_millis(200);
/// How many bytes of events are kept.
const KEPT_BYTES: usize = 10_000_000;
/// How many events older releases keep.
const KEPT_EVENTS: usize = 500;

/// What `event.next` has to tell.
#[derive(Debug, Default)]
pub struct Queue {
    registrations: HashMap<Ref, Registration>,
    events: VecDeque<Queued>,
    bytes: usize,
    /// The number of the next event.
    id: i64,
    /// The newest event that was forgotten.
    forgotten: Option<i64>,
}

#[derive(Debug)]
struct Queued {
    id: i64,
    size: usize,
    event: Event,
}

/// What a session wants to hear of, and what it has heard.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    subscriptions: Vec<Subscription>,
    /// The number of the first event it has not heard of.
    heard: i64,
}

/// `event.register`.
pub fn register(world: &mut World, session: &Ref, wanted: Vec<Subscription>) {
    world.next_events.registration(session).subscriptions.extend(wanted);
}

/// `event.unregister`.
pub fn unregister(world: &mut World, session: &Ref, unwanted: &[Subscription]) {
    world.next_events.registration(session).subscriptions.retain(|subscription| !unwanted.contains(subscription));
}

/// `event.get_current_id`.
pub fn current_id(world: &World) -> i64 {
    world.next_events.id
}

/// Every half minute those who wait hear of the pool, so that they know that the server lives.
pub fn heartbeat(world: &mut World, now: DateTime<Utc>) {
    let Some(class) = Model::get().class("pool") else { return };
    let Some((reference, row)) = world.database.rows("pool").next() else { return };
    let record = Record { class, release: world.release, row: row.clone() };
    let event = event("pool".into(), "mod", reference.clone(), Some(record), now);
    let release = world.release;
    world.next_events.push(event, release);
}

/// Tells of a message that was written or destroyed.
pub fn note_message(world: &mut World, operation: &'static str, message: &Message) {
    let mut event = event("message".into(), operation, message.reference.clone(), None, message.timestamp);
    event.snapshot = Some(Snapshot::Value(message.record()));
    let release = world.release;
    world.next_events.push(event, release);
}

/// `event.next`: waits for events that the session has registered for.
///
/// # Errors
/// SESSION_NOT_REGISTERED, EVENTS_LOST, SESSION_INVALID when the session ends meanwhile.
pub async fn next(context: &Context) -> ApiResult {
    context.step(|world| world.next_events.check_registered(&context.session))?;
    context.work(BATCH).await;
    loop {
        let mut changes = context.shared.changes();
        let found = context.step(|world| {
            super::check_session(world, context)?;
            world.next_events.take(&context.session)
        })?;
        if !found.is_empty() {
            return Ok(Value::Set(found));
        }
        // The sender lives as long as the server.
        let _ = context.wait(changes.changed()).await;
    }
}

impl Queue {
    /// Takes up what changed in the database after `before`, if anybody wants to hear of it.
    pub fn note_changes(world: &mut World, before: u64, now: DateTime<Utc>) {
        if world.next_events.registrations.is_empty() {
            return;
        }
        let release = world.release;
        let mut changes: Vec<(u64, Event)> = Vec::new();
        for class in Model::get().classes().iter().filter(|class| has_events(class, release)) {
            let name: Text = class.name.to_lowercase().into();
            if world.next_events.is_wanted(&name) {
                changes.extend(class_changes(world, class, &name, before, now));
            }
        }
        changes.sort_by_key(|(generation, _)| *generation);
        for (_, event) in changes {
            world.next_events.push(event, release);
        }
    }

    /// Ends a session's registration.
    pub fn forget_session(&mut self, session: &str) {
        self.registrations.remove(session);
    }

    /// Makes every session that is registered miss something: its next call answers EVENTS_LOST.
    pub fn lose(&mut self) {
        self.events.clear();
        self.bytes = 0;
        self.id += 1;
        self.forgotten = Some(self.id - 1);
    }

    fn registration(&mut self, session: &Ref) -> &mut Registration {
        let heard = self.id;
        let fresh = || Registration { heard, subscriptions: Vec::new() };
        self.registrations.entry(session.clone()).or_insert_with(fresh)
    }

    fn check_registered(&self, session: &str) -> ApiResult<()> {
        if self.registrations.contains_key(session) {
            return Ok(());
        }
        let track: String = Md5::digest(session).iter().map(|byte| format!("{byte:02x}")).collect();
        Err(ApiError::new("SESSION_NOT_REGISTERED", [format!("trackid={track}")]))
    }

    fn is_wanted(&self, class: &str) -> bool {
        let mut subscriptions = self.registrations.values().flat_map(|registration| &registration.subscriptions);
        subscriptions.any(|subscription| subscription.class().is_none_or(|wanted| wanted == class))
    }

    fn push(&mut self, mut event: Event, release: Release) {
        let matches = |subscription: &Subscription| subscription.matches(&event.class, &event.reference);
        if !self.registrations.values().any(|registration| registration.subscriptions.iter().any(matches)) {
            return;
        }
        event.id = self.id.to_string().into();
        let size = size(&event);
        self.events.push_back(Queued { id: self.id, size, event });
        self.bytes += size;
        self.id += 1;
        while self.is_too_big(release) {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.size;
            self.forgotten = Some(oldest.id);
        }
    }

    fn is_too_big(&self, now: Release) -> bool {
        if now < release("dundee") { self.events.len() > KEPT_EVENTS } else { self.bytes > KEPT_BYTES }
    }

    /// What a session has not heard of.
    fn take(&mut self, session: &str) -> ApiResult<Vec<Value>> {
        let (forgotten, id) = (self.forgotten, self.id);
        let Some(registration) = self.registrations.get_mut(session) else { return Ok(Vec::new()) };
        let from = std::mem::replace(&mut registration.heard, id);
        if forgotten.is_some_and(|forgotten| forgotten >= from) {
            return Err(ApiError::bare("EVENTS_LOST"));
        }
        let subscriptions = &registration.subscriptions;
        let wanted = |event: &Event| subscriptions.iter().any(|s| s.matches(&event.class, &event.reference));
        let unheard = self.events.iter().filter(|queued| queued.id >= from && wanted(&queued.event));
        Ok(unheard.map(|queued| queued.event.to_value()).collect())
    }
}

fn class_changes(world: &World, class: &'static Class, name: &Text, before: u64, now: DateTime<Utc>) -> Vec<(u64, Event)> {
    let record = |row| Record { class, release: world.release, row };
    let changed = world.database.changed_since(&class.name, before).map(|(reference, row)| {
        let operation = if row.created > before { "add" } else { "mod" };
        (row.modified, event(name.clone(), operation, reference.clone(), Some(record(row.clone())), now))
    });
    let deleted = world.database.deleted_since(&class.name, before);
    let deleted = deleted.map(|gone| (gone.deleted, event(name.clone(), "del", gone.reference.clone(), None, now)));
    changed.chain(deleted).collect()
}

fn event(class: Text, operation: &'static str, reference: Ref, record: Option<Record>, now: DateTime<Utc>) -> Event {
    let timestamp = format!("{}.", now.timestamp()).into();
    Event { id: "".into(), timestamp, class, operation, reference, snapshot: record.map(Snapshot::Record) }
}

fn size(event: &Event) -> usize {
    let mut text = String::new();
    event.emit(&mut JsonEmit(&mut text));
    text.len()
}
