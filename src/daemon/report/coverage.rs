//! How well each VM is protected: which policies cover it, how old its newest good snapshot is, and whether that is within what the
//! schedules promise. A snapshot is good once it is durable, its mark is true of it, and the pool shows it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::shapes::PolicyName;
use crate::daemon::Handle;
use crate::daemon::reach::Phase;
use crate::domain::alarm;
use crate::domain::mark::Ownership;
use crate::domain::policy::Policy;
use crate::domain::selection::Judgement;
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::engine::view;
use crate::store::{Origin, Page, RunFilter, SnapshotState, Store};

/// So many runs are looked at for one that the schedule began: people may run a policy for some of its VMs.
const RUNS: u32 = 20;

/// All VMs of all pools; of those that are not reached as far as the history knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The time at which it was so.
    pub at: DateTime<Utc>,
    /// By pool and name.
    pub vms: Vec<ProtectedVm>,
    /// Configured pools that are not reached.
    pub unreached: Vec<String>,
    /// The same pools: since when, and why. What is told of their VMs is as it was when they were last seen.
    pub away: Vec<Away>,
}

/// A pool that is not reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// Its configured name.
    pub pool: String,
    /// Since when it is not reached.
    pub since: Option<DateTime<Utc>>,
    /// When it was last seen, as the history knows; nothing if it never was.
    pub last_seen: Option<DateTime<Utc>>,
    /// What is in the way.
    pub problem: Option<String>,
}

/// Where what is told of a VM comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The pool shows it, or did when it was last reached by this service.
    Pool,
    /// The pool was not reached yet: the history alone, which knows the VMs of the newest runs.
    History,
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
    /// Where this comes from.
    pub source: Source,
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

/// Looks at all VMs. Of pools that are not reached the history tells.
pub(in crate::daemon) async fn coverage(handle: &Handle) -> Result<Coverage> {
    let (now, plan) = (handle.clock.now(), handle.plan());
    let sites = handle.sites.borrow().clone();
    let cursors = handle.store.cursors().await?;
    let seen = handle.store.pools().await?;
    let mut vms = Vec::new();
    let mut away = Vec::new();
    for pool in &plan.pools {
        let name = &pool.settings.name;
        let site = sites.iter().find(|site| site.name() == name);
        let known = seen.iter().find(|pool| site.map_or(pool.name == *name, |site| site.uuid.0 == pool.uuid));
        let uuid = known.map(|pool| pool.uuid);
        let counts_from = |policy: &Policy| {
            let mine = cursors.iter().find(|cursor| Some(cursor.pool) == uuid && cursor.policy == policy.id.as_str());
            mine.map(|cursor| cursor.counts_from)
        };
        let firing = plan.enabled_on(name).filter(|policy| !policy.observe);
        let promises: Vec<Promise<'_>> = firing.map(|policy| Promise::of(policy, counts_from(policy), now)).collect();
        let told = match (site, uuid) {
            (Some(site), _) => shown(site, &promises, now).await?,
            (None, Some(uuid)) => remembered(&handle.store, (name, uuid), &promises, now).await?,
            (None, None) => Vec::new(),
        };
        // The row of the pool is written when it is compared; a snapshot that was taken has been seen too.
        let newest = told.iter().filter_map(|vm| Some(vm.newest.as_ref()?.taken_at)).max();
        away.extend(absent(handle, name, site.is_some(), known.map(|pool| pool.last_seen).max(newest)));
        vms.extend(told);
    }
    vms.sort_by(|one, other| (&one.pool, &one.name, one.uuid).cmp(&(&other.pool, &other.name, other.uuid)));
    Ok(Coverage { at: now, vms, unreached: away.iter().map(|away| away.pool.clone()).collect(), away })
}

/// A pool that is not reached now, or was never.
fn absent(handle: &Handle, name: &str, met: bool, last_seen: Option<DateTime<Utc>>) -> Option<Away> {
    let reach = handle.desk.reaches.of(name);
    let there = met && reach.as_ref().is_none_or(|reach| reach.phase != Phase::Unreachable);
    let (since, problem) = reach.map_or((None, None), |reach| (Some(reach.since), reach.problem));
    (!there).then(|| Away { pool: name.to_owned(), since, last_seen, problem })
}

/// The VMs that a pool shows.
async fn shown(site: &SharedSite, promises: &[Promise<'_>], now: DateTime<Utc>) -> Result<Vec<ProtectedVm>> {
    let good = good(site).await?;
    let newest = newest(&good);
    let tables = site.inventory.read();
    let views = view::vms(&tables, (site.uuid, site.name()));
    let vms = views.iter().map(|(_, view)| {
        let covering = promises.iter().filter(|promise| matches!(promise.policy.selection.judge(view), Judgement::In(_)));
        let vm = (view.uuid.0, view.name, site.name());
        vm_of(vm, Source::Pool, covering.map(|promise| promise.about(view.uuid.0, &good, now)), &newest)
    });
    Ok(vms.collect())
}

/// The VMs of the newest scheduled run of each policy, as the history has them. What the pool has lost since is not known.
async fn remembered(
    store: &Store,
    (name, pool): (&str, Uuid),
    promises: &[Promise<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<ProtectedVm>> {
    let (mut good, mut names) = (HashMap::new(), BTreeMap::new());
    for row in store.present_snapshots(pool).await?.into_iter().filter(|row| row.state == SnapshotState::Durable) {
        keep_newest(&mut good, (row.vm_uuid, row.policy), Good { snapshot: row.uuid, taken_at: row.taken_at });
        names.insert(row.vm_uuid, row.vm_name);
    }
    let mut covered: BTreeMap<Uuid, Vec<Covered>> = BTreeMap::new();
    for promise in promises {
        let filter = RunFilter { policy: Some(promise.policy.id.to_string()), pool: Some(pool), ..RunFilter::default() };
        let runs = store.runs(filter, Page::first(RUNS)).await?.rows;
        let Some(run) = runs.iter().find(|run| run.origin == Origin::Schedule) else { continue };
        for job in store.jobs_of(run.id).await? {
            covered.entry(job.vm_uuid).or_default().push(promise.about(job.vm_uuid, &good, now));
            names.insert(job.vm_uuid, job.vm_name);
        }
    }
    let newest = newest(&good);
    let vm = |(uuid, policies): (Uuid, Vec<Covered>)| {
        let called = names.get(&uuid).map_or("", String::as_str);
        vm_of((uuid, called, name), Source::History, policies.into_iter(), &newest)
    };
    Ok(covered.into_iter().map(vm).collect())
}

fn vm_of(
    (uuid, name, pool): (Uuid, &str, &str),
    source: Source,
    policies: impl Iterator<Item = Covered>,
    newest: &HashMap<Uuid, &Good>,
) -> ProtectedVm {
    let policies: Vec<Covered> = policies.collect();
    let rpo = policies.iter().map(|covered| covered.rpo).max().unwrap_or(Rpo::Unprotected);
    let newest = newest.get(&uuid).map(|good| (*good).clone());
    ProtectedVm { uuid, name: name.to_owned(), pool: pool.to_owned(), source, rpo, newest, policies }
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
        keep_newest(&mut newest, (mark.vm.0, mark.policy.to_string()), Good { snapshot, taken_at });
    }
    Ok(newest)
}

fn keep_newest(newest: &mut HashMap<Key, Good>, key: Key, good: Good) {
    let known = newest.entry(key).or_insert_with(|| good.clone());
    if known.taken_at < good.taken_at {
        *known = good;
    }
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
