//! What really happened: seen where it happens, through all lives of the server. The service cannot reach it.
//!
//! An object is the service's if the service made it, or the server made it in a call of the service; it is known by its uuid, which
//! outlives a database that was forgotten and a scan that finds a disk again. Everything else is foreign.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::invariants::{Double, Held, Removal, Touch};
use crate::domain::mark::{KEY, Mark};
use crate::simulator::database::Row;
use crate::simulator::ledger::{Actor, Deed, Note, Witness};
use crate::simulator::model::Model;
use crate::simulator::value::{Text, Value, is_null};
use crate::simulator::world::World;

/// What the service calls itself at the server.
pub const ORIGINATOR: &str = "xensnap|torture";

/// What claims to the lease begin with (docs/LEASE.md).
const CLAIM: &str = "xensnap-lease-torture-";

/// Objects that live and go with the one they belong to.
const PARTS: [&str; 12] = [
    "VBD",
    "VIF",
    "VTPM",
    "VUSB",
    "console",
    "VBD_metrics",
    "VM_metrics",
    "VM_guest_metrics",
    "VIF_metrics",
    "message",
    "blob",
    "task",
];

/// Fields that the server writes by itself while somebody's call goes on.
const OF_THE_SERVER: [&str; 4] = ["current_operations", "allowed_operations", "physical_utilisation", "virtual_allocation"];

/// The ledger of a play.
#[derive(Debug, Default)]
pub struct Chronicle {
    seen: Mutex<Seen>,
}

/// What was seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Uuids of what the service made.
    pub own: HashSet<Text>,
    /// Foreign objects that the service changed or destroyed.
    pub touches: Vec<Touch>,
    /// Managed snapshots that the service destroyed, each with those that were there besides.
    pub removals: Vec<Removal>,
    /// Snapshots that were marked for a slot that had one.
    pub doubles: Vec<Double>,
    /// Whether a snapshot was whole when it was marked.
    whole: BTreeMap<Uuid, bool>,
    /// How many snapshots were taken for the service.
    pub taken: u64,
    /// What the pool's other_config has besides claims.
    pool_config: Option<Vec<(Text, Value)>>,
    /// VMs that the service's calls were the last to halt or suspend.
    pub halted: HashSet<Text>,
}

impl Chronicle {
    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// The managed snapshots of a world.
    pub fn held(&self, world: &World) -> Vec<Held> {
        self.lock().held(world)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Chronicle {
    fn sees(&self, at: DateTime<Utc>, actor: &Actor, notes: &[Note], world: &World) {
        let ours = &*actor.originator == ORIGINATOR;
        let mut seen = self.lock();
        notes.iter().for_each(|note| seen.powered(note, ours));
        for note in notes.iter().filter(|_| ours) {
            match note.deed {
                Deed::Created => seen.created(note),
                Deed::Destroyed => seen.destroyed(at, actor, note, world),
                Deed::Changed(field) => seen.changed(at, actor, note, field, world),
            }
        }
    }
}

impl Seen {
    fn created(&mut self, note: &Note) {
        self.own.extend(uuid(note));
        self.taken += u64::from(note.class == "VM");
    }

    fn destroyed(&mut self, at: DateTime<Utc>, actor: &Actor, note: &Note, world: &World) {
        self.touched(at, actor, note, "");
        if note.class == "VM"
            && let Some(removed) = self.of_row(&note.row)
        {
            let others = self.held(world).into_iter().filter(|held| (&held.policy, held.vm) == (&removed.policy, removed.vm));
            self.removals.push(Removal { at, others: others.collect(), removed });
        }
    }

    fn changed(&mut self, at: DateTime<Utc>, actor: &Actor, note: &Note, field: &'static str, world: &World) {
        let verb = actor.method.split_once('.').map_or("", |(_, verb)| verb);
        let sets = ["set_", "add_", "remove_"].iter().any(|begin| verb.starts_with(begin));
        if sets && !OF_THE_SERVER.contains(&field) && !self.is_only_a_claim(note, field) {
            self.touched(at, actor, note, field);
        }
        if (note.class, field) == ("VM", "other_config") {
            self.marked(at, note, world);
        }
    }

    /// Whether nothing of the pool's other_config changed but claims to the lease.
    fn is_only_a_claim(&mut self, note: &Note, field: &'static str) -> bool {
        if (note.class, field) != ("pool", "other_config") {
            return false;
        }
        let column = Model::get().class("pool").and_then(|class| class.column(field));
        let members = note.row.value(column.unwrap_or_default()).members().iter();
        let others: Vec<_> = members.filter(|(key, _)| !key.starts_with(CLAIM)).cloned().collect();
        let before = self.pool_config.replace(others.clone());
        before.is_none_or(|before| before == others)
    }

    /// Who was the last to halt a VM has to start it again.
    fn powered(&mut self, note: &Note, ours: bool) {
        let (Deed::Changed("power_state"), "VM", Some(vm)) = (note.deed, note.class, uuid(note)) else { return };
        if ours && *value(&note.row, "power_state") != Value::str("Running") {
            self.halted.insert(vm);
        } else {
            self.halted.remove(&vm);
        }
    }

    fn touched(&mut self, at: DateTime<Utc>, actor: &Actor, note: &Note, field: &str) {
        // Whoever asks for a scan, it is the server that drops the record of a disk whose volume is gone.
        if &*actor.method == "SR.scan" {
            return;
        }
        let own = uuid(note).is_some_and(|uuid| self.own.contains(&uuid));
        if !own && !PARTS.contains(&note.class) {
            let (class, object) = (note.class.to_owned(), uuid(note).unwrap_or_else(|| note.reference.clone()).to_string());
            self.touches.push(Touch { at, method: actor.method.to_string(), class, object, field: field.to_owned() });
        }
    }

    /// A snapshot gets its mark: is it whole, and the only one of its slot?
    fn marked(&mut self, at: DateTime<Utc>, note: &Note, world: &World) {
        let Some(mark) = mark(&note.row) else { return };
        self.whole.entry(mark.snapshot.0).or_insert_with(|| is_whole(world, &note.reference));
        let held = self.held(world);
        let Some(new) = held.iter().find(|held| held.snapshot == mark.snapshot.0 && held.whole).cloned() else { return };
        let same = |held: &&Held| held.whole && held.slot() == new.slot() && held.snapshot != new.snapshot;
        if let Some(old) = held.iter().find(same) {
            self.doubles.push(Double { at, first: old.clone(), second: new });
        }
    }

    fn held(&self, world: &World) -> Vec<Held> {
        world
            .database
            .rows("VM")
            .filter_map(|(reference, row)| {
                let mut held = self.of_row(row)?;
                held.whole &= has_its_disks(world, reference);
                Some(held)
            })
            .collect()
    }

    /// What a row of a snapshot says, if it carries a mark of its own.
    fn of_row(&self, row: &Row) -> Option<Held> {
        let mark = mark(row)?;
        let taken_at = value(row, "snapshot_time").as_date().unwrap_or(mark.due_at);
        let whole = self.whole.get(&mark.snapshot.0).copied().unwrap_or(true);
        let policy = mark.policy.to_string();
        Some(Held { snapshot: mark.snapshot.0, vm: mark.vm.0, policy, due_at: mark.due_at, taken_at, whole })
    }
}

fn value<'a>(row: &'a Row, field: &str) -> &'a Value {
    let column = Model::get().class("VM").and_then(|class| class.column(field));
    row.value(column.unwrap_or_default())
}

/// The mark of a snapshot that is its own.
fn mark(row: &Row) -> Option<Mark> {
    let mark = Mark::decode(value(row, "other_config").member(KEY)?.as_text()?).ok()?;
    let uuid: Uuid = value(row, "uuid").as_text()?.parse().ok()?;
    (mark.snapshot.0 == uuid && *value(row, "is_a_snapshot") == Value::Bool(true)).then_some(mark)
}

fn uuid(note: &Note) -> Option<Text> {
    let column = Model::get().class(note.class)?.column("uuid")?;
    note.row.value(column).as_text().cloned()
}

fn disks(world: &World, vm: &str) -> Vec<Text> {
    let database = &world.database;
    let vbds = database.texts("VM", vm, "VBDs").into_iter();
    let of_disks = vbds.filter(|vbd| &*database.text("VBD", vbd, "type") == "Disk");
    of_disks.map(|vbd| database.text("VBD", &vbd, "VDI")).filter(|vdi| !is_null(vdi)).collect()
}

/// Whether a snapshot has as many disks as its VM.
fn is_whole(world: &World, snapshot: &str) -> bool {
    let vm = world.database.text("VM", snapshot, "snapshot_of");
    disks(world, snapshot).len() >= disks(world, &vm).len()
}

/// Whether the disks of a snapshot are there, the volumes behind them too.
fn has_its_disks(world: &World, snapshot: &str) -> bool {
    disks(world, snapshot)
        .iter()
        .all(|vdi| world.database.exists("VDI", vdi) && !world.durable.is_missing(&world.database.text("VDI", vdi, "uuid")))
}
