//! VM: creation and destruction of records, and the questions a client can ask about a VM.

use std::sync::Arc;

use super::Args;
use super::copies::{destroy_vm, fresh_generation_id};
use super::hosts;
use super::locks::{Hold, holding};
use super::vm_lifecycle::{self, update_allowed};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::model::{Access, Model, release as named};
use crate::simulator::value::{Ref, Text, Value, is_null};

/// VM.create.
///
/// # Errors
/// VALUE_NOT_SUPPORTED-like refusals are left to the types of the call.
pub async fn create(context: Arc<Context>, args: Args) -> ApiResult {
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    context.step(|world| {
        let (reference, uuid, metrics, metrics_uuid) = (world.reference(), world.uuid(), world.reference(), world.uuid());
        world.database.create("VM_metrics", metrics.clone(), [("uuid", Value::str(metrics_uuid))]);
        let mut fields = given("VM", &record);
        fields.push(("uuid", Value::str(uuid)));
        fields.push(("power_state", Value::str("Halted")));
        fields.push(("metrics", Value::str(metrics)));
        fields.push(("domid", Value::Int(-1)));
        fields.push(("memory_overhead", Value::Int(6_291_456)));
        fields.push(("suspend_VDI", Value::null()));
        if world.release >= named("clearwater")
            && !fields.iter().any(|(field, value)| *field == "generation_id" && *value != Value::str(""))
        {
            fields.push(("generation_id", fresh_generation_id(world)));
        }
        if record.member("other_config").is_none_or(|config| config.member("mac_seed").is_none()) {
            let seed = world.uuid();
            let config = record.member("other_config").map(|config| config.members().to_vec()).unwrap_or_default();
            let seeded = std::iter::once(("mac_seed".into(), Value::str(seed))).chain(config).collect();
            fields.push(("other_config", Value::Map(seeded)));
        }
        let vm = world.database.create("VM", reference, fields);
        update_allowed(world, &vm);
        Ok(Value::str(vm))
    })
}

/// The members of a record that its constructor takes.
pub fn given(class: &str, record: &Value) -> Vec<(&'static str, Value)> {
    let fields = Model::get().class(class).map_or(&[][..], |class| class.fields.as_slice());
    let taken = fields.iter().filter(|field| field.access != Access::ReadOnly);
    taken.filter_map(|field| Some((field.name.as_str(), record.member(&field.name)?.clone()))).collect()
}

/// VM.destroy. The disks and the memory image stay.
///
/// # Errors
/// VM_BAD_POWER_STATE, OPERATION_BLOCKED, VM_IS_TEMPLATE for a default template, and the like.
pub async fn destroy(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    holding(&context, &[Hold::vm(&vm, "destroy")], async {
        context.step(|world| {
            if vm_lifecycle::is_default_template(world, &vm) {
                return Err(ApiError::bare("VM_CANNOT_DELETE_DEFAULT_TEMPLATE"));
            }
            destroy_vm(world, &vm);
            Ok(Value::void())
        })
    })
    .await
}

/// VM.assert_operation_valid: the tests of an operation, at once and without waiting.
///
/// # Errors
/// The first test that fails.
pub async fn assert_operation_valid(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, operation) = (args.reference(0)?, args.text(1)?);
    context.step(|world| vm_lifecycle::check(world, &vm, &operation, true))?;
    Ok(Value::void())
}

/// VM.update_allowed_operations.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn update_allowed_operations(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    context.step(|world| {
        world.database.check("VM", &vm)?;
        update_allowed(world, &vm);
        Ok(Value::void())
    })
}

/// VM.get_possible_hosts.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_possible_hosts(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    context.step(|world| {
        world.database.check("VM", &vm)?;
        Ok(Value::texts(hosts::possible(world, &vm)))
    })
}

/// VM.assert_can_boot_here.
///
/// # Errors
/// Why not.
pub async fn assert_can_boot_here(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, host) = (args.reference(0)?, args.reference(1)?);
    context.step(|world| {
        world.database.check("VM", &vm)?;
        hosts::assert_can_boot(world, &vm, &host)
    })?;
    Ok(Value::void())
}

/// VM.assert_agile: all its storage and networks are shared.
///
/// # Errors
/// HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED.
pub async fn assert_agile(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    context.step(|world| {
        world.database.check("VM", &vm)?;
        let srs = super::vm_disks::required_srs(world, &vm);
        match srs.iter().find(|sr| !world.database.bool("SR", sr, "shared")) {
            Some(sr) => Err(ApiError::new("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", [&**sr])),
            None => Ok(Value::void()),
        }
    })
}

/// VM.assert_can_be_recovered, VM_appliance's too: nothing here is lost to need recovery.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn assert_can_be_recovered(context: Arc<Context>, args: Args) -> ApiResult {
    let object = args.reference(0)?;
    let class = context.method.split('.').next().unwrap_or("VM").to_owned();
    context.step(|world| world.database.check(&class, &object))?;
    Ok(Value::void())
}

/// VM.maximise_memory: what fits into `total` bytes beside the overhead.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn maximise_memory(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, total) = (args.reference(0)?, args.int(1)?);
    context.step(|world| {
        world.database.check("VM", &vm)?;
        Ok(Value::Int((total - world.database.int("VM", &vm, "memory_overhead")).max(0)))
    })
}

/// VM.compute_memory_overhead.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn compute_memory_overhead(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    context.step(|world| {
        world.database.check("VM", &vm)?;
        Ok(Value::Int(world.database.int("VM", &vm, "memory_overhead")))
    })
}

/// VM.get_allowed_VBD_devices.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_allowed_vbd_devices(context: Arc<Context>, args: Args) -> ApiResult {
    free_devices(&context, &args.reference(0)?, ("VBDs", "VBD", "userdevice"), 256)
}

/// VM.get_allowed_VIF_devices.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_allowed_vif_devices(context: Arc<Context>, args: Args) -> ApiResult {
    free_devices(&context, &args.reference(0)?, ("VIFs", "VIF", "device"), 7)
}

fn free_devices(context: &Context, vm: &Ref, (set, class, field): (&str, &str, &str), all: usize) -> ApiResult {
    context.step(|world| {
        world.database.check("VM", vm)?;
        let taken: Vec<Text> =
            world.database.texts("VM", vm, set).iter().map(|device| world.database.text(class, device, field)).collect();
        let free = (0..all).map(|n| n.to_string()).filter(|n| !taken.iter().any(|taken| **taken == **n));
        Ok(Value::texts(free))
    })
}

/// VM.create_new_blob.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn create_new_blob(context: Arc<Context>, args: Args) -> ApiResult {
    let (object, name, mime) = (args.reference(0)?, args.text(1)?, args.text(2)?);
    let public = args.bool(3).unwrap_or(false);
    let class = context.method.split('.').next().unwrap_or("VM").to_owned();
    let updated = super::clock::now(&context);
    context.step(|world| {
        world.database.check(&class, &object)?;
        let (reference, uuid) = (world.reference(), world.uuid());
        let fields = [
            ("uuid", Value::str(uuid)),
            ("name_label", Value::str(name.clone())),
            ("mime_type", Value::str(if mime.is_empty() { "application/octet-stream".into() } else { mime })),
            ("public", Value::Bool(public)),
            ("last_updated", updated),
        ];
        let blob = world.database.create("blob", reference, fields);
        world.database.put(&class, &object, "blobs", &name, Value::str(blob.clone()))?;
        Ok(Value::str(blob))
    })
}

/// VM.set_appliance, VM.set_snapshot_schedule and VM.set_protection_policy: a VM that is no template joins or leaves.
///
/// # Errors
/// HANDLE_INVALID, VM_IS_TEMPLATE, VM_IS_SNAPSHOT, INVALID_VALUE for a control domain.
pub async fn join(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, group) = (args.reference(0)?, args.reference(1)?);
    let (field, class) = match &*context.method {
        "VM.set_appliance" => ("appliance", "VM_appliance"),
        "VM.set_protection_policy" => ("protection_policy", "VMPP"),
        _ => ("snapshot_schedule", "VMSS"),
    };
    context.step(|world| {
        world.database.check("VM", &vm)?;
        let is = |flag| world.database.bool("VM", &vm, flag);
        if is("is_control_domain") {
            return Err(ApiError::new("INVALID_VALUE", [field, &*group]));
        }
        if is("is_a_snapshot") {
            return Err(ApiError::new("VM_IS_SNAPSHOT", [&*vm, context.method.trim_start_matches("VM.")]));
        }
        if is("is_a_template") {
            return Err(ApiError::new("VM_IS_TEMPLATE", [&*vm, context.method.trim_start_matches("VM.")]));
        }
        if !is_null(&group) {
            world.database.check(class, &group)?;
        }
        world.database.set(
            "VM",
            &vm,
            field,
            Value::str(if is_null(&group) { crate::simulator::value::NULL.into() } else { group }),
        )?;
        update_allowed(world, &vm);
        Ok(Value::void())
    })
}
