//! How calls wait for a lock that another operation holds: not in a queue, but asleep for a random time.
//!
//! This is the server's own mechanism, with its flaw (xapi: helpers.ml). A call that finds its object busy sleeps between 1 and 20 s
//! and tries again under a global lock. An operation that ends wakes those who sleep for one of its objects, with each lock that it
//! releases. Sleepers stand in a table under the object they wait for; one that leaves its sleep takes the *newest* entry of its
//! object out, which may be somebody else's: of one who went back to sleep before it woke. That one is deaf from then on and sleeps
//! its whole time. So a few waiters get on quickly and the rest lose one after another, and more calls in flight make a night slower.
//!
//! How fast the herd goes deaf is decided by how long a try takes and how soon a sleeper runs after it was woken (the server's threads
//! share one runtime lock). These two are fitted to the measured times; nothing else here is. Waking the sleepers of all objects
//! instead would fit one SR as well, but not two side by side, which were measured to be worked on without loss.

use std::time::Duration;

use rand_chacha::rand_core::RngCore;
use tokio::sync::oneshot;

use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Text, is_null};
use crate::simulator::world::World;

/// How calls wait. Times are those of the measured server; [`super::timings::Timings::scale`] stretches them.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The shortest sleep.
    pub shortest: Duration,
    /// The longest sleep.
    pub longest: Duration,
    /// How long a call waits in all before the error reaches the client.
    pub patience: Duration,
    /// How many may sleep at once; the next one fails with TOO_MANY_PENDING_TASKS.
    pub most_sleepers: usize,
    /// How long one try occupies the global lock.
    pub attempt: Duration,
    /// How soon a sleeper runs after it was woken, at most; drawn evenly.
    pub wake: Duration,
    /// The time between two releases of one operation (SR, VDI, VM), while somebody waits.
    pub between_releases: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(1),
            longest: Duration::from_secs(20),
            patience: Duration::from_secs(7200),
            most_sleepers: 100,
            attempt: Duration::from_millis(4),
            wake: Duration::from_millis(15),
            between_releases: Duration::from_millis(4),
        }
    }
}

/// No sleep is shorter, whatever the scale: a waiting call must let time pass.
const LEAST: Duration = Duration::from_millis(10);

/// The object a call waits for: class and reference.
type Key = (Text, Text);

#[derive(Debug)]
struct Entry {
    key: Key,
    /// Tells the sleeper after which delay it runs; none once it was told.
    wake: Option<oneshot::Sender<Duration>>,
}

/// The table of sleepers and the global lock.
#[derive(Debug, Default)]
pub struct Waiters {
    /// How calls wait.
    pub policy: Policy,
    /// How often a call found its object busy, since the start.
    pub retries: u64,
    entries: Vec<Entry>,
    sleeping: usize,
    /// When the global lock is free, on the monotonic clock.
    free_at: Duration,
    /// Whose turn was the last one, by the task of the whole call: a call does not wait for itself, its own tries are part of the time
    /// that it takes.
    last: Text,
}

impl Waiters {
    /// How many calls sleep.
    pub fn sleeping(&self) -> usize {
        self.sleeping
    }

    /// Takes the next turn of the global lock and says when it begins.
    fn turn(&mut self, now: Duration, attempt: Duration, caller: Text) -> Duration {
        let begin = if self.last == caller { now } else { self.free_at.max(now) };
        self.last = caller;
        self.free_at = begin + attempt;
        begin
    }

    fn add(&mut self, key: Key) -> oneshot::Receiver<Duration> {
        let (wake, woken) = oneshot::channel();
        self.entries.push(Entry { key, wake: Some(wake) });
        self.sleeping += 1;
        woken
    }

    /// Takes the newest entry of an object out, whoever it belongs to.
    fn leave(&mut self, key: &Key) {
        // One that slept when the server was started anew is not counted any more.
        self.sleeping = self.sleeping.saturating_sub(1);
        if let Some(newest) = self.entries.iter().rposition(|entry| entry.key == *key) {
            self.entries.remove(newest);
        }
    }

    fn wake(&mut self, class: &str, object: &str, scale: f64, random: &mut impl RngCore) {
        let waiting = self.entries.iter_mut().filter(|entry| *entry.key.0 == *class && *entry.key.1 == *object);
        for wake in waiting.filter_map(|entry| entry.wake.take()) {
            // A sleeper whose call was given up meanwhile does not listen any more.
            let _ = wake.send(self.policy.wake.mul_f64(scale * unit(random)));
        }
    }
}

/// A number from 0 to 1, drawn evenly.
fn unit(random: &mut impl RngCore) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Tells those who wait for an object that its lock was released.
pub fn released(world: &mut World, class: &str, object: &str) {
    let scale = world.storage.timings.scale;
    world.storage.waiters.wake(class, object, scale, &mut world.random);
}

/// Runs `attempt` until it meets no other operation. It runs under the global lock, as one step, and must change nothing when it fails.
///
/// # Errors
/// What `attempt` fails with; OTHER_OPERATION_IN_PROGRESS only after two hours; TOO_MANY_PENDING_TASKS; TASK_CANCELLED.
pub async fn retry<T>(context: &Context, mut attempt: impl FnMut(&mut World) -> ApiResult<T>) -> ApiResult<T> {
    let mut waited = Duration::ZERO;
    loop {
        take_turn(context).await;
        let busy = match context.step(&mut attempt) {
            Err(error) if error.code == "OTHER_OPERATION_IN_PROGRESS" => error,
            outcome => return outcome,
        };
        if waited > context.step(|world| world.storage.waiters.policy.patience) {
            return Err(busy);
        }
        waited += sleep(context, key(&busy)).await?;
        context.check_cancelled()?;
    }
}

/// Waits for the global lock; while nobody else wants it that takes no time.
async fn take_turn(context: &Context) {
    let now = context.shared.clock.elapsed();
    let begin = context.step(|world| {
        let attempt = world.storage.timings.scaled(world.storage.waiters.policy.attempt);
        let outer = world.database.text("task", &context.task, "subtask_of");
        let caller = if is_null(&outer) { context.task.clone() } else { outer };
        world.storage.waiters.turn(now, attempt, caller)
    });
    if begin > now {
        context.work(begin - now).await;
    }
}

/// What the error says is busy: `[class, ref, ...]`, or `[class.operation, ref]` before 25.27.
fn key(busy: &ApiError) -> Key {
    let first = busy.params.first().map_or("", String::as_str);
    let class = first.split('.').next().unwrap_or(first);
    (class.into(), busy.params.get(1).map_or("", String::as_str).into())
}

/// Sleeps until somebody's operation ends or the time is over, and says how long that was meant to be.
async fn sleep(context: &Context, key: Key) -> ApiResult<Duration> {
    let (asleep, woken, time) = Asleep::begin(context, key)?;
    let timer = context.shared.clock.sleep(time);
    let delay = context
        .wait(async {
            tokio::select! {
                biased;
                delay = heard(woken) => delay,
                () = timer => Duration::ZERO,
            }
        })
        .await;
    if !delay.is_zero() {
        context.work(delay).await;
    }
    drop(asleep);
    Ok(time)
}

/// The delay after which to run; never, when the entry was taken out by another.
async fn heard(woken: oneshot::Receiver<Duration>) -> Duration {
    match woken.await {
        Ok(delay) => delay,
        Err(_) => std::future::pending().await,
    }
}

/// A place in the table, given up when dropped: also when the call is.
struct Asleep<'a> {
    context: &'a Context,
    key: Key,
}

impl<'a> Asleep<'a> {
    fn begin(context: &'a Context, key: Key) -> ApiResult<(Self, oneshot::Receiver<Duration>, Duration)> {
        context.step(|world| {
            let World { storage, random, .. } = world;
            let policy = &storage.waiters.policy;
            if storage.waiters.sleeping >= policy.most_sleepers {
                return Err(ApiError::bare("TOO_MANY_PENDING_TASKS"));
            }
            let time = policy.shortest + (policy.longest.saturating_sub(policy.shortest)).mul_f64(unit(random));
            let time = storage.timings.scaled(time).max(LEAST);
            storage.waiters.retries += 1;
            Ok((Self { context, key: key.clone() }, storage.waiters.add(key), time))
        })
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.context.step(|world| world.storage.waiters.leave(&self.key));
    }
}
