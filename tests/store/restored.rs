//! An older copy that was put in place is recognised, and what it believes is not acted upon.

use std::fs;
use std::path::Path;

use xensnap::store::{EventFilter, Lineage, NewRemoval, Opened, Page, RemovalState, Role, SnapshotState};

use crate::support::*;

/// Puts `copy` where the history is, as an administrator would after stopping the service.
fn put_back(copy: &Path, path: &Path) {
    fs::copy(copy, path).unwrap();
}

async fn reopened(path: &Path) -> Opened {
    let opened = open(path).await;
    opened.store.close().await.unwrap();
    opened
}

#[tokio::test]
async fn an_older_copy_is_recognised_until_it_was_compared_with_the_pools() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.close().await.unwrap();
    fs::copy(world.path(), &copy).unwrap();
    let newer = open(&world.path()).await;
    assert_eq!(newer.lineage, Lineage::Continued);
    for n in 0..3 {
        newer.store.claim(slot("nightly", hour(n), xensnap::store::SlotState::Claimed), hour(n)).await.unwrap();
    }
    newer.store.close().await.unwrap();

    put_back(&copy, &world.path());
    let restored = reopened(&world.path()).await;
    assert_eq!(restored.lineage, Lineage::OlderCopy { missing: 4 }, "the opening and three claims");
    assert!(restored.restored_older);
    let again = open(&world.path()).await;
    assert_eq!(again.lineage, Lineage::Continued);
    assert!(again.restored_older, "nobody has compared it with the pools yet");
    let events =
        again.store.events(EventFilter { kind: Some("history-restored".into()), ..Default::default() }, Page::first(9)).await;
    assert!(events.unwrap().rows[0].text.contains("4 commits behind"));
    again.store.restore_settled().await.unwrap();
    assert_eq!(again.store.installation().await.unwrap().restored_at, None);
    again.store.close().await.unwrap();
    assert!(!reopened(&world.path()).await.restored_older);
}

#[tokio::test]
async fn a_single_missing_commit_is_enough() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    reopened(&world.path()).await;
    let copy = world.folder.path().join("copy.db");
    fs::copy(world.path(), &copy).unwrap();
    reopened(&world.path()).await;
    put_back(&copy, &world.path());
    assert_eq!(reopened(&world.path()).await.lineage, Lineage::OlderCopy { missing: 1 });
}

#[tokio::test]
async fn what_an_older_copy_had_planned_to_remove_is_dropped() {
    let world = World::new().await;
    let (_, id) = world.durable("nightly", hour(0), 1).await;
    let known = world.store.snapshot(id).await.unwrap();
    let parts = vec![(Role::Snapshot, known.uuid)];
    let new = NewRemoval { pool: POOL, snapshot: known.uuid, run: None, reason: "old".into(), parts };
    let removal = world.store.plan_removal(new, hour(1)).await.unwrap();
    let copy = world.folder.path().join("copy.db");
    world.store.backup(&copy, hour(1)).await.unwrap();
    world.store.close().await.unwrap();

    put_back(&copy, &world.path());
    let restored = open(&world.path()).await;
    assert!(restored.restored_older);
    assert_eq!(restored.store.removals_due(hour(99)).await.unwrap(), []);
    let dropped = restored.store.removal(removal.id).await.unwrap();
    assert_eq!((dropped.state, dropped.cause.unwrap().code.as_str()), (RemovalState::Dropped, "restored"));
    assert_eq!(restored.store.snapshot(id).await.unwrap().state, SnapshotState::Durable);
}

#[tokio::test]
async fn a_copy_made_by_ourselves_is_known_as_one_even_without_a_sidecar() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup(&copy, hour(1)).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("history.db");
    fs::rename(&copy, &path).unwrap();
    assert_eq!(reopened(&path).await.lineage, Lineage::OlderCopy { missing: 0 });
    assert_eq!(reopened(&path).await.lineage, Lineage::Continued, "from now on it is the history");
}

#[tokio::test]
async fn a_lost_history_a_foreign_one_and_one_without_a_sidecar_are_told_apart() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let sidecar = world.folder.path().join("history.db.generation");
    let kept = fs::read(&sidecar).unwrap();

    fs::remove_file(&sidecar).unwrap();
    let unknown = reopened(&world.path()).await;
    assert_eq!((unknown.lineage, unknown.restored_older), (Lineage::Unknown, true));

    fs::write(&sidecar, "garbage").unwrap();
    assert_eq!(reopened(&world.path()).await.lineage, Lineage::Unknown);

    fs::remove_file(world.path()).unwrap();
    let lost = reopened(&world.path()).await;
    assert_eq!((lost.lineage, lost.restored_older), (Lineage::Lost, true));

    fs::write(&sidecar, kept).unwrap();
    let other = reopened(&world.path()).await;
    assert_eq!((other.lineage, other.restored_older), (Lineage::OtherDatabase, true));
    assert_eq!(reopened(&world.path()).await.lineage, Lineage::Continued);
}

#[tokio::test]
async fn a_history_that_was_moved_with_its_sidecar_goes_on() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["history.db", "history.db.generation"] {
        fs::rename(world.folder.path().join(name), elsewhere.path().join(name)).unwrap();
    }
    let opened = reopened(&elsewhere.path().join("history.db")).await;
    assert_eq!((opened.lineage, opened.restored_older), (Lineage::Continued, false));
}

#[tokio::test]
async fn the_history_of_another_installation_is_noticed() {
    let world = World::new().await;
    assert_eq!(world.store.belong_to("tokyo-1").await.unwrap(), None);
    assert_eq!(world.store.belong_to("tokyo-1").await.unwrap(), None);
    assert_eq!(world.store.belong_to("test-bench").await.unwrap().as_deref(), Some("tokyo-1"));
    assert_eq!(world.store.installation().await.unwrap().installation.as_deref(), Some("test-bench"));
}
