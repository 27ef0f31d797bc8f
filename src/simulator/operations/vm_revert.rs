//! VM.revert: the VM becomes what its snapshot was. Settings first, then disks, then the other devices.
//!
//! What becomes of the disks depends on the release: see `Generation`.

use std::sync::Arc;

use super::Args;
use super::clock::epoch;
use super::copies::{
    copy_other_devices, copy_part, copy_vbd, copy_vm, destroy_vbd, destroy_vif, fresh_generation_id, is_reference_set,
};
use super::device_lifecycle::{update_vdi, update_vm};
use super::locks::{Hold, holding};
use super::messages::about_vm;
use super::vm_clone::detach;
use super::vm_disks::{is_live, is_plugged_on};
use super::{subtask, vdi, vm_lifecycle, vm_power};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::model::release as named;
use crate::simulator::sexpr;
use crate::simulator::storage::driver;
use crate::simulator::storage::ledger::Split;
use crate::simulator::value::{Ref, Text, Value, is_null};
use crate::simulator::world::World;

/// What a revert does to disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// 5.6 to 6.5: all disks of the VM are destroyed, those of the snapshot cloned.
    All,
    /// 7.0 to 26.15: only disks that the snapshot has a state of are destroyed; those added since stay, unattached.
    Counterparts,
    /// From 26.16: disks go back in place where the driver can, else as before.
    InPlace,
}

impl Generation {
    fn of(world: &World) -> Self {
        match world.release {
            release if release < named("dundee") => Generation::All,
            release if release < named("26.16.0") => Generation::Counterparts,
            _ => Generation::InPlace,
        }
    }
}

/// VM.revert.
///
/// # Errors
/// REVERT_ONLY_ALLOWED_ON_SNAPSHOT, OPERATION_BLOCKED and the like before anything happens; later SR_BACKEND_FAILURE_44 or _109,
/// VDI_INCOMPATIBLE_TYPE, or VM_REVERT_FAILED for anything else.
pub async fn revert(context: Arc<Context>, args: Args) -> ApiResult {
    let snapshot = args.reference(0)?;
    let vm = context.step(|world| {
        world.database.check("VM", &snapshot)?;
        if !world.database.bool("VM", &snapshot, "is_a_snapshot") {
            return Err(vm_lifecycle::check(world, &snapshot, "revert", false)
                .err()
                .unwrap_or_else(|| ApiError::bare("REVERT_ONLY_ALLOWED_ON_SNAPSHOT")));
        }
        let vm = world.database.text("VM", &snapshot, "snapshot_of");
        if world.database.exists("VM", &vm) { Ok(vm) } else { recreate(world, &snapshot, &vm) }
    })?;
    holding(&context, &[Hold::vm(&snapshot, "revert"), Hold::vm(&vm, "reverting")], async {
        context.step(|world| {
            // From here on task.cancel has no effect.
            let _ = world.database.set("task", &context.task, "allowed_operations", Value::Set(Vec::new()));
            assert_memory_reachable(world, &snapshot)
        })?;
        go_back(&context, &snapshot, &vm).await
    })
    .await?;
    let (label, uuid) =
        context.step(|world| (world.database.text("VM", &snapshot, "name_label"), world.database.text("VM", &snapshot, "uuid")));
    about_vm(&context, "VM_SNAPSHOT_REVERTED", &vm, &format!("reverted to snapshot: {label} (uuid {uuid})"));
    Ok(Value::void())
}

/// The memory image of a snapshot must be on an SR that a live host can reach.
fn assert_memory_reachable(world: &World, snapshot: &str) -> ApiResult<()> {
    let image = world.database.text("VM", snapshot, "suspend_VDI");
    if &*world.database.text("VM", snapshot, "power_state") != "Suspended" || is_null(&image) {
        return Ok(());
    }
    let sr = world.database.text("VDI", &image, "SR");
    let hosts = world.database.refs("host");
    if hosts.iter().any(|host| is_live(world, host) && is_plugged_on(world, &sr, host)) {
        return Ok(());
    }
    Err(ApiError::new("HOST_NOT_LIVE", hosts.first().map(ToString::to_string)))
}

async fn go_back(context: &Context, snapshot: &Ref, vm: &Ref) -> ApiResult<()> {
    if &*context.step(|world| world.database.text("VM", vm, "power_state")) != "Halted" {
        subtask::run(context, "VM.hard_shutdown", |inner| async move { vm_power::shut_down(&inner, vm).await }).await?;
    }
    context.step(|world| revert_fields(world, snapshot, vm))?;
    context.progress(0.1);
    if let Err(error) = revert_disks(context, snapshot, vm).await {
        context.step(|world| {
            let _ = world.database.set("VM", vm, "power_state", Value::str("Halted"));
            update_vm(world, vm);
        });
        return Err(match &*error.code {
            "SR_BACKEND_FAILURE_44" | "SR_BACKEND_FAILURE_109" | "VDI_INCOMPATIBLE_TYPE" => error,
            _ => ApiError::new("VM_REVERT_FAILED", [&**snapshot, &**vm]),
        });
    }
    context.progress(0.6);
    context.step(|world| revert_devices(world, snapshot, vm))
}

/// Columns that a revert leaves as they are.
const KEPT: [&str; 17] = [
    "uuid",
    "suspend_VDI",
    "power_state",
    "parent",
    "current_operations",
    "allowed_operations",
    "metrics",
    "guest_metrics",
    "resident_on",
    "domid",
    "protection_policy",
    "snapshot_schedule",
    "scheduled_to_be_resident_on",
    "tags",
    "affinity",
    "generation_id",
    "ha_always_run",
];

/// What a snapshot from before 5.6 cannot bring back either.
const KEPT_WITHOUT_METADATA: [&str; 11] = [
    "name_label",
    "is_a_template",
    "is_default_template",
    "is_a_snapshot",
    "snapshot_of",
    "snapshot_time",
    "snapshot_info",
    "snapshot_metadata",
    "transportable_snapshot_id",
    "is_vmss_snapshot",
    "is_snapshot_from_vmpp",
];

/// Writes the settings that the snapshot remembers into the VM.
fn revert_fields(world: &mut World, snapshot: &Ref, vm: &Ref) -> ApiResult<()> {
    for (field, value) in remembered(world, snapshot)? {
        if !KEPT.contains(&field) && !is_reference_set(field) {
            world.database.set("VM", vm, field, value)?;
        }
    }
    world.database.set("VM", vm, "ha_always_run", Value::Bool(false))?;
    if !world.database.text("VM", vm, "generation_id").is_empty() {
        let fresh = fresh_generation_id(world);
        world.database.set("VM", vm, "generation_id", fresh)?;
    }
    Ok(())
}

/// The settings of the VM when the snapshot was taken.
fn remembered(world: &World, snapshot: &Ref) -> ApiResult<Vec<(&'static str, Value)>> {
    let metadata = world.database.text("VM", snapshot, "snapshot_metadata");
    let fields = sexpr::parse_metadata(&metadata).map_err(|error| ApiError::internal(error.to_string()))?;
    if !fields.is_empty() {
        return Ok(fields);
    }
    let own = super::copies::fields(world, "VM", snapshot)?;
    Ok(own.into_iter().filter(|(field, _)| !KEPT_WITHOUT_METADATA.contains(field)).collect())
}

/// Makes a VM that is gone again, with its old uuid, and hands it all its snapshots.
fn recreate(world: &mut World, snapshot: &Ref, gone: &Ref) -> ApiResult<Ref> {
    vm_lifecycle::check(world, snapshot, "revert", false)?;
    let fields = remembered(world, snapshot)?;
    let uuid = fields.iter().find(|(field, _)| *field == "uuid").map(|(_, value)| value.clone());
    let mut changes: Vec<(&'static str, Value)> = vec![
        ("is_a_template", Value::Bool(false)),
        ("is_a_snapshot", Value::Bool(false)),
        ("snapshot_of", Value::null()),
        ("snapshot_time", epoch()),
        ("snapshot_info", Value::Map(Vec::new())),
        ("snapshot_metadata", Value::str("")),
        ("transportable_snapshot_id", Value::str("")),
        ("is_vmss_snapshot", Value::Bool(false)),
        ("is_snapshot_from_vmpp", Value::Bool(false)),
        ("suspend_VDI", Value::null()),
        ("power_state", Value::str("Halted")),
        ("parent", Value::null()),
    ];
    changes.extend(fields.into_iter().filter(|(field, _)| !KEPT.contains(field) && !is_reference_set(field)));
    // Somebody may have imported the VM with its uuid meanwhile.
    let taken = uuid.as_ref().and_then(Value::as_text).is_some_and(|uuid| world.database.by_uuid("VM", uuid).is_some());
    changes.extend(uuid.filter(|_| !taken).map(|uuid| ("uuid", uuid)));
    let vm = copy_vm(world, snapshot, changes)?;
    // The newest stands first in the VM's set; the server ends with them in order.
    for sibling in world.database.refs("VM").into_iter().rev() {
        if world.database.text("VM", &sibling, "snapshot_of") == *gone {
            world.database.set("VM", &sibling, "snapshot_of", Value::str(vm.clone()))?;
        }
    }
    update_vm(world, &vm);
    Ok(vm)
}

/// A drive of the snapshot, and what it has on the VM's side.
#[derive(Debug, Clone)]
struct Counterpart {
    vbd: Ref,
    /// The snapshot's disk; none for CDs and empty drives.
    disk: Option<Ref>,
    /// The disk it is a state of.
    original: Ref,
    /// Whether the original goes back in place.
    in_place: bool,
}

async fn revert_disks(context: &Context, snapshot: &Ref, vm: &Ref) -> ApiResult<()> {
    let (generation, drives) = context.step(|world| (Generation::of(world), counterparts(world, snapshot)));
    for drive in drives.iter().filter(|drive| drive.in_place) {
        if let Some(disk) = &drive.disk {
            vdi::revert_in_place(context, disk, &drive.original).await?;
        }
    }
    let doomed = context.step(|world| take_out(world, vm, &drives, generation));
    for disk in &doomed {
        vdi::discard(context, disk).await;
    }
    context.progress(0.2);
    let made = clone_disks(context, snapshot, &drives).await?;
    context.step(|world| put_in(world, snapshot, vm, &drives, &made, generation))
}

fn counterparts(world: &World, snapshot: &Ref) -> Vec<Counterpart> {
    let database = &world.database;
    let generation = Generation::of(world);
    let drive = |vbd: Ref| {
        let disk = database.text("VBD", &vbd, "VDI");
        let is_disk = &*database.text("VBD", &vbd, "type") != "CD" && !is_null(&disk);
        let original = database.text("VDI", &disk, "snapshot_of");
        let in_place = is_disk
            && generation == Generation::InPlace
            && database.exists("VDI", &original)
            && driver::has_feature(world, &database.text("VDI", &disk, "SR"), "VDI_REVERT");
        Counterpart { vbd, disk: is_disk.then_some(disk), original, in_place }
    };
    database.texts("VM", snapshot, "VBDs").into_iter().map(drive).collect()
}

/// Takes all drives out of the VM but those that went back in place. The disks that are to be destroyed.
fn take_out(world: &mut World, vm: &Ref, drives: &[Counterpart], generation: Generation) -> Vec<Ref> {
    let mut doomed = Vec::new();
    let image = world.database.text("VM", vm, "suspend_VDI");
    for vbd in world.database.texts("VM", vm, "VBDs") {
        let vdi = world.database.text("VBD", &vbd, "VDI");
        let disk = &*world.database.text("VBD", &vbd, "type") != "CD" && !is_null(&vdi);
        if disk && drives.iter().any(|drive| drive.in_place && drive.original == vdi) {
            continue;
        }
        let counterpart = drives.iter().any(|drive| drive.disk.is_some() && drive.original == vdi);
        destroy_vbd(world, &vbd);
        update_vdi(world, &vdi);
        if disk && (counterpart || generation == Generation::All) {
            doomed.push(vdi);
        }
    }
    if !is_null(&image) {
        doomed.push(image);
        let _ = world.database.set("VM", vm, "suspend_VDI", Value::null());
    }
    doomed
}

/// Clones of the snapshot's disks, in the order of its drives, and of its memory.
struct Made {
    disks: Vec<Option<Ref>>,
    memory: Option<Ref>,
}

async fn clone_disks(context: &Context, snapshot: &Ref, drives: &[Counterpart]) -> ApiResult<Made> {
    let image = context.step(|world| world.database.text("VM", snapshot, "suspend_VDI"));
    let mut made = Made { disks: Vec::new(), memory: None };
    let wanted = drives.iter().map(|drive| drive.disk.clone().filter(|_| !drive.in_place));
    for disk in wanted.chain([Some(image).filter(|image| !is_null(image))]) {
        let clone = match disk {
            None => Ok(None),
            Some(disk) => vdi::split_as_task(context, &disk, Split::Clone).await.map(Some),
        };
        match clone {
            Ok(clone) => made.disks.push(clone),
            Err(error) => {
                for disk in made.disks.iter().flatten() {
                    vdi::discard(context, disk).await;
                }
                return Err(error);
            }
        }
    }
    made.memory = made.disks.pop().flatten();
    Ok(made)
}

fn put_in(
    world: &mut World,
    snapshot: &Ref,
    vm: &Ref,
    drives: &[Counterpart],
    made: &Made,
    generation: Generation,
) -> ApiResult<()> {
    for (drive, disk) in drives.iter().zip(&made.disks) {
        if let Some(disk) = disk.as_ref().filter(|_| generation != Generation::All) {
            relink(world, &drive.original, disk)?;
        }
        if !drive.in_place {
            copy_vbd(world, &drive.vbd, vm, disk.as_ref())?;
        }
    }
    let memory = made.memory.clone().map_or_else(Value::null, Value::str);
    world.database.set("VM", vm, "suspend_VDI", memory)?;
    if &*world.database.text("VM", snapshot, "power_state") != "Suspended" {
        detach(world, vm);
    }
    Ok(())
}

/// All snapshots of a disk become snapshots of its successor.
fn relink(world: &mut World, original: &Text, successor: &Ref) -> ApiResult<()> {
    if is_null(original) {
        return Ok(());
    }
    let sr = world.database.text("VDI", successor, "SR");
    for sibling in world.database.texts("SR", &sr, "VDIs") {
        if world.database.text("VDI", &sibling, "snapshot_of") == *original {
            world.database.set("VDI", &sibling, "snapshot_of", Value::str(successor.clone()))?;
        }
    }
    Ok(())
}

/// Network cards, TPMs and metrics are made anew from the snapshot's, and the VM takes the snapshot's power state.
fn revert_devices(world: &mut World, snapshot: &Ref, vm: &Ref) -> ApiResult<()> {
    for vif in world.database.texts("VM", vm, "VIFs") {
        destroy_vif(world, &vif);
    }
    for (set, class) in [("VTPMs", "VTPM"), ("VUSBs", "VUSB"), ("VGPUs", "VGPU")] {
        for device in world.database.texts("VM", vm, set) {
            world.database.destroy(class, &device);
        }
    }
    copy_other_devices(world, snapshot, vm, true)?;
    for (field, class) in [("guest_metrics", "VM_guest_metrics"), ("metrics", "VM_metrics")] {
        let old = world.database.text("VM", vm, field);
        let copy = copy_part(world, snapshot, field, class);
        world.database.set("VM", vm, field, Value::str(copy))?;
        world.database.destroy(class, &old);
    }
    let state = world.database.text("VM", snapshot, "power_state");
    world.database.set("VM", vm, "parent", Value::str(snapshot.clone()))?;
    world.database.set("VM", vm, "power_state", Value::str(state))?;
    update_vm(world, vm);
    Ok(())
}
