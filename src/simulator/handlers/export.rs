//! GET /export: a VM, snapshot or template with its disks as an archive.

use std::time::Duration;

use super::pages::{self, Failure};
use super::placing::{self, Place};
use super::transfer::{self, End, Kind, Transfer};
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::http::handlers::{Exchange, Handling};
use crate::simulator::model::{Release, release};
use crate::simulator::operations::locks::{self, Hold};
use crate::simulator::operations::{vm_disks, vm_lifecycle};
use crate::simulator::storage::content::Block;
use crate::simulator::storage::ledger;
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::World;
use crate::simulator::xva::compress::{Compression, Encoder};
use crate::simulator::xva::objects::{self, Catalogue, Scope};
use crate::simulator::xva::writer::{Checksum, Chunks};
use crate::simulator::xva::{CHUNK, ova, tar};

const KIND: Kind = Kind { realm: "get_export", role: "vm-admin", label: "VM.export" };
/// The lock on the VM is tried for so long, in steps, before the export fails.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);
const LOCK_STEP: Duration = Duration::from_secs(2);
/// After so long without data a chunk without bytes is sent.
const SILENCE: Duration = Duration::from_secs(5);

/// The handler.
pub(super) fn get(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, KIND, async |transfer| export(transfer).await.unwrap_or_else(|end| end)))
}

async fn export(transfer: &mut Transfer<'_>) -> Result<End, End> {
    let vm = find_vm(transfer)?;
    let here = transfer.exchange.front.host.clone();
    let place = transfer.context.step(|world| placing::find(world, &here, &vm_disks::required_srs(world, &vm)));
    match place {
        Place::Here => {}
        Place::There(address) => return Ok(placing::redirect(transfer, &address).await),
        Place::Nowhere => return Ok(transfer.refuse(b"", ApiError::bare("NO_HOSTS_AVAILABLE")).await),
    }
    lock(transfer, &vm).await?;
    let streamed = stream(transfer, &vm).await;
    locks::release(&transfer.context, &[Hold::vm(&vm, "export")]).await;
    streamed.map(|()| End::Done(None))
}

/// The VM that `ref` or `uuid` of the query names.
pub(super) fn find_vm(transfer: &Transfer<'_>) -> Result<Ref, Failure> {
    if let Some(uuid) = transfer.param("uuid") {
        let found = transfer.context.step(|world| world.database.by_uuid("VM", uuid).cloned());
        return found.ok_or_else(|| ApiError::new("UUID_INVALID", ["VM", uuid]).into());
    }
    let Some(vm) = transfer.param("ref") else { return Err(Failure::exception("Not_found")) };
    transfer.context.step(|world| world.database.check("VM", vm))?;
    Ok(vm.into())
}

async fn lock(transfer: &Transfer<'_>, vm: &Ref) -> ApiResult<()> {
    let (context, hold) = (&transfer.context, Hold::vm(vm, "export"));
    let mut waited = Duration::ZERO;
    loop {
        let tried: ApiResult<()> = context.step(|world| {
            vm_lifecycle::check(world, vm, "export", false)?;
            hold.mark(world, &context.task);
            Ok(())
        });
        match tried {
            Err(error) if error.code == "OTHER_OPERATION_IN_PROGRESS" && waited < LOCK_PATIENCE => {
                context.work(LOCK_STEP).await;
                context.check_cancelled()?;
                waited += LOCK_STEP;
            }
            outcome => return outcome,
        }
    }
}

async fn stream(transfer: &mut Transfer<'_>, vm: &Ref) -> Result<(), End> {
    let power_state = transfer.flag("preserve_power_state", false);
    let scope = Scope { vms: vec![vm.clone()], power_state, ..Scope::default() };
    let now = transfer.context.shared.clock.now().timestamp();
    let (catalogue, version, shown, server) = transfer.context.step(|world| {
        let catalogue = objects::catalogue(world, &scope)?;
        Ok::<_, ApiError>((catalogue, ova::version(world), world.release, server_name(world)))
    })?;
    let encoder = Encoder::new(compression(transfer.param("use_compression"), shown))?;
    transfer.send_head(&pages::sending(&server, &transfer.context.task.clone(), None)).await?;
    let mut archive = Vec::new();
    tar::entry(&mut archive, "ova.xml", ova::write(&version, &catalogue.objects).as_bytes(), now);
    let mut out = Out { transfer, encoder };
    out.write(&archive).await?;
    out.disks(&catalogue, Checksum::of(shown)).await?;
    out.write(&tar::END).await?;
    out.finish().await
}

/// `Server: xapi/...` in the heads of exports.
pub(super) fn server_name(world: &World) -> String {
    let xapi = world.database.map_text("host", &world.master, "software_version", "xapi");
    format!("xapi/{}", xapi.as_deref().unwrap_or("1.3"))
}

/// What is unknown is no error and means none: so does zstd before 8.1.
fn compression(asked: Option<&str>, shown: Release) -> Compression {
    match asked {
        Some("true") => Compression::Gzip,
        Some("gzip") if shown >= release("quebec") => Compression::Gzip,
        Some("zstd") if shown >= release("quebec") => Compression::Zstd,
        _ => Compression::None,
    }
}

struct Out<'t, 'a> {
    transfer: &'t mut Transfer<'a>,
    encoder: Encoder,
}

/// A disk that is being read.
struct Disk<'a> {
    name: &'a str,
    vdi: &'a Ref,
    uuid: Text,
    blocks: u64,
}

impl Out<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let packed = self.encoder.write(bytes)?;
        if packed.is_empty() { Ok(()) } else { self.transfer.send(&packed).await }
    }

    async fn finish(self) -> Result<(), End> {
        let rest = self.encoder.finish()?;
        self.transfer.send(&rest).await
    }

    async fn disks(&mut self, catalogue: &Catalogue, checksum: Checksum) -> Result<(), End> {
        let mut disks = Vec::new();
        for (name, vdi) in &catalogue.disks {
            disks.extend(self.open(name, vdi)?);
        }
        let total: u64 = disks.iter().map(|disk| disk.blocks).sum();
        let mut done = 0;
        for disk in disks {
            self.disk(&disk, checksum, done, total).await?;
            done += disk.blocks;
        }
        Ok(())
    }

    /// Disks have their content in the archive; ISO images in drives have not.
    fn open<'d>(&self, name: &'d str, vdi: &'d Ref) -> Result<Option<Disk<'d>>, Failure> {
        let elapsed = self.transfer.context.shared.clock.elapsed();
        self.transfer.context.step(|world| {
            if !has_content(world, vdi) {
                return Ok(None);
            }
            let uuid = world.database.text("VDI", vdi, "uuid");
            ledger::settle(world, vdi, elapsed);
            if world.storage.volume(&uuid).is_none() {
                return Err(Failure::no_file(&path(world, vdi, &uuid)));
            }
            let size = world.database.int("VDI", vdi, "virtual_size").max(0) as u64;
            Ok(Some(Disk { name, vdi, blocks: size.div_ceil(CHUNK as u64).max(1), uuid }))
        })
    }

    async fn disk(&mut self, disk: &Disk<'_>, checksum: Checksum, done: u64, total: u64) -> Result<(), End> {
        let context = self.transfer.context.clone();
        let mut chunks = Chunks::new(disk.name, checksum, disk.blocks);
        let mut last_sign = context.shared.clock.elapsed();
        for place in 0..disk.blocks {
            let (block, length, takes) = self.read(disk, place)?;
            let mut out = Vec::new();
            if !takes.is_zero() {
                context.work(takes).await;
            }
            if context.shared.clock.elapsed() - last_sign > SILENCE {
                chunks.keep_alive(&mut out, place);
            }
            if chunks.is_written(place, block == Block::Zero) {
                chunks.write(&mut out, place, &block.bytes(length));
                context.step(|world| remember(world, &block, length));
            }
            if !out.is_empty() {
                self.write(&out).await?;
                last_sign = context.shared.clock.elapsed();
            }
            if place % 64 == 63 {
                context.progress((done + place) as f64 / total as f64);
                context.check_cancelled()?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// A block, its length, and how long reading it takes. Holes cost nothing.
    fn read(&self, disk: &Disk<'_>, place: u64) -> Result<(Block, usize, Duration), Failure> {
        self.transfer.context.step(|world| {
            if world.storage.volume(&disk.uuid).is_none() {
                return Err(Failure::no_file(&path(world, disk.vdi, &disk.uuid)));
            }
            let block = world.storage.read_block(&disk.uuid, place);
            let length = world.storage.block_length(&disk.uuid, place);
            let timings = &world.storage.timings;
            let moved = if block == Block::Zero { 0 } else { length as i64 };
            let takes = timings.moving(moved, timings.copy_bytes_per_second);
            Ok((block, length, takes))
        })
    }
}

/// A generated block that comes back in an import need not be stored.
fn remember(world: &mut World, block: &Block, length: usize) {
    if let Block::Seeded(seed) = block {
        let hash = xxhash_rust::xxh64::xxh64(&block.bytes(length), 0);
        world.storage.interned.remember(hash, *seed);
    }
}

fn has_content(world: &World, vdi: &str) -> bool {
    let database = &world.database;
    let sr = database.text("VDI", vdi, "SR");
    let drives = database.texts("VDI", vdi, "VBDs");
    let only_cds = !drives.is_empty() && drives.iter().all(|vbd| *database.text("VBD", vbd, "type") == *"CD");
    &*database.text("SR", &sr, "content_type") != "iso" && !only_cds
}

/// Where a driver keeps a volume.
fn path(world: &World, vdi: &str, uuid: &str) -> String {
    let sr = world.database.text("VDI", vdi, "SR");
    format!("/dev/sm/backend/{}/{uuid}", world.database.text("SR", &sr, "uuid"))
}
