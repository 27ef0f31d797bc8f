//! Going on with what another daemon of the installation began. Its history is on its machine; what it did is in the pool: marks say which
//! slots it made good for which VMs, and a snapshot without a mark, or a call that still runs, says by its nonce for which promise it is.
//! So a slot is never doubled, and what is lacking of the newest one is made up by the policy's own rule for late slots.
//!
//! A takeover outlives the process: a life that ends in the middle of it is followed by one that finds its own lease, and must know all
//! the same what the other may have begun. So it is written down before anything is done about it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::tenure::Follows;
use crate::domain::id::{PolicyId, PoolUuid, VmUuid};
use crate::domain::lease::epoch_of;
use crate::domain::mark::{Attempt as Sought, Ownership};
use crate::domain::nonce::{Nonce, Promise};
use crate::domain::policy::Policy;
use crate::domain::retention::State;
use crate::engine::attempt::TAG;
use crate::engine::error::Result;
use crate::engine::site::Site;
use crate::engine::worker::Worker;
use crate::engine::{holdings, selecting, view};
use crate::store::{Job, Store};
use crate::xenapi::CallError;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Pool, Vm};

/// That a pool was taken over from another daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// When it became ours, by our clock.
    at: DateTime<Utc>,
    /// When the other was last seen to do something, by our clock; nothing if it never was.
    last_alive: Option<DateTime<Utc>>,
    /// The number of our first claim; nothing where no lease is kept.
    epoch: Option<u64>,
    /// What the other left has been compared with the history, and the schedules go on from there.
    is_settled: bool,
}

impl From<&Follows> for Succession {
    fn from(follows: &Follows) -> Self {
        Self { at: follows.at, last_alive: follows.last_alive, epoch: follows.epoch, is_settled: false }
    }
}

impl Succession {
    /// The last takeover of the pool, by this life or an earlier one.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn kept(store: &Store, pool: PoolUuid) -> Result<Option<Self>> {
        let value = store.kept(&note(pool)).await?;
        Ok(value.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// Writes it down, for lives to come.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub async fn keep(&self, store: &Store, pool: PoolUuid, now: DateTime<Utc>) -> Result<()> {
        let value = serde_json::to_value(self).unwrap_or_default();
        Ok(store.keep(&note(pool), &value, now).await?)
    }

    /// The same, once what the other left is known.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { is_settled: true, ..self }
    }

    /// Whether what the other left is known.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Whether the other may have begun the slot of this time.
    pub fn may_have_begun(&self, due_at: DateTime<Utc>) -> bool {
        due_at <= self.at
    }

    /// Waits until the inventory shows our claim, and with it everything that the other did before; at most `bound`. News of the pool may
    /// have been on its way for longer than a lease lasts.
    pub async fn is_shown(&self, worker: &mut Worker, site: &Site, bound: Duration) -> bool {
        let Some(ours) = self.epoch else { return true };
        let is_later = |key: &str| epoch_of(&site.installation, key).is_some_and(|epoch| epoch >= ours);
        let shows =
            |tables: &Tables| tables.all::<Pool>().any(|(_, pool)| pool.other_config.iter().any(|(key, _)| is_later(key)));
        site.seen(worker, bound, |tables| shows(tables).then_some(())).await.is_some()
    }
}

/// Where the last takeover is kept.
fn note(pool: PoolUuid) -> String {
    format!("succession/{pool}")
}

/// A slot at which a policy is to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconsidered {
    /// The policy.
    pub policy: PolicyId,
    /// The slot.
    pub due_at: DateTime<Utc>,
    /// Each VM has its snapshot, so that nothing is left to do.
    pub is_complete: bool,
}

/// The newest slot of each policy that the other may have begun: by the pool's marks, and by when it was last seen alive. Older ones were
/// its business. Nothing of a policy that it never worked for.
pub fn slots_to_reconsider<'a>(
    site: &Site,
    policies: impl Iterator<Item = &'a Policy>,
    succession: &Succession,
) -> Vec<Reconsidered> {
    let marked = newest_marks(site);
    let newest = |policy: &'a Policy| {
        let alive = succession.last_alive.and_then(|alive| newest_slot(policy, alive));
        let due_at = marked.get(&policy.id).copied().max(alive)?;
        let is_complete = policy.observe || is_complete(site, policy, due_at);
        Some(Reconsidered { policy: policy.id.clone(), due_at, is_complete })
    };
    policies.filter_map(newest).collect()
}

fn newest_marks(site: &Site) -> HashMap<PolicyId, DateTime<Utc>> {
    let tables = site.inventory.read();
    let mut newest: HashMap<PolicyId, DateTime<Utc>> = HashMap::new();
    for (_, _, ownership) in view::marked(&tables, site) {
        let Ownership::Ours(mark) = ownership else { continue };
        let due = newest.entry(mark.policy).or_insert(mark.due_at);
        *due = mark.due_at.max(*due);
    }
    newest
}

/// The last slot up to this time, of those of a month.
fn newest_slot(policy: &Policy, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    [1, 24, 24 * 31].into_iter().find_map(|hours| {
        let slots = policy.schedule.slots_after(until - chrono::TimeDelta::hours(hours));
        slots.take_while(|at| *at <= until).last()
    })
}

/// Whether each VM of the policy has its snapshot of this slot.
fn is_complete(site: &Site, policy: &Policy, due_at: DateTime<Utc>) -> bool {
    let chosen = selecting::choose(site, policy, None).vms;
    let tables = site.inventory.read();
    let marked = view::marked(&tables, site);
    let marks = marked.iter().filter_map(|(_, _, ownership)| ownership.ours());
    let done: Vec<VmUuid> = marks.filter(|mark| mark.policy == policy.id && mark.due_at == due_at).map(|mark| mark.vm).collect();
    chosen.iter().all(|vm| done.contains(&VmUuid(vm.uuid)))
}

/// Whether the VM has a good snapshot of the job's slot, whoever took it.
///
/// # Errors
/// When the history cannot be read or written.
pub async fn is_done(site: &Site, policy: &PolicyId, job: &Job) -> Result<bool> {
    let held = holdings::of(site, job.vm_uuid, policy).await?;
    let good = |state| matches!(state, State::Durable | State::Fresh);
    Ok(held.iter().any(|held| held.candidate.due_at == job.due_at && good(held.candidate.state)))
}

/// The nonce of an attempt for the job's promise that is not ours: of a snapshot without a mark, or of a call that the server still
/// knows. `known` are ours.
///
/// # Errors
/// When the pool cannot be asked.
pub async fn begun_by_another(
    worker: &mut Worker,
    site: &Site,
    policy: &PolicyId,
    job: &Job,
    known: &[String],
) -> Result<Option<Nonce>, CallError> {
    let promise = Promise::of(&site.installation, policy, VmUuid(job.vm_uuid), job.due_at);
    let is_new = |nonce: &Nonce| promise.made(nonce) && !known.iter().any(|known| known == nonce.as_str());
    let tagged = worker.wait(site.pool.tagged(TAG)).await?;
    let mut calls = tagged.into_iter().filter_map(|value| value.parse::<Nonce>().ok());
    if let Some(nonce) = calls.find(&is_new) {
        return Ok(Some(nonce));
    }
    let tables = site.inventory.read();
    let vm = VmUuid(job.vm_uuid);
    let mut unmarked = tables.all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot).filter_map(|(_, snapshot)| {
        let nonce = Nonce::of_name(&snapshot.name_label).filter(&is_new)?;
        let facts = view::facts(&tables, site.uuid, snapshot);
        Sought { vm, nonce }.took(&site.installation, &facts).then_some(nonce)
    });
    Ok(unmarked.next())
}
