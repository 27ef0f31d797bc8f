//! What became of a call whose end is not known. The rule: look before acting. A call that still runs is found by the nonce in its task,
//! the snapshot by the nonce in its name, and in this order: a snapshot that is being taken is there already, and may yet fail. Only
//! when neither is there, twice, with time enough in between for a request that was on its way, did the call have no effect. What
//! cannot be looked at stays unresolved.

use std::time::Duration;

use super::attempt::{self, TAG, Went};
use super::error::{Effect, Result, Setback};
use super::site::Site;
use super::view;
use super::worker::Worker;
use crate::domain::id::VmUuid;
use crate::domain::mark::Attempt as Sought;
use crate::domain::nonce::Nonce;
use crate::store::{Attempt, Cause, Job};
use crate::xenapi::failure::Kind;
use crate::xenapi::inventory::{Follows, Tables};
use crate::xenapi::records::Vm;
use crate::xenapi::task::FoundTask;
use crate::xenapi::types::Ref;
use crate::xenapi::{CallError, calls};

/// The code of a doubt that no look at the pool can end.
pub const UNREADABLE: &str = "nonce";

/// A task that has ended may take so long to tell how.
const ENDED: Duration = Duration::from_secs(60);

/// How long to wait for the inventory to show the pool as it is.
const PRESENT: Duration = Duration::from_secs(300);

/// Finds out how an attempt ended. Changes nothing, except that a task that has ended is cleaned away, and one whose time is over is
/// told to end.
///
/// # Errors
/// When the history cannot be written.
pub async fn resolve(worker: &mut Worker, site: &Site, job: &Job, attempt: &Attempt) -> Result<Went> {
    let Ok(nonce) = attempt.nonce.parse::<Nonce>() else {
        let text = "the nonce in the history is none; the history was written by something else";
        return Ok(doubtful(Cause::new(UNREADABLE, text)));
    };
    for look in 0..2 {
        if look > 0 {
            worker.sleep(site.pace.grace).await;
        }
        match look_once(worker, site, job, (attempt, nonce)).await? {
            Ok(Some(went)) => return Ok(went),
            Ok(None) => {}
            Err(setback) => return Ok(Went::Doubtful(setback)),
        }
    }
    let text = "neither the snapshot nor a task of the call is in the pool, so it had no effect";
    Ok(Went::Not(Setback { kind: Kind::Transient, cause: Cause::new("absent", text), effect: Effect::NeverLeft }))
}

/// What one look tells; the inner error is a doubt that stays.
async fn look_once(
    worker: &mut Worker,
    site: &Site,
    job: &Job,
    (attempt, nonce): (&Attempt, Nonce),
) -> Result<std::result::Result<Option<Went>, Setback>> {
    if !site.shows_the_present(worker, PRESENT).await {
        return Ok(Err(away()));
    }
    let task = match the_task(worker, site, nonce).await {
        Ok(task) => task,
        Err(error) => return Ok(Err(error.into())),
    };
    if let Some(task) = task {
        // What goes on after its time was told to end; nobody waits for it again and again.
        let Some(left) = attempt::left(site, attempt).or_else(|| task.task.has_ended().then_some(ENDED)) else {
            return Ok(Err(told_again(worker, site, &task).await));
        };
        match attempt::pick_up(worker, site, job, task.reference, left).await? {
            // It ended without telling how, or it does not end: the one is no snapshot yet, the other may still become one.
            Went::Doubtful(setback) => match the_task(worker, site, nonce).await {
                Ok(None) => {}
                Ok(Some(task)) if task.task.has_ended() => {}
                Ok(Some(_)) => return Ok(Err(setback)),
                Err(error) => return Ok(Err(error.into())),
            },
            went => return Ok(Ok(Some(went))),
        }
    }
    Ok(taken(worker, site, job, nonce).await.map(|taken| taken.map(Went::Taken)).map_err(Into::into))
}

/// The task of the call, pending or over, if the server has it.
async fn the_task(worker: &mut Worker, site: &Site, nonce: Nonce) -> std::result::Result<Option<FoundTask>, CallError> {
    Ok(worker.wait(site.pool.find_by_tag(TAG, nonce.as_str())).await?.into_iter().next())
}

async fn told_again(worker: &mut Worker, site: &Site, task: &FoundTask) -> Setback {
    if let Err(error) = worker.call(&site.pool, calls::task::cancel(&task.reference)).await {
        tracing::info!(pool = %site.name(), %error, "a task that goes on after its time could not be told to end");
    }
    let text = format!(
        "the task {} goes on although its time is over and it was told to end; a restart of the master's toolstack ends it",
        task.task.uuid
    );
    Setback::still_running(text)
}

/// The snapshot that the attempt took and that nobody has marked, or that is marked with this very nonce.
async fn taken(worker: &mut Worker, site: &Site, job: &Job, nonce: Nonce) -> std::result::Result<Option<Ref<Vm>>, CallError> {
    let follows = site.inventory.status().borrow().follows.clone();
    if follows != Follows::ByReading {
        return Ok(find(&site.inventory.read(), site, job, nonce));
    }
    // Without events the inventory is as old as its last reading.
    let readings = site.inventory.status().borrow().synchronisations;
    let mut status = site.inventory.status();
    site.inventory.look_soon();
    let anew = status.wait_for(|status| status.synchronisations > readings);
    let _ = worker.wait(anew).await;
    Ok(find(&site.inventory.read(), site, job, nonce))
}

/// The snapshot that a job's attempt took, complete or not.
pub(super) fn find(tables: &Tables, site: &Site, job: &Job, nonce: Nonce) -> Option<Ref<Vm>> {
    let sought = Sought { vm: VmUuid(job.vm_uuid), nonce };
    let named = tables.all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot && sought.nonce.ends(&vm.name_label));
    let mut found = named.filter(|(_, vm)| {
        let facts = view::facts(tables, site.uuid, vm);
        let ownership = crate::domain::mark::verify(&site.installation, &facts);
        sought.took(&site.installation, &facts) || ownership.ours().is_some_and(|mark| mark.nonce == sought.nonce)
    });
    found.next().map(|(reference, _)| reference.clone())
}

fn away() -> Setback {
    let text = "the pool cannot be read now, so nobody can look for the snapshot";
    Setback { kind: Kind::Ambiguous, cause: Cause::new("away", text), effect: Effect::Unknown }
}

fn doubtful(cause: Cause) -> Went {
    Went::Doubtful(Setback { kind: Kind::Ambiguous, cause, effect: Effect::Unknown })
}
