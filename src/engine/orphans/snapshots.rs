//! Snapshots that carry no valid mark although the history knows them or the attempt that took them, guards of which the history knows
//! nothing, and those of ours that nobody may touch any more.

use std::sync::Arc;

use uuid::Uuid;

use super::{AGAIN, Rows, of_row, orphan, reclaimed};
use crate::domain::id::{PolicyId, RunId, SnapshotUuid, VmUuid};
use crate::domain::mark::{Mark, Ownership, verify};
use crate::domain::nonce::Nonce;
use crate::domain::orphans::{self, Guard, Judgement, Known, Mend, Orphan, What, Why};
use crate::domain::snapshot::Parent;
use crate::engine::errand::kind_of;
use crate::engine::error::Result;
use crate::engine::site::Site;
use crate::engine::worker::Worker;
use crate::engine::{holdings, late, leftover, marking, pins, prune, view};
use crate::store::{Attempt, AttemptState, Job, Page, Snapshot, SnapshotFilter, SnapshotState};
use crate::xenapi::records::{Vm, VmOperation};
use crate::xenapi::types::Ref;

/// A snapshot without a valid mark, as it is found in the pool.
struct Found {
    reference: Ref<Vm>,
    record: Arc<Vm>,
    vm: VmUuid,
    nonce: Option<Nonce>,
}

/// Marks again what lost its mark, and removes what a failed attempt left.
pub(super) async fn mend(worker: &mut Worker, site: &Site, rows: &Rows) -> Result<()> {
    for found in unmarked(site) {
        let (known, traced) = known(site, rows, &found).await?;
        let taken = found.record.snapshot_time.happened();
        let Judgement::Repair(mend) = orphans::unmarked(&known, taken, site.now()) else { continue };
        if !site.is_trusted() {
            return Ok(());
        }
        match (mend, traced) {
            (Mend::Remove, Some((job, attempt))) => {
                let policy = job.policy.parse().unwrap_or_else(|_| PolicyId::nobody());
                leftover::clear(worker, site, &job, &attempt, &prune::queue_of(&policy)).await?;
            }
            (_, traced) => mark_again(worker, site, rows, &found, mend, traced).await?,
        }
    }
    Ok(())
}

async fn mark_again(
    worker: &mut Worker,
    site: &Site,
    rows: &Rows,
    found: &Found,
    mend: Mend,
    traced: Option<(Job, Attempt)>,
) -> Result<()> {
    let row = rows.all.get(&found.record.uuid.get());
    let Some(mark) = mark_for(site, found, row, traced).await? else { return Ok(()) };
    if let Err(setback) = marking::put(worker, site, &found.reference, &found.record, &mark).await {
        tracing::warn!(pool = %site.name(), snapshot = %mark.snapshot, error = %setback.cause.text, "a snapshot of ours that lost its mark could not be marked again");
        return Ok(());
    }
    let text = match (mend, row) {
        (Mend::Ghost, Some(row)) => {
            if row.state == SnapshotState::Removed {
                site.store.snapshot_seen(row.id, SnapshotState::Ghost, site.now()).await?;
            }
            format!("the snapshot {} was removed and is back without its mark; it was marked, and goes again", mark.snapshot)
        }
        _ => {
            if let Some(row) = row.filter(|row| row.state == SnapshotState::Taken) {
                site.store.snapshot_marked(row.id, site.now()).await?;
            }
            // One that the history lacks is written down.
            holdings::remembered(site, &found.reference, &mark).await?;
            format!("the snapshot {} of policy {} had no mark, and has it again", mark.snapshot, mark.policy)
        }
    };
    let about = (Some(mark.policy.to_string()), Some(mark.vm.0));
    reclaimed(site, What::Snapshot, mark.snapshot.0, about, text).await
}

/// The mark that a snapshot of ours had, or was to have.
async fn mark_for(site: &Site, found: &Found, row: Option<&Snapshot>, traced: Option<(Job, Attempt)>) -> Result<Option<Mark>> {
    let snapshot = found.record.uuid.get();
    if let Some(row) = row {
        if let Some(job) = row.job
            && let Some(mark) = late::mark_of(site, &site.store.job(job).await?, row).await?
        {
            return Ok(Some(mark));
        }
        return Ok(row.policy.parse().ok().map(|policy| Mark {
            installation: site.installation.clone(),
            pool: site.uuid,
            snapshot: SnapshotUuid(snapshot),
            vm: found.vm,
            policy,
            due_at: row.due_at,
            run: RunId(Uuid::new_v4()),
            kind: kind_of(row.kind),
            nonce: found.nonce.unwrap_or_else(|| Nonce::from_bits(rand::random())),
        }));
    }
    let (Some((job, _)), Some(nonce)) = (traced, found.nonce) else { return Ok(None) };
    leftover::mark(site, &job, snapshot, nonce).await
}

/// Every plain snapshot without a valid mark.
fn unmarked(site: &Site) -> Vec<Found> {
    let tables = site.inventory.read();
    let found = tables.all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot && vm.is_a_template && vm.current_operations.is_empty());
    let found = found.filter_map(|(reference, record)| {
        let facts = view::facts(&tables, site.uuid, record);
        let unmarked = matches!(verify(&site.installation, &facts), Ownership::Foreign { .. } | Ownership::Inherited(..));
        let Parent::Vm(vm) = facts.parent else { return None };
        let nonce = Nonce::of_name(&record.name_label);
        unmarked.then(|| Found { reference: reference.clone(), record: record.clone(), vm: VmUuid(vm.0), nonce })
    });
    found.collect()
}

/// What the history says of it, and the attempt that its name ends with.
async fn known(site: &Site, rows: &Rows, found: &Found) -> Result<(Known, Option<(Job, Attempt)>)> {
    let uuid = found.record.uuid.get();
    if let Some(row) = rows.all.get(&uuid) {
        let known = match row.state {
            _ if row.vm_uuid != found.vm.0 => Known::InHands,
            SnapshotState::Marked | SnapshotState::Durable | SnapshotState::Vanished => Known::Counts,
            SnapshotState::Removed | SnapshotState::Ghost => Known::Removed,
            SnapshotState::Taken if is_over(site, row).await? => Known::Counts,
            SnapshotState::Taken | SnapshotState::Removing | SnapshotState::Detached | SnapshotState::Released => Known::InHands,
        };
        return Ok((known, None));
    }
    // Somebody else's, or given away long ago.
    let Some(nonce) = found.nonce else { return Ok((Known::InHands, None)) };
    if site.store.snapshots_by_uuid(uuid).await?.iter().any(|row| row.pool == site.uuid.0) {
        return Ok((Known::InHands, None));
    }
    let Some(attempt) = site.store.attempt_by_nonce(nonce.as_str()).await? else { return Ok((Known::NameOnly, None)) };
    let job = site.store.job(attempt.job).await?;
    if job.pool != site.uuid.0 || job.vm_uuid != found.vm.0 {
        return Ok((Known::NameOnly, None));
    }
    let removing = site.store.removals_of(uuid).await?.iter().any(|removal| removal.state.is_open());
    if removing || attempt.state.is_open() || site.store.run(job.run).await?.outcome.is_none() {
        return Ok((Known::InHands, None));
    }
    let known = match attempt.state {
        AttemptState::Refused => Known::Failed,
        AttemptState::Absent if has_another(site, &job).await? => Known::Failed,
        AttemptState::Absent => Known::Late,
        _ => Known::NameOnly,
    };
    Ok((known, Some((job, attempt))))
}

/// Whether the job that took a snapshot is not about to mark it any more.
async fn is_over(site: &Site, row: &Snapshot) -> Result<bool> {
    Ok(match row.job {
        Some(job) => site.store.job(job).await?.state.is_final(),
        None => true,
    })
}

/// Whether the job's slot has a snapshot.
async fn has_another(site: &Site, job: &Job) -> Result<bool> {
    let filter =
        SnapshotFilter { vm: Some(job.vm), policy: Some(job.policy.clone()), present: true, ..SnapshotFilter::default() };
    let rows = site.store.snapshots(filter, Page::first(1000)).await?.rows;
    Ok(rows.iter().any(|row| row.due_at == job.due_at))
}

/// Those that a person has to look at.
pub(super) async fn look(site: &Site, rows: &Rows) -> Result<Vec<Orphan>> {
    let mut left = Vec::new();
    for found in unmarked(site) {
        let (known, _) = known(site, rows, &found).await?;
        let taken = found.record.snapshot_time.happened();
        let why = match orphans::unmarked(&known, taken, site.now()) {
            Judgement::Repair(_) => Why::Unmended(AGAIN.to_owned()),
            Judgement::List(why) => why,
            Judgement::Fine | Judgement::Later(_) => continue,
        };
        let uuid = found.record.uuid.get();
        let orphan = match rows.all.get(&uuid) {
            Some(row) => of_row(What::Snapshot, uuid, &found.record.name_label, row, why),
            None => orphan(What::Snapshot, uuid, &found.record.name_label, why),
        };
        left.push(Orphan { since: taken, ..orphan });
    }
    let marked = view::marked(&site.inventory.read(), site);
    for (_, record, ownership) in marked {
        let (why, policy) = match ownership {
            Ownership::Detached(mark, why) => (Why::Detached(why.to_string()), Some(mark.policy.to_string())),
            Ownership::TooNew { .. } => (Why::TooNew, None),
            _ => continue,
        };
        let orphan = orphan(What::Snapshot, record.uuid.get(), &record.name_label, why);
        left.push(Orphan { policy, since: record.snapshot_time.happened(), ..orphan });
    }
    Ok(left)
}

/// Guards of ours of which the history knows nothing: a pin is written down again, one whose date has passed is taken off.
pub(super) async fn mend_guards(worker: &mut Worker, site: &Site, rows: &Rows) -> Result<()> {
    let guarded: Vec<(Uuid, String)> = {
        let tables = site.inventory.read();
        let blocked = tables.all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot);
        let blocked = blocked.filter_map(|(_, vm)| Some((vm.uuid.get(), vm.blocked(&VmOperation::Destroy)?.to_owned())));
        blocked.collect()
    };
    for (uuid, text) in guarded {
        let (Some((until, reason)), Some(row)) = (pins::parse(&text), rows.all.get(&uuid)) else { continue };
        let counts = matches!(row.state, SnapshotState::Taken | SnapshotState::Marked | SnapshotState::Durable);
        let Judgement::Repair(mend) = orphans::guard(until, row.pinned_until, site.now()) else { continue };
        let text = match mend {
            Guard::Record if counts => {
                site.store.pin(row.id, until, reason).await?;
                format!("the snapshot {uuid} is pinned at the server until {until}; the history did not know it, and does again")
            }
            Guard::Record => continue,
            Guard::TakeOff => match pins::unpin(worker, site, row).await? {
                Ok(()) => format!("the guard of a pin that is over was taken off the snapshot {uuid}"),
                Err(_) => continue,
            },
        };
        reclaimed(site, What::Snapshot, uuid, (Some(row.policy.clone()), Some(row.vm_uuid)), text).await?;
    }
    Ok(())
}
