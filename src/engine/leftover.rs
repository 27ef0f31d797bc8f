//! What an attempt that failed leaves behind: a snapshot that the server began and did not finish, or finished although it says that
//! the call failed. It counts for nothing and goes at once. It is marked first, because nothing unmarked is ever destroyed; and the
//! removal is written down before the mark, so that nobody takes it for a good snapshot in between.
//!
//! The attempt's end is written before anything else, so a life that ends on the way leaves a job whose rows say that an attempt
//! failed; whoever drives the run next looks again for what each of those left.

use std::sync::Arc;
use std::time::Duration;

use super::errand::{self, Errand};
use super::error::Result;
use super::late;
use super::resolve;
use super::site::Site;
use super::uninstall::{self, Queue, Removed};
use super::worker::Worker;
use super::{marking, prune, view};
use crate::domain::id::{RunId, SnapshotUuid, VmUuid};
use crate::domain::mark::Mark;
use crate::domain::nonce::Nonce;
use crate::store::{Attempt, AttemptState, EventKind, Job, JobState, NewEvent, NewRemoval, Role};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Vdi, Vm};
use crate::xenapi::types::Ref;

/// How long a leftover may take to show up, with all its parts, after the task has failed.
const SHOWS: Duration = Duration::from_secs(5);

/// What goes with a leftover, and as what.
type Parts = Vec<(Role, uuid::Uuid)>;

/// Removes what a failed attempt left, if it left anything. Idempotent.
///
/// # Errors
/// When the history cannot be kept.
pub async fn clear(worker: &mut Worker, site: &Site, job: &Job, attempt: &Attempt, queue: &Queue) -> Result<()> {
    let Ok(nonce) = attempt.nonce.parse::<Nonce>() else { return Ok(()) };
    let named = site.seen(worker, SHOWS, |tables| resolve::find(tables, site, job, nonce)).await;
    let Some(reference) = named else { return Ok(()) };
    // One that is complete can be told from one whose parts are still on their way; one that never gets complete cannot.
    site.seen(worker, SHOWS, |tables| view::shown(tables, &reference).map(|_| ())).await;
    let Some((seen, parts)) = parts(&site.inventory.read(), &reference) else { return Ok(()) };
    let Some(mark) = mark(site, job, seen.uuid.get(), nonce).await? else { return Ok(()) };
    let reason = "it is what a failed attempt left behind, and counts for nothing".to_owned();
    let new = NewRemoval { pool: site.uuid.0, snapshot: mark.snapshot.0, run: Some(job.run), reason, parts };
    let removal = site.store.plan_removal(new, site.now()).await?;
    if let Err(setback) = marking::put(worker, site, &reference, &seen, &mark).await {
        tracing::warn!(pool = %site.name(), snapshot = %mark.snapshot, error = %setback.cause.text, "what a failed attempt left could not be marked; it is tried again before the run removes anything");
        return Ok(());
    }
    let text =
        format!("the failed attempt for VM {} left the snapshot {}; it counts for nothing and goes", job.vm_name, mark.snapshot);
    let (policy, vm, run, snapshot) = (Some(job.policy.clone()), Some(job.vm_uuid), Some(job.run), Some(mark.snapshot.0));
    site.note(NewEvent { policy, vm, run, snapshot, ..site.event(EventKind::Leftover, text) }).await?;
    // Whoever goes on with removals once history and pool are compared finds it in the rows.
    if !site.is_trusted() {
        return Ok(());
    }
    if uninstall::carry_out(worker, site, &removal, queue).await? == Removed::Done {
        // Whoever looks next must not find it again.
        site.seen(worker, site.pace.showing, |tables| tables.get(&reference).is_none().then_some(())).await;
    }
    late::secure_all(worker, site).await
}

/// Removes what failed attempts of these jobs left and nobody has come to remove yet, because an earlier life ended on the way or
/// the server refused the mark. Looks only at what the inventory shows already.
///
/// # Errors
/// When the history cannot be kept.
pub async fn clear_all(worker: &mut Worker, errand: &Errand, jobs: &[Job]) -> Result<()> {
    let site = &errand.site;
    for job in jobs.iter().filter(|job| may_have_left(job)) {
        for attempt in site.store.attempts(job.id).await?.into_iter().filter(|attempt| attempt.state == AttemptState::Refused) {
            let Ok(nonce) = attempt.nonce.parse::<Nonce>() else { continue };
            if resolve::find(&site.inventory.read(), site, job, nonce).is_some() {
                clear(worker, site, job, &attempt, &prune::queue(&errand.policy)).await?;
            }
        }
    }
    Ok(())
}

/// Whether an attempt of this job failed: the only one of a job with a snapshot did not.
fn may_have_left(job: &Job) -> bool {
    match job.state {
        JobState::Queued | JobState::Failed | JobState::Skipped | JobState::Cancelled => job.attempts > 0,
        _ => job.attempts > 1,
    }
}

/// The snapshot, and what is to go with it.
fn parts(tables: &Tables, reference: &Ref<Vm>) -> Option<(Arc<Vm>, Parts)> {
    let seen = tables.get(reference)?;
    let mut parts = vec![(Role::Snapshot, seen.uuid.get())];
    parts.extend(view::disks(tables, reference).iter().map(|disk| (Role::Disk, disk.vdi)));
    let image = seen.suspend_vdi.not_null().and_then(|image| tables.get::<Vdi>(image));
    parts.extend(image.map(|image| (Role::Suspend, image.uuid.get())));
    Some((Arc::clone(seen), parts))
}

/// The mark of a leftover; nothing if the history lacks a part of it.
pub(super) async fn mark(site: &Site, job: &Job, snapshot: uuid::Uuid, nonce: Nonce) -> Result<Option<Mark>> {
    let Ok(policy) = job.policy.parse() else { return Ok(None) };
    let run = site.store.run(job.run).await?;
    Ok(Some(Mark {
        installation: site.installation.clone(),
        pool: site.uuid,
        snapshot: SnapshotUuid(snapshot),
        vm: VmUuid(job.vm_uuid),
        policy,
        due_at: job.due_at,
        run: RunId(run.uuid),
        kind: errand::kind_of(job.kind),
        nonce,
    }))
}
