//! PUT /import: an archive becomes VMs and disks. Metadata goes the same way, without disks.

mod create;
mod disk;

use std::collections::HashMap;

use super::metadata;
use super::pages::{self, Failure};
use super::placing::{self, Place};
use super::transfer::{self, End, Kind, Transfer};
use crate::simulator::error::ApiError;
use crate::simulator::http::handlers::{Exchange, Handling};
use crate::simulator::http::response;
use crate::simulator::model::release;
use crate::simulator::operations::vdi;
use crate::simulator::operations::{copies, device_lifecycle};
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;
use crate::simulator::xva::ova;
use crate::simulator::xva::reader::{Broken, Reader, Step};
use create::Created;
pub(super) use disk::DiskWriter;

const KIND: Kind = Kind { realm: "put_import", role: "vm-admin", label: "VM.import" };
/// Bytes that are unpacked at once: packed ones may stand for many more.
const STEP: usize = 1024;

/// What a client asks of an import.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Where disks go; none: only metadata come, and the disks are there.
    sr: Option<Ref>,
    /// Keep uuids and addresses, and take the place of what is there.
    restore: bool,
    /// Go on where something is missing.
    force: bool,
    /// Only check.
    dry_run: bool,
    /// `vdi:<uuid>=<uuid>`: which disks take the place of which.
    disks: HashMap<Text, Text>,
    excluded: Vec<Text>,
}

impl Settings {
    fn of(transfer: &Transfer<'_>) -> Self {
        let flag = |name| transfer.flag(name, false);
        Self { restore: flag("restore"), force: flag("force"), ..Self::default() }
    }

    /// The settings of an import of metadata.
    pub(super) fn of_metadata(transfer: &Transfer<'_>) -> Self {
        let query = transfer.exchange.head.query.iter();
        let disks = query.filter_map(|(name, value)| Some((Text::from(name.strip_prefix("vdi:")?), Text::from(&**value))));
        let excluded = metadata::excluded(transfer);
        Self { dry_run: transfer.flag("dry_run", false), disks: disks.collect(), excluded, ..Self::of(transfer) }
    }
}

/// The handler.
pub(super) fn put(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, KIND, async |transfer| import(transfer).await.unwrap_or_else(|end| end)))
}

async fn import(transfer: &mut Transfer<'_>) -> Result<End, End> {
    let upgrading = transfer.context.step(|world| {
        let pool = world.database.refs("pool");
        pool.iter().any(|pool| world.database.map_text("pool", pool, "other_config", "rolling_upgrade_in_progress").is_some())
    });
    if upgrading {
        let page = response::bad_request(Some(transfer.exchange.head));
        return Ok(transfer.refuse(&page, ApiError::bare("NOT_SUPPORTED_DURING_UPGRADE")).await);
    }
    let sr = storage(transfer)?;
    let (iso, here) = (is_iso(transfer, &sr), transfer.exchange.front.host.clone());
    if iso {
        let page = response::bad_request(Some(transfer.exchange.head));
        return Ok(transfer.refuse(&page, ApiError::bare("SR_OPERATION_NOT_SUPPORTED")).await);
    }
    match transfer.context.step(|world| placing::find(world, &here, std::slice::from_ref(&sr))) {
        Place::Here => {}
        Place::There(address) => return Ok(placing::redirect(transfer, &address).await),
        Place::Nowhere => return Err(ApiError::new("SR_HAS_NO_PBDS", [&*sr]).into()),
    }
    let settings = Settings { sr: Some(sr), ..Settings::of(transfer) };
    receive(transfer, settings).await
}

/// The SR that the query names, else the pool's default.
fn storage(transfer: &Transfer<'_>) -> Result<Ref, Failure> {
    transfer.context.step(|world| {
        if let Some(uuid) = transfer.param("sr_uuid") {
            return world.database.by_uuid("SR", uuid).cloned().ok_or_else(|| Failure::missing_uuid("SR", uuid));
        }
        if let Some(sr) = transfer.param("sr_id") {
            let by_uuid = world.database.by_uuid("SR", sr).cloned();
            let known = world.database.exists("SR", sr).then(|| Ref::from(sr));
            return known.or(by_uuid).ok_or_else(|| Failure::missing_row("SR", sr));
        }
        let pool = world.database.refs("pool").into_iter().next().unwrap_or_default();
        let sr = world.database.text("pool", &pool, "default_SR");
        if world.database.exists("SR", &sr) { Ok(sr) } else { Err(ApiError::new("DEFAULT_SR_NOT_FOUND", [&*sr]).into()) }
    })
}

fn is_iso(transfer: &Transfer<'_>, sr: &Ref) -> bool {
    transfer.context.step(|world| &*world.database.text("SR", sr, "content_type") == "iso")
}

/// Reads an archive and makes what it says.
pub(super) async fn receive(transfer: &mut Transfer<'_>, settings: Settings) -> Result<End, End> {
    if transfer.exchange.head.header_value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        transfer.send_head(&pages::closing("1.1", "403", "Forbidden").into_bytes()).await?;
        return Err(ApiError::bare("IMPORT_ERROR_CANNOT_HANDLE_CHUNKED").into());
    }
    let task = transfer.context.task.clone();
    transfer.send_head(&pages::receiving(&task)).await?;
    let zstd = transfer.context.step(|world| world.release >= release("quebec"));
    let mut import = Import { settings, reader: Some(Reader::new(zstd)), ..Import::default() };
    let outcome = import.run(transfer).await;
    let ended = match outcome {
        Ok(()) => import.finish(transfer),
        Err(end) => Err(end),
    };
    if ended.is_err() && !import.settings.force {
        import.undo(transfer).await;
    }
    ended
}

#[derive(Default)]
struct Import {
    settings: Settings,
    reader: Option<Reader>,
    created: Option<Created>,
    writers: HashMap<Text, DiskWriter>,
    wrong: usize,
    over: bool,
}

impl Import {
    async fn run(&mut self, transfer: &mut Transfer<'_>) -> Result<(), End> {
        let (mut received, expected) = (0u64, transfer.exchange.head.content_length);
        while !self.over {
            let Some(piece) = transfer.receive().await? else { break };
            for bytes in piece.chunks(STEP) {
                let mut steps = Vec::new();
                let Some(reader) = &mut self.reader else { break };
                let read = reader.feed(bytes, &mut |step| steps.push(step));
                self.steps(transfer, steps).await?;
                read.map_err(Broken::into_api_error)?;
            }
            received += piece.len() as u64;
            if let Some(expected) = expected.filter(|expected| *expected < u64::from(u32::MAX) << 16) {
                transfer.context.progress(received as f64 / expected.max(1) as f64);
            }
        }
        let mut steps = Vec::new();
        let rest = self.reader.take().map(|reader| reader.finish(&mut |step| steps.push(step)));
        self.steps(transfer, steps).await?;
        rest.unwrap_or(Ok(())).map_err(|broken| broken.into_api_error().into())
    }

    async fn steps(&mut self, transfer: &Transfer<'_>, steps: Vec<Step>) -> Result<(), End> {
        for step in steps {
            match step {
                Step::Ova(text) => self.objects(transfer, &text).await?,
                Step::Chunk { disk, offset, bytes, right } => {
                    self.wrong += usize::from(!right);
                    let Some(writer) = self.writers.get_mut(&disk) else {
                        let found = format!("{disk}/{offset}");
                        return Err(ApiError::new("IMPORT_ERROR_UNEXPECTED_FILE", ["the end of the archive", &found]).into());
                    };
                    writer.write(&transfer.context, offset, &bytes)?;
                }
                Step::End => self.over = true,
            }
        }
        Ok(())
    }

    async fn objects(&mut self, transfer: &Transfer<'_>, text: &[u8]) -> Result<(), End> {
        let objects = ova::read(text).map_err(Broken::into_api_error)?;
        let created = self.created.insert(Created::default());
        create::all(&transfer.context, &self.settings, &objects, created).await?;
        self.writers = created.writers();
        let task = transfer.context.task.clone();
        transfer.context.step(|world| {
            // The client may have destroyed its task.
            let _ = world.database.put("task", &task, "other_config", "object_creation", Value::str("complete"));
        });
        Ok(())
    }

    /// Everything has come: the disks are written out and the VMs are let go.
    fn finish(&mut self, transfer: &Transfer<'_>) -> Result<End, End> {
        if self.wrong > 0 && !self.settings.force {
            return Err(ApiError::bare("IMPORT_ERROR_SOME_CHECKSUMS_FAILED").into());
        }
        for writer in self.writers.values_mut() {
            writer.finish(&transfer.context)?;
        }
        let created = self.created.as_ref();
        let vms = created.map(Created::result).unwrap_or_default();
        if !self.settings.dry_run {
            let task = &transfer.context.task;
            transfer.context.step(|world| created.iter().for_each(|created| let_go(world, task, &created.vms)));
        }
        Ok(End::Done(Some(Value::texts(vms))))
    }

    /// Takes back what was made.
    async fn undo(&mut self, transfer: &Transfer<'_>) {
        let Some(created) = self.created.take() else { return };
        transfer.context.step(|world| created.vms.iter().for_each(|vm| copies::destroy_vm(world, vm)));
        for disk in created.own_disks() {
            vdi::discard(&transfer.context, &disk).await;
        }
    }
}

fn let_go(world: &mut World, task: &Ref, vms: &[Ref]) {
    for vm in vms {
        // The VM was made by this import and is in nobody else's hands.
        let _ = world.database.take("VM", vm, "current_operations", task);
        device_lifecycle::update_vm(world, vm);
    }
}
