//! When the server will not forget any more. What a server acknowledges it may forget for five minutes (MEASURED, Durability);
//! `pool.sync_database` writes it out at once, and one call serves everybody who came before it was sent.
//!
//! # The rules it keeps
//!
//! - Nobody is served by a call that was on its way already when he came: it may have been sent before his work was acknowledged.
//! - One call at a time, and not more often than the settings say. Callers make it themselves, one for all who wait; so nothing runs
//!   that nobody waits for, and if that one goes away another takes over.
//! - A success counts only if the server is still the one that acknowledged the work. After a restart the caller has to look first.
//! - Where a redo log makes every change durable no call is made, and where the role forbids the call only time helps.

mod leading;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use super::worker::Worker;
use crate::xenapi::failure::Kind;
use crate::xenapi::types::Ref;
use crate::xenapi::{CallError, ConnectError, Incarnation, Inventory, Pool, calls, records};
use leading::Leading;

/// So long it is believed what the pool said about its redo log, and that the role forbids the call.
const BELIEVED: Duration = Duration::from_secs(300);

/// How a barrier behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Two calls are at least so far apart.
    pub at_most_every: Duration,
    /// So long a caller waits where the role forbids the call. The server writes out by itself within 300 s.
    pub unsynchronised: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { at_most_every: Duration::from_secs(60), unsynchronised: Duration::from_secs(330) }
    }
}

/// Why what was acknowledged is durable now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The server was asked to write it out, and did; all members have it.
    Synchronised,
    /// The pool has a redo log (high availability), so that nothing acknowledged is lost.
    RedoLog,
    /// The role forbids the call; so much time has passed that the master has written it out by itself. Members may not have it.
    ByTime,
}

/// Why nobody can say that it is durable.
#[derive(Debug, Clone, Error)]
pub enum BarrierError {
    /// The server that acknowledged the work is gone, and may have taken some of it along.
    #[error("the server was restarted before it had written out what it acknowledged; look at the pool before going on")]
    ServerRestarted,
    /// There is no connection.
    #[error("the pool cannot be asked to write out its database; nothing is removed until it can")]
    NotConnected(#[source] Arc<ConnectError>),
    /// The call failed.
    #[error("the pool did not write out its database; nothing is removed until it does, so try again")]
    Failed(#[source] Arc<CallError>),
}

/// The barrier of one pool. Cheap to copy; all copies share the calls.
#[derive(Clone)]
pub struct Barrier {
    pool: Pool,
    inventory: Option<Inventory>,
    settings: Settings,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Changes whenever somebody who waits should look again.
    turned: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// How many calls have been sent.
    sent: u64,
    /// When the last one was, by the pool's clock.
    sent_at: Option<Duration>,
    /// Somebody is at it.
    led: bool,
    done: Option<Round>,
    /// What the pool has without any call.
    known: Option<Known>,
    warned: bool,
}

/// A call that was sent and answered.
#[derive(Clone)]
struct Round {
    number: u64,
    outcome: Result<(), Arc<CallError>>,
    /// Who answered.
    by: Option<Incarnation>,
}

/// What need not be asked again for a while.
#[derive(Debug, Clone, Copy)]
struct Known {
    login: u64,
    at: Duration,
    what: Durability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Call,
    RedoLog,
    Time,
}

/// A caller, as of when it came.
struct Entry {
    since: Incarnation,
    at: Duration,
    sent: u64,
}

enum Step {
    Done(Round),
    Known(Durability),
    Lead,
    Wait(watch::Receiver<u64>),
}

impl Barrier {
    /// A barrier; asks nothing of the pool yet.
    pub fn new(pool: Pool, settings: Settings) -> Self {
        Self { pool, inventory: None, settings, shared: Arc::default() }
    }

    /// With an inventory that follows the pool's own record: where that shows no redo log, nobody has to ask.
    #[must_use]
    pub fn beside(self, inventory: Inventory) -> Self {
        Self { inventory: Some(inventory), ..self }
    }

    /// True if the inventory shows that there is no redo log. Should there be one since a moment ago, a call is made in vain.
    fn shows_none(&self) -> bool {
        let Some(inventory) = &self.inventory else { return false };
        let tables = inventory.read();
        let mut pools = tables.all::<records::Pool>().peekable();
        pools.peek().is_some() && pools.all(|(_, pool)| !pool.has_redo_log())
    }

    /// Returns once everything the pool had acknowledged when this was called is durable.
    ///
    /// The server is taken to be the one of the last login; whoever has work of before that login asks with [`Barrier::pass_since`].
    ///
    /// # Errors
    /// [`BarrierError::ServerRestarted`] when the server may have forgotten it; otherwise when the pool cannot be asked.
    pub async fn pass(&self) -> Result<Passed, BarrierError> {
        let since = match self.pool.incarnation() {
            Some(incarnation) => incarnation,
            None => self.pool.connected().await.map_err(BarrierError::NotConnected)?,
        };
        self.pass_since(since).await
    }

    /// The same for work that the server of `since` acknowledged.
    ///
    /// # Errors
    /// As [`Barrier::pass`].
    pub async fn pass_since(&self, since: Incarnation) -> Result<Passed, BarrierError> {
        let entry = Entry { since, at: self.pool.clock().elapsed(), sent: self.lock().sent };
        loop {
            let step = self.step(&entry);
            match step {
                Step::Done(Round { outcome: Ok(()), by, .. }) => {
                    return entry.unless_restarted(by.as_ref(), Passed::Synchronised);
                }
                Step::Done(Round { outcome: Err(error), .. }) if error.kind() == Kind::Denied => {
                    return self.by_time(&entry).await;
                }
                Step::Done(Round { outcome: Err(error), .. }) => return Err(BarrierError::Failed(error)),
                Step::Known(Durability::RedoLog) => {
                    return entry.unless_restarted(self.pool.incarnation().as_ref(), Passed::RedoLog);
                }
                Step::Known(_) => return self.by_time(&entry).await,
                Step::Lead => Leading::of(self).serve().await,
                // The sender lives in `self`.
                Step::Wait(mut turned) => drop(turned.changed().await),
            }
        }
    }

    fn step(&self, entry: &Entry) -> Step {
        let mut state = self.lock();
        let done = state.done.as_ref().filter(|round| round.number > entry.sent);
        if let Some(round) = done {
            return Step::Done(round.clone());
        }
        if state.led {
            return Step::Wait(self.shared.turned.subscribe());
        }
        match self.known(&state) {
            Some(what) if what != Durability::Call => Step::Known(what),
            _ => {
                state.led = true;
                Step::Lead
            }
        }
    }

    /// What is known of the server of the last login, and not too old.
    fn known(&self, state: &State) -> Option<Durability> {
        let (known, login) = (state.known?, self.pool.incarnation()?.number);
        let fresh = self.pool.clock().elapsed().saturating_sub(known.at) < BELIEVED;
        (fresh && known.login == login).then_some(known.what)
    }

    fn note(&self, what: Durability) {
        let Some(login) = self.pool.incarnation().map(|incarnation| incarnation.number) else { return };
        self.lock().known = Some(Known { login, at: self.pool.clock().elapsed(), what });
    }

    /// Waits until the server has written out by itself, and asks whether it is still the same.
    async fn by_time(&self, entry: &Entry) -> Result<Passed, BarrierError> {
        let mut worker = Worker::new(self.pool.clock());
        let waited = self.pool.clock().elapsed().saturating_sub(entry.at);
        worker.sleep(self.settings.unsynchronised.saturating_sub(waited)).await;
        let pool = Ref::<records::Pool>::new(&entry.since.pool_ref);
        let looked = worker.call(&self.pool, calls::record(&pool)).await;
        let passed = entry.unless_restarted(self.pool.incarnation().as_ref(), Passed::ByTime)?;
        looked.map_err(|error| BarrierError::Failed(Arc::new(error)))?;
        Ok(passed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The same login means the same server: one that restarts forgets all sessions.
    fn unless_restarted(&self, now: Option<&Incarnation>, passed: Passed) -> Result<Passed, BarrierError> {
        let same = now.is_some_and(|now| now.number == self.since.number || now.is_same_server(&self.since));
        if same { Ok(passed) } else { Err(BarrierError::ServerRestarted) }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("pool", &self.pool.name()).field("settings", &self.settings).finish_non_exhaustive()
    }
}
