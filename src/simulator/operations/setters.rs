//! Setters that the data model calls custom although they only write a field, with the few tests that they have.

use std::sync::Arc;

use super::Args;
use super::device_lifecycle::{update_sr, update_vdi};
use super::vm_lifecycle::{check, update_allowed};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::model::{Class, Model};
use crate::simulator::value::{Ref, Value};
use crate::simulator::world::World;

/// The operation that a VM must admit before a field may change.
const LOCKED: [(&str, &str); 9] = [
    ("VCPUs_max", "changing_VCPUs"),
    ("VCPUs_at_startup", "changing_VCPUs"),
    ("memory_static_max", "changing_static_range"),
    ("memory_static_min", "changing_static_range"),
    ("memory_dynamic_max", "changing_dynamic_range"),
    ("memory_dynamic_min", "changing_dynamic_range"),
    ("HVM_shadow_multiplier", "changing_shadow_memory"),
    ("NVRAM", "changing_NVRAM"),
    ("suspend_VDI", "assert_operation_valid"),
];

/// What a custom setter does, by its name: `set_F`, `add_to_F` or `remove_from_F` of a field that the class has.
pub fn names(method: &str) -> bool {
    let Some((class, message)) = method.split_once('.') else { return false };
    let Some(class) = Model::get().class(class) else { return false };
    target(class, message).is_some() && class.message(message).is_some_and(|message| !message.implicit)
}

enum Target<'a> {
    Set(&'a str),
    Add(&'a str),
    Remove(&'a str),
}

fn target<'a>(class: &Class, message: &'a str) -> Option<Target<'a>> {
    let field = |prefix: &str| message.strip_prefix(prefix).filter(|field| class.field(field).is_some());
    field("set_")
        .map(Target::Set)
        .or_else(|| field("add_to_").map(Target::Add))
        .or_else(|| field("remove_from_").map(Target::Remove))
}

/// Writes the field.
///
/// # Errors
/// HANDLE_INVALID; the VM's tests; MAP_DUPLICATE_KEY.
pub async fn write(context: Arc<Context>, args: Args) -> ApiResult {
    let object = args.reference(0)?;
    let (class, message) = context.method.split_once('.').unwrap_or(("", ""));
    let facts = Model::get().class(class).ok_or_else(|| ApiError::new("NOT_IMPLEMENTED", [&*context.method]))?;
    let target = target(facts, message).ok_or_else(|| ApiError::new("NOT_IMPLEMENTED", [&*context.method]))?;
    context.step(|world| {
        world.database.check(class, &object)?;
        let (Target::Set(field) | Target::Add(field) | Target::Remove(field)) = target;
        if let Some((_, operation)) = LOCKED.iter().find(|(locked, _)| class == "VM" && *locked == field) {
            check(world, &object, operation, false)?;
        }
        match target {
            Target::Set(field) => {
                let value = args.0.get(1).cloned().unwrap_or_else(Value::void);
                world.database.set(class, &object, field, value)
            }
            Target::Add(field) => add(world, class, &object, field, &args),
            Target::Remove(field) => world.database.take(class, &object, field, &args.text(1)?),
        }?;
        refresh(world, class, &object);
        Ok(Value::void())
    })
}

fn add(world: &mut World, class: &str, object: &Ref, field: &str, args: &Args) -> ApiResult<()> {
    let key = args.text(1)?;
    if world.database.get(class, object, field).is_some_and(|map| map.member(&key).is_some()) {
        return Err(ApiError::new("MAP_DUPLICATE_KEY", [class, field, object, &key]));
    }
    world.database.put(class, object, field, &key, args.0.get(2).cloned().unwrap_or_else(Value::void))
}

fn refresh(world: &mut World, class: &str, object: &Ref) {
    match class {
        "VM" => update_allowed(world, object),
        "SR" => update_sr(world, object),
        "VDI" => {
            update_vdi(world, object);
            // on_boot decides what the VMs of the disk admit.
            for vbd in world.database.texts("VDI", object, "VBDs") {
                let vm = world.database.text("VBD", &vbd, "VM");
                update_allowed(world, &vm);
            }
        }
        _ => {}
    }
}

/// Whether a message is the constructor or destructor of a class that nothing else is said about.
pub fn makes(method: &str) -> bool {
    let Some((class, message)) = method.split_once('.') else { return false };
    let known = Model::get().class(class).and_then(|class| class.message(message));
    matches!(message, "create" | "destroy") && known.is_some_and(|message| message.implicit)
}

/// Creates a row from a record, or destroys one.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn make(context: Arc<Context>, args: Args) -> ApiResult {
    let (class, message) = context.method.split_once('.').unwrap_or(("", ""));
    if message == "destroy" {
        let object = args.reference(0)?;
        context.step(|world| world.database.check(class, &object).map(|()| world.database.destroy(class, &object)))?;
        return Ok(Value::void());
    }
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    context.step(|world| {
        let (reference, uuid) = (world.reference(), world.uuid());
        let mut fields = super::vm::given(class, &record);
        fields.push(("uuid", Value::str(uuid)));
        Ok(Value::str(world.database.create(class, reference, fields)))
    })
}

/// VM.set_memory, VM.set_memory_limits, VM.set_memory_static_range and VM.set_memory_dynamic_range.
///
/// # Errors
/// The VM's tests; MEMORY_CONSTRAINT_VIOLATION.
pub async fn set_memory(context: Arc<Context>, args: Args) -> ApiResult {
    let vm = args.reference(0)?;
    let number = |at| args.int(at);
    let (fields, operation): (Vec<(&str, i64)>, &str) = match &*context.method {
        "VM.set_memory" => {
            let value = number(1)?;
            let all = ["memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_target"];
            (all.iter().map(|field| (*field, value)).collect(), "changing_memory_limits")
        }
        "VM.set_memory_limits" => {
            let all = [("memory_static_min", 1), ("memory_static_max", 2), ("memory_dynamic_min", 3), ("memory_dynamic_max", 4)];
            (all.iter().map(|(field, at)| Ok((*field, number(*at)?))).collect::<ApiResult<_>>()?, "changing_memory_limits")
        }
        "VM.set_memory_static_range" => {
            (vec![("memory_static_min", number(1)?), ("memory_static_max", number(2)?)], "changing_static_range")
        }
        _ => (vec![("memory_dynamic_min", number(1)?), ("memory_dynamic_max", number(2)?)], "changing_dynamic_range"),
    };
    context.step(|world| {
        check(world, &vm, operation, false)?;
        let is_low = |(field, _): &&(&str, i64)| field.ends_with("_min");
        let (low, high): (Vec<_>, Vec<_>) = fields.iter().partition(is_low);
        if low.iter().any(|(_, low)| high.iter().any(|(_, high)| low > high)) {
            return Err(ApiError::new(
                "MEMORY_CONSTRAINT_VIOLATION",
                ["Memory limits must satisfy: static_min <= dynamic_min <= dynamic_max <= static_max"],
            ));
        }
        for (field, value) in &fields {
            world.database.set("VM", &vm, field, Value::Int(*value))?;
        }
        Ok(Value::void())
    })
}
