//! Power: from halted to running and back, and what of a VM's devices, memory and rows moves with it.

use std::sync::Arc;
use std::time::Duration;

use super::Args;
use super::clock::now;
use super::copies::{copy_row, fresh_generation_id};
use super::device_lifecycle::update_vm;
use super::hooks;
use super::hosts;
use super::locks::{Hold, holding};
use super::messages::about_vm;
use super::vdi;
use super::vm_clone::detach;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::ledger;
use crate::simulator::value::{Ref, Value, is_null};
use crate::simulator::world::World;

/// How long the server waits for a guest that does not answer.
const ACKNOWLEDGMENT: Duration = Duration::from_secs(60);

/// VM.start.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like; why no host can take it.
pub async fn start(context: Arc<Context>, args: Args) -> ApiResult {
    boot(&context, &args.reference(0)?, None, args.bool(1)?, "start").await
}

/// VM.start_on.
///
/// # Errors
/// As [`start`], for this host.
pub async fn start_on(context: Arc<Context>, args: Args) -> ApiResult {
    boot(&context, &args.reference(0)?, Some(args.reference(1)?), args.bool(2)?, "start_on").await
}

async fn boot(context: &Context, vm: &Ref, host: Option<Ref>, paused: bool, operation: &'static str) -> ApiResult {
    let host = holding(context, &[Hold::vm(vm, operation)], async {
        let host = schedule(context, vm, host)?;
        work(context, "VM.start").await;
        context.step(|world| {
            run_on(world, context, vm, &host, paused);
            first_boot(world, context, vm);
        });
        Ok(host)
    })
    .await?;
    about_vm(context, "VM_STARTED", vm, &format!("started on host: {}", named(context, &host)));
    Ok(Value::void())
}

/// Chooses a host and reserves it.
fn schedule(context: &Context, vm: &Ref, wanted: Option<Ref>) -> ApiResult<Ref> {
    context.step(|world| {
        let host = match wanted {
            Some(host) => hosts::assert_can_boot(world, vm, &host).map(|()| host),
            None => hosts::choose(world, vm),
        }?;
        assert_disks_free(world, vm)?;
        world.database.set("VM", vm, "scheduled_to_be_resident_on", Value::str(host.clone()))?;
        Ok(host)
    })
}

/// A disk that is not to be shared can be in one running VM only.
fn assert_disks_free(world: &World, vm: &Ref) -> ApiResult<()> {
    let database = &world.database;
    for vbd in database.texts("VM", vm, "VBDs") {
        let vdi = database.text("VBD", &vbd, "VDI");
        let elsewhere = database.texts("VDI", &vdi, "VBDs").into_iter().any(|other| {
            other != vbd && database.bool("VBD", &other, "currently_attached") && &*database.text("VBD", &other, "mode") == "RW"
        });
        if elsewhere && !database.bool("VDI", &vdi, "sharable") {
            return Err(ApiError::new("VDI_IN_USE", [&*vdi, "start"]));
        }
    }
    Ok(())
}

async fn work(context: &Context, operation: &str) {
    let time = context.step(|world| world.storage.timings.of(operation));
    context.work(time).await;
}

/// A host as messages name it.
fn named(context: &Context, host: &str) -> String {
    context.step(|world| {
        format!("{} (uuid: {})", world.database.text("host", host, "name_label"), world.database.text("host", host, "uuid"))
    })
}

/// Lets a VM run on a host: rows of its devices, its domain, its disks being written.
fn run_on(world: &mut World, context: &Context, vm: &Ref, host: &Ref, paused: bool) {
    let domain = next_domain(world);
    let mut set = |field, value| drop(world.database.set("VM", vm, field, value));
    set("power_state", Value::str(if paused { "Paused" } else { "Running" }));
    set("scheduled_to_be_resident_on", Value::null());
    set("resident_on", Value::str(host.clone()));
    set("domid", Value::Int(domain));
    attach(world, vm);
    settle_disks(world, context, vm);
    update_vm(world, vm);
}

/// A domain number that no VM has or had; a loaded pool's domains count too.
fn next_domain(world: &mut World) -> i64 {
    if world.last_domain == 0 {
        world.last_domain =
            world.database.refs("VM").iter().map(|vm| world.database.int("VM", vm, "domid")).max().unwrap_or(0).max(0);
    }
    world.last_domain += 1;
    world.last_domain
}

fn attach(world: &mut World, vm: &Ref) {
    for vbd in world.database.texts("VM", vm, "VBDs") {
        let place: u32 = world.database.text("VBD", &vbd, "userdevice").parse().unwrap_or(0);
        let letter = char::from_u32('a' as u32 + place.min(25)).unwrap_or('a');
        let _ = world.database.set("VBD", &vbd, "device", Value::str(format!("xvd{letter}")));
        let _ = world.database.set("VBD", &vbd, "currently_attached", Value::Bool(true));
    }
    for vif in world.database.texts("VM", vm, "VIFs") {
        let _ = world.database.set("VIF", &vif, "currently_attached", Value::Bool(true));
    }
}

/// Notes which disks are written from now on, or no more.
fn settle_disks(world: &mut World, context: &Context, vm: &Ref) {
    for vbd in world.database.texts("VM", vm, "VBDs") {
        let vdi = world.database.text("VBD", &vbd, "VDI");
        if world.database.exists("VDI", &vdi) && &*world.database.text("VBD", &vbd, "type") != "CD" {
            ledger::settle(world, &vdi, context.shared.clock.elapsed());
        }
    }
}

/// What a VM's first boot, and every boot, leaves in its rows.
fn first_boot(world: &mut World, context: &Context, vm: &Ref) {
    let date = now(context);
    let metrics = world.database.text("VM", vm, "metrics");
    if world.database.exists("VM_metrics", &metrics) {
        let vcpus = world.database.int("VM", vm, "VCPUs_at_startup");
        let hvm = !world.database.text("VM", vm, "HVM_boot_policy").is_empty();
        let mut set = |field, value| drop(world.database.set("VM_metrics", &metrics, field, value));
        set("start_time", date.clone());
        set("VCPUs_number", Value::Int(vcpus));
        set("hvm", Value::Bool(hvm));
        set("current_domain_type", Value::str(if hvm { "hvm" } else { "pv" }));
    }
    let _ = world.database.set("VM", vm, "last_boot_CPU_flags", Value::pairs([("vendor", "GenuineIntel"), ("features", "")]));
    if world.database.map_text("VM", vm, "platform", "device-model").is_none()
        && world.release >= crate::simulator::model::release("dundee")
    {
        let _ = world.database.update("VM", vm, "platform", |map| {
            if let Value::Map(members) = map {
                members.insert(0, ("device-model".into(), Value::str("qemu-upstream-compat")));
            }
        });
    }
    if world.database.text("VM", vm, "generation_id").is_empty()
        && world.release >= crate::simulator::model::release("clearwater")
    {
        let fresh = fresh_generation_id(world);
        let _ = world.database.set("VM", vm, "generation_id", fresh);
    }
    renew_guest_metrics(world, vm, date);
}

/// The guest of a new domain reports into a new object.
fn renew_guest_metrics(world: &mut World, vm: &Ref, date: Value) {
    let old = world.database.text("VM", vm, "guest_metrics");
    let changes = vec![("last_updated", date), ("live", Value::Bool(true))];
    if let Ok(new) = copy_row(world, "VM_guest_metrics", &old, changes) {
        let _ = world.database.set("VM", vm, "guest_metrics", Value::str(new));
        world.database.destroy("VM_guest_metrics", &old);
    }
}

/// VM.hard_shutdown.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like.
pub async fn hard_shutdown(context: Arc<Context>, args: Args) -> ApiResult {
    shut_down(&context, &args.reference(0)?).await?;
    Ok(Value::void())
}

/// Shuts a VM down hard, with the lock and the message that go with it.
///
/// # Errors
/// As [`hard_shutdown`].
pub async fn shut_down(context: &Context, vm: &Ref) -> ApiResult<()> {
    holding(context, &[Hold::vm(vm, "hard_shutdown")], async {
        work(context, "VM.hard_shutdown").await;
        let image = context.step(|world| {
            let image = world.database.text("VM", vm, "suspend_VDI");
            halt(world, context, vm);
            let _ = world.database.set("VM", vm, "ha_always_run", Value::Bool(false));
            image
        });
        if !is_null(&image) {
            vdi::discard(context, &image).await;
        }
        Ok(())
    })
    .await?;
    about_vm(context, "VM_SHUTDOWN", vm, "shutdown forcibly");
    Ok(())
}

/// Makes a VM's rows those of a halted one. Its memory image, if any, is named no more.
pub fn halt(world: &mut World, context: &Context, vm: &Ref) {
    settle_disks(world, context, vm);
    let mut set = |field, value| drop(world.database.set("VM", vm, field, value));
    set("power_state", Value::str("Halted"));
    set("resident_on", Value::null());
    set("scheduled_to_be_resident_on", Value::null());
    set("domid", Value::Int(-1));
    set("suspend_VDI", Value::null());
    set("last_booted_record", Value::str(""));
    detach(world, vm);
    settle_disks(world, context, vm);
    update_vm(world, vm);
}

/// Whether the guest answers a request, and if not, the time it takes to find out.
async fn ask_guest(context: &Context, vm: &Ref, features: &[&str], code: &str) -> ApiResult<()> {
    let answers = context.step(|world| {
        let guest = world.database.text("VM", vm, "guest_metrics");
        let paravirtual = world.database.text("VM", vm, "HVM_boot_policy").is_empty();
        paravirtual
            || features.iter().any(|feature| world.database.map_text("VM_guest_metrics", &guest, "other", feature).is_some())
    });
    if answers {
        return Ok(());
    }
    let time = context.step(|world| world.storage.timings.scaled(ACKNOWLEDGMENT));
    context.work(time).await;
    Err(ApiError::new(code, [&**vm, "60."]))
}

/// VM.clean_shutdown.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like; VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT from a guest without tools.
pub async fn clean_shutdown(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    holding(&context, &[Hold::vm(&vm, "clean_shutdown")], async {
        ask_guest(&context, &vm, &["feature-shutdown", "feature-poweroff"], "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT").await?;
        work(&context, "VM.clean_shutdown").await;
        context.check_cancelled()?;
        context.step(|world| halt(world, &context, &vm));
        Ok(())
    })
    .await?;
    about_vm(&context, "VM_SHUTDOWN", &vm, "shutdown");
    Ok(Value::void())
}

/// VM.shutdown: cleanly, and hard when the guest does not.
///
/// # Errors
/// As [`hard_shutdown`].
pub async fn shutdown(context: Arc<Context>, args: Args) -> ApiResult {
    match Box::pin(clean_shutdown(Arc::clone(&context), args.clone())).await {
        Err(error) if error.code == "TASK_CANCELLED" || error.code == "HANDLE_INVALID" => Err(error),
        Err(_) => hard_shutdown(context, args).await,
        done => done,
    }
}

/// VM.clean_reboot.
///
/// # Errors
/// As [`clean_shutdown`].
pub async fn clean_reboot(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    holding(&context, &[Hold::vm(&vm, "clean_reboot")], async {
        ask_guest(&context, &vm, &["feature-shutdown", "feature-reboot"], "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT").await?;
        reboot(&context, &vm, "VM.clean_reboot").await
    })
    .await?;
    about_vm(&context, "VM_REBOOTED", &vm, "rebooted");
    Ok(Value::void())
}

/// VM.hard_reboot.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like.
pub async fn hard_reboot(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    holding(&context, &[Hold::vm(&vm, "hard_reboot")], reboot(&context, &vm, "VM.hard_reboot")).await?;
    about_vm(&context, "VM_REBOOTED", &vm, "rebooted forcibly");
    Ok(Value::void())
}

async fn reboot(context: &Context, vm: &Ref, operation: &str) -> ApiResult<()> {
    work(context, operation).await;
    context.step(|world| {
        let host = world.database.text("VM", vm, "resident_on");
        run_on(world, context, vm, &host, false);
        first_boot(world, context, vm);
    });
    Ok(())
}

/// VM.pause.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like.
pub async fn pause(context: Arc<Context>, args: Args) -> ApiResult {
    switch(&context, &args.reference(0)?, "pause", "Paused").await?;
    about_vm(&context, "VM_PAUSED", &args.reference(0)?, "paused");
    Ok(Value::void())
}

/// VM.unpause.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like.
pub async fn unpause(context: Arc<Context>, args: Args) -> ApiResult {
    switch(&context, &args.reference(0)?, "unpause", "Running").await?;
    about_vm(&context, "VM_UNPAUSED", &args.reference(0)?, "unpaused");
    Ok(Value::void())
}

async fn switch(context: &Context, vm: &Ref, operation: &'static str, state: &str) -> ApiResult<()> {
    holding(context, &[Hold::vm(vm, operation)], async {
        work(context, &format!("VM.{operation}")).await;
        context.step(|world| {
            settle_disks(world, context, vm);
            let _ = world.database.set("VM", vm, "power_state", Value::str(state));
            settle_disks(world, context, vm);
            update_vm(world, vm);
        });
        Ok(())
    })
    .await
}

/// VM.suspend.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like; VM_NO_SUSPEND_SR, SR_SUSPEND_SPACE_INSUFFICIENT, VM_FAILED_SUSPEND_ACKNOWLEDGMENT.
pub async fn suspend(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    holding(&context, &[Hold::vm(&vm, "suspend")], async {
        save_memory(&context, &vm).await?;
        context.step(|world| {
            let _ = world.database.set("VM", &vm, "resident_on", Value::null());
            let _ = world.database.set("VM", &vm, "domid", Value::Int(-1));
            update_vm(world, &vm);
        });
        Ok(())
    })
    .await?;
    about_vm(&context, "VM_SUSPENDED", &vm, "suspended");
    Ok(Value::void())
}

/// Writes a running VM's memory to an image and stops the guest. The VM keeps its host until somebody takes it away.
///
/// # Errors
/// As [`suspend`].
pub async fn save_memory(context: &Context, vm: &Ref) -> ApiResult<()> {
    hooks::inside_checkpoint(context, vm, "VM.suspend").await?;
    ask_guest(context, vm, &["feature-suspend"], "VM_FAILED_SUSPEND_ACKNOWLEDGMENT").await?;
    let (sr, size, memory) = context.step(|world| {
        let memory = world.database.int("VM", vm, "memory_static_max");
        Ok((suspend_sr(world, vm)?, image_size(memory), memory))
    })?;
    let label = |field| (field, Value::str("Suspend image"));
    let fields = vec![label("name_label"), label("name_description"), ("type", Value::str("suspend"))];
    let image = vdi::create_in(context, &sr, size, fields, None).await.map_err(|error| match &*error.code {
        "SR_BACKEND_FAILURE_44" => ApiError::new("SR_SUSPEND_SPACE_INSUFFICIENT", [&*sr]),
        _ => error,
    })?;
    work(context, "VM.suspend").await;
    let time = context.step(|world| world.storage.timings.moving(memory, world.storage.timings.memory_bytes_per_second));
    context.work(time).await;
    if let Err(error) = context.step(|world| write_image(world, &sr, &image, memory)) {
        vdi::discard(context, &image).await;
        return Err(error);
    }
    context.step(|world| {
        settle_disks(world, context, vm);
        let record = suspended_record(world, vm);
        let _ = world.database.set("VM", vm, "suspend_VDI", Value::str(image.clone()));
        let _ = world.database.set("VM", vm, "last_booted_record", record);
        let _ = world.database.set("VM", vm, "power_state", Value::str("Suspended"));
        settle_disks(world, context, vm);
        update_vm(world, vm);
    });
    Ok(())
}

/// The size of a memory image, in bytes.
fn image_size(memory: i64) -> i64 {
    (memory as f64 * 1.2 * 1.05 + 104_857_600.0) as i64
}

/// The memory that is in use is written; on thin storage it takes its room now.
fn write_image(world: &mut World, sr: &Ref, image: &Ref, memory: i64) -> ApiResult<()> {
    let uuid = world.database.text("VDI", image, "uuid");
    let filled = world.storage.filled;
    let written = (memory as f64 * filled) as i64;
    let thin = world.storage.volume(&uuid).is_some_and(|volume| volume.allocated < volume.virtual_size);
    if thin && written > ledger::free(world, sr) {
        return Err(ApiError::new("SR_SUSPEND_SPACE_INSUFFICIENT", [&**sr]));
    }
    if let Some(volume) = world.storage.volume_mut(&uuid) {
        volume.write_generated(written as f64 / volume.virtual_size.max(1) as f64);
    }
    ledger::account(world, image);
    Ok(())
}

fn suspend_sr(world: &World, vm: &Ref) -> ApiResult<Ref> {
    let database = &world.database;
    let pool = database.refs("pool").into_iter().next().unwrap_or_default();
    let host = database.text("VM", vm, "resident_on");
    let candidates = [
        database.text("VM", vm, "suspend_SR"),
        database.text("pool", &pool, "suspend_image_SR"),
        database.text("host", &host, "suspend_image_sr"),
    ];
    candidates.into_iter().find(|sr| database.exists("SR", sr)).ok_or_else(|| ApiError::new("VM_NO_SUSPEND_SR", [&**vm]))
}

/// What the server notes about a domain that it will build again from memory.
fn suspended_record(world: &World, vm: &Ref) -> Value {
    let database = &world.database;
    let metrics = database.text("VM", vm, "metrics");
    let started = database.get("VM_metrics", &metrics, "start_time").and_then(Value::as_date).unwrap_or_default();
    let memory = |field| database.int("VM", vm, field);
    Value::str(format!(
        "{{\"last_create_time\":{}.0,\"xsdata\":{{}},\"vusbs\":[],\"vgpus\":[],\"pcis\":[],\"vifs\":[],\"vbds\":[],\"suspended\":true,\
         \"qemu_created\":false,\"memory_dynamic_max\":{},\"memory_dynamic_min\":{},\"shadow_multiplier\":1.0,\"vcpus\":{},\"built\":true,\
         \"paused\":true,\"hvm\":true,\"uuid\":\"{}\",\"domid\":{}}}",
        started.timestamp(),
        memory("memory_dynamic_max"),
        memory("memory_dynamic_min"),
        memory("VCPUs_at_startup"),
        database.text("VM", vm, "uuid"),
        memory("domid"),
    ))
}

/// VM.resume.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like; why no host can take it.
pub async fn resume(context: Arc<Context>, args: Args) -> ApiResult {
    come_back(&context, &args.reference(0)?, None, args.bool(1)?, "resume").await
}

/// VM.resume_on.
///
/// # Errors
/// As [`resume`], for this host.
pub async fn resume_on(context: Arc<Context>, args: Args) -> ApiResult {
    come_back(&context, &args.reference(0)?, Some(args.reference(1)?), args.bool(2)?, "resume_on").await
}

async fn come_back(context: &Context, vm: &Ref, host: Option<Ref>, paused: bool, operation: &'static str) -> ApiResult {
    let host = holding(context, &[Hold::vm(vm, operation)], async {
        let host = schedule_resume(context, vm, host)?;
        load_memory(context, vm, &host, paused).await?;
        Ok(host)
    })
    .await?;
    about_vm(context, "VM_RESUMED", vm, &format!("resumed on host: {}", named(context, &host)));
    Ok(Value::void())
}

fn schedule_resume(context: &Context, vm: &Ref, wanted: Option<Ref>) -> ApiResult<Ref> {
    context.step(|world| match wanted {
        Some(host) => hosts::assert_can_boot(world, vm, &host).map(|()| host),
        None => hosts::choose(world, vm),
    })
}

/// Reads a VM's memory back on a host; the image is destroyed.
///
/// # Errors
/// HANDLE_INVALID when the image is gone.
pub async fn load_memory(context: &Context, vm: &Ref, host: &Ref, paused: bool) -> ApiResult<()> {
    hooks::inside_checkpoint(context, vm, "VM.resume").await?;
    let image = context.step(|world| {
        let image = world.database.text("VM", vm, "suspend_VDI");
        world.database.check("VDI", &image).map(|()| image)
    })?;
    work(context, "VM.resume").await;
    let time = context.step(|world| {
        let memory = world.database.int("VM", vm, "memory_static_max");
        world.storage.timings.moving(memory, world.storage.timings.memory_bytes_per_second)
    });
    context.work(time).await;
    context.step(|world| {
        let _ = world.database.set("VM", vm, "suspend_VDI", Value::null());
        run_on(world, context, vm, host, paused);
    });
    vdi::discard(context, &image).await;
    Ok(())
}

/// VM.power_state_reset: the record says halted, whatever is true.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn power_state_reset(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    context.step(|world| {
        world.database.check("VM", &vm)?;
        halt(world, &context, &vm);
        Ok(Value::void())
    })
}

/// VM.pool_migrate.
///
/// # Errors
/// VM_BAD_POWER_STATE and the like; why the host cannot take it.
pub async fn pool_migrate(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, host) = (args.reference(0)?, args.reference(1)?);
    migrate(&context, &vm, &host).await?;
    Ok(Value::void())
}

/// Moves a running VM to another host.
///
/// # Errors
/// As [`pool_migrate`].
pub async fn migrate(context: &Context, vm: &Ref, host: &Ref) -> ApiResult<()> {
    let from = holding(context, &[Hold::vm(vm, "pool_migrate")], async {
        let from = context.step(|world| {
            let from = world.database.text("VM", vm, "resident_on");
            // A VM that stays where it is needs no room.
            if from != *host {
                hosts::assert_can_boot(world, vm, host)?;
            }
            Ok(from)
        })?;
        work(context, "VM.pool_migrate").await;
        context.check_cancelled()?;
        context.step(|world| {
            let domain = next_domain(world);
            world.database.set("VM", vm, "resident_on", Value::str(host.clone()))?;
            world.database.set("VM", vm, "domid", Value::Int(domain))
        })?;
        Ok(from)
    })
    .await?;
    let what = format!("migrated from {} to {}", named(context, &from), named(context, host));
    about_vm(context, "VM_MIGRATED", vm, &what);
    Ok(())
}
