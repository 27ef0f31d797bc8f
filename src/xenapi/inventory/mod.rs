//! The pool's objects, kept up to date by the server's events. Readers always see one consistent state: batches are applied as a
//! whole, and a resynchronisation is built aside and put in place at once. Reading costs in proportion to what changed.

mod asked;
mod feed;
mod lookups;
mod reading;
mod tables;

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use asked::Asked;
pub use lookups::Disk;
pub use tables::{Kept, Table, Tables};

use super::connection::Core;
use super::patience::Patience;
use super::pool::Pool;
use super::records::EventClass;
use super::types::{Any, Ref};

/// Changes that are kept for a watcher who is slow.
const KEPT_CHANGES: usize = 4096;

/// A change of the inventory.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An object came or changed.
    Put(EventClass, Ref<Any>),
    /// An object is gone.
    Gone(EventClass, Ref<Any>),
    /// Everything was read anew; changes in between were not told one by one. A watcher that was too slow for the others' pace (its
    /// receiver says `Lagged`) has to act as on this.
    Resynchronised,
}

/// How far the inventory follows the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follows {
    /// It has not read everything once.
    NotYet,
    /// Up to date to within the server's delay.
    Live,
    /// Up to date as of the last reading: this server has no events, so everything is read from time to time.
    ByReading,
    /// It shows an old state, or none if there never was one, for this reason.
    Stale(String),
}

/// How the inventory stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How far it follows.
    pub follows: Follows,
    /// How often everything was read.
    pub synchronisations: u64,
    /// Grows with every batch that changed something.
    pub version: u64,
    /// The login (see [`super::Incarnation::number`]) that the state was read under.
    pub login: Option<u64>,
}

/// An inventory of one pool. Cheap to copy; the last copy ends it.
#[derive(Clone)]
pub struct Inventory {
    shared: Arc<Shared>,
    _ends: Arc<DropGuard>,
}

/// What the inventory and its feed share.
struct Shared {
    core: Arc<Core>,
    classes: Vec<EventClass>,
    tables: RwLock<Tables>,
    status: watch::Sender<Status>,
    changes: broadcast::Sender<Change>,
    /// Between two readings of everything, for servers without events.
    reading_every: Duration,
    /// Whether somebody wants to see what is there now, on such a server.
    asked: Asked,
}

/// One consistent state; the inventory does not move on while it is held, so hold it briefly.
pub struct View<'a>(RwLockReadGuard<'a, Tables>);

impl Deref for View<'_> {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.0
    }
}

impl Pool {
    /// Begins to follow the pool's objects of these classes. Returns at once; see [`Inventory::ready`].
    ///
    /// Needs a tokio runtime.
    pub fn inventory(&self, classes: &[EventClass]) -> Inventory {
        self.inventory_reading_every(classes, Duration::from_secs(60))
    }

    /// As [`Pool::inventory`]; servers without events (before 6.0) are read anew after each `pause`, on the clock.
    pub fn inventory_reading_every(&self, classes: &[EventClass], pause: Duration) -> Inventory {
        let status = Status { follows: Follows::NotYet, synchronisations: 0, version: 0, login: None };
        let shared = Arc::new(Shared {
            core: Arc::clone(&self.core),
            classes: classes.to_vec(),
            tables: RwLock::default(),
            status: watch::Sender::new(status),
            changes: broadcast::Sender::new(KEPT_CHANGES),
            reading_every: pause,
            asked: Asked::default(),
        });
        let stop: CancellationToken = self.core.stop.child_token();
        let at_work = self.core.clock.activity().hold();
        self.core.running.spawn(feed::run(Arc::clone(&shared), stop.clone(), at_work));
        Inventory { shared, _ends: Arc::new(stop.drop_guard()) }
    }
}

impl Inventory {
    /// The present state.
    pub fn read(&self) -> View<'_> {
        View(self.shared.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How it stands, now and later.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Every change from now on, in order.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// Says that somebody waits for what has just happened in the pool. A server that tells of changes by itself is not asked anything;
    /// one that does not is read soon, once for all who ask.
    pub fn look_soon(&self) {
        if self.shared.status.borrow().follows == Follows::ByReading {
            self.shared.asked.ask(&self.shared.core.clock);
        }
    }

    /// Waits until everything has been read once; at most `patience` on the clock. True if it has.
    pub async fn ready(&self, patience: Duration) -> bool {
        let mut status = self.status();
        let read_once = status.wait_for(|status| status.synchronisations > 0);
        matches!(Patience::new(&self.shared.core.clock, patience).wait_for(read_once).await, Some(Ok(_)))
    }
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.shared.status.borrow().clone();
        f.debug_struct("Inventory")
            .field("pool", &self.shared.core.settings.name)
            .field("status", &status)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Puts a state in place that was built aside.
    fn replace(&self, new: Tables, follows: Follows, login: Option<u64>) {
        // The old state may be large, and freeing it takes time; readers need not wait for that.
        let old = std::mem::replace(&mut *self.tables.write().unwrap_or_else(PoisonError::into_inner), new);
        self.status.send_modify(|status| {
            status.follows = follows;
            status.synchronisations += 1;
            status.version += 1;
            status.login = login;
        });
        let _ = self.changes.send(Change::Resynchronised);
        drop(old);
    }

    /// Says how it stands, if that is news.
    fn set_follows(&self, follows: Follows) {
        self.status.send_if_modified(|status| std::mem::replace(&mut status.follows, follows.clone()) != follows);
    }

    /// Tells of changes that are in place.
    fn announce(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.status.send_modify(|status| status.version += 1);
        for change in changes {
            let _ = self.changes.send(change);
        }
    }
}
