//! Everything that runs. One run of a policy on a pool at a time; the next slot is skipped while it works, and says so. A run whose
//! history could not be kept is driven again after a while, from where its row says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::SharedClock;
use crate::domain::id::PolicyId;
use crate::domain::policy::Policy;
use crate::engine::errand::Errand;
use crate::engine::error::Result;
use crate::engine::run::{self, Driven};
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::store::{NewRun, Run, SlotId, Store};

/// How long until a run whose history failed is driven again.
const AGAIN: Duration = Duration::from_secs(30);

/// The registry. Clones share it.
#[derive(Clone)]
pub struct Runs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: SharedClock,
    stop: CancellationToken,
    running: Mutex<HashMap<(PolicyId, Uuid), DateTime<Utc>>>,
    /// How many run, for whoever waits until none does.
    count: watch::Sender<usize>,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub enum Start {
    /// A slot that was claimed just now, or by an earlier life that did not come further.
    Slot(SlotId),
    /// A run that an earlier life began, or that has work again.
    Again(Box<Run>),
}

impl Runs {
    pub(super) fn new(store: Store, clock: SharedClock, stop: CancellationToken) -> Self {
        let count = watch::Sender::new(0);
        Self { inner: Arc::new(Inner { store, clock, stop, running: Mutex::default(), count }) }
    }

    /// The slot whose run works for this policy on this pool.
    pub fn running(&self, policy: &PolicyId, pool: Uuid) -> Option<DateTime<Utc>> {
        self.inner.lock().get(&(policy.clone(), pool)).copied()
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        *self.inner.count.borrow()
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

    /// Begins to drive a run, in a task of its own. False if a run of this policy works on this pool already.
    pub fn start(&self, site: &SharedSite, policy: &Arc<Policy>, due_at: DateTime<Utc>, start: Start) -> bool {
        let key = (policy.id.clone(), site.uuid.0);
        {
            let mut running = self.inner.lock();
            if running.contains_key(&key) {
                return false;
            }
            running.insert(key.clone(), due_at);
            self.inner.count.send_replace(running.len());
        }
        let entry = Entry { inner: Arc::clone(&self.inner), key };
        let mut worker = Worker::new(&self.inner.clock);
        let line = Line { inner: Arc::clone(&self.inner), site: Arc::clone(site), policy: Arc::clone(policy), start };
        tokio::spawn(async move {
            let _entry = entry;
            line.drive(&mut worker).await;
        });
        true
    }
}

/// Leaves the registry when it is dropped, also by a panic.
struct Entry {
    inner: Arc<Inner>,
    key: (PolicyId, Uuid),
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut running = self.inner.lock();
        running.remove(&self.key);
        self.inner.count.send_replace(running.len());
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<(PolicyId, Uuid), DateTime<Utc>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Line {
    inner: Arc<Inner>,
    site: SharedSite,
    policy: Arc<Policy>,
    start: Start,
}

impl Line {
    async fn drive(self, worker: &mut Worker) {
        loop {
            match self.once(worker).await {
                Ok(Driven::Done(_) | Driven::Stopped) => return,
                Err(error) => {
                    tracing::error!(policy = %self.policy.name, pool = %self.site.name(), error = %crate::xenapi::error::chain(&error), "a run cannot go on; it is tried again");
                }
            }
            let sleep = self.inner.clock.sleep(AGAIN);
            let stopped = async {
                tokio::select! { () = self.inner.stop.cancelled() => true, () = sleep => false }
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
            Start::Again(run) => store.run(run.id).await?,
        };
        let note = only_note(&run.policy, run.pool, run.due_at);
        let only = store.kept(&note).await?.map(|value| uuids(&value));
        let errand =
            Errand { site: Arc::clone(&self.site), policy: Arc::clone(&self.policy), run, drain: self.inner.stop.clone() };
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
