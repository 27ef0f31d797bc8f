//! The chains of a pool's disks, as the inventory shows them. One look serves all disks: reading thirty thousand snapshots takes a
//! moment, and nothing is asked of the server. Storage whose driver keeps no parents in sight has no chains here.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::view;
use crate::domain::chain::{Chain, Chains, Layer};
use crate::domain::id::{InstallationId, PoolUuid};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Sr, Vbd, Vdi, Vm};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// Whose snapshots are ours; without an installation nobody's are.
pub type Whose<'a> = (Option<&'a InstallationId>, PoolUuid);

/// All layers of all disks, by uuid. Needs the classes VM, VBD and VDI.
pub fn of(tables: &Tables, whose: Whose<'_>) -> Chains<Uuid> {
    let ours = ours(tables, whose);
    Chains::new(tables.all::<Vdi>().map(|(reference, vdi)| {
        let layer = layer(vdi, || ours.contains(reference));
        (vdi.uuid.get(), layer, vdi.sm_config.vhd_parent.map(ServerUuid::get))
    }))
}

/// The chains of these disks, in their order. Only those that have `from` layers or more are looked at more closely, which reads all
/// disks of the pool once; of the others only the depth is told.
pub fn of_disks(tables: &Tables, whose: Whose<'_>, disks: &[Uuid], from: usize) -> Vec<Chain> {
    let below: Vec<Vec<Uuid>> = disks.iter().map(|disk| below(tables, *disk)).collect();
    let long: HashSet<Uuid> = below.iter().filter(|below| below.len() + 1 >= from).flatten().copied().collect();
    let chains = (!long.is_empty()).then(|| around(tables, whose, &long));
    let chain = |(disk, below): (&Uuid, &Vec<Uuid>)| {
        let closely = chains.as_ref().filter(|_| below.len() + 1 >= from).and_then(|chains| chains.of(*disk));
        closely.unwrap_or_else(|| Chain { depth: below.len() + 1, ..Chain::default() })
    };
    disks.iter().zip(&below).map(chain).collect()
}

/// No storage has chains so long; a circle ends there.
const LONGEST: usize = 1000;

/// What a disk stands on, from above.
fn below(tables: &Tables, disk: Uuid) -> Vec<Uuid> {
    let vdi = |uuid: Uuid| tables.by_uuid::<Vdi>(&ServerUuid::new(uuid)).map(|(_, vdi)| &**vdi);
    let parent = |at: &Uuid| vdi(*at)?.sm_config.vhd_parent.map(ServerUuid::get).filter(|parent| vdi(*parent).is_some());
    std::iter::successors(parent(&disk), parent).take(LONGEST).collect()
}

/// These layers, and whatever stands directly on one of them.
fn around(tables: &Tables, (installation, pool): Whose<'_>, layers: &HashSet<Uuid>) -> Chains<Uuid> {
    let is_ours = |vdi: &Vdi| {
        let drives = vdi.vbds.iter().filter_map(|vbd| tables.get::<Vbd>(vbd));
        let mut snapshots = drives.filter(|vbd| vbd.has_disk()).filter_map(|vbd| tables.get::<Vm>(&vbd.vm));
        installation.is_some_and(|installation| snapshots.any(|vm| is_mine(tables, installation, pool, vm)))
    };
    let near = tables.all::<Vdi>().map(|(_, vdi)| (vdi, vdi.uuid.get(), vdi.sm_config.vhd_parent.map(ServerUuid::get)));
    let near = near.filter(|(_, uuid, parent)| layers.contains(uuid) || parent.is_some_and(|parent| layers.contains(&parent)));
    Chains::new(near.map(|(vdi, uuid, parent)| (uuid, layer(vdi, || is_ours(vdi)), parent)))
}

fn layer(vdi: &Vdi, is_ours: impl FnOnce() -> bool) -> Layer {
    match vdi {
        vdi if !vdi.managed => Layer::Hidden,
        vdi if !vdi.is_a_snapshot => Layer::Live,
        _ if is_ours() => Layer::Ours,
        _ => Layer::Others,
    }
}

fn is_mine(tables: &Tables, installation: &InstallationId, pool: PoolUuid, vm: &Vm) -> bool {
    view::ownership_for(tables, installation, pool, vm).is_some_and(|whose| whose.ours().is_some())
}

/// The disks of snapshots that are ours.
fn ours<'a>(tables: &'a Tables, (installation, pool): Whose<'_>) -> HashSet<&'a Ref<Vdi>> {
    let Some(installation) = installation else { return HashSet::new() };
    let snapshots = tables.all::<Vm>().map(|(_, vm)| &**vm).filter(|vm| is_mine(tables, installation, pool, vm));
    snapshots.flat_map(|vm| drives(tables, vm)).collect()
}

fn drives<'a>(tables: &'a Tables, vm: &'a Vm) -> impl Iterator<Item = &'a Ref<Vdi>> {
    let drives = vm.vbds.iter().filter_map(|vbd| tables.get::<Vbd>(vbd));
    drives.filter(|vbd| vbd.has_disk()).map(|vbd| &vbd.vdi)
}

/// The chains of the VMs' disks on each SR that shows chains. Needs the class SR besides.
pub fn by_sr(tables: &Tables, chains: &Chains<Uuid>) -> HashMap<Uuid, Vec<Chain>> {
    let mut found: HashMap<Uuid, Vec<Chain>> = HashMap::new();
    for (_, vm) in tables.all::<Vm>().filter(|(_, vm)| vm.is_plain()) {
        for vdi in drives(tables, vm).filter_map(|vdi| tables.get::<Vdi>(vdi)) {
            let Some(sr) = tables.get::<Sr>(&vdi.sr) else { continue };
            found.entry(sr.uuid.get()).or_default().extend(chains.of(vdi.uuid.get()));
        }
    }
    // Where snapshots stand on nothing, the driver does not tell what they stand on.
    for sr in tables.all::<Vdi>().filter(|(_, vdi)| is_in_the_dark(vdi)).filter_map(|(_, vdi)| tables.get::<Sr>(&vdi.sr)) {
        let told = |chains: &mut Vec<Chain>| chains.iter().any(|chain| chain.depth > 1);
        if found.get_mut(&sr.uuid.get()).is_some_and(|chains| !told(chains)) {
            found.remove(&sr.uuid.get());
        }
    }
    found
}

/// A snapshot of a disk without a parent.
fn is_in_the_dark(vdi: &Vdi) -> bool {
    vdi.managed && vdi.is_a_snapshot && vdi.sm_config.vhd_parent.is_none()
}
