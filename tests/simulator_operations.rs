//! What operations do to the simulated pool: the server's semantics, its traps included.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod pool;

use std::time::Duration;

use pool::{DISC, EXT, GIB, HOST, LVM, NFS, Pool, add_cd, add_vm, refusal, t, world};
use xensnap::simulator::codec::Rpc;
use xensnap::simulator::model::{Release, release};
use xensnap::simulator::storage::content::Block;
use xensnap::simulator::value::{NULL, Ref, Value};
use xensnap::simulator::world::World;

const VM: &str = "OpaqueRef:vm";

fn one_vm(srs: &[&str]) -> World {
    let mut world = world(Release::NEWEST, 1);
    add_vm(&mut world, "vm", srs);
    world
}

fn none() -> Rpc {
    Rpc::List(vec![])
}

async fn snapshot(pool: &Pool, name: &str) -> Ref {
    pool.make("VM.snapshot", vec![t(VM), t(name), none()]).await
}

async fn start(pool: &Pool, vm: &str) {
    pool.call("VM.start", vec![t(vm), Rpc::Bool(false), Rpc::Bool(false)]).await.unwrap();
}

fn disk_number(pool: &Pool, vm: &str, device: &str) -> String {
    pool.disks(vm).into_iter().find(|(number, _)| number == device).unwrap().1
}

fn messages(pool: &Pool) -> Vec<(String, String)> {
    pool.look(|world| world.messages.iter().map(|message| (message.name.to_string(), message.body.to_string())).collect())
}

#[tokio::test]
async fn a_snapshot_inherits_marks_and_shares_the_disc() {
    let mut world = one_vm(&[EXT, NFS]);
    add_cd(&mut world, "vm");
    world.database.put("VM", VM, "other_config", "xensnap", Value::str("mark")).unwrap();
    world.database.put("VM", VM, "blocked_operations", "destroy", Value::str("no")).unwrap();
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    let made = snapshot(&pool, "s").await;
    assert_eq!(pool.look(|world| world.database.map_text("VM", &made, "other_config", "xensnap")).as_deref(), Some("mark"));
    assert_eq!(pool.texts("VM", &made, "tags"), ["nightly".into()]);
    assert!(pool.look(|world| world.database.get("VM", &made, "blocked_operations").unwrap().members().is_empty()));
    assert_eq!(pool.text("VM", &made, "power_state"), "Halted");
    let info = pool.look(|world| world.database.map_text("VM", &made, "snapshot_info", "power-state-at-snapshot"));
    assert_eq!(info.as_deref(), Some("Running"));
    let disc = pool.look(|world| {
        let vbds = world.database.texts("VM", &made, "VBDs");
        let cd = vbds.into_iter().find(|vbd| &*world.database.text("VBD", vbd, "type") == "CD").unwrap();
        world.database.text("VBD", &cd, "VDI")
    });
    assert_eq!(&*disc, DISC);
    let uuid = pool.text("VM", VM, "uuid");
    let body = format!("VM 'vm' (uuid: {uuid}) snapshotted, snapshot name: s");
    assert_eq!(messages(&pool).last().unwrap(), &("VM_SNAPSHOTTED".to_owned(), body));
}

#[tokio::test]
async fn disks_that_are_ignored_are_left_out_and_lost_by_a_revert() {
    let pool = Pool::start(one_vm(&[EXT, EXT])).await;
    let ignored = Rpc::List(vec![t("OpaqueRef:vm-1")]);
    let made = pool.make("VM.snapshot", vec![t(VM), t("s"), ignored]).await;
    assert_eq!(pool.disks(&made).len(), 1);
    pool.call("VM.revert", vec![t(&made)]).await.unwrap();
    assert_eq!(pool.disks(VM).len(), 1);
    assert!(pool.exists("VDI", "OpaqueRef:vm-1"), "the disk is left behind, attached nowhere");
}

#[tokio::test]
async fn a_release_without_ignored_disks_takes_two_parameters() {
    let mut world = world(release("8.2"), 1);
    add_vm(&mut world, "vm", &[EXT]);
    let pool = Pool::start(world).await;
    let refused = pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await;
    assert_eq!(refusal(refused).0, "MESSAGE_PARAMETER_COUNT_MISMATCH");
    pool.call("VM.snapshot", vec![t(VM), t("s")]).await.unwrap();
}

#[tokio::test]
async fn when_a_disk_fails_those_before_it_are_destroyed_and_the_inner_task_stays() {
    let mut world = one_vm(&[EXT, NFS]);
    world.database.set("SR", EXT, "physical_utilisation", Value::Int(200 * GIB)).unwrap();
    let pool = Pool::start(world).await;
    let before = pool.look(|world| world.database.count("VDI"));
    let task = pool.make("Async.VM.snapshot", vec![t(VM), t("s"), none()]).await;
    pool.wait(5).await;
    assert_eq!(pool.text("task", &task, "status"), "failure");
    assert_eq!(pool.texts("task", &task, "error_info")[0], "SR_BACKEND_FAILURE_44".into());
    let inner = pool.texts("task", &task, "subtasks");
    assert_eq!(inner.len(), 1);
    assert_eq!(pool.text("task", &inner[0], "name_label"), "Async.VDI.snapshot");
    assert_eq!(pool.text("task", &inner[0], "status"), "failure");
    assert_eq!(pool.look(|world| world.database.count("VM")), 1);
    let managed =
        pool.look(|world| world.database.refs("VDI").iter().filter(|vdi| world.database.bool("VDI", vdi, "managed")).count());
    assert_eq!(managed, before - 1 + 1, "disc and disks as before");
    assert!(pool.look(|world| world.database.get("VM", VM, "current_operations").unwrap().members().is_empty()));
}

#[tokio::test]
async fn a_task_shows_its_disks_one_after_another() {
    let mut world = one_vm(&[EXT, NFS]);
    world.storage.timings.set("VDI.snapshot", Duration::from_secs(10));
    let pool = Pool::start(world).await;
    let task = pool.make("Async.VM.snapshot", vec![t(VM), t("s"), none()]).await;
    let progress = |pool: &Pool| pool.look(|world| world.database.get("task", &task, "progress").cloned());
    pool.wait(1).await;
    assert_eq!(progress(&pool), Some(Value::Float(0.0)));
    assert_eq!(pool.texts("task", &task, "allowed_operations"), ["cancel".into()]);
    assert_eq!(pool.texts("task", &task, "subtasks").len(), 1);
    assert_eq!(pool.texts("VM", VM, "allowed_operations"), ["snapshot".into()]);
    pool.wait(12).await;
    assert_eq!(progress(&pool), Some(Value::Float(0.5)));
    pool.wait(12).await;
    assert_eq!(pool.text("task", &task, "status"), "success");
    assert!(pool.texts("task", &task, "subtasks").is_empty(), "inner tasks that succeeded are gone");
}

#[tokio::test]
async fn a_cancelled_snapshot_leaves_nothing_but_the_marker_of_who_cancelled() {
    let mut world = one_vm(&[EXT, NFS]);
    world.storage.timings.set("VDI.snapshot", Duration::from_secs(2));
    let pool = Pool::start(world).await;
    let task = pool.make("Async.VM.snapshot", vec![t(VM), t("to cancel"), none()]).await;
    pool.wait(1).await;
    pool.call("task.cancel", vec![t(&task)]).await.unwrap();
    assert_eq!(pool.text("task", &task, "status"), "pending");
    pool.wait(30).await;
    assert_eq!(pool.text("task", &task, "status"), "cancelled");
    assert!(pool.texts("task", &task, "error_info").is_empty());
    assert!(pool.texts("task", &task, "subtasks").is_empty(), "the disk in work was finished and thrown away");
    assert_eq!(pool.look(|world| world.database.count("VM")), 1);
    assert!(pool.texts("VM", VM, "snapshots").is_empty());
}

#[tokio::test]
async fn a_cancel_that_comes_before_a_disk_leaves_its_inner_task_cancelled() {
    let mut world = one_vm(&[EXT]);
    world.storage.timings.set("VM.suspend", Duration::from_secs(5));
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    let task = pool.make("Async.VM.checkpoint", vec![t(VM), t("cp")]).await;
    pool.wait(3).await;
    pool.call("task.cancel", vec![t(&task)]).await.unwrap();
    pool.wait(60).await;
    assert_eq!(pool.text("task", &task, "status"), "cancelled");
    assert_eq!(pool.text("VM", VM, "power_state"), "Running", "the guest runs on");
    let inner = pool.texts("task", &task, "subtasks");
    assert_eq!(inner.len(), 1);
    assert_eq!(pool.text("task", &inner[0], "name_label"), "Async.VDI.snapshot");
    assert_eq!(pool.text("task", &inner[0], "status"), "cancelled");
    assert_eq!(
        pool.look(|world| world.database.map_text("task", &inner[0], "current_operations", &task)).as_deref(),
        Some("cancel")
    );
}

#[tokio::test]
async fn destroying_a_snapshot_leaves_its_disks_and_its_memory() {
    let pool = Pool::start(one_vm(&[EXT, NFS])).await;
    start(&pool, VM).await;
    let made = pool.make("VM.checkpoint", vec![t(VM), t("cp")]).await;
    assert_eq!(pool.text("VM", &made, "power_state"), "Suspended");
    assert_eq!(pool.text("VM", VM, "power_state"), "Running");
    assert_eq!(pool.text("VM", VM, "suspend_VDI"), NULL);
    let image = pool.text("VM", &made, "suspend_VDI");
    let disks = pool.disks(&made);
    pool.call("VM.destroy", vec![t(&made)]).await.unwrap();
    assert!(!pool.exists("VM", &made));
    assert!(pool.exists("VDI", &image));
    assert!(disks.iter().all(|(_, disk)| pool.exists("VDI", disk)));
    assert!(messages(&pool).iter().any(|(name, _)| name == "VM_CHECKPOINTED"));
    assert!(!messages(&pool).iter().any(|(name, _)| name == "VM_SUSPENDED"));
}

#[tokio::test]
async fn a_checkpoint_needs_a_guest_that_lives_and_a_licence() {
    let pool = Pool::start(one_vm(&[EXT])).await;
    let halted = refusal(pool.call("VM.checkpoint", vec![t(VM), t("cp")]).await);
    let expected = ["OpaqueRef:vm", "paused, suspended, running", "halted"].map(str::to_owned).to_vec();
    assert_eq!(halted, ("VM_BAD_POWER_STATE".to_owned(), expected));
    pool.look(|world| {
        world.database.put("pool", "OpaqueRef:pool", "restrictions", "restrict_checkpoint", Value::str("true")).unwrap();
    });
    let unlicensed = refusal(pool.call("VM.checkpoint", vec![t(VM), t("cp")]).await);
    assert_eq!(unlicensed, ("LICENCE_RESTRICTION".to_owned(), vec!["Checkpoint".to_owned()]));
}

#[tokio::test]
async fn two_checkpoints_on_one_host_never_overlap() {
    let mut world = one_vm(&[EXT]);
    add_vm(&mut world, "other", &[NFS]);
    world.storage.timings.set("VM.suspend", Duration::from_secs(10));
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    start(&pool, "OpaqueRef:other").await;
    let first = pool.make("Async.VM.checkpoint", vec![t(VM), t("cp")]).await;
    let second = pool.make("Async.VM.checkpoint", vec![t("OpaqueRef:other"), t("cp")]).await;
    pool.wait(5).await;
    assert_eq!(pool.text("VM", "OpaqueRef:other", "power_state"), "Running", "the second one waits");
    let locked = pool.look(|world| world.database.get("VM", "OpaqueRef:other", "current_operations").unwrap().members().len());
    assert_eq!(locked, 1, "with its VM locked");
    pool.wait(40).await;
    for task in [first, second] {
        assert_eq!(pool.text("task", &task, "status"), "success");
    }
}

#[tokio::test]
async fn a_revert_makes_new_disks_and_brings_settings_back_but_not_tags() {
    let pool = Pool::start(one_vm(&[EXT, EXT])).await;
    let first = snapshot(&pool, "one").await;
    let second = snapshot(&pool, "two").await;
    let old = pool.disks(VM);
    pool.call("VM.set_name_label", vec![t(VM), t("renamed")]).await.unwrap();
    pool.call("VM.add_tags", vec![t(VM), t("new tag")]).await.unwrap();
    pool.call("VM.revert", vec![t(&first)]).await.unwrap();
    assert_eq!(pool.text("VM", VM, "name_label"), "vm");
    assert_eq!(pool.texts("VM", VM, "tags").len(), 2);
    let new = pool.disks(VM);
    assert!(old.iter().all(|(_, disk)| !pool.exists("VDI", disk)));
    for (device, disk) in &new {
        for snapshot in [&first, &second] {
            let of = pool.text("VDI", &disk_number(&pool, snapshot, device), "snapshot_of");
            assert_eq!(&of, disk, "all snapshots of the disk follow it");
        }
    }
    assert_eq!(pool.text("VM", VM, "parent"), *first);
    let body = messages(&pool).pop().unwrap().1;
    assert!(body.ends_with(&format!("reverted to snapshot: one (uuid {})", pool.text("VM", &first, "uuid"))), "{body}");
}

#[tokio::test]
async fn what_becomes_of_a_disk_added_after_the_snapshot_depends_on_the_release() {
    for (shown, kept) in [("6.1", false), ("8.2", true)] {
        let mut world = world(release(shown), 1);
        add_vm(&mut world, "vm", &[EXT]);
        let pool = Pool::start(world).await;
        let made = pool.make("VM.snapshot", vec![t(VM), t("s")]).await;
        let added = pool.look(|world| {
            let fields = [
                ("managed", Value::Bool(true)),
                ("SR", Value::str(EXT)),
                ("virtual_size", Value::Int(GIB)),
                ("uuid", Value::str("u-added")),
            ];
            let added = world.database.create("VDI", "OpaqueRef:added", fields);
            xensnap::simulator::operations::vbd::attach_new_disk(world, &VM.into(), &added, "5", false);
            added
        });
        pool.call("VM.revert", vec![t(&made)]).await.unwrap();
        assert_eq!(pool.exists("VDI", &added), kept, "{shown}");
        assert_eq!(pool.disks(VM).len(), 1);
    }
}

#[tokio::test]
async fn storage_that_can_reverts_in_place() {
    let mut world = one_vm(&[EXT]);
    world
        .database
        .update("SM", "OpaqueRef:sm-ext", "capabilities", |set| {
            if let Value::Set(items) = set {
                items.push(Value::str("VDI_REVERT"));
            }
        })
        .unwrap();
    let pool = Pool::start(world).await;
    let made = snapshot(&pool, "s").await;
    let frozen = pool.look(|world| {
        (0..64).map(|n| world.storage.read_block(&world.database.text("VDI", &disk(world, &made), "uuid"), n)).collect::<Vec<_>>()
    });
    start(&pool, VM).await;
    pool.look(|world| world.storage.written_per_day = 10.0);
    pool.wait(80_000).await;
    pool.call("VM.revert", vec![t(&made)]).await.unwrap();
    assert_eq!(pool.disks(VM)[0].1, "OpaqueRef:vm-0", "the disk kept its reference");
    let back = pool.look(|world| (0..64).map(|n| world.storage.read_block("u-vm-0", n)).collect::<Vec<_>>());
    assert_eq!(back, frozen);
}

fn disk(world: &World, vm: &str) -> Ref {
    let vbds = world.database.texts("VM", vm, "VBDs");
    let vbd = vbds.into_iter().find(|vbd| &*world.database.text("VBD", vbd, "type") == "Disk").unwrap();
    world.database.text("VBD", &vbd, "VDI")
}

#[tokio::test]
async fn a_running_guest_writes_and_its_snapshot_stays_what_it_was() {
    let mut world = one_vm(&[EXT]);
    world.storage.written_per_day = 5.0;
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    pool.wait(3600).await;
    let made = snapshot(&pool, "s").await;
    let uuid = pool.look(|world| world.database.text("VDI", &disk(world, &made), "uuid"));
    let read = |pool: &Pool, uuid: &str| -> Vec<Block> {
        pool.look(|world| (0..1024).map(|n| world.storage.read_block(uuid, n)).collect())
    };
    let frozen = read(&pool, &uuid);
    assert!(frozen.contains(&Block::Zero) && frozen.iter().any(|block| *block != Block::Zero));
    pool.wait(80_000).await;
    pool.call("SR.scan", vec![t(EXT)]).await.unwrap();
    assert_eq!(read(&pool, &uuid), frozen);
    let live = read(&pool, "u-vm-0");
    let changed = live.iter().zip(&frozen).filter(|(a, b)| a != b).count();
    assert!(changed > 900, "{changed} of 1024 blocks were written in a day");
}

#[tokio::test]
async fn chains_grow_with_each_snapshot_and_the_collector_shortens_them_later() {
    let pool = Pool::start(one_vm(&[EXT])).await;
    let made = [snapshot(&pool, "one").await, snapshot(&pool, "two").await];
    let depth = |pool: &Pool| pool.look(|world| world.storage.depth("u-vm-0"));
    assert_eq!(depth(&pool), 3);
    let hidden = |pool: &Pool| {
        pool.look(|world| {
            world.database.refs("VDI").iter().filter(|vdi| &*world.database.text("VDI", vdi, "name_label") == "base copy").count()
        })
    };
    assert_eq!(hidden(&pool), 2);
    let before = pool.look(|world| (0..64).map(|n| world.storage.read_block("u-vm-0", n)).collect::<Vec<_>>());
    for snapshot in &made {
        let disk = pool.disks(snapshot)[0].1.clone();
        pool.call("VM.destroy", vec![t(snapshot)]).await.unwrap();
        pool.call("VDI.destroy", vec![t(&disk)]).await.unwrap();
    }
    assert_eq!(depth(&pool), 3, "nothing is merged at once");
    pool.wait(600).await;
    assert_eq!(depth(&pool), 1);
    assert_eq!(hidden(&pool), 0);
    assert!(pool.look(|world| world.database.map_text("VDI", "OpaqueRef:vm-0", "sm_config", "vhd-parent")).is_none());
    let after = pool.look(|world| (0..64).map(|n| world.storage.read_block("u-vm-0", n)).collect::<Vec<_>>());
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_stuck_collector_lets_chains_grow_until_they_are_too_long() {
    let mut world = one_vm(&[EXT]);
    world.storage.collector.stuck.insert(EXT.into());
    let pool = Pool::start(world).await;
    let mut taken = 0;
    let refused = loop {
        match pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await {
            Ok(made) => {
                taken += 1;
                let made = made.as_text().unwrap().clone();
                let disk = pool.disks(&made)[0].1.clone();
                pool.call("VM.destroy", vec![t(&made)]).await.unwrap();
                pool.call("VDI.destroy", vec![t(&disk)]).await.unwrap();
                pool.wait(3600).await;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(taken, 29);
    assert_eq!(refused.code, "SR_BACKEND_FAILURE_109");
    assert_eq!(refused.params, ["", "The snapshot chain is too long", ""]);
}

#[tokio::test]
async fn a_thick_sr_needs_the_room_of_the_data_and_gives_it_back_after_the_merge() {
    let mut world = one_vm(&[LVM]);
    world.storage.filled = 0.5;
    world.database.set("SR", LVM, "physical_utilisation", Value::Int(10 * GIB)).unwrap();
    let pool = Pool::start(world).await;
    let used = |pool: &Pool| pool.int("SR", LVM, "physical_utilisation");
    let made = snapshot(&pool, "s").await;
    let grown = used(&pool) - 10 * GIB;
    assert!((GIB / 2..GIB).contains(&grown), "the data and two extents: {grown}");
    let disk = pool.disks(&made)[0].1.clone();
    assert_eq!(pool.int("VDI", &disk, "physical_utilisation"), 8_388_608);
    pool.call("VM.destroy", vec![t(&made)]).await.unwrap();
    pool.call("VDI.destroy", vec![t(&disk)]).await.unwrap();
    assert!(used(&pool) > 10 * GIB + GIB / 2, "nothing is free at once");
    pool.wait(600).await;
    assert_eq!(used(&pool), 10 * GIB);
    pool.look(|world| world.database.set("SR", LVM, "physical_size", Value::Int(10 * GIB + GIB / 4)).unwrap());
    let refused = refusal(pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await);
    assert_eq!(refused.0, "SR_BACKEND_FAILURE_44");
}

#[tokio::test]
async fn disks_that_cannot_be_snapshotted_say_why() {
    let mut world = one_vm(&[EXT, EXT]);
    world.database.set("VDI", "OpaqueRef:vm-0", "sharable", Value::Bool(true)).unwrap();
    let pool = Pool::start(world).await;
    let shared = refusal(pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await);
    assert_eq!(shared, ("VDI_IS_SHARABLE".to_owned(), vec!["OpaqueRef:vm-0".to_owned()]));
    pool.look(|world| {
        world.database.set("VDI", "OpaqueRef:vm-0", "sharable", Value::Bool(false)).unwrap();
        world.database.set("VDI", "OpaqueRef:vm-0", "sm_config", Value::pairs([("type", "raw")])).unwrap();
    });
    let raw = refusal(pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await);
    assert_eq!(raw, ("UNIMPLEMENTED_IN_SM_BACKEND".to_owned(), vec![EXT.to_owned()]));
    pool.call("VDI.set_on_boot", vec![t("OpaqueRef:vm-0"), t("reset")]).await.unwrap();
    let reset = refusal(pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await);
    assert_eq!(reset.0, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION");
    pool.look(|world| {
        world.database.set("VDI", "OpaqueRef:vm-0", "on_boot", Value::str("persist")).unwrap();
        world.database.set("VDI", "OpaqueRef:vm-0", "sm_config", Value::Map(vec![])).unwrap();
        world.database.set("SM", "OpaqueRef:sm-ext", "capabilities", Value::texts(["VDI_CREATE"])).unwrap();
    });
    let none_at_all = refusal(pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await);
    assert_eq!(none_at_all, ("SR_OPERATION_NOT_SUPPORTED".to_owned(), vec![EXT.to_owned()]));
    pool.look(|world| world.database.set("PBD", "OpaqueRef:pbd-ext", "currently_attached", Value::Bool(false)).unwrap());
    assert_eq!(refusal(pool.call("VM.snapshot", vec![t(VM), t("s"), none()]).await).0, "NO_HOSTS_AVAILABLE");
}

#[tokio::test]
async fn a_busy_vm_shows_who_holds_it_in_the_shape_of_the_release() {
    for (shown, parameters) in [("26.17", 4), ("8.2", 2)] {
        let mut world = world(release(shown), 1);
        add_vm(&mut world, "vm", &[EXT]);
        world.storage.timings.set("VDI.snapshot", Duration::from_secs(10));
        let pool = Pool::start(world).await;
        let task = pool.make("Async.VM.snapshot", vec![t(VM), t("s")]).await;
        pool.wait(1).await;
        let (code, params) = refusal(pool.call("VM.assert_operation_valid", vec![t(VM), t("start")]).await);
        assert_eq!((&*code, params.len()), ("OTHER_OPERATION_IN_PROGRESS", parameters));
        if parameters == 4 {
            assert_eq!(params, ["VM", VM, "snapshot", &task]);
        } else {
            assert_eq!(params, ["VM.snapshot", VM]);
        }
        // A call that means it waits until the snapshot is over.
        start(&pool, VM).await;
        assert_eq!(pool.text("task", &task, "status"), "success");
        assert_eq!(pool.text("VM", VM, "power_state"), "Running");
    }
}

#[tokio::test]
async fn a_second_destruction_of_a_disk_waits_and_then_finds_nothing() {
    let mut world = one_vm(&[EXT]);
    world.storage.timings.set("VDI.destroy", Duration::from_secs(5));
    let pool = Pool::start(world).await;
    let made = snapshot(&pool, "s").await;
    let disk = pool.disks(&made)[0].1.clone();
    let both = futures_util::future::join(pool.begin("VDI.destroy", vec![t(&disk)]), pool.begin("VDI.destroy", vec![t(&disk)]));
    let (first, second) = pool.run(both).await;
    first.unwrap();
    assert_eq!(refusal(second), ("HANDLE_INVALID".to_owned(), vec!["VDI".to_owned(), disk]));
    assert_eq!(pool.disks(&made).len(), 0, "the drive went with the disk");
}

#[tokio::test]
async fn more_than_a_hundred_waiting_calls_are_too_many() {
    let mut world = world(Release::NEWEST, 1);
    for n in 0..103 {
        add_vm(&mut world, &format!("vm{n}"), &[EXT]);
    }
    world.storage.timings.set("VDI.snapshot", Duration::from_secs(60));
    let pool = Pool::start(world).await;
    let mut tasks = Vec::new();
    for n in 0..103 {
        tasks.push(pool.make("Async.VM.snapshot", vec![t(format!("OpaqueRef:vm{n}")), t("s"), none()]).await);
    }
    pool.wait(1).await;
    let failed: Vec<_> = tasks.iter().filter(|task| pool.text("task", task, "status") == "failure").collect();
    assert_eq!(failed.len(), 2, "one works, a hundred sleep");
    assert_eq!(pool.texts("task", failed[0], "error_info"), ["TOO_MANY_PENDING_TASKS".into()]);
}

#[tokio::test]
async fn cheap_calls_stay_quick_while_snapshots_run() {
    let mut world = world(Release::NEWEST, 1);
    for n in 0..8 {
        add_vm(&mut world, &format!("vm{n}"), &[EXT]);
    }
    let pool = Pool::start(world).await;
    for n in 0..8 {
        pool.make("Async.VM.snapshot", vec![t(format!("OpaqueRef:vm{n}")), t("s"), none()]).await;
    }
    let before = xensnap::clock::Clock::elapsed(&pool.clock);
    pool.call("pool.get_all", vec![]).await.unwrap();
    assert_eq!(xensnap::clock::Clock::elapsed(&pool.clock), before, "no simulated time passed");
}

#[tokio::test]
async fn a_clone_of_a_snapshot_is_a_template_that_can_become_a_vm() {
    let pool = Pool::start(one_vm(&[EXT])).await;
    let made = snapshot(&pool, "s").await;
    let clone = pool.make("VM.clone", vec![t(&made), t("clone")]).await;
    assert!(
        pool.look(
            |world| world.database.bool("VM", &clone, "is_a_template") && !world.database.bool("VM", &clone, "is_a_snapshot")
        )
    );
    assert_ne!(pool.text("VM", &clone, "uuid"), pool.text("VM", &made, "uuid"));
    pool.call("VM.provision", vec![t(&clone)]).await.unwrap();
    start(&pool, &clone).await;
    assert_eq!(pool.text("VM", &clone, "power_state"), "Running");
    pool.call("VM.set_is_a_template", vec![t(&made), Rpc::Bool(false)]).await.unwrap();
    let back = refusal(pool.call("VM.set_is_a_template", vec![t(&made), Rpc::Bool(true)]).await);
    assert_eq!(back, ("VM_IS_SNAPSHOT".to_owned(), vec![made.to_string(), "make_into_template".to_owned()]));
}

#[tokio::test]
async fn a_copy_goes_to_another_sr_and_stands_on_nothing() {
    let pool = Pool::start(one_vm(&[EXT])).await;
    let made = snapshot(&pool, "s").await;
    let copy = pool.make("VM.copy", vec![t(&made), t("copy"), t(NFS)]).await;
    let disk = pool.disks(&copy)[0].1.clone();
    assert_eq!(pool.text("VDI", &disk, "SR"), NFS);
    let uuid = pool.text("VDI", &disk, "uuid");
    assert_eq!(pool.look(|world| world.storage.depth(&uuid)), 1);
    let same = pool.look(|world| (0..64).all(|n| world.storage.read_block(&uuid, n) == world.storage.read_block("u-vm-0", n)));
    assert!(same, "the content is the same");
}

#[tokio::test]
async fn power_goes_round_and_leaves_messages() {
    let pool = Pool::start(one_vm(&[EXT])).await;
    start(&pool, VM).await;
    assert_eq!(pool.text("VM", VM, "resident_on"), HOST);
    for method in ["VM.pause", "VM.unpause", "VM.suspend"] {
        pool.call(method, vec![t(VM)]).await.unwrap();
    }
    assert_eq!(pool.text("VM", VM, "power_state"), "Suspended");
    let image = pool.text("VM", VM, "suspend_VDI");
    assert_eq!(pool.int("VDI", &image, "virtual_size"), 443_086_274);
    pool.call("VM.resume", vec![t(VM), Rpc::Bool(false), Rpc::Bool(false)]).await.unwrap();
    assert!(!pool.exists("VDI", &image));
    for method in ["VM.clean_reboot", "VM.clean_shutdown"] {
        pool.call(method, vec![t(VM)]).await.unwrap();
    }
    assert_eq!(pool.text("VM", VM, "power_state"), "Halted");
    let names: Vec<String> = messages(&pool).into_iter().map(|(name, _)| name).collect();
    let expected =
        ["VM_STARTED", "VM_PAUSED", "VM_UNPAUSED", "VM_SUSPENDED", "VM_RESUMED", "VM_REBOOTED", "VM_SHUTDOWN"].map(str::to_owned);
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_memory_image_finds_its_sr_or_says_that_there_is_none() {
    let mut world = one_vm(&[EXT]);
    world.database.set("VM", VM, "suspend_SR", Value::str(NFS)).unwrap();
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    pool.call("VM.suspend", vec![t(VM)]).await.unwrap();
    assert_eq!(pool.text("VDI", &pool.text("VM", VM, "suspend_VDI"), "SR"), NFS);
    pool.call("VM.resume", vec![t(VM), Rpc::Bool(false), Rpc::Bool(false)]).await.unwrap();
    pool.look(|world| {
        world.database.set("VM", VM, "suspend_SR", Value::null()).unwrap();
        world.database.set("pool", "OpaqueRef:pool", "suspend_image_SR", Value::null()).unwrap();
    });
    assert_eq!(refusal(pool.call("VM.suspend", vec![t(VM)]).await), ("VM_NO_SUSPEND_SR".to_owned(), vec![VM.to_owned()]));
}

#[tokio::test]
async fn a_quiesced_snapshot_needs_an_old_release_and_a_guest_that_agrees() {
    let mut world = world(release("7.2"), 1);
    add_vm(&mut world, "vm", &[EXT]);
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    let refused = refusal(pool.call("VM.snapshot_with_quiesce", vec![t(VM), t("q")]).await);
    assert_eq!(refused, ("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED".to_owned(), vec![VM.to_owned()]));
    let guest = pool.text("VM", VM, "guest_metrics");
    pool.look(|world| {
        for feature in ["feature-snapshot", "feature-quiesce"] {
            world.database.put("VM_guest_metrics", &guest, "other", feature, Value::str("1")).unwrap();
        }
    });
    let made = pool.make("VM.snapshot_with_quiesce", vec![t(VM), t("q")]).await;
    let kind = pool.look(|world| world.database.map_text("VM", &made, "snapshot_info", "disk-snapshot-type"));
    assert_eq!(kind.as_deref(), Some("quiesced"));
    assert!(!pool.text("VM", &made, "transportable_snapshot_id").is_empty());
}

#[tokio::test]
async fn an_appliance_starts_in_order_and_stops_in_reverse() {
    let mut world = one_vm(&[EXT]);
    add_vm(&mut world, "second", &[NFS]);
    let pool = Pool::start(world).await;
    let record = Rpc::Dict(vec![("name_label".into(), t("a")), ("name_description".into(), t(""))]);
    let appliance = pool.make("VM_appliance.create", vec![record]).await;
    for (vm, order) in [(VM, 2), ("OpaqueRef:second", 1)] {
        pool.call("VM.set_appliance", vec![t(vm), t(&appliance)]).await.unwrap();
        pool.call("VM.set_order", vec![t(vm), Rpc::Int(order)]).await.unwrap();
    }
    pool.call("VM_appliance.start", vec![t(&appliance), Rpc::Bool(false)]).await.unwrap();
    pool.call("VM_appliance.hard_shutdown", vec![t(&appliance)]).await.unwrap();
    let order: Vec<String> = messages(&pool).into_iter().map(|(_, body)| body.split('\'').nth(1).unwrap().to_owned()).collect();
    assert_eq!(order, ["second", "vm", "vm", "second"]);
}

#[tokio::test]
async fn changed_blocks_are_those_written_between_two_snapshots() {
    let mut world = one_vm(&[EXT]);
    world
        .database
        .update("SM", "OpaqueRef:sm-ext", "capabilities", |set| {
            if let Value::Set(items) = set {
                items.push(Value::str("VDI_CONFIG_CBT"));
            }
        })
        .unwrap();
    world.storage.written_per_day = 0.2;
    let pool = Pool::start(world).await;
    start(&pool, VM).await;
    pool.call("VDI.enable_cbt", vec![t("OpaqueRef:vm-0")]).await.unwrap();
    let one = pool.disks(&snapshot(&pool, "one").await)[0].1.clone();
    pool.wait(80_000).await;
    let two = pool.disks(&snapshot(&pool, "two").await)[0].1.clone();
    let map = pool.call("VDI.list_changed_blocks", vec![t(&one), t(&two)]).await.unwrap();
    let bits = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, map.as_text().unwrap().as_bytes()).unwrap();
    assert_eq!(bits.len(), 16_384 / 8);
    let changed: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
    assert!((1500..5000).contains(&changed), "{changed} of 16384 blocks");
    pool.call("VM.hard_shutdown", vec![t(VM)]).await.unwrap();
    pool.call("VDI.data_destroy", vec![t(&one)]).await.unwrap();
    assert_eq!(pool.text("VDI", &one, "type"), "cbt_metadata");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_night() {
    let mut nights = Vec::new();
    for _ in 0..2 {
        let mut world = world(Release::NEWEST, 42);
        for n in 0..6 {
            add_vm(&mut world, &format!("vm{n}"), &[EXT]);
        }
        let pool = Pool::start(world).await;
        let calls = (0..6).map(|n| pool.begin("VM.snapshot", vec![t(format!("OpaqueRef:vm{n}")), t("s"), none()]));
        let made = pool.run(futures_util::future::join_all(calls)).await;
        nights.push((format!("{made:?}"), xensnap::clock::Clock::elapsed(&pool.clock), messages(&pool)));
    }
    assert_eq!(nights[0], nights[1]);
}
