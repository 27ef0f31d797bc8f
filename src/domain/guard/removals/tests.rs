use proptest::prelude::*;
use rstest::rstest;
use uuid::Uuid;

use super::super::super::id::SnapshotUuid;
use super::super::super::retention::{Candidate, State, decide};
use super::super::super::zone::Zone;
use super::*;

fn from() -> DateTime<Utc> {
    "2026-03-02T00:00:00Z".parse().unwrap()
}

fn schedule(cron: &str) -> Schedule {
    Schedule::new(vec![cron.parse().unwrap()], Zone::utc()).unwrap()
}

fn vm(number: u128) -> VmUuid {
    VmUuid(Uuid::from_u128(number))
}

fn bounds(rules: &Rules, cron: &str, vms: usize) -> Bounds {
    Bounds::of(Limits::default(), rules, &schedule(cron), vms, from())
}

#[rstest]
#[case::nightly("0 2 * * *", Rules::last(7), 8)]
#[case::nightly_for_long("0 2 * * *", Rules::last(3).with(Period::Day, 7).with(Period::Week, 4).with(Period::Month, 12), 11)]
#[case::weekly("0 2 * * sun", Rules::last(4), 2)]
#[case::monthly("0 2 1 * *", Rules::last(4), 2)]
#[case::hourly("0 * * * *", Rules::last(24), 25)]
fn without_a_word_a_run_gives_up_what_it_usually_does_and_room_for_a_week(
    #[case] cron: &str,
    #[case] rules: Rules,
    #[case] per_vm: u32,
) {
    assert_eq!(bounds(&rules, cron, 1), Bounds { per_vm, per_run: per_vm });
}

#[test]
fn all_vms_together_give_up_what_each_usually_does_however_much_one_may() {
    assert_eq!(bounds(&Rules::last(7), "0 2 * * *", 300), Bounds { per_vm: 8, per_run: 2400 });
    let more = Limits { per_vm: Some(100), per_run: None };
    let held = Bounds::of(more, &Rules::last(7), &schedule("0 2 * * *"), 3, from());
    assert_eq!(held, Bounds { per_vm: 100, per_run: 24 });
    assert_eq!(bounds(&Rules::last(7), "0 2 * * *", usize::MAX).per_run, u32::MAX);
    let said = Limits { per_vm: Some(0), per_run: Some(40) };
    let held = Bounds::of(said, &Rules::last(7), &schedule("0 2 * * *"), 300, from());
    assert_eq!(held, Bounds { per_vm: 0, per_run: 40 });
}

#[test]
fn what_is_too_much_is_told_with_its_figures() {
    let mut allowance = Allowance::new(Bounds { per_vm: 8, per_run: 10 }, 0);
    let excess = allowance.take(vm(1), 23).unwrap_err();
    assert_eq!(excess.to_string(), "23 snapshots of one VM would go, and max_removals_per_vm is 8");
    allowance.take(vm(1), 7).unwrap();
    let excess = allowance.take(vm(2), 4).unwrap_err();
    assert_eq!(excess.to_string(), "4 snapshots would go beside 7 of other VMs, and max_removals_per_run is 10");
}

#[test]
fn two_prunings_of_a_vm_in_one_run_count_together_and_what_did_not_go_is_given_back() {
    let mut allowance = Allowance::new(Bounds { per_vm: 3, per_run: 9 }, 2);
    allowance.take(vm(1), 3).unwrap();
    assert_eq!(allowance.take(vm(1), 1), Err(Excess::OfVm { count: 4, most: 3 }));
    allowance.give_back(vm(1), 2);
    allowance.take(vm(1), 2).unwrap();
    allowance.give_back(vm(9), 5);
    assert_eq!(allowance.take(vm(2), 3), Ok(()));
    assert_eq!(allowance.take(vm(3), 2), Err(Excess::OfRun { count: 2, others: 8, most: 9 }));
}

/// Runs a policy night after night, and returns the most that one night gave up of the VM.
fn most_given_up(rules: &Rules, nights: i64, away: std::ops::Range<i64>, idle: std::ops::Range<i64>) -> u32 {
    let (mut held, mut most): (Vec<Candidate>, _) = (Vec::new(), 0);
    for night in (0..nights).filter(|night| !away.contains(night)) {
        let at = from() + TimeDelta::days(night) + TimeDelta::hours(2);
        let snapshot = SnapshotUuid(Uuid::from_u128(night.unsigned_abs().into()));
        held.push(Candidate { snapshot, due_at: at, taken_at: at, state: State::Durable, pin: None });
        if idle.contains(&night) {
            continue;
        }
        let gone: Vec<_> = decide(rules, &Zone::utc(), &held, at).removals().map(|(snapshot, _)| snapshot).collect();
        held.retain(|candidate| !gone.contains(&candidate.snapshot));
        most = most.max(u32::try_from(gone.len()).unwrap());
    }
    most
}

prop_compose! {
    fn any_rules()(last in 0..6u32, day in 0..10u32, week in 0..6u32, month in 0..4u32, within in prop::option::of(1..30u32))
        -> Rules {
        let within = within.map(|days| format!("{days}d").parse().unwrap());
        let rules = Rules { within, ..Rules::last(last) };
        rules.with(Period::Day, day).with(Period::Week, week).with(Period::Month, month)
    }
}

proptest! {
    /// Nobody is asked about what goes by itself: night after night, after a week without snapshots, after one without retention.
    #[test]
    fn a_healthy_policy_is_never_asked_about(rules in any_rules(), gap in 20..60i64) {
        prop_assume!(rules.check().is_ok());
        let bound = bounds(&rules, "0 2 * * *", 1);
        let week = gap..gap + 7;
        prop_assert!(most_given_up(&rules, 70, 0..0, 0..0) <= usual(&rules));
        prop_assert!(most_given_up(&rules, 70, week.clone(), 0..0) <= bound.per_vm);
        prop_assert!(most_given_up(&rules, 70, 0..0, week) <= bound.per_vm);
    }

    /// Whatever the order, neither bound is passed, and what is refused takes nothing.
    #[test]
    fn no_bound_is_ever_passed(wishes in prop::collection::vec((0..5u128, 0..20u32), 0..60), per_vm in 0..30u32, per_run in 0..60u32) {
        let mut allowance = Allowance::new(Bounds { per_vm, per_run }, 0);
        let mut gone: HashMap<VmUuid, u32> = HashMap::new();
        for (number, count) in wishes {
            let before = allowance.clone();
            match allowance.take(vm(number), count) {
                Ok(()) => *gone.entry(vm(number)).or_default() += count,
                Err(_) => prop_assert_eq!(&allowance, &before),
            }
        }
        prop_assert!(gone.values().all(|count| *count <= per_vm));
        prop_assert!(gone.values().sum::<u32>() <= per_run);
    }
}
