//! Disks of snapshots whose record is gone. A server that forgot a snapshot leaves its volumes behind, and a scan brings them back as
//! disks of nobody; what proves that they are ours is that the history recorded their uuids when the snapshot was taken.

use uuid::Uuid;

use super::{Rows, of_row, orphan};
use crate::domain::id::PolicyId;
use crate::domain::orphans::{self, Disk, Gone, Judgement, Orphan, Signs, What, Why};
use crate::engine::error::Result;
use crate::engine::prune;
use crate::engine::site::Site;
use crate::engine::uninstall;
use crate::engine::view;
use crate::engine::worker::Worker;
use crate::store::{NewRemoval, PartState, Removal, Role, Snapshot, SnapshotState};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Vdi, VdiType, Vm};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// So long after it could not be brought to its end a removal is tried again.
const AGAIN_AFTER: chrono::TimeDelta = chrono::TimeDelta::days(1);

/// A disk of a snapshot that is gone, as it is found in the pool.
struct Found {
    role: Role,
    uuid: Uuid,
    name: String,
    storage: Option<(String, u64)>,
    signs: Signs,
}

/// Removes those that are ours beyond doubt, and tries again what could not be removed.
pub(super) async fn remove(worker: &mut Worker, site: &Site, rows: &Rows) -> Result<()> {
    for (row, judged) in judged(site, rows).await? {
        let ours = judged.into_iter().filter(|(_, judgement)| *judgement == Judgement::Repair(()));
        let parts: Vec<(Role, Uuid)> = ours.map(|(found, _)| (found.role, found.uuid)).collect();
        if parts.is_empty() || !site.is_trusted() {
            continue;
        }
        let reason = format!(
            "the snapshot {} of {} for policy {}, due {}, is gone, and the history recorded them with it",
            row.uuid, row.vm_name, row.policy_name, row.due_at
        );
        let new = NewRemoval { pool: site.uuid.0, snapshot: row.uuid, run: None, reason, parts };
        let removal = site.store.plan_disks_removal(new, site.now()).await?;
        carry_out(worker, site, &removal, row).await?;
    }
    for removal in site.store.orphans(site.uuid.0).await? {
        let over = removal.finished_at.is_none_or(|at| site.now() - at >= AGAIN_AFTER);
        if over && site.is_trusted() {
            let row = rows.all.get(&removal.snapshot);
            let policy = row.and_then(|row| row.policy.parse().ok()).unwrap_or_else(PolicyId::nobody);
            uninstall::carry_out(worker, site, &removal, &prune::queue_of(&policy)).await?;
        }
    }
    Ok(())
}

async fn carry_out(worker: &mut Worker, site: &Site, removal: &Removal, row: &Snapshot) -> Result<()> {
    // One that the server refused for the moment waits for its time.
    if removal.next_try > site.now() {
        return Ok(());
    }
    let policy = row.policy.parse().unwrap_or_else(|_| PolicyId::nobody());
    uninstall::carry_out(worker, site, removal, &prune::queue_of(&policy)).await?;
    Ok(())
}

/// Those that are listed: what is kept for a day, what somebody may want, and what cannot be removed.
pub(super) async fn look(site: &Site, rows: &Rows) -> Result<Vec<Orphan>> {
    let mut left = Vec::new();
    for (row, judged) in judged(site, rows).await? {
        for (found, judgement) in judged {
            let (why, goes_at) = match judgement {
                Judgement::Fine => continue,
                Judgement::Later(at) => (Why::Waits, Some(at)),
                Judgement::Repair(()) => (Why::Waits, Some(site.now())),
                Judgement::List(why) => (why, None),
            };
            let orphan = of_row(What::Disk, found.uuid, &found.name, row, why);
            left.push(Orphan { storage: found.storage, goes_at, ..orphan });
        }
    }
    for removal in site.store.orphans(site.uuid.0).await? {
        left.push(stuck(&removal, rows));
    }
    Ok(left)
}

fn stuck(removal: &Removal, rows: &Rows) -> Orphan {
    let why = Why::Stuck(removal.cause.as_ref().map_or_else(String::new, |cause| cause.text.clone()));
    let since = Some(removal.finished_at.unwrap_or(removal.planned_at));
    let orphan = match rows.all.get(&removal.snapshot) {
        Some(row) => of_row(What::Snapshot, removal.snapshot, &row.name, row, why),
        None => orphan(What::Snapshot, removal.snapshot, "", why),
    };
    Orphan { since, ..orphan }
}

/// Every disk that is there of a snapshot that is gone, with what is to be done about it.
async fn judged<'a>(site: &Site, rows: &'a Rows) -> Result<Vec<(&'a Snapshot, Vec<(Found, Judgement<()>)>)>> {
    let busy = in_work(site).await?;
    let gone = |row: &&Snapshot| matches!(row.state, SnapshotState::Vanished | SnapshotState::Removed);
    let mut all = Vec::new();
    for row in rows.all.values().filter(gone).filter(|row| !busy.contains(&row.uuid)) {
        let there = there(&site.inventory.read(), row);
        if there.is_empty() {
            continue;
        }
        let (gone, spared) = (became(site, row).await?, spared(site, row).await?);
        let since = row.vanished_at.or(row.removed_at).unwrap_or_else(|| site.now());
        let pinned = row.pinned_until.is_some_and(|until| until > site.now());
        let judge = |found: Found| {
            let spared = spared.contains(&found.uuid);
            let judgement = orphans::disk(&Disk { gone, since, pinned, spared, signs: found.signs }, site.now());
            (found, judgement)
        };
        all.push((row, there.into_iter().map(judge).collect()));
    }
    all.sort_by_key(|(row, _)| (row.due_at, row.uuid));
    Ok(all)
}

/// Snapshots whose removal is open or could not be brought to its end: its parts are its own.
async fn in_work(site: &Site) -> Result<Vec<Uuid>> {
    let mut removals = site.store.open_removals(site.uuid.0).await?;
    removals.extend(site.store.orphans(site.uuid.0).await?);
    Ok(removals.into_iter().map(|removal| removal.snapshot).collect())
}

/// What became of a snapshot. What nobody can tell counts as others' doing.
async fn became(site: &Site, row: &Snapshot) -> Result<Gone> {
    if row.state == SnapshotState::Removed {
        return Ok(Gone::Removed);
    }
    let Some(job) = row.job else { return Ok(Gone::ByOthers) };
    let attempts = site.store.attempts(job).await?;
    let attempt = attempts.into_iter().find(|attempt| Some(attempt.id) == row.attempt);
    let cause =
        attempt.filter(|attempt| attempt.state == crate::store::AttemptState::Forgotten).and_then(|attempt| attempt.cause);
    Ok(match cause {
        Some(cause) if cause.code != "removed-by-others" => Gone::Forgotten,
        _ => Gone::ByOthers,
    })
}

/// Disks that an earlier removal let be.
async fn spared(site: &Site, row: &Snapshot) -> Result<Vec<Uuid>> {
    let removals = site.store.removals_of(row.uuid).await?;
    let parts = removals.into_iter().flat_map(|removal| removal.parts);
    Ok(parts.filter(|part| part.state == PartState::Spared).map(|part| part.uuid).collect())
}

/// Which of a snapshot's recorded disks are in the pool, and what they show of themselves.
fn there(tables: &Tables, row: &Snapshot) -> Vec<Found> {
    let disks = row.disks.iter().map(|disk| (Role::Disk, disk.vdi, Some(disk.name.as_str())));
    let image = row.suspend_image.into_iter().map(|image| (Role::Suspend, image, None));
    let snapshot_is_back = view::vm_of(tables, row.uuid).is_some();
    let found = disks.chain(image).filter_map(|(role, uuid, recorded)| {
        let (reference, vdi) = tables.by_uuid::<Vdi>(&ServerUuid::new(uuid))?;
        let signs = Signs {
            snapshot_is_back,
            used: !vdi.vbds.is_empty() || is_memory(tables, reference),
            unmanaged: !vdi.managed,
            renamed: is_renamed(vdi, recorded),
        };
        let storage = view::sr(tables, &vdi.sr).map(|(_, name)| (name.to_owned(), bytes(vdi)));
        Some(Found { role, uuid, name: vdi.name_label.to_string(), storage, signs })
    });
    found.collect()
}

fn bytes(vdi: &Vdi) -> u64 {
    u64::try_from(vdi.physical_utilisation).unwrap_or_default()
}

/// A storage that keeps no names brings a disk back without one.
fn is_renamed(vdi: &Vdi, recorded: Option<&str>) -> bool {
    let other = recorded.map_or(vdi.kind != VdiType::Suspend, |recorded| recorded != &*vdi.name_label);
    !vdi.name_label.is_empty() && other
}

fn is_memory(tables: &Tables, disk: &Ref<Vdi>) -> bool {
    tables.all::<Vm>().any(|(_, vm)| *vm.suspend_vdi == *disk)
}
