//! The facts about a VM on which the kind of its snapshot depends, and how they are read off the inventory. The rule: an object that
//! the inventory does not have makes a fact unknown, and an unknown fact is taken for a good one.

use std::collections::HashSet;

use crate::domain::id::SrUuid;
use crate::domain::selection::Role;
use crate::xenapi::inventory::{Disk, Tables};
use crate::xenapi::records::{
    GuestFeature, Host, HostMetrics, HostOperation, OnBoot, Pbd, Pool, PowerState, Sm, Sr, Vdi, Vm, VmGuestMetrics, VmOperation,
};
use crate::xenapi::types::{EnumSet, Ref, StringMap};

/// The last API version whose servers have VM.snapshot_with_quiesce: 8.0 says 2.12, 8.1 says 2.14.
const LAST_WITH_QUIESCE: (i64, i64) = (2, 13);

/// What matters of a VM.
#[derive(Debug, Clone)]
pub struct VmCondition<'a> {
    /// What kind of record it is.
    pub role: Role,
    /// Whether it runs.
    pub power: PowerState,
    /// What is being done to it.
    pub operations: Vec<VmOperation>,
    /// What the server thinks it admits now; advisory.
    pub allowed: EnumSet<VmOperation>,
    /// What somebody forbade, with the reasons.
    pub blocked: StringMap,
    /// USB devices passed through.
    pub usb_devices: u32,
    /// Virtual GPUs.
    pub virtual_gpus: u32,
    /// PCI devices passed through.
    pub pci_devices: u32,
    /// What its tools report; nothing without tools.
    pub guest: Option<GuestCondition<'a>>,
    /// Its disks, by position.
    pub disks: Vec<DiskCondition<'a>>,
    /// A running host reaches all its storage, loaded discs included.
    pub reachable: bool,
    /// The bytes of memory it may have, with what the hypervisor needs besides.
    pub memory: i64,
    /// Where a memory image would go.
    pub image_store: Option<ImageStore<'a>>,
    /// The server's release has VM.snapshot_with_quiesce.
    pub release_quiesces: bool,
    /// The licence withholds quiesced snapshots.
    pub quiesce_withheld: bool,
    /// The licence withholds snapshots with memory.
    pub memory_withheld: bool,
    /// A rolling upgrade of the pool is under way.
    pub being_upgraded: bool,
    /// The host on which it runs.
    pub host: Option<HostCondition<'a>>,
    /// The name of its vApp, if that is being started or stopped.
    pub vapp_at_work: Option<&'a str>,
}

/// What matters of the host on which a VM runs.
#[derive(Debug, Clone)]
pub struct HostCondition<'a> {
    /// Its name.
    pub name: &'a str,
    /// VMs may be started on it.
    pub enabled: bool,
    /// What is being done to it.
    pub operations: Vec<HostOperation>,
}

/// What a guest's tools report.
#[derive(Debug, Clone)]
pub struct GuestCondition<'a> {
    /// What the guest can do.
    pub features: EnumSet<GuestFeature>,
    /// Why it says it cannot be suspended.
    pub cannot_suspend: Option<&'a str>,
    /// Its drivers are there.
    pub has_drivers: bool,
}

/// What matters of a disk.
#[derive(Debug, Clone)]
pub struct DiskCondition<'a> {
    /// The disk.
    pub vdi: Ref<Vdi>,
    /// Its name, which may be empty.
    pub name: &'a str,
    /// Its position.
    pub position: &'a str,
    /// The name of its SR.
    pub sr: &'a str,
    /// It is left out of the snapshot.
    pub excluded: bool,
    /// Several VMs may write it.
    pub sharable: bool,
    /// It has no form that a driver can snapshot.
    pub raw: bool,
    /// It is thrown back to its beginning at each boot.
    pub reset_on_boot: bool,
    /// The last scan of its SR did not find it.
    pub missing: bool,
    /// Some host reaches its SR.
    pub plugged: bool,
    /// Its SR's driver takes snapshots.
    pub driver_snapshots: bool,
}

/// An SR for memory images.
#[derive(Debug, Clone)]
pub struct ImageStore<'a> {
    /// Its uuid.
    pub uuid: SrUuid,
    /// Its name.
    pub name: &'a str,
    /// Bytes left, where the driver tells.
    pub free: Option<i64>,
}

impl VmCondition<'_> {
    /// The same VM with these disks left out of the snapshot.
    #[must_use]
    pub fn without(mut self, excluded: &[Ref<Vdi>]) -> Self {
        for disk in &mut self.disks {
            disk.excluded |= excluded.contains(&disk.vdi);
        }
        self
    }
}

/// Reads the facts about a VM off one consistent state; nothing for a VM that is not there. Needs the classes pool, host, host_metrics,
/// VM, VM_guest_metrics, VM_appliance, VBD, VDI, SR, PBD and SM.
pub fn condition_of<'a>(tables: &'a Tables, vm: &Ref<Vm>) -> Option<VmCondition<'a>> {
    let record = tables.get(vm)?;
    let reach = Reach { tables };
    let pool = tables.all::<Pool>().next().map(|(_, pool)| &**pool);
    let master = pool.and_then(|pool| tables.get(&pool.master)).map(|host| &**host);
    Some(VmCondition {
        role: role(record),
        power: record.power_state.clone(),
        operations: record.current_operations.iter().map(|(_, operation)| operation.clone()).collect(),
        allowed: record.allowed_operations.clone(),
        blocked: record.blocked_operations.clone(),
        usb_devices: record.vusbs.0,
        virtual_gpus: record.vgpus.0,
        pci_devices: record.attached_pcis.0,
        guest: tables.get(&*record.guest_metrics).map(|metrics| guest(metrics)),
        disks: disks(tables, vm, &reach),
        reachable: reach.some_host_reaches_all(record),
        memory: record.memory_static_max.saturating_add(record.memory_overhead),
        image_store: image_store(tables, record, pool),
        release_quiesces: master.is_none_or(|master| master.api_version() <= LAST_WITH_QUIESCE),
        quiesce_withheld: withheld("vss", pool, master),
        memory_withheld: withheld("checkpoint", pool, master),
        being_upgraded: pool.is_some_and(Pool::is_being_upgraded),
        host: tables.get(&*record.resident_on).map(|host| HostCondition {
            name: &host.name_label,
            enabled: host.enabled,
            operations: host.current_operations.iter().map(|(_, operation)| operation.clone()).collect(),
        }),
        vapp_at_work: vapp_at_work(tables, record),
    })
}

/// Its VMs are started and stopped one after another: one that is not being worked on yet may be next.
fn vapp_at_work<'a>(tables: &'a Tables, vm: &Vm) -> Option<&'a str> {
    let vapp = tables.get(&*vm.appliance).filter(|vapp| !vapp.current_operations.is_empty())?;
    Some(&vapp.name_label)
}

fn role(vm: &Vm) -> Role {
    match vm {
        vm if vm.is_a_snapshot => Role::Snapshot,
        vm if vm.is_control_domain => Role::ControlDomain,
        vm if vm.is_a_template => Role::Template,
        _ => Role::Vm,
    }
}

fn guest(metrics: &VmGuestMetrics) -> GuestCondition<'_> {
    GuestCondition {
        features: metrics.features.clone(),
        cannot_suspend: metrics.cannot_suspend.as_deref(),
        has_drivers: metrics.pv_drivers_version.is_some() || metrics.pv_drivers_detected == Some(true),
    }
}

/// Pools say what the licence withholds since 5.6; before, hosts do.
fn withheld(feature: &str, pool: Option<&Pool>, master: Option<&Host>) -> bool {
    match pool {
        Some(pool) if pool.restrictions.is_some() => pool.is_restricted(feature),
        _ => master.is_some_and(|master| master.license_params.get(&format!("restrict_{feature}")) == Some("true")),
    }
}

/// The VM's own SR for images, the pool's, or the host's: the first that exists. A suspended VM's image is where it is.
fn image_store<'a>(tables: &'a Tables, vm: &Vm, pool: Option<&Pool>) -> Option<ImageStore<'a>> {
    let image = tables.get(&*vm.suspend_vdi).map(|image| image.sr.clone());
    let host = tables.get(&*vm.resident_on).map(|host| host.suspend_image_sr.clone());
    let named = [image, Some((*vm.suspend_sr).clone()), pool.map(|pool| pool.suspend_image_sr.clone()), host];
    let sr = named.into_iter().flatten().find_map(|sr| tables.get(&sr))?;
    Some(ImageStore { uuid: SrUuid(sr.uuid.get()), name: &sr.name_label, free: sr.free() })
}

fn disks<'a>(tables: &'a Tables, vm: &Ref<Vm>, reach: &Reach<'a>) -> Vec<DiskCondition<'a>> {
    tables.disks_of(vm).iter().filter_map(|disk| condition_of_disk(tables, disk, reach)).collect()
}

fn condition_of_disk<'a>(tables: &'a Tables, disk: &Disk, reach: &Reach<'a>) -> Option<DiskCondition<'a>> {
    let (vdi, vbd) = (tables.get(&disk.vdi_ref)?, tables.get(&disk.vbd_ref)?);
    let sr = tables.get(&vdi.sr);
    Some(DiskCondition {
        vdi: disk.vdi_ref.clone(),
        name: &vdi.name_label,
        position: &vbd.userdevice,
        sr: sr.map_or("?", |sr| &sr.name_label),
        excluded: false,
        sharable: vdi.sharable,
        raw: vdi.sm_config.is_raw(),
        reset_on_boot: vdi.on_boot == Some(OnBoot::Reset),
        missing: vdi.missing,
        plugged: reach.hosts_of(&vdi.sr).is_none_or(|hosts| !hosts.is_empty()),
        driver_snapshots: sr.is_none_or(|sr| driver_snapshots(tables, sr)),
    })
}

fn driver_snapshots(tables: &Tables, sr: &Sr) -> bool {
    let Some((_, driver)) = tables.all::<Sm>().find(|(_, driver)| driver.kind == sr.kind) else { return true };
    let says_nothing = driver.capabilities.is_empty() && driver.features.as_ref().is_none_or(|features| features.0.is_empty());
    says_nothing || driver.can("VDI_SNAPSHOT")
}

/// Which hosts reach which storage.
struct Reach<'a> {
    tables: &'a Tables,
}

impl<'a> Reach<'a> {
    /// The hosts whose connections to an SR are plugged; nothing where that is not known.
    fn hosts_of(&self, sr: &Ref<Sr>) -> Option<HashSet<&'a Ref<Host>>> {
        let pbds = self.tables.get(sr)?.pbds.iter().map(|pbd| self.tables.get::<Pbd>(pbd)).collect::<Option<Vec<_>>>()?;
        Some(pbds.into_iter().filter(|pbd| pbd.currently_attached).map(|pbd| &pbd.host).collect())
    }

    fn some_host_reaches_all(&self, vm: &Vm) -> bool {
        let loaded = vm.vbds.iter().filter_map(|vbd| self.tables.get(vbd)).filter(|vbd| !vbd.empty).map(|vbd| &vbd.vdi);
        let image = (vm.power_state == PowerState::Suspended).then_some(&*vm.suspend_vdi);
        let srs: HashSet<&Ref<Sr>> = loaded.chain(image).filter_map(|vdi| self.tables.get(vdi)).map(|vdi| &vdi.sr).collect();
        let reached: Vec<_> = srs.into_iter().filter_map(|sr| self.hosts_of(sr)).collect();
        let mut hosts =
            self.tables.all::<Host>().filter(|(_, host)| self.is_alive(host)).map(|(reference, _)| reference).peekable();
        hosts.peek().is_none() || hosts.any(|host| reached.iter().all(|reached| reached.contains(host)))
    }

    fn is_alive(&self, host: &Host) -> bool {
        self.tables.get::<HostMetrics>(&host.metrics).is_none_or(|metrics| metrics.live)
    }
}
