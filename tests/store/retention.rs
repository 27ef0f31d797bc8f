//! History's own retention: bounded, and never anything that recovery, a claim or a person still needs.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;
use xensnap::store::{
    ApprovalState, Cause, Claim, EventKind, Forgotten, JobState, Keep, NewApproval, NewEvent, NewRemoval, Outcome, Page,
    PartState, Role, SlotFilter, SlotState,
};

use crate::support::*;

/// Keeps nothing that may go.
const NOTHING: Keep = Keep { runs: TimeDelta::zero(), snapshots: TimeDelta::zero(), events: TimeDelta::zero() };
const LATER: i64 = 24 * 400;

async fn forget_all(world: &World, keep: Keep, limit: u32) -> Vec<Forgotten> {
    let mut batches = Vec::new();
    loop {
        let batch = world.store.forget(keep, limit, hour(LATER)).await.unwrap();
        batches.push(batch);
        if !batch.more {
            return batches;
        }
    }
}

async fn finished(world: &World, n: i64) {
    let (job, id) = world.durable("nightly", hour(n), 1).await;
    world.store.end_job(job.id, JobState::Done, None, hour(n)).await.unwrap();
    world.store.finish_run(job.run, Outcome::Succeeded, None, hour(n)).await.unwrap();
    let uuid = world.store.snapshot(id).await.unwrap().uuid;
    let new =
        NewRemoval { pool: POOL, snapshot: uuid, run: Some(job.run), reason: "old".into(), parts: vec![(Role::Snapshot, uuid)] };
    let removal = world.store.plan_removal(new, hour(n)).await.unwrap();
    world.store.begin_removal(removal.id, hour(n)).await.unwrap();
    world.store.removal_part(removal.id, uuid, PartState::Gone, None, hour(n)).await.unwrap();
    world.store.finish_removal(removal.id, hour(n)).await.unwrap();
    world.store.removals_settled(vec![removal.id], hour(n)).await.unwrap();
    world.store.note_event(NewEvent { run: Some(job.run), ..NewEvent::new(hour(n), EventKind::Started, "") }).await.unwrap();
}

#[tokio::test]
async fn what_is_over_goes_in_batches_and_all_of_it() {
    let world = World::new().await;
    for n in 0..25 {
        finished(&world, n).await;
        world.store.claim(slot("hourly", hour(n), SlotState::Missed), hour(n)).await.unwrap();
    }
    let batches = forget_all(&world, NOTHING, 10).await;
    assert!(batches.len() >= 3 && batches.iter().all(|batch| batch.jobs <= 10 && batch.events <= 10), "{batches:?}");
    let sum = |each: fn(&Forgotten) -> u64| batches.iter().map(each).sum::<u64>();
    assert_eq!((sum(|b| b.runs), sum(|b| b.jobs), sum(|b| b.slots), sum(|b| b.events)), (25, 25, 50, 25));
    assert_eq!((sum(|b| b.snapshots), sum(|b| b.removals), sum(|b| b.vms)), (25, 25, 1));
    world.store.check().await.unwrap();
}

#[tokio::test]
async fn a_forgotten_slot_stays_claimed() {
    let world = World::new().await;
    finished(&world, 3).await;
    world.store.claim(slot("nightly", hour(5), SlotState::Missed), hour(5)).await.unwrap();
    forget_all(&world, NOTHING, 100).await;
    assert_eq!(world.store.slots(SlotFilter::default(), Page::default()).await.unwrap().rows, []);
    for n in [1, 3, 5] {
        let claim = world.store.claim(slot("nightly", hour(n), SlotState::Claimed), hour(LATER)).await.unwrap();
        assert_eq!(claim, Claim::Forgotten, "{n}");
    }
    world.claimed("nightly", hour(6)).await;
    world.claimed("hourly", hour(3)).await;
    let cursor = world.store.cursors().await.unwrap().into_iter().find(|cursor| cursor.policy == "nightly").unwrap();
    assert_eq!(cursor.last_due, Some(hour(6)));
}

#[tokio::test]
async fn what_recovery_needs_stays_however_old_it_is() {
    let world = World::new().await;
    let store = &world.store;
    let cause = || Cause::new("X", "");
    // A claim without its run, a run that is not over, a call whose end is unknown in a run that is.
    let waiting = world.claimed("nightly", hour(0)).await;
    let queued = world.job("nightly", hour(1), 1).await;
    let unresolved = world.job("nightly", hour(2), 2).await;
    let attempt = world.intent(&unresolved).await;
    store.call_unresolved(attempt.id, cause(), hour(2)).await.unwrap();
    store.finish_run(unresolved.run, Outcome::Partial, None, hour(2)).await.unwrap();
    // A snapshot that exists, whose run is over.
    let (job, present) = world.durable("nightly", hour(3), 3).await;
    store.end_job(job.id, JobState::Done, None, hour(3)).await.unwrap();
    store.finish_run(job.run, Outcome::Succeeded, None, hour(3)).await.unwrap();
    // Removals: one that waits, one orphaned, one that the pool may still forget.
    let mut removals = Vec::new();
    for n in 0..3 {
        let uuid = Uuid::from_u128(100 + n);
        let id = store.remember(snapshot(uuid, 4, "nightly", hour(4)), hour(4)).await.unwrap();
        let new =
            NewRemoval { pool: POOL, snapshot: uuid, run: None, reason: String::new(), parts: vec![(Role::Snapshot, uuid)] };
        let removal = store.plan_removal(new, hour(4)).await.unwrap();
        store.begin_removal(removal.id, hour(4)).await.unwrap();
        store.removal_part(removal.id, uuid, PartState::Gone, None, hour(4)).await.unwrap();
        match n {
            0 => store.postpone_removal(removal.id, hour(5), cause()).await.unwrap(),
            1 => store.orphan_removal(removal.id, cause(), hour(5)).await.unwrap(),
            _ => store.finish_removal(removal.id, hour(5)).await.unwrap(),
        }
        removals.push((removal.id, id));
    }
    // A question nobody has answered, asked by a run that is over.
    let asking = world.run("hourly", hour(6)).await;
    let new =
        NewApproval { kind: "k".into(), pool: POOL, policy: "hourly".into(), vm: None, run: Some(asking.id), plan: json!({}) };
    let question = store.ask(new, hour(6)).await.unwrap();
    store.finish_run(asking.id, Outcome::Empty, None, hour(6)).await.unwrap();

    let batches = forget_all(&world, NOTHING, 100).await;
    assert_eq!(
        batches.iter().map(|batch| batch.runs).sum::<u64>(),
        1,
        "only the run of the snapshot that exists is over: {batches:?}"
    );
    assert_eq!(store.slots_without_run().await.unwrap()[0].id, waiting);
    let unfinished: Vec<_> = store.unfinished_jobs().await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(unfinished, [queued.id, unresolved.id]);
    assert_eq!(store.attempt_by_nonce(&attempt.nonce).await.unwrap().unwrap().id, attempt.id);
    let kept = store.snapshot(present).await.unwrap();
    assert_eq!((kept.disks.len(), kept.job, kept.policy.as_str()), (2, None, "nightly"), "it is known without its job");
    for (removal, snapshot) in removals {
        assert_eq!(store.removal(removal).await.unwrap().parts.len(), 1);
        store.snapshot(snapshot).await.unwrap();
    }
    assert_eq!(store.approvals(ApprovalState::Pending).await.unwrap()[0].id, question);
}

#[tokio::test]
async fn snapshots_that_are_gone_are_remembered_for_a_week_whatever_is_asked() {
    let world = World::new().await;
    finished(&world, 0).await;
    let six_days = hour(24 * 6);
    assert_eq!(world.store.forget(NOTHING, 100, six_days).await.unwrap().snapshots, 0, "a ghost must be recognised");
    assert_eq!(world.store.forget(NOTHING, 100, hour(24 * 8)).await.unwrap().snapshots, 1);
}

#[tokio::test]
async fn what_is_young_enough_stays() {
    let world = World::new().await;
    for n in [0, 24 * 100] {
        finished(&world, n).await;
    }
    let days = TimeDelta::days(365);
    let keep = Keep { runs: days, snapshots: days, events: days };
    let batch = &forget_all(&world, keep, 100).await[0];
    assert_eq!((batch.runs, batch.snapshots, batch.events, batch.vms), (1, 1, 1, 0), "400 days and 300 days old: {batch:?}");
    let forever = TimeDelta::MAX;
    let batch = world.store.forget(Keep { runs: forever, snapshots: forever, events: forever }, 100, hour(LATER)).await.unwrap();
    assert_eq!(batch, Forgotten::default());
}
