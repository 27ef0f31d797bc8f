//! What an attempt that failed leaves behind: a snapshot that the server began and did not finish. It counts for nothing and goes at
//! once. It is marked first, because nothing unmarked is ever destroyed; and the removal is written down before the mark, so that
//! nobody takes it for a good snapshot in between.

use std::time::Duration;

use super::errand::Errand;
use super::error::Result;
use super::late;
use super::resolve;
use super::uninstall;
use super::worker::Worker;
use super::{marking, prune, view};
use crate::domain::id::{PolicyId, RunId, SnapshotUuid, VmUuid};
use crate::domain::mark::Mark;
use crate::domain::nonce::Nonce;
use crate::store::{Attempt, Job, NewRemoval, Role};

/// How long a leftover may take to show up after the task has failed.
const SHOWS: Duration = Duration::from_secs(5);

/// Removes what a failed attempt left, if it left anything.
///
/// # Errors
/// When the history cannot be kept.
pub async fn clear(worker: &mut Worker, errand: &Errand, job: &Job, attempt: &Attempt) -> Result<()> {
    let site = &errand.site;
    let Ok(nonce) = attempt.nonce.parse::<Nonce>() else { return Ok(()) };
    let named = site.seen(worker, SHOWS, |tables| resolve::find(tables, site, job, nonce)).await;
    let Some(reference) = named else { return Ok(()) };
    let (Some(seen), disks) = ({
        let tables = site.inventory.read();
        (tables.get(&reference).cloned(), view::disks(&tables, &reference))
    }) else {
        return Ok(());
    };
    let snapshot = seen.uuid.get();
    let mut parts = vec![(Role::Snapshot, snapshot)];
    parts.extend(disks.iter().map(|disk| (Role::Disk, disk.vdi)));
    let reason = "it is what a failed attempt left behind, and counts for nothing".to_owned();
    let new = NewRemoval { pool: site.uuid.0, snapshot, run: Some(job.run), reason, parts };
    let removal = site.store.plan_removal(new, site.now()).await?;
    let mark = mark(errand, job, &errand.policy.id, snapshot, nonce);
    if let Err(setback) = marking::put(worker, site, &reference, &seen, &mark).await {
        tracing::warn!(pool = %site.name(), %snapshot, error = %setback.cause.text, "what a failed attempt left could not be marked, so it stays for now");
        return Ok(());
    }
    uninstall::carry_out(worker, site, &removal, &prune::queue(&errand.policy)).await?;
    late::secure_all(worker, site).await
}

fn mark(errand: &Errand, job: &Job, policy: &PolicyId, snapshot: uuid::Uuid, nonce: Nonce) -> Mark {
    Mark {
        installation: errand.site.installation.clone(),
        pool: errand.site.uuid,
        snapshot: SnapshotUuid(snapshot),
        vm: VmUuid(job.vm_uuid),
        policy: policy.clone(),
        due_at: job.due_at,
        run: RunId(errand.run.uuid),
        kind: super::errand::kind_of(job.kind),
        nonce,
    }
}
