//! Changed block tracking and network block devices.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Args;
use super::device_lifecycle::update_vdi;
use super::locks::{Hold, holding};
use super::vdi::work;
use super::vm_checkpoint::assert_licensed;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::content::{self, Block};
use crate::simulator::storage::ledger;
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// Blocks of a bitmap are this large.
const TRACKED: u64 = 64 << 10;

/// VDI.enable_cbt and VDI.disable_cbt. Doing what is done already succeeds.
///
/// # Errors
/// LICENCE_RESTRICTION, SR_OPERATION_NOT_SUPPORTED, OPERATION_NOT_ALLOWED on snapshots.
pub async fn switch(context: Arc<Context>, args: Args) -> ApiResult {
    let vdi = args.reference(0)?;
    let on = &*context.method == "VDI.enable_cbt";
    let (on_sr, on_vdi) = if on { ("vdi_enable_cbt", "enable_cbt") } else { ("vdi_disable_cbt", "disable_cbt") };
    let sr = licensed_sr(&context, &vdi)?;
    holding(&context, &[Hold::sr(&sr, on_sr), Hold::vdi(&vdi, on_vdi)], async {
        work(&context, &context.method, &sr).await;
        context.step(|world| world.database.set("VDI", &vdi, "cbt_enabled", Value::Bool(on)))?;
        Ok(Value::void())
    })
    .await
}

fn licensed_sr(context: &Context, vdi: &Ref) -> ApiResult<Ref> {
    context.step(|world| {
        world.database.check("VDI", vdi)?;
        assert_licensed(world, "restrict_cbt", "CBT")?;
        Ok(world.database.text("VDI", vdi, "SR"))
    })
}

/// VDI.data_destroy: the snapshot's data goes, its record and what it knows of changes stay.
///
/// # Errors
/// VDI_IN_USE, OPERATION_NOT_ALLOWED, VDI_NO_CBT_METADATA, SR_OPERATION_NOT_SUPPORTED.
pub async fn data_destroy(context: Arc<Context>, args: Args) -> ApiResult {
    let vdi = args.reference(0)?;
    let sr = licensed_sr(&context, &vdi)?;
    holding(&context, &[Hold::sr(&sr, "vdi_data_destroy"), Hold::vdi(&vdi, "data_destroy")], async {
        context.step(|world| {
            let attached = ledger::is_attached(world, &vdi);
            if attached { Err(ApiError::new("VDI_IN_USE", [&*vdi, "data_destroy"])) } else { Ok(()) }
        })?;
        work(&context, "VDI.data_destroy", &sr).await;
        context.step(|world| {
            for vbd in world.database.texts("VDI", &vdi, "VBDs") {
                super::copies::destroy_vbd(world, &vbd);
            }
            world.database.set("VDI", &vdi, "type", Value::str("cbt_metadata"))?;
            Ok(())
        })
    })
    .await?;
    context.step(|world| update_vdi(world, &vdi));
    Ok(Value::void())
}

/// VDI.list_changed_blocks: a bitmap of the 64 KiB blocks that differ, most significant bit first, in base64.
///
/// # Errors
/// VDI_NO_CBT_METADATA, SR_BACKEND_FAILURE_460.
pub async fn list_changed_blocks(context: Arc<Context>, args: Args) -> ApiResult {
    let (from, to) = (args.reference(0)?, args.reference(1)?);
    let sr = licensed_sr(&context, &from)?;
    licensed_sr(&context, &to)?;
    work(&context, "VDI.list_changed_blocks", &sr).await;
    context.step(|world| {
        for vdi in [&from, &to] {
            if !world.database.bool("VDI", vdi, "cbt_enabled") {
                return Err(ApiError::new("VDI_NO_CBT_METADATA", [&**vdi]));
            }
            ledger::settle(world, vdi, context.shared.clock.elapsed());
        }
        Ok(Value::str(changes(world, &from, &to)))
    })
}

fn changes(world: &World, from: &Ref, to: &Ref) -> String {
    let uuid = |vdi: &Ref| world.database.text("VDI", vdi, "uuid");
    let (from, to) = (uuid(from), uuid(to));
    let size = world.storage.volume(&to).map_or(0, |volume| volume.virtual_size);
    let bits = (size.max(0) as u64).div_ceil(TRACKED);
    let mut bitmap = vec![0u8; usize::try_from(bits.div_ceil(8)).unwrap_or(0)];
    for block in 0..content::blocks(size) {
        let block_at = |uuid: &Text| world.storage.read_block(uuid, block);
        if differ(&block_at(&from), &block_at(&to)) {
            let per_block = content::BLOCK as u64 / TRACKED;
            for bit in (block * per_block..(block + 1) * per_block).take_while(|bit| *bit < bits) {
                if let Some(byte) = bitmap.get_mut((bit / 8) as usize) {
                    *byte |= 0x80 >> (bit % 8);
                }
            }
        }
    }
    STANDARD.encode(bitmap)
}

fn differ(a: &Block, b: &Block) -> bool {
    a != b
}

/// VDI.get_nbd_info: where the disk can be read over the network. Empty while no network serves that purpose.
///
/// # Errors
/// HANDLE_INVALID.
pub async fn get_nbd_info(context: Arc<Context>, args: Args) -> ApiResult {
    let vdi = args.reference(0)?;
    context.step(|world| {
        world.database.check("VDI", &vdi)?;
        let uuid = world.database.text("VDI", &vdi, "uuid");
        let infos = world.database.refs("network").into_iter().filter(|network| serves(world, network)).flat_map(|network| {
            let pifs = world.database.texts("network", &network, "PIFs");
            pifs.into_iter().filter_map(|pif| info(world, &context, &uuid, &pif)).collect::<Vec<_>>()
        });
        Ok(Value::Set(infos.collect()))
    })
}

fn serves(world: &World, network: &str) -> bool {
    world.database.texts("network", network, "purpose").iter().any(|purpose| matches!(&**purpose, "nbd" | "insecure_nbd"))
}

fn info(world: &World, context: &Context, uuid: &Text, pif: &Text) -> Option<Value> {
    let address = world.database.text("PIF", pif, "IP");
    let host = world.database.text("PIF", pif, "host");
    let name = world.database.text("host", &host, "hostname");
    (!address.is_empty()).then(|| {
        Value::Map(vec![
            ("exportname".into(), Value::str(format!("/{uuid}?session_id={}", context.session))),
            ("address".into(), Value::str(address)),
            ("port".into(), Value::Int(10809)),
            ("cert".into(), Value::str("")),
            ("subject".into(), Value::str(name)),
        ])
    })
}
