//! Snapshots: taken with their attempt and job, relied upon only when durable, and never forgotten when the pool forgets.

use uuid::Uuid;
use xensnap::store::{AttemptState, Cause, Error, JobState, Outcome, Page, RunState, SnapshotFilter, SnapshotState};

use crate::support::*;

fn forgotten() -> Cause {
    Cause::new("vanished", "the pool does not know it")
}

#[tokio::test]
async fn the_barrier_makes_what_was_marked_durable_and_nothing_else() {
    let world = World::new().await;
    let (first, marked) = world.taken("nightly", hour(0), 1).await;
    let (second, unmarked) = world.taken("nightly", hour(1), 1).await;
    let (_, vanished) = world.taken("nightly", hour(2), 1).await;
    for id in [marked, vanished] {
        world.store.snapshot_marked(id, hour(3)).await.unwrap();
    }
    assert_eq!(world.store.snapshots_to_secure(POOL).await.unwrap(), [marked, vanished]);
    world.store.snapshot_vanished(vanished, forgotten(), hour(3)).await.unwrap();
    let durable = world.store.snapshots_durable(vec![marked, unmarked, vanished], hour(4)).await.unwrap();
    assert_eq!(durable, [marked]);
    assert_eq!(world.store.job(first.id).await.unwrap().state, JobState::Durable);
    assert_eq!(world.store.job(second.id).await.unwrap().state, JobState::Taken);
    assert_eq!(world.store.snapshots_durable(vec![marked], hour(5)).await.unwrap(), [marked], "asked again");
    assert_eq!(world.store.snapshot(marked).await.unwrap().durable_at, Some(hour(4)));
    assert_eq!(world.store.snapshots_to_secure(POOL).await.unwrap(), []);
}

#[tokio::test]
async fn what_the_pool_forgot_is_taken_again_as_a_second_attempt_of_the_same_job() {
    let world = World::new().await;
    let (job, id) = world.durable("nightly", hour(0), 1).await;
    world.store.end_job(job.id, JobState::Done, None, hour(1)).await.unwrap();
    world.store.finish_run(job.run, Outcome::Succeeded, None, hour(1)).await.unwrap();
    let early = world.store.requeue_forgotten(job.id, hour(2), hour(2)).await;
    assert!(matches!(early, Err(Error::Illegal { .. })), "nothing was forgotten yet: {early:?}");

    world.store.snapshot_vanished(id, forgotten(), hour(2)).await.unwrap();
    world.store.snapshot_vanished(id, forgotten(), hour(3)).await.unwrap();
    world.store.requeue_forgotten(job.id, hour(3), hour(2)).await.unwrap();
    world.store.requeue_forgotten(job.id, hour(3), hour(2)).await.unwrap();
    let run = world.store.run(job.run).await.unwrap();
    assert_eq!((run.state, run.outcome), (RunState::Snapshotting, None), "its run has work again");
    let again = world.store.write_intent(job.id, "again", MASTER_START, hour(3)).await.unwrap();
    world.store.snapshot_taken(again.id, snapshot(Uuid::from_u128(2), 1, "nightly", hour(0)), hour(3)).await.unwrap();
    let told: Vec<_> = world.store.attempts(job.id).await.unwrap().iter().map(|attempt| attempt.state).collect();
    assert_eq!(told, [AttemptState::Forgotten, AttemptState::Succeeded]);
}

#[tokio::test]
async fn a_vanished_snapshot_that_is_back_has_to_become_durable_again() {
    let world = World::new().await;
    let (_, id) = world.durable("nightly", hour(0), 1).await;
    world.store.snapshot_vanished(id, forgotten(), hour(1)).await.unwrap();
    world.store.snapshot_seen(id, SnapshotState::Marked, hour(2)).await.unwrap();
    let back = world.store.snapshot(id).await.unwrap();
    assert_eq!((back.state, back.durable_at, back.vanished_at), (SnapshotState::Marked, None, Some(hour(1))));
    assert_eq!(world.store.snapshots_to_secure(POOL).await.unwrap(), [id]);
    world.store.snapshot_vanished(id, forgotten(), hour(3)).await.unwrap();
}

#[tokio::test]
async fn the_same_snapshot_twice_is_one_row_and_belongs_to_one_attempt() {
    let world = World::new().await;
    let first = world.job("nightly", hour(0), 1).await;
    let attempt = world.intent(&first).await;
    let new = snapshot(Uuid::from_u128(5), 1, "nightly", hour(0));
    let id = world.store.snapshot_taken(attempt.id, new.clone(), hour(0)).await.unwrap();
    world.store.snapshot_marked(id, hour(0)).await.unwrap();
    assert_eq!(world.store.snapshot_taken(attempt.id, new.clone(), hour(1)).await.unwrap(), id);
    assert_eq!(world.store.snapshot(id).await.unwrap().state, SnapshotState::Marked, "a repeated report takes nothing back");

    let second = world.job("hourly", hour(0), 1).await;
    let other = world.intent(&second).await;
    let error = world.store.snapshot_taken(other.id, new, hour(1)).await.unwrap_err();
    assert!(matches!(error, Error::SnapshotTaken { .. }), "{error:?}");
    assert_eq!(world.store.job(second.id).await.unwrap().state, JobState::Intent);
}

#[tokio::test]
async fn a_snapshot_found_by_its_mark_before_its_attempt_was_resolved_becomes_that_attempts() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let attempt = world.intent(&job).await;
    let new = snapshot(Uuid::from_u128(5), 1, "nightly", hour(0));
    let found = world.store.remember(new.clone(), hour(1)).await.unwrap();
    assert_eq!(world.store.remember(new.clone(), hour(2)).await.unwrap(), found);
    assert_eq!(world.store.snapshot_taken(attempt.id, new, hour(2)).await.unwrap(), found);
    let known = world.store.snapshot(found).await.unwrap();
    assert_eq!((known.state, known.job, known.marked_at), (SnapshotState::Marked, Some(job.id), Some(hour(1))));
}

#[tokio::test]
async fn the_same_uuid_in_another_pool_is_another_snapshot() {
    let world = World::new().await;
    let new = snapshot(Uuid::from_u128(5), 1, "nightly", hour(0));
    let here = world.store.remember(new.clone(), hour(0)).await.unwrap();
    let imported = xensnap::store::NewSnapshot { pool: Uuid::from_u128(0xbeef), ..new };
    let there = world.store.remember(imported, hour(0)).await.unwrap();
    assert_ne!(here, there);
    assert_eq!(world.store.snapshots_by_uuid(Uuid::from_u128(5)).await.unwrap().len(), 2);
    assert_eq!(world.store.present_snapshots(POOL).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_empty_history_takes_over_marks_of_policies_it_never_saw() {
    let world = World::new().await;
    let id = world.store.remember(snapshot(Uuid::from_u128(5), 1, "long gone", hour(0)), hour(1)).await.unwrap();
    assert_eq!(world.store.snapshot(id).await.unwrap().policy, "long gone");
    let policies = world.store.policies().await.unwrap();
    assert!(policies.iter().any(|policy| policy.id == "long gone" && policy.removed == Some(hour(1))));
    let adopted = world.store.adopt(snapshot(Uuid::from_u128(6), 1, "never heard", hour(0)), hour(1)).await;
    assert!(matches!(adopted, Err(Error::NotFound { what: "policy", .. })), "adopting is on purpose: {adopted:?}");
}

#[tokio::test]
async fn a_snapshot_that_was_given_away_can_be_adopted_again() {
    let world = World::new().await;
    let new = snapshot(Uuid::from_u128(5), 1, "nightly", hour(0));
    let id = world.store.adopt(new.clone(), hour(0)).await.unwrap();
    world.store.snapshot_seen(id, SnapshotState::Released, hour(1)).await.unwrap();
    assert_eq!(world.store.present_snapshots(POOL).await.unwrap(), []);
    assert_eq!(world.store.adopt(new, hour(2)).await.unwrap(), id);
    let again = world.store.snapshot(id).await.unwrap();
    assert_eq!((again.state, again.adopted_at, again.released_at), (SnapshotState::Marked, Some(hour(2)), Some(hour(1))));
}

#[tokio::test]
async fn a_duplicate_is_found_by_its_slot_and_the_oldest_comes_first() {
    let world = World::new().await;
    let older = snapshot(Uuid::from_u128(1), 1, "nightly", hour(0));
    let newer = xensnap::store::NewSnapshot { uuid: Uuid::from_u128(2), taken_at: hour(1), ..older.clone() };
    let other_vm = snapshot(Uuid::from_u128(3), 2, "nightly", hour(0));
    let other_slot = snapshot(Uuid::from_u128(4), 1, "nightly", hour(1));
    let newer = world.store.remember(newer, hour(1)).await.unwrap();
    let older = world.store.remember(older, hour(1)).await.unwrap();
    for single in [other_vm, other_slot] {
        world.store.remember(single, hour(1)).await.unwrap();
    }
    let found = world.store.duplicates(POOL).await.unwrap();
    let found: Vec<Vec<_>> = found.iter().map(|twins| twins.iter().map(|snapshot| snapshot.id).collect()).collect();
    assert_eq!(found, [[older, newer]]);
    world.store.snapshot_seen(newer, SnapshotState::Detached, hour(2)).await.unwrap();
    assert_eq!(world.store.duplicates(POOL).await.unwrap(), Vec::<Vec<_>>::new());
}

#[tokio::test]
async fn pins_are_kept_replaced_taken_off_and_listed_when_over() {
    let world = World::new().await;
    let (_, id) = world.durable("nightly", hour(0), 1).await;
    world.store.pin(id, hour(10), "before the upgrade").await.unwrap();
    world.store.pin(id, hour(20), "still").await.unwrap();
    let pinned = world.store.snapshot(id).await.unwrap();
    assert_eq!((pinned.pinned_until, pinned.pin_reason.as_deref()), (Some(hour(20)), Some("still")));
    assert_eq!(world.store.pins_over(hour(19)).await.unwrap(), []);
    assert_eq!(world.store.pins_over(hour(20)).await.unwrap().len(), 1);
    world.store.unpin(id).await.unwrap();
    world.store.unpin(id).await.unwrap();
    assert_eq!(world.store.pins_over(hour(99)).await.unwrap(), []);
    world.store.snapshot_vanished(id, forgotten(), hour(2)).await.unwrap();
    assert!(matches!(world.store.pin(id, hour(9), "").await, Err(Error::Illegal { to: "pinned", .. })));
}

#[tokio::test]
async fn a_step_that_does_not_follow_is_refused() {
    let world = World::new().await;
    let (_, id) = world.taken("nightly", hour(0), 1).await;
    for state in
        [SnapshotState::Removed, SnapshotState::Ghost, SnapshotState::Released, SnapshotState::Durable, SnapshotState::Marked]
    {
        let error = world.store.snapshot_seen(id, state, hour(1)).await.unwrap_err();
        assert!(matches!(error, Error::Illegal { what: "snapshot", .. }), "{state}: {error:?}");
    }
    assert_eq!(world.store.snapshot(id).await.unwrap().state, SnapshotState::Taken);
}

#[tokio::test]
async fn snapshots_are_listed_by_vm_policy_and_pool() {
    let world = World::new().await;
    for n in 0..5 {
        world.store.remember(snapshot(Uuid::from_u128(n), n % 2, "nightly", hour(n as i64)), hour(9)).await.unwrap();
    }
    let gone = world.store.snapshots_by_uuid(Uuid::from_u128(4)).await.unwrap()[0].id;
    world.store.snapshot_vanished(gone, forgotten(), hour(9)).await.unwrap();
    let list = async |filter| -> Vec<u128> {
        let listed = world.store.snapshots(filter, Page::first(10)).await.unwrap();
        listed.rows.iter().map(|snapshot| snapshot.uuid.as_u128()).collect()
    };
    let vm = world.store.find_vms(&Uuid::from_u128(0).to_string()).await.unwrap()[0].id;
    assert_eq!(list(SnapshotFilter { vm: Some(vm), ..SnapshotFilter::default() }).await, [4, 2, 0]);
    assert_eq!(list(SnapshotFilter { vm: Some(vm), present: true, ..SnapshotFilter::default() }).await, [2, 0]);
    assert_eq!(list(SnapshotFilter { policy: Some("nightly".into()), ..SnapshotFilter::default() }).await, [4, 3, 2, 1, 0]);
    assert_eq!(list(SnapshotFilter { pool: Some(Uuid::from_u128(1)), ..SnapshotFilter::default() }).await, Vec::<u128>::new());
    assert_eq!(list(SnapshotFilter { pool: Some(POOL), ..SnapshotFilter::default() }).await.len(), 5);
}
