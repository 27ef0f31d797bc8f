//! How well each VM is protected: which policies cover it, how old its newest good snapshot is, and whether that is within what the
//! schedules promise. A snapshot is good once it is durable, its mark is true of it, and the pool shows it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::shapes::PolicyName;
use crate::daemon::Handle;
use crate::domain::alarm;
use crate::domain::mark::Ownership;
use crate::domain::policy::Policy;
use crate::domain::selection::Judgement;
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::engine::view;
use crate::store::SnapshotState;

/// All VMs of all pools that are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The time at which it was so.
    pub at: DateTime<Utc>,
    /// By pool and name.
    pub vms: Vec<ProtectedVm>,
    /// Configured pools that are not reached, whose VMs are missing here.
    pub unreached: Vec<String>,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedVm {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Its pool's name.
    pub pool: String,
    /// The worst of its policies; `unprotected` if none covers it.
    pub rpo: Rpo,
    /// Its newest good snapshot, of whichever policy.
    pub newest: Option<Good>,
    /// The policies that cover it and fire.
    pub policies: Vec<Covered>,
}

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rpo {
    /// The newest good snapshot is young enough.
    Kept,
    /// There is none yet, and there cannot be: the policy has not come due since it counts.
    Pending,
    /// The newest good snapshot is too old, or there is none.
    Broken,
    /// No policy covers it.
    Unprotected,
}

/// A policy that covers a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// The policy.
    pub policy: PolicyName,
    /// How old the newest good snapshot may be, in seconds: what the policy says, or the longest time between two of its slots, and time
    /// for the run.
    pub rpo_seconds: i64,
    /// Whether it is that young.
    pub rpo: Rpo,
    /// The policy's newest good snapshot of the VM.
    pub newest: Option<Good>,
}

/// A snapshot that can be relied upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// Its uuid.
    pub snapshot: Uuid,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
}

/// Looks at all VMs.
pub(in crate::daemon) async fn coverage(handle: &Handle) -> Result<Coverage> {
    let (now, plan) = (handle.clock.now(), handle.plan());
    let sites = handle.sites.borrow().clone();
    let mut counts_from = HashMap::new();
    for cursor in handle.store.cursors().await? {
        counts_from.insert((cursor.policy, cursor.pool), cursor.counts_from);
    }
    let mut vms = Vec::new();
    for site in &sites {
        let policies: Vec<Promise<'_>> = plan
            .enabled_on(site.name())
            .filter(|policy| !policy.observe)
            .map(|policy| Promise::of(policy, counts_from.get(&(policy.id.to_string(), site.uuid.0)).copied(), now))
            .collect();
        let good = good(site).await?;
        let newest = newest(&good);
        let tables = site.inventory.read();
        for (_, view) in view::vms(&tables, (site.uuid, site.name())) {
            let covering = policies.iter().filter(|promise| matches!(promise.policy.selection.judge(&view), Judgement::In(_)));
            let policies: Vec<Covered> = covering.map(|promise| promise.about(view.uuid.0, &good, now)).collect();
            let rpo = policies.iter().map(|covered| covered.rpo).max().unwrap_or(Rpo::Unprotected);
            let newest = newest.get(&view.uuid.0).map(|good| (*good).clone());
            vms.push(ProtectedVm {
                uuid: view.uuid.0,
                name: view.name.to_owned(),
                pool: site.name().to_owned(),
                rpo,
                newest,
                policies,
            });
        }
    }
    vms.sort_by(|one, other| (&one.pool, &one.name, one.uuid).cmp(&(&other.pool, &other.name, other.uuid)));
    let unreached =
        plan.pools.iter().map(|pool| &pool.settings.name).filter(|name| sites.iter().all(|site| site.name() != *name));
    Ok(Coverage { at: now, vms, unreached: unreached.cloned().collect() })
}

/// A VM and a policy.
type Key = (Uuid, String);

/// The newest good snapshot of each VM and policy.
async fn good(site: &SharedSite) -> Result<HashMap<Key, Good>> {
    let durable = site.store.present_snapshots(site.uuid.0).await?;
    let durable: HashMap<Uuid, DateTime<Utc>> =
        durable.into_iter().filter(|row| row.state == SnapshotState::Durable).map(|row| (row.uuid, row.taken_at)).collect();
    let mut newest: HashMap<Key, Good> = HashMap::new();
    for (_, record, ownership) in view::marked(&site.inventory.read(), site) {
        let Ownership::Ours(mark) = ownership else { continue };
        let snapshot = record.uuid.get();
        let Some(taken_at) = durable.get(&snapshot).copied() else { continue };
        let good = Good { snapshot, taken_at };
        let known = newest.entry((mark.vm.0, mark.policy.to_string())).or_insert_with(|| good.clone());
        if known.taken_at < taken_at {
            *known = good;
        }
    }
    Ok(newest)
}

/// The newest good snapshot of each VM, of whichever policy.
fn newest(good: &HashMap<Key, Good>) -> HashMap<Uuid, &Good> {
    let mut newest: HashMap<Uuid, &Good> = HashMap::new();
    for ((vm, _), good) in good {
        let known = newest.entry(*vm).or_insert(good);
        if known.taken_at < good.taken_at {
            *known = good;
        }
    }
    newest
}

/// What a policy promises on a pool.
struct Promise<'a> {
    policy: &'a Policy,
    promise: alarm::Promise,
    /// The first snapshot cannot be expected before this.
    first: Option<DateTime<Utc>>,
}

impl<'a> Promise<'a> {
    fn of(policy: &'a Policy, counts_from: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let promise = alarm::Promise::of(policy, now);
        Self { policy, promise, first: promise.broken_from(policy, None, counts_from.unwrap_or(now)) }
    }

    fn about(&self, vm: Uuid, good: &HashMap<Key, Good>, now: DateTime<Utc>) -> Covered {
        let (newest, within) = (good.get(&(vm, self.policy.id.to_string())).cloned(), self.promise.within);
        let rpo = match &newest {
            Some(good) if now - good.taken_at <= within => Rpo::Kept,
            None if self.first.is_none_or(|first| now <= first) => Rpo::Pending,
            _ => Rpo::Broken,
        };
        let policy = PolicyName { id: self.policy.id.to_string(), name: self.policy.name.clone() };
        Covered { policy, rpo_seconds: within.num_seconds(), rpo, newest }
    }
}
