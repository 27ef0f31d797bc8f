//! Snapshots through tasks: taken, found again by their tag, removed with their disks.

use std::time::Duration;

use xensnap::xenapi::records::{PowerState, Task as TaskRecord, Vdi, Vm};
use xensnap::xenapi::types::{Ref, Void};
use xensnap::xenapi::wire::Wire;
use xensnap::xenapi::{Call, TaskError};

use super::support::{PATIENCE, RELEASES, a_vm, all, connected, own_disks, simulated, snapshot, wires};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_and_uninstalled_in_every_release_over_every_wire() {
    for (release, found) in RELEASES {
        let server = simulated(release).await;
        for wire in wires(found) {
            let pool = connected(&server, Some(wire)).await;
            let vm = a_vm(&pool).await;
            let taken = snapshot(&pool, &vm, "nightly é<&>").await;
            let record = all::<Vm>(&pool).await.remove(&taken).unwrap();
            assert!(record.is_a_snapshot && record.snapshot_of == vm, "{release} over {wire:?}");
            assert_eq!((&*record.name_label, &record.power_state), ("nightly é<&>", &PowerState::Halted));
            let disks = own_disks(&pool, &taken).await;
            assert!(!disks.is_empty());
            pool.call::<Void>(Call::mutating("VM.destroy").with(&taken)).await.unwrap();
            let left = all::<Vdi>(&pool).await;
            for disk in &disks {
                assert!(left[disk].is_a_snapshot, "VM.destroy leaves the disks, in {release}");
                pool.start::<Void>(Call::mutating("VDI.destroy").with(disk)).await.unwrap().finish(Some(PATIENCE)).await.unwrap();
            }
            let left = all::<Vdi>(&pool).await;
            assert!(disks.iter().all(|disk| !left.contains_key(disk)));
            assert!(all::<TaskRecord>(&pool).await.is_empty(), "every task was destroyed, in {release} over {wire:?}");
            pool.logout().await;
        }
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_says_what_the_server_said() {
    let server = simulated("26.17").await;
    let pool = connected(&server, None).await;
    let task = pool.start::<Ref<Vm>>(Call::mutating("VM.snapshot").with("OpaqueRef:nope").with("x")).await.unwrap();
    match task.finish(Some(PATIENCE)).await {
        Err(TaskError::Failed(refusal)) => assert_eq!(refusal.failure.code, "HANDLE_INVALID"),
        other => panic!("{other:?}"),
    }
    pool.logout().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_is_found_by_its_tag_and_picked_up_again() {
    let server = simulated("26.17").await;
    server.shared().step(|world| {
        world.storage.timings.scale = 1.0;
        world.storage.timings.set("VDI.snapshot", Duration::from_millis(1500));
    });
    let first = connected(&server, None).await;
    let vm = a_vm(&first).await;
    let call = Call::<Ref<Vm>>::mutating("VM.snapshot").with(&vm).with("tagged").tagged("xensnap-nonce", "abc123");
    drop(first.start(call).await.unwrap());
    first.logout().await;
    let second = connected(&server, None).await;
    let found = second.find_by_tag("xensnap-nonce", "abc123").await.unwrap();
    assert_eq!(found.len(), 1, "a logout does not end the call");
    let taken = second.pick_up::<Ref<Vm>>(found[0].reference.clone()).finish(Some(PATIENCE)).await.unwrap();
    assert_eq!(all::<Vm>(&second).await[&taken].snapshot_of, vm);
    second.logout().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_past_its_deadline_is_cancelled() {
    let server = simulated("26.17").await;
    server.shared().step(|world| {
        world.storage.timings.scale = 1.0;
        world.storage.timings.set("VDI.snapshot", Duration::from_secs(3));
    });
    let pool = connected(&server, None).await;
    let vm = a_vm(&pool).await;
    let before = all::<Vm>(&pool).await.len();
    let task = pool.start::<Ref<Vm>>(Call::mutating("VM.snapshot").with(&vm).with("slow")).await.unwrap();
    let ended = task.finish(Some(Duration::from_millis(200))).await;
    assert!(matches!(ended, Err(TaskError::Deadline { .. })), "{ended:?}");
    assert_eq!(all::<Vm>(&pool).await.len(), before, "a cancelled snapshot leaves nothing");
    pool.logout().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quiescing_is_refused_where_the_release_cannot() {
    for (release, expected) in [("26.17", "MESSAGE_REMOVED"), ("8.2", "MESSAGE_REMOVED")] {
        let server = simulated(release).await;
        let pool = connected(&server, Some(Wire::Json)).await;
        let vm = a_vm(&pool).await;
        let refused = pool.call::<Ref<Vm>>(Call::mutating("VM.snapshot_with_quiesce").with(&vm).with("q")).await;
        assert_eq!(super::support::code(refused), expected);
        pool.logout().await;
        server.shutdown().await;
    }
}
