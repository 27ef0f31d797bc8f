//! Opening: every file that cannot be used is refused with what to do, and is left as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use xensnap::store::{Condition, Error, EventKind, Lineage, NewEvent, Options, Page, Store};

use crate::support::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    (folder, path)
}

async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn refused(path: &Path) -> Error {
    Store::open(path, &options(), hour(0)).await.expect_err("it must be refused")
}

/// The names and contents of everything in a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn event(n: i64) -> NewEvent {
    NewEvent::new(hour(n), EventKind::Started, format!("event {n}: {}", "x".repeat(200)))
}

#[tokio::test]
async fn a_new_history_is_the_services_own() {
    let (folder, path) = folder();
    let opened = open(&path).await;
    assert_eq!((opened.lineage, opened.restored_older, opened.migrated), (Lineage::Created, false, None));
    assert!(opened.alone);
    opened.store.note_event(event(1)).await.unwrap();
    for (name, _) in contents(folder.path()) {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} can be read by others");
    }
    opened.store.close().await.unwrap();
    let names: Vec<_> = contents(folder.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["history.db", "history.db.generation"], "closing folds the log into the file");
}

#[tokio::test]
async fn what_was_written_is_there_after_closing_and_after_dropping() {
    let (_folder, path) = folder();
    for n in 0..6 {
        let opened = open(&path).await;
        assert_eq!(opened.lineage, if n == 0 { Lineage::Created } else { Lineage::Continued });
        opened.store.note_event(event(n)).await.unwrap();
        if n % 2 == 0 {
            opened.store.close().await.unwrap();
        }
    }
    let events = open(&path).await.store.events(Default::default(), Page::first(10)).await.unwrap();
    assert_eq!(events.rows.len(), 6);
}

#[tokio::test]
async fn a_closed_history_says_so() {
    let (_folder, path) = folder();
    let store = open(&path).await.store;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.note_event(event(1)).await, Err(Error::Closed)));
    assert!(matches!(store.pools().await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    for content in ["hello", "#!/bin/sh\nexit 0\n", "SQLite format 2\0 and so on", &"\u{1}".repeat(5000)] {
        let (folder, path) = folder();
        fs::write(&path, content).unwrap();
        let before = contents(folder.path());
        let error = refused(&path).await;
        assert!(matches!(error, Error::NotOurs { .. }), "{error:?}");
        assert!(error.to_string().contains("move this one away"), "{error}");
        assert_eq!(contents(folder.path()), before);
    }
}

#[tokio::test]
async fn a_history_that_others_may_write_or_exchange_is_refused_and_says_what_to_do() {
    let (folder, path) = folder();
    drop(open(&path).await);
    let set = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o620, 0o602] {
        set(&path, mode);
        let error = refused(&path).await.to_string();
        assert!(error.contains("chmod go-w") && error.contains("not touched"), "{error}");
    }
    set(&path, 0o640);
    set(folder.path(), 0o777);
    let error = refused(&path).await.to_string();
    assert!(error.contains(&format!("chmod o-w {}", folder.path().display())), "{error}");
    set(folder.path(), 0o1777);
    drop(open(&path).await);
}

#[tokio::test]
async fn garbage_behind_a_good_beginning_is_left_alone() {
    let (folder, path) = folder();
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.extend([0xa5; 8000]);
    fs::write(&path, &bytes).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error.condition(), Some(Condition::NotADatabase | Condition::Damaged)), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    drop(folder);
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let (folder, path) = folder();
    let mut other = raw(&path).await;
    sqlx::raw_sql("CREATE TABLE passwords (site TEXT, word TEXT); INSERT INTO passwords VALUES ('a', 'b');")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let before = contents(folder.path());
    let error = refused(&path).await;
    assert!(matches!(error, Error::NotOurs { .. }), "{error:?}");
    assert_eq!(contents(folder.path()), before);
    let error = Store::open_read_only(&path, &options()).await.unwrap_err();
    assert!(matches!(error, Error::NotOurs { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    open(&path).await.store.close().await.unwrap();
    let mut newer = raw(&path).await;
    let row =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', 1, x'00', 0)";
    sqlx::query(row).execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    for error in [refused(&path).await, Store::open_read_only(&path, &options()).await.unwrap_err()] {
        assert!(matches!(error, Error::NewerSchema { found: 99, .. }), "{error:?}");
        assert!(error.to_string().contains("install the newer xensnap"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_migration_of_a_different_build_is_refused() {
    let (_folder, path) = folder();
    open(&path).await.store.close().await.unwrap();
    let mut other = raw(&path).await;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, Error::ForeignMigration { version: 2, .. }), "{error:?}");
}

/// A closed history with a few hundred pages.
async fn filled(path: &Path) {
    let store = open(path).await.store;
    let notes = (0..2000).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.note_event(event(n)).await.unwrap() })
    });
    for note in notes.collect::<Vec<_>>() {
        note.await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_recognised_and_left_alone() {
    let (_folder, path) = folder();
    filled(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let error = refused(&path).await;
    assert_eq!(error.condition(), Some(Condition::Damaged), "{error:?}");
    assert!(error.to_string().contains("put a backup in its place"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);

    let unchecked = Options { check_below: 0, ..options() };
    let store = Store::open(&path, &unchecked, hour(0)).await.unwrap().store;
    assert_eq!(store.check().await.unwrap_err().condition(), Some(Condition::Damaged));
    let error = store.events(Default::default(), Page::first(1000)).await.map(|listed| listed.rows.len()).unwrap_err();
    assert_eq!(error.condition(), Some(Condition::Damaged), "damage that is met later is called by its name too: {error:?}");
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_recognised() {
    let (_folder, path) = folder();
    filled(&path).await;
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(refused(&path).await.condition(), Some(Condition::Damaged));
}

#[tokio::test]
async fn a_whole_file_checks_out() {
    let world = World::new().await;
    world.durable("nightly", hour(0), 1).await;
    world.store.check().await.unwrap();
}

#[tokio::test]
async fn a_locked_file_is_called_locked_and_works_again_afterwards() {
    let (_folder, path) = folder();
    let store = open(&path).await.store;
    let mut other = raw(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = store.note_event(event(1)).await.unwrap_err();
    assert_eq!(error.condition(), Some(Condition::Locked), "{error:?}");
    assert!(error.is_transient() && error.to_string().contains("another program holds the file"), "{error}");
    let second = refused(&path).await;
    assert_eq!(second.condition(), Some(Condition::Locked), "{second:?}");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.note_event(event(2)).await.unwrap();
    let events = store.events(Default::default(), Page::first(9)).await.unwrap().rows;
    assert_eq!(events.len(), 1, "what failed was not written");
}

#[tokio::test]
async fn a_log_without_its_database_is_not_thrown_away() {
    let (_folder, path) = folder();
    let wal = path.with_file_name("history.db-wal");
    fs::write(&wal, "writes that exist nowhere else").unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, Error::LogWithoutDatabase { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&wal).unwrap(), "writes that exist nowhere else");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let (folder, _) = folder();
    let error = refused(&folder.path().join("nowhere/history.db")).await;
    assert!(matches!(error, Error::File { .. }) && error.to_string().contains("nowhere"), "{error}");
    let error = refused(folder.path()).await;
    assert!(matches!(error, Error::File { .. }), "a folder is no file: {error:?}");
}

#[tokio::test]
async fn a_file_that_is_moved_while_in_use_takes_no_more_writes() {
    let (folder, path) = folder();
    let store = open(&path).await.store;
    let elsewhere = folder.path().join("moved.db");
    fs::rename(&path, &elsewhere).unwrap();
    let error = store.note_event(event(1)).await.unwrap_err();
    assert!(matches!(error, Error::Moved { .. }), "{error:?}");
    fs::copy(&elsewhere, &path).unwrap();
    let error = store.note_event(event(1)).await.unwrap_err();
    assert!(matches!(error, Error::Moved { .. }), "another file in its place is another file: {error:?}");
    fs::rename(&elsewhere, &path).unwrap();
    store.note_event(event(2)).await.unwrap();
}

#[tokio::test]
async fn names_of_files_are_names_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["file:x?mode=memory", "a b%20c#d?e=f", "höhe ☃.db", "-wal", ":memory:"] {
        let path = folder.path().join(name);
        let store = open(&path).await.store;
        store.note_event(event(1)).await.unwrap();
        store.close().await.unwrap();
        assert!(fs::metadata(&path).unwrap().len() > 0, "{name}");
        assert_eq!(open(&path).await.lineage, Lineage::Continued, "{name}");
    }
}

#[tokio::test]
async fn a_link_leads_to_the_same_history() {
    let (folder, path) = folder();
    open(&path).await.store.close().await.unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let opened = open(&link).await;
    assert_eq!((opened.lineage, opened.store.path()), (Lineage::Continued, path.canonicalize().unwrap().as_path()));
}

#[tokio::test]
async fn many_who_open_a_new_history_at_once_share_one() {
    let (_folder, path) = folder();
    let openers = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { Store::open(path, &patient(), hour(0)).await.unwrap() })
    });
    let mut lineages = Vec::new();
    let mut stores = Vec::new();
    for opened in openers.collect::<Vec<_>>() {
        let opened = opened.await.unwrap();
        opened.store.note_event(event(1)).await.unwrap();
        lineages.push(opened.lineage);
        stores.push(opened.store);
    }
    assert_eq!(lineages.iter().filter(|lineage| **lineage == Lineage::Created).count(), 1);
    assert!(lineages.iter().all(|lineage| !lineage.is_suspect()), "{lineages:?}");
    assert_eq!(stores[0].events(Default::default(), Page::first(99)).await.unwrap().rows.len(), 8);
}

#[tokio::test]
async fn reading_only_reads_while_another_writes_and_never_writes() {
    let world = World::new().await;
    let reader = Store::open_read_only(world.path(), &options()).await.unwrap();
    world.store.note_event(event(1)).await.unwrap();
    assert_eq!(reader.events(Default::default(), Page::first(9)).await.unwrap().rows.len(), 1);
    assert!(matches!(reader.note_event(event(2)).await, Err(Error::OpenedForReading)));
    let missing = world.folder.path().join("none.db");
    assert!(matches!(Store::open_read_only(&missing, &options()).await, Err(Error::File { .. })));
    assert!(!missing.exists());
}

#[test]
fn a_history_can_be_used_from_any_task() {
    fn is_send<T: Send>(_: T) {}
    let path = "/nowhere";
    is_send(Store::open(path, &options(), hour(0)));
    is_send(Store::open_read_only(path, &options()));
    let _uses = |store: &'static Store| {
        is_send(store.check());
        is_send(store.backup(path, hour(0)));
        is_send(store.jobs(Default::default(), Page::default()));
        is_send(store.note_event(event(0)));
        is_send(store.close());
    };
}

#[tokio::test]
async fn a_reader_sees_both_halves_of_a_change_or_none() {
    let world = World::new().await;
    let run = world.run("nightly", hour(0)).await;
    let jobs: Vec<_> = (0..50).map(|vm| job(vm, hour(0))).collect();
    let writing = tokio::spawn({
        let store = world.store.clone();
        async move { store.add_jobs(run.id, jobs, hour(0)).await.unwrap() }
    });
    loop {
        let seen = world.store.jobs_of(run.id).await.unwrap().len();
        assert!(seen == 0 || seen == 50, "{seen} of 50");
        if seen == 50 {
            break;
        }
    }
    writing.await.unwrap();
}

// What the file system refuses, seen by a child in a namespace of its own: without rights, or with a disk of its own.

#[test]
fn a_child_that_opens_and_writes() {
    let Some(path) = history_of_the_parent() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = match Store::open(&path, &options(), hour(0)).await {
            Ok(opened) => opened,
            Err(error) => return println!("opening: {:?}: {error}", error.condition()),
        };
        let mut acknowledged = 0;
        let error = loop {
            match opened.store.note_event(event(acknowledged)).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        println!("writing: {:?}: {error}", error.condition());
        println!("acknowledged {acknowledged}, there {}", count(&opened.store).await);
        if fs::remove_file(path.with_file_name("ballast")).is_ok() {
            opened.store.note_event(event(acknowledged)).await.unwrap();
            println!("goes on, there {}", count(&opened.store).await);
        }
    });
}

async fn count(store: &Store) -> i64 {
    let mut page = Page::first(1000);
    let mut count = 0;
    loop {
        let listed = store.events(Default::default(), page).await.unwrap();
        count += listed.rows.len() as i64;
        match listed.next {
            Some(next) => page = page.after(next),
            None => return count,
        }
    }
}

/// What the child says after `before` was done in its namespace. `None` where there are no namespaces to be had.
fn child(path: &Path, user: &str, before: &str) -> Option<String> {
    let this = std::env::current_exe().unwrap();
    let script = format!("{before} exec {} --exact opening::a_child_that_opens_and_writes --nocapture", this.display());
    let unshare =
        Command::new("unshare").args(["--mount", "--user", user, "sh", "-c", &script]).env("XENSNAP_TEST_HISTORY", path).output();
    let output = unshare.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("running 1 test") {
        return Some(text);
    }
    println!("skipped: no namespace here: {}", String::from_utf8_lossy(&output.stderr));
    None
}

#[tokio::test]
async fn a_read_only_file_system_is_called_so() {
    let (folder, path) = folder();
    filled(&path).await;
    let before = contents(folder.path());
    let folder_name = folder.path().display();
    let mount = format!("mount --bind {folder_name} {folder_name} && mount -o remount,ro,bind {folder_name} &&");
    let Some(said) = child(&path, "--map-root-user", &mount) else { return };
    assert!(said.contains("opening: Some(ReadOnly): ") && said.contains("remount the file system writable"), "{said}");
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test]
async fn a_folder_without_rights_is_called_so() {
    let (folder, path) = folder();
    filled(&path).await;
    let before = contents(folder.path());
    let modes = |file: u32, inside: u32| {
        for name in ["history.db", "history.db.generation"] {
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(file)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(inside)).unwrap();
    };
    for (file, inside) in [(0o400, 0o500), (0o600, 0o500), (0o400, 0o700), (0o000, 0o700)] {
        modes(file, inside);
        let said = child(&path, "--map-user=1000", "");
        modes(0o600, 0o700);
        let Some(said) = said else { return };
        assert!(said.contains("opening: Some(ReadOnly): "), "{file:o} in {inside:o}: {said}");
    }
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_full_disk_is_called_so_and_loses_nothing_and_goes_on_when_there_is_room() {
    let (folder, path) = folder();
    let name = folder.path().display();
    let mount =
        format!("mount -t tmpfs -o size=2m tmpfs {name} && dd if=/dev/zero of={name}/ballast bs=1k count=300 2>/dev/null &&");
    let Some(said) = child(&path, "--map-root-user", &mount) else { return };
    assert!(said.contains("writing: Some(Full): ") && said.contains("make room"), "{said}");
    let number = |label: &str| -> i64 {
        let rest = said.split_once(label).unwrap_or_else(|| panic!("{said}")).1;
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let acknowledged = number("acknowledged ");
    assert!(acknowledged > 50, "{said}");
    assert_eq!(number(", there "), acknowledged, "{said}");
    assert_eq!(number("goes on, there "), acknowledged + 1, "{said}");
}

#[test]
fn a_disk_without_room_for_a_new_history_is_called_so() {
    let (folder, path) = folder();
    let mount = format!("mount -t tmpfs -o size=64k tmpfs {} &&", folder.path().display());
    let Some(said) = child(&path, "--map-root-user", &mount) else { return };
    assert!(said.contains("opening: Some(Full): "), "{said}");
}

#[tokio::test]
async fn a_limit_on_file_sizes_loses_nothing() {
    let (_folder, path) = folder();
    let script = "trap '' XFSZ; ulimit -f 4000;";
    let Some(said) = child(&path, "--map-root-user", script) else { return };
    assert!(said.contains("writing: Some(Io): ") && said.contains("a limit on file sizes"), "{said}");
    let acknowledged = said.split_once("acknowledged ").unwrap().1.split_once(',').unwrap().0.parse::<i64>().unwrap();
    assert!(acknowledged > 100, "{said}");
    let opened = open(&path).await;
    assert!(!opened.restored_older);
    assert_eq!(count(&opened.store).await, acknowledged);
}
