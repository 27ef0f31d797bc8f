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
        let layer = match vdi {
            vdi if !vdi.managed => Layer::Hidden,
            vdi if !vdi.is_a_snapshot => Layer::Live,
            _ if ours.contains(reference) => Layer::Ours,
            _ => Layer::Others,
        };
        (vdi.uuid.get(), layer, vdi.sm_config.vhd_parent.map(ServerUuid::get))
    }))
}

/// The disks of snapshots that are ours.
fn ours<'a>(tables: &'a Tables, (installation, pool): Whose<'_>) -> HashSet<&'a Ref<Vdi>> {
    let Some(installation) = installation else { return HashSet::new() };
    let mine = |vm: &Vm| view::ownership_for(tables, installation, pool, vm).is_some_and(|whose| whose.ours().is_some());
    let snapshots = tables.all::<Vm>().map(|(_, vm)| &**vm).filter(|vm| mine(vm));
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
