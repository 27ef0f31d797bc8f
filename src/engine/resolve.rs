//! What became of a call whose end is not known. The rule: look before acting. A call that still runs is found by the nonce in its task,
//! the snapshot by the nonce in its name, and in this order: a snapshot that is being taken is there already, and may yet fail. Only
//! when neither is there, twice, with time enough in between for a request that was on its way, did the call have no effect. What
//! cannot be looked at stays unresolved.

use std::time::Duration;

use super::attempt::{self, TAG, Went};
use super::error::{Effect, Setback};
use super::site::Site;
use super::view;
use super::worker::Worker;
use crate::domain::id::VmUuid;
use crate::domain::mark::Attempt as Sought;
use crate::domain::nonce::Nonce;
use crate::store::{Attempt, Cause, Job};
use crate::xenapi::CallError;
use crate::xenapi::failure::Kind;
use crate::xenapi::inventory::{Follows, Tables};
use crate::xenapi::records::Vm;
use crate::xenapi::types::Ref;

/// The code of a doubt that no look at the pool can end.
pub const UNREADABLE: &str = "nonce";

/// How long to wait for the inventory to show the pool as it is.
const PRESENT: Duration = Duration::from_secs(300);

/// Finds out how an attempt ended. Changes nothing, except that a task that has ended is cleaned away.
pub async fn resolve(worker: &mut Worker, site: &Site, job: &Job, attempt: &Attempt) -> Went {
    let Ok(nonce) = attempt.nonce.parse::<Nonce>() else {
        return doubtful(Cause::new(UNREADABLE, "the nonce in the history is none; the history was written by something else"));
    };
    for look in 0..2 {
        if look > 0 {
            worker.sleep(site.pace.grace).await;
        }
        match look_once(worker, site, job, nonce).await {
            Ok(Some(went)) => return went,
            Ok(None) => {}
            Err(setback) => return Went::Doubtful(setback),
        }
    }
    let text = "neither the snapshot nor a task of the call is in the pool, so it had no effect";
    Went::Not(Setback { kind: Kind::Transient, cause: Cause::new("absent", text), effect: Effect::NeverLeft })
}

async fn look_once(worker: &mut Worker, site: &Site, job: &Job, nonce: Nonce) -> Result<Option<Went>, Setback> {
    if !site.shows_the_present(worker, PRESENT).await {
        return Err(away());
    }
    let tasks = worker.wait(site.pool.find_by_tag(TAG, nonce.as_str())).await?;
    if let Some(task) = tasks.into_iter().next() {
        match attempt::pick_up(worker, site, job, task.reference).await {
            // The task went while it was watched: the snapshot tells.
            Went::Doubtful(_) => {}
            went => return Ok(Some(went)),
        }
    }
    Ok(taken(worker, site, job, nonce).await?.map(Went::Taken))
}

/// The snapshot that the attempt took and that nobody has marked, or that is marked with this very nonce.
async fn taken(worker: &mut Worker, site: &Site, job: &Job, nonce: Nonce) -> Result<Option<Ref<Vm>>, CallError> {
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
