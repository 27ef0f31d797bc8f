//! Whose turn it is on a storage repository. The server is fastest with one storage operation in flight per SR (MEASURED,
//! Concurrency), so whoever wants one queues here, and the next one leaves the moment the last one has ended.
//!
//! # The rules it keeps
//!
//! - On each SR no more operations are *in flight* than the limit, and no more than that are *staged*: next, with time to write down
//!   what they are about to do. Limits of host, pool and policy hold besides.
//! - An operation that needs several SRs gets all or none.
//! - Higher priority goes first; among equals policies take turns on each SR; within a policy the order is that of arrival.
//! - Nobody is overtaken for ever: who could not go when it was its turn, for want of something else, is let past twice and then has
//!   all it needs kept free.
//! - What is dropped, at any point, is out of the way at once.
//!
//! | file | idea |
//! | --- | --- |
//! | `need` | what one operation needs, as places with limits |
//! | `place` | who is at a place, who waits there, and whose turn it is among them |
//! | `book` | the pure state machine: arrive, leave, and who is staged or has the turn in consequence |
//! | `lanes` | those that need the same, in the order of their arrival |
//! | `call` | who of those that wait is next |

mod book;
mod call;
mod lanes;
mod need;
mod place;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::id::{HostUuid, PolicyId, SrUuid};
use crate::domain::policy::{self, Priority};
use book::{Book, Id, Move, Standing};

/// Limits of one pool: storage operations in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// On one SR.
    pub per_sr: NonZeroU32,
    /// Of VMs on one host.
    pub per_host: Option<NonZeroU32>,
    /// In the pool.
    pub per_pool: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_sr: NonZeroU32::MIN, per_host: None, per_pool: None }
    }
}

/// One storage operation that wants its turn.
#[derive(Debug, Clone)]
pub struct Request {
    /// On whose behalf.
    pub policy: PolicyId,
    /// Higher goes first.
    pub priority: Priority,
    /// The SRs it works on; empty for a VM without disks.
    pub srs: Vec<SrUuid>,
    /// Where the VM is, if anywhere.
    pub host: Option<HostUuid>,
    /// The policy's own, lower limits.
    pub own: policy::Limits,
}

/// What goes on at one SR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The SR.
    pub sr: SrUuid,
    /// Operations that have the turn.
    pub in_flight: u32,
    /// Operations that are next.
    pub staged: u32,
    /// Operations behind those.
    pub waiting: u32,
}

/// The turns of one pool. Cheap to copy; all copies share one queue.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    book: Book,
    standings: HashMap<Id, watch::Sender<Standing>>,
}

impl Shared {
    fn tell(&self, moves: Vec<Move>) {
        for Move { id, to } in moves {
            if let Some(standing) = self.standings.get(&id) {
                standing.send_replace(to);
            }
        }
    }
}

impl Admission {
    /// Turns for a pool with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { book: Book::new(limits), standings: HashMap::new() })) }
    }

    /// Waits until only the operations in flight stand before this one: the moment to write the intent down, so that the call can
    /// leave as soon as the turn comes. Its place in the queue is that of the moment this is first polled.
    pub async fn stage(&self, request: Request) -> Staged {
        let mut entry = self.enter(&request);
        entry.reached(Standing::Staged).await;
        Staged { entry }
    }

    /// What goes on at each SR that anybody wants, in the order of their uuids.
    pub fn queues(&self) -> Vec<Queue> {
        lock(&self.shared).book.queues()
    }

    fn enter(&self, request: &Request) -> Entry {
        let mut shared = lock(&self.shared);
        let (id, moves) = shared.book.arrive(request);
        let (sender, standing) = watch::channel(Standing::Waiting);
        shared.standings.insert(id, sender);
        shared.tell(moves);
        Entry { shared: Arc::clone(&self.shared), id, standing }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("queues", &self.queues()).finish()
    }
}

/// An operation that is next. Dropping it gives its place to another.
#[must_use = "dropping it gives the place to another"]
#[derive(Debug)]
pub struct Staged {
    entry: Entry,
}

impl Staged {
    /// Waits for the turn.
    pub async fn turn(self) -> Turn {
        let mut entry = self.entry;
        entry.reached(Standing::Turn).await;
        Turn { _entry: entry }
    }
}

/// The right to have one storage operation in flight. Dropping it passes the turn on at once.
#[must_use = "dropping it passes the turn on"]
#[derive(Debug)]
pub struct Turn {
    _entry: Entry,
}

/// A line of the book for as long as somebody cares about it.
struct Entry {
    shared: Arc<Mutex<Shared>>,
    id: Id,
    standing: watch::Receiver<Standing>,
}

impl Entry {
    async fn reached(&mut self, wanted: Standing) {
        // The sender lives in the book as long as this entry, so waiting cannot fail.
        let _ = self.standing.wait_for(|standing| *standing >= wanted).await;
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.id, *self.standing.borrow())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.standings.remove(&self.id);
        let moves = shared.book.leave(self.id);
        shared.tell(moves);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
