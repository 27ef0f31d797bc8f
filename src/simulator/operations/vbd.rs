//! VBD, VIF and VTPM: what is plugged into VMs.

use std::sync::Arc;

use super::Args;
use super::copies::{destroy_vbd, destroy_vif, mac};
use super::device_lifecycle::{update_vbd, update_vdi, update_vif, vbd_operations};
use super::locks::{Hold, holding};
use super::vm::given;
use super::vm_lifecycle::update_allowed;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::ledger;
use crate::simulator::value::{Ref, Text, Value, is_null};
use crate::simulator::world::World;

/// VBD.create.
///
/// # Errors
/// HANDLE_INVALID, DEVICE_ALREADY_EXISTS, INVALID_DEVICE, VBD_CDS_MUST_BE_READONLY, VDI_READONLY.
pub async fn create(context: Arc<Context>, args: Args) -> ApiResult {
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    let text = |field: &str| record.member(field).and_then(Value::as_text).cloned().unwrap_or_default();
    let (vm, vdi) = (text("VM"), text("VDI"));
    let empty = matches!(record.member("empty"), Some(Value::Bool(true)));
    context.step(|world| {
        world.database.check("VM", &vm)?;
        let device = free_device(world, &vm, &text("userdevice"))?;
        if !empty {
            world.database.check("VDI", &vdi)?;
            if &*text("mode") == "RW" && world.database.bool("VDI", &vdi, "read_only") {
                return Err(ApiError::new("VDI_READONLY", [&*vdi]));
            }
        }
        if &*text("type") == "CD" && &*text("mode") == "RW" {
            return Err(ApiError::bare("VBD_CDS_MUST_BE_READONLY"));
        }
        let (reference, uuid) = (world.reference(), world.uuid());
        let mut fields = given("VBD", &record);
        fields.extend([
            ("uuid", Value::str(uuid)),
            ("userdevice", Value::str(device)),
            ("currently_attached", Value::Bool(false)),
        ]);
        if record.member("unpluggable").is_none() {
            fields.push(("unpluggable", Value::Bool(true)));
        }
        let vbd = world.database.create("VBD", reference, fields);
        refresh(world, &vbd);
        Ok(Value::str(vbd))
    })
}

/// Attaches a disk that was just made for a VM.
pub fn attach_new_disk(world: &mut World, vm: &Ref, vdi: &Ref, device: &str, bootable: bool) {
    let (reference, uuid) = (world.reference(), world.uuid());
    let fields = [
        ("uuid", Value::str(uuid)),
        ("VM", Value::str(vm.clone())),
        ("VDI", Value::str(vdi.clone())),
        ("userdevice", Value::str(device)),
        ("bootable", Value::Bool(bootable)),
        ("mode", Value::str("RW")),
        ("type", Value::str("Disk")),
        ("unpluggable", Value::Bool(true)),
        ("other_config", Value::pairs([("owner", "")])),
    ];
    let vbd = world.database.create("VBD", reference, fields);
    refresh(world, &vbd);
}

fn refresh(world: &mut World, vbd: &str) {
    update_vbd(world, vbd);
    let vdi = world.database.text("VBD", vbd, "VDI");
    update_vdi(world, &vdi);
}

/// The device number asked for, or the first free one.
fn free_device(world: &World, vm: &Ref, wanted: &Text) -> ApiResult<Text> {
    let vbds = world.database.texts("VM", vm, "VBDs");
    let taken: Vec<Text> = vbds.iter().map(|vbd| world.database.text("VBD", vbd, "userdevice")).collect();
    if &**wanted == "autodetect" {
        return (0..256)
            .map(|n| Text::from(n.to_string()))
            .find(|n| !taken.contains(n))
            .ok_or_else(|| ApiError::bare("NO_MORE_DEVICES"));
    }
    if taken.contains(wanted) {
        return Err(ApiError::new("DEVICE_ALREADY_EXISTS", [&**wanted]));
    }
    let letters = wanted.strip_prefix("xvd").or_else(|| wanted.strip_prefix("hd")).or_else(|| wanted.strip_prefix("sd"));
    if wanted.parse::<u16>().is_err() && letters.is_none() {
        return Err(ApiError::new("INVALID_DEVICE", [&**wanted]));
    }
    Ok(wanted.clone())
}

/// VBD.destroy.
///
/// # Errors
/// OPERATION_NOT_ALLOWED while it is plugged.
pub async fn destroy(context: Arc<Context>, args: Args) -> ApiResult {
    let vbd = args.reference(0)?;
    context.step(|world| {
        world.database.check("VBD", &vbd)?;
        let vm = world.database.text("VBD", &vbd, "VM");
        if world.database.bool("VBD", &vbd, "currently_attached") {
            let uuid = world.database.text("VM", &vm, "uuid");
            let text = format!("VBD '{}' still attached to '{uuid}'", world.database.text("VBD", &vbd, "uuid"));
            return Err(ApiError::new("OPERATION_NOT_ALLOWED", [text]));
        }
        let vdi = world.database.text("VBD", &vbd, "VDI");
        destroy_vbd(world, &vbd);
        update_vdi(world, &vdi);
        update_allowed(world, &vm);
        Ok(Value::void())
    })
}

/// VBD.plug.
///
/// # Errors
/// Why not.
pub async fn plug(context: Arc<Context>, args: Args) -> ApiResult {
    switch(&context, &args.reference(0)?, "plug", "VBD.plug", true).await
}

/// VBD.unplug and VBD.unplug_force.
///
/// # Errors
/// Why not.
pub async fn unplug(context: Arc<Context>, args: Args) -> ApiResult {
    let operation = if &*context.method == "VBD.unplug_force" { "unplug_force" } else { "unplug" };
    switch(&context, &args.reference(0)?, operation, "VBD.unplug", false).await
}

async fn switch(context: &Context, vbd: &Ref, operation: &'static str, timing: &str, attached: bool) -> ApiResult {
    holding(context, &[Hold::vbd(vbd, operation)], async {
        let time = context.step(|world| world.storage.timings.of(timing));
        context.work(time).await;
        context.step(|world| {
            let vdi = world.database.text("VBD", vbd, "VDI");
            ledger::settle(world, &vdi, context.shared.clock.elapsed());
            world.database.set("VBD", vbd, "currently_attached", Value::Bool(attached))?;
            ledger::settle(world, &vdi, context.shared.clock.elapsed());
            Ok(())
        })
    })
    .await?;
    context.step(|world| refresh(world, vbd));
    Ok(Value::void())
}

/// VBD.insert.
///
/// # Errors
/// VBD_NOT_REMOVABLE_MEDIA, VBD_NOT_EMPTY and the like.
pub async fn insert(context: Arc<Context>, args: Args) -> ApiResult {
    let (vbd, vdi) = (args.reference(0)?, args.reference(1)?);
    context.step(|world| world.database.check("VBD", &vbd).and_then(|()| world.database.check("VDI", &vdi)))?;
    media(&context, &vbd, "insert", Some(&vdi)).await
}

/// VBD.eject.
///
/// # Errors
/// VBD_NOT_REMOVABLE_MEDIA, VBD_IS_EMPTY and the like.
pub async fn eject(context: Arc<Context>, args: Args) -> ApiResult {
    media(&context, &args.reference(0)?, "eject", None).await
}

async fn media(context: &Context, vbd: &Ref, operation: &'static str, vdi: Option<&Ref>) -> ApiResult {
    holding(context, &[Hold::vbd(vbd, operation)], async {
        let time = context.step(|world| world.storage.timings.of(&format!("VBD.{operation}")));
        context.work(time).await;
        context.step(|world| {
            let old = world.database.text("VBD", vbd, "VDI");
            world.database.set("VBD", vbd, "empty", Value::Bool(vdi.is_none()))?;
            world.database.set("VBD", vbd, "VDI", vdi.map_or_else(Value::null, |vdi| Value::str(vdi.clone())))?;
            update_vdi(world, &old);
            Ok(())
        })
    })
    .await?;
    context.step(|world| refresh(world, vbd));
    Ok(Value::void())
}

/// VBD.assert_attachable.
///
/// # Errors
/// HANDLE_INVALID, OPERATION_NOT_ALLOWED.
pub async fn assert_attachable(context: Arc<Context>, args: Args) -> ApiResult {
    let vbd = args.reference(0)?;
    context.step(|world| {
        world.database.check("VBD", &vbd)?;
        if vbd_operations(world, &vbd).contains(&"attach") {
            Ok(Value::void())
        } else {
            Err(ApiError::new("OPERATION_NOT_ALLOWED", ["VBD cannot be attached now"]))
        }
    })
}

/// VIF.create.
///
/// # Errors
/// HANDLE_INVALID, DEVICE_ALREADY_EXISTS, MAC_INVALID.
pub async fn create_vif(context: Arc<Context>, args: Args) -> ApiResult {
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    let text = |field: &str| record.member(field).and_then(Value::as_text).cloned().unwrap_or_default();
    let (vm, network, device, address) = (text("VM"), text("network"), text("device"), text("MAC"));
    context.step(|world| {
        world.database.check("VM", &vm)?;
        world.database.check("network", &network)?;
        let vifs = world.database.texts("VM", &vm, "VIFs");
        if vifs.iter().any(|vif| world.database.text("VIF", vif, "device") == device) {
            return Err(ApiError::new("DEVICE_ALREADY_EXISTS", [&*device]));
        }
        if !address.is_empty() && !is_mac(&address) {
            return Err(ApiError::new("MAC_INVALID", [&*address]));
        }
        let (reference, uuid) = (world.reference(), world.uuid());
        let mut fields = given("VIF", &record);
        fields.push(("uuid", Value::str(uuid)));
        fields.push(("MAC", if address.is_empty() { mac(world, &vm, &device) } else { Value::str(address.clone()) }));
        fields.push(("MAC_autogenerated", Value::Bool(address.is_empty())));
        fields.push(("currently_attached", Value::Bool(false)));
        let vif = world.database.create("VIF", reference, fields);
        update_vif(world, &vif);
        Ok(Value::str(vif))
    })
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// VIF.destroy.
///
/// # Errors
/// OPERATION_NOT_ALLOWED while it is plugged.
pub async fn destroy_one_vif(context: Arc<Context>, args: Args) -> ApiResult {
    let vif = args.reference(0)?;
    context.step(|world| {
        world.database.check("VIF", &vif)?;
        if world.database.bool("VIF", &vif, "currently_attached") {
            return Err(ApiError::new("OPERATION_NOT_ALLOWED", ["VIF still attached"]));
        }
        destroy_vif(world, &vif);
        Ok(Value::void())
    })
}

/// VIF.plug, VIF.unplug and VIF.unplug_force.
///
/// # Errors
/// VM_BAD_POWER_STATE, DEVICE_ALREADY_ATTACHED, DEVICE_ALREADY_DETACHED.
pub async fn switch_vif(context: Arc<Context>, args: Args) -> ApiResult {
    let vif = args.reference(0)?;
    let plug = &*context.method == "VIF.plug";
    let time = context.step(|world| {
        world.database.check("VIF", &vif)?;
        let vm = world.database.text("VIF", &vif, "VM");
        let state = world.database.text("VM", &vm, "power_state");
        if &*state != "Running" {
            return Err(ApiError::new("VM_BAD_POWER_STATE", [&*vm, "running", &state.to_lowercase()]));
        }
        if world.database.bool("VIF", &vif, "currently_attached") == plug {
            let code = if plug { "DEVICE_ALREADY_ATTACHED" } else { "DEVICE_ALREADY_DETACHED" };
            return Err(ApiError::new(code, [&*vif]));
        }
        Ok(world.storage.timings.of(if plug { "VIF.plug" } else { "VIF.unplug" }))
    })?;
    context.work(time).await;
    context.step(|world| {
        world.database.set("VIF", &vif, "currently_attached", Value::Bool(plug))?;
        update_vif(world, &vif);
        Ok(Value::void())
    })
}

/// VIF.move.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn move_vif(context: Arc<Context>, args: Args) -> ApiResult {
    let (vif, network) = (args.reference(0)?, args.reference(1)?);
    context.step(|world| {
        world.database.check("VIF", &vif)?;
        world.database.check("network", &network)?;
        world.database.set("VIF", &vif, "network", Value::str(network))?;
        Ok(Value::void())
    })
}

/// VTPM.create.
///
/// # Errors
/// VM_BAD_POWER_STATE, VTPM_MAX_AMOUNT_REACHED and the like.
pub async fn create_vtpm(context: Arc<Context>, args: Args) -> ApiResult {
    let (vm, unique) = (args.reference(0)?, args.bool(1)?);
    holding(&context, &[Hold::vm(&vm, "create_vtpm")], async {
        context.step(|world| {
            let (reference, uuid) = (world.reference(), world.uuid());
            let fields = [
                ("uuid", Value::str(uuid)),
                ("VM", Value::str(vm.clone())),
                ("backend", Value::null()),
                ("persistence_backend", Value::str("xapi")),
                ("is_unique", Value::Bool(unique)),
                ("allowed_operations", Value::texts(["destroy"])),
            ];
            Ok(Value::str(world.database.create("VTPM", reference, fields)))
        })
    })
    .await
}

/// VTPM.destroy.
///
/// # Errors
/// VM_BAD_POWER_STATE while its VM is not halted.
pub async fn destroy_vtpm(context: Arc<Context>, args: Args) -> ApiResult {
    let vtpm = args.reference(0)?;
    context.step(|world| {
        world.database.check("VTPM", &vtpm)?;
        let vm = world.database.text("VTPM", &vtpm, "VM");
        let state = world.database.text("VM", &vm, "power_state");
        if !is_null(&vm) && &*state != "Halted" && world.database.exists("VM", &vm) {
            return Err(ApiError::new("VM_BAD_POWER_STATE", [&*vm, "halted", &state.to_lowercase()]));
        }
        world.database.destroy("VTPM", &vtpm);
        update_allowed(world, &vm);
        Ok(Value::void())
    })
}
