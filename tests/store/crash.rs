//! SIGKILL at any moment: whatever was acknowledged is there afterwards, and the files can be opened.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use uuid::Uuid;
use xensnap::store::{EventKind, Lineage, NewEvent, NewRun, Page, SlotState, Store};

use crate::support::*;

const WRITERS: usize = 8;

#[test]
fn a_child_that_writes_intents_until_it_is_killed() {
    let Some(path) = history_of_the_parent() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&path, &patient(), hour(0)).await.unwrap().store;
        let writers = (0..WRITERS).map(|_| tokio::spawn(write_intents(store.clone())));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

async fn write_intents(store: Store) {
    loop {
        let due = hour(0) + chrono::TimeDelta::microseconds((Uuid::new_v4().as_u128() % (1 << 40)) as i64);
        let xensnap::store::Claim::Won(slot) = store.claim(slot("nightly", due, SlotState::Claimed), due).await.unwrap() else {
            continue;
        };
        let run = store.start_run(NewRun { slot, uuid: Uuid::new_v4(), observe: false }, due).await.unwrap();
        let job = store.add_jobs(run.id, vec![job(1, due)], due).await.unwrap().remove(0);
        let nonce = nonce();
        store.write_intent(job.id, &nonce, MASTER_START, due).await.unwrap();
        println!("intent {nonce}");
    }
}

fn start(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "crash::a_child_that_writes_intents_until_it_is_killed", "--nocapture"]);
    child.env("XENSNAP_TEST_HISTORY", path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets the child acknowledge `most` intents, kills it, and returns every intent it had acknowledged by then.
fn acknowledged(path: &Path, most: usize) -> Vec<String> {
    let mut child = start(path);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut intents: Vec<String> = said.by_ref().filter_map(intent).take(most).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died and we had not read yet; the last line may be cut off.
    intents.extend(said.filter_map(intent).filter(|nonce| nonce.len() == 12));
    assert!(intents.len() >= most, "the child ended by itself");
    intents
}

fn intent(line: String) -> Option<String> {
    Some(line.split_once("intent ")?.1.to_owned())
}

#[tokio::test]
async fn every_acknowledged_intent_survives_sigkill() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let mut all = Vec::new();
    for (lives, most) in (1..).zip([1, 7, 60, 400]) {
        all.extend(acknowledged(&world.path(), most));
        let opened = open(&world.path()).await;
        assert_eq!((opened.lineage, opened.restored_older), (Lineage::Continued, false));
        opened.store.check().await.unwrap();
        for nonce in &all {
            assert!(opened.store.attempt_by_nonce(nonce).await.unwrap().is_some(), "{nonce} was acknowledged and is gone");
        }
        let slots = opened.store.slots_without_run().await.unwrap();
        // Each life leaves at most what its writers were at, and no life goes on with what an earlier one left.
        assert!(slots.len() <= lives * WRITERS, "what was begun and not ended is found: {}", slots.len());
        opened.store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_process_killed_beside_another_that_goes_on_harms_nobody() {
    let world = World::new().await;
    let intents = acknowledged(&world.path(), 20);
    world.store.note_event(NewEvent::new(hour(1), EventKind::Started, "")).await.unwrap();
    for nonce in &intents {
        assert!(world.store.attempt_by_nonce(nonce).await.unwrap().is_some());
    }
}

/// What a power failure leaves of a log whose end was not on disk yet.
#[tokio::test]
async fn a_log_that_was_cut_off_anywhere_opens_and_says_what_is_missing() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    acknowledged(&world.path(), 30);
    let wal = world.folder.path().join("history.db-wal");
    let whole = fs::read(&wal).unwrap();
    assert!(whole.len() > 100_000, "the child was killed with a log");
    let kept: Vec<_> =
        ["history.db", "history.db.generation"].map(|name| (name, fs::read(world.folder.path().join(name)).unwrap())).into();
    let mut before = None;
    for cut in [whole.len(), whole.len() - 1, whole.len() - 5000, whole.len() / 2, whole.len() / 3 + 17, 4096, 40, 1, 0] {
        for (name, bytes) in &kept {
            fs::write(world.folder.path().join(name), bytes).unwrap();
        }
        let _ = fs::remove_file(world.folder.path().join("history.db-shm"));
        fs::write(&wal, &whole[..cut]).unwrap();
        let opened = open(&world.path()).await;
        opened.store.check().await.unwrap();
        let missing = match opened.lineage {
            Lineage::Continued => 0,
            Lineage::OlderCopy { missing } => missing,
            other => panic!("{cut}: {other:?}"),
        };
        assert_eq!(opened.restored_older, missing > 0, "{cut}");
        assert!(before.is_none_or(|before| missing >= before), "less of the log, less of the history");
        before = Some(missing);
        opened.store.close().await.unwrap();
    }
    assert!(before.unwrap() >= 10, "at last the whole log was missing, and that was said");
}

/// Killed, an older copy put in place, and the log of the newer one still there.
#[tokio::test]
async fn the_log_of_a_replaced_history_is_moved_aside_and_not_applied_to_the_older_copy() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let old = world.folder.path().join("old.db");
    fs::copy(world.path(), &old).unwrap();
    acknowledged(&world.path(), 40);
    // Opening folds the log into the file, so that the next log no longer fits the old copy.
    drop(open(&world.path()).await.store.close().await);
    let intents = acknowledged(&world.path(), 40);
    let log = fs::read(world.folder.path().join("history.db-wal")).unwrap();
    fs::copy(&old, world.path()).unwrap();

    let opened = open(&world.path()).await;
    assert!(matches!(opened.lineage, Lineage::OlderCopy { missing } if missing >= 20), "{:?}", opened.lineage);
    assert!(opened.restored_older);
    opened.store.check().await.unwrap();
    assert_eq!(fs::read(opened.log.unwrap()).unwrap(), log, "it is kept: it holds what exists nowhere else");
    assert_eq!(opened.store.attempt_by_nonce(&intents[0]).await.unwrap(), None);
    assert_eq!(opened.store.slots(Default::default(), Page::first(9)).await.unwrap().rows, []);
}

/// The same within one life of the daemon: the copy was made while it ran, and it folded its log since.
#[tokio::test]
async fn a_copy_of_the_running_file_from_before_the_log_was_folded_is_told_from_the_present_one() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let store = open(&world.path()).await.store;
    let write = async |count: i64| {
        for n in 0..count {
            let event = NewEvent::new(hour(n), EventKind::Started, "x".repeat(3000));
            store.note_event(event).await.unwrap();
        }
    };
    write(10).await;
    let old = world.folder.path().join("old.db");
    fs::copy(world.path(), &old).unwrap();
    write(600).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("history.db");
    // What the disk would hold if the machine stopped now, with the old copy in place of the file.
    for ending in ["-wal", ".generation"] {
        fs::copy(world.folder.path().join(format!("history.db{ending}")), elsewhere.path().join(format!("history.db{ending}")))
            .unwrap();
    }
    fs::copy(world.path(), &path).unwrap();
    let present = open(&path).await;
    assert_eq!((present.lineage, present.log), (Lineage::Continued, None));
    present.store.close().await.unwrap();

    for ending in ["-wal", ".generation"] {
        fs::copy(world.folder.path().join(format!("history.db{ending}")), elsewhere.path().join(format!("history.db{ending}")))
            .unwrap();
    }
    fs::copy(&old, &path).unwrap();
    let replaced = open(&path).await;
    assert!(replaced.log.is_some() && matches!(replaced.lineage, Lineage::OlderCopy { .. }), "{:?}", replaced.lineage);
    replaced.store.check().await.unwrap();
}

/// A migration that is interrupted is finished by the next start.
#[tokio::test]
async fn a_new_history_whose_making_was_interrupted_is_made_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    fs::write(&path, "").unwrap();
    fs::write(folder.path().join("history.db.generation"), "").unwrap();
    let opened = open(&path).await;
    assert_eq!((opened.lineage, opened.restored_older), (Lineage::Created, false));
}
