//! How old the newest good snapshot of a VM may be. A policy says so, or its schedule does: the longest time between two of its due
//! times, and time for the run. Time alone breaks a promise: it does not matter whether anything ran.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::policy::Policy;

/// A run needs time, and takes its VMs one after another: so much of the interval may pass beyond it, an hour at least.
const ALLOWANCE: i32 = 4;
const LEAST_ALLOWANCE: TimeDelta = TimeDelta::hours(1);

/// What a policy promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// So old the newest good snapshot may be.
    pub within: TimeDelta,
    /// Whether the policy says so itself.
    pub said: bool,
    /// What may pass beyond a due time.
    allowance: TimeDelta,
}

impl Promise {
    /// What a policy promises now.
    pub fn of(policy: &Policy, now: DateTime<Utc>) -> Self {
        let said = policy.rpo.and_then(|rpo| TimeDelta::from_std(rpo.0).ok());
        let interval = if said.is_some() { TimeDelta::zero() } else { policy.schedule.longest_interval(now).unwrap_or_default() };
        let allowance = (interval / ALLOWANCE).max(LEAST_ALLOWANCE);
        Self { within: said.unwrap_or(interval + allowance), said: said.is_some(), allowance }
    }

    /// From when on it is broken for a VM: by the age of its newest good snapshot, or if it has none, by the time since which the policy
    /// covers it. Never where no due time comes and nothing was promised in so many words.
    pub fn broken_from(
        &self,
        policy: &Policy,
        newest: Option<DateTime<Utc>>,
        covered_since: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match newest {
            Some(newest) => newest.checked_add_signed(self.within),
            None if self.said => covered_since.checked_add_signed(self.within),
            None => policy.schedule.next_open_after(covered_since)?.checked_add_signed(self.allowance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schedule::Schedule;
    use crate::domain::span::Exact;
    use crate::domain::zone::Zone;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn nightly(rpo: Option<u64>) -> Policy {
        let schedule = Schedule::new(vec!["0 2 * * *".parse().unwrap()], Zone::utc()).unwrap();
        let policy = Policy::keeping_everything("nightly".parse().unwrap(), "nightly");
        Policy { schedule, rpo: rpo.map(|hours| Exact::seconds(hours * 3600)), ..policy }
    }

    #[test]
    fn what_a_policy_says_counts_from_its_newest_snapshot_or_from_when_it_covers_the_vm() {
        let policy = nightly(Some(26));
        let promise = Promise::of(&policy, at("2026-03-01T12:00:00Z"));
        let since = at("2026-03-01T12:00:00Z");
        assert_eq!(promise.broken_from(&policy, None, since), Some(at("2026-03-02T14:00:00Z")));
        assert_eq!(promise.broken_from(&policy, Some(at("2026-03-05T02:10:00Z")), since), Some(at("2026-03-06T04:10:00Z")));
    }

    #[test]
    fn without_it_the_schedule_promises() {
        let policy = nightly(None);
        let promise = Promise::of(&policy, at("2026-03-01T12:00:00Z"));
        assert_eq!((promise.within, promise.said), (TimeDelta::hours(30), false));
        // The first snapshot cannot be there before the first due time.
        assert_eq!(promise.broken_from(&policy, None, at("2026-03-01T12:00:00Z")), Some(at("2026-03-02T08:00:00Z")));
        assert_eq!(
            promise.broken_from(&policy, Some(at("2026-03-02T02:00:00Z")), at("2026-01-01T00:00:00Z")),
            Some(at("2026-03-03T08:00:00Z"))
        );
    }

    #[test]
    fn a_schedule_that_never_fires_promises_nothing_unless_the_policy_says_so() {
        let never = Policy { schedule: Schedule::never(Zone::utc()), ..nightly(None) };
        let since = at("2026-03-01T12:00:00Z");
        assert_eq!(Promise::of(&never, since).broken_from(&never, None, since), None);
        let said = Policy { rpo: Some(Exact::seconds(3600)), ..never };
        assert_eq!(Promise::of(&said, since).broken_from(&said, None, since), Some(at("2026-03-01T13:00:00Z")));
    }
}
