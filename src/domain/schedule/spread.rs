//! The stable offset of each VM within a slot, so that 300 VMs do not hit a storage repository at once, and each VM keeps its time
//! from night to night.

use chrono::TimeDelta;
use xxhash_rust::xxh64::xxh64;

use super::super::id::{InstallationId, PolicyId, VmUuid};

/// Where in a slot's spread a VM has its place: the same for ever, evenly distributed over VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

impl Place {
    /// The place of this VM in this policy of this installation.
    pub fn of(installation: &InstallationId, policy: &PolicyId, vm: VmUuid) -> Self {
        let mut bytes = Vec::with_capacity(160);
        for name in [installation.as_str(), policy.as_str()] {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(vm.0.as_bytes());
        Self(xxh64(&bytes, 0))
    }

    /// The place as an offset within `spread`, in whole seconds, less than `spread`.
    pub fn within(self, spread: TimeDelta) -> TimeDelta {
        let seconds = u128::try_from(spread.num_seconds()).unwrap_or(0);
        TimeDelta::seconds(((u128::from(self.0) * seconds) >> 64) as i64)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn place(policy: &str, vm: u128) -> Place {
        Place::of(&"site-a".parse().unwrap(), &policy.parse().unwrap(), VmUuid(Uuid::from_u128(vm)))
    }

    #[test]
    fn a_place_is_the_same_in_every_release() {
        // A changed hash would move every VM of every installation with an update.
        assert_eq!(place("nightly", 1).within(TimeDelta::minutes(30)), TimeDelta::seconds(455));
        assert_eq!(place("nightly", 2).within(TimeDelta::minutes(30)), TimeDelta::seconds(1321));
    }

    #[test]
    fn a_vm_has_another_place_in_another_policy() {
        assert_ne!(place("nightly", 1), place("weekly", 1));
    }

    #[test]
    fn places_fill_the_spread_evenly() {
        let spread = TimeDelta::minutes(10);
        let mut minutes = [0; 10];
        for vm in 0..10_000 {
            minutes[place("nightly", vm).within(spread).num_minutes() as usize] += 1;
        }
        assert!(minutes.iter().all(|count| (850..1150).contains(count)), "{minutes:?}");
    }

    #[test]
    fn without_a_spread_all_start_at_once() {
        assert_eq!(place("nightly", 1).within(TimeDelta::zero()), TimeDelta::zero());
        assert_eq!(place("nightly", 1).within(TimeDelta::seconds(-5)), TimeDelta::zero());
    }
}
