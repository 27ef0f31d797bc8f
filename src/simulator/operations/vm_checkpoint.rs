//! VM.checkpoint and VM.snapshot_with_quiesce: snapshots for which the guest is stopped, or asked.

use std::sync::Arc;

use super::Args;
use super::locks::{Hold, holding};
use super::messages::about_vm;
use super::vm_clone::{Kind, info, make_snapshot};
use super::vm_disks::assert_reachable;
use super::vm_power::{load_memory, save_memory};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::driver;
use crate::simulator::value::{Ref, Text, Value, is_null};
use crate::simulator::world::World;

/// VM.checkpoint.
///
/// # Errors
/// LICENCE_RESTRICTION; why the VM, its disks or its memory admit none; what the resume fails with.
pub async fn checkpoint(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, name) = (args.reference(0)?, args.text(1)?);
    context.step(|world| assert_licensed(world, "restrict_checkpoint", "Checkpoint"))?;
    let made = holding(&context, &[Hold::vm(&vm, "checkpoint")], async {
        context.step(|world| assert_reachable(world, &vm).and_then(|()| assert_disks_supported(world, &vm)))?;
        let queue = context.step(|world| queue_of(world, &vm));
        // One long operation at a time on each host; the others wait with their VM locked.
        let turn = context.wait(queue.lock_owned()).await;
        let made = freeze(&context, &vm, &name).await;
        drop(turn);
        made
    })
    .await?;
    about_vm(&context, "VM_CHECKPOINTED", &vm, &format!("checkpointed, snapshot name: {name}"));
    Ok(Value::str(made))
}

/// Fails where a feature is restricted by the pool's licence.
///
/// # Errors
/// LICENCE_RESTRICTION.
pub fn assert_licensed(world: &World, flag: &str, feature: &str) -> ApiResult<()> {
    let pool = world.database.refs("pool").into_iter().next().unwrap_or_default();
    let restricted = world.database.map_text("pool", &pool, "restrictions", flag).is_some_and(|value| &*value == "true");
    if restricted { Err(ApiError::new("LICENCE_RESTRICTION", [feature])) } else { Ok(()) }
}

/// The real server names the VM here, not the SR.
fn assert_disks_supported(world: &World, vm: &Ref) -> ApiResult<()> {
    let database = &world.database;
    let unsupported = database.texts("VM", vm, "VBDs").into_iter().any(|vbd| {
        let vdi = database.text("VBD", &vbd, "VDI");
        &*database.text("VBD", &vbd, "type") != "CD"
            && database.exists("VDI", &vdi)
            && !driver::has_feature(world, &database.text("VDI", &vdi, "SR"), "VDI_SNAPSHOT")
    });
    if unsupported { Err(ApiError::new("SR_OPERATION_NOT_SUPPORTED", [&**vm])) } else { Ok(()) }
}

fn queue_of(world: &mut World, vm: &Ref) -> Arc<tokio::sync::Mutex<()>> {
    let resident = world.database.text("VM", vm, "resident_on");
    let host = if is_null(&resident) { world.master.clone() } else { resident };
    Arc::clone(world.long_running.entry(host).or_default())
}

async fn freeze(context: &Context, vm: &Ref, name: &Text) -> ApiResult<Ref> {
    let (state, host) =
        context.step(|world| (world.database.text("VM", vm, "power_state"), world.database.text("VM", vm, "resident_on")));
    let kind = |info: Value, with_memory| Kind { operation: "checkpoint", info, with_memory, transportable: "".into() };
    if &*state != "Running" {
        return make_snapshot(context, vm, name, &[], kind(Value::Map(Vec::new()), &*state == "Suspended")).await;
    }
    save_memory(context, vm).await?;
    let made = make_snapshot(context, vm, name, &[], kind(info("crash_consistent", "Running"), true)).await;
    // The guest runs on whatever became of the snapshot.
    let resumed = load_memory(context, vm, &host, false).await;
    let made = made?;
    resumed.map(|()| made)
}

/// VM.snapshot_with_quiesce, up to 8.0.
///
/// # Errors
/// As VM.snapshot; VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED unless the guest agreed.
pub async fn snapshot_with_quiesce(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, name) = (args.reference(0)?, args.text(1)?);
    let made = holding(&context, &[Hold::vm(&vm, "snapshot_with_quiesce")], async {
        context.step(|world| assert_reachable(world, &vm))?;
        let time = context.step(|world| world.storage.timings.of("VM.snapshot_with_quiesce"));
        context.work(time).await;
        context.check_cancelled()?;
        let set = context.step(World::uuid);
        let kind = Kind {
            operation: "snapshot_with_quiesce",
            info: info("quiesced", "Running"),
            with_memory: false,
            transportable: set,
        };
        make_snapshot(&context, &vm, &name, &[], kind).await
    })
    .await?;
    about_vm(&context, "VM_SNAPSHOTTED", &vm, &format!("snapshotted, snapshot name: {name}"));
    Ok(Value::str(made))
}
