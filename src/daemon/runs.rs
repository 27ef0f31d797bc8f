//! Everything that runs. One run of a policy on a pool at a time; the next slot is skipped while it works, and says so; but not for a
//! run of an earlier life whose time is over. What has a row already, such as the run of an earlier life beside a slot that it claimed
//! last, waits for its turn. A run whose history could not be kept is driven again after a while, from where its row says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::SharedClock;
use crate::domain::id::PolicyId;
use crate::domain::policy::Policy;
use crate::engine::errand::Errand;
use crate::engine::error::Result;
use crate::engine::run::{self, Driven};
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::store::{EventKind, NewRun, Run, SlotId, Store};
use crate::telemetry::Fact;

/// How long until a run whose history failed is driven again.
const AGAIN: Duration = Duration::from_secs(30);

/// A policy on a pool.
type Key = (PolicyId, Uuid);

/// What runs, and what follows it.
struct Running {
    due_at: DateTime<Utc>,
    overlaps: bool,
    then: VecDeque<Line>,
}

/// The registry. Clones share it.
#[derive(Clone)]
pub struct Runs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: SharedClock,
    running: Mutex<HashMap<Key, Running>>,
    /// How many run, for whoever waits until none does.
    count: watch::Sender<usize>,
    /// Counts the runs that were left, for whoever waits for one of them.
    changes: watch::Sender<u64>,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub enum Start {
    /// A slot that was claimed just now, or by an earlier life that did not come further.
    Slot(SlotId),
    /// A run that an earlier life began, or that has work again.
    Again(Box<Run>),
    /// A run that an earlier life began, and whose open jobs are past their deadlines. It comes to its end, and no slot is skipped for it.
    Over(Box<Run>),
}

impl Start {
    /// Whether a slot that comes meanwhile is skipped.
    fn overlaps(&self) -> bool {
        !matches!(self, Self::Over(_))
    }
}

impl Runs {
    pub(super) fn new(store: Store, clock: SharedClock) -> Self {
        let (count, changes) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { inner: Arc::new(Inner { store, clock, running: Mutex::default(), count, changes }) }
    }

    /// The slot whose run works for this policy on this pool, and for which another slot is skipped.
    pub fn running(&self, policy: &PolicyId, pool: Uuid) -> Option<DateTime<Utc>> {
        self.inner.lock().get(&(policy.clone(), pool)).filter(|running| running.overlaps).map(|running| running.due_at)
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        *self.inner.count.borrow()
    }

    /// How many runs there are, as that changes.
    pub(super) fn count(&self) -> watch::Receiver<usize> {
        self.inner.count.subscribe()
    }

    /// True when nothing runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until nothing runs.
    pub async fn rest(&self) {
        let mut count = self.inner.count.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }

    /// Tells when a run has ended or was left.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Begins to drive a run, in a task of its own; after the one that works for this policy on this pool, if one does.
    pub fn start(&self, site: &SharedSite, policy: &Arc<Policy>, due_at: DateTime<Utc>, start: Start) {
        let line = Line { inner: Arc::clone(&self.inner), site: Arc::clone(site), policy: Arc::clone(policy), due_at, start };
        let key = line.key();
        {
            let mut running = self.inner.lock();
            if let Some(running) = running.get_mut(&key) {
                return running.then.push_back(line);
            }
            running.insert(key, Running { due_at, overlaps: line.start.overlaps(), then: VecDeque::new() });
            self.inner.count.send_replace(running.len());
        }
        line.spawn();
    }
}

/// Leaves the registry when it is dropped, also by a panic, and hands its place to whoever follows.
struct Entry {
    inner: Arc<Inner>,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(next) = self.inner.leave(&self.key) {
            next.spawn();
        }
        self.inner.changes.send_modify(|changes| *changes += 1);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a run off the registry, and what follows it; the place stays taken for that.
    fn leave(&self, key: &Key) -> Option<Line> {
        let mut registry = self.lock();
        let running = registry.get_mut(key)?;
        // What was to follow on a pool that was left is left too.
        running.then.retain(|next| !next.site.drain.is_cancelled());
        if let Some(next) = running.then.pop_front() {
            (running.due_at, running.overlaps) = (next.due_at, next.start.overlaps());
            return Some(next);
        }
        let left = registry.remove(key);
        self.count.send_replace(registry.len());
        // What waited holds the registry too.
        drop(registry);
        drop(left);
        None
    }
}

struct Line {
    inner: Arc<Inner>,
    site: SharedSite,
    policy: Arc<Policy>,
    due_at: DateTime<Utc>,
    start: Start,
}

impl Line {
    fn key(&self) -> Key {
        (self.policy.id.clone(), self.site.uuid.0)
    }

    /// In the registry there is an entry for it already.
    fn spawn(self) {
        let entry = Entry { inner: Arc::clone(&self.inner), key: self.key() };
        let mut worker = Worker::new(&self.inner.clock);
        tokio::spawn(async move {
            let _entry = entry;
            self.drive(&mut worker).await;
        });
    }

    async fn drive(self, worker: &mut Worker) {
        loop {
            match self.once(worker).await {
                Ok(Driven::Done(_) | Driven::Stopped) => return,
                Err(error) => {
                    let fact = Fact::new(EventKind::RunInterrupted).pool(self.site.name()).slot(self.due_at);
                    let why = crate::xenapi::error::chain(&error);
                    let text = format!("a run of policy {} cannot go on; it is tried again: {why}", self.policy.name);
                    fact.named_policy(self.policy.id.as_str(), &self.policy.name).say(&text);
                }
            }
            let sleep = self.inner.clock.sleep(AGAIN);
            let stopped = async {
                tokio::select! { () = self.site.drain.cancelled() => true, () = sleep => false }
            };
            if worker.wait(stopped).await {
                return;
            }
        }
    }

    async fn once(&self, worker: &mut Worker) -> Result<Driven> {
        let store = &self.inner.store;
        let run = match &self.start {
            Start::Slot(slot) => {
                let new = NewRun { slot: *slot, uuid: Uuid::new_v4(), observe: self.policy.observe };
                store.start_run(new, self.inner.clock.now()).await?
            }
            Start::Again(run) | Start::Over(run) => store.run(run.id).await?,
        };
        if run.outcome.is_some() {
            return Ok(Driven::Done(Box::new(run)));
        }
        let note = only_note(&run.policy, run.pool, run.due_at);
        let only = store.kept(&note).await?.map(|value| uuids(&value));
        let errand =
            Errand { site: Arc::clone(&self.site), policy: Arc::clone(&self.policy), run, drain: self.site.drain.clone() };
        let narrowed = only.is_some();
        let driven = run::drive(worker, errand, only).await?;
        if narrowed && matches!(driven, Driven::Done(_)) {
            store.drop_note(&note).await?;
        }
        Ok(driven)
    }
}

/// The note that narrows a run to the VMs that a person named. It is written before the slot is claimed.
pub fn only_note(policy: &str, pool: Uuid, due_at: DateTime<Utc>) -> String {
    format!("only/{policy}/{pool}/{}", due_at.timestamp_micros())
}

/// The value of such a note.
pub fn only_value(vms: &[Uuid]) -> Value {
    json!(vms)
}

fn uuids(value: &Value) -> Vec<Uuid> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}
