//! Where the disks and the database disagree after an accident, and how a scan makes them agree again.
//!
//! The rule: a scan tells what is there. Volumes without a record get one, with as much as the driver can know: LVM keeps names and
//! snapshot links beside the volumes, file systems keep nothing. Records without a volume go, and the drives that name them.

use std::time::Duration;

use super::Durable;
use crate::simulator::database::Database;
use crate::simulator::operations::copies;
use crate::simulator::storage::driver::{self, Allocation};
use crate::simulator::storage::ledger;
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// A volume without a record.
#[derive(Debug, Clone)]
pub(super) struct Stray {
    /// The SR's uuid.
    sr: Text,
    size: i64,
    managed: bool,
    /// What the driver can tell beside that.
    fields: Vec<(&'static str, Value)>,
    /// The uuid of the disk it is a snapshot of.
    snapshot_of: Option<Text>,
}

/// What LVM keeps beside a volume.
const KEPT_BY_LVM: [&str; 5] = ["name_label", "name_description", "type", "is_a_snapshot", "snapshot_time"];

impl Stray {
    /// What is known of a VDI beyond its record.
    fn of(database: &Database, vdi: &str) -> Self {
        let sr = database.text("VDI", vdi, "SR");
        let managed = database.bool("VDI", vdi, "managed");
        let lvm = driver::allocation(&database.text("SR", &sr, "type")) == Allocation::Thick;
        let kept = if lvm { &KEPT_BY_LVM[..] } else { &[] };
        let mut fields: Vec<_> =
            kept.iter().filter_map(|field| Some((*field, database.get("VDI", vdi, field)?.clone()))).collect();
        if !managed && !lvm {
            fields.push(("name_label", Value::str("base copy")));
        }
        fields.push(("read_only", Value::Bool(database.bool("VDI", vdi, "read_only"))));
        let original = database.text("VDI", &database.text("VDI", vdi, "snapshot_of"), "uuid");
        Self {
            sr: database.text("SR", &sr, "uuid"),
            size: database.int("VDI", vdi, "virtual_size"),
            managed,
            fields,
            snapshot_of: (lvm && !original.is_empty()).then_some(original),
        }
    }

    fn introduce(self, world: &mut World, uuid: &Text, sr: &Ref) {
        let reference = world.reference();
        let mut fields = self.fields;
        fields.push(("managed", Value::Bool(self.managed)));
        let parent = world.storage.volume(uuid).and_then(|volume| volume.parent().cloned());
        fields.push(("sm_config", ledger::sm_config(world, sr, parent.as_ref())));
        let original = self.snapshot_of.and_then(|original| world.database.by_uuid("VDI", &original).cloned());
        fields.push(("snapshot_of", original.map_or_else(Value::null, Value::Str)));
        ledger::create_row(world, &reference, uuid, sr, self.size, fields);
    }
}

/// What `SR.scan` finds out: records for volumes that have none, and none for volumes that are gone.
pub fn scanned(world: &mut World, sr: &Ref, now: Duration) {
    let uuid = world.database.text("SR", sr, "uuid");
    let mut found: Vec<Text> =
        world.durable.strays.iter().filter(|(_, stray)| stray.sr == uuid).map(|(uuid, _)| uuid.clone()).collect();
    found.sort();
    for stray in found {
        if let Some(known) = world.durable.strays.remove(&stray) {
            known.introduce(world, &stray, sr);
        }
    }
    let vdis = world.database.texts("SR", sr, "VDIs");
    for vdi in
        vdis.iter().filter(|vdi| world.durable.is_missing(&world.database.text("VDI", vdi, "uuid"))).cloned().collect::<Vec<_>>()
    {
        drop_ghost(world, &vdi);
    }
    agree_on_parents(world, sr, now);
}

fn drop_ghost(world: &mut World, vdi: &Ref) {
    for vbd in world.database.texts("VDI", vdi, "VBDs") {
        if &*world.database.text("VBD", &vbd, "type") == "CD" {
            let _ = world.database.set("VBD", &vbd, "VDI", Value::null());
            let _ = world.database.set("VBD", &vbd, "empty", Value::Bool(true));
        } else {
            copies::destroy_vbd(world, &vbd);
        }
    }
    let uuid = world.database.text("VDI", vdi, "uuid");
    world.durable.missing.remove(&uuid);
    world.database.destroy("VDI", vdi);
}

/// Rows may name hidden parents that were merged away meanwhile, or lack those that came.
fn agree_on_parents(world: &mut World, sr: &Ref, now: Duration) {
    for vdi in world.database.texts("SR", sr, "VDIs") {
        ledger::adopt(world, &vdi, now);
        let uuid = world.database.text("VDI", &vdi, "uuid");
        let Some(parent) = world.storage.volume(&uuid).map(|volume| volume.parent().cloned()) else { continue };
        if world.database.map_text("VDI", &vdi, "sm_config", "vhd-parent") != parent {
            ledger::name_parent(world, &vdi, parent.as_ref());
        }
    }
}

/// Makes sure that the volumes of disks which are about to be forgotten stay as they are.
pub(super) fn prepare(world: &mut World, next: &Database, now: Duration) {
    for vdi in world.database.refs("VDI") {
        if next.by_uuid("VDI", &world.database.text("VDI", &vdi, "uuid")).is_none() {
            ledger::adopt(world, &vdi, now);
        }
    }
}

/// Compares the disks, of which `before` knew, with the records that the server starts with.
pub(super) fn compare(world: &mut World, before: &Database) {
    let uuid = |database: &Database, vdi: &Ref| database.text("VDI", vdi, "uuid");
    let Durable { missing, strays, .. } = &world.durable;
    let there = |uuid: &Text| strays.contains_key(uuid) || (before.by_uuid("VDI", uuid).is_some() && !missing.contains(uuid));
    let recorded = |uuid: &Text| world.database.by_uuid("VDI", uuid).is_some();
    let now_missing =
        world.database.refs("VDI").iter().map(|vdi| uuid(&world.database, vdi)).filter(|uuid| !there(uuid)).collect();
    let forgotten = before.refs("VDI").into_iter().map(|vdi| (uuid(before, &vdi), vdi));
    let forgotten = forgotten.filter(|(uuid, _)| !missing.contains(uuid)).map(|(uuid, vdi)| (uuid, Stray::of(before, &vdi)));
    let known = strays.iter().map(|(uuid, stray)| (uuid.clone(), stray.clone()));
    let now_stray = known.chain(forgotten).filter(|(uuid, _)| !recorded(uuid)).collect();
    (world.durable.missing, world.durable.strays) = (now_missing, now_stray);
}
