use super::*;
use crate::domain::policy::{Afterwards, Limits, Priority, Retention, SnapshotSettings, WantedKind};
use crate::domain::retention::{Order, Rules};
use crate::domain::schedule::{CatchUp, Schedule, Windows};
use crate::domain::selection::Selection;
use crate::domain::zone::Zone;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    utc("2026-03-06T12:00:00Z")
}

/// Every night at half past two in Berlin.
fn policy(id: &str) -> Policy {
    let schedule = Schedule::new(vec!["30 2 * * *".parse().unwrap()], Zone::named("Europe/Berlin").unwrap()).unwrap();
    Policy {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        enabled: true,
        observe: false,
        priority: Priority::default(),
        schedule,
        selection: Selection::everything(),
        snapshot: SnapshotSettings {
            kind: WantedKind::Disk,
            exclude_disks: Vec::new(),
            name: "{policy} {due}".parse().unwrap(),
            description: "{run}".parse().unwrap(),
        },
        hooks: Vec::new(),
        rpo: None,
        retention: Retention {
            rules: Rules::last(7),
            order: Order::SnapshotFirst,
            on_vm_deleted: Afterwards::Keep,
            on_policy_removed: Afterwards::Keep,
        },
        limits: Limits::default(),
    }
}

fn closed_on_weekends(id: &str) -> Policy {
    let mut policy = policy(id);
    policy.schedule.windows = Windows { open: Vec::new(), blackouts: vec!["Sat,Sun".parse().unwrap()] };
    policy
}

/// The policy on a pool, where this was the last slot that was decided.
fn after<'a>(policy: &'a Policy, last: &str) -> Vec<Line<'a>> {
    let progress = Progress { counts_from: utc("2026-03-01T00:00:00Z"), last_claimed: Some(utc(last)), running: None };
    vec![Line { policy, pool: Some("tokyo"), progress: Some(progress) }]
}

fn unseen(policy: &Policy) -> Line<'_> {
    Line { policy, pool: Some("tokyo"), progress: None }
}

fn told(coming: &[Coming<'_>]) -> Vec<(String, &'static str)> {
    let due = |coming: &Coming<'_>| coming.due_at.map_or_else(|| "-".to_owned(), |at| at.format("%a %d %H:%M").to_string());
    coming.iter().map(|coming| (due(coming), coming.prospect.word())).collect()
}

fn expected(list: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    list.iter().map(|(due, word)| ((*due).to_owned(), *word)).collect()
}

#[test]
fn the_next_slots_are_those_after_now_and_only_the_first_has_a_last() {
    let nightly = policy("nightly");
    let coming = coming(after(&nightly, "2026-03-06T01:30:00Z"), now(), 2);
    assert_eq!(told(&coming), expected(&[("Sat 07 01:30", "runs"), ("Sun 08 01:30", "runs")]));
    assert_eq!((coming[0].last(), coming[1].last()), (Some(utc("2026-03-06T01:30:00Z")), None));
}

#[test]
fn a_slot_in_a_blackout_is_shown_as_skipped_and_the_next_that_runs_follows() {
    let nightly = closed_on_weekends("nightly");
    let coming = coming(after(&nightly, "2026-03-06T01:30:00Z"), now(), 1);
    assert_eq!(told(&coming), expected(&[("Sat 07 01:30", "skipped-closed"), ("Mon 09 01:30", "runs")]));
}

#[test]
fn a_slot_that_is_due_is_shown_with_what_the_daemon_will_decide() {
    let mut nightly = policy("nightly");
    let behind = "2026-03-04T01:30:00Z";
    let late = coming(after(&nightly, behind), now(), 2);
    assert_eq!(told(&late), expected(&[("Fri 06 01:30", "late"), ("Sat 07 01:30", "runs")]));
    assert!(matches!(late[0].prospect, Prospect::Due(_, 1)), "Thursday's is missed");
    nightly.schedule.catch_up = CatchUp::None;
    assert_eq!(
        told(&coming(after(&nightly, behind), now(), 1)),
        expected(&[("Fri 06 01:30", "missed-too-late"), ("Sat 07 01:30", "runs")])
    );
}

#[test]
fn a_late_slot_that_is_closed_now_waits_for_its_window() {
    let mut nightly = policy("nightly");
    nightly.schedule.windows.open = vec!["00:00-06:00".parse().unwrap(), "20:00-24:00".parse().unwrap()];
    let coming = coming(after(&nightly, "2026-03-05T01:30:00Z"), now(), 1);
    assert_eq!(coming[0].prospect, Prospect::Waits(utc("2026-03-06T19:00:00Z")));
    assert_eq!(coming.len(), 1);
}

#[test]
fn a_policy_that_the_daemon_has_not_seen_counts_from_now() {
    let weekly = policy("weekly");
    let coming = coming(vec![unseen(&weekly)], now(), 1);
    assert_eq!(told(&coming), expected(&[("Sat 07 01:30", "runs")]));
    assert_eq!(coming[0].last(), None);
}

#[test]
fn what_has_no_time_comes_last() {
    let (disabled, nightly) = (Policy { enabled: false, ..policy("nightly") }, policy("weekly"));
    let coming = coming([&disabled, &nightly].map(unseen).to_vec(), now(), 1);
    assert_eq!(told(&coming), expected(&[("Sat 07 01:30", "runs"), ("-", "disabled")]));
}

#[test]
fn where_no_time_comes_any_more_it_is_said_so() {
    let nightly = policy("nightly");
    let coming = coming(vec![unseen(&nightly)], utc("2200-01-01T00:00:00Z"), 1);
    assert_eq!(told(&coming), expected(&[("-", "never")]));
}
