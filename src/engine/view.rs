//! What the inventory shows, as values of `domain`: the one place where references, which mean something today only, become uuids.

use uuid::Uuid;

use super::site::Site;
use crate::domain::id::{ApplianceUuid, HostUuid, InstallationId, PoolUuid, SnapshotUuid, SrUuid, VdiUuid, VmUuid};
use crate::domain::mark::{self, Ownership};
use crate::domain::selection::{DiskView, PowerState, Role, VmView};
use crate::domain::snapshot::{Parent, SnapshotFacts};
use crate::store::Disk;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{self, Host, Sr, Vbd, Vdi, Vm, VmAppliance};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// The VMs that can be selected: no templates, snapshots and control domains. By name and uuid, so that lists are the same each time.
pub fn vms<'a>(tables: &'a Tables, pool: (PoolUuid, &'a str)) -> Vec<(&'a Ref<Vm>, VmView<'a>)> {
    let plain = tables.all::<Vm>().filter(|(_, vm)| vm.is_plain());
    let mut views: Vec<_> = plain.map(|(reference, vm)| (reference, vm_view(tables, pool, reference, vm))).collect();
    views.sort_by_key(|(_, view)| (view.name, view.uuid));
    views
}

fn vm_view<'a>(tables: &'a Tables, pool: (PoolUuid, &'a str), reference: &Ref<Vm>, vm: &'a Vm) -> VmView<'a> {
    let host = tables.get::<Host>(&vm.resident_on).map(|host| (HostUuid(host.uuid.get()), &*host.name_label));
    let appliance = tables.get::<VmAppliance>(&vm.appliance);
    VmView {
        uuid: VmUuid(vm.uuid.get()),
        name: &vm.name_label,
        role: Role::Vm,
        power: power(&vm.power_state),
        tags: vm.tags.iter().collect(),
        other_config: vm.other_config.iter().collect(),
        pool,
        host,
        srs: srs(tables, reference),
        appliance: appliance.map(|appliance| (ApplianceUuid(appliance.uuid.get()), &*appliance.name_label)),
    }
}

fn power(state: &records::PowerState) -> PowerState {
    match state {
        records::PowerState::Halted => PowerState::Halted,
        records::PowerState::Paused => PowerState::Paused,
        records::PowerState::Running => PowerState::Running,
        records::PowerState::Suspended => PowerState::Suspended,
        records::PowerState::Other(_) => PowerState::Unknown,
    }
}

/// The storage repositories of a VM's or snapshot's disks, each once.
pub fn srs<'a>(tables: &'a Tables, vm: &Ref<Vm>) -> Vec<(SrUuid, &'a str)> {
    let disks = tables.disks_of(vm);
    let mut found: Vec<(SrUuid, &str)> = disks.iter().filter_map(|disk| sr(tables, &disk.vdi.sr)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The name of a storage repository.
pub fn sr<'a>(tables: &'a Tables, sr: &Ref<Sr>) -> Option<(SrUuid, &'a str)> {
    tables.get(sr).map(|sr| (SrUuid(sr.uuid.get()), &*sr.name_label))
}

/// The disks of a VM that its policy leaves out of the snapshot.
pub fn left_out(tables: &Tables, vm: &Ref<Vm>, clauses: &[crate::domain::selection::DiskClause]) -> Vec<Ref<Vdi>> {
    if clauses.is_empty() {
        return Vec::new();
    }
    let disks = tables.disks_of(vm);
    let fits = |disk: &&crate::xenapi::inventory::Disk| {
        let view = DiskView {
            uuid: VdiUuid(disk.vdi.uuid.get()),
            name: &disk.vdi.name_label,
            tags: disk.vdi.tags.iter().collect(),
            sr: sr(tables, &disk.vdi.sr).unwrap_or((SrUuid(Uuid::nil()), "")),
            position: &disk.vbd.userdevice,
        };
        clauses.iter().any(|clause| clause.fits(&view))
    };
    disks.iter().filter(fits).map(|disk| disk.vdi_ref.clone()).collect()
}

/// The facts from which a snapshot's ownership is judged.
pub fn facts<'a>(tables: &Tables, pool: PoolUuid, vm: &'a Vm) -> SnapshotFacts<'a> {
    SnapshotFacts {
        pool,
        uuid: SnapshotUuid(vm.uuid.get()),
        name: &vm.name_label,
        is_a_snapshot: vm.is_a_snapshot,
        is_a_template: vm.is_a_template,
        parent: parent(tables, vm),
        mark: vm.other_config.get(mark::KEY),
        shared_disk: shared_disk(tables, vm),
    }
}

fn parent(tables: &Tables, snapshot: &Vm) -> Parent {
    if snapshot.snapshot_of.is_null() {
        return Parent::Nothing;
    }
    tables.get(&snapshot.snapshot_of).map_or(Parent::Gone, |vm| Parent::Vm(VmUuid(vm.uuid.get())))
}

/// The first of a snapshot's disks that also stands in a drive of something else.
fn shared_disk(tables: &Tables, snapshot: &Vm) -> Option<VdiUuid> {
    let drives = snapshot.vbds.iter().filter_map(|vbd| tables.get::<Vbd>(vbd)).filter(|vbd| vbd.has_disk());
    let mut disks = drives.filter_map(|vbd| tables.get::<Vdi>(&vbd.vdi));
    let shared = disks.find(|vdi| vdi.vbds.iter().any(|vbd| !snapshot.vbds.contains(vbd)));
    shared.map(|vdi| VdiUuid(vdi.uuid.get()))
}

/// A snapshot as the server shows it once it is complete.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its reference.
    pub reference: Ref<Vm>,
    /// Its record.
    pub record: std::sync::Arc<Vm>,
    /// The disks that belong to it.
    pub disks: Vec<Disk>,
    /// Its memory image.
    pub suspend_image: Option<Uuid>,
}

/// A snapshot, once nothing is being done to it and all its drives and disks are there to be seen.
pub fn shown(tables: &Tables, reference: &Ref<Vm>) -> Option<Shown> {
    let record = tables.get(reference).filter(|vm| vm.current_operations.is_empty())?;
    let complete = |vbd: &Ref<Vbd>| tables.get(vbd).is_some_and(|vbd| !vbd.has_disk() || tables.get(&vbd.vdi).is_some());
    if !record.vbds.iter().all(complete) {
        return None;
    }
    let image = match record.suspend_vdi.not_null() {
        Some(image) => Some(tables.get::<Vdi>(image)?.uuid.get()),
        None => None,
    };
    Some(Shown { reference: reference.clone(), record: record.clone(), disks: disks(tables, reference), suspend_image: image })
}

/// The disks that belong to a snapshot: of its drives of type Disk those that are snapshots themselves.
pub fn disks(tables: &Tables, snapshot: &Ref<Vm>) -> Vec<Disk> {
    let own = tables.disks_of(snapshot).into_iter().filter(|disk| disk.vdi.is_a_snapshot);
    let row = |disk: crate::xenapi::inventory::Disk| Disk {
        vdi: disk.vdi.uuid.get(),
        sr: sr(tables, &disk.vdi.sr).map_or(Uuid::nil(), |(sr, _)| sr.0),
        position: disk.vbd.userdevice.to_string(),
        name: disk.vdi.name_label.to_string(),
        virtual_size: u64::try_from(disk.vdi.virtual_size).unwrap_or_default(),
        of: tables.get(&disk.vdi.snapshot_of).map(|vdi| vdi.uuid.get()),
    };
    own.map(row).collect()
}

/// Every snapshot that carries a value under our key, with whose it is.
pub fn marked(tables: &Tables, site: &Site) -> Vec<(Ref<Vm>, std::sync::Arc<Vm>, Ownership)> {
    tables.all::<Vm>().filter_map(|(reference, vm)| Some((reference.clone(), vm.clone(), ownership(tables, site, vm)?))).collect()
}

/// Whose a snapshot is that carries a value under our key; nothing for what carries none.
pub fn ownership(tables: &Tables, site: &Site, vm: &Vm) -> Option<Ownership> {
    ownership_for(tables, &site.installation, site.uuid, vm)
}

/// The same for whoever has no site.
pub fn ownership_for(tables: &Tables, installation: &InstallationId, pool: PoolUuid, vm: &Vm) -> Option<Ownership> {
    let carries = vm.is_a_snapshot && vm.other_config.contains_key(mark::KEY);
    carries.then(|| mark::verify(installation, &facts(tables, pool, vm)))
}

/// The reference of a VM or snapshot.
pub fn vm_of(tables: &Tables, uuid: Uuid) -> Option<Ref<Vm>> {
    tables.by_uuid::<Vm>(&ServerUuid::new(uuid)).map(|(reference, _)| reference.clone())
}
