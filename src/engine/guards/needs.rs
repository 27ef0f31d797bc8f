//! What a snapshot may need on which repository, read off the inventory. Where the driver allocates at once (VHDs on LVM), a disk's
//! whole size; elsewhere what was written to it between its newest snapshots, and a stated share where it has none. A memory image
//! takes the VM's memory with what the hypervisor needs besides.

use super::Planned;
use crate::domain::guard::space::{of_thick, of_thin};
use crate::domain::id::SrUuid;
use crate::domain::snapshot::Kind;
use crate::xenapi::inventory::{Disk, Tables};
use crate::xenapi::records::{Sr, Vdi, Vm};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// From so many of the newest snapshots it is seen how much is written.
const LATELY: usize = 3;

/// What is needed on one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) sr: SrUuid,
    pub(super) bytes: u64,
    /// It is taken little by little after the snapshot exists, and not by the call.
    pub(super) grows: bool,
}

/// What a snapshot may need, by repository and disk.
pub(super) fn of(planned: &Planned<'_>) -> Vec<Need> {
    let Planned { tables, vm, condition, left_out, kind } = *planned;
    let disks = tables.disks_of(vm);
    let snapshots: Vec<Ref<Vm>> = tables.snapshots_of(vm).into_iter().rev().take(LATELY).map(|(snapshot, _)| snapshot).collect();
    let wanted = disks.iter().filter(|disk| !left_out.contains(&disk.vdi_ref));
    let mut needs: Vec<Need> = wanted.filter_map(|disk| of_disk(tables, disk, &snapshots)).collect();
    if let Some(store) = condition.image_store.as_ref().filter(|_| kind == Kind::Memory) {
        needs.push(Need { sr: store.uuid, bytes: bytes(condition.memory), grows: false });
    }
    needs
}

fn of_disk(tables: &Tables, disk: &Disk, snapshots: &[Ref<Vm>]) -> Option<Need> {
    let sr = tables.get::<Sr>(&disk.vdi.sr)?;
    let size = bytes(disk.vdi.virtual_size);
    let thick = allocates_at_once(sr);
    let needed = if thick { of_thick(size) } else { of_thin(size, written(tables, disk, snapshots)) };
    Some(Need { sr: SrUuid(sr.uuid.get()), bytes: needed, grows: !thick })
}

/// VHDs on LVM, unless somebody made them thin.
fn allocates_at_once(sr: &Sr) -> bool {
    let lvm =
        matches!(&*sr.kind, "lvm" | "lvhd" | "lvmoiscsi" | "lvmohba" | "lvmofcoe" | "lvhdoiscsi" | "lvhdohba" | "lvhdofcoe");
    lvm && sr.sm_config.get("allocation").is_none_or(|allocation| !matches!(allocation, "thin" | "xlvhd"))
}

/// What was written to a disk between its newest snapshots. A snapshot's own layer is empty: what it froze lies in the hidden one below.
/// The first layer of a chain is left out, because it holds the disk and not what changed. Nothing where none is seen.
fn written(tables: &Tables, disk: &Disk, snapshots: &[Ref<Vm>]) -> Vec<u64> {
    let of_this_disk = |snapshot: &Ref<Vm>| {
        tables.disks_of(snapshot).into_iter().find(|other| other.vdi.is_a_snapshot && other.vdi.snapshot_of == disk.vdi_ref)
    };
    let frozen = snapshots.iter().filter_map(of_this_disk).filter_map(|other| below(tables, &other.vdi));
    let mut written: Vec<u64> = frozen
        .filter(|layer| !layer.managed && layer.sm_config.vhd_parent.is_some())
        .map(|layer| bytes(layer.physical_utilisation))
        .collect();
    // What was written since is seen only as of the last scan: alone it says little.
    let since = below(tables, &disk.vdi).map(|_| bytes(disk.vdi.physical_utilisation));
    if written.is_empty() {
        let share = of_thin(bytes(disk.vdi.virtual_size), []);
        written.push(share.max(since.unwrap_or_default()));
    } else {
        written.extend(since);
    }
    written
}

fn below<'a>(tables: &'a Tables, vdi: &Vdi) -> Option<&'a Vdi> {
    let parent = vdi.sm_config.vhd_parent?;
    tables.by_uuid::<Vdi>(&ServerUuid::new(parent.get())).map(|(_, vdi)| &**vdi)
}

/// What servers tell below zero is not known.
fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
