//! Work in flight, as the clock knows it. The rule: whoever works holds the clock, and lets go of it exactly while it waits for
//! somebody else: an answer, a turn, a moment. Rows are written while it is held, because a disk is not on the wire.

use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::{Hold, SharedClock};
use crate::xenapi::{Call, CallError, Pool};

/// One line of work. Virtual time does not pass while it neither waits nor ends.
#[derive(Debug)]
pub struct Worker {
    clock: SharedClock,
    hold: Hold,
}

impl Worker {
    /// Begins to work. Make it before the task is spawned, so that no time passes in between.
    pub fn new(clock: &SharedClock) -> Self {
        Self { clock: clock.clone(), hold: clock.activity().hold() }
    }

    /// Another line of work beside this one.
    pub fn fork(&self) -> Self {
        Self::new(&self.clock)
    }

    /// Waits for something that others bring about.
    pub async fn wait<F: Future>(&mut self, wait: F) -> F::Output {
        self.hold.while_waiting(wait).await
    }

    /// Waits for a time.
    pub async fn sleep(&mut self, time: Duration) {
        let sleep = self.clock.sleep(time);
        self.wait(sleep).await;
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn call<R: DeserializeOwned + Send + 'static>(&mut self, pool: &Pool, call: Call<R>) -> Result<R, CallError> {
        self.wait(pool.call(call)).await
    }
}
