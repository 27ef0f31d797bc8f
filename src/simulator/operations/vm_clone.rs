//! VM.snapshot, VM.clone, VM.copy, VM.provision and VM.set_is_a_template: a VM's record and devices, made again.

use std::sync::Arc;

use super::Args;
use super::clock::{epoch, now};
use super::copies::{copy_other_devices, copy_vbd, copy_vm, destroy_vm, other_config};
use super::device_lifecycle::{update_vdi, update_vm};
use super::locks::{Hold, holding, release, take};
use super::messages;
use super::vdi;
use super::vm_disks::{self, Drive, How, assert_reachable};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::model::release as named;
use crate::simulator::sexpr;
use crate::simulator::storage::ledger::Split;
use crate::simulator::value::{Ref, Text, Value, is_null};
use crate::simulator::world::World;

/// VM.snapshot.
///
/// # Errors
/// Why the VM or one of its disks admits none.
pub async fn snapshot(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, name) = (args.reference(0)?, args.text(1)?);
    let ignored: Vec<Ref> = args.0.get(2).map_or(&[][..], Value::items).iter().filter_map(Value::as_text).cloned().collect();
    let made = holding(&context, &[Hold::vm(&vm, "snapshot")], async {
        context.step(|world| assert_reachable(world, &vm))?;
        make_snapshot(&context, &vm, &name, &ignored, Kind::disk(&context, &vm)).await
    })
    .await?;
    messages::about_vm(&context, "VM_SNAPSHOTTED", &vm, &format!("snapshotted, snapshot name: {name}"));
    Ok(Value::str(made))
}

/// What kind of snapshot is taken.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The operation's name.
    pub operation: &'static str,
    /// `snapshot_info`.
    pub info: Value,
    /// Whether the VM's memory image goes with it.
    pub with_memory: bool,
    /// The VSS set's identity.
    pub transportable: Text,
}

impl Kind {
    /// Disks only, as they are.
    fn disk(context: &Context, vm: &str) -> Self {
        let state = context.step(|world| world.database.text("VM", vm, "power_state"));
        Self { operation: "snapshot", info: info("crash_consistent", &state), with_memory: false, transportable: "".into() }
    }
}

/// `snapshot_info`.
pub fn info(disks: &str, state: &str) -> Value {
    Value::pairs([("disk-snapshot-type", disks), ("power-state-at-snapshot", state)])
}

/// Snapshots the disks and then copies the record; the VM is locked already.
///
/// # Errors
/// What a disk fails with; everything made so far is destroyed.
pub async fn make_snapshot(context: &Context, vm: &Ref, name: &Text, ignored: &[Ref], kind: Kind) -> ApiResult<Ref> {
    let mut drives = vm_disks::copy_all(context, vm, &How::Snapshot, ignored).await?;
    let memory = match memory_of(context, vm, &kind).await {
        Ok(memory) => memory,
        Err(error) => {
            vm_disks::discard(context, &drives).await;
            return Err(error);
        }
    };
    let made = match context.step(|world| snapshot_record(world, context, vm, name, &kind)) {
        Ok(made) => made,
        Err(error) => {
            drives.extend(memory.map(|disk| Drive { vbd: "".into(), disk: Some(disk) }));
            vm_disks::discard(context, &drives).await;
            return Err(error);
        }
    };
    let time = context.step(|world| world.storage.timings.of("VM.record"));
    context.work(time).await;
    let finished = context.step(|world| furnish(world, context, (vm, &made), &drives, memory.as_ref(), true));
    if let Err(error) = finished {
        context.step(|world| destroy_vm(world, &made));
        drives.extend(memory.map(|disk| Drive { vbd: "".into(), disk: Some(disk) }));
        vm_disks::discard(context, &drives).await;
        return Err(error);
    }
    Ok(made)
}

/// The snapshot of a suspended VM's memory image, when the snapshot is to have one.
async fn memory_of(context: &Context, vm: &Ref, kind: &Kind) -> ApiResult<Option<Ref>> {
    let image = context.step(|world| world.database.text("VM", vm, "suspend_VDI"));
    if !kind.with_memory || is_null(&image) {
        return Ok(None);
    }
    vdi::split_as_task(context, &image, Split::Snapshot).await.map(Some)
}

fn snapshot_record(world: &mut World, context: &Context, vm: &Ref, name: &Text, kind: &Kind) -> ApiResult<Ref> {
    let metadata = sexpr::metadata(&world.database, vm, world.release);
    let state = if kind.with_memory { "Suspended" } else { "Halted" };
    let scheduled = context.caller.scheduler;
    let changes = vec![
        ("name_label", Value::str(name.clone())),
        ("is_a_template", Value::Bool(true)),
        ("is_a_snapshot", Value::Bool(true)),
        ("snapshot_of", Value::str(vm.clone())),
        ("snapshot_time", now(context)),
        ("snapshot_info", kind.info.clone()),
        ("snapshot_metadata", Value::str(metadata)),
        ("transportable_snapshot_id", Value::str(kind.transportable.clone())),
        ("parent", Value::str(world.database.text("VM", vm, "parent"))),
        ("power_state", Value::str(state)),
        ("is_vmss_snapshot", Value::Bool(scheduled && world.release >= named("falcon"))),
        ("is_snapshot_from_vmpp", Value::Bool(scheduled && world.release < named("clearwater"))),
        ("current_operations", Value::pairs([(context.task.clone(), kind.operation)])),
    ];
    let made = copy_vm(world, vm, reset(world, vm).into_iter().chain(changes).collect())?;
    world.database.set("VM", vm, "parent", Value::str(made.clone()))?;
    Ok(made)
}

/// Fields that no copy of a VM has.
fn reset(world: &World, vm: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("blocked_operations", Value::Map(Vec::new())),
        ("other_config", Value::Map(other_config(world, vm))),
        ("protection_policy", Value::null()),
        ("snapshot_schedule", Value::null()),
        ("appliance", Value::null()),
        ("suspend_SR", Value::null()),
        ("suspend_VDI", Value::null()),
        ("order", Value::Int(0)),
        ("start_delay", Value::Int(0)),
        ("shutdown_delay", Value::Int(0)),
        ("version", Value::Int(0)),
        ("pending_guidances", Value::Set(Vec::new())),
        ("pending_guidances_recommended", Value::Set(Vec::new())),
        ("pending_guidances_full", Value::Set(Vec::new())),
    ]
}

/// Gives a new record its drives and other devices, and opens it for use.
fn furnish(
    world: &mut World,
    context: &Context,
    (source, made): (&Ref, &Ref),
    drives: &[Drive],
    memory: Option<&Ref>,
    snapshot: bool,
) -> ApiResult<()> {
    for drive in drives {
        let vbd = copy_vbd(world, &drive.vbd, made, drive.disk.as_ref())?;
        let disk = &*world.database.text("VBD", &vbd, "type") == "Disk";
        if disk && world.database.map_text("VBD", &vbd, "other_config", "owner").is_none() {
            world.database.put("VBD", &vbd, "other_config", "owner", Value::str(""))?;
        }
    }
    copy_other_devices(world, source, made, snapshot)?;
    world.database.set("VM", made, "suspend_VDI", memory.map_or_else(Value::null, |memory| Value::str(memory.clone())))?;
    world.database.take("VM", made, "current_operations", &context.task)?;
    if memory.is_none() {
        detach(world, made);
    }
    update_vm(world, made);
    if let Some(memory) = memory {
        update_vdi(world, memory);
    }
    Ok(())
}

/// Nothing of a halted VM is plugged.
pub fn detach(world: &mut World, vm: &str) {
    for (set, class) in [("VBDs", "VBD"), ("VIFs", "VIF")] {
        for device in world.database.texts("VM", vm, set) {
            let _ = world.database.set(class, &device, "currently_attached", Value::Bool(false));
            let _ = world.database.set(class, &device, "current_operations", Value::Map(Vec::new()));
        }
    }
}

/// VM.clone.
///
/// # Errors
/// Why the VM or one of its disks admits none.
pub async fn clone(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, name) = (args.reference(0)?, args.text(1)?);
    duplicate(&context, &vm, &name, "clone", How::Clone).await
}

/// VM.copy.
///
/// # Errors
/// Why the VM or one of its disks admits none; OPERATION_NOT_ALLOWED into an SR of ISOs.
pub async fn copy(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, name, sr) = (args.reference(0)?, args.text(1)?, args.reference(2)?);
    let target = if is_null(&sr) {
        None
    } else {
        let content = context.step(|world| {
            world.database.check("SR", &sr)?;
            ApiResult::Ok(world.database.text("SR", &sr, "content_type"))
        })?;
        if &*content == "iso" {
            return Err(ApiError::new("OPERATION_NOT_ALLOWED", ["Cannot copy a VM's disks to an ISO SR"]));
        }
        Some(sr)
    };
    duplicate(&context, &vm, &name, "copy", How::Copy(target)).await
}

async fn duplicate(context: &Context, vm: &Ref, name: &Text, operation: &'static str, how: How) -> ApiResult {
    holding(context, &[Hold::vm(vm, operation)], async {
        context.step(|world| assert_reachable(world, vm))?;
        let mut drives = vm_disks::copy_all(context, vm, &how, &[]).await?;
        let memory = match kept_memory(context, vm, &how).await {
            Ok(memory) => memory,
            Err(error) => {
                vm_disks::discard(context, &drives).await;
                return Err(error);
            }
        };
        let made = context.step(|world| {
            let made = clone_record(world, context, vm, name, operation, memory.is_some())?;
            furnish(world, context, (vm, &made), &drives, memory.as_ref(), false).map(|()| made)
        });
        if made.is_err() {
            drives.extend(memory.map(|disk| Drive { vbd: "".into(), disk: Some(disk) }));
            vm_disks::discard(context, &drives).await;
        }
        made.map(Value::str)
    })
    .await
}

/// The memory image of a suspended VM goes with its copy; that of a snapshot does not, because the server shuts such a copy down.
async fn kept_memory(context: &Context, vm: &Ref, how: &How) -> ApiResult<Option<Ref>> {
    let (image, snapshot) =
        context.step(|world| (world.database.text("VM", vm, "suspend_VDI"), world.database.bool("VM", vm, "is_a_snapshot")));
    if is_null(&image) || snapshot {
        return Ok(None);
    }
    let copied = match how {
        How::Copy(sr) => {
            let own = context.step(|world| world.database.text("VDI", &image, "SR"));
            vdi::copy_as_task(context, &image, sr.as_ref().unwrap_or(&own)).await
        }
        _ => vdi::split_as_task(context, &image, Split::Clone).await,
    };
    copied.map(Some)
}

fn clone_record(
    world: &mut World,
    context: &Context,
    vm: &Ref,
    name: &Text,
    operation: &'static str,
    suspended: bool,
) -> ApiResult<Ref> {
    let mut config = other_config(world, vm);
    let seed = world.uuid();
    match config.iter_mut().find(|(key, _)| &**key == "mac_seed") {
        Some((_, value)) => *value = Value::str(seed),
        None => config.push(("mac_seed".into(), Value::str(seed))),
    }
    let changes = vec![
        ("name_label", Value::str(name.clone())),
        ("other_config", Value::Map(config)),
        ("is_a_snapshot", Value::Bool(false)),
        ("snapshot_of", Value::null()),
        ("snapshot_time", epoch()),
        ("snapshot_info", Value::Map(Vec::new())),
        ("snapshot_metadata", Value::str("")),
        ("transportable_snapshot_id", Value::str("")),
        ("is_vmss_snapshot", Value::Bool(false)),
        ("is_snapshot_from_vmpp", Value::Bool(false)),
        ("parent", Value::null()),
        ("power_state", Value::str(if suspended { "Suspended" } else { "Halted" })),
        ("current_operations", Value::pairs([(context.task.clone(), operation)])),
    ];
    copy_vm(world, vm, reset(world, vm).into_iter().chain(changes).collect())
}

/// VM.provision: a template becomes a VM; the disks its `other_config` asks for are made.
///
/// # Errors
/// PROVISION_ONLY_ALLOWED_ON_TEMPLATE, VM_IS_SNAPSHOT and the like; what making a disk fails with.
pub async fn provision(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    take(&context, &[Hold::vm(&vm, "provision")]).await?;
    let outcome = provision_disks(&context, &vm).await;
    release(&context, &[Hold::vm(&vm, "provision")]).await;
    outcome?;
    Ok(Value::void())
}

async fn provision_disks(context: &Context, vm: &Ref) -> ApiResult<()> {
    let wanted = context.step(|world| {
        become_vm(world, context, vm)?;
        let disks = world.database.map_text("VM", vm, "other_config", "disks");
        world.database.take("VM", vm, "other_config", "disks")?;
        ApiResult::Ok(disks)
    })?;
    for disk in wanted.map(|text| wanted_disks(&text)).unwrap_or_default() {
        let sr = context.step(|world| disk_sr(world, &disk.sr))?;
        let made = vdi::create_in(context, &sr, disk.size, vec![("type", Value::str(disk.kind))], None).await?;
        context.step(|world| super::vbd::attach_new_disk(world, vm, &made, &disk.device, disk.bootable));
    }
    Ok(())
}

struct WantedDisk {
    device: String,
    size: i64,
    sr: String,
    bootable: bool,
    kind: String,
}

/// Reads `<provision><disk device="0" size="..." sr="" bootable="true" type="system"/></provision>`.
fn wanted_disks(text: &str) -> Vec<WantedDisk> {
    let attribute = |piece: &str, name: &str| {
        let from = piece.find(&format!("{name}=\""))? + name.len() + 2;
        piece[from..].split('"').next().map(str::to_owned)
    };
    let disk = |piece: &str| {
        Some(WantedDisk {
            device: attribute(piece, "device")?,
            size: attribute(piece, "size")?.parse().ok()?,
            sr: attribute(piece, "sr").unwrap_or_default(),
            bootable: attribute(piece, "bootable").is_some_and(|value| value == "true"),
            kind: attribute(piece, "type").unwrap_or_else(|| "system".to_owned()),
        })
    };
    text.split("<disk").skip(1).filter_map(disk).collect()
}

fn disk_sr(world: &World, uuid: &str) -> ApiResult<Ref> {
    let named = world.database.by_uuid("SR", uuid).cloned();
    let pool = world.database.refs("pool").into_iter().next().unwrap_or_default();
    let default = world.database.text("pool", &pool, "default_SR");
    let sr = named.unwrap_or(default);
    world.database.check("SR", &sr).map_err(|_| ApiError::new("DEFAULT_SR_NOT_FOUND", [&*sr]))?;
    Ok(sr)
}

/// VM.set_is_a_template. To false: no test and no lock, on a snapshot either. To true: only a halted VM, never a snapshot.
///
/// # Errors
/// Those of the tests, for true.
pub async fn set_is_a_template(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, value) = (args.reference(0)?, args.bool(1)?);
    if !value {
        context.step(|world| become_vm(world, &context, &vm))?;
        return Ok(Value::void());
    }
    holding(&context, &[Hold::vm(&vm, "make_into_template")], async {
        context.step(|world| {
            for vusb in world.database.texts("VM", &vm, "VUSBs") {
                world.database.destroy("VUSB", &vusb);
            }
            world.database.set("VM", &vm, "ha_always_run", Value::Bool(false))?;
            world.database.set("VM", &vm, "is_a_template", Value::Bool(true))?;
            Ok(Value::void())
        })
    })
    .await
}

fn become_vm(world: &mut World, context: &Context, vm: &Ref) -> ApiResult<()> {
    world.database.set("VM", vm, "is_a_template", Value::Bool(false))?;
    if super::vm_lifecycle::is_default_template(world, vm) {
        world.database.take("VM", vm, "other_config", "default_template")?;
        world.database.set("VM", vm, "is_default_template", Value::Bool(false))?;
    }
    let metrics = world.database.text("VM", vm, "metrics");
    if world.database.exists("VM_metrics", &metrics) {
        world.database.set("VM_metrics", &metrics, "install_time", now(context))?;
    }
    super::vm_lifecycle::update_allowed(world, vm);
    Ok(())
}
