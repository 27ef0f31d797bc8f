//! SR and PBD: storage as a whole, and which hosts reach it.

use std::sync::Arc;

use super::Args;
use super::device_lifecycle::{update_sr, update_vdi};
use super::locks::{Hold, holding};
use super::vdi::work;
use super::vm::given;
use crate::simulator::context::Context;
use crate::simulator::durability;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::{collector, ledger};
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// SR.scan: sizes are read again, and the garbage collector is woken.
///
/// # Errors
/// SR_NO_PBDS and the like.
pub async fn scan(context: Arc<Context>, args: Args) -> ApiResult {
    let sr = args.reference(0)?;
    holding(&context, &[Hold::sr(&sr, "scan")], async {
        work(&context, "SR.scan", &sr).await;
        context.step(|world| {
            durability::scanned(world, &sr, context.shared.clock.elapsed());
            ledger::scan(world, &sr, context.shared.clock.elapsed());
        });
        Ok(())
    })
    .await?;
    collector::kick(&context.shared, &sr);
    Ok(Value::void())
}

/// SR.update.
///
/// # Errors
/// As [`scan`].
pub async fn update(context: Arc<Context>, args: Args) -> ApiResult {
    let sr = args.reference(0)?;
    holding(&context, &[Hold::sr(&sr, "update")], async {
        work(&context, "SR.update", &sr).await;
        Ok(Value::void())
    })
    .await
}

/// SR.create: an SR, and a plugged PBD on the host, or on all hosts when it is shared.
///
/// # Errors
/// HANDLE_INVALID, SR_UNKNOWN_DRIVER.
pub async fn create(context: Arc<Context>, args: Args) -> ApiResult {
    let (host, size, sr_type) = (args.reference(0)?, args.int(2)?, args.text(5)?);
    let shared = args.bool(7)?;
    context.step(|world| {
        world.database.check("host", &host)?;
        assert_driver(world, &sr_type)
    })?;
    let time = context.step(|world| world.storage.timings.on("SR.create", &sr_type));
    context.work(time).await;
    context.step(|world| {
        // A driver finds out the size of its device; this one has none to look at.
        let size = if size > 0 { size } else { 500 << 30 };
        let names = [("name_label", 3), ("name_description", 4), ("type", 5), ("content_type", 6), ("sm_config", 8)];
        let mut fields: Vec<(&str, Value)> =
            names.iter().filter_map(|(name, at)| Some((*name, args.0.get(*at)?.clone()))).collect();
        let (reference, uuid) = (world.reference(), world.uuid());
        fields.extend([("uuid", Value::str(uuid)), ("physical_size", Value::Int(size)), ("shared", Value::Bool(shared))]);
        let sr = world.database.create("SR", reference, fields);
        let hosts = if shared { world.database.refs("host") } else { vec![host.clone()] };
        for host in hosts {
            let config = args.0.get(1).cloned().unwrap_or(Value::Map(Vec::new()));
            create_pbd(world, &host, &sr, config, true);
        }
        update_sr(world, &sr);
        Ok(Value::str(sr))
    })
}

fn assert_driver(world: &World, sr_type: &Text) -> ApiResult<()> {
    let drivers = world.database.refs("SM");
    let known = drivers.is_empty() || drivers.iter().any(|sm| world.database.text("SM", sm, "type") == *sr_type);
    if known { Ok(()) } else { Err(ApiError::new("SR_UNKNOWN_DRIVER", [&**sr_type])) }
}

fn create_pbd(world: &mut World, host: &Ref, sr: &Ref, config: Value, plugged: bool) -> Ref {
    let (reference, uuid) = (world.reference(), world.uuid());
    let fields = [
        ("uuid", Value::str(uuid)),
        ("host", Value::str(host.clone())),
        ("SR", Value::str(sr.clone())),
        ("device_config", config),
        ("currently_attached", Value::Bool(plugged)),
    ];
    world.database.create("PBD", reference, fields)
}

/// SR.introduce: a record without PBDs.
///
/// # Errors
/// SR_UUID_EXISTS, SR_UNKNOWN_DRIVER.
pub async fn introduce(context: Arc<Context>, args: Args) -> ApiResult {
    let names = ["uuid", "name_label", "name_description", "type", "content_type", "shared", "sm_config"];
    let (uuid, sr_type) = (args.text(0)?, args.text(3)?);
    context.step(|world| {
        assert_driver(world, &sr_type)?;
        if world.database.by_uuid("SR", &uuid).is_some() {
            return Err(ApiError::new("SR_UUID_EXISTS", [&*uuid]));
        }
        let reference = world.reference();
        let sr = world.database.create("SR", reference, names.iter().zip(&args.0).map(|(name, value)| (*name, value.clone())));
        update_sr(world, &sr);
        Ok(Value::str(sr))
    })
}

/// SR.destroy and SR.forget: the records go, for forget without the data.
///
/// # Errors
/// SR_NO_PBDS, SR_HAS_PBD, SR_NOT_EMPTY and the like.
pub async fn remove(context: Arc<Context>, args: Args) -> ApiResult {
    let sr = args.reference(0)?;
    let destroy = &*context.method == "SR.destroy";
    holding(&context, &[Hold::sr(&sr, if destroy { "destroy" } else { "forget" })], async {
        work(&context, "SR.destroy", &sr).await;
        context.step(|world| {
            let vdis = world.database.texts("SR", &sr, "VDIs");
            if destroy && !vdis.is_empty() {
                return Err(ApiError::bare("SR_NOT_EMPTY"));
            }
            for vdi in vdis {
                ledger::delete(world, &vdi, context.shared.clock.elapsed());
            }
            for pbd in world.database.texts("SR", &sr, "PBDs") {
                world.database.destroy("PBD", &pbd);
            }
            world.database.destroy("SR", &sr);
            Ok(Value::void())
        })
    })
    .await
}

/// SR.get_supported_types.
///
/// # Errors
/// None.
pub async fn get_supported_types(context: Arc<Context>, _args: Args) -> ApiResult {
    context.step(|world| {
        let drivers = world.database.refs("SM");
        Ok(Value::texts(drivers.iter().map(|sm| world.database.text("SM", sm, "type"))))
    })
}

/// PBD.create.
///
/// # Errors
/// HANDLE_INVALID, SR_ALREADY_CONNECTED.
pub async fn create_connection(context: Arc<Context>, args: Args) -> ApiResult {
    let record = args.0.into_iter().next().unwrap_or(Value::Map(Vec::new()));
    let text = |field: &str| record.member(field).and_then(Value::as_text).cloned().unwrap_or_default();
    let (host, sr) = (text("host"), text("SR"));
    context.step(|world| {
        world.database.check("host", &host)?;
        world.database.check("SR", &sr)?;
        let connected =
            world.database.texts("SR", &sr, "PBDs").into_iter().find(|pbd| world.database.text("PBD", pbd, "host") == host);
        if let Some(pbd) = connected {
            return Err(ApiError::new("PBD_EXISTS", [&*sr, &*host, &*pbd]));
        }
        let config = given("PBD", &record).into_iter().find(|(field, _)| *field == "device_config");
        let pbd = create_pbd(world, &host, &sr, config.map_or(Value::Map(Vec::new()), |(_, config)| config), false);
        update_sr(world, &sr);
        Ok(Value::str(pbd))
    })
}

/// PBD.destroy.
///
/// # Errors
/// OPERATION_NOT_ALLOWED while it is plugged.
pub async fn destroy_connection(context: Arc<Context>, args: Args) -> ApiResult {
    let pbd = args.reference(0)?;
    context.step(|world| {
        world.database.check("PBD", &pbd)?;
        if world.database.bool("PBD", &pbd, "currently_attached") {
            return Err(ApiError::new("OPERATION_NOT_ALLOWED", ["PBD.destroy: PBD is currently attached"]));
        }
        let sr = world.database.text("PBD", &pbd, "SR");
        world.database.destroy("PBD", &pbd);
        update_sr(world, &sr);
        Ok(Value::void())
    })
}

/// PBD.plug and PBD.unplug.
///
/// # Errors
/// VDI_IN_USE when a running VM needs it.
pub async fn switch(context: Arc<Context>, args: Args) -> ApiResult {
    let pbd = args.reference(0)?;
    let plug = &*context.method == "PBD.plug";
    let sr = context.step(|world| world.database.check("PBD", &pbd).map(|()| world.database.text("PBD", &pbd, "SR")))?;
    holding(&context, &[Hold::sr(&sr, if plug { "plug" } else { "unplug" })], async {
        context.step(|world| if plug { Ok(()) } else { assert_unused(world, &pbd, &sr) })?;
        work(&context, if plug { "PBD.plug" } else { "PBD.unplug" }, &sr).await;
        context.step(|world| {
            world.database.set("PBD", &pbd, "currently_attached", Value::Bool(plug))?;
            for vdi in world.database.texts("SR", &sr, "VDIs") {
                update_vdi(world, &vdi);
            }
            Ok(Value::void())
        })
    })
    .await
}

fn assert_unused(world: &World, pbd: &Ref, sr: &Ref) -> ApiResult<()> {
    let database = &world.database;
    let host = database.text("PBD", pbd, "host");
    let used =
        database.texts("host", &host, "resident_VMs").into_iter().flat_map(|vm| database.texts("VM", &vm, "VBDs")).find_map(
            |vbd| {
                let vdi = database.text("VBD", &vbd, "VDI");
                (database.bool("VBD", &vbd, "currently_attached") && database.text("VDI", &vdi, "SR") == *sr).then_some(vdi)
            },
        );
    match used {
        Some(vdi) => Err(ApiError::new("VDI_IN_USE", [&*vdi, "unplug"])),
        None => Ok(()),
    }
}
