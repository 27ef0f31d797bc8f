//! `event.from` with the real server's tokens, order and delays (xapi: xapi_event.ml), and the older `event.next`.
//!
//! An answer lists messages, then all additions, then all changes, then all deletions. Changes of one object are one event with the
//! newest record. The token moves only as far as events were shown.

mod next;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

pub use next::{Queue, Registration, current_id, heartbeat, next, note_message, register, unregister};
pub use subscription::Subscription;

use super::codec::answer::Record;
use super::codec::answer::{Answer, Event, Events, Snapshot};
use super::context::Context;
use super::database::Database;
use super::error::{ApiError, ApiResult};
use super::model::{Class, Model, Release};
use super::value::{Ref, Text, Value};
use super::world::World;

/// Collecting time before the first look, so that related changes come together.
const BATCH: Duration = Duration::from_millis(50);
/// How long a wait may be; what cannot be counted in nanoseconds, negative times included, is a day.
const LONGEST: f64 = 9_007_199.254_740_992;
const DAY: Duration = Duration::from_secs(86_400);
/// Classes that have no events.
const SILENT: [&str; 8] = ["session", "user", "data_source", "auth", "secret", "sr_stat", "probe_result", "vdi_nbd_server_info"];

/// A point in the stream of events: the database's generation and that of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The newest change that was shown.
    pub generation: u64,
    /// The newest message that was shown.
    pub messages: u64,
}

impl Token {
    /// Reads a token; the empty text is the beginning.
    ///
    /// # Errors
    /// EVENT_FROM_TOKEN_PARSE_FAILURE.
    pub fn parse(text: &str) -> ApiResult<Self> {
        if text.is_empty() {
            return Ok(Self { generation: 0, messages: 0 });
        }
        let halves = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (generation, messages) = halves.ok_or_else(|| ApiError::new("EVENT_FROM_TOKEN_PARSE_FAILURE", [text]))?;
        Ok(Self { generation, messages })
    }

    fn text(self) -> Text {
        format!("{:020},{:020}", self.generation, self.messages).into()
    }
}

/// `event.from`.
///
/// # Errors
/// SESSION_INVALID when the session ends meanwhile; EVENT_FROM_TOKEN_PARSE_FAILURE.
pub async fn from(context: &Context, classes: &[Text], token: &str, timeout: f64) -> ApiResult<Answer> {
    let subscriptions: Vec<_> = classes.iter().map(|class| Subscription::parse(class)).collect::<ApiResult<_>>()?;
    let mut since = Token::parse(token)?;
    let start = context.shared.clock.elapsed();
    let limit = duration(timeout);
    let tasks_only = subscriptions.iter().all(|subscription| subscription.class() == Some("task"));
    if !tasks_only {
        context.work(BATCH).await;
    }
    let mut pause = BATCH / 16;
    let mut first = true;
    let mut changes = context.shared.changes();
    loop {
        changes.borrow_and_update();
        let (look, seen) = context.step(|world| {
            check_session(world, context)?;
            Ok((collect(world, &subscriptions, since), world.database.generation()))
        })?;
        let left = || limit.saturating_sub(context.shared.clock.elapsed() - start);
        if !look.events.is_empty() || left().is_zero() {
            return Ok(Answer::Events(Arc::new(look)));
        }
        since = Token::parse(&look.token)?;
        // What was not asked for does not end the wait.
        let wakes = |world: &mut World| check_session(world, context).map(|()| is_news(world, &subscriptions, seen));
        while !left().is_zero() && !context.step(wakes)? {
            let sleep = context.shared.clock.sleep(left());
            context
                .wait(async {
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = sleep => {}
                    }
                })
                .await;
        }
        // Only the first wake-up looks at once; the more often there was nothing to show after all, the longer it waits.
        if !std::mem::take(&mut first) {
            pause = (pause * 2).min(BATCH);
            context.work(pause).await;
        }
    }
}

/// Whether anything with these subscriptions changed after a generation, whether or not it can still be shown.
fn is_news(world: &World, subscriptions: &[Subscription], after: u64) -> bool {
    let written = |subscription: &Subscription| {
        subscription.class().is_none_or(|class| class == "message") && world.messages.is_news(after)
    };
    subscriptions.iter().any(|subscription| written(subscription) || rows_changed(world, subscription, after))
}

fn rows_changed(world: &World, subscription: &Subscription, after: u64) -> bool {
    let (database, wanted) = (&world.database, subscription.class());
    let classes = Model::get().classes().iter().filter(|class| wanted.is_none_or(|name| class.name.eq_ignore_ascii_case(name)));
    let fits = |reference: &str| subscription.matches(wanted.unwrap_or_default(), reference);
    classes.filter(|class| has_events(class, world.release)).any(|class| {
        database.changed_since(&class.name, after).any(|(reference, _)| fits(reference))
            || database.deleted_since(&class.name, after).any(|deletion| fits(&deletion.reference))
    })
}

fn duration(timeout: f64) -> Duration {
    if (0.0..=LONGEST).contains(&timeout) { Duration::from_secs_f64(timeout) } else { DAY }
}

fn check_session(world: &World, context: &Context) -> ApiResult<()> {
    let known = world.sessions.contains_key(&context.session) || world.local_sessions.contains_key(&context.session);
    if known { Ok(()) } else { Err(ApiError::new("SESSION_INVALID", [&*context.session])) }
}

/// Everything a client has not heard of yet.
fn collect(world: &World, subscriptions: &[Subscription], since: Token) -> Events {
    let mut batch = Batch { last: since.generation, ..Batch::default() };
    for class in Model::get().classes() {
        let name = class.name.to_lowercase();
        let wanted = subscriptions.iter().any(|subscription| subscription.class().is_none_or(|class| class == name));
        if wanted && has_events(class, world.release) {
            batch.collect(world, class, &name.into(), subscriptions, since.generation);
        }
    }
    let (messages, newest) = messages(world, subscriptions, since.messages);
    let events = [messages, batch.added, batch.changed, batch.deleted].concat();
    let token = Token { generation: batch.last, messages: newest };
    Events { events, valid_ref_counts: counts(&world.database, world.release), token: token.text() }
}

/// Whether a class has rows that send events.
fn has_events(class: &Class, now: Release) -> bool {
    class.since <= now && !SILENT.contains(&&*class.name) && class.name != "message"
}

#[derive(Debug, Default)]
struct Batch {
    added: Vec<Event>,
    changed: Vec<Event>,
    deleted: Vec<Event>,
    last: u64,
}

impl Batch {
    fn collect(&mut self, world: &World, class: &'static Class, name: &Text, subscriptions: &[Subscription], since: u64) {
        let wanted = |reference: &str| subscriptions.iter().any(|subscription| subscription.matches(name, reference));
        let mut rows: Vec<_> =
            world.database.changed_since(&class.name, since).filter(|(reference, _)| wanted(reference)).collect();
        rows.sort_by_key(|(reference, _)| *reference);
        for (reference, row) in rows {
            self.last = self.last.max(row.modified);
            let (list, operation, id) = if row.created > since {
                (&mut self.added, "add", row.created)
            } else {
                (&mut self.changed, "mod", row.modified)
            };
            let snapshot = Snapshot::Record(Record { class, release: world.release, row: row.clone() });
            list.push(event(id, name, operation, reference, Some(snapshot)));
        }
        let deletions: Vec<_> = world.database.deleted_since(&class.name, since).collect();
        for deletion in deletions.into_iter().rev().filter(|deletion| wanted(&deletion.reference)) {
            if deletion.created <= since {
                self.last = self.last.max(deletion.deleted);
                self.deleted.push(event(deletion.deleted, name, "del", &deletion.reference, None));
            }
        }
    }
}

fn event(id: u64, class: &Text, operation: &'static str, reference: &Ref, snapshot: Option<Snapshot>) -> Event {
    Event {
        id: id.to_string().into(),
        timestamp: "0.0".into(),
        class: class.clone(),
        operation,
        reference: reference.clone(),
        snapshot,
    }
}

/// Messages are no rows; their events carry no generation.
fn messages(world: &World, subscriptions: &[Subscription], since: u64) -> (Vec<Event>, u64) {
    let class: Text = "message".into();
    let wanted = |reference: &str| subscriptions.iter().any(|subscription| subscription.matches(&class, reference));
    let subscribed = subscriptions.iter().any(|subscription| subscription.class().is_none_or(|name| name == "message"));
    if !subscribed {
        return (Vec::new(), 0);
    }
    let mut newest = since;
    let mut events = Vec::new();
    for message in world.messages.since(since) {
        newest = newest.max(message.generation);
        if wanted(&message.reference) {
            let snapshot = Snapshot::Value(message.record());
            events.push(event(0, &class, "add", &message.reference, Some(snapshot)));
        }
    }
    for (generation, reference) in world.messages.deleted_since(since) {
        newest = newest.max(generation);
        if wanted(reference) {
            events.push(event(0, &class, "del", reference, None));
        }
    }
    (events, newest)
}

/// How many rows each table has, in the reverse order of the tables' names.
fn counts(database: &Database, now: Release) -> Vec<(Text, i32)> {
    let classes = Model::get().classes().iter().filter(|class| class.since <= now);
    let mut names: Vec<&str> = classes.map(|class| &*class.name).collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    let count = |name: &str| i32::try_from(database.count(name)).unwrap_or(i32::MAX);
    names.into_iter().map(|name| (name.to_lowercase().into(), count(name))).collect()
}

/// `event.inject`: marks an object as changed and answers a token from before that. Its message half is 0, so that `event.from` with
/// it replays all messages.
///
/// # Errors
/// HANDLE_INVALID.
pub fn inject(world: &mut World, class: &str, reference: &str) -> ApiResult<Value> {
    let known = Model::get().class(class).filter(|known| world.database.exists(&known.name, reference));
    let class = known.ok_or_else(|| ApiError::handle_invalid(class, reference))?;
    let generation = world.database.generation();
    world.database.touch(&class.name, reference);
    Ok(Value::Str(Token { generation: generation.saturating_sub(1), messages: 0 }.text()))
}
