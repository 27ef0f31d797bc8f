//! What an operation may use: the world, its task, the clock, and who called.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::{ApiError, ApiResult};
use super::faults::Pace;
use super::front::Front;
use super::ledger::{Actor, Entry, Ledger};
use super::options::Options;
use super::value::{Ref, Text, Value};
use super::world::{Session, World};
use crate::clock::{Hold, SharedClock};

/// What all operations of one server share.
#[derive(Debug)]
pub struct Shared {
    /// Time.
    pub clock: SharedClock,
    /// Settings.
    pub options: Options,
    world: Mutex<World>,
    /// The database's generation, announced after each step that changed it; `event.from` waits on it.
    changed: watch::Sender<u64>,
    calls: Mutex<BTreeMap<String, u64>>,
    ledger: Mutex<Ledger>,
    fronts: RwLock<HashMap<Ref, Arc<Front>>>,
    background: TaskTracker,
    stopped: CancellationToken,
}

impl Shared {
    /// A server's shared state with the default options.
    pub fn new(clock: SharedClock, world: World) -> Self {
        Self::with_options(clock, world, Options::default())
    }

    /// A server's shared state.
    pub fn with_options(clock: SharedClock, mut world: World, options: Options) -> Self {
        world.database.keep_journal();
        world.database.keep_changes(options.witness.is_some());
        world.storage.faults = Some(Arc::clone(&options.faults));
        Self {
            clock,
            options,
            changed: watch::Sender::new(world.database.generation()),
            world: Mutex::new(world),
            calls: Mutex::default(),
            ledger: Mutex::default(),
            fronts: RwLock::default(),
            background: TaskTracker::new(),
            stopped: CancellationToken::new(),
        }
    }

    /// Runs one atomic step on the world and tells those who wait for changes.
    pub fn step<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        self.step_as(&Actor::server(), step)
    }

    /// Runs one atomic step in somebody's name.
    pub fn step_as<T>(&self, actor: &Actor, step: impl FnOnce(&mut World) -> T) -> T {
        let mut world = locked(&self.world);
        let World { durable, database, .. } = &mut *world;
        durable.tick(self.clock.elapsed(), database);
        let before = world.database.generation();
        let output = step(&mut world);
        let generation = world.database.generation();
        if generation != before {
            super::events::Queue::note_changes(&mut world, before, self.clock.now());
        }
        let journal = world.database.take_journal();
        if !journal.is_empty() {
            if let Some(witness) = &self.options.witness {
                witness.sees(self.clock.now(), actor, &journal, &world);
            }
            locked(&self.ledger).add(self.clock.now(), actor, journal);
        }
        drop(world);
        self.changed.send_if_modified(|seen| std::mem::replace(seen, generation) != generation);
        output
    }

    /// Wakes when the database changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes those who wait for changes, though the database did not change (a logout).
    pub fn nudge(&self) {
        self.changed.send_modify(|_| {});
    }

    /// How often each message was called, by its name as it was sent, such as `Async.VM.snapshot`. HTTP handlers count as
    /// `GET /export`.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        locked(&self.calls).clone()
    }

    /// Starts counting calls afresh.
    pub fn reset_calls(&self) {
        locked(&self.calls).clear();
    }

    /// Counts a call.
    pub fn count_call(&self, method: &str) {
        let mut calls = locked(&self.calls);
        match calls.get_mut(method) {
            Some(count) => *count += 1,
            None => drop(calls.insert(method.to_owned(), 1)),
        }
    }

    /// What was created and destroyed since the server started, in order.
    pub fn ledger(&self) -> Vec<Entry> {
        locked(&self.ledger).entries()
    }

    /// The front of a host, when it has one.
    pub fn front(&self, host: &str) -> Option<Arc<Front>> {
        self.fronts.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    /// Adds a host's front.
    pub fn add_front(&self, front: Arc<Front>) {
        self.fronts.write().unwrap_or_else(PoisonError::into_inner).insert(front.host.clone(), front);
    }

    /// Runs work that outlives its call, until the server stops.
    pub fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped.clone();
        self.background.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Told when the server stops, in order or not.
    pub fn stopped(&self) -> &CancellationToken {
        &self.stopped
    }

    /// Ends all work at once, as a killed process does, and waits until nothing runs any more.
    pub async fn stop(&self) {
        self.stopped.cancel();
        self.background.close();
        self.background.wait().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much too long a timer may take; what is more is no timer's doing, such as a hand clock that was moved far.
const TIMER: Duration = Duration::from_millis(4);

/// One call in progress.
#[derive(Debug)]
pub struct Context {
    /// The server.
    pub shared: Arc<Shared>,
    /// The task that stands for this call in `current_operations`; a row in the database for `Async` and for synchronous calls of
    /// classes that make tasks, a `DummyRef` otherwise.
    pub task: Ref,
    /// The session's reference.
    pub session: Ref,
    /// Who called.
    pub caller: Session,
    /// The message called, without `Async.`, such as `VM.snapshot`.
    pub method: Text,
    actor: Actor,
    /// How the work goes, under faults.
    pace: Pace,
    /// By how many nanoseconds the machine's timers have stretched the work so far: what follows is the shorter for it.
    overslept: Arc<AtomicU64>,
    hold: tokio::sync::Mutex<Hold>,
}

impl Context {
    /// A call's context; it holds the clock until it waits or is dropped.
    pub fn new(shared: Arc<Shared>, task: Ref, session: Ref, caller: Session, method: Text) -> Self {
        let hold = tokio::sync::Mutex::new(shared.clock.activity().hold());
        let actor = Actor { user: caller.user.clone(), originator: caller.originator.clone(), method: method.clone() };
        Self { shared, task, session, caller, method, actor, pace: Pace::default(), overslept: Arc::default(), hold }
    }

    /// A call that this one makes itself: at its pace, and in its time.
    #[must_use]
    pub fn inner(&self, task: Ref, method: Text) -> Self {
        let inner = Self::new(Arc::clone(&self.shared), task, self.session.clone(), self.caller.clone(), method);
        Self { pace: self.pace, overslept: Arc::clone(&self.overslept), ..inner }
    }

    /// The same call at another pace, as a fault wants it.
    #[must_use]
    pub fn at_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// One atomic step on the world.
    pub fn step<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        self.shared.step_as(&self.actor, step)
    }

    /// Lets simulated time pass: work that takes a while. Timers wake up to a millisecond late; a call has several, and its time is
    /// known to the millisecond, so that what one sleeps too long the next makes good.
    pub async fn work(&self, duration: Duration) {
        if self.pace.stuck {
            self.wait(std::future::pending::<()>()).await;
        }
        let owed = Duration::from_nanos(self.overslept.swap(0, Ordering::Relaxed));
        let (wanted, began) = (duration.mul_f64(self.pace.factor), self.shared.clock.elapsed());
        self.wait(self.shared.clock.sleep(wanted.saturating_sub(owed))).await;
        let over = (self.shared.clock.elapsed() - began + owed).saturating_sub(wanted).min(TIMER);
        self.overslept.store(u64::try_from(over.as_nanos()).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Waits for something else without holding the clock.
    pub async fn wait<F: Future>(&self, wait: F) -> F::Output {
        self.hold.lock().await.while_waiting(wait).await
    }

    /// Fails with TASK_CANCELLED once `task.cancel` was called on this call's task.
    ///
    /// # Errors
    /// TASK_CANCELLED.
    pub fn check_cancelled(&self) -> ApiResult<()> {
        let cancelling = self.step(|world| {
            let operations = world.database.get("task", &self.task, "current_operations");
            operations.is_some_and(|value| value.members().iter().any(|(_, operation)| *operation == Value::str("cancel")))
        });
        if cancelling { Err(ApiError::new("TASK_CANCELLED", [&*self.task])) } else { Ok(()) }
    }

    /// Shows how far the call has come, 0 to 1.
    pub fn progress(&self, share: f64) {
        self.step(|world| {
            // The row is absent for calls without a task, and may have been destroyed by its owner.
            let _ = world.database.set("task", &self.task, "progress", Value::Float(share));
        });
    }
}
