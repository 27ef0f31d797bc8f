//! History and pool compared. The pool is right about what exists, the history about what was promised and what was removed. It is
//! done before anything is decided about a pool, whenever the server may have forgotten something, and from time to time.
//!
//! What the pool forgot is written down, and the promise of the newest slot is kept anew. What it remembers wrongly is a ghost: it
//! counts for nothing and goes again. What it has and the history lacks is written down, with its slot, so that a history that was
//! lost or restored never takes a snapshot twice. Nothing is destroyed here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

use super::admission::Request;
use super::error::Result;
use super::holdings;
use super::prune;
use super::site::Site;
use super::view;
use super::worker::Worker;
use crate::domain::id::{PolicyId, SrUuid};
use crate::domain::mark::{Detachment, Mark, Ownership};
use crate::domain::policy::Priority;
use crate::store::{Cause, EventKind, JobId, NewSlot, Origin, RunId, SlotState, Snapshot, SnapshotState};
use crate::xenapi::calls;
use crate::xenapi::records::{Sr, Vdi, Vm};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// How long a scan may wait for its turn, and how long it may take; then the comparison goes on without it.
const SCAN: Duration = Duration::from_secs(600);

/// So long after a scan its events may still be on their way.
const TOLD: Duration = Duration::from_secs(2);

/// A snapshot that carries a value under our key, with whose it is.
type Marked = (Ref<Vm>, Arc<Vm>, Ownership);

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Snapshots the history had and the pool has not.
    pub vanished: Vec<Uuid>,
    /// Snapshots that were removed and are back.
    pub ghosts: Vec<Uuid>,
    /// Snapshots the pool has and the history had not.
    pub found: Vec<Uuid>,
    /// Snapshots that are no longer plain snapshots of their VM.
    pub detached: Vec<Uuid>,
    /// Runs that have work again, because the pool forgot what they had taken.
    pub reopened: Vec<RunId>,
}

/// Whether the server may have forgotten something since the last comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It restarted, another host is master, or it cannot be told whether that happened while we were away.
    Server,
    /// It is the server that history and pool were last compared with.
    None,
}

/// Waits until the inventory shows the pool as it is, compares, and lets removals begin again.
///
/// # Errors
/// When the history cannot be kept.
pub async fn compare(worker: &mut Worker, site: &Site, doubt: Doubt) -> Result<Findings> {
    while !site.shows_the_present(worker, Duration::from_secs(3600)).await {
        tracing::warn!(pool = %site.name(), "the pool cannot be read; nothing is removed before it is");
    }
    // Whoever answers from here on: one that starts meanwhile is compared for itself.
    let with = site.pool.incarnation();
    let rows = site.store.present_snapshots(site.uuid.0).await?;
    if doubt == Doubt::Server {
        scan(worker, site, &rows).await;
        worker.sleep(TOLD).await;
        site.shows_the_present(worker, Duration::from_secs(300)).await;
    }
    let mut findings = Findings::default();
    let marked = view::marked(&site.inventory.read(), site);
    let newest = newest_slots(&rows, &marked);
    let mut forgotten = BTreeSet::new();
    for row in &rows {
        forgotten.extend(missing(site, row, doubt, &newest, &mut findings).await?);
    }
    for (reference, record, ownership) in marked {
        present(site, &reference, &record, ownership, doubt, &mut findings).await?;
    }
    for job in forgotten {
        keep_anew(site, job, &mut findings).await?;
    }
    site.compared.send_replace(with);
    Ok(findings)
}

/// After a crash the storage may hold disks that the database lost, and the database disks that the storage lost: a scan tells the
/// server. All storage side by side, each scan in its storage's turn. Failing at it matters to nobody.
async fn scan(worker: &mut Worker, site: &Site, rows: &[Snapshot]) {
    let scans = used(site, rows).into_iter().map(|sr| scan_one(worker.fork(), site, sr));
    let scans: Vec<_> = scans.collect();
    worker.wait(join_all(scans)).await;
}

async fn scan_one(mut worker: Worker, site: &Site, uuid: Uuid) {
    let sr = site.inventory.read().by_uuid::<Sr>(&ServerUuid::new(uuid)).map(|(reference, _)| reference.clone());
    let Some(sr) = sr else { return };
    let late = site.clock.sleep(SCAN);
    let turn = async {
        let turn = async { site.admission.stage(first_at(uuid)).await.turn().await };
        tokio::select! { turn = turn => Some(turn), () = late => None }
    };
    let Some(turn) = worker.wait(turn).await else {
        tracing::info!(pool = %site.name(), sr = %uuid, "the storage repository was not scanned: something else has been at work on it all the time");
        return;
    };
    let scanned = match worker.wait(site.pool.start(calls::sr::scan(&sr))).await {
        Ok(task) => {
            let ended = worker.wait(task.finish_then(Some(SCAN), move || drop(turn))).await;
            ended.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = scanned {
        tracing::info!(pool = %site.name(), sr = %uuid, %error, "the storage repository could not be scanned");
    }
}

/// Everybody waits for the comparison, so its scans go before whatever else wants the storage.
fn first_at(sr: Uuid) -> Request {
    let priority = Priority::new(100).unwrap_or_default();
    Request { priority, srs: vec![SrUuid(sr)], ..prune::queue_of(&PolicyId::nobody()) }
}

/// The storage of what the history has, and of what the pool has of ours: a snapshot that is back may be the only one on its storage.
fn used(site: &Site, rows: &[Snapshot]) -> BTreeSet<Uuid> {
    let mut used: BTreeSet<Uuid> = rows.iter().flat_map(|row| row.disks.iter().map(|disk| disk.sr)).collect();
    let tables = site.inventory.read();
    let marked = view::marked(&tables, site);
    used.extend(marked.iter().flat_map(|(reference, ..)| view::srs(&tables, reference)).map(|(sr, _)| sr.0));
    used
}

/// The newest slot of each VM and policy, by history and by the pool's marks: only its promise is kept anew. A history that was
/// restored may call a snapshot the newest that retention has removed long since.
fn newest_slots<'a>(rows: &'a [Snapshot], marked: &'a [Marked]) -> HashMap<(Uuid, &'a str), chrono::DateTime<chrono::Utc>> {
    let known = rows.iter().map(|row| ((row.vm_uuid, row.policy.as_str()), row.due_at));
    let marks = marked.iter().filter_map(|(_, _, ownership)| ownership.ours());
    let marks = marks.map(|mark| ((mark.vm.0, mark.policy.as_str()), mark.due_at));
    let mut newest = HashMap::new();
    for (whose, due_at) in known.chain(marks) {
        let due = newest.entry(whose).or_insert(due_at);
        *due = due_at.max(*due);
    }
    newest
}

/// A snapshot of the history that the pool does not show. Its job, if the promise is to be kept anew.
async fn missing(
    site: &Site,
    row: &Snapshot,
    doubt: Doubt,
    newest: &HashMap<(Uuid, &str), chrono::DateTime<chrono::Utc>>,
    findings: &mut Findings,
) -> Result<Option<JobId>> {
    if view::vm_of(&site.inventory.read(), row.uuid).is_some() || row.state == SnapshotState::Removing {
        return Ok(None);
    }
    if row.state == SnapshotState::Ghost {
        site.store.snapshot_seen(row.id, SnapshotState::Removed, site.now()).await?;
        return Ok(None);
    }
    let by_server = doubt == Doubt::Server || matches!(row.state, SnapshotState::Taken | SnapshotState::Marked);
    let (code, why) =
        if by_server { ("forgotten", "the server forgot it") } else { ("removed-by-others", "somebody else removed it") };
    let text = format!(
        "the snapshot of {} for policy {}, due {}, is not in the pool any more: {why}",
        row.vm_name, row.policy_name, row.due_at
    );
    site.store.snapshot_vanished(row.id, Cause::new(code, text.clone()), site.now()).await?;
    site.note(site.event_of(row, EventKind::Vanished, text)).await?;
    left_behind(site, row).await?;
    findings.vanished.push(row.uuid);
    let is_newest = newest.get(&(row.vm_uuid, row.policy.as_str())) == Some(&row.due_at);
    Ok(row.job.filter(|_| by_server && is_newest && row.state != SnapshotState::Detached))
}

/// Disks of a snapshot whose record is gone. Another member's database may name them again, so nothing is done about them here.
async fn left_behind(site: &Site, row: &Snapshot) -> Result<()> {
    let there = |disk: &&crate::store::Disk| site.inventory.read().by_uuid::<Vdi>(&ServerUuid::new(disk.vdi)).is_some();
    let left: Vec<String> = row.disks.iter().filter(there).map(|disk| disk.vdi.to_string()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the snapshot {} of {} is gone, and its disks {} are still on the storage and belong to nobody; `xensnap orphans` lists them, \
         and says whether they go by themselves",
        row.uuid,
        row.vm_name,
        left.join(", ")
    );
    Ok(site.note(site.event_of(row, EventKind::LeftBehind, text)).await?)
}

/// A snapshot of the pool that carries a value under our key.
async fn present(
    site: &Site,
    reference: &Ref<Vm>,
    record: &Arc<Vm>,
    ownership: Ownership,
    doubt: Doubt,
    findings: &mut Findings,
) -> Result<()> {
    match ownership {
        Ownership::Ours(mark) => ours(site, reference, &mark, doubt, findings).await,
        Ownership::Detached(mark, why) => detached(site, record, &mark, &why, findings).await,
        _ => Ok(()),
    }
}

async fn ours(site: &Site, reference: &Ref<Vm>, mark: &Mark, doubt: Doubt, findings: &mut Findings) -> Result<()> {
    let rows = site.store.snapshots_by_uuid(mark.snapshot.0).await?;
    match rows.iter().find(|row| row.pool == site.uuid.0) {
        Some(row) if row.state == SnapshotState::Removed => {
            // Right after a removal the inventory may be a moment behind.
            if doubt == Doubt::None {
                return Ok(());
            }
            site.store.snapshot_seen(row.id, SnapshotState::Ghost, site.now()).await?;
            let text = format!(
                "the snapshot {} of {} was removed and is back: the server forgot that; it goes again",
                row.uuid, row.vm_name
            );
            site.note(site.event_of(row, EventKind::Ghost, text)).await?;
            findings.ghosts.push(row.uuid);
            Ok(())
        }
        Some(row) if matches!(row.state, SnapshotState::Vanished | SnapshotState::Detached) => {
            site.store.snapshot_seen(row.id, SnapshotState::Marked, site.now()).await?;
            Ok(())
        }
        Some(row) if row.state == SnapshotState::Taken && row.job.is_none() => {
            site.store.snapshot_marked(row.id, site.now()).await?;
            Ok(())
        }
        Some(_) => Ok(()),
        None => found(site, reference, mark, findings).await,
    }
}

/// The history lacks it: it is written down, and so is its slot, which is not to be run again.
async fn found(site: &Site, reference: &Ref<Vm>, mark: &Mark, findings: &mut Findings) -> Result<()> {
    // A call of ours whose end is not known looks for its snapshot itself.
    if let Some(attempt) = site.store.attempt_by_nonce(mark.nonce.as_str()).await?
        && attempt.state.is_open()
    {
        return Ok(());
    }
    if holdings::remembered(site, reference, mark).await?.is_none() {
        return Ok(());
    }
    findings.found.push(mark.snapshot.0);
    let slot = NewSlot {
        policy: mark.policy.to_string(),
        pool: site.uuid.0,
        due_at: mark.due_at,
        origin: Origin::Schedule,
        state: SlotState::Covered,
        reason: "covered".to_owned(),
        detail: "the pool's marks say that it was run; the history did not know it".to_owned(),
    };
    match site.store.claim(slot, site.now()).await {
        Ok(_) | Err(crate::store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn detached(site: &Site, record: &Arc<Vm>, mark: &Mark, why: &Detachment, findings: &mut Findings) -> Result<()> {
    let rows = site.store.snapshots_by_uuid(record.uuid.get()).await?;
    let known = rows.iter().find(|row| row.pool == site.uuid.0);
    let Some(row) =
        known.filter(|row| matches!(row.state, SnapshotState::Taken | SnapshotState::Marked | SnapshotState::Durable))
    else {
        return Ok(());
    };
    site.store.snapshot_seen(row.id, SnapshotState::Detached, site.now()).await?;
    let text = format!("the snapshot {} of policy {} counts for no policy any more and stays: {why}", row.uuid, mark.policy);
    site.note(site.event_of(row, EventKind::Detached, text)).await?;
    findings.detached.push(row.uuid);
    Ok(())
}

/// The job takes its snapshot again.
async fn keep_anew(site: &Site, job: JobId, findings: &mut Findings) -> Result<()> {
    match site.store.requeue_forgotten(job, site.now(), site.now()).await {
        Ok(()) => findings.reopened.push(site.store.job(job).await?.run),
        // The job goes another way already.
        Err(crate::store::Error::Illegal { .. } | crate::store::Error::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
