//! The pool behind one lock: the database, who is logged in, what the storage holds, and the ledger of what really happened.
//!
//! The lock is held for one step of an operation, never across a wait; so every step is atomic, and between two steps anything may
//! change, as on the real server.

use std::collections::HashMap;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::database::Database;
use super::model::Release;
use super::storage::Storage;
use super::value::{Ref, Text};

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Session {
    /// The user's name.
    pub user: Text,
    /// What the client called itself.
    pub originator: Text,
    /// The role; none: a local superuser, who may do everything.
    pub role: Option<Text>,
    /// True for the scheduler's own session, whose snapshots are marked `is_vmss_snapshot`.
    pub scheduler: bool,
}

/// Everything that is protected by the lock.
#[derive(Debug)]
pub struct World {
    /// The pool's database as the master has it in memory.
    pub database: Database,
    /// The release this server claims to be.
    pub release: Release,
    /// Who is logged in, by session reference. The rows are in the database too.
    pub sessions: HashMap<Ref, Session>,
    /// Who is logged in on one host only (`session.slave_local_login_with_password`), by session reference.
    pub local_sessions: HashMap<Ref, Ref>,
    /// Alerts.
    pub messages: super::messages::Messages,
    /// Which session a task belongs to.
    pub task_sessions: HashMap<Ref, Ref>,
    /// The progress of tasks that the garbage collector saw pending for too long.
    pub probation: HashMap<Ref, f64>,
    /// What `event.next` has to tell.
    pub next_events: super::events::Queue,
    /// The host that answers as pool master.
    pub master: Ref,
    /// Chance, reproducible from the seed.
    pub random: ChaCha8Rng,
    /// The number of the last domain; numbers are never used again.
    pub last_domain: i64,
    /// Long operations run one at a time on each host.
    pub long_running: HashMap<Ref, Arc<tokio::sync::Mutex<()>>>,
    /// What stands behind the SRs, and how long operations take.
    pub storage: Storage,
    /// How many objects of exports were given a name since the server started.
    pub exported: u64,
    /// What a loaded database held that has no place in the rows.
    pub kept: super::pool_database::Kept,
    /// What is written down, and where the disks disagree with it.
    pub durable: super::durability::Durable,
}

impl World {
    /// An empty pool.
    pub fn new(release: Release, seed: u64) -> Self {
        Self {
            database: Database::new(),
            release,
            sessions: HashMap::new(),
            local_sessions: HashMap::new(),
            messages: super::messages::Messages::default(),
            task_sessions: HashMap::new(),
            probation: HashMap::new(),
            next_events: super::events::Queue::default(),
            master: super::value::NULL.into(),
            random: ChaCha8Rng::seed_from_u64(seed),
            last_domain: 0,
            long_running: HashMap::new(),
            storage: Storage::new(seed),
            exported: 0,
            kept: super::pool_database::Kept::default(),
            durable: super::durability::Durable::default(),
        }
    }

    /// A fresh uuid.
    pub fn uuid(&mut self) -> Text {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into()
    }

    /// A fresh reference.
    pub fn reference(&mut self) -> Ref {
        format!("OpaqueRef:{}", self.uuid()).into()
    }
}
