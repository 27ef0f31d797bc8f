//! Copies: consistent while others write, readable, private, and never over something else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use xensnap::store::{Condition, Error, EventKind, NewEvent, Options, Page, Store};

use crate::support::*;

#[tokio::test]
async fn a_copy_made_while_others_write_is_consistent_and_complete_up_to_a_moment() {
    let world = World::new().await;
    let writing = tokio::spawn({
        let store = world.store.clone();
        async move {
            for n in 0..400 {
                store.note_event(NewEvent::new(hour(n), EventKind::Started, format!("{n}"))).await.unwrap();
            }
        }
    });
    let mut counts = Vec::new();
    for n in 0..5 {
        let target = world.folder.path().join(format!("copy-{n}.db"));
        let copied = world.store.backup(&target, hour(n)).await.unwrap();
        assert_eq!((copied.bytes, copied.path.as_path()), (fs::metadata(&target).unwrap().len(), target.as_path()));
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = Store::open_read_only(&target, &options()).await.unwrap();
        copy.check().await.unwrap();
        let mut ids: Vec<_> =
            copy.events(Default::default(), Page::first(1000)).await.unwrap().rows.iter().map(|e| e.id.0).collect();
        ids.reverse();
        assert!(ids.iter().copied().eq(1..=ids.len() as i64), "no gap: {ids:?}");
        counts.push(ids.len());
    }
    assert!(counts.is_sorted(), "{counts:?}");
    writing.await.unwrap();
}

#[tokio::test]
async fn a_copy_is_never_made_over_a_file() {
    let world = World::new().await;
    let target = world.folder.path().join("precious");
    fs::write(&target, "something else").unwrap();
    let error = world.store.backup(&target, hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::CopyExists { .. }) && error.to_string().contains("name another file"), "{error:?}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "something else");
    let error = world.store.backup(world.path(), hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::CopyExists { .. }), "least of all over the history itself: {error:?}");
    world.store.check().await.unwrap();
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing_behind() {
    let world = World::new().await;
    let error = world.store.backup(world.folder.path().join("no/such/folder/copy.db"), hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    // A damaged source: found when the copy is made or read back.
    for n in 0..400 {
        let event = NewEvent::new(hour(n), EventKind::Started, "x".repeat(3000));
        world.store.note_event(event).await.unwrap();
    }
    world.store.close().await.unwrap();
    let mut bytes = fs::read(world.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(world.path(), bytes).unwrap();
    let unchecked = Options { check_below: 0, ..options() };
    let store = Store::open(world.path(), &unchecked, hour(0)).await.unwrap().store;
    let target = world.folder.path().join("copy.db");
    let error = store.backup(&target, hour(0)).await.unwrap_err();
    assert_eq!(error.condition(), Some(Condition::Damaged), "{error:?}");
    let names: Vec<_> = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_str().unwrap().contains("copy")), "{names:?}");
}

#[tokio::test]
async fn a_reader_can_make_a_copy_too() {
    let world = World::new().await;
    let reader = Store::open_read_only(world.path(), &options()).await.unwrap();
    let target = world.folder.path().join("copy.db");
    reader.backup(&target, hour(0)).await.unwrap();
    assert_eq!(Store::open_read_only(&target, &options()).await.unwrap().policies().await.unwrap().len(), 2);
}
