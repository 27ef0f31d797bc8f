//! Copies of a VM's disks, one at a time in the database's order: what snapshot, checkpoint, clone and copy begin with.
//!
//! The rule: all or none. When one disk fails, or the task is cancelled, the disks made so far are destroyed again.

use super::hooks;
use super::subtask;
use super::vdi;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::ledger::Split;
use crate::simulator::value::{Ref, is_null};
use crate::simulator::world::World;

/// How disks are copied.
#[derive(Debug, Clone)]
pub enum How {
    /// Snapshots.
    Snapshot,
    /// Clones in their own SR.
    Clone,
    /// Full copies into an SR; none: each into its own.
    Copy(Option<Ref>),
}

impl How {
    /// What the inner task of one disk is called.
    fn label(&self) -> &'static str {
        match self {
            How::Snapshot => "Async.VDI.snapshot",
            How::Clone => "Async.VDI.clone",
            How::Copy(_) => "Async.VDI.copy",
        }
    }
}

/// The copy of one drive: the VBD it was made for, and its disk.
#[derive(Debug, Clone)]
pub struct Drive {
    /// The source's VBD.
    pub vbd: Ref,
    /// The new disk; none for an empty drive and for a CD, which is shared.
    pub disk: Option<Ref>,
}

/// Copies the disks of a VM except those in `ignored`, whose drives are left out.
///
/// # Errors
/// What the first failing disk fails with; TASK_CANCELLED.
pub async fn copy_all(context: &Context, vm: &Ref, how: &How, ignored: &[Ref]) -> ApiResult<Vec<Drive>> {
    let drives = context.step(|world| drives(world, vm, ignored));
    let total: i64 = drives.iter().map(|drive| drive.bytes).sum();
    let (mut made, mut done, mut nth) = (Vec::new(), 0, 0);
    for source in drives {
        let disk = match &source.disk {
            None => None,
            Some(disk) => {
                nth += 1;
                match copy_one(context, vm, disk, how, nth).await {
                    Ok(disk) => Some(disk),
                    Err(error) => {
                        discard(context, &made).await;
                        return Err(error);
                    }
                }
            }
        };
        done += source.bytes;
        if source.disk.is_some() && done < total {
            context.progress(done as f64 / total as f64);
        }
        made.push(Drive { vbd: source.vbd, disk });
    }
    Ok(made)
}

/// Destroys disks that were made for nothing.
pub async fn discard(context: &Context, made: &[Drive]) {
    for disk in made.iter().filter_map(|drive| drive.disk.as_ref()) {
        vdi::discard(context, disk).await;
    }
}

async fn copy_one(context: &Context, vm: &Ref, disk: &Ref, how: &How, nth: u64) -> ApiResult<Ref> {
    if let Err(error) = hooks::before_disk(context, vm, nth) {
        // What fails is the driver, and so the inner task.
        return subtask::run(context, how.label(), |_| std::future::ready(Err(error))).await;
    }
    let made = match how {
        How::Snapshot => vdi::split_as_task(context, disk, Split::Snapshot).await?,
        How::Clone => vdi::split_as_task(context, disk, Split::Clone).await?,
        How::Copy(sr) => {
            let own = context.step(|world| world.database.text("VDI", disk, "SR"));
            vdi::copy_as_task(context, disk, sr.as_ref().unwrap_or(&own)).await?
        }
    };
    if let Err(cancelled) = context.check_cancelled() {
        vdi::discard(context, &made).await;
        return Err(cancelled);
    }
    Ok(made)
}

struct Source {
    vbd: Ref,
    disk: Option<Ref>,
    bytes: i64,
}

fn drives(world: &World, vm: &str, ignored: &[Ref]) -> Vec<Source> {
    let database = &world.database;
    let vbds = database.texts("VM", vm, "VBDs").into_iter();
    let drives = vbds.map(|vbd| {
        let vdi = database.text("VBD", &vbd, "VDI");
        let shared = database.bool("VBD", &vbd, "empty") || is_null(&vdi) || &*database.text("VBD", &vbd, "type") == "CD";
        let bytes = if shared { 0 } else { database.int("VDI", &vdi, "virtual_size") };
        (vdi.clone(), Source { vbd, disk: (!shared).then_some(vdi), bytes })
    });
    drives.filter(|(vdi, _)| !ignored.contains(vdi)).map(|(_, source)| source).collect()
}

/// Fails unless a live host can reach all SRs of a VM: those of its disks, of the CDs in its drives, and of its memory image.
///
/// # Errors
/// NO_HOSTS_AVAILABLE.
pub fn assert_reachable(world: &World, vm: &str) -> ApiResult<()> {
    let srs = required_srs(world, vm);
    let reachable = world
        .database
        .refs("host")
        .iter()
        .any(|host| is_live(world, host) && srs.iter().all(|sr| is_plugged_on(world, sr, host)));
    if reachable { Ok(()) } else { Err(ApiError::bare("NO_HOSTS_AVAILABLE")) }
}

/// The SRs a VM needs.
pub fn required_srs(world: &World, vm: &str) -> Vec<Ref> {
    let database = &world.database;
    let mut vdis: Vec<Ref> = database.texts("VM", vm, "VBDs").iter().map(|vbd| database.text("VBD", vbd, "VDI")).collect();
    if &*database.text("VM", vm, "power_state") == "Suspended" {
        vdis.push(database.text("VM", vm, "suspend_VDI"));
    }
    vdis.retain(|vdi| database.exists("VDI", vdi));
    let mut srs: Vec<Ref> = vdis.iter().map(|vdi| database.text("VDI", vdi, "SR")).collect();
    srs.sort();
    srs.dedup();
    srs
}

/// Whether a host answers.
pub fn is_live(world: &World, host: &str) -> bool {
    let metrics = world.database.text("host", host, "metrics");
    !world.database.exists("host_metrics", &metrics) || world.database.bool("host_metrics", &metrics, "live")
}

/// Whether a host has an SR plugged.
pub fn is_plugged_on(world: &World, sr: &str, host: &str) -> bool {
    let database = &world.database;
    database
        .texts("SR", sr, "PBDs")
        .iter()
        .any(|pbd| *database.text("PBD", pbd, "host") == *host && database.bool("PBD", pbd, "currently_attached"))
}
