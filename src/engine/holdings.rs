//! What a policy holds of a VM: its snapshots in the pool, each with what the history knows of it, as candidates for retention. Only
//! what is in the pool, carries our mark and has its disks counts; where history and pool differ, the pool is right about what
//! exists, and the history about what may be relied upon.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::errand::kind_row;
use super::error::Result;
use super::pins;
use super::site::Site;
use super::view;
use crate::domain::id::{PolicyId, SnapshotUuid, VmUuid};
use crate::domain::mark::{self, Mark, Ownership};
use crate::domain::retention::{Candidate, Pin, State};
use crate::store::{self, NewSnapshot, Snapshot, SnapshotFilter, SnapshotState};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Sr, Vdi, Vm, VmOperation};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// A snapshot of ours.
#[derive(Debug, Clone)]
pub struct Held {
    /// Where it is.
    pub reference: Ref<Vm>,
    /// As the pool shows it.
    pub record: Arc<Vm>,
    /// Its mark.
    pub mark: Mark,
    /// As the history knows it.
    pub row: Snapshot,
    /// As retention sees it.
    pub candidate: Candidate,
}

/// The snapshots of one VM that a policy holds, oldest first. Those that are on their way out are left out. A snapshot whose mark is
/// valid and that the history lacks is written down.
///
/// # Errors
/// When the history cannot be read or written.
pub async fn of(site: &Site, vm: Uuid, policy: &PolicyId) -> Result<Vec<Held>> {
    let rows = rows(site, vm, policy).await?;
    let marked = in_pool(site, vm, policy, rows.keys());
    let mut held = Vec::with_capacity(marked.len());
    for (reference, record, mark) in marked {
        let row = match rows.get(&record.uuid.get()) {
            Some(row) => row.clone(),
            None => match remembered(site, &reference, &mark).await? {
                Some(row) => row,
                None => continue,
            },
        };
        let Some(state) = worth(&site.inventory.read(), &reference, &row) else { continue };
        let candidate = Candidate {
            snapshot: SnapshotUuid(record.uuid.get()),
            due_at: mark.due_at,
            taken_at: record.snapshot_time.happened().unwrap_or(row.taken_at),
            state,
            pin: pin(&record, &row),
        };
        held.push(Held { reference, record, mark, row, candidate });
    }
    held.sort_by_key(|held| (held.candidate.due_at, held.candidate.snapshot));
    Ok(held)
}

/// What the VM names as its snapshots, and what the history knows: the VM's own record may be an event behind its newest snapshot.
fn in_pool<'a>(site: &Site, vm: Uuid, policy: &PolicyId, known: impl Iterator<Item = &'a Uuid>) -> Vec<(Ref<Vm>, Arc<Vm>, Mark)> {
    let tables = site.inventory.read();
    let Some(vm) = view::vm_of(&tables, vm) else { return Vec::new() };
    let known = known.filter_map(|uuid| tables.by_uuid::<Vm>(&ServerUuid::new(*uuid)));
    let mut snapshots: HashMap<Ref<Vm>, Arc<Vm>> = known.map(|(reference, record)| (reference.clone(), record.clone())).collect();
    snapshots.extend(tables.snapshots_of(&vm));
    let snapshots = snapshots.into_iter().filter(|(_, snapshot)| snapshot.other_config.contains_key(mark::KEY));
    let ours = snapshots.filter_map(|(reference, snapshot)| {
        match mark::verify(&site.installation, &view::facts(&tables, site.uuid, &snapshot)) {
            Ownership::Ours(mark) if mark.policy == *policy => Some((reference, snapshot, mark)),
            _ => None,
        }
    });
    ours.collect()
}

async fn rows(site: &Site, vm: Uuid, policy: &PolicyId) -> Result<HashMap<Uuid, Snapshot>> {
    let vms = site.store.find_vms(&vm.to_string()).await?;
    let Some(vm) = vms.into_iter().find(|row| row.pool == site.uuid.0 && row.uuid == vm) else { return Ok(HashMap::new()) };
    let filter = SnapshotFilter { vm: Some(vm.id), policy: Some(policy.to_string()), present: true, ..SnapshotFilter::default() };
    let rows = store::all(|page| site.store.snapshots(filter.clone(), page)).await?;
    Ok(rows.into_iter().map(|row| (row.uuid, row)).collect())
}

/// The row of a snapshot that the list of present ones lacks: one that vanished or was let go and is there all the same, or one that
/// the history never knew, which is written down now.
///
/// # Errors
/// When the history cannot be read or written.
pub async fn remembered(site: &Site, reference: &Ref<Vm>, mark: &Mark) -> Result<Option<Snapshot>> {
    let known = site.store.snapshots_by_uuid(mark.snapshot.0).await?;
    if let Some(row) = known.into_iter().find(|row| row.pool == site.uuid.0) {
        if matches!(row.state, SnapshotState::Vanished | SnapshotState::Detached) {
            site.store.snapshot_seen(row.id, SnapshotState::Marked, site.now()).await?;
            return Ok(Some(site.store.snapshot(row.id).await?));
        }
        return Ok(Some(row));
    }
    // The leftover of an attempt that failed is marked so that it can be removed, and has a removal instead of a row.
    if !site.store.removals_of(mark.snapshot.0).await?.is_empty() {
        return Ok(None);
    }
    let Some(new) = as_new(site, reference, mark) else { return Ok(None) };
    let id = site.store.remember(new, site.now()).await?;
    let guard = site.inventory.read().get(reference).and_then(|vm| vm.blocked(&VmOperation::Destroy).map(str::to_owned));
    if let Some((until, reason)) = guard.as_deref().and_then(pins::parse) {
        site.store.pin(id, until, reason).await?;
    }
    Ok(Some(site.store.snapshot(id).await?))
}

/// A snapshot in the pool as the history writes it down.
pub fn as_new(site: &Site, reference: &Ref<Vm>, mark: &Mark) -> Option<NewSnapshot> {
    let tables = site.inventory.read();
    let shown = view::shown(&tables, reference)?;
    let vm_name = tables.get(&shown.record.snapshot_of).map(|vm| vm.name_label.to_string()).unwrap_or_default();
    Some(NewSnapshot {
        pool: site.uuid.0,
        uuid: mark.snapshot.0,
        vm: mark.vm.0,
        vm_name,
        policy: mark.policy.to_string(),
        due_at: mark.due_at,
        kind: kind_row(mark.kind),
        name: shown.record.name_label.to_string(),
        disks: shown.disks,
        suspend_image: shown.suspend_image,
        taken_at: shown.record.snapshot_time.happened().unwrap_or(mark.due_at),
    })
}

/// What a snapshot is worth; nothing for one that is on its way out or was given away.
fn worth(tables: &Tables, reference: &Ref<Vm>, row: &Snapshot) -> Option<State> {
    match row.state {
        SnapshotState::Removing | SnapshotState::Removed | SnapshotState::Released => None,
        SnapshotState::Ghost => Some(State::Ghost),
        SnapshotState::Detached => Some(State::Detached),
        SnapshotState::Vanished => Some(State::Unresolved),
        SnapshotState::Taken | SnapshotState::Marked | SnapshotState::Durable => Some(match missing(tables, reference, row) {
            // A storage repository that was forgotten may be introduced again, with all its disks.
            Some(Missing::Storage) => State::Unresolved,
            Some(Missing::Disk) => State::Partial,
            None if row.state == SnapshotState::Durable => State::Durable,
            None => State::Fresh,
        }),
    }
}

enum Missing {
    Disk,
    Storage,
}

/// The first of the recorded disks that is not there.
fn missing(tables: &Tables, _snapshot: &Ref<Vm>, row: &Snapshot) -> Option<Missing> {
    let gone = row.disks.iter().find(|disk| tables.by_uuid::<Vdi>(&ServerUuid::new(disk.vdi)).is_none())?;
    let storage = tables.by_uuid::<Sr>(&ServerUuid::new(gone.sr)).is_some();
    Some(if storage { Missing::Disk } else { Missing::Storage })
}

/// A pin is kept in two places: the history has its date, and the server guards the snapshot even where the history was lost.
fn pin(record: &Vm, row: &Snapshot) -> Option<Pin> {
    match (row.pinned_until, record.blocked(&VmOperation::Destroy)) {
        (Some(until), _) => Some(Pin::Until(until)),
        (None, Some(_)) => Some(Pin::Forever),
        (None, None) => None,
    }
}

/// All VMs of which a policy holds snapshots, by what the inventory shows.
pub fn vms_of(site: &Site, policy: &PolicyId) -> Vec<VmUuid> {
    let tables = site.inventory.read();
    let marked = view::marked(&tables, site);
    let mut vms: Vec<VmUuid> = marked
        .iter()
        .filter_map(|(_, _, ownership)| ownership.ours())
        .filter(|mark| mark.policy == *policy)
        .map(|mark| mark.vm)
        .collect();
    vms.sort_unstable();
    vms.dedup();
    vms
}
