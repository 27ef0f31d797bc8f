//! Each invariant on evidence that breaks it, and on evidence that breaks nothing.

use super::*;
use crate::config::Config;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn held(n: u128, due: &str) -> Held {
    let due_at = at(due);
    Held {
        snapshot: Uuid::from_u128(n),
        vm: Uuid::from_u128(1000),
        policy: "nightly".into(),
        due_at,
        taken_at: due_at,
        whole: true,
    }
}

/// A policy that keeps the newest two, three nights, and a pool that is as it wants it.
fn sound() -> Evidence {
    let main = "installation = \"torture\"\n[[pool]]\nname = \"p\"\naddresses = [\"http://127.0.0.1:1\"]\nusername = \"root\"\npassword = \"x\"\n";
    let policies = "[[policy]]\nname = \"Nightly\"\nid = \"nightly\"\n[policy.schedule]\nzone = \"UTC\"\ncron = \"0 2 * * *\"\n[policy.select]\ninclude = [{ name = \"*\" }]\n[policy.retention]\nlast = 2\n";
    let config = Config::from_texts(("xensnap.toml", main), &[("p.toml", policies)], at("2026-03-01T00:00:00Z")).unwrap().config;
    let nights = ["2026-03-02T02:00:00Z", "2026-03-03T02:00:00Z", "2026-03-04T02:00:00Z"];
    let slot = |due: &&str| SlotRow { policy: "nightly".into(), due_at: at(due), is_final: true };
    let kept = vec![held(2, nights[1]), held(3, nights[2])];
    let first = Removal { at: at("2026-03-04T02:01:00Z"), removed: held(1, nights[0]), others: kept.clone() };
    let covered = BTreeMap::from([("nightly".to_owned(), vec![Uuid::from_u128(1000)])]);
    Evidence {
        policies: config.policies.into_iter().map(|checked| checked.policy).collect(),
        began: at("2026-03-01T12:00:00Z"),
        healthy: at("2026-03-03T12:00:00Z"),
        ended: at("2026-03-04T12:00:00Z"),
        touches: Vec::new(),
        removals: vec![first],
        doubles: Vec::new(),
        slots: nights.iter().map(slot).collect(),
        remains: Remains { held: kept, covered, ..Remains::default() },
        deaths: Vec::new(),
    }
}

/// The names of the invariants that a change of sound evidence breaks.
fn broken(change: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    let mut evidence = sound();
    change(&mut evidence);
    check(&evidence).iter().map(|violation| violation.invariant).collect()
}

#[test]
fn a_pool_as_the_policies_want_it_breaks_nothing() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn what_is_not_ours_and_was_changed_or_destroyed_is_told() {
    let touch = |field: &str| Touch {
        at: at("2026-03-02T02:00:00Z"),
        method: "VM.destroy".into(),
        class: "VM".into(),
        object: "x".into(),
        field: field.into(),
    };
    assert_eq!(broken(|evidence| evidence.touches = vec![touch(""), touch("name_label")]), ["foreign-untouched"; 2]);
}

#[test]
fn a_removal_of_what_the_policy_keeps_is_told_even_if_others_are_there() {
    // The newest but one of two; and the same with only a half beside it, which counts for nothing.
    assert_eq!(broken(|evidence| drop(evidence.removals[0].others.pop())), ["kept-by-policy"]);
    assert_eq!(broken(|evidence| evidence.removals[0].others[0].whole = false), ["kept-by-policy"]);
}

#[test]
fn a_half_may_go_whatever_the_policy_says() {
    let half = |evidence: &mut Evidence| {
        evidence.removals[0].removed.whole = false;
        evidence.removals[0].others.clear();
    };
    assert_eq!(broken(half), [""; 0]);
}

#[test]
fn two_snapshots_of_one_slot_are_told() {
    let double = |evidence: &mut Evidence| {
        let (first, second) = (held(3, "2026-03-04T02:00:00Z"), held(4, "2026-03-04T02:00:00Z"));
        evidence.doubles = vec![Double { at: first.due_at, first, second }];
    };
    assert_eq!(broken(double), ["one-per-slot"]);
}

#[test]
fn a_service_that_ends_by_itself_is_told() {
    assert_eq!(broken(|evidence| evidence.deaths.push("it ended with code 101".into())), ["service-lives"]);
}

#[test]
fn a_slot_that_is_open_or_of_which_nothing_is_known_is_told() {
    assert_eq!(broken(|evidence| evidence.slots[0].is_final = false), ["slots-final"]);
    assert_eq!(broken(|evidence| drop(evidence.slots.remove(1))), ["slots-complete"]);
}

#[test]
fn a_snapshot_without_a_mark_is_told() {
    assert_eq!(broken(|evidence| evidence.remains.unmarked.push("x".into())), ["marked"]);
}

#[test]
fn disks_tasks_sessions_claims_operations_and_halted_vms_that_are_left_are_told() {
    let left = |evidence: &mut Evidence| {
        let remains = &mut evidence.remains;
        for list in [&mut remains.disks, &mut remains.tasks, &mut remains.operations, &mut remains.halted, &mut remains.claims] {
            list.push("x".into());
        }
        remains.sessions = 1;
    };
    assert_eq!(broken(left), ["nothing-left"; 6]);
}

#[test]
fn a_pool_that_lacks_the_newest_snapshot_or_has_one_too_many_has_not_converged() {
    assert_eq!(broken(|evidence| drop(evidence.remains.held.pop())), ["converged"]);
    assert_eq!(broken(|evidence| evidence.remains.held[1].whole = false), ["converged"; 2]);
    assert_eq!(broken(|evidence| evidence.remains.held.push(held(1, "2026-03-02T02:00:00Z"))), ["converged"]);
    let twice = |evidence: &mut Evidence| {
        let mut second = held(9, "2026-03-04T02:00:00Z");
        second.taken_at += chrono::TimeDelta::minutes(1);
        evidence.remains.held.push(second);
    };
    assert_eq!(broken(twice), ["converged"]);
}
