//! What survives: the copies of the database on disk, and the disks themselves.
//!
//! The rules (MEASURED, Durability): the master writes its database out at most every five minutes, at a clean stop and at
//! `pool.sync_database`; members receive it at that call and once a day. A killed server starts with what was written last; a member
//! that is promoted in an emergency starts with what it received last. Disks do not forget: of a snapshot whose record is gone the
//! volumes stay until a scan finds them, and the record of a disk that was destroyed comes back without a volume.
//!
//! Nothing here runs by itself. Whether a write-out was due is found out before the next step on the world, which comes to the same,
//! and costs no sleeper of the clock.

mod boot;
mod guests;
mod strays;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use boot::{Start, reboot};
pub use strays::scanned;

use super::context::{Context, Shared};
use super::database::Database;
use super::error::{ApiError, ApiResult};
use super::faults::Order;
use super::operations::Args;
use super::pool_database::{Kept, Loaded};
use super::value::{Ref, Text, Value};
use strays::Stray;

/// The database is written out at most so often.
const FLUSH_EVERY: Duration = Duration::from_secs(300);
/// Members receive it so often.
const SYNC_EVERY: Duration = Duration::from_secs(86_400);
/// A host reboots so long after its database was restored.
const REBOOT_AFTER: Duration = Duration::from_secs(30);
/// So long it takes to be back.
const REBOOT_TAKES: Duration = Duration::from_secs(60);

/// A copy of the database that is written down somewhere.
#[derive(Debug, Clone)]
struct Copy {
    database: Arc<Database>,
    /// What a restored database brought along.
    kept: Option<Arc<Kept>>,
}

/// What is written down, and what stands on the disks beside it.
#[derive(Debug, Default)]
pub struct Durable {
    /// What the master wrote last; none: nothing yet.
    disk: Option<Copy>,
    /// What each member received last.
    members: HashMap<Ref, Copy>,
    next_flush: Duration,
    next_sync: Duration,
    /// Changes go to a redo log as well, as with HA: nothing is lost.
    pub redo_log: bool,
    /// A restored database waits for the reboot and must not be overwritten.
    frozen: bool,
    /// VDIs, by uuid, whose records are there and whose volumes are not.
    missing: HashSet<Text>,
    /// Volumes, by uuid, whose records are gone.
    strays: HashMap<Text, Stray>,
}

impl Durable {
    /// Writes the database out where that was due before now. Called with the world as it was since the last step.
    pub fn tick(&mut self, elapsed: Duration, database: &Database) {
        if self.disk.is_none() {
            // A server that starts has just read what it has; a pool that begins has it everywhere.
            self.flush(database);
            if self.members.is_empty() {
                self.sync(database);
            }
            (self.next_flush, self.next_sync) = (elapsed + FLUSH_EVERY, elapsed + SYNC_EVERY);
        }
        if elapsed >= self.next_flush {
            self.flush(database);
            self.next_flush = after(self.next_flush, FLUSH_EVERY, elapsed);
        }
        if elapsed >= self.next_sync {
            self.sync(database);
            self.next_sync = after(self.next_sync, SYNC_EVERY, elapsed);
        }
    }

    /// Writes the database out now, unless nothing has changed.
    pub fn flush(&mut self, database: &Database) {
        let written = self.disk.as_ref().map(|disk| disk.database.generation());
        if !self.frozen && written != Some(database.generation()) {
            self.disk = Some(Copy { database: Arc::new(database.clone()), kept: None });
        }
    }

    /// Writes the database out now and gives it to all members.
    pub fn sync(&mut self, database: &Database) {
        self.flush(database);
        let Some(copy) = &self.disk else { return };
        self.members = database.refs("host").into_iter().map(|host| (host, copy.clone())).collect();
    }

    /// Whether a VDI's record has no volume behind it.
    pub fn is_missing(&self, uuid: &str) -> bool {
        // Asked for every disk, and empty but after an accident.
        !self.missing.is_empty() && self.missing.contains(uuid)
    }

    /// How many volumes have no record: what a scan would bring back.
    pub fn strays(&self) -> usize {
        self.strays.len()
    }
}

/// The next multiple of a period after `elapsed`.
fn after(due: Duration, period: Duration, elapsed: Duration) -> Duration {
    let missed = (elapsed - due).as_nanos() / period.as_nanos();
    due + period * (u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1)
}

/// `pool.sync_database`.
///
/// # Errors
/// None.
pub async fn sync_database(context: Arc<Context>, _args: Args) -> ApiResult {
    let takes = context.step(|world| world.storage.timings.of("pool.sync_database"));
    context.work(takes).await;
    context.step(|world| world.durable.sync(&world.database));
    Ok(Value::void())
}

/// `pool.designate_new_master`: a planned change, after which every session is gone.
///
/// # Errors
/// HANDLE_INVALID; HOST_DISABLED.
pub async fn designate_new_master(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    context.step(|world| {
        world.database.check("host", &host)?;
        if !world.database.bool("host", &host, "enabled") {
            return Err(ApiError::new("HOST_DISABLED", [&*host]));
        }
        Ok(())
    })?;
    order(&context, Order::Promote { host: Some(host.to_string()), emergency: false });
    Ok(Value::void())
}

/// `pool.emergency_transition_to_master`, called on the member that is to be the master.
///
/// # Errors
/// HANDLE_INVALID for a session that belongs to no single host.
pub async fn emergency_transition_to_master(context: Arc<Context>, _args: Args) -> ApiResult {
    let here = context.step(|world| world.local_sessions.get(&context.session).cloned());
    let host = here.ok_or_else(|| ApiError::handle_invalid("session", &context.session))?;
    order(&context, Order::Promote { host: Some(host.to_string()), emergency: true });
    Ok(Value::void())
}

/// `host.restart_agent`: a clean restart of the server. On a member nothing that a client of the pool could see happens.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn restart_agent(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    let is_master = context.step(|world| world.database.check("host", &host).map(|()| world.master == host))?;
    if is_master {
        order(&context, Order::Stop { down: Some(Duration::from_secs(5)) });
    }
    Ok(Value::void())
}

fn order(context: &Context, order: Order) {
    context.shared.options.faults.order(order, Duration::ZERO);
}

/// Puts a database where the server finds it at its next start, and reboots the host after a while.
pub(super) fn restore(shared: &Shared, loaded: Loaded) {
    shared.step(|world| {
        world.durable.disk = Some(Copy { database: Arc::new(loaded.database), kept: Some(Arc::new(loaded.kept)) });
        world.durable.frozen = true;
    });
    shared.options.faults.order(Order::Kill { down: Some(REBOOT_TAKES) }, REBOOT_AFTER);
}
