//! The inventory follows the pool, notices what it missed, and shows one consistent state all the while.

use serde_json::json;
use tokio::sync::broadcast;

use super::fake::{Reply, failure};
use super::feed::{Feed, vm};
use super::*;
use xensnap::clock::HandClock;
use xensnap::xenapi::inventory::{Change, Follows};
use xensnap::xenapi::records::{EventClass, Vm};
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{Inventory, types};

const WAIT: Duration = Duration::from_secs(10);

async fn followed() -> (Arc<Host>, Arc<Feed>, Pool, Inventory) {
    let (host, pool) = pool().await;
    let feed = Feed::on(&host);
    feed.put("vm", "OpaqueRef:a", vm(1, "alpha"));
    feed.put("vm", "OpaqueRef:b", vm(2, "beta"));
    let inventory = pool.inventory(&[EventClass::Vm, EventClass::Vdi]);
    assert!(inventory.ready(WAIT).await);
    (host, feed, pool, inventory)
}

fn names(inventory: &Inventory) -> Vec<String> {
    let mut names: Vec<String> = inventory.read().all::<Vm>().map(|(_, vm)| vm.name_label.to_string()).collect();
    names.sort();
    names
}

async fn next(changes: &mut broadcast::Receiver<Change>) -> Change {
    tokio::time::timeout(WAIT, changes.recv()).await.expect("a change in time").unwrap()
}

#[tokio::test]
async fn what_is_there_is_read_once_and_changes_are_followed() {
    let (host, feed, _pool, inventory) = followed().await;
    let mut changes = inventory.changes();
    assert_eq!(names(&inventory), ["alpha", "beta"]);
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    assert_eq!(next(&mut changes).await, Change::Put(EventClass::Vm, Ref::new("OpaqueRef:c")));
    feed.put("vm", "OpaqueRef:a", vm(1, "renamed"));
    assert_eq!(next(&mut changes).await, Change::Put(EventClass::Vm, Ref::new("OpaqueRef:a")));
    feed.delete("vm", "OpaqueRef:b");
    assert_eq!(next(&mut changes).await, Change::Gone(EventClass::Vm, Ref::new("OpaqueRef:b")));
    assert_eq!(names(&inventory), ["gamma", "renamed"]);
    assert_eq!((feed.whole_readings(), host.count("VM.get_all_records")), (1, 0));
    let read = inventory.read();
    let uuid: types::Uuid<Vm> = "00000000-0000-0000-0000-000000000003".parse().unwrap();
    assert_eq!(read.by_uuid(&uuid).unwrap().0, &Ref::<Vm>::new("OpaqueRef:c"));
}

#[tokio::test]
async fn a_deletion_of_something_never_seen_is_no_change() {
    let (_, feed, _pool, inventory) = followed().await;
    let mut changes = inventory.changes();
    feed.delete("vm", "OpaqueRef:never");
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    assert_eq!(next(&mut changes).await, Change::Put(EventClass::Vm, Ref::new("OpaqueRef:c")));
}

#[tokio::test]
async fn deletions_that_were_lost_are_noticed_by_the_count() {
    let (_, feed, _pool, inventory) = followed().await;
    let mut changes = inventory.changes();
    feed.delete("vm", "OpaqueRef:b");
    feed.forget_deletions();
    feed.put("vm", "OpaqueRef:a", vm(1, "alpha"));
    while next(&mut changes).await != Change::Resynchronised {}
    assert_eq!(names(&inventory), ["alpha"]);
    assert_eq!(feed.whole_readings(), 2);
}

#[tokio::test]
async fn a_server_that_cannot_count_does_not_make_us_read_for_ever() {
    let (host, feed, _pool, inventory) = followed().await;
    feed.miscount_by(1);
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    let mut changes = inventory.changes();
    while next(&mut changes).await != Change::Resynchronised {}
    let polls = host.count("event.from");
    until("further polls", || host.count("event.from") >= polls + 2).await;
    for number in 0..5 {
        feed.put("vm", "OpaqueRef:c", vm(3, &format!("gamma{number}")));
        next(&mut changes).await;
    }
    assert_eq!(feed.whole_readings(), 2);
}

#[tokio::test]
async fn after_a_new_login_everything_is_read_anew() {
    let (host, feed, _pool, inventory) = followed().await;
    let mut changes = inventory.changes();
    let login = inventory.status().borrow().login;
    feed.delete("vm", "OpaqueRef:b");
    feed.forget_deletions();
    host.restart();
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    while next(&mut changes).await != Change::Resynchronised {}
    assert_eq!(names(&inventory), ["alpha", "gamma"]);
    assert_ne!(inventory.status().borrow().login, login);
}

#[tokio::test]
async fn an_older_database_is_noticed_by_its_token() {
    let (_, feed, _pool, inventory) = followed().await;
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    until("gamma came", || names(&inventory).len() == 3).await;
    let mut changes = inventory.changes();
    feed.delete("vm", "OpaqueRef:c");
    feed.forget_deletions();
    feed.put("vm", "OpaqueRef:d", vm(4, "delta"));
    feed.set_back(1);
    while next(&mut changes).await != Change::Resynchronised {}
    assert_eq!(names(&inventory), ["alpha", "beta", "delta"]);
}

#[tokio::test]
async fn a_token_the_server_does_not_read_is_thrown_away() {
    let (host, feed, _pool, inventory) = followed().await;
    let mut changes = inventory.changes();
    let refused = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // One refusal, then as before.
    host.on_later("event.from", move |rpc| {
        let refused = Arc::clone(&refused);
        async move {
            if !rpc.text(2).is_empty() && !refused.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return failure(&["EVENT_FROM_TOKEN_PARSE_FAILURE", rpc.text(2)]);
            }
            Reply::Value(json!({"events": [], "valid_ref_counts": {}, "token": "2,0"}))
        }
    });
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    while next(&mut changes).await != Change::Resynchronised {}
    assert_eq!(names(&inventory), Vec::<String>::new());
}

#[tokio::test]
async fn readers_see_the_old_state_until_the_new_one_is_complete() {
    let (host, feed, _pool, inventory) = followed().await;
    let mut status = inventory.status();
    // The next answer breaks off in the middle of its events.
    host.on("event.from", |rpc| match rpc.text(2) {
        "" => {
            let start =
                r#"{"jsonrpc":"2.0","result":{"events":[{"class":"vm","operation":"add","ref":"OpaqueRef:z","snapshot":{}"#;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\r\n", start.len() + 100);
            Reply::Raw([head.as_bytes(), start.as_bytes()].concat())
        }
        _ => failure(&["EVENT_FROM_TOKEN_PARSE_FAILURE", "x"]),
    });
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    until("another reading was tried", || host.count("event.from") >= 4).await;
    assert!(names(&inventory).len() >= 2);
    assert_eq!(status.borrow_and_update().synchronisations, 1);
}

#[tokio::test]
async fn without_events_everything_is_read_from_time_to_time() {
    let clock = HandClock::new(START);
    let host = Host::start().await;
    let pool = Pool::open(settings(&host), Arc::new(clock.clone())).unwrap();
    host.on("event.from", |_| failure(&["MESSAGE_METHOD_UNKNOWN", "event.from"]));
    let rows = Arc::new(std::sync::Mutex::new(json!({"OpaqueRef:a": vm(1, "alpha"), "OpaqueRef:b": vm(2, "beta")})));
    let served = Arc::clone(&rows);
    host.on("VM.get_all_records", move |_| Reply::Value(served.lock().unwrap().clone()));
    let inventory = pool.inventory(&[EventClass::Vm, EventClass::Vmss]);
    assert!(clock.run(inventory.ready(WAIT)).await);
    assert_eq!(names(&inventory), ["alpha", "beta"]);
    assert_eq!(inventory.status().borrow().follows, Follows::ByReading);
    let mut changes = inventory.changes();
    *rows.lock().unwrap() = json!({"OpaqueRef:a": vm(1, "alpha"), "OpaqueRef:c": vm(3, "gamma")});
    clock.advance(Duration::from_secs(61)).await;
    assert_eq!(next(&mut changes).await, Change::Put(EventClass::Vm, Ref::new("OpaqueRef:c")));
    assert_eq!(next(&mut changes).await, Change::Gone(EventClass::Vm, Ref::new("OpaqueRef:b")));
    assert_eq!(host.count("event.from"), 1);
}

#[tokio::test]
async fn a_pool_that_is_away_makes_the_state_stale_and_says_why() {
    let (host, _, _) = {
        let (host, pool) = pool().await;
        let feed = Feed::on(&host);
        (host, pool, feed)
    };
    let mut settings = settings(&host);
    settings.patience = Duration::ZERO;
    let feed = Feed::on(&host);
    feed.put("vm", "OpaqueRef:a", vm(1, "alpha"));
    let pool = open(settings);
    let inventory = pool.inventory(&[EventClass::Vm]);
    assert!(inventory.ready(WAIT).await);
    host.stop_listening();
    host.on("event.from", |_| Reply::Cut);
    host.on("pool.get_all", |_| Reply::Cut);
    feed.put("vm", "OpaqueRef:a", vm(1, "renamed"));
    let mut status = inventory.status();
    let stale = tokio::time::timeout(WAIT, status.wait_for(|status| matches!(status.follows, Follows::Stale(_)))).await.unwrap();
    let Follows::Stale(reason) = stale.unwrap().follows.clone() else { unreachable!() };
    assert!(!reason.is_empty());
    assert!(names(&inventory).len() == 1);
}

#[tokio::test]
async fn the_last_copy_ends_the_following() {
    let (host, feed, pool, inventory) = followed().await;
    drop(inventory.clone());
    until("waiting for events", || host.count("event.from") >= 2).await;
    drop(inventory);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let polls = host.count("event.from");
    feed.put("vm", "OpaqueRef:c", vm(3, "gamma"));
    pool.connected().await.unwrap();
    host.on("VM.get_all", |_| Reply::Value(json!([])));
    pool.call(read()).await.unwrap();
    assert_eq!(host.count("event.from"), polls);
}

#[tokio::test]
async fn snapshots_disks_and_chains_are_found() {
    let (_, feed, _pool, inventory) = followed().await;
    let mut changes = inventory.changes();
    let disk = |uuid: u32, parent: Option<u32>| {
        let mut disk = json!({
            "uuid": format!("00000000-0000-0000-0000-{uuid:012}"), "SR": "OpaqueRef:sr", "VBDs": [], "virtual_size": "8", "type": "user",
            "managed": true, "is_a_snapshot": false, "snapshot_of": "OpaqueRef:NULL",
        });
        if let Some(parent) = parent {
            disk["sm_config"] = json!({"vhd-parent": format!("00000000-0000-0000-0000-{parent:012}")});
        }
        disk
    };
    for (uuid, parent) in [(11, Some(12)), (12, Some(13)), (13, Some(99)), (21, Some(22)), (22, Some(21))] {
        feed.put("vdi", &format!("OpaqueRef:d{uuid}"), disk(uuid, parent));
    }
    let mut snapshot = vm(5, "snap");
    snapshot["is_a_snapshot"] = json!(true);
    snapshot["snapshot_of"] = json!("OpaqueRef:a");
    feed.put("vm", "OpaqueRef:s", snapshot);
    let mut alpha = vm(1, "alpha");
    alpha["snapshots"] = json!(["OpaqueRef:s", "OpaqueRef:gone"]);
    feed.put("vm", "OpaqueRef:a", alpha);
    while inventory.read().get(&Ref::<Vm>::new("OpaqueRef:a")).unwrap().snapshots.is_empty() {
        next(&mut changes).await;
    }
    let read = inventory.read();
    let snapshots = read.snapshots_of(&Ref::new("OpaqueRef:a"));
    assert_eq!(snapshots.iter().map(|(_, vm)| &*vm.name_label).collect::<Vec<_>>(), ["snap"]);
    let chains = xensnap::engine::chains::of(&read, (None, xensnap::domain::id::PoolUuid(uuid::Uuid::nil())));
    let depth = |disk: u32| chains.of(format!("00000000-0000-0000-0000-{disk:012}").parse().unwrap()).map(|chain| chain.depth);
    assert_eq!((depth(11), depth(13), depth(1)), (Some(3), Some(1), None));
    assert_eq!(depth(21), Some(2), "a circle ends");
}
