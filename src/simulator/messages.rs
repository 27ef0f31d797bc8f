//! Messages (alerts). They are no table: they have no place in the database and are kept apart, newest last.

use chrono::{DateTime, Utc};
use std::collections::VecDeque;

use super::error::{ApiError, ApiResult};
use super::events;
use super::value::{Ref, Text, Value};
use super::world::World;

/// More than these, and the oldest go.
const KEPT: usize = 10_000;
/// How many deletions are remembered; at twice as many the older half is forgotten.
const DELETIONS_KEPT: usize = 512;
/// What a message may be about: the name in `cls`, and the class.
const CLASSES: [(&str, &str); 9] = [
    ("VM", "VM"),
    ("Host", "host"),
    ("SR", "SR"),
    ("Pool", "pool"),
    ("VMPP", "VMPP"),
    ("VMSS", "VMSS"),
    ("PVS_proxy", "PVS_proxy"),
    ("VDI", "VDI"),
    ("Certificate", "Certificate"),
];

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its reference.
    pub reference: Ref,
    /// The database's generation when it was written.
    pub generation: u64,
    /// Its uuid.
    pub uuid: Text,
    /// Its name, such as `VM_SNAPSHOTTED`.
    pub name: Text,
    /// Its priority, 1 (most urgent) to 5.
    pub priority: i64,
    /// What it is about, in the spelling of `cls`.
    pub cls: Text,
    /// The object it is about.
    pub obj_uuid: Text,
    /// When it was written.
    pub timestamp: DateTime<Utc>,
    /// Its text.
    pub body: Text,
}

/// A message to be written.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its priority.
    pub priority: i64,
    /// What it is about, in the spelling of `cls` (`VM`, `Host`, `Pool`).
    pub cls: &'a str,
    /// The object it is about.
    pub obj_uuid: &'a str,
    /// Its text.
    pub body: &'a str,
}

/// All messages of a pool.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    kept: VecDeque<Message>,
    deleted: VecDeque<(u64, Ref)>,
}

impl Message {
    /// The record as clients see it.
    pub fn record(&self) -> Value {
        let text = |text: &Text| Value::Str(text.clone());
        Value::Map(vec![
            ("uuid".into(), text(&self.uuid)),
            ("name".into(), text(&self.name)),
            ("priority".into(), Value::Int(self.priority)),
            ("cls".into(), text(&self.cls)),
            ("obj_uuid".into(), text(&self.obj_uuid)),
            ("timestamp".into(), Value::date(self.timestamp)),
            ("body".into(), text(&self.body)),
        ])
    }
}

impl Messages {
    /// All messages, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.kept.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether any was written or destroyed after a generation.
    pub fn is_news(&self, generation: u64) -> bool {
        let newest = self.kept.iter().next_back().map(|message| message.generation);
        let gone = self.deleted.back().map(|(at, _)| *at);
        newest.max(gone).is_some_and(|newest| newest > generation)
    }

    /// Messages written after a generation, oldest first.
    pub fn since(&self, generation: u64) -> impl Iterator<Item = &Message> {
        self.kept.iter().filter(move |message| message.generation > generation)
    }

    /// Messages destroyed after a generation, oldest first.
    pub fn deleted_since(&self, generation: u64) -> impl Iterator<Item = (u64, &Ref)> {
        self.deleted.iter().filter(move |(at, _)| *at > generation).map(|(at, reference)| (*at, reference))
    }

    /// A message by its reference.
    pub fn get(&self, reference: &str) -> Option<&Message> {
        self.kept.iter().find(|message| &*message.reference == reference)
    }

    /// A message by its uuid.
    pub fn by_uuid(&self, uuid: &str) -> Option<&Message> {
        self.kept.iter().find(|message| &*message.uuid == uuid)
    }

    /// Puts a message in as it is, for loading a pool.
    pub fn restore(&mut self, message: Message) {
        self.kept.push_back(message);
    }

    fn remove(&mut self, reference: &str) -> Option<Message> {
        let at = self.kept.iter().position(|message| &*message.reference == reference)?;
        self.kept.remove(at)
    }
}

/// Writes a message.
///
/// # Errors
/// UUID_INVALID when there is no such object.
pub fn create(world: &mut World, message: NewMessage<'_>, now: DateTime<Utc>) -> ApiResult<Ref> {
    let class = CLASSES.iter().find(|(cls, _)| *cls == message.cls).map(|(_, class)| *class);
    if class.is_none_or(|class| world.database.by_uuid(class, message.obj_uuid).is_none()) {
        return Err(ApiError::new("UUID_INVALID", [message.cls, message.obj_uuid]));
    }
    let (reference, uuid) = (world.reference(), world.uuid());
    let generation = world.database.advance();
    let message = Message {
        reference: reference.clone(),
        generation,
        uuid,
        name: message.name.into(),
        priority: message.priority,
        cls: message.cls.into(),
        obj_uuid: message.obj_uuid.into(),
        timestamp: now,
        body: message.body.into(),
    };
    events::note_message(world, "add", &message);
    world.messages.kept.push_back(message);
    Ok(reference)
}

/// Destroys a message.
///
/// # Errors
/// HANDLE_INVALID.
pub fn destroy(world: &mut World, reference: &str) -> ApiResult<()> {
    let message = world.messages.remove(reference).ok_or_else(|| ApiError::handle_invalid("message", reference))?;
    events::note_message(world, "del", &message);
    let generation = world.database.advance();
    world.messages.deleted.push_back((generation, reference.into()));
    if world.messages.deleted.len() > 2 * DELETIONS_KEPT {
        world.messages.deleted.drain(..DELETIONS_KEPT);
    }
    Ok(())
}

/// Destroys the oldest messages beyond the number kept.
pub fn collect(world: &mut World) {
    let surplus = world.messages.len().saturating_sub(KEPT);
    let oldest: Vec<Ref> = world.messages.iter().take(surplus).map(|message| message.reference.clone()).collect();
    for reference in oldest {
        // It was there a line ago.
        let _ = destroy(world, &reference);
    }
}

/// Messages as a map of records, newest first, as the server lists them.
pub fn records<'a>(messages: impl DoubleEndedIterator<Item = &'a Message>) -> Value {
    Value::Map(messages.rev().map(|message| (message.reference.clone(), message.record())).collect())
}

/// The messages about one object that are not older than a date.
///
/// # Errors
/// UUID_INVALID without parameters, as the server answers.
pub fn about(world: &World, cls: &str, obj_uuid: &str, since: DateTime<Utc>) -> ApiResult<Value> {
    let class = CLASSES.iter().find(|(name, _)| *name == cls).map(|(_, class)| *class);
    if class.is_none_or(|class| world.database.by_uuid(class, obj_uuid).is_none()) {
        return Err(ApiError::bare("UUID_INVALID"));
    }
    let found = world.messages.kept.iter().filter(|message| &*message.obj_uuid == obj_uuid && message.timestamp > since);
    Ok(records(found))
}
