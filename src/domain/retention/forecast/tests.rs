//! A forecast is right when it comes true.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::super::schedule::Schedule;
use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn good(n: u128, due_at: DateTime<Utc>) -> Candidate {
    Candidate { snapshot: SnapshotUuid(Uuid::from_u128(n)), due_at, taken_at: due_at, state: State::Durable, pin: None }
}

fn schedule(expressions: &[&str], zone: &str) -> Schedule {
    let expressions = expressions.iter().map(|text| text.parse().unwrap()).collect();
    Schedule::new(expressions, Zone::named(zone).unwrap()).unwrap()
}

fn told(rules: &Rules, candidates: &[Candidate], now: &str) -> Vec<String> {
    let nightly = schedule(&["30 2 * * *"], "Europe/Berlin");
    let forecast = forecast(rules, nightly.zone(), candidates, utc(now), |at| nightly.next_open_after(at));
    forecast.iter().map(|(snapshot, expiry)| format!("{} {expiry}", snapshot.0.as_u128())).collect()
}

fn nights() -> Vec<Candidate> {
    (20..=22_u32).map(|day| good(day.into(), utc(&format!("2026-11-{day}T01:30:00Z")))).collect()
}

#[test]
fn the_newest_three_go_one_night_after_another() {
    let told = told(&Rules::last(3), &nights(), "2026-11-22T02:00:00Z");
    assert_eq!(told, ["22 2026-11-25 01:30:00Z", "21 2026-11-24 01:30:00Z", "20 2026-11-23 01:30:00Z"]);
}

#[test]
fn the_newest_of_a_month_is_replaced_until_the_month_is_over() {
    let rules = Rules::last(1).with(Period::Month, 2);
    let candidates = [good(31, utc("2026-10-31T01:30:00Z")), good(22, utc("2026-11-22T01:30:00Z"))];
    assert_eq!(told(&rules, &candidates, "2026-11-22T02:00:00Z"), ["22 2026-11-23 01:30:00Z", "31 2026-12-01 01:30:00Z"]);
}

#[test]
fn what_no_rule_keeps_goes_with_the_next_pruning_and_a_pin_delays_it() {
    let mut candidates = nights();
    candidates[0].pin = Some(Pin::Until(utc("2027-01-01T00:00:00Z")));
    let told = told(&Rules::last(1), &candidates, "2026-11-22T02:00:00Z");
    assert_eq!(told, ["22 2026-11-23 01:30:00Z", "21 with the next pruning", "20 2027-01-01 01:30:00Z"]);
}

#[test]
fn without_further_slots_everything_that_is_kept_stays() {
    let forecast = forecast(&Rules::last(2).with(Period::Day, 2), &Zone::utc(), &nights(), utc("2026-11-22T02:00:00Z"), |_| None);
    let expiries: Vec<_> = forecast.iter().map(|(_, expiry)| *expiry).collect();
    assert_eq!(expiries, [Expiry::Stays, Expiry::Stays, Expiry::NextPruning]);
}

/// Runs the policy slot by slot and notes when each snapshot goes.
fn simulated(
    rules: &Rules,
    schedule: &Schedule,
    candidates: &[Candidate],
    now: DateTime<Utc>,
    slots: usize,
) -> HashMap<SnapshotUuid, Expiry> {
    let mut gone = HashMap::new();
    let mut alive = candidates.to_vec();
    prune(rules, schedule, &mut alive, now, &mut gone, Expiry::NextPruning);
    for (n, at) in schedule.slots_after(now).take(slots).enumerate() {
        alive.push(good(1_000_000 + n as u128, at));
        prune(rules, schedule, &mut alive, at, &mut gone, Expiry::At(at));
    }
    gone
}

fn prune(
    rules: &Rules,
    schedule: &Schedule,
    alive: &mut Vec<Candidate>,
    now: DateTime<Utc>,
    gone: &mut HashMap<SnapshotUuid, Expiry>,
    when: Expiry,
) {
    for (snapshot, _) in decide(rules, schedule.zone(), alive, now).removals() {
        gone.insert(snapshot, when);
    }
    alive.retain(|candidate| !gone.contains_key(&candidate.snapshot));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_forecast_comes_true(
        expressions in prop::sample::subsequence(vec!["30 2 * * *", "0 */6 * * *", "0 12 * * fri", "0 0 1,15 * *"], 1..3),
        zone in prop::sample::select(vec!["Europe/Berlin", "America/Havana", "UTC"]),
        start in prop::sample::select(vec!["2026-03-20T12:00:00Z", "2026-10-20T12:00:00Z", "2026-12-28T03:00:00Z"]),
        last in 0..5_u32,
        periods in prop::array::uniform5(prop_oneof![3 => Just(0), 1 => 1..5_u32]),
        within in prop::option::of(prop::sample::select(vec!["30h", "7d", "2mo"])),
        min in 0..3_u32,
        past in prop::collection::vec((0..400_i64, prop::option::weighted(0.1, 1..60_i64)), 1..20),
    ) {
        let rules = Rules { last, periods, within: within.map(|text| text.parse().unwrap()), min };
        let (schedule, now) = (schedule(&expressions, zone), utc(start));
        let mut candidates: Vec<_> = past.iter().enumerate().map(|(n, (hours, pin))| Candidate {
            pin: pin.map(|days| Pin::Until(now + TimeDelta::days(days))),
            ..good(n as u128, now - TimeDelta::hours(*hours))
        }).collect();
        candidates.sort_by_key(|candidate| candidate.due_at);
        candidates.dedup_by_key(|candidate| candidate.due_at);
        let slots = 250;
        let end = schedule.slots_after(now).nth(slots - 1).unwrap();
        let gone = simulated(&rules, &schedule, &candidates, now, slots);
        for (snapshot, expiry) in forecast(&rules, schedule.zone(), &candidates, now, |at| schedule.next_after(at)) {
            match expiry {
                Expiry::At(at) if at > end => prop_assert_eq!(gone.get(&snapshot), None),
                expiry => prop_assert_eq!(gone.get(&snapshot), Some(&expiry), "snapshot {:?} under {}", snapshot, rules),
            }
        }
    }
}
