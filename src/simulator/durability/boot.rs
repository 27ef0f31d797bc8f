//! How a server starts: from which copy of the database, and what it finds beside it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Copy, Durable, guests, strays};
use crate::simulator::database::Database;
use crate::simulator::model::Model;
use crate::simulator::operations::device_lifecycle;
use crate::simulator::pool_database::{Kept, NOT_PERSISTENT};
use crate::simulator::storage::Storage;
use crate::simulator::value::{Ref, Value};
use crate::simulator::world::World;

/// How the life before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// In order: everything is written out.
    Clean,
    /// The process was killed: what was written out last is all there is.
    Killed,
    /// This host takes over as planned: it was given everything.
    Planned(Ref),
    /// This host takes over from a dead master, with what it received last.
    Emergency(Ref),
}

/// Turns the world of a server that has ended into that of one that starts. Sessions and tasks are gone, disks are as they were,
/// guests run on.
pub fn reboot(world: &mut World, start: &Start, now: DateTime<Utc>, elapsed: Duration) {
    let World { durable, database, .. } = world;
    durable.tick(elapsed, database);
    if let Some(copy) = copy(world, start) {
        replace(world, copy, start, elapsed);
    }
    forget_volatile(world);
    if let Start::Planned(host) | Start::Emergency(host) = start {
        crown(world, host);
    }
    note_start(world, now);
    let Durable { members, missing, strays, redo_log, .. } = std::mem::take(&mut world.durable);
    world.durable = Durable { members, missing, strays, redo_log, ..Durable::default() };
}

/// The copy of the database that the server starts with; none: the one it had in memory.
fn copy(world: &mut World, start: &Start) -> Option<Copy> {
    let ha = world.database.refs("pool").iter().any(|pool| world.database.bool("pool", pool, "ha_enabled"));
    let World { durable, database, .. } = world;
    if durable.frozen {
        return durable.disk.clone();
    }
    match start {
        Start::Clean => durable.flush(database),
        Start::Planned(_) => durable.sync(database),
        Start::Killed | Start::Emergency(_) if ha || durable.redo_log => {}
        Start::Killed => return durable.disk.clone(),
        Start::Emergency(host) => return durable.members.get(host).cloned(),
    }
    None
}

/// Puts an older database in place, and notes where the disks and the guests disagree with it.
fn replace(world: &mut World, copy: Copy, start: &Start, elapsed: Duration) {
    strays::prepare(world, &copy.database, elapsed);
    let dead = matches!(start, Start::Emergency(_)).then(|| world.master.clone());
    let before = std::mem::replace(&mut world.database, Database::clone(&copy.database));
    strays::compare(world, &before);
    guests::resync(world, &before, dead.as_ref());
    if let Some(kept) = &copy.kept {
        world.kept = Kept::clone(kept);
    }
}

fn forget_volatile(world: &mut World) {
    world.sessions.clear();
    world.local_sessions.clear();
    world.next_events = crate::simulator::events::Queue::default();
    world.task_sessions.clear();
    world.probation.clear();
    world.long_running.clear();
    world.exported = 0;
    for class in NOT_PERSISTENT {
        for reference in world.database.refs(class) {
            world.database.destroy(class, &reference);
        }
    }
    release_locks(world);
    world.database.forget_deletions();
    stop_waiting(&mut world.storage);
}

/// Calls that waited and collectors that worked are no more; how they wait and work stays as it was set.
fn stop_waiting(storage: &mut Storage) {
    let policy = std::mem::take(&mut storage.waiters).policy;
    storage.waiters.policy = policy;
    let set = std::mem::take(&mut storage.collector);
    let collector = &mut storage.collector;
    (collector.delay, collector.bytes_per_second, collector.stuck, collector.off) =
        (set.delay, set.bytes_per_second, set.stuck, set.off);
}

/// Locks of tasks that are no more.
fn release_locks(world: &mut World) {
    let locked = Model::get().classes().iter().filter(|class| class.column("current_operations").is_some());
    for class in locked {
        for reference in world.database.refs(&class.name) {
            let held = world.database.get(&class.name, &reference, "current_operations");
            if held.is_none_or(|map| map.members().is_empty()) {
                continue;
            }
            let _ = world.database.set(&class.name, &reference, "current_operations", Value::Map(Vec::new()));
            match &*class.name {
                "VM" => device_lifecycle::update_vm(world, &reference),
                "VDI" => device_lifecycle::update_vdi(world, &reference),
                "SR" => device_lifecycle::update_sr(world, &reference),
                "VBD" => device_lifecycle::update_vbd(world, &reference),
                _ => {}
            }
        }
    }
}

fn crown(world: &mut World, host: &Ref) {
    world.master = host.clone();
    for pool in world.database.refs("pool") {
        let _ = world.database.set("pool", &pool, "master", Value::Str(host.clone()));
    }
}

/// Clients recognise a restart by this key (MEASURED 20b).
fn note_start(world: &mut World, now: DateTime<Utc>) {
    let started = Value::str(format!("{}.", now.timestamp()));
    let master = world.master.clone();
    let _ = world.database.put("host", &master, "other_config", "agent_start_time", started);
}
