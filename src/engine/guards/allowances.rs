//! How many removals are left to the runs under way. A run is held to its bounds as a whole, also where its jobs make room side by side,
//! and where an earlier life has begun it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::super::error::Result;
use super::super::site::Site;
use crate::domain::guard::removals::{Allowance, Bounds, Excess};
use crate::domain::id::VmUuid;
use crate::domain::policy::Policy;
use crate::store::{RemovalState, RunId};

/// The allowances of a pool's runs.
#[derive(Debug, Default)]
pub struct Allowances(Mutex<HashMap<RunId, Allowance>>);

/// The allowance of one run, or of one word of a person.
#[derive(Debug)]
pub struct Purse<'a> {
    all: &'a Allowances,
    run: Option<RunId>,
    /// What a person asks for has an allowance of its own.
    own: Mutex<Allowance>,
}

impl Allowances {
    /// Nothing more is removed by it.
    pub fn run_ended(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Allowance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The allowance of a run, or of what a person asks for about so many VMs.
///
/// # Errors
/// When the history cannot be read.
pub async fn purse<'a>(site: &'a Site, policy: &Policy, run: Option<RunId>, vms: usize) -> Result<Purse<'a>> {
    let all = &site.allowances;
    let (mut vms, mut taken) = (vms, 0);
    if let Some(run) = run.filter(|run| !all.lock().contains_key(run)) {
        vms = site.store.jobs_of(run).await?.len();
        let planned = site.store.removals_in(run).await?;
        let dropped = |state| matches!(state, RemovalState::Withdrawn | RemovalState::Dropped);
        // What failed attempts left are no snapshots, and have no row.
        taken = planned.iter().filter(|removal| removal.snapshot_row.is_some() && !dropped(removal.state)).count();
    }
    let bounds = bounds(site, policy, vms);
    let fresh = Allowance::new(bounds, u32::try_from(taken).unwrap_or(u32::MAX));
    if let Some(run) = run {
        all.lock().entry(run).or_insert_with(|| fresh.clone());
    }
    Ok(Purse { all, run, own: Mutex::new(fresh) })
}

/// What holds for a run of a policy about so many VMs.
pub fn bounds(site: &Site, policy: &Policy, vms: usize) -> Bounds {
    Bounds::of(policy.guards.removals, &policy.retention.rules, &policy.schedule, vms, site.now())
}

impl Purse<'_> {
    /// Takes so many removals of a VM, all or none.
    ///
    /// # Errors
    /// What is too much.
    pub fn take(&self, vm: Uuid, count: usize) -> Result<(), Excess> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.with(|allowance| allowance.take(VmUuid(vm), count))
    }

    /// Gives back what was taken and is not removed now.
    pub fn give_back(&self, vm: Uuid, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.with(|allowance| allowance.give_back(VmUuid(vm), count));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Allowance) -> T) -> T {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match self.run {
            Some(run) => change(self.all.lock().entry(run).or_insert_with(|| own.clone())),
            None => change(&mut own),
        }
    }
}
