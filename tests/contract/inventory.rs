//! The inventory shows what the server has: at the start, after every change, and after what it did not see.

use xensnap::simulator::value::Value;
use xensnap::xenapi::records::{EventClass, Host, PowerState, Sr, Vbd, Vdi, Vm};
use xensnap::xenapi::types::{Class, Void};
use xensnap::xenapi::{Call, Inventory, Pool};

use super::support::{PATIENCE, RELEASES, a_vm, all, connected, own_disks, simulated, snapshot};

const CLASSES: [EventClass; 6] =
    [EventClass::Pool, EventClass::Host, EventClass::Vm, EventClass::Vbd, EventClass::Vdi, EventClass::Sr];

async fn following(pool: &Pool) -> Inventory {
    let inventory = pool.inventory_reading_every(&CLASSES, std::time::Duration::from_millis(100));
    assert!(inventory.ready(PATIENCE).await);
    inventory
}

/// Waits until the inventory shows `wanted`.
async fn until(inventory: &Inventory, what: &str, wanted: impl Fn(&Inventory) -> bool) {
    let mut status = inventory.status();
    let shown = async {
        while !wanted(inventory) {
            status.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("the inventory never shows {what}"));
}

macro_rules! equal_to_reads {
    ($pool:ident $inventory:ident $($class:ident)*) => {$(
        let read = all::<$class>(&$pool).await;
        let shown = $inventory.read().all::<$class>().map(|(r, record)| (r.clone(), (**record).clone())).collect();
        assert_eq!(read, shown, "{} differs", $class::NAME);
    )*};
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_snapshot_from_its_birth_to_its_end_in_every_release() {
    for (release, _) in RELEASES {
        let server = simulated(release).await;
        let pool = connected(&server, None).await;
        let inventory = following(&pool).await;
        equal_to_reads!(pool inventory Host Vm Vbd Vdi Sr);
        let vm = a_vm(&pool).await;
        let taken = snapshot(&pool, &vm, "followed").await;
        until(&inventory, "the snapshot", |inventory| {
            inventory.read().get(&taken).is_some_and(|vm| vm.current_operations.is_empty())
        })
        .await;
        assert!(inventory.read().snapshots_of(&vm).iter().any(|(reference, _)| *reference == taken), "{release}");
        let disks = own_disks(&pool, &taken).await;
        pool.call::<Void>(Call::mutating("VM.destroy").with(&taken)).await.unwrap();
        for disk in &disks {
            pool.call::<Void>(Call::mutating("VDI.destroy").with(disk)).await.unwrap();
        }
        until(&inventory, "that it is gone", |inventory| {
            let view = inventory.read();
            view.get(&taken).is_none() && disks.iter().all(|disk| view.get(disk).is_none())
        })
        .await;
        pool.logout().await;
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_deletions_that_the_server_forgot_to_tell() {
    let server = simulated("26.17").await;
    server.shared().step(|world| world.database.keep_deletions(1));
    let pool = connected(&server, None).await;
    let inventory = following(&pool).await;
    // All at once, so that no look lies between them.
    let gone: Vec<_> = server.shared().step(|world| {
        let snapshots: Vec<_> =
            world.database.refs("VM").into_iter().filter(|vm| world.database.bool("VM", vm, "is_a_snapshot")).collect();
        for vm in &snapshots {
            world.database.destroy("VM", vm);
        }
        snapshots
    });
    assert!(gone.len() > 4, "the recipe makes too few snapshots for this test");
    let read = all::<Vm>(&pool).await.len();
    until(&inventory, "the deletions", |inventory| inventory.read().count(&EventClass::Vm) == read).await;
    pool.logout().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_anew_when_the_session_ends() {
    let server = simulated("26.17").await;
    let pool = connected(&server, None).await;
    let inventory = following(&pool).await;
    let read = inventory.status().borrow().synchronisations;
    let vm = a_vm(&pool).await;
    let sessions = server.shared().step(|world| world.database.refs("session"));
    for session in sessions {
        server.shared().step(|world| xensnap::simulator::sessions::end(world, &session));
    }
    server.shared().step(|world| world.database.set("VM", &vm.to_string(), "power_state", Value::str("Suspended"))).unwrap();
    until(&inventory, "the new state", |inventory| {
        inventory.read().get(&vm).is_some_and(|vm| vm.power_state == PowerState::Suspended)
            && inventory.status().borrow().synchronisations > read
    })
    .await;
    pool.logout().await;
    server.shutdown().await;
}
