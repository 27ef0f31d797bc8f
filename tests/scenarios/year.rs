//! A whole year: a nightly policy in Berlin, a weekly one in New York, an hourly one on Lord Howe Island, where clocks move by half an
//! hour. Every slot exists exactly once, and after every run the pool holds exactly what retention says. Both are held against
//! computations that share nothing with the program: `croner` and `jiff` for due times, plain grouping for retention.
//!
//! The hourly policy is enabled for two days around each of its transitions only, and on one VM, as the nightly one is: a year of it
//! would be 8,760 runs, and says nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use xensnap::domain::policy::Policy;
use xensnap::domain::retention::{Period, Rules};
use xensnap::store::{Outcome, SlotState};

use super::lab::{Lab, at, in_zone, policy};
use super::look;

const YEAR: [&str; 2] = ["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"];
/// When the hourly policy is enabled.
const HOURLY: [[&str; 2]; 2] =
    [["2026-04-04T00:10:00Z", "2026-04-06T00:10:00Z"], ["2026-10-03T00:10:00Z", "2026-10-05T00:10:00Z"]];

type Times = BTreeSet<DateTime<Utc>>;

fn nightly(vm: &str) -> Policy {
    let mut policy = in_zone(policy("nightly", "0 0 * * *", vm, 3), "30 2 * * *", "Europe/Berlin");
    policy.retention.rules = Rules::last(3).with(Period::Day, 5).with(Period::Week, 3).with(Period::Month, 4);
    policy
}

fn weekly() -> Policy {
    let mut policy = in_zone(policy("weekly", "0 0 * * *", "*", 2), "15 1 * * 0", "America/New_York");
    policy.retention.rules = Rules::last(2).with(Period::Month, 3).with(Period::Year, 2);
    policy
}

fn hourly(vm: &str, enabled: bool) -> Policy {
    let mut policy = in_zone(policy("hourly", "0 0 * * *", vm, 2), "0 * * * *", "Australia/Lord_Howe");
    policy.retention.rules = Rules::last(2).with(Period::Hour, 4).with(Period::Day, 2);
    policy.enabled = enabled;
    policy
}

fn zone(policy: &Policy) -> TimeZone {
    TimeZone::get(policy.schedule.zone().name()).unwrap()
}

fn chrono(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(at.as_second(), 0).unwrap()
}

fn jiff(at: DateTime<Utc>) -> Timestamp {
    Timestamp::from_second(at.timestamp()).unwrap()
}

/// What a fixed time promises: each civil time once, a skipped one later by the gap, a repeated one the first time.
fn fixed_times(expression: &str, zone: &TimeZone, from: &str, to: &str) -> Times {
    let oracle = croner::Cron::from_str(expression).unwrap();
    let (from, to) = (at(from), at(to));
    let mut civil = jiff(from).to_zoned(zone.clone()).datetime() - jiff::SignedDuration::from_hours(48);
    let mut times = Times::new();
    loop {
        civil = oracle.find_next_occurrence(&civil, false).unwrap();
        let due = chrono(zone.to_ambiguous_zoned(civil).compatible().unwrap().timestamp());
        if due >= to {
            return times;
        }
        times.extend((due > from).then_some(due));
    }
}

/// What every hour promises: each real minute whose clock shows a full hour.
fn full_hours(zone: &TimeZone, from: &str, to: &str) -> Times {
    let (from, to) = (at(from), at(to));
    let minutes = (0..).map(|minute| from + TimeDelta::minutes(minute)).take_while(|at| *at < to);
    minutes.filter(|at| jiff(*at).to_zoned(zone.clone()).minute() == 0).collect()
}

/// What stays of these, by grouping them anew for each rule.
fn naive_retention(policy: &Policy, zone: &TimeZone, held: &Times) -> Times {
    let rules = &policy.retention.rules;
    let mut kept: Times = held.iter().rev().take(rules.last as usize).copied().collect();
    let formats = [
        (Period::Hour, "%Y-%m-%d %H %z"),
        (Period::Day, "%Y-%m-%d"),
        (Period::Week, "%G-%V"),
        (Period::Month, "%Y-%m"),
        (Period::Year, "%Y"),
    ];
    for (period, format) in formats {
        let key = |at: &DateTime<Utc>| jiff(*at).to_zoned(zone.clone()).strftime(format).to_string();
        let newest: BTreeMap<String, DateTime<Utc>> = held.iter().map(|at| (key(at), *at)).collect();
        let mut newest: Vec<DateTime<Utc>> = newest.into_values().collect();
        newest.sort_unstable();
        kept.extend(newest.into_iter().rev().take(rules.of(period) as usize));
    }
    kept
}

/// A policy's promise, followed through the year.
struct Promise {
    policy: Policy,
    zone: TimeZone,
    slots: Times,
    vms: Vec<String>,
    held: Times,
}

impl Promise {
    fn new(policy: Policy, slots: Times, vms: Vec<String>) -> Self {
        Self { zone: zone(&policy), policy, slots, vms, held: Times::new() }
    }

    /// Lets a slot come due: what the pool must hold then.
    fn expect(&mut self, due: DateTime<Utc>) {
        if self.slots.contains(&due) {
            self.held.insert(due);
            self.held = naive_retention(&self.policy, &self.zone, &self.held);
        }
    }

    fn assert_kept(&self, lab: &Lab, due: DateTime<Utc>) {
        let mut held: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
        for found in lab.snapshots().into_iter().filter(|found| found.mark.policy == self.policy.id) {
            held.entry(found.vm).or_default().push(found.mark.due_at);
        }
        let wanted: Vec<DateTime<Utc>> = self.held.iter().copied().collect();
        let expected = self.vms.iter().filter(|_| !wanted.is_empty()).map(|vm| (vm.clone(), wanted.clone())).collect();
        assert_eq!(held, expected, "policy {} after {due}", self.policy.id);
    }
}

#[tokio::test]
async fn in_a_whole_year_every_slot_exists_once_and_after_every_run_the_pool_holds_what_retention_says() {
    let mut lab = Lab::at(YEAR[0], 2, vec![]).await.looking_every(24);
    let vms = lab.vms();
    let policies = |hours: bool| vec![nightly(&vms[0]), weekly(), hourly(&vms[1], hours)];
    lab.policies = policies(false);
    let lord_howe = zone(&hourly("*", true));
    let mut hours: Times = HOURLY.iter().flat_map(|[from, to]| full_hours(&lord_howe, from, to)).collect();
    // The full hour that is skipped: two o'clock of the standard time is half past two.
    hours.insert(at("2026-10-03T15:30:00Z"));
    let mut promises = [
        Promise::new(nightly(&vms[0]), fixed_times("30 2 * * *", &zone(&nightly("*")), YEAR[0], YEAR[1]), vms[..1].to_vec()),
        Promise::new(weekly(), fixed_times("15 1 * * 0", &zone(&weekly()), YEAR[0], YEAR[1]), vms.clone()),
        Promise::new(hourly(&vms[1], true), hours, vms[1..].to_vec()),
    ];
    assert_eq!(promises.iter().map(|promise| promise.slots.len()).collect::<Vec<_>>(), [365, 52, 96]);

    lab.start().await;
    let switches = HOURLY.iter().flat_map(|[from, to]| [(at(from), true), (at(to), false)]);
    let slots = promises.iter().flat_map(|promise| &promise.slots).map(|due| (*due, None));
    let moments: BTreeMap<DateTime<Utc>, Option<bool>> = slots.chain(switches.map(|(at, on)| (at, Some(on)))).collect();
    for (moment, switch) in moments {
        if let Some(on) = switch {
            lab.clock.advance_to(moment).await;
            lab.reload(policies(on)).await;
            continue;
        }
        lab.clock.advance_to(moment + Duration::from_secs(240)).await;
        for promise in &mut promises {
            promise.expect(moment);
            promise.assert_kept(&lab, moment);
        }
    }
    lab.until(YEAR[1]).await;
    for promise in &promises {
        assert_every_slot_once(&lab, promise).await;
    }
    lab.stop().await;
}

/// The history has a row for each slot and no other; each was run on time and went well.
async fn assert_every_slot_once(lab: &Lab, promise: &Promise) {
    let id = promise.policy.id.as_str();
    let slots = look::slots(&lab.store(), id).await;
    let dues: Vec<DateTime<Utc>> = slots.iter().map(|slot| slot.due_at).collect();
    assert_eq!(dues, promise.slots.iter().copied().collect::<Vec<_>>(), "slots of {id}");
    assert!(slots.iter().all(|slot| slot.state == SlotState::Claimed && slot.outcome == Some(Outcome::Succeeded)), "{id}");
    if id != "hourly" {
        let own: Vec<DateTime<Utc>> =
            promise.policy.schedule.slots_after(at(YEAR[0])).take_while(|due| *due < at(YEAR[1])).collect();
        assert_eq!(dues, own, "what `next` shows is what is run");
    }
}

#[test]
fn on_transition_nights_slots_are_those_of_the_table() {
    let berlin = nightly("*");
    let table = [
        ("2026-03-27T12:00:00Z", ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-23T12:00:00Z", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ];
    for (after, expected) in table {
        let slots: Vec<_> = berlin.schedule.slots_after(at(after)).take(3).collect();
        assert_eq!(slots, expected.map(at));
    }
    let island = hourly("*", true);
    let table = [
        // Half past one comes twice, a full hour does not.
        (
            "2026-04-04T12:30:00Z",
            ["2026-04-04T13:00:00Z", "2026-04-04T14:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"],
        ),
        // Two o'clock is skipped; it is half past two that stands for it.
        (
            "2026-10-03T13:40:00Z",
            ["2026-10-03T14:30:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z", "2026-10-03T17:00:00Z"],
        ),
    ];
    for (after, expected) in table {
        let slots: Vec<_> = island.schedule.slots_after(at(after)).take(4).collect();
        assert_eq!(slots, expected.map(at));
    }
}
