//! VM_appliance: VMs that start and stop together, in order.

use std::sync::Arc;
use std::time::Duration;

use super::Args;
use super::locks::{Hold, holding};
use super::{subtask, vm_power};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Ref, Value};

/// VM_appliance.start: by ascending order, with the pauses the VMs ask for.
///
/// # Errors
/// OPERATION_PARTIALLY_FAILED with the VMs that did not start.
pub async fn start(context: Arc<Context>, args: Args) -> ApiResult {
    let (appliance, paused) = (args.reference(0)?, args.bool(1)?);
    run(&context, &appliance, "start", |inner, vm| {
        Box::pin(vm_power::start(inner, Args(vec![Value::str(vm), Value::Bool(paused), Value::Bool(false)])))
    })
    .await
}

/// VM_appliance.clean_shutdown, hard_shutdown and shutdown: by descending order.
///
/// # Errors
/// OPERATION_PARTIALLY_FAILED with the VMs that still run.
pub async fn stop(context: Arc<Context>, args: Args) -> ApiResult {
    let appliance = args.reference(0)?;
    let operation = match &*context.method {
        "VM_appliance.clean_shutdown" => "clean_shutdown",
        "VM_appliance.hard_shutdown" => "hard_shutdown",
        _ => "shutdown",
    };
    run(&context, &appliance, operation, |inner, vm| {
        let args = Args(vec![Value::str(vm)]);
        match operation {
            "clean_shutdown" => Box::pin(vm_power::clean_shutdown(inner, args)),
            "hard_shutdown" => Box::pin(vm_power::hard_shutdown(inner, args)),
            _ => Box::pin(vm_power::shutdown(inner, args)),
        }
    })
    .await
}

async fn run(
    context: &Context,
    appliance: &Ref,
    operation: &'static str,
    act: impl Fn(Arc<Context>, Ref) -> super::Running,
) -> ApiResult {
    context.step(|world| world.database.check("VM_appliance", appliance))?;
    holding(context, &[Hold::appliance(appliance, operation)], async {
        let starting = operation == "start";
        let mut failed = Vec::new();
        for (vm, delay) in members(context, appliance, starting) {
            let label = format!("VM.{operation}");
            let act = &act;
            let done = subtask::run(context, &label, |inner| act(inner, vm.clone())).await;
            if done.is_err() {
                failed.push(vm.to_string());
            }
            context.work(delay).await;
        }
        if failed.is_empty() {
            return Ok(Value::void());
        }
        Err(ApiError::new("OPERATION_PARTIALLY_FAILED", std::iter::once(format!("VM_appliance.{operation}")).chain(failed)))
    })
    .await
}

/// The VMs that have something to do, in their order, and the pause that each asks for.
fn members(context: &Context, appliance: &Ref, starting: bool) -> Vec<(Ref, Duration)> {
    context.step(|world| {
        let database = &world.database;
        let halted = |vm: &Ref| &*database.text("VM", vm, "power_state") == "Halted";
        let mut vms: Vec<Ref> = database.texts("VM_appliance", appliance, "VMs");
        vms.retain(|vm| halted(vm) == starting);
        vms.sort_by_key(|vm| database.int("VM", vm, "order"));
        if !starting {
            vms.reverse();
        }
        let field = if starting { "start_delay" } else { "shutdown_delay" };
        let delay = |vm: &Ref| Duration::from_secs(u64::try_from(database.int("VM", vm, field)).unwrap_or(0));
        vms.into_iter().map(|vm| (vm.clone(), delay(&vm))).collect()
    })
}

/// VM_appliance.create: what it admits stands in its row.
///
/// # Errors
/// None of its own.
pub async fn create(context: Arc<Context>, args: Args) -> ApiResult {
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    context.step(|world| {
        let (reference, uuid) = (world.reference(), world.uuid());
        let mut fields = super::vm::given("VM_appliance", &record);
        let allowed = ["shutdown", "hard_shutdown", "clean_shutdown", "start"];
        fields.extend([("uuid", Value::str(uuid)), ("allowed_operations", Value::texts(allowed))]);
        Ok(Value::str(world.database.create("VM_appliance", reference, fields)))
    })
}
