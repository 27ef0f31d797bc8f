//! From every earlier version, with rows in it, to the present one; and the copy of what was there before.

use std::path::{Path, PathBuf};

use serde_json::json;
use sqlx::migrate::{Migrate, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection};
use xensnap::store::{
    ApprovalState, AttemptState, Condition, Error, JobState, Lineage, Outcome, Page, PartState, SlotState, SnapshotState, Store,
};

use crate::support::*;

const TABLE: &str = "_sqlx_migrations";

async fn steps() -> Migrator {
    Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").as_path()).await.unwrap()
}

async fn newest() -> i64 {
    steps().await.iter().map(|step| step.version).max().unwrap()
}

/// A history as the program of that version left it: each version's rows are written at that version, and migrated from there.
async fn history_of(version: i64, path: &Path) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.ensure_migrations_table(TABLE).await.unwrap();
    for step in steps().await.iter().filter(|step| step.version <= version) {
        connection.apply(TABLE, step).await.unwrap();
        let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/store/fixtures/v{}.sql", step.version));
        let rows = std::fs::read_to_string(&rows).unwrap_or_else(|error| panic!("{}: {error}", rows.display()));
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let sidecar = "00000000000000000042 11111111-1111-4111-8111-111111111111\n";
    std::fs::write(path.with_file_name("history.db.generation"), sidecar).unwrap();
}

#[tokio::test]
async fn every_earlier_version_is_brought_up_to_date_with_its_rows_and_a_copy_is_kept() {
    for version in 1..=newest().await {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        history_of(version, &path).await;
        let opened = Store::open(&path, &options(), at("2026-03-02T00:00:00Z")).await.unwrap();
        assert_eq!((opened.lineage, opened.restored_older), (Lineage::Continued, false), "version {version}");
        opened.store.check().await.unwrap();
        has_rows(&opened.store, version).await;
        match opened.migrated {
            None => assert_eq!(version, newest().await),
            Some(migrated) => {
                assert_eq!((migrated.from, migrated.to), (version, newest().await));
                let name = format!("history.db.v{version}-20260302T000000Z");
                assert_eq!(migrated.copy.file_name().unwrap().to_str(), Some(name.as_str()));
                is_old(&migrated.copy, version).await;
            }
        }
        opened.store.close().await.unwrap();
        assert_eq!(open(&path).await.migrated, None, "once");
    }
}

/// The copy is the old history: refused for reading by this program, and migrated by it when it is put back.
async fn is_old(copy: &Path, version: i64) {
    let error = Store::open_read_only(copy, &options()).await.unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found, .. } if found == version), "{error:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let path: PathBuf = elsewhere.path().join("history.db");
    std::fs::copy(copy, &path).unwrap();
    let put_back = open(&path).await;
    assert!(put_back.restored_older && put_back.migrated.is_some());
    has_slots(&put_back.store).await;
}

async fn has_rows(store: &Store, version: i64) {
    has_slots(store).await;
    if version >= 2 {
        has_runs(store).await;
    }
    if version >= 3 {
        has_snapshots(store).await;
    }
    if version >= 4 {
        has_events(store).await;
    }
    if version >= 5 {
        has_alarms(store).await;
    }
}

async fn has_slots(store: &Store) {
    assert_eq!(store.installation().await.unwrap().installation.as_deref(), Some("tokyo-1"));
    let slots = store.slots(Default::default(), Page::default()).await.unwrap().rows;
    let told: Vec<_> = slots.iter().map(|slot| (slot.due_at, slot.state)).collect();
    assert_eq!(told, [(hour(2), SlotState::Late), (hour(1), SlotState::Missed), (hour(0), SlotState::Claimed)]);
    assert_eq!(store.slots_without_run().await.unwrap().len(), 1);
    assert_eq!(store.cursors().await.unwrap()[0].last_due, Some(hour(2)));
    assert_eq!(store.pool(POOL).await.unwrap().unwrap().members.len(), 1);
    assert_eq!(store.find_vms("vm \"2\"").await.unwrap().len(), 1);
}

async fn has_runs(store: &Store) {
    let run = store.runs(Default::default(), Page::default()).await.unwrap().rows.remove(0);
    assert_eq!((run.outcome, run.jobs, run.done, run.failed), (Some(Outcome::Partial), 2, 1, 1));
    let jobs = store.jobs_of(run.id).await.unwrap();
    assert_eq!((jobs[0].state, jobs[0].attempts, jobs[1].state), (JobState::Done, 2, JobState::Unresolved));
    let attempt = store.attempt_by_nonce("aaaa00000001").await.unwrap().unwrap();
    assert_eq!((attempt.state, attempt.cause.unwrap().code.as_str()), (AttemptState::Refused, "VDI_IN_USE"));
    assert_eq!(store.open_attempts().await.unwrap().len(), 1);
}

async fn has_snapshots(store: &Store) {
    let present = store.present_snapshots(POOL).await.unwrap();
    assert_eq!(
        present.iter().map(|snapshot| snapshot.state).collect::<Vec<_>>(),
        [SnapshotState::Removing, SnapshotState::Durable]
    );
    assert_eq!((present[1].disks[0].virtual_size, present[1].pin_reason.as_deref()), (8 << 30, Some("before the upgrade")));
    assert!(present[1].job.is_some() && present[0].job.is_none());
    let due = store.removals_due(at("2026-03-02T00:00:00Z")).await.unwrap();
    assert_eq!((due[0].tries, due[0].parts[1].state), (3, PartState::Destroying));
}

async fn has_events(store: &Store) {
    let event = store.events(Default::default(), Page::default()).await.unwrap().rows.remove(0);
    assert_eq!((event.vm_name.as_deref(), event.data), (Some("vm \"2\""), json!({ "attempt": 3 })));
    assert_eq!(store.approvals(ApprovalState::Pending).await.unwrap().len(), 1);
    assert_eq!(store.kept("lease/epoch").await.unwrap(), Some(json!(7)));
}

async fn has_alarms(store: &Store) {
    let alarm = store.raised_alarms().await.unwrap().remove(0);
    assert_eq!((alarm.what.code.as_str(), alarm.what.vm.unwrap().1.as_str()), ("rpo-broken", "vm \"2\""));
    assert_eq!(store.alarms_to_tell(false).await.unwrap().len(), 1);
    let waiting = store.deliveries_waiting().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].delivery.attempts, waiting[0].delivery.channel.as_str()), (1, 3, "admins"));
    assert_eq!(store.coverings(POOL).await.unwrap()[0].vm, uuid::Uuid::from_u128(2));
}

#[tokio::test]
async fn a_second_migration_at_the_same_second_keeps_both_copies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut copies = Vec::new();
    for _ in 0..3 {
        history_of(1, &path).await;
        copies.push(open(&path).await.migrated.unwrap().copy);
        std::fs::remove_file(&path).unwrap();
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(path.with_file_name(format!("history.db{ending}")));
        }
    }
    copies.dedup();
    assert!(copies.len() == 3 && copies.iter().all(|copy| copy.exists()), "{copies:?}");
}

#[tokio::test]
async fn a_migration_without_room_for_the_copy_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    history_of(2, &path).await;
    let before = std::fs::read(&path).unwrap();
    // The hundred names a copy could have are taken: as good as no room, and portable.
    for n in 1..100 {
        let more = if n == 1 { String::new() } else { format!(".{n}") };
        std::fs::write(folder.path().join(format!("history.db.v2-20260301T020000Z{more}")), "").unwrap();
    }
    let error = Store::open(&path, &options(), hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::CopyExists { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_history_that_an_older_program_still_uses_is_not_migrated_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    history_of(3, &path).await;
    let before = std::fs::read(&path).unwrap();
    let sidecar = std::fs::File::open(path.with_file_name("history.db.generation")).unwrap();
    sidecar.lock_shared().unwrap();
    let error = Store::open(&path, &options(), hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 3, .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(sidecar);
    assert!(open(&path).await.migrated.is_some());
}

#[tokio::test]
async fn a_migration_that_another_programs_lock_forbids_says_so_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    history_of(2, &path).await;
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = Store::open(&path, &options(), hour(0)).await.unwrap_err();
    assert_eq!(error.condition(), Some(Condition::Locked), "{error:?}");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let opened = open(&path).await;
    assert_eq!(opened.migrated.unwrap().from, 2);
    let copies = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().contains(".v2-")
    });
    assert_eq!(copies.count(), 1, "a try in vain leaves no copy");
    has_rows(&opened.store, 2).await;
}
