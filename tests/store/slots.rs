//! Slots are claimed exactly once, whoever asks, and schedules never reach into the past.

use std::process::{Command, Stdio};

use uuid::Uuid;
use xensnap::store::{Claim, Error, NewRun, NewSlot, Origin, SlotFilter, SlotState, Store};

use crate::support::*;

#[tokio::test]
async fn a_slot_is_won_once_and_the_loser_is_told_who_has_it() {
    let world = World::new().await;
    let id = world.claimed("nightly", hour(0)).await;
    let again = world.store.claim(slot("nightly", hour(0), SlotState::Missed), hour(1)).await.unwrap();
    let Claim::Lost(has) = again else { panic!("{again:?}") };
    assert_eq!((has.id, has.state, has.decided_at), (id, SlotState::Claimed, hour(0)));
}

#[tokio::test]
async fn a_slot_belongs_to_a_policy_and_a_pool() {
    let world = World::new().await;
    world.claimed("nightly", hour(0)).await;
    world.claimed("hourly", hour(0)).await;
    let elsewhere = NewSlot { pool: Uuid::from_u128(7), ..slot("nightly", hour(0), SlotState::Claimed) };
    assert!(matches!(world.store.claim(elsewhere, hour(0)).await.unwrap(), Claim::Won(_)));
}

#[tokio::test]
async fn of_many_tasks_one_wins_each_slot() {
    let world = World::new().await;
    let claims = (0..64).map(|n| {
        let store = world.store.clone();
        tokio::spawn(async move { store.claim(slot("nightly", hour(n % 4), SlotState::Claimed), hour(9)).await.unwrap() })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += usize::from(matches!(claim.await.unwrap(), Claim::Won(_)));
    }
    assert_eq!(won, 4);
}

const RACERS: i64 = 4;
const RACED: i64 = 40;

#[tokio::test]
async fn of_two_open_histories_and_several_processes_one_wins_each_slot() {
    let world = World::new().await;
    let children: Vec<_> = (0..RACERS)
        .map(|_| {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "slots::a_racing_process", "--nocapture"]);
            child.env("XENSNAP_TEST_HISTORY", world.path()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let second = Store::open(world.path(), &patient(), hour(0)).await.unwrap();
    assert!(!second.restored_older, "a file that is in use is not an older copy");
    assert!(!second.alone);
    let mut won = race(&second.store).await;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.split_once("won ")).expect("the child says what it won");
        won += line.1.trim().parse::<i64>().unwrap();
    }
    assert_eq!(won, RACED);
    let slots = world.store.slots(SlotFilter::default(), xensnap::store::Page::first(1000)).await.unwrap();
    assert_eq!(slots.rows.len() as i64, RACED);
}

async fn race(store: &Store) -> i64 {
    let mut won = 0;
    for n in 0..RACED {
        let claim = store.claim(slot("hourly", hour(n), SlotState::Claimed), hour(n)).await.unwrap();
        won += i64::from(matches!(claim, Claim::Won(_)));
    }
    won
}

#[test]
fn a_racing_process() {
    let Some(path) = history_of_the_parent() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let won = runtime.block_on(async {
        let opened = Store::open(path, &patient(), hour(0)).await.unwrap();
        let won = race(&opened.store).await;
        opened.store.close().await.unwrap();
        won
    });
    println!("won {won}");
}

#[tokio::test]
async fn a_claim_moves_the_schedule_on_and_never_back() {
    let world = World::new().await;
    world.claimed("hourly", hour(5)).await;
    world.claimed("hourly", hour(3)).await;
    let manual = NewSlot { origin: Origin::Manual, ..slot("hourly", hour(9), SlotState::Claimed) };
    world.store.claim(manual, hour(9)).await.unwrap();
    let cursors = world.store.cursors().await.unwrap();
    let hourly = cursors.iter().find(|cursor| cursor.policy == "hourly").unwrap();
    assert_eq!(hourly.last_due, Some(hour(5)), "neither an older slot nor a manual run moves it");
    assert_eq!(hourly.after(), hour(5));
}

#[tokio::test]
async fn a_policy_that_was_never_seen_claims_nothing() {
    let world = World::new().await;
    let error = world.store.claim(slot("unheard", hour(0), SlotState::Claimed), hour(0)).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { what: "policy", id } if id == "unheard"), "{error:?}");
}

#[tokio::test]
async fn missed_slots_of_a_long_absence_are_one_transaction_and_final() {
    let world = World::new().await;
    world.claimed("hourly", hour(3)).await;
    let missed = (1..=720).map(|n| slot("hourly", hour(n), SlotState::Missed)).collect();
    let claims = world.store.claim_all(missed, hour(721)).await.unwrap();
    assert!(matches!(claims[2], Claim::Lost(_)));
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Won(_))).count(), 719);
    let slot = world.store.slot("hourly", POOL, hour(700)).await.unwrap().unwrap();
    assert!(slot.is_final() && slot.run.is_none());
}

#[tokio::test]
async fn a_claimed_slot_without_its_run_is_found_after_a_crash_and_starts_one_run() {
    let world = World::new().await;
    let id = world.claimed("nightly", hour(0)).await;
    world.store.claim(slot("nightly", hour(1), SlotState::Missed), hour(2)).await.unwrap();
    let waiting = world.store.slots_without_run().await.unwrap();
    assert_eq!(waiting.iter().map(|slot| slot.id).collect::<Vec<_>>(), [id]);

    let first = world.store.start_run(NewRun { slot: id, uuid: Uuid::from_u128(1), observe: false }, hour(2)).await.unwrap();
    let again = world.store.start_run(NewRun { slot: id, uuid: Uuid::from_u128(2), observe: true }, hour(3)).await.unwrap();
    assert_eq!(first, again, "a slot has one run");
    assert_eq!(world.store.slots_without_run().await.unwrap(), []);
}

#[tokio::test]
async fn a_slot_that_was_decided_against_gets_no_run() {
    let world = World::new().await;
    let Claim::Won(id) = world.store.claim(slot("nightly", hour(0), SlotState::Skipped), hour(0)).await.unwrap() else {
        panic!()
    };
    let error = world.store.start_run(NewRun { slot: id, uuid: Uuid::nil(), observe: false }, hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::Illegal { what: "slot", from: "skipped", .. }), "{error:?}");
}

#[tokio::test]
async fn a_schedule_that_is_new_changed_enabled_or_back_counts_from_now() {
    let world = World::new().await;
    let nightly = |policies: Vec<xensnap::store::Cursor>| {
        policies.into_iter().find(|cursor| cursor.policy == "nightly").map(|cursor| cursor.counts_from)
    };
    assert_eq!(nightly(world.store.cursors().await.unwrap()), Some(hour(0)));

    let changed = xensnap::store::PolicySeen { fingerprint: "0 3 * * *".into(), ..policy("nightly") };
    let changes = world.store.see_policies(vec![changed.clone(), policy("hourly")], hour(1)).await.unwrap();
    assert_eq!((changes.rescheduled.as_slice(), changes.removed.len()), (["nightly".to_owned()].as_slice(), 0));
    assert_eq!(nightly(world.store.cursors().await.unwrap()), Some(hour(1)));

    let disabled = xensnap::store::PolicySeen { enabled: false, name: "Nights".into(), ..changed.clone() };
    let changes = world.store.see_policies(vec![disabled, policy("hourly")], hour(2)).await.unwrap();
    assert_eq!((changes.renamed.len(), changes.rescheduled.len()), (1, 0));
    world.store.see_policies(vec![changed.clone(), policy("hourly")], hour(3)).await.unwrap();
    assert_eq!(nightly(world.store.cursors().await.unwrap()), Some(hour(3)), "enabled again");

    let changes = world.store.see_policies(vec![policy("hourly")], hour(4)).await.unwrap();
    assert_eq!(changes.removed, ["nightly"]);
    assert_eq!(nightly(world.store.cursors().await.unwrap()), None, "a removed policy is not due");
    let changes = world.store.see_policies(vec![changed, policy("hourly")], hour(5)).await.unwrap();
    assert_eq!(changes.added, ["nightly"]);
    assert_eq!(nightly(world.store.cursors().await.unwrap()), Some(hour(5)));
    let known = world.store.policies().await.unwrap();
    assert!(known.iter().all(|policy| policy.removed.is_none() && policy.first_seen == hour(0)), "{known:?}");
}

#[tokio::test]
async fn seeing_the_same_policies_again_changes_nothing() {
    let world = World::new().await;
    let changes = world.store.see_policies(vec![policy("nightly"), policy("hourly")], hour(7)).await.unwrap();
    assert_eq!(changes, xensnap::store::Changes::default());
    world.store.start_cursors(POOL, vec!["nightly".into()], hour(7)).await.unwrap();
    assert!(world.store.cursors().await.unwrap().iter().all(|cursor| cursor.counts_from == hour(0)));
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_decided_is_taken_back_unless_it_has_a_run() {
    let world = World::new().await;
    let pool = slot("nightly", hour(0), SlotState::Missed).pool;
    world.claimed("nightly", hour(0)).await;
    for due in [1, 2, 50] {
        world.store.claim(slot("nightly", hour(due), SlotState::Missed), hour(60)).await.unwrap();
    }
    // One that was to run is work, whatever the clock said.
    world.store.claim(slot("nightly", hour(60), SlotState::Late), hour(60)).await.unwrap();
    assert_eq!(world.store.take_back(pool, hour(3)).await.unwrap(), 3);
    assert_eq!(world.store.take_back(pool, hour(3)).await.unwrap(), 0, "twice is once");
    let cursors = world.store.cursors().await.unwrap();
    let nightly = cursors.iter().find(|cursor| cursor.policy == "nightly" && cursor.pool == pool).unwrap();
    assert_eq!(nightly.last_due, Some(hour(0)));
    assert!(world.store.slot("nightly", pool, hour(60)).await.unwrap().is_some());
    assert!(matches!(world.store.claim(slot("nightly", hour(2), SlotState::Claimed), hour(3)).await.unwrap(), Claim::Won(_)));
    assert!(matches!(world.store.claim(slot("nightly", hour(60), SlotState::Claimed), hour(60)).await.unwrap(), Claim::Lost(_)));
}

/// The clock was ahead by less than the time to the next slot: nothing of the policy is for a time to come, and its newest due time was
/// decided too early all the same.
#[tokio::test]
async fn a_policy_of_which_a_decision_was_taken_back_decides_it_again() {
    let world = World::new().await;
    let pool = slot("nightly", hour(0), SlotState::Missed).pool;
    for (policy, due) in [("nightly", 50), ("hourly", 2)] {
        world.claimed(policy, hour(0)).await;
        world.store.claim(slot(policy, hour(due), SlotState::Missed), hour(60)).await.unwrap();
    }
    assert_eq!(world.store.take_back(pool, hour(3)).await.unwrap(), 2);
    let cursors = world.store.cursors().await.unwrap();
    assert!(cursors.iter().filter(|cursor| cursor.pool == pool).all(|cursor| cursor.last_due == Some(hour(0))), "{cursors:?}");
}
