//! What an operation may use: the world, its task, the clock, and who called.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::error::{ApiError, ApiResult};
use super::value::{Ref, Text, Value};
use super::world::{Session, World};
use crate::clock::{Hold, SharedClock};

/// What all operations of one server share.
#[derive(Debug)]
pub struct Shared {
    /// Time.
    pub clock: SharedClock,
    world: Mutex<World>,
    /// The database's generation, announced after each step that changed it; `event.from` waits on it.
    changed: watch::Sender<u64>,
}

impl Shared {
    /// A server's shared state.
    pub fn new(clock: SharedClock, world: World) -> Self {
        let changed = watch::Sender::new(world.database.generation());
        Self { clock, world: Mutex::new(world), changed }
    }

    /// Runs one atomic step on the world and tells those who wait for changes.
    pub fn step<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        let output = step(&mut world);
        let generation = world.database.generation();
        drop(world);
        self.changed.send_if_modified(|seen| std::mem::replace(seen, generation) != generation);
        output
    }

    /// Wakes when the database changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    hold: tokio::sync::Mutex<Hold>,
}

impl Context {
    /// A call's context; it holds the clock until it waits or is dropped.
    pub fn new(shared: Arc<Shared>, task: Ref, session: Ref, caller: Session, method: Text) -> Self {
        let hold = tokio::sync::Mutex::new(shared.clock.activity().hold());
        Self { shared, task, session, caller, method, hold }
    }

    /// One atomic step on the world.
    pub fn step<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        self.shared.step(step)
    }

    /// Lets simulated time pass: work that takes a while.
    pub async fn work(&self, duration: Duration) {
        self.wait(self.shared.clock.sleep(duration)).await;
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
