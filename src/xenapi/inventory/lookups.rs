//! Questions about several objects at once. Links between objects may dangle; what is not there is left out.

use std::sync::Arc;

use super::tables::Tables;
use crate::xenapi::records::{Vbd, Vdi, Vm};
use crate::xenapi::types::Ref;

/// A disk in a drive of a VM.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// The drive's reference.
    pub vbd_ref: Ref<Vbd>,
    /// The drive.
    pub vbd: Arc<Vbd>,
    /// The disk's reference.
    pub vdi_ref: Ref<Vdi>,
    /// The disk.
    pub vdi: Arc<Vdi>,
}

impl Tables {
    /// The snapshots of a VM, oldest first. Needs the class VM.
    pub fn snapshots_of(&self, vm: &Ref<Vm>) -> Vec<(Ref<Vm>, Arc<Vm>)> {
        let Some(record) = self.get(vm) else { return Vec::new() };
        let named = record.snapshots.iter().filter_map(|reference| Some((reference.clone(), Arc::clone(self.get(reference)?))));
        let mut snapshots: Vec<_> = named.filter(|(_, snapshot)| snapshot.is_a_snapshot && snapshot.snapshot_of == *vm).collect();
        snapshots.sort_by_key(|(_, snapshot)| (snapshot.snapshot_time, snapshot.uuid));
        snapshots
    }

    /// The disks of a VM or snapshot, by position: what stands in drives of type Disk, and nothing of CD drives. Needs the classes VM,
    /// VBD and VDI.
    pub fn disks_of(&self, vm: &Ref<Vm>) -> Vec<Disk> {
        let Some(record) = self.get(vm) else { return Vec::new() };
        let mut disks: Vec<Disk> = record.vbds.iter().filter_map(|vbd| self.disk(vbd)).collect();
        disks.sort_by(|a, b| position(&a.vbd).cmp(&position(&b.vbd)));
        disks
    }

    fn disk(&self, vbd_ref: &Ref<Vbd>) -> Option<Disk> {
        let vbd = self.get(vbd_ref).filter(|vbd| vbd.has_disk())?;
        let vdi = self.get(&vbd.vdi)?;
        Some(Disk { vbd_ref: vbd_ref.clone(), vbd: Arc::clone(vbd), vdi_ref: vbd.vdi.clone(), vdi: Arc::clone(vdi) })
    }
}

/// Drives in the order people count them in: by number where it is one.
fn position(vbd: &Vbd) -> (u64, &str) {
    (vbd.userdevice.parse().unwrap_or(u64::MAX), &vbd.userdevice)
}
