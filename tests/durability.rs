//! What a server that dies forgets, and what its disks do not.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod simulated;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use simulated::{Pool, at_once, decode, recipe, try_call, world};
use xensnap::clock::HandClock;
use xensnap::simulator::value::{Ref, Value, is_null};

struct Lab {
    clock: HandClock,
    pool: Pool,
}

async fn lab() -> Lab {
    let clock = HandClock::new("2026-11-22T12:00:00Z".parse().unwrap());
    let pool = Pool::start_on(Arc::new(clock.clone()), world(&recipe("26.17")), at_once()).await;
    Lab { clock, pool }
}

impl Lab {
    async fn kill(&mut self) {
        self.pool.simulation.kill().await;
        self.pool.simulation.up().await.unwrap();
        self.pool.login().await;
    }

    /// Takes a snapshot: its reference and uuid, and the uuids of its disks.
    async fn snapshot(&self, vm: &Ref) -> (String, String, Vec<String>) {
        let snapshot = self.pool.call("VM.snapshot", json!([&**vm, "s"])).await.unwrap();
        let snapshot = snapshot.as_str().unwrap().to_owned();
        let disks = self.pool.shared().step(|world| {
            let vbds = world.database.texts("VM", &snapshot, "VBDs");
            let disks = vbds.iter().filter(|vbd| *world.database.text("VBD", vbd, "type") == *"Disk");
            disks.map(|vbd| world.database.text("VDI", &world.database.text("VBD", vbd, "VDI"), "uuid").to_string()).collect()
        });
        let uuid = self.pool.text("VM", &snapshot, "uuid");
        (snapshot, uuid, disks)
    }

    fn knows(&self, class: &str, uuid: &str) -> Option<Ref> {
        self.pool.shared().step(|world| world.database.by_uuid(class, uuid).cloned())
    }

    async fn uninstall(&self, snapshot: &str, disks: &[String]) {
        self.pool.call("VM.destroy", json!([snapshot])).await.unwrap();
        for disk in disks {
            let vdi = self.knows("VDI", disk).unwrap();
            self.pool.call("VDI.destroy", json!([&*vdi])).await.unwrap();
        }
    }

    async fn scan_all(&self) {
        for sr in self.pool.shared().step(|world| world.database.refs("SR")) {
            // Drives without media refuse; they hold nothing anyway.
            let _ = self.pool.call("SR.scan", json!([&*sr])).await;
        }
    }

    fn strays(&self) -> usize {
        self.pool.shared().step(|world| world.durable.strays())
    }
}

#[tokio::test]
async fn a_snapshot_that_was_just_taken_is_forgotten_and_its_disks_wait_for_a_scan() {
    let mut lab = lab().await;
    lab.clock.advance(Duration::from_secs(301)).await;
    let vm = lab.pool.halted();
    let (_, uuid, disks) = lab.snapshot(&vm).await;
    lab.clock.advance(Duration::from_secs(10)).await;
    lab.kill().await;
    assert_eq!(lab.knows("VM", &uuid), None);
    assert!(disks.iter().all(|disk| lab.knows("VDI", disk).is_none()));
    // The snapshot's disks and the hidden parents.
    assert_eq!(lab.strays(), 2 * disks.len());
    lab.scan_all().await;
    assert_eq!(lab.strays(), 0);
    for disk in &disks {
        let vdi = lab.knows("VDI", disk).expect("the scan finds it");
        assert!(is_null(&lab.pool.text("VDI", &vdi, "VBDs")) || lab.pool.text("VDI", &vdi, "VBDs").is_empty());
        assert_eq!(lab.pool.shared().step(|world| world.database.texts("VDI", &vdi, "VBDs").len()), 0);
        assert!(lab.pool.shared().step(|world| world.database.map_text("VDI", &vdi, "sm_config", "vhd-parent")).is_some());
    }
    // It can be taken again, and the disk is whole.
    lab.snapshot(&vm).await;
}

#[tokio::test]
async fn pool_sync_database_keeps_it() {
    let mut lab = lab().await;
    let (_, uuid, disks) = lab.snapshot(&lab.pool.halted()).await;
    let vm = lab.knows("VM", &uuid).unwrap();
    lab.pool.call("VM.add_to_other_config", json!([&*vm, "mark", "yes"])).await.unwrap();
    assert_eq!(lab.pool.call("pool.sync_database", json!([])).await.unwrap(), "");
    lab.kill().await;
    assert_eq!(lab.knows("VM", &uuid), Some(vm.clone()));
    assert_eq!(
        lab.pool.shared().step(|world| world.database.map_text("VM", &vm, "other_config", "mark")).as_deref(),
        Some("yes")
    );
    assert!(disks.iter().all(|disk| lab.knows("VDI", disk).is_some()));
    assert_eq!(lab.strays(), 0);
}

#[tokio::test]
async fn so_do_five_minutes() {
    let mut lab = lab().await;
    let (_, uuid, _) = lab.snapshot(&lab.pool.halted()).await;
    lab.clock.advance(Duration::from_secs(300)).await;
    lab.kill().await;
    assert!(lab.knows("VM", &uuid).is_some());
}

#[tokio::test]
async fn a_removed_snapshot_comes_back_as_a_ghost() {
    let mut lab = lab().await;
    let (snapshot, uuid, disks) = lab.snapshot(&lab.pool.halted()).await;
    lab.pool.call("pool.sync_database", json!([])).await.unwrap();
    lab.uninstall(&snapshot, &disks).await;
    lab.kill().await;
    let ghost = lab.knows("VM", &uuid).expect("its record is back");
    for disk in &disks {
        let vdi = lab.knows("VDI", disk).expect("so are those of its disks");
        let refused = lab.pool.call("VDI.destroy", json!([&*vdi])).await.unwrap_err();
        assert_eq!(refused[0], "SR_BACKEND_FAILURE_46");
    }
    let task = lab.pool.call("task.create", json!(["x", ""])).await.unwrap();
    lab.pool.get(&format!("/export?ref={ghost}&task_id={}", task.as_str().unwrap())).await;
    assert_eq!(lab.pool.task(&task).await["status"], "failure");
    lab.scan_all().await;
    assert!(disks.iter().all(|disk| lab.knows("VDI", disk).is_none()));
    assert!(lab.knows("VM", &uuid).is_some());
    let left = lab.pool.shared().step(|world| {
        let vbds = world.database.texts("VM", &ghost, "VBDs");
        vbds.iter().filter(|vbd| *world.database.text("VBD", vbd, "type") == *"Disk").count()
    });
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_clean_restart_forgets_sessions_and_tasks_and_nothing_else() {
    let mut lab = lab().await;
    let (_, uuid, _) = lab.snapshot(&lab.pool.halted()).await;
    let task = lab.pool.call("task.create", json!(["x", ""])).await.unwrap();
    let started = |lab: &Lab| {
        let master = lab.pool.shared().step(|world| world.master.clone());
        lab.pool.shared().step(|world| world.database.map_text("host", &master, "other_config", "agent_start_time"))
    };
    let before = started(&lab);
    lab.clock.advance(Duration::from_secs(7)).await;
    lab.pool.simulation.restart().await.unwrap();
    let refused = lab.pool.call("VM.get_all", json!([])).await.unwrap_err();
    assert_eq!(refused, ["SESSION_INVALID".to_owned(), lab.pool.session.clone()]);
    lab.pool.login().await;
    assert_eq!(lab.pool.call("task.get_record", json!([task])).await.unwrap_err()[0], "HANDLE_INVALID");
    assert!(lab.knows("VM", &uuid).is_some());
    let after = started(&lab);
    assert_ne!(before, after);
    assert!(after.unwrap().ends_with('.'));
}

#[tokio::test]
async fn work_that_was_under_way_leaves_nothing_behind() {
    let clock = HandClock::new("2026-11-22T12:00:00Z".parse().unwrap());
    let mut world = world(&recipe("26.17"));
    world.storage.timings = Default::default();
    let pool = Pool::start_on(Arc::new(clock.clone()), world, at_once()).await;
    let mut lab = Lab { clock, pool };
    let vm = lab.pool.halted();
    lab.clock.run(lab.pool.call("pool.sync_database", json!([]))).await.unwrap();
    let before = lab.pool.count("VM");
    lab.pool.call("Async.VM.snapshot", json!([&*vm, "s"])).await.unwrap();
    let held = |lab: &Lab| lab.pool.shared().step(|world| world.database.get("VM", &vm, "current_operations").cloned());
    assert!(!held(&lab).unwrap().members().is_empty());
    lab.kill().await;
    assert_eq!(held(&lab), Some(Value::Map(vec![])));
    assert_eq!(lab.pool.count("VM"), before);
}

#[tokio::test]
async fn guests_run_on_whatever_the_database_says() {
    let mut lab = lab().await;
    let (halted, running) = (lab.pool.halted(), lab.pool.running());
    lab.pool.call("VM.start", json!([&*halted, false, false])).await.unwrap();
    lab.pool.call("VM.hard_shutdown", json!([&*running])).await.unwrap();
    lab.kill().await;
    assert_eq!(lab.pool.text("VM", &halted, "power_state"), "Running");
    assert_eq!(lab.pool.text("VM", &running, "power_state"), "Halted");
    assert!(!is_null(&lab.pool.text("VM", &halted, "resident_on")));
}

#[tokio::test]
async fn a_token_from_before_a_kill_is_ahead_of_the_server() {
    let mut lab = lab().await;
    let from =
        async |lab: &Lab, token: &str| lab.clock.run(lab.pool.call("event.from", json!([["vm"], token, 0.0]))).await.unwrap();
    let token = from(&lab, "").await["token"].as_str().unwrap().to_owned();
    let vm = lab.pool.halted();
    for n in 0..50 {
        lab.pool.call("VM.set_name_description", json!([&*vm, n.to_string()])).await.unwrap();
    }
    let late = from(&lab, &token).await["token"].as_str().unwrap().to_owned();
    lab.kill().await;
    let generation: u64 = late.split(',').next().unwrap().parse().unwrap();
    assert!(lab.pool.shared().step(|world| world.database.generation()) < generation);
    assert_eq!(from(&lab, "").await["events"].as_array().unwrap().len(), lab.pool.count("VM"));
}

#[tokio::test]
async fn a_planned_change_of_master_loses_nothing() {
    let mut lab = lab().await;
    let (_, uuid, _) = lab.snapshot(&lab.pool.halted()).await;
    let old = lab.pool.master();
    let old_host = lab.pool.shared().step(|world| world.master.clone());
    lab.pool.simulation.promote(None, false).await.unwrap();
    lab.pool.login().await;
    assert_ne!(lab.pool.master(), old);
    assert!(lab.knows("VM", &uuid).is_some());
    let new_host = lab.pool.shared().step(|world| world.master.clone());
    assert_ne!(new_host, old_host);
    let pool = lab.pool.call("pool.get_all_records", json!([])).await.unwrap();
    assert_eq!(pool.as_object().unwrap().values().next().unwrap()["master"], *new_host);
    let refused = decode(&try_call(old, "session.login_with_password", json!(["root", "x"])).await.unwrap()).unwrap_err();
    assert_eq!(refused, ["HOST_IS_SLAVE".to_owned(), lab.pool.text("host", &new_host, "address")]);
}

#[tokio::test]
async fn designate_new_master_is_such_a_change() {
    let mut lab = lab().await;
    let other = lab.pool.find("host", |world, host| *host != world.master);
    let before = lab.pool.master();
    // The server may be gone before it has answered.
    let params = json!([lab.pool.session, &*other]);
    try_call(before, "pool.designate_new_master", params).await;
    while lab.pool.simulation.shared().is_none_or(|shared| shared.step(|world| world.master != other)) {
        tokio::task::yield_now().await;
    }
    lab.pool.login().await;
    assert_ne!(lab.pool.master(), before);
}

#[tokio::test]
async fn an_emergency_brings_yesterday_back() {
    let mut lab = lab().await;
    let vm = lab.pool.halted();
    let (kept, kept_uuid, kept_disks) = lab.snapshot(&vm).await;
    lab.clock.advance(Duration::from_secs(86_400)).await;
    // The session has been idle for too long.
    lab.pool.login().await;
    let (_, lost_uuid, _) = lab.snapshot(&vm).await;
    lab.uninstall(&kept, &kept_disks).await;
    lab.clock.advance(Duration::from_secs(20 * 3600)).await;
    let old = lab.pool.master();
    lab.pool.simulation.promote(None, true).await.unwrap();
    lab.pool.login().await;
    assert_eq!(lab.knows("VM", &lost_uuid), None);
    assert!(lab.knows("VM", &kept_uuid).is_some());
    assert!(lab.strays() > 0);
    // The old master does not answer any more.
    assert!(try_call(old, "session.login_with_password", json!(["root", "xensnap"])).await.is_none());
}

#[tokio::test]
async fn with_a_redo_log_nothing_is_lost() {
    let mut lab = lab().await;
    lab.pool.shared().step(|world| world.durable.redo_log = true);
    let (_, uuid, _) = lab.snapshot(&lab.pool.halted()).await;
    lab.kill().await;
    assert!(lab.knows("VM", &uuid).is_some());
    let (_, second, _) = lab.snapshot(&lab.pool.halted()).await;
    lab.pool.simulation.promote(None, true).await.unwrap();
    lab.pool.login().await;
    assert!(lab.knows("VM", &second).is_some());
}

#[tokio::test]
async fn while_it_is_down_nobody_answers_and_the_address_stays() {
    let mut lab = lab().await;
    let master = lab.pool.master();
    lab.pool.simulation.kill().await;
    assert!(lab.pool.simulation.shared().is_none());
    assert!(try_call(master, "session.login_with_password", json!(["root", "xensnap"])).await.is_none());
    lab.pool.simulation.up().await.unwrap();
    lab.pool.login().await;
    assert_eq!(lab.pool.master(), master);
}

#[tokio::test]
async fn a_restored_database_is_there_after_the_reboot() {
    let mut lab = lab().await;
    let vm = lab.pool.halted();
    let (_, dump) = lab.pool.get("/pool/xmldbdump").await;
    lab.pool.call("VM.set_name_label", json!([&*vm, "renamed"])).await.unwrap();
    let task = lab.pool.call("task.create", json!(["x", ""])).await.unwrap();
    lab.pool.put(&format!("/pool/xmldbdump?task_id={}", task.as_str().unwrap()), &dump).await;
    assert_eq!(lab.pool.task(&task).await["status"], json!("success"));
    let before = lab.pool.shared();
    lab.clock.advance(Duration::from_secs(29)).await;
    assert!(Arc::ptr_eq(&before, &lab.pool.shared()));
    assert_eq!(lab.pool.text("VM", &vm, "name_label"), "renamed");
    lab.clock.advance(Duration::from_secs(120)).await;
    while lab.pool.simulation.shared().is_none() {
        lab.clock.advance(Duration::from_secs(1)).await;
    }
    lab.pool.login().await;
    assert_ne!(lab.pool.text("VM", &vm, "name_label"), "renamed");
}

#[tokio::test]
async fn a_claim_made_before_a_kill_can_be_made_twice() {
    let mut lab = lab().await;
    let pool = lab.pool.find("pool", |_, _| true);
    let claim = json!([&*pool, "lease", "a"]);
    lab.pool.call("pool.add_to_other_config", claim.clone()).await.unwrap();
    let again: Result<Json, _> = lab.pool.call("pool.add_to_other_config", claim.clone()).await;
    assert_eq!(again.unwrap_err()[..3], ["MAP_DUPLICATE_KEY", "pool", "other_config"]);
    lab.kill().await;
    lab.pool.call("pool.add_to_other_config", claim).await.unwrap();
}
