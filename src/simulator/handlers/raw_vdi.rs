//! GET /export_raw_vdi and PUT /import_raw_vdi: the bytes of one disk, without any framing.
//!
//! Formats other than `raw` are refused as by a server that does not know them: this program needs none.

use super::pages::{self, Failure};
use super::placing::{self, Place};
use super::transfer::{self, End, Kind, Transfer};
use crate::simulator::error::ApiError;
use crate::simulator::http::handlers::{Exchange, Handling};
use crate::simulator::storage::content::Block;
use crate::simulator::storage::ledger;
use crate::simulator::value::{Ref, Value};
use crate::simulator::xva::CHUNK;

use super::import::DiskWriter;

const GET: Kind = Kind { realm: "get_export_raw_vdi", role: "vm-admin", label: "VDI.export_raw" };
const PUT: Kind = Kind { realm: "put_import_raw_vdi", role: "vm-admin", label: "VDI.import_raw" };

/// The handler of GET.
pub(super) fn get(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, GET, async |transfer| send(transfer).await.unwrap_or_else(|end| end)))
}

/// The handler of PUT.
pub(super) fn put(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, PUT, async |transfer| receive(transfer).await.unwrap_or_else(|end| end)))
}

/// The disk that the query names, by uuid or reference.
fn disk(transfer: &Transfer<'_>) -> Result<Ref, Failure> {
    let Some(asked) = transfer.param("vdi") else { return Err(Failure::exception("Not_found")) };
    transfer.context.step(|world| {
        if asked.starts_with("OpaqueRef:") {
            return if world.database.exists("VDI", asked) { Ok(asked.into()) } else { Err(Failure::missing_row("VDI", asked)) };
        }
        world.database.by_uuid("VDI", asked).cloned().ok_or_else(|| Failure::missing_uuid("VDI", asked))
    })
}

/// Whether the format is one that this server knows; otherwise the answer is complete.
async fn refuse_format(transfer: &mut Transfer<'_>) -> Option<End> {
    let format = transfer.param("format").unwrap_or("raw").to_owned();
    if format == "raw" {
        return None;
    }
    let response = pages::closing("1.0", "404", "Not Found").into_bytes();
    Some(transfer.refuse(&response, ApiError::internal(format!("Unknown format {format}"))).await)
}

async fn elsewhere(transfer: &mut Transfer<'_>, sr: &Ref) -> Option<End> {
    let here = transfer.exchange.front.host.clone();
    match transfer.context.step(|world| placing::find(world, &here, std::slice::from_ref(sr))) {
        Place::Here => None,
        Place::There(address) => Some(placing::redirect(transfer, &address).await),
        Place::Nowhere => Some(transfer.refuse(b"", ApiError::bare("NO_HOSTS_AVAILABLE")).await),
    }
}

async fn send(transfer: &mut Transfer<'_>) -> Result<End, End> {
    if let Some(end) = refuse_format(transfer).await {
        return Ok(end);
    }
    let vdi = disk(transfer)?;
    let elapsed = transfer.context.shared.clock.elapsed();
    let (uuid, sr, size) = transfer.context.step(|world| {
        ledger::settle(world, &vdi, elapsed);
        let text = |field| world.database.text("VDI", &vdi, field);
        (text("uuid"), text("SR"), world.database.int("VDI", &vdi, "virtual_size").max(0) as u64)
    });
    if let Some(end) = elsewhere(transfer, &sr).await {
        return Ok(end);
    }
    let mut head = pages::closing("1.1", "200", "OK").into_bytes();
    head.truncate(head.len() - 2);
    let task = transfer.context.task.clone();
    let rest = format!(
        "task-id:{task}\r\ncontent-type:application/octet-stream\r\ncontent-disposition: attachment; filename=\"{uuid}.raw\"\r\n\r\n"
    );
    head.extend_from_slice(rest.as_bytes());
    transfer.send_head(&head).await?;
    let blocks = size.div_ceil(CHUNK as u64);
    for place in 0..blocks {
        let (block, length, takes) = transfer.context.step(|world| {
            let block = world.storage.read_block(&uuid, place);
            let timings = &world.storage.timings;
            let takes = timings.moving(if block == Block::Zero { 0 } else { CHUNK as i64 }, timings.copy_bytes_per_second);
            (block, world.storage.block_length(&uuid, place), takes)
        });
        if !takes.is_zero() {
            transfer.context.work(takes).await;
        }
        transfer.send(&block.bytes(length)).await?;
        if place % 64 == 63 {
            transfer.context.progress(place as f64 / blocks as f64);
        }
    }
    Ok(End::Done(None))
}

async fn receive(transfer: &mut Transfer<'_>) -> Result<End, End> {
    if let Some(end) = refuse_format(transfer).await {
        return Ok(end);
    }
    let vdi = disk(transfer)?;
    let (sr, size) = transfer
        .context
        .step(|world| (world.database.text("VDI", &vdi, "SR"), world.database.int("VDI", &vdi, "virtual_size").max(0) as u64));
    if let Some(end) = elsewhere(transfer, &sr).await {
        return Ok(end);
    }
    transfer.send_head(&pages::receiving(&transfer.context.task.clone())).await?;
    let mut writer = DiskWriter::new(vdi.clone(), size);
    let mut at = 0;
    while let Some(bytes) = transfer.receive().await? {
        let fits = bytes.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
        writer.write(&transfer.context, at, &bytes[..fits])?;
        at += fits as u64;
        if at == size {
            break;
        }
    }
    writer.finish(&transfer.context)?;
    Ok(End::Done(Some(Value::Str(vdi))))
}
