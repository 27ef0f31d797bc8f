//! Keeps the rows of VDIs and SRs true to the volumes behind them: chains, sizes and free space.
//!
//! Each function is one atomic step; whoever calls it has the locks and has let the time pass. Sizes in rows are as stale as the real
//! server's: they change when an operation or a scan touches them, not while a guest writes.

use std::time::Duration;

use super::content::mix;
use super::driver::{Allocation, allocation_of};
use super::layout::{self, Role};
use super::volume::Volume;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Ref, Text, Value, is_null};
use crate::simulator::world::World;
use xxhash_rust::xxh64::xxh64;

/// When something happens: on the monotonic clock, and as the server writes it.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The monotonic clock.
    pub elapsed: Duration,
    /// The wall clock, as a date.
    pub date: Value,
}

/// What a split makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// A snapshot, which is not meant to be written.
    Snapshot,
    /// A disk of its own.
    Clone,
}

/// Makes sure that the volumes of a VDI and of those it stands on are known.
pub fn adopt(world: &mut World, vdi: &str, now: Duration) {
    let mut at: Ref = vdi.into();
    let mut above: Option<Text> = None;
    while world.database.exists("VDI", &at) {
        let uuid = world.database.text("VDI", &at, "uuid");
        let known = world.storage.volume(&uuid).is_some();
        if !known && world.durable.is_missing(&uuid) {
            return;
        }
        if !known {
            let volume = imagine(world, &at, now);
            world.storage.insert(uuid.clone(), volume);
        }
        if let Some(above) = above {
            world.storage.stand_on(&above, Some(uuid.clone()));
        }
        let parent = world.database.map_text("VDI", &at, "sm_config", "vhd-parent");
        let Some(parent) = parent.filter(|_| !known).and_then(|parent| world.database.by_uuid("VDI", &parent).cloned()) else {
            return;
        };
        above = Some(uuid);
        at = parent;
    }
}

/// The volume behind a row that nobody wrote through this server: as much data as the row admits to.
fn imagine(world: &World, vdi: &str, now: Duration) -> Volume {
    let database = &world.database;
    let (size, used) = (database.int("VDI", vdi, "virtual_size"), database.int("VDI", vdi, "physical_utilisation"));
    let allocation = allocation_of(world, &database.text("VDI", vdi, "SR"));
    let stands_on_another = database.map_text("VDI", vdi, "sm_config", "vhd-parent").is_some();
    let filled = match allocation {
        Allocation::Plain => 1.0,
        Allocation::Thin if used > 0 => (used as f64 / size.max(1) as f64).min(1.0),
        Allocation::Thick if used > 0 && used < layout::full(size) => {
            ((used - layout::EMPTY_VHD).max(0) as f64 / size.max(1) as f64).min(1.0)
        }
        _ if stands_on_another => 0.0,
        _ => world.storage.filled,
    };
    let seed = mix(world.storage.seed, xxh64(database.text("VDI", vdi, "uuid").as_bytes(), 0));
    let mut volume = Volume::filled(size, seed, filled);
    volume.allocated = if used > 0 { used } else { layout::allocated(&volume, allocation, role(world, vdi)) };
    volume.writing_since = is_written(world, vdi).then_some(now);
    volume
}

/// Whether a running guest has the disk in for writing.
pub fn is_written(world: &World, vdi: &str) -> bool {
    let database = &world.database;
    database.texts("VDI", vdi, "VBDs").iter().any(|vbd| {
        database.bool("VBD", vbd, "currently_attached")
            && *database.text("VBD", vbd, "mode") == *"RW"
            && *database.text("VM", &database.text("VBD", vbd, "VM"), "power_state") == *"Running"
    })
}

fn role(world: &World, vdi: &str) -> Role {
    let database = &world.database;
    let hidden = !database.bool("VDI", vdi, "managed");
    let snapshot = database.bool("VDI", vdi, "is_a_snapshot") && !is_attached(world, vdi);
    if hidden || snapshot { Role::Deflated } else { Role::Live }
}

/// Whether any VM has the disk in.
pub fn is_attached(world: &World, vdi: &str) -> bool {
    let database = &world.database;
    database.texts("VDI", vdi, "VBDs").iter().any(|vbd| database.bool("VBD", vbd, "currently_attached"))
}

/// Lets the guest's writing since the last look happen, and notes whether it goes on.
pub fn settle(world: &mut World, vdi: &str, now: Duration) {
    adopt(world, vdi, now);
    let writes = is_written(world, vdi);
    let uuid = world.database.text("VDI", vdi, "uuid");
    let World { storage, .. } = world;
    let since = storage.volume(&uuid).and_then(|volume| volume.writing_since);
    let share = since.map_or(0.0, |since| storage.share_written(now.saturating_sub(since)));
    if let Some(volume) = storage.volume_mut(&uuid) {
        volume.write_generated(share);
        volume.writing_since = writes.then_some(now);
    }
}

/// Brings the sizes in the rows of a VDI and its SR up to date with what the volume occupies.
pub fn account(world: &mut World, vdi: &str) {
    let sr = world.database.text("VDI", vdi, "SR");
    let (allocation, role) = (allocation_of(world, &sr), role(world, vdi));
    let uuid = world.database.text("VDI", vdi, "uuid");
    let Some(volume) = world.storage.volume_mut(&uuid) else { return };
    let occupied = layout::allocated(volume, allocation, role);
    let change = occupied - std::mem::replace(&mut volume.allocated, occupied);
    let _ = world.database.set("VDI", vdi, "physical_utilisation", Value::Int(occupied));
    grow(world, &sr, "physical_utilisation", change);
}

fn grow(world: &mut World, sr: &str, field: &str, by: i64) {
    let now = world.database.int("SR", sr, field);
    // An SR that is gone needs no books.
    let _ = world.database.set("SR", sr, field, Value::Int((now + by).max(0)));
}

/// Bytes that are free in an SR; as many as one likes where the size is not known.
pub fn free(world: &World, sr: &str) -> i64 {
    let size = world.database.int("SR", sr, "physical_size");
    let free = if size <= 0 { i64::MAX } else { size - world.database.int("SR", sr, "physical_utilisation") };
    world.storage.faults.as_ref().map_or(free, |faults| faults.squeeze(sr, free))
}

/// Fails when an SR has less than `required` bytes left.
///
/// # Errors
/// SR_BACKEND_FAILURE_44.
pub fn require(world: &World, sr: &str, required: i64) -> ApiResult<()> {
    if required > free(world, sr) { Err(no_space()) } else { Ok(()) }
}

/// What a full SR answers.
pub fn no_space() -> ApiError {
    ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""])
}

/// Splits a VHD: its data moves to a hidden parent, and a new leaf stands beside it. The new row's reference.
///
/// # Errors
/// SR_BACKEND_FAILURE_109 when the chain is too long, SR_BACKEND_FAILURE_44 without the space, UNIMPLEMENTED_IN_SM_BACKEND for a raw
/// volume in an SR of VHDs.
pub fn split(world: &mut World, vdi: &str, kind: Split, now: &Moment) -> ApiResult<Ref> {
    settle(world, vdi, now.elapsed);
    let sr = world.database.text("VDI", vdi, "SR");
    let uuid = world.database.text("VDI", vdi, "uuid");
    check_split(world, vdi, &sr, &uuid, kind)?;
    let base = hide(world, vdi, &sr, &uuid);
    let leaf = sprout(world, vdi, &sr, &base, kind, now);
    for row in [world.database.by_uuid("VDI", &base).cloned(), Some(vdi.into()), Some(leaf.clone())].into_iter().flatten() {
        account(world, &row);
    }
    Ok(leaf)
}

fn check_split(world: &World, vdi: &str, sr: &str, uuid: &str, kind: Split) -> ApiResult<()> {
    let raw =
        world.database.map_text("VDI", vdi, "sm_config", "type").or(world.database.map_text("VDI", vdi, "sm_config", "vdi_type"));
    if raw.is_some_and(|kind| matches!(&*kind, "raw" | "aio")) {
        return Err(ApiError::new("UNIMPLEMENTED_IN_SM_BACKEND", [sr]));
    }
    if world.storage.depth(uuid) >= world.storage.longest_chain {
        return Err(ApiError::new("SR_BACKEND_FAILURE_109", ["", "The snapshot chain is too long", ""]));
    }
    let Some(volume) = world.storage.volume(uuid) else {
        // A row whose data the storage has lost.
        return Err(ApiError::new(
            "SR_BACKEND_FAILURE_46",
            ["", &format!("The VDI is not available [opterr=no volume {uuid}]"), ""],
        ));
    };
    let snapshot = role(world, vdi) == Role::Deflated;
    require(world, sr, layout::required(volume, allocation_of(world, sr), snapshot, kind == Split::Clone))
}

/// Moves a leaf's data into a new hidden parent. The parent's uuid.
fn hide(world: &mut World, vdi: &str, sr: &str, uuid: &str) -> Text {
    let base = world.uuid();
    let size = world.database.int("VDI", vdi, "virtual_size");
    let parent = world.storage.volume(uuid).and_then(|volume| volume.parent().cloned());
    let mut hidden = Volume::empty(size, mix(world.storage.seed, xxh64(base.as_bytes(), 0)));
    hidden.layers = world.storage.volume_mut(uuid).map(Volume::hand_over).unwrap_or_default();
    world.storage.insert(base.clone(), hidden);
    world.storage.stand_on(&base, parent.clone());
    world.storage.stand_on(uuid, Some(base.clone()));
    let fields = [
        ("name_label", Value::str("base copy")),
        ("managed", Value::Bool(false)),
        ("read_only", Value::Bool(true)),
        ("sm_config", sm_config(world, sr, parent.as_ref())),
    ];
    let reference = world.reference();
    create_row(world, &reference, &base, sr, size, fields);
    name_parent(world, vdi, Some(&base));
    base
}

fn sprout(world: &mut World, vdi: &str, sr: &str, base: &Text, kind: Split, now: &Moment) -> Ref {
    let uuid = world.uuid();
    let size = world.database.int("VDI", vdi, "virtual_size");
    let seed = mix(world.storage.seed, xxh64(uuid.as_bytes(), 0));
    world.storage.insert(uuid.clone(), Volume::empty(size, seed));
    world.storage.stand_on(&uuid, Some(base.clone()));
    let snapshot = kind == Split::Snapshot;
    let copied = [
        "name_label",
        "name_description",
        "type",
        "sharable",
        "other_config",
        "xenstore_data",
        "on_boot",
        "allow_caching",
        "tags",
    ];
    let mut fields: Vec<(&str, Value)> =
        copied.iter().filter_map(|field| Some((*field, world.database.get("VDI", vdi, field)?.clone()))).collect();
    fields.push(("sm_config", sm_config(world, sr, Some(base))));
    fields.push(("is_a_snapshot", Value::Bool(snapshot)));
    fields.push(("snapshot_time", now.date.clone()));
    fields.push(("snapshot_of", if snapshot { Value::str(vdi) } else { Value::null() }));
    fields.push(("cbt_enabled", Value::Bool(snapshot && world.database.bool("VDI", vdi, "cbt_enabled"))));
    let reference = world.reference();
    create_row(world, &reference, &uuid, sr, size, fields)
}

/// Creates a VDI's row; fields that are not given are those of a plain managed disk.
pub fn create_row<'a>(
    world: &mut World,
    reference: &Ref,
    uuid: &Text,
    sr: &str,
    size: i64,
    fields: impl IntoIterator<Item = (&'a str, Value)>,
) -> Ref {
    let plain = [
        ("uuid", Value::str(uuid.clone())),
        ("location", Value::str(uuid.clone())),
        ("SR", Value::str(sr)),
        ("virtual_size", Value::Int(size)),
        ("type", Value::str("user")),
        ("managed", Value::Bool(true)),
        ("on_boot", Value::str("persist")),
        // The server leaves this reference empty rather than null.
        ("metadata_of_pool", Value::str("")),
    ];
    let row = world.database.create("VDI", reference.clone(), plain.into_iter().chain(fields));
    grow(world, sr, "virtual_allocation", size);
    row
}

/// What a driver writes about a VHD.
pub fn sm_config(world: &World, sr: &str, parent: Option<&Text>) -> Value {
    let lvm = matches!(super::driver::allocation(&world.database.text("SR", sr, "type")), Allocation::Thick);
    let vdi_type = lvm.then(|| ("vdi_type".into(), Value::str("vhd")));
    let parent = parent.map(|parent| ("vhd-parent".into(), Value::str(parent.clone())));
    Value::Map(vdi_type.into_iter().chain(parent).collect())
}

/// Writes a VDI's parent into its row.
pub fn name_parent(world: &mut World, vdi: &str, parent: Option<&Text>) {
    let _ = match parent {
        Some(parent) => world.database.put("VDI", vdi, "sm_config", "vhd-parent", Value::str(parent.clone())),
        None => world.database.take("VDI", vdi, "sm_config", "vhd-parent"),
    };
}

/// Removes a VDI's volume and row, and gives its space back. Whoever names the row must have been dealt with.
pub fn delete(world: &mut World, vdi: &str, now: Duration) {
    adopt(world, vdi, now);
    let (uuid, sr) = (world.database.text("VDI", vdi, "uuid"), world.database.text("VDI", vdi, "SR"));
    let size = world.database.int("VDI", vdi, "virtual_size");
    if let Some(volume) = world.storage.remove(&uuid) {
        grow(world, &sr, "physical_utilisation", -volume.allocated);
        if let Some(parent) = volume.parent().cloned() {
            world.storage.collector.suspect(&sr, parent);
        }
    }
    world.database.destroy("VDI", vdi);
    grow(world, &sr, "virtual_allocation", -size);
}

/// Creates an empty disk: row and volume.
///
/// # Errors
/// SR_BACKEND_FAILURE_44.
pub fn create<'a>(world: &mut World, sr: &str, size: i64, fields: impl IntoIterator<Item = (&'a str, Value)>) -> ApiResult<Ref> {
    let allocation = allocation_of(world, sr);
    let (uuid, reference) = (world.uuid(), world.reference());
    let volume = Volume::empty(size, mix(world.storage.seed, xxh64(uuid.as_bytes(), 0)));
    require(world, sr, layout::allocated(&volume, allocation, Role::Live))?;
    world.storage.insert(uuid.clone(), volume);
    let config = [("sm_config", sm_config(world, sr, None))];
    let row = create_row(world, &reference, &uuid, sr, size, config.into_iter().chain(fields));
    account(world, &row);
    Ok(row)
}

/// Changes a disk's size; the content up to the smaller size stays.
///
/// # Errors
/// SR_BACKEND_FAILURE_44.
pub fn resize(world: &mut World, vdi: &str, size: i64, now: Duration) -> ApiResult<()> {
    settle(world, vdi, now);
    let (uuid, sr) = (world.database.text("VDI", vdi, "uuid"), world.database.text("VDI", vdi, "SR"));
    let old = world.database.int("VDI", vdi, "virtual_size");
    if allocation_of(world, &sr) == Allocation::Thick {
        require(world, &sr, layout::full(size) - layout::full(old))?;
    }
    if let Some(volume) = world.storage.volume_mut(&uuid) {
        volume.virtual_size = size;
    }
    world.database.set("VDI", vdi, "virtual_size", Value::Int(size))?;
    grow(world, &sr, "virtual_allocation", size - old);
    account(world, vdi);
    Ok(())
}

/// Gives `to` the content of `from`, in one layer stack of its own; what `to` held goes.
pub fn copy_content(world: &mut World, from: &str, to: &str, now: Duration) {
    settle(world, from, now);
    settle(world, to, now);
    let (from, uuid) = (world.database.text("VDI", from, "uuid"), world.database.text("VDI", to, "uuid"));
    let mut layers = Vec::new();
    let mut at = Some(from);
    while let Some(volume) = at.as_ref().and_then(|uuid| world.storage.volume(uuid)) {
        layers.extend(volume.layers.iter().cloned());
        at = volume.parent().cloned();
    }
    if let Some(volume) = world.storage.volume_mut(&uuid) {
        volume.layers = layers;
        volume.open = false;
    }
    account(world, to);
}

/// Brings all sizes of an SR up to date, as a scan does.
pub fn scan(world: &mut World, sr: &str, now: Duration) {
    for vdi in world.database.texts("SR", sr, "VDIs") {
        settle(world, &vdi, now);
        account(world, &vdi);
    }
}

/// Makes sure that all volumes that stand on one are known.
pub fn adopt_children(world: &mut World, sr: &str, uuid: &str, now: Duration) {
    for vdi in world.database.texts("SR", sr, "VDIs") {
        let config = world.database.get("VDI", &vdi, "sm_config").and_then(|config| config.member("vhd-parent"));
        if config.and_then(Value::as_text).is_some_and(|parent| **parent == *uuid) {
            adopt(world, &vdi, now);
        }
    }
}

/// The hidden VDI that `vdi` stands on, if its row is there.
pub fn parent_of(world: &World, vdi: &str) -> Option<Ref> {
    let parent = world.database.map_text("VDI", vdi, "sm_config", "vhd-parent")?;
    world.database.by_uuid("VDI", &parent).cloned().filter(|parent| !is_null(parent))
}
