//! How many removals pass without a person's word. Retention decides by rules that somebody wrote, and what is written can be wrong: a
//! number that was lowered by mistake would empty a year of snapshots in one night. So a run gives up what a run of its policy usually
//! gives up, with room for a missed week, and asks about more. What is stopped is stopped whole: a part of a plan would be another plan.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::id::VmUuid;
use super::super::retention::{Period, Rules};
use super::super::schedule::Schedule;

/// The most that a file may say.
pub const MOST: u32 = 100_000;

/// No default is greater: the server's chains end at 30 snapshots, so that more of one VM is never what a night gives up.
const MOST_BY_DEFAULT: u32 = 25;

/// What a file says; nothing where the policy itself tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of one VM in a run.
    pub per_vm: Option<u32>,
    /// In a run.
    pub per_run: Option<u32>,
}

/// What holds for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of one VM.
    pub per_vm: u32,
    /// In all.
    pub per_run: u32,
}

impl Bounds {
    /// What holds for a run of so many VMs: what is said, and else what the rules and the schedule tell. `now` is where slots are
    /// looked at.
    pub fn of(limits: Limits, rules: &Rules, schedule: &Schedule, vms: usize, now: DateTime<Utc>) -> Self {
        let of_policy = usual(rules).saturating_add(slots_of_a_week(schedule, now)).min(MOST_BY_DEFAULT);
        let of_all = u32::try_from(vms.max(1)).unwrap_or(u32::MAX).saturating_mul(of_policy);
        Self { per_vm: limits.per_vm.unwrap_or(of_policy), per_run: limits.per_run.unwrap_or(of_all) }
    }
}

/// What a run gives up of a VM when all goes well: a new snapshot takes one place under each rule.
fn usual(rules: &Rules) -> u32 {
    let counted = std::iter::once(rules.last).chain(Period::ALL.map(|period| rules.of(period)));
    let rules = counted.filter(|count| *count > 0).count() + usize::from(rules.within.is_some());
    u32::try_from(rules.max(1)).unwrap_or(MOST_BY_DEFAULT)
}

/// How many snapshots a week adds, and so how many may be too many where a week passed without retention or without a snapshot.
fn slots_of_a_week(schedule: &Schedule, now: DateTime<Utc>) -> u32 {
    let slots = schedule.slots_after(now).take(MOST_BY_DEFAULT as usize).take_while(|at| *at - now <= TimeDelta::weeks(1));
    u32::try_from(slots.count().max(1)).unwrap_or(MOST_BY_DEFAULT)
}

/// What a run may still give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    bounds: Bounds,
    taken: u32,
    by_vm: HashMap<VmUuid, u32>,
}

/// What is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Of one VM.
    OfVm {
        /// What would go.
        count: u32,
        /// What may.
        most: u32,
    },
    /// With what the run gives up of other VMs.
    OfRun {
        /// What would go.
        count: u32,
        /// What goes of others, or went.
        others: u32,
        /// What may go in all.
        most: u32,
    },
}

impl Allowance {
    /// The allowance of a run that has given up so many before.
    pub fn new(bounds: Bounds, taken: u32) -> Self {
        Self { bounds, taken, by_vm: HashMap::new() }
    }

    /// Takes so many for a VM, or says why not: then none is taken.
    ///
    /// # Errors
    /// What is too much.
    pub fn take(&mut self, vm: VmUuid, count: u32) -> Result<(), Excess> {
        let Bounds { per_vm, per_run } = self.bounds;
        let of_vm = self.by_vm.get(&vm).copied().unwrap_or_default();
        let all = of_vm.saturating_add(count);
        if all > per_vm {
            return Err(Excess::OfVm { count: all, most: per_vm });
        }
        if self.taken.saturating_add(count) > per_run {
            return Err(Excess::OfRun { count, others: self.taken, most: per_run });
        }
        self.taken += count;
        self.by_vm.insert(vm, all);
        Ok(())
    }

    /// Gives back what was taken and did not go.
    pub fn give_back(&mut self, vm: VmUuid, count: u32) {
        if let Some(of_vm) = self.by_vm.get_mut(&vm) {
            let back = count.min(*of_vm);
            *of_vm -= back;
            self.taken -= back.min(self.taken);
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::OfVm { count, most } => write!(f, "{count} snapshots of one VM would go, and max_removals_per_vm is {most}"),
            Excess::OfRun { count, others, most } => {
                write!(f, "{count} snapshots would go beside {others} of other VMs, and max_removals_per_run is {most}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
