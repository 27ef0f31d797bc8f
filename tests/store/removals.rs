//! Removals: planned in full before anything goes, carried out piece by piece, and never forgotten halfway.

use uuid::Uuid;
use xensnap::store::{Cause, Error, NewRemoval, PartState, RemovalState, Role, SnapshotId, SnapshotState};

use crate::support::*;

fn cause(code: &str) -> Cause {
    Cause::new(code, "the server said so")
}

struct Planned {
    world: World,
    id: SnapshotId,
    new: NewRemoval,
}

/// A durable snapshot with two disks and a suspend image, and the removal of all of it.
async fn planned() -> Planned {
    let world = World::new().await;
    let (job, id) = world.durable("nightly", hour(0), 1).await;
    let known = world.store.snapshot(id).await.unwrap();
    let mut parts = vec![(Role::Suspend, Uuid::from_u128(77))];
    parts.extend(known.disks.iter().map(|disk| (Role::Disk, disk.vdi)));
    parts.push((Role::Snapshot, known.uuid));
    let new = NewRemoval { pool: POOL, snapshot: known.uuid, run: Some(job.run), reason: "beyond last 1".into(), parts };
    Planned { world, id, new }
}

#[tokio::test]
async fn a_removal_names_everything_first_and_ends_when_everything_is_gone() {
    let Planned { world, id, new } = planned().await;
    let store = &world.store;
    let removal = store.plan_removal(new.clone(), hour(1)).await.unwrap();
    assert_eq!((removal.state, removal.tries, removal.snapshot_row), (RemovalState::Planned, 0, Some(id)));
    let roles: Vec<_> = removal.parts.iter().map(|part| part.role).collect();
    assert_eq!(roles, [Role::Snapshot, Role::Disk, Role::Disk, Role::Suspend]);
    assert_eq!(store.snapshot(id).await.unwrap().state, SnapshotState::Removing);

    let removal = store.begin_removal(removal.id, hour(2)).await.unwrap();
    assert_eq!((removal.state, removal.tries), (RemovalState::Working, 1));
    assert!(matches!(store.finish_removal(removal.id, hour(2)).await, Err(Error::PartsLeft { left: 4, .. })));
    for part in &removal.parts {
        store.removal_part(removal.id, part.uuid, PartState::Destroying, None, hour(2)).await.unwrap();
        store.removal_part(removal.id, part.uuid, PartState::Gone, None, hour(3)).await.unwrap();
        assert_eq!(store.snapshot(id).await.unwrap().removed_at, Some(hour(3)), "its record, the first part, is gone");
    }
    store.finish_removal(removal.id, hour(4)).await.unwrap();
    store.finish_removal(removal.id, hour(5)).await.unwrap();
    let known = store.snapshot(id).await.unwrap();
    assert_eq!((known.state, known.removed_at), (SnapshotState::Removed, Some(hour(3))));

    assert_eq!(store.removals_to_settle(POOL).await.unwrap().len(), 1);
    store.removals_settled(vec![removal.id], hour(6)).await.unwrap();
    store.removals_settled(vec![removal.id], hour(7)).await.unwrap();
    assert_eq!(store.removal(removal.id).await.unwrap().settled_at, Some(hour(6)));
    assert_eq!(store.removals_to_settle(POOL).await.unwrap(), []);
}

#[tokio::test]
async fn an_open_removal_is_not_planned_twice() {
    let Planned { world, new, .. } = planned().await;
    let first = world.store.plan_removal(new.clone(), hour(1)).await.unwrap();
    let other = NewRemoval { reason: "another plan".into(), parts: Vec::new(), ..new };
    assert_eq!(world.store.plan_removal(other, hour(2)).await.unwrap(), first);
    assert_eq!(world.store.removals_of(first.snapshot).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_pinned_snapshot_is_not_removed_until_its_date() {
    let Planned { world, id, new } = planned().await;
    world.store.pin(id, hour(5), "").await.unwrap();
    let error = world.store.plan_removal(new.clone(), hour(4)).await.unwrap_err();
    assert!(matches!(error, Error::Pinned { until, .. } if until == hour(5)), "{error:?}");
    assert_eq!(world.store.snapshot(id).await.unwrap().state, SnapshotState::Durable);
    world.store.plan_removal(new, hour(5)).await.unwrap();
}

#[tokio::test]
async fn what_is_detached_or_given_away_is_not_removed() {
    for state in [SnapshotState::Detached, SnapshotState::Released] {
        let Planned { world, id, new } = planned().await;
        world.store.snapshot_seen(id, state, hour(1)).await.unwrap();
        let error = world.store.plan_removal(new, hour(1)).await.unwrap_err();
        assert!(matches!(error, Error::Illegal { what: "snapshot", .. }), "{error:?}");
        assert_eq!(world.store.open_removals(POOL).await.unwrap(), []);
    }
}

#[tokio::test]
async fn nothing_is_destroyed_that_the_plan_did_not_name() {
    let Planned { world, new, .. } = planned().await;
    let removal = world.store.plan_removal(new, hour(1)).await.unwrap();
    let foreign = world.store.removal_part(removal.id, Uuid::from_u128(404), PartState::Destroying, None, hour(2)).await;
    assert!(matches!(foreign, Err(Error::NotFound { .. })), "{foreign:?}");
}

#[tokio::test]
async fn what_is_gone_stays_gone() {
    let Planned { world, new, .. } = planned().await;
    let removal = world.store.plan_removal(new, hour(1)).await.unwrap();
    let part = removal.parts[0].uuid;
    world.store.removal_part(removal.id, part, PartState::Gone, None, hour(2)).await.unwrap();
    world.store.removal_part(removal.id, part, PartState::Gone, None, hour(3)).await.unwrap();
    let back = world.store.removal_part(removal.id, part, PartState::There, None, hour(3)).await;
    assert!(matches!(back, Err(Error::Illegal { from: "gone", .. })), "{back:?}");
}

#[tokio::test]
async fn a_refused_removal_comes_due_again_and_an_interrupted_one_is_due_at_once() {
    let Planned { world, new, .. } = planned().await;
    let store = &world.store;
    let removal = store.plan_removal(new, hour(1)).await.unwrap();
    let due = async |now| store.removals_due(now).await.unwrap().len();
    assert_eq!((due(hour(0)).await, due(hour(1)).await), (0, 1));
    store.begin_removal(removal.id, hour(1)).await.unwrap();
    assert_eq!(due(hour(1)).await, 1, "killed in between: still on the list");
    store.postpone_removal(removal.id, hour(4), cause("VDI_IN_USE")).await.unwrap();
    assert_eq!((due(hour(3)).await, due(hour(4)).await), (0, 1));
    let again = store.begin_removal(removal.id, hour(4)).await.unwrap();
    assert_eq!((again.tries, again.cause.as_ref().map(|cause| cause.code.as_str())), (2, Some("VDI_IN_USE")));
}

#[tokio::test]
async fn an_orphan_is_listed_and_can_be_tried_again() {
    let Planned { world, id, new } = planned().await;
    let store = &world.store;
    let removal = store.plan_removal(new, hour(1)).await.unwrap();
    store.begin_removal(removal.id, hour(1)).await.unwrap();
    for part in &removal.parts[..3] {
        store.removal_part(removal.id, part.uuid, PartState::Gone, None, hour(2)).await.unwrap();
    }
    let stuck = removal.parts[3].uuid;
    store.removal_part(removal.id, stuck, PartState::Stuck, Some(cause("SR_BACKEND_FAILURE_80")), hour(2)).await.unwrap();
    store.orphan_removal(removal.id, cause("SR_BACKEND_FAILURE_80"), hour(2)).await.unwrap();
    assert_eq!(store.removals_due(hour(99)).await.unwrap(), []);
    let orphans = store.orphans(POOL).await.unwrap();
    assert_eq!((orphans.len(), orphans[0].parts[3].state), (1, PartState::Stuck));
    assert_eq!(store.snapshot(id).await.unwrap().state, SnapshotState::Removed, "its record is gone");

    store.begin_removal(removal.id, hour(3)).await.unwrap();
    store.removal_part(removal.id, stuck, PartState::Gone, None, hour(3)).await.unwrap();
    store.finish_removal(removal.id, hour(3)).await.unwrap();
    assert_eq!(store.orphans(POOL).await.unwrap(), []);
}

#[tokio::test]
async fn a_plan_is_withdrawn_only_while_nothing_was_destroyed() {
    let Planned { world, id, new } = planned().await;
    let store = &world.store;
    let first = store.plan_removal(new.clone(), hour(1)).await.unwrap();
    store.withdraw_removal(first.id, cause("kept by daily"), hour(2)).await.unwrap();
    store.withdraw_removal(first.id, cause("kept by daily"), hour(2)).await.unwrap();
    assert_eq!(store.snapshot(id).await.unwrap().state, SnapshotState::Durable, "it is what it was");

    let second = store.plan_removal(new, hour(3)).await.unwrap();
    assert_ne!(first.id, second.id);
    store.begin_removal(second.id, hour(3)).await.unwrap();
    store.removal_part(second.id, second.parts[0].uuid, PartState::Destroying, None, hour(3)).await.unwrap();
    let late = store.withdraw_removal(second.id, cause("kept"), hour(4)).await;
    assert!(matches!(late, Err(Error::Illegal { what: "removal", .. })), "{late:?}");
}

#[tokio::test]
async fn a_removal_whose_parts_were_all_spared_leaves_the_snapshot_detached() {
    let Planned { world, id, new } = planned().await;
    let removal = world.store.plan_removal(new, hour(1)).await.unwrap();
    world.store.begin_removal(removal.id, hour(1)).await.unwrap();
    for part in &removal.parts {
        world.store.removal_part(removal.id, part.uuid, PartState::Spared, Some(cause("in use")), hour(2)).await.unwrap();
    }
    world.store.finish_removal(removal.id, hour(2)).await.unwrap();
    assert_eq!(world.store.snapshot(id).await.unwrap().state, SnapshotState::Detached);
}

#[tokio::test]
async fn a_ghost_is_removed_again() {
    let Planned { world, id, new } = planned().await;
    let store = &world.store;
    for round in 0..2 {
        let removal = store.plan_removal(new.clone(), hour(1)).await.unwrap();
        store.begin_removal(removal.id, hour(1)).await.unwrap();
        for part in &removal.parts {
            store.removal_part(removal.id, part.uuid, PartState::Gone, None, hour(2)).await.unwrap();
        }
        store.finish_removal(removal.id, hour(2)).await.unwrap();
        if round == 0 {
            store.snapshot_seen(id, SnapshotState::Ghost, hour(3)).await.unwrap();
        }
    }
    let known = store.snapshot(id).await.unwrap();
    assert_eq!((known.state, known.ghost_at), (SnapshotState::Removed, Some(hour(3))));
    assert_eq!(store.removals_of(known.uuid).await.unwrap().len(), 2, "history names both removals");
}

#[tokio::test]
async fn leftovers_of_a_failed_snapshot_are_removed_without_a_row() {
    let world = World::new().await;
    let parts = vec![(Role::Disk, Uuid::from_u128(8))];
    let new = NewRemoval { pool: POOL, snapshot: Uuid::from_u128(9), run: None, reason: "partial".into(), parts };
    let removal = world.store.plan_removal(new, hour(1)).await.unwrap();
    assert_eq!(removal.snapshot_row, None);
    world.store.begin_removal(removal.id, hour(1)).await.unwrap();
    world.store.removal_part(removal.id, Uuid::from_u128(8), PartState::Gone, None, hour(1)).await.unwrap();
    world.store.finish_removal(removal.id, hour(1)).await.unwrap();
}
