//! host: time, maintenance, evacuation, and questions about room.

use std::sync::Arc;

use super::Args;
use super::clock::now;
use super::hosts;
use super::{subtask, vm_power};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Ref, Value};
use crate::simulator::world::World;

fn known(context: &Context, host: &Ref) -> ApiResult<()> {
    context.step(|world| world.database.check("host", host))
}

/// host.get_servertime and host.get_server_localtime; the simulated hosts live in UTC.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_servertime(context: Arc<Context>, args: Args) -> ApiResult {
    known(&context, &args.reference(0)?)?;
    Ok(now(&context))
}

/// host.enable and host.disable.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn switch(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    let enabled = &*context.method == "host.enable";
    context.step(|world| world.database.set("host", &host, "enabled", Value::Bool(enabled)))?;
    Ok(Value::void())
}

/// The guests that run on a host.
fn guests(world: &World, host: &str) -> Vec<Ref> {
    let database = &world.database;
    let mut vms = database.texts("host", host, "resident_VMs");
    vms.retain(|vm| !database.bool("VM", vm, "is_control_domain"));
    vms
}

/// Why a VM cannot leave a host, if it cannot.
fn obstacle(world: &World, vm: &Ref, host: &str) -> Option<ApiError> {
    if let Err(error) = super::vm_lifecycle::check(world, vm, "pool_migrate", true) {
        return Some(error);
    }
    let others: Vec<Ref> = hosts::possible(world, vm).into_iter().filter(|other| **other != *host).collect();
    others.is_empty().then(|| ApiError::bare("HOST_NOT_ENOUGH_FREE_MEMORY"))
}

/// host.get_vms_which_prevent_evacuation.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_vms_which_prevent_evacuation(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    known(&context, &host)?;
    context.step(|world| {
        let blocked = guests(world, &host).into_iter().filter_map(|vm| {
            let error = obstacle(world, &vm, &host)?;
            Some((vm, Value::texts(std::iter::once(error.code).chain(error.params))))
        });
        Ok(Value::Map(blocked.collect()))
    })
}

/// host.assert_can_evacuate.
///
/// # Errors
/// CANNOT_EVACUATE_HOST with the reasons.
pub async fn assert_can_evacuate(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    known(&context, &host)?;
    context.step(|world| {
        let reasons: Vec<String> = guests(world, &host)
            .iter()
            .filter_map(|vm| obstacle(world, vm, &host).map(|error| format!("{},{vm}", error.code)))
            .collect();
        if reasons.is_empty() { Ok(Value::void()) } else { Err(ApiError::new("CANNOT_EVACUATE_HOST", [reasons.join("|")])) }
    })
}

/// host.evacuate: all guests move elsewhere.
///
/// # Errors
/// As [`assert_can_evacuate`]; what a migration fails with.
pub async fn evacuate(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    assert_can_evacuate(Arc::clone(&context), args).await?;
    let guests = context.step(|world| guests(world, &host));
    for vm in guests {
        let target = context.step(|world| hosts::possible(world, &vm).into_iter().find(|other| *other != host));
        let target = target.ok_or_else(|| ApiError::bare("NO_HOSTS_AVAILABLE"))?;
        let (vm, target) = (&vm, &target);
        subtask::run(&context, "Async.VM.pool_migrate", |inner| async move { vm_power::migrate(&inner, vm, target).await })
            .await?;
    }
    Ok(Value::void())
}

/// host.compute_free_memory.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn compute_free_memory(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    known(&context, &host)?;
    Ok(Value::Int(context.step(|world| hosts::free_memory(world, &host)).unwrap_or(0).max(0)))
}

/// host.compute_memory_overhead.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn compute_memory_overhead(context: Arc<Context>, args: Args) -> ApiResult {
    let host = args.reference(0)?;
    known(&context, &host)?;
    Ok(Value::Int(context.step(|world| world.database.int("host", &host, "memory_overhead"))))
}

/// host.call_plugin: no plugin is installed.
///
/// # Errors
/// XENAPI_MISSING_PLUGIN.
pub async fn call_plugin(context: Arc<Context>, args: Args) -> ApiResult {
    known(&context, &args.reference(0)?)?;
    Err(ApiError::new("XENAPI_MISSING_PLUGIN", [&*args.text(1)?]))
}
