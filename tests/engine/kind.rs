//! The choice of a snapshot's kind against what a server then says: what is chosen succeeds, and what is not is refused with the code
//! that was foretold.

use std::time::Duration;

use xensnap::domain::policy::{Fallback, WantedKind};
use xensnap::domain::snapshot::Kind;
use xensnap::engine::kind::{Choice, choose, condition_of};
use xensnap::simulator::operations::device_lifecycle::update_vm;
use xensnap::simulator::value::Value;
use xensnap::simulator::world::World;
use xensnap::xenapi::records::{PowerState, Vdi, Vm};
use xensnap::xenapi::task::TaskError;
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{CallError, calls};

use super::small_pool::SmallPool;

const DISK: WantedKind = WantedKind::Disk;
const QUIESCED: WantedKind = WantedKind::Quiesced(Fallback::Fail);
const MEMORY: WantedKind = WantedKind::Memory(Fallback::Fail);
const WITH_QUIESCE: &str = "8.0";

/// The code of what was foretold, or "" for a snapshot.
fn foretold(choice: &Choice) -> &str {
    match choice {
        Choice::Take { .. } => "",
        Choice::Cannot { code, .. } => code,
    }
}

impl SmallPool {
    fn choose(&self, wanted: &WantedKind, vm: &Ref<Vm>) -> Choice {
        choose(wanted, &condition_of(&self.inventory.read(), vm).unwrap())
    }

    /// Takes the snapshot, whatever was foretold. The code it was refused with, or "".
    async fn take(&self, wanted: &WantedKind, vm: &Ref<Vm>) -> String {
        let call = match wanted.kind() {
            Kind::Disk | Kind::Offline => calls::vm::snapshot(vm, "x"),
            Kind::Quiesced => calls::vm::snapshot_with_quiesce(vm, "x"),
            Kind::Memory => calls::vm::checkpoint(vm, "x"),
        };
        let taken = async {
            match self.pool.start(call).await {
                Ok(task) => match task.finish(None).await {
                    Ok(_) => String::new(),
                    Err(TaskError::Failed(refusal)) => refusal.failure.code,
                    Err(other) => panic!("{other:?}"),
                },
                Err(CallError::Refused(refusal)) => refusal.failure.code,
                Err(other) => panic!("{other:?}"),
            }
        };
        self.run(taken).await
    }

    /// Changes the world, and waits until the inventory shows it.
    async fn change(&self, vm: &Ref<Vm>, change: impl FnOnce(&mut World, &str)) {
        let object = vm.to_string();
        self.server.shared().step(|world| {
            change(world, &object);
            update_vm(world, &object);
            world.database.set("VM", &object, "name_label", Value::str("changed")).unwrap();
        });
        self.until(vm, |vm| &*vm.name_label == "changed").await;
    }

    /// Waits until the inventory shows a VM so.
    async fn until(&self, vm: &Ref<Vm>, wanted: impl Fn(&Vm) -> bool) {
        let mut status = self.inventory.status();
        let shown = async {
            while self.inventory.read().get(vm).is_none_or(|vm| !wanted(vm)) {
                status.changed().await.unwrap();
            }
        };
        self.run(shown).await;
    }

    fn disk_of(&self, vm: &Ref<Vm>) -> Ref<Vdi> {
        self.inventory.read().disks_of(vm)[0].vdi_ref.clone()
    }
}

type Change = fn(&mut World, &str);

fn set(world: &mut World, class: &str, object: &str, field: &str, value: Value) {
    world.database.set(class, object, field, value).unwrap();
}

/// The first disk of a VM.
fn disk(world: &World, vm: &str) -> String {
    let database = &world.database;
    let vbds = database.texts("VM", vm, "VBDs");
    let vbd = vbds.iter().find(|vbd| &*database.text("VBD", vbd, "type") == "Disk").unwrap();
    database.text("VBD", vbd, "VDI").to_string()
}

fn set_disk(world: &mut World, vm: &str, field: &str, value: Value) {
    let disk = disk(world, vm);
    set(world, "VDI", &disk, field, value);
}

fn set_guest(world: &mut World, vm: &str, features: &[(&str, &str)]) {
    let guest = world.database.text("VM", vm, "guest_metrics").to_string();
    set(world, "VM_guest_metrics", &guest, "other", Value::pairs(features.iter().copied()));
}

fn set_pool(world: &mut World, field: &str, key: &str, value: &str) {
    let pool = world.database.refs("pool")[0].clone();
    world.database.put("pool", &pool, field, key, Value::str(value)).unwrap();
}

fn no_snapshots(world: &mut World, vm: &str) {
    let sr = world.database.text("VDI", &disk(world, vm), "SR");
    let kind = world.database.text("SR", &sr, "type");
    for driver in world.database.refs("SM") {
        if world.database.text("SM", &driver, "type") == kind {
            set(world, "SM", &driver, "capabilities", Value::texts(["VDI_CREATE"]));
            set(world, "SM", &driver, "features", Value::Map(vec![("VDI_CREATE".into(), Value::Int(1))]));
        }
    }
}

fn unplug(world: &mut World, vm: &str) {
    let sr = world.database.text("VDI", &disk(world, vm), "SR");
    for pbd in world.database.texts("SR", &sr, "PBDs") {
        set(world, "PBD", &pbd, "currently_attached", Value::Bool(false));
    }
}

fn no_image_store(world: &mut World, _: &str) {
    for pool in world.database.refs("pool") {
        set(world, "pool", &pool, "suspend_image_SR", Value::null());
    }
    for host in world.database.refs("host") {
        set(world, "host", &host, "suspend_image_sr", Value::null());
    }
}

fn agreeing(world: &mut World, vm: &str) {
    set_guest(world, vm, &[("feature-snapshot", "1"), ("feature-quiesce", "1")]);
}

/// Release, what is asked for, what is the matter with the VM, and what the server says to it.
const CASES: [(&str, WantedKind, Change, &str); 22] = [
    ("26.17", DISK, |_, _| (), ""),
    ("26.17", MEMORY, |_, _| (), ""),
    ("6.2", DISK, |_, _| (), ""),
    ("6.2", MEMORY, |_, _| (), ""),
    (WITH_QUIESCE, QUIESCED, agreeing, ""),
    (WITH_QUIESCE, QUIESCED, |w, vm| set_guest(w, vm, &[("feature-snapshot", "1")]), "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED"),
    ("8.2", QUIESCED, agreeing, "MESSAGE_REMOVED"),
    ("26.17", DISK, |w, vm| set(w, "VM", vm, "VUSBs", Value::texts(["OpaqueRef:usb"])), "VM_HAS_VUSBS"),
    ("26.17", MEMORY, |w, vm| set(w, "VM", vm, "VUSBs", Value::texts(["OpaqueRef:usb"])), "VM_HAS_VUSBS"),
    ("26.17", MEMORY, |w, vm| set(w, "VM", vm, "attached_PCIs", Value::texts(["OpaqueRef:pci"])), "VM_HAS_PCI_ATTACHED"),
    ("26.17", DISK, |w, vm| set(w, "VM", vm, "attached_PCIs", Value::texts(["OpaqueRef:pci"])), ""),
    ("26.17", DISK, |w, vm| set(w, "VM", vm, "blocked_operations", Value::pairs([("snapshot", "no")])), "OPERATION_BLOCKED"),
    ("26.17", MEMORY, |w, vm| set(w, "VM", vm, "blocked_operations", Value::pairs([("checkpoint", "no")])), "OPERATION_BLOCKED"),
    ("26.17", DISK, |w, vm| set_disk(w, vm, "on_boot", Value::str("reset")), "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"),
    ("26.17", DISK, |w, vm| set_disk(w, vm, "sharable", Value::Bool(true)), "VDI_IS_SHARABLE"),
    ("26.17", DISK, |w, vm| set_disk(w, vm, "sm_config", Value::pairs([("vdi_type", "raw")])), "UNIMPLEMENTED_IN_SM_BACKEND"),
    ("26.17", DISK, no_snapshots, "SR_OPERATION_NOT_SUPPORTED"),
    ("26.17", MEMORY, no_snapshots, "SR_OPERATION_NOT_SUPPORTED"),
    ("26.17", DISK, unplug, "NO_HOSTS_AVAILABLE"),
    ("26.17", MEMORY, |w, _| set_pool(w, "restrictions", "restrict_checkpoint", "true"), "LICENCE_RESTRICTION"),
    ("26.17", MEMORY, no_image_store, "VM_NO_SUSPEND_SR"),
    ("26.17", DISK, |w, _| set_pool(w, "other_config", "rolling_upgrade_in_progress", "true"), "NOT_SUPPORTED_DURING_UPGRADE"),
];

#[tokio::test]
async fn what_is_chosen_is_what_the_server_then_says() {
    for (number, (release, wanted, change, code)) in CASES.into_iter().enumerate() {
        let lab = SmallPool::start(release, |_| ()).await;
        let vm = lab.running();
        lab.change(&vm, change).await;
        let choice = lab.choose(&wanted, &vm);
        assert_eq!(foretold(&choice), code, "case {number}: {choice:?}");
        assert_eq!(lab.take(&wanted, &vm).await, code, "case {number}");
        lab.end().await;
    }
}

#[tokio::test]
async fn every_vm_of_a_pool_gets_what_was_foretold() {
    for (release, kinds) in [("6.2", [DISK, MEMORY]), (WITH_QUIESCE, [DISK, QUIESCED]), ("26.17", [DISK, MEMORY])] {
        let lab = SmallPool::start(release, |_| ()).await;
        let mut vms: Vec<(bool, Ref<Vm>)> =
            lab.inventory.read().all::<Vm>().map(|(reference, vm)| (!vm.is_plain(), reference.clone())).collect();
        // All VMs, and some of what is none.
        vms.sort();
        vms.truncate(24 + 12);
        let mut seen = std::collections::BTreeSet::new();
        for (_, vm) in vms {
            for wanted in &kinds {
                lab.until(&vm, |vm| vm.current_operations.is_empty()).await;
                let choice = lab.choose(wanted, &vm);
                let said = lab.take(wanted, &vm).await;
                seen.insert(said.clone());
                let record = lab.inventory.read().get(&vm).cloned().unwrap();
                let fits = match (foretold(&choice), &*said) {
                    // Without tools the server asks the guest all the same, and waits for an answer.
                    ("VM_LACKS_FEATURE", said) => said == "VM_FAILED_SUSPEND_ACKNOWLEDGMENT",
                    // That it is no VM is what a person should hear first.
                    ("VM_IS_TEMPLATE" | "VM_IS_SNAPSHOT" | "OPERATION_NOT_ALLOWED", said) => {
                        !record.is_plain() && !said.is_empty()
                    }
                    // The server makes one, but without memory; see below.
                    ("VM_BAD_POWER_STATE", "") => *wanted == MEMORY && record.power_state == PowerState::Paused,
                    (foretold, said) => foretold == said,
                };
                assert!(fits, "{release}, {wanted:?} of {:?}: {choice:?}, but {said:?}", record.name_label);
            }
        }
        assert!(seen.contains("") && seen.contains("VM_BAD_POWER_STATE") && seen.contains("VM_IS_TEMPLATE"), "{seen:?}");
        lab.end().await;
    }
}

#[tokio::test]
async fn a_vm_at_work_is_tried_again_and_one_that_is_gone_has_no_condition() {
    let lab = SmallPool::start("26.17", |world| {
        world.storage.timings.scale = 1.0;
        world.storage.timings.set("VM.clean_shutdown", Duration::from_secs(60));
    })
    .await;
    let vm = lab.running();
    let task = lab.run(async { lab.pool.start(calls::vm::clean_shutdown(&vm)).await.unwrap() }).await;
    lab.until(&vm, |vm| !vm.current_operations.is_empty()).await;
    let Choice::Cannot { code, text, for_now } = lab.choose(&DISK, &vm) else { panic!("it is busy") };
    assert_eq!((code, for_now), ("OTHER_OPERATION_IN_PROGRESS", true));
    assert!(text.contains("clean_shutdown"), "{text}");
    lab.run(task.finish(None)).await.unwrap();
    assert!(condition_of(&lab.inventory.read(), &Ref::new("OpaqueRef:nobody")).is_none());
    lab.end().await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_snapshotted_can_be_left_out() {
    let lab = SmallPool::start("26.17", |_| ()).await;
    let vm = lab.running();
    lab.change(&vm, |world, vm| set_disk(world, vm, "sharable", Value::Bool(true))).await;
    let excluded = [lab.disk_of(&vm)];
    let choice = choose(&DISK, &condition_of(&lab.inventory.read(), &vm).unwrap().without(&excluded));
    assert_eq!(choice, Choice::Take { kind: Kind::Disk, note: None });
    let taken = async { lab.pool.start(calls::vm::snapshot_without(&vm, "x", &excluded)).await.unwrap().finish(None).await };
    lab.run(taken).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_paused_vm_has_no_snapshot_with_memory_although_the_server_makes_one() {
    let lab = SmallPool::start("26.17", |_| ()).await;
    let vm = lab.running();
    lab.run(lab.pool.call(xensnap::xenapi::Call::<xensnap::xenapi::types::Void>::mutating("VM.pause").with(&vm))).await.unwrap();
    lab.change(&vm, |_, _| ()).await;
    assert_eq!(foretold(&lab.choose(&MEMORY, &vm)), "VM_BAD_POWER_STATE");
    let taken =
        lab.run(async { lab.pool.start(calls::vm::checkpoint(&vm, "x")).await.unwrap().finish(None).await }).await.unwrap();
    let record = lab.run(lab.pool.call(calls::record(&taken))).await.unwrap();
    assert!(record.power_state == PowerState::Halted && record.suspend_vdi.is_null(), "it holds no memory");
    lab.end().await;
}
