//! VDI: what is done to disks. Every change takes the SR and the VDI, one at a time in each SR of the whole pool.

use std::sync::Arc;

use super::Args;
use super::clock::moment;
use super::device_lifecycle::{check_vdi, update_sr, update_vdi};
use super::locks::{Hold, holding};
use super::subtask;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::collector;
use crate::simulator::storage::ledger::{self, Split};
use crate::simulator::storage::volume::Volume;
use crate::simulator::value::{Ref, Value, is_null};
use crate::simulator::world::World;

/// The SR of a VDI.
///
/// # Errors
/// HANDLE_INVALID.
fn sr_of(context: &Context, vdi: &Ref) -> ApiResult<Ref> {
    context.step(|world| {
        world.database.check("VDI", vdi)?;
        Ok(world.database.text("VDI", vdi, "SR"))
    })
}

/// The locks of an operation on a disk.
fn holds(sr: &Ref, on_sr: &'static str, vdi: &Ref, on_vdi: &'static str) -> [Hold; 2] {
    [Hold::sr(sr, on_sr), Hold::vdi(vdi, on_vdi)]
}

/// Lets the time of a storage operation pass.
pub async fn work(context: &Context, operation: &str, sr: &Ref) {
    let time = context.step(|world| world.storage.timings.on(operation, &world.database.text("SR", sr, "type")));
    context.work(time).await;
}

/// VDI.snapshot.
///
/// # Errors
/// Why not: see the tests of [`super::device_lifecycle`] and of [`ledger::split`].
pub async fn snapshot(context: Arc<Context>, args: Args) -> ApiResult {
    Ok(Value::str(split(&context, &args.reference(0)?, Split::Snapshot).await?))
}

/// VDI.clone.
///
/// # Errors
/// As [`snapshot`].
pub async fn clone(context: Arc<Context>, args: Args) -> ApiResult {
    Ok(Value::str(split(&context, &args.reference(0)?, Split::Clone).await?))
}

async fn split(context: &Context, vdi: &Ref, kind: Split) -> ApiResult<Ref> {
    let sr = sr_of(context, vdi)?;
    let (on_sr, on_vdi, message) = match kind {
        Split::Snapshot => ("vdi_snapshot", "snapshot", "VDI.snapshot"),
        Split::Clone => ("vdi_clone", "clone", "VDI.clone"),
    };
    holding(context, &holds(&sr, on_sr, vdi, on_vdi), async {
        work(context, message, &sr).await;
        let now = moment(context);
        context.step(|world| {
            world.database.check("VDI", vdi)?;
            let leaf = ledger::split(world, vdi, kind, &now)?;
            let base = ledger::parent_of(world, &leaf);
            base.iter().chain([&leaf]).for_each(|made| update_vdi(world, made));
            Ok(leaf)
        })
    })
    .await
}

/// Snapshots or clones a disk as a task of its own, as the server does for each disk of a VM.
///
/// # Errors
/// As [`snapshot`].
pub async fn split_as_task(context: &Context, vdi: &Ref, kind: Split) -> ApiResult<Ref> {
    let label = if kind == Split::Snapshot { "Async.VDI.snapshot" } else { "Async.VDI.clone" };
    subtask::run(context, label, |inner| async move {
        heed_parent(&inner)?;
        split(&inner, vdi, kind).await
    })
    .await
}

/// Copies a disk into an SR as a task of its own.
///
/// # Errors
/// As [`copy`].
pub async fn copy_as_task(context: &Context, vdi: &Ref, sr: &Ref) -> ApiResult<Ref> {
    subtask::run(context, "Async.VDI.copy", |inner| async move {
        heed_parent(&inner)?;
        copy_into(&inner, vdi, sr, None).await
    })
    .await
}

/// A task inside a task ends when the outer one is to end.
fn heed_parent(inner: &Context) -> ApiResult<()> {
    let cancelling = inner.step(|world| {
        let parent = world.database.text("task", &inner.task, "subtask_of");
        let operations = world.database.get("task", &parent, "current_operations");
        operations.is_some_and(|map| map.members().iter().any(|(_, operation)| *operation == Value::str("cancel")))
    });
    if cancelling { Err(ApiError::new("TASK_CANCELLED", [&*inner.task])) } else { Ok(()) }
}

/// VDI.copy.
///
/// # Errors
/// HANDLE_INVALID, VDI_IN_USE and the like, SR_BACKEND_FAILURE_44.
pub async fn copy(context: Arc<Context>, args: Args) -> ApiResult {
    let into = args.reference(3).ok().filter(|into| !is_null(into));
    let sr = match &into {
        Some(into) => sr_of(&context, into)?,
        None => args.reference(1)?,
    };
    Ok(Value::str(copy_into(&context, &args.reference(0)?, &sr, into).await?))
}

/// Copies a disk's content. Neither SR is held meanwhile; only the source's row says `copy`.
///
/// # Errors
/// As [`copy`].
pub async fn copy_into(context: &Context, vdi: &Ref, sr: &Ref, into: Option<Ref>) -> ApiResult<Ref> {
    sr_of(context, vdi)?;
    context.step(|world| world.database.check("SR", sr))?;
    holding(context, &[Hold::vdi(vdi, "copy")], async {
        let target = match into {
            Some(into) => into,
            None => create_copy(context, vdi, sr).await?,
        };
        let bytes = context.step(|world| {
            ledger::settle(world, vdi, context.shared.clock.elapsed());
            let uuid = world.database.text("VDI", vdi, "uuid");
            let data = world.storage.volume(&uuid).map_or(0, Volume::data);
            world.storage.timings.moving(data, world.storage.timings.copy_bytes_per_second)
        });
        context.work(bytes).await;
        if let Err(cancelled) = context.check_cancelled() {
            discard(context, &target).await;
            return Err(cancelled);
        }
        context.step(|world| {
            world.database.check("VDI", vdi)?;
            world.database.check("VDI", &target)?;
            ledger::copy_content(world, vdi, &target, context.shared.clock.elapsed());
            mark_content(world, vdi, &target)?;
            Ok(target)
        })
    })
    .await
}

/// Both disks bear the same mark for what they hold, which their snapshots and clones inherit.
fn mark_content(world: &mut World, from: &Ref, to: &Ref) -> ApiResult<()> {
    let known = world.database.map_text("VDI", from, "other_config", "content_id");
    let content = known.unwrap_or_else(|| world.uuid());
    for vdi in [from, to] {
        world.database.put("VDI", vdi, "other_config", "content_id", Value::str(content.clone()))?;
    }
    Ok(())
}

async fn create_copy(context: &Context, vdi: &Ref, sr: &Ref) -> ApiResult<Ref> {
    holding(context, &[Hold::sr(sr, "vdi_create")], async {
        work(context, "VDI.copy", sr).await;
        context.step(|world| {
            let copied =
                ["name_label", "name_description", "type", "sharable", "other_config", "xenstore_data", "on_boot", "tags"];
            let fields: Vec<_> =
                copied.iter().filter_map(|field| Some((*field, world.database.get("VDI", vdi, field)?.clone()))).collect();
            let made = ledger::create(world, sr, world.database.int("VDI", vdi, "virtual_size"), fields)?;
            update_vdi(world, &made);
            Ok(made)
        })
    })
    .await
}

/// VDI.create.
///
/// # Errors
/// SR_BACKEND_FAILURE_44, SR_OPERATION_NOT_SUPPORTED and the like.
pub async fn create(context: Arc<Context>, args: Args) -> ApiResult {
    let record = args.0.first().cloned().unwrap_or(Value::Map(Vec::new()));
    let text = |field: &str| record.member(field).and_then(Value::as_text).cloned().unwrap_or_default();
    let (sr, kind) = (text("SR"), text("type"));
    let size = match record.member("virtual_size") {
        Some(Value::Int(size)) => *size,
        _ => 0,
    };
    if size <= 0 && &*kind != "metadata" {
        return Err(ApiError::new(
            "SR_BACKEND_FAILURE_79",
            ["", "VDI Invalid size [opterr=VDI size must be between 1 MB and 2093050 MB]", ""],
        ));
    }
    let given = ["name_label", "name_description", "type", "sharable", "read_only", "other_config", "xenstore_data", "tags"];
    let fields: Vec<(&str, Value)> = given.iter().filter_map(|field| Some((*field, record.member(field)?.clone()))).collect();
    let config = record.member("sm_config").cloned();
    Ok(Value::str(create_in(&context, &sr, size, fields, config).await?))
}

/// Creates a disk in an SR, holding it.
///
/// # Errors
/// As [`create`].
pub async fn create_in(
    context: &Context,
    sr: &Ref,
    size: i64,
    fields: Vec<(&'static str, Value)>,
    config: Option<Value>,
) -> ApiResult<Ref> {
    holding(context, &[Hold::sr(sr, "vdi_create")], async {
        work(context, "VDI.create", sr).await;
        context.step(|world| {
            let made = ledger::create(world, sr, size, fields)?;
            for (key, value) in config.iter().flat_map(Value::members) {
                world.database.put("VDI", &made, "sm_config", key, value.clone())?;
            }
            update_vdi(world, &made);
            Ok(made)
        })
    })
    .await
}

/// VDI.destroy.
///
/// # Errors
/// VDI_IN_USE, VDI_NOT_MANAGED, SR_OPERATION_NOT_SUPPORTED and the like; HANDLE_INVALID when it is gone, also after waiting.
pub async fn destroy(context: Arc<Context>, args: Args) -> ApiResult {
    destroy_vdi(&context, &args.reference(0)?).await?;
    Ok(Value::void())
}

/// Destroys a disk.
///
/// # Errors
/// As [`destroy`].
pub async fn destroy_vdi(context: &Context, vdi: &Ref) -> ApiResult<()> {
    let sr = sr_of(context, vdi)?;
    let managed = context.step(|world| world.database.bool("VDI", vdi, "managed"));
    if !managed {
        context.step(|world| check_vdi(world, vdi, "destroy"))?;
        return Err(ApiError::new("VDI_NOT_MANAGED", [&**vdi]));
    }
    holding(context, &holds(&sr, "vdi_destroy", vdi, "destroy"), async {
        work(context, "VDI.destroy", &sr).await;
        context.step(|world| {
            world.database.check("VDI", vdi)?;
            forget_row(world, context, vdi);
            Ok(())
        })
    })
    .await?;
    collector::kick(&context.shared, &sr);
    Ok(())
}

/// Destroys a disk of which nobody needs to hear when that fails.
pub async fn discard(context: &Context, vdi: &Ref) {
    let _ = destroy_vdi(context, vdi).await;
}

/// Removes a disk and every trace of it: drives are emptied, other VBDs go with it, and no VM names it as its memory.
fn forget_row(world: &mut World, context: &Context, vdi: &Ref) {
    for vbd in world.database.texts("VDI", vdi, "VBDs") {
        if &*world.database.text("VBD", &vbd, "type") == "CD" {
            let _ = world.database.set("VBD", &vbd, "VDI", Value::null());
            let _ = world.database.set("VBD", &vbd, "empty", Value::Bool(true));
            super::device_lifecycle::update_vbd(world, &vbd);
        } else {
            super::copies::destroy_vbd(world, &vbd);
        }
    }
    let image = &*world.database.text("VDI", vdi, "type") == "suspend";
    for vm in if image { world.database.refs("VM") } else { Vec::new() } {
        if world.database.text("VM", &vm, "suspend_VDI") == *vdi {
            let _ = world.database.set("VM", &vm, "suspend_VDI", Value::null());
        }
    }
    ledger::delete(world, vdi, context.shared.clock.elapsed());
}

/// VDI.forget: the record goes, the data stays for the next scan to find. This storage finds nothing again.
///
/// # Errors
/// As the tests say.
pub async fn forget(context: Arc<Context>, args: Args) -> ApiResult {
    let vdi = args.reference(0)?;
    sr_of(&context, &vdi)?;
    holding(&context, &[Hold::vdi(&vdi, "forget")], async {
        context.step(|world| {
            world.database.check("VDI", &vdi)?;
            forget_row(world, &context, &vdi);
            Ok(Value::void())
        })
    })
    .await
}

/// VDI.resize and VDI.resize_online.
///
/// # Errors
/// VDI_IN_USE, SR_BACKEND_FAILURE_44 and the like.
pub async fn resize(context: Arc<Context>, args: Args) -> ApiResult {
    let (vdi, size) = (args.reference(0)?, args.int(1)?);
    let sr = sr_of(&context, &vdi)?;
    holding(&context, &holds(&sr, "vdi_resize", &vdi, "resize"), async {
        work(&context, "VDI.resize", &sr).await;
        context.step(|world| {
            if size < world.database.int("VDI", &vdi, "virtual_size") {
                return Err(ApiError::new("SR_BACKEND_FAILURE_79", ["", "VDI Invalid size [opterr=shrinking not allowed]", ""]));
            }
            ledger::resize(world, &vdi, size, context.shared.clock.elapsed())?;
            Ok(Value::void())
        })
    })
    .await
}

/// VDI.update: sizes are read again.
///
/// # Errors
/// As the tests say.
pub async fn update(context: Arc<Context>, args: Args) -> ApiResult {
    let vdi = args.reference(0)?;
    let sr = sr_of(&context, &vdi)?;
    holding(&context, &[Hold::vdi(&vdi, "update")], async {
        work(&context, "VDI.update", &sr).await;
        context.step(|world| {
            ledger::settle(world, &vdi, context.shared.clock.elapsed());
            ledger::account(world, &vdi);
            Ok(Value::void())
        })
    })
    .await
}

/// VDI.introduce: a record for data that is there already; this storage has none, so the disk is empty.
///
/// # Errors
/// UUID_INVALID-like refusals are those of the database; SR tests.
pub async fn introduce(context: Arc<Context>, args: Args) -> ApiResult {
    let names = [
        "uuid",
        "name_label",
        "name_description",
        "SR",
        "type",
        "sharable",
        "read_only",
        "other_config",
        "location",
        "xenstore_data",
        "sm_config",
        "managed",
        "virtual_size",
        "physical_utilisation",
        "metadata_of_pool",
        "is_a_snapshot",
        "snapshot_time",
        "snapshot_of",
    ];
    let sr = args.reference(3)?;
    let uuid = args.text(0)?;
    holding(&context, &[Hold::sr(&sr, "vdi_introduce")], async {
        work(&context, "VDI.introduce", &sr).await;
        context.step(|world| {
            let fields = names.iter().zip(&args.0).map(|(name, value)| (*name, value.clone()));
            let size = args.int(12).unwrap_or(0);
            let reference = world.reference();
            let made = ledger::create_row(world, &reference, &uuid, &sr, size, fields);
            ledger::adopt(world, &made, context.shared.clock.elapsed());
            update_vdi(world, &made);
            Ok(Value::str(made))
        })
    })
    .await
}

/// VDI.revert: the disk goes back to its snapshot, in place. 26.16 and later.
///
/// # Errors
/// SR_OPERATION_NOT_SUPPORTED where the driver cannot; VDI_IN_USE and the like.
pub async fn revert(context: Arc<Context>, args: Args) -> ApiResult {
    let snapshot = args.reference(0)?;
    sr_of(&context, &snapshot)?;
    let live = context.step(|world| world.database.text("VDI", &snapshot, "snapshot_of"));
    revert_in_place(&context, &snapshot, &live).await?;
    Ok(Value::void())
}

/// Reverts `live` to `snapshot` in place.
///
/// # Errors
/// As [`revert`].
pub async fn revert_in_place(context: &Context, snapshot: &Ref, live: &Ref) -> ApiResult<()> {
    let sr = sr_of(context, live)?;
    let holds = [Hold::sr(&sr, "vdi_revert"), Hold::vdi(live, "revert_to"), Hold::vdi(snapshot, "revert_from")];
    holding(context, &holds, async {
        work(context, "VDI.revert", &sr).await;
        context.step(|world| {
            world.database.check("VDI", snapshot)?;
            let size = world.database.int("VDI", snapshot, "virtual_size");
            ledger::resize(world, live, size, context.shared.clock.elapsed())?;
            ledger::copy_content(world, snapshot, live, context.shared.clock.elapsed());
            update_sr(world, &sr);
            Ok(())
        })
    })
    .await
}
