//! Nights as tables, and the laws that hold for every set of snapshots and rules.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use proptest::prelude::*;
use rstest::rstest;
use uuid::Uuid;

use super::super::candidate::Pin;
use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn id(n: u128) -> SnapshotUuid {
    SnapshotUuid(Uuid::from_u128(n))
}

/// Taken a minute after it was due.
fn good(n: u128, due_at: DateTime<Utc>) -> Candidate {
    Candidate { snapshot: id(n), due_at, taken_at: due_at + TimeDelta::minutes(1), state: State::Durable, pin: None }
}

/// One good snapshot each night at 01:30Z, numbered by the day of the year 2026, from `first` to `last`.
fn nights(first: u32, last: u32) -> Vec<Candidate> {
    let start = utc("2025-12-31T01:30:00Z");
    (first..=last).map(|day| good(day.into(), start + TimeDelta::days(day.into()))).collect()
}

fn numbers(snapshots: impl Iterator<Item = SnapshotUuid>) -> Vec<u128> {
    snapshots.map(|snapshot| snapshot.0.as_u128()).collect()
}

fn kept(plan: &Plan) -> Vec<u128> {
    numbers(plan.kept().map(|(snapshot, _)| snapshot))
}

fn berlin() -> Zone {
    Zone::named("Europe/Berlin").unwrap()
}

/// Shortly after the newest of `nights`.
const NOW: &str = "2026-11-22T01:35:00Z";

fn now() -> DateTime<Utc> {
    utc(NOW)
}

#[rstest]
#[case(Rules::last(1), &[326])]
#[case(Rules::last(3), &[326, 325, 324])]
#[case(Rules::last(0).with(Period::Day, 2), &[326, 325])]
// 2026-11-22 is a Sunday: the newest of each ISO week is a Sunday's.
#[case(Rules::last(0).with(Period::Week, 3), &[326, 319, 312])]
#[case(Rules::last(0).with(Period::Month, 3), &[326, 304, 273])]
#[case(Rules::last(0).with(Period::Year, 5), &[326])]
#[case(Rules::last(2).with(Period::Week, 2).with(Period::Month, 2), &[326, 325, 319, 304])]
#[case(Rules { within: Some("2d".parse().unwrap()), ..Rules::last(0) }, &[326, 325, 324])]
#[case(Rules { min: 4, ..Rules::last(1) }, &[326, 325, 324, 323])]
fn exactly_what_the_rules_say_remains(#[case] rules: Rules, #[case] expected: &[u128]) {
    assert_eq!(kept(&decide(&rules, &berlin(), &nights(200, 326), now())), expected);
}

#[test]
fn a_decision_names_every_rule_that_keeps() {
    let rules = Rules::last(1).with(Period::Week, 1).with(Period::Month, 2);
    let plan = decide(&rules, &berlin(), &nights(300, 326), now());
    let told: Vec<_> = plan.kept().map(|(snapshot, reasons)| format!("{} {reasons}", snapshot.0.as_u128())).collect();
    assert_eq!(told, ["326 last good, last, weekly, monthly", "304 monthly"]);
}

#[test]
fn within_counts_from_the_newest_so_that_a_daemon_that_slept_removes_nothing() {
    let rules = Rules { within: Some("7d".parse().unwrap()), ..Rules::last(0) };
    let plan = decide(&rules, &berlin(), &nights(319, 326), now() + TimeDelta::days(90));
    assert_eq!(plan.removals().count(), 0);
}

#[test]
fn a_snapshot_taken_after_midnight_belongs_to_the_night_it_was_promised_for() {
    // Due 23:30 in Berlin; the queue was long on the 20th and short on the 21st.
    let mut twentieth = good(20, utc("2026-11-20T22:30:00Z"));
    twentieth.taken_at = utc("2026-11-20T23:20:00Z");
    let rules = Rules::last(0).with(Period::Day, 2);
    let plan = decide(&rules, &berlin(), &[good(21, utc("2026-11-21T22:30:00Z")), twentieth], now());
    assert_eq!(kept(&plan), [21, 20]);
}

#[test]
fn the_repeated_hour_is_two_hours() {
    let hours = (0..4).map(|n| good(n, utc("2026-10-24T23:30:00Z") + TimeDelta::hours(n as i64)));
    let plan = decide(&Rules::last(0).with(Period::Hour, 4), &berlin(), &hours.collect::<Vec<_>>(), now());
    assert_eq!(kept(&plan), [3, 2, 1, 0]);
}

#[test]
fn a_day_that_returns_for_an_hour_is_one_day() {
    // Newfoundland turned its clocks back at 00:01: the 28th returned for 59 minutes after the 29th had begun.
    let zone = Zone::named("America/St_Johns").unwrap();
    let times = ["2006-10-29T02:00:00Z", "2006-10-29T02:30:30Z", "2006-10-29T03:00:00Z", "2006-10-29T12:00:00Z"];
    let candidates: Vec<_> = times.iter().enumerate().map(|(n, at)| good(n as u128, utc(at))).collect();
    assert_eq!(kept(&decide(&Rules::last(0).with(Period::Day, 5), &zone, &candidates, now())), [3, 2]);
}

#[test]
fn failed_and_partial_ones_never_count_and_go() {
    let mut candidates = nights(324, 326);
    candidates[2].state = State::Partial;
    let plan = decide(&Rules::last(1), &berlin(), &candidates, now());
    assert_eq!(kept(&plan), [325]);
    assert_eq!(plan.removals().collect::<Vec<_>>(), [(id(324), Removal::NotKept), (id(326), Removal::Partial)]);
}

#[test]
fn the_last_good_one_stays_whatever_failed_since() {
    let mut candidates = nights(200, 326);
    candidates[1..].iter_mut().for_each(|candidate| candidate.state = State::Partial);
    let plan = decide(&Rules::last(3), &berlin(), &candidates, now());
    assert_eq!(kept(&plan), [200]);
}

#[test]
fn a_snapshot_justifies_removals_only_once_it_is_durable() {
    let mut candidates = nights(325, 326);
    candidates[1].state = State::Fresh;
    let plan = decide(&Rules::last(1), &berlin(), &candidates, now());
    assert_eq!(kept(&plan), [326, 325]);
    candidates[1].state = State::Durable;
    assert_eq!(kept(&decide(&Rules::last(1), &berlin(), &candidates, now())), [326]);
}

#[test]
fn a_ghost_counts_for_nothing_and_goes_again() {
    let mut candidates = nights(325, 326);
    candidates[1].state = State::Ghost;
    let plan = decide(&Rules::last(1), &berlin(), &candidates, now());
    assert_eq!(plan.removals().collect::<Vec<_>>(), [(id(326), Removal::Ghost)]);
    assert_eq!(kept(&plan), [325]);
}

#[test]
fn a_pinned_snapshot_stays_until_its_date() {
    let mut candidates = nights(324, 326);
    candidates[0].pin = Some(Pin::Until(now() + TimeDelta::seconds(1)));
    assert_eq!(kept(&decide(&Rules::last(1), &berlin(), &candidates, now())), [326, 324]);
    assert_eq!(kept(&decide(&Rules::last(1), &berlin(), &candidates, now() + TimeDelta::seconds(1))), [326]);
}

#[test]
fn what_cannot_be_judged_stays_and_does_not_count() {
    for (state, reason) in [(State::Detached, "detached"), (State::Foreign, "not ours"), (State::Unresolved, "unresolved")] {
        let mut candidates = nights(325, 326);
        candidates[1].state = state;
        let plan = decide(&Rules::last(1), &berlin(), &candidates, now());
        let told: Vec<_> = plan.kept().map(|(_, reasons)| reasons.to_string()).collect();
        assert_eq!(told, [reason, "last good, last"]);
    }
}

#[test]
fn a_snapshot_dated_in_the_future_stays_and_pushes_nothing_out() {
    let plan = decide(&Rules::last(1), &berlin(), &nights(325, 327), now());
    let told: Vec<_> = plan.kept().map(|(snapshot, reasons)| format!("{} {reasons}", snapshot.0.as_u128())).collect();
    assert_eq!(told, ["327 dated in the future", "326 last good, last"]);
}

#[test]
fn of_two_snapshots_of_one_slot_the_older_stays() {
    let mut candidates = nights(325, 326);
    candidates.push(Candidate { snapshot: id(9), taken_at: candidates[1].taken_at + TimeDelta::minutes(2), ..candidates[1] });
    let plan = decide(&Rules::last(5), &berlin(), &candidates, now());
    assert_eq!(plan.removals().collect::<Vec<_>>(), [(id(9), Removal::DuplicateOf(id(326)))]);
}

#[test]
fn a_duplicate_stays_while_its_older_twin_is_incomplete() {
    let mut candidates = nights(326, 326);
    candidates.push(Candidate { snapshot: id(9), taken_at: candidates[0].taken_at + TimeDelta::minutes(2), ..candidates[0] });
    candidates[0].state = State::Partial;
    let plan = decide(&Rules::last(5), &berlin(), &candidates, now());
    assert_eq!(plan.removals().collect::<Vec<_>>(), [(id(326), Removal::Partial)]);
}

#[test]
fn removals_begin_with_the_oldest() {
    let plan = decide(&Rules::last(1), &berlin(), &nights(320, 326), now());
    assert_eq!(numbers(plan.removals().map(|(snapshot, _)| snapshot)), [320, 321, 322, 323, 324, 325]);
}

#[test]
fn pruning_ahead_makes_room_but_never_touches_the_last_good_one() {
    let upcoming = utc("2026-11-23T01:30:00Z");
    let ahead = |rules: Rules, candidates: &[Candidate]| kept(&decide_ahead(&rules, &berlin(), candidates, upcoming, upcoming));
    assert_eq!(ahead(Rules::last(3), &nights(324, 326)), [326, 325]);
    assert_eq!(ahead(Rules::last(1), &nights(326, 326)), [326]);
    assert_eq!(ahead(Rules { min: 3, ..Rules::last(3) }, &nights(323, 326)), [326, 325, 324]);
}

#[test]
fn pruning_ahead_of_a_slot_that_has_its_snapshot_is_plain_pruning() {
    let upcoming = utc("2026-11-22T01:30:00Z");
    assert_eq!(kept(&decide_ahead(&Rules::last(2), &berlin(), &nights(324, 326), now(), upcoming)), [326, 325]);
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        12 => Just(State::Durable),
        1 => Just(State::Fresh),
        1 => Just(State::Partial),
        1 => Just(State::Ghost),
        1 => Just(State::Unresolved),
        1 => Just(State::Detached),
        1 => Just(State::Foreign),
    ]
}

fn any_pin() -> impl Strategy<Value = Option<Pin>> {
    let until = (-10..10_i64).prop_map(|days| Some(Pin::Until(now() + TimeDelta::days(days))));
    prop_oneof![10 => Just(None), 1 => Just(Some(Pin::Forever)), 2 => until]
}

/// Snapshots of two years, dense and sparse, some at the same slot, some in the future.
fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let hours = prop_oneof![3 => -48..300_i64, 2 => 0..17_000_i64];
    let candidate = (hours, 0..90_i64, any_state(), any_pin());
    prop::collection::vec(candidate, 0..60).prop_map(|rows| {
        let rows = rows.into_iter().enumerate();
        rows.map(|(n, (hours, minutes, state, pin))| {
            let due_at = now() - TimeDelta::hours(hours);
            Candidate { snapshot: id(n as u128), due_at, taken_at: due_at + TimeDelta::minutes(minutes), state, pin }
        })
        .collect()
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let within = prop::option::of(prop::sample::select(vec!["6h", "7d", "1mo", "1y"]));
    (0..6_u32, prop::array::uniform5(prop_oneof![Just(0), 1..8_u32]), within, 0..4_u32)
        .prop_map(|(last, periods, within, min)| Rules { last, periods, within: within.map(|text| text.parse().unwrap()), min })
}

fn any_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "UTC"])
        .prop_map(|name| Zone::named(name).unwrap())
}

fn removed(plan: &Plan) -> BTreeSet<u128> {
    numbers(plan.removals().map(|(snapshot, _)| snapshot)).into_iter().collect()
}

fn without(candidates: &[Candidate], removed: &BTreeSet<u128>) -> Vec<Candidate> {
    candidates.iter().filter(|candidate| !removed.contains(&candidate.snapshot.0.as_u128())).copied().collect()
}

proptest! {
    #[test]
    fn what_is_protected_is_never_removed(candidates in any_candidates(), rules in any_rules(), zone in any_zone()) {
        let removed = removed(&decide(&rules, &zone, &candidates, now()));
        for candidate in candidates.iter().filter(|candidate| removed.contains(&candidate.snapshot.0.as_u128())) {
            prop_assert!(!candidate.pin.is_some_and(|pin| pin.holds(now())), "pinned");
            prop_assert!(candidate.due_at <= now() && candidate.taken_at <= now(), "in the future");
            prop_assert!(matches!(candidate.state, State::Durable | State::Partial | State::Ghost), "{:?}", candidate.state);
        }
    }

    #[test]
    fn the_newest_min_good_slots_always_stay(candidates in any_candidates(), rules in any_rules(), zone in any_zone()) {
        let removed = removed(&decide(&rules, &zone, &candidates, now()));
        let good = |candidate: &&Candidate| candidate.state == State::Durable && candidate.due_at <= now();
        let slots: BTreeSet<_> = candidates.iter().filter(good).map(|candidate| candidate.due_at).collect();
        for slot in slots.iter().rev().take(rules.min.max(1) as usize) {
            let mut of_slot = candidates.iter().filter(good).filter(|candidate| candidate.due_at == *slot);
            prop_assert!(of_slot.any(|candidate| !removed.contains(&candidate.snapshot.0.as_u128())), "slot {}", slot);
        }
    }

    #[test]
    fn deciding_twice_is_deciding_once(candidates in any_candidates(), rules in any_rules(), zone in any_zone()) {
        let once = removed(&decide(&rules, &zone, &candidates, now()));
        let rest = without(&candidates, &once);
        prop_assert_eq!(removed(&decide(&rules, &zone, &rest, now())), BTreeSet::new());
    }

    #[test]
    fn an_interrupted_pruning_goes_on_to_the_same_end(
        candidates in any_candidates(), rules in any_rules(), zone in any_zone(), done in 0..30_usize,
    ) {
        let plan = decide(&rules, &zone, &candidates, now());
        let part: BTreeSet<_> = numbers(plan.removals().map(|(snapshot, _)| snapshot)).into_iter().take(done).collect();
        let rest = without(&candidates, &part);
        let again = removed(&decide(&rules, &zone, &rest, now()));
        prop_assert_eq!(&again | &part, removed(&plan));
    }

    #[test]
    fn the_order_of_the_listing_is_irrelevant(
        (candidates, shuffled) in any_candidates().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        rules in any_rules(), zone in any_zone(),
    ) {
        prop_assert_eq!(decide(&rules, &zone, &candidates, now()), decide(&rules, &zone, &shuffled, now()));
    }

    #[test]
    fn rules_only_add(candidates in any_candidates(), rules in any_rules(), zone in any_zone(), period in 0..5_usize) {
        let fewer = Rules { periods: std::array::from_fn(|n| if n == period { 0 } else { rules.periods[n] }), ..rules };
        let (all, some) = (decide(&rules, &zone, &candidates, now()), decide(&fewer, &zone, &candidates, now()));
        prop_assert!(removed(&all).is_subset(&removed(&some)));
    }

    #[test]
    fn a_pin_changes_nothing_but_its_own_snapshot(candidates in any_candidates(), rules in any_rules(), index: prop::sample::Index) {
        prop_assume!(!candidates.is_empty());
        let mut pinned = candidates.clone();
        let one = index.index(pinned.len());
        pinned[one].pin = Some(Pin::Forever);
        let mut before = removed(&decide(&rules, &berlin(), &candidates, now()));
        before.remove(&pinned[one].snapshot.0.as_u128());
        prop_assert_eq!(removed(&decide(&rules, &berlin(), &pinned, now())), before);
    }

    #[test]
    fn no_rule_keeps_more_than_it_says(candidates in any_candidates(), rules in any_rules(), zone in any_zone()) {
        let plan = decide(&rules, &zone, &candidates, now());
        let count = |reason| plan.kept().filter(|(_, reasons)| reasons.has(reason)).count() as u32;
        prop_assert!(count(Reason::Last) <= rules.last);
        for period in Period::ALL {
            prop_assert!(count(period.reason()) <= rules.of(period), "{:?}", period);
        }
    }

    /// The order of a run decides when a snapshot goes, never whether.
    #[test]
    fn pruning_first_and_snapshot_first_end_alike(candidates in any_candidates(), rules in any_rules(), zone in any_zone()) {
        let candidates: Vec<_> = candidates.into_iter().filter(|candidate| candidate.due_at <= now()).collect();
        let upcoming = now() + TimeDelta::minutes(5);
        let after = upcoming + TimeDelta::minutes(5);
        let mut all = candidates.clone();
        all.push(good(1_000_000, upcoming));
        let snapshot_first = without(&all, &removed(&decide(&rules, &zone, &all, after)));

        let ahead = decide_ahead(&rules, &zone, &candidates, upcoming, upcoming);
        let mut rest = without(&candidates, &removed(&ahead));
        rest.push(good(1_000_000, upcoming));
        let prune_first = without(&rest, &removed(&decide(&rules, &zone, &rest, after)));
        prop_assert_eq!(snapshot_first, prune_first);
    }

    #[test]
    fn pruning_ahead_never_goes_below_min(candidates in any_candidates(), rules in any_rules(), zone in any_zone()) {
        let upcoming = now() + TimeDelta::minutes(5);
        let removed = removed(&decide_ahead(&rules, &zone, &candidates, now(), upcoming));
        let slots = |all: &[Candidate]| -> BTreeSet<_> {
            all.iter().filter(|one| one.state == State::Durable && one.due_at <= now()).map(|one| one.due_at).collect()
        };
        let (before, after) = (slots(&candidates), slots(&without(&candidates, &removed)));
        prop_assert!(after.len() >= before.len().min(rules.min.max(1) as usize));
    }
}
