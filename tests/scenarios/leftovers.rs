//! What nobody looks after. What a failed attempt left counts for nothing and goes, with all that belongs to it and nothing else.
//! Snapshots whose VM was deleted or whose policy is in no file any more stay, unless the policy's file said when they go.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rstest::rstest;
use xensnap::clock::Clock;
use xensnap::daemon::Daemon;
use xensnap::domain::policy::{Afterwards, Fallback, Policy, WantedKind};
use xensnap::domain::span::Exact;
use xensnap::engine::pins;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, is_null};
use xensnap::store::{JobState, RemovalState, SnapshotState, Store};
use xensnap::xenapi::calls;

use super::crash::{fails_slowly, leave_half, policy_for, with_disks, world};
use super::foreign::{Foreign, assert_destroyed_only_its_own};
use super::lab::{Lab, at, folder, originator, policy};
use super::look;
use super::person::{self, Person};

const DAY: u64 = 24 * 3600;

/// VMs, drives, and disks that people see.
fn counted(lab: &Lab) -> [usize; 3] {
    lab.step(|world| {
        let database = &world.database;
        let disks = database.refs("VDI").into_iter().filter(|vdi| database.bool("VDI", vdi, "managed"));
        [database.count("VM"), database.count("VBD"), disks.count()]
    })
}

fn plain(lab: &Lab, name: &str) -> Ref {
    lab.step(|world| {
        let database = &world.database;
        let plain = |vm: &Ref| !["is_a_template", "is_a_snapshot"].iter().any(|field| database.bool("VM", vm, field));
        database.refs("VM").into_iter().find(|vm| plain(vm) && &*database.text("VM", vm, "name_label") == name).unwrap()
    })
}

/// The server lost a disk half-way and says so; what it had made of the snapshot is there, under its name.
#[tokio::test]
async fn a_partial_snapshot_that_a_failed_attempt_left_counts_for_nothing_and_goes() {
    let world = world(Timings::instant());
    let names = with_disks(&world, 2, 1);
    let mut lab = Lab::with("2026-03-01T12:30:00Z", world, vec![policy_for("nightly", "0 2 * * *", &names, 2)]).await;
    let foreign = Foreign::all_snapshots(&lab);
    lab.start().await;
    lab.until("2026-03-02T04:00:00Z").await;
    let before = counted(&lab);
    let person = Person::new(&lab);
    lab.until("2026-03-03T01:59:59Z").await;
    lab.simulation.set_faults(fails_slowly(&names[0]));
    lab.pass(5).await;
    leave_half(&lab, &person, &lab.store(), &names[0]).await;
    lab.until("2026-03-03T04:00:00Z").await;
    assert_eq!(lab.held()[&names[0]], ["03-02 02:00", "03-03 02:00"]);
    let [vms, drives, disks] = before;
    let one = [vms + 1, drives + drives_of(&lab, &names[0]), disks + 2];
    assert_eq!(counted(&lab), one, "what the second night adds is its own good snapshot");
    let job = look::jobs(&lab.store(), "nightly").await.pop().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Done, 2));
    assert_eq!(look::events(&lab.store(), "leftover").await.len(), 1);
    assert_eq!(look::snapshots(&lab.store(), "nightly").await.len(), 2, "it never was a snapshot of the policy");
    foreign.assert_untouched(&lab);
    person.leaves().await;
    lab.stop().await;
}

fn drives_of(lab: &Lab, name: &str) -> usize {
    let vm = plain(lab, name);
    lab.step(|world| world.database.texts("VM", &vm, "VBDs").len())
}

/// The real server takes the snapshot, cannot go on with the VM, and says that the call failed.
#[tokio::test]
async fn a_snapshot_with_memory_whose_vm_could_not_be_resumed_goes_with_its_image_and_the_vm_keeps_its_own() {
    let mut lab = Lab::new(2, vec![]).await;
    let running = |lab: &Lab| {
        lab.vms().into_iter().find(|name| {
            let vm = plain(lab, name);
            lab.step(|world| &*world.database.text("VM", &vm, "power_state") == "Running")
        })
    };
    let name = running(&lab).expect("a VM runs");
    let mut frozen = policy_for("frozen", "0 2 * * *", std::slice::from_ref(&name), 2);
    frozen.snapshot.kind = WantedKind::Memory(Fallback::Fail);
    lab.policies = vec![frozen];
    let before = counted(&lab);
    lab.start().await;
    let vm = plain(&lab, &name);
    let failed = ApiError::new("VM_CHECKPOINT_RESUME_FAILED", [&*vm]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VM.resume", Action::Refuse(failed))));
    lab.until("2026-03-02T04:00:00Z").await;
    let job = look::jobs(&lab.store(), "frozen").await.pop().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Failed, 1), "{job:?}");
    assert_eq!(look::events(&lab.store(), "leftover").await.len(), 1);
    assert_eq!(lab.held().len(), 0);
    let image = lab.step(|world| world.database.text("VM", &vm, "suspend_VDI"));
    assert!(!is_null(&image) && lab.step(|world| world.database.exists("VDI", &image)), "the VM is suspended, with its memory");
    let [vms, drives, disks] = before;
    assert_eq!(counted(&lab), [vms, drives, disks + 1], "nothing is left but the VM's own image");
    lab.stop().await;
}

fn unattended(vm: Afterwards, removed: Afterwards) -> Policy {
    let mut policy = policy("nightly", "0 2 * * *", "*", 2);
    (policy.retention.on_vm_deleted, policy.retention.on_policy_removed) = (vm, removed);
    policy
}

fn after_days(days: u64) -> Afterwards {
    Afterwards::RemoveAfter(Exact::seconds(days * DAY))
}

/// Two VMs with two snapshots each, taken in the nights to the third of March; it is noon.
async fn after_two_nights(policy: Policy) -> Lab {
    let mut lab = Lab::new(2, vec![policy]).await.looking_every(6);
    lab.start().await;
    lab.until("2026-03-03T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 4);
    lab
}

async fn pin(lab: &Lab, until: DateTime<Utc>) {
    let rows = look::snapshots(&lab.store(), "nightly").await;
    let site = lab.handle().sites().borrow()[0].clone();
    pins::pin(&mut site.worker(), &site, &rows[0], until, "an audit").await.unwrap().unwrap();
    lab.clock.settle().await;
}

#[rstest]
#[case::unless_the_file_says_otherwise(Afterwards::Keep)]
#[case::before_its_time(after_days(20))]
#[tokio::test]
async fn snapshots_of_a_policy_that_is_in_no_file_any_more_stay(#[case] removed: Afterwards) {
    let mut lab = after_two_nights(unattended(after_days(1), removed)).await;
    lab.reload(vec![]).await;
    lab.until("2026-03-13T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 4);
    lab.stop().await;
}

#[tokio::test]
async fn snapshots_of_a_removed_policy_go_when_their_time_has_passed_and_a_pinned_one_when_its_pin_is_over_too() {
    let mut lab = after_two_nights(unattended(Afterwards::Keep, after_days(3))).await;
    pin(&lab, at("2026-03-10T12:00:00Z")).await;
    lab.reload(vec![]).await;
    // It is noticed within six hours.
    lab.until("2026-03-06T11:59:00Z").await;
    assert_eq!(lab.snapshots().len(), 4);
    lab.until("2026-03-07T02:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 1, "{:?}", lab.held());
    lab.until("2026-03-10T11:59:00Z").await;
    assert_eq!(lab.snapshots().len(), 1, "pinned");
    lab.until("2026-03-11T02:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 0);
    assert_eq!(look::events(&lab.store(), "unattended-removed").await.len(), 4);
    assert_eq!(assert_destroyed_only_its_own(&lab, &originator("lab")), (4, 4));
    assert_eq!(lab.store().kept_under("unattended/").await.unwrap(), [], "nothing is counted any more");
    lab.stop().await;
}

#[tokio::test]
async fn a_policy_that_comes_back_stops_the_countdown_and_it_begins_anew_if_it_goes_again() {
    let policy = unattended(Afterwards::Keep, after_days(3));
    let mut lab = after_two_nights(policy.clone()).await;
    lab.reload(vec![]).await;
    lab.until("2026-03-05T12:00:00Z").await;
    lab.reload(vec![Policy { enabled: false, ..policy }]).await;
    lab.until("2026-03-09T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 4, "a policy that is switched off is in a file");
    lab.reload(vec![]).await;
    lab.until("2026-03-12T11:59:00Z").await;
    assert_eq!(lab.snapshots().len(), 4, "three days from the second time");
    lab.until("2026-03-13T02:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 0);
    lab.stop().await;
}

/// An administrator deletes a VM, as every client does: its snapshots stay behind.
async fn deletes(lab: &Lab, name: &str) {
    let (person, vm) = (Person::new(lab), plain(lab, name));
    if lab.step(|world| &*world.database.text("VM", &vm, "power_state") != "Halted") {
        person.does(calls::vm::hard_shutdown(&person::vm(&vm))).await;
    }
    person.does(calls::vm::destroy(&person::vm(&vm))).await;
    person.leaves().await;
}

/// Snapshots of ours of which no VM is left.
fn without_vm(lab: &Lab) -> usize {
    let found = lab.snapshots();
    found.iter().filter(|found| found.vm.is_empty()).count()
}

#[rstest]
#[case::unless_the_file_says_otherwise(Afterwards::Keep, 2)]
#[case::before_its_time(after_days(20), 2)]
#[case::not_when_it_has_passed(after_days(3), 0)]
#[tokio::test]
async fn snapshots_of_a_vm_that_was_deleted_stay(#[case] deleted: Afterwards, #[case] left: usize) {
    let mut lab = after_two_nights(unattended(deleted, after_days(1))).await;
    let names = lab.vms();
    deletes(&lab, &names[0]).await;
    lab.until("2026-03-06T11:59:00Z").await;
    assert_eq!(without_vm(&lab), 2, "not before its time");
    lab.until("2026-03-10T12:00:00Z").await;
    assert_eq!(without_vm(&lab), left);
    assert_eq!(lab.held()[&names[1]].len(), 2, "the other VM is looked after");
    lab.stop().await;
}

#[tokio::test]
async fn a_pinned_snapshot_of_a_deleted_vm_stays_until_its_pin_is_over() {
    let mut lab = after_two_nights(unattended(after_days(3), Afterwards::Keep)).await;
    pin(&lab, at("2026-03-10T12:00:00Z")).await;
    for name in lab.vms() {
        deletes(&lab, &name).await;
    }
    lab.until("2026-03-10T11:59:00Z").await;
    assert_eq!(without_vm(&lab), 1);
    lab.until("2026-03-11T02:00:00Z").await;
    assert_eq!(without_vm(&lab), 0);
    lab.stop().await;
}

/// What the server refuses for the moment is tried again, as what it is.
#[tokio::test]
async fn a_snapshot_of_a_deleted_vm_that_cannot_be_removed_for_the_moment_is_tried_again() {
    let mut lab = after_two_nights(unattended(after_days(3), Afterwards::Keep)).await;
    let names = lab.vms();
    deletes(&lab, &names[0]).await;
    let busy = ApiError::new("OTHER_OPERATION_IN_PROGRESS", ["VM", "something"]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VM.destroy", Action::Refuse(busy)).times(3)));
    lab.until("2026-03-09T12:00:00Z").await;
    assert_eq!(without_vm(&lab), 0);
    assert_eq!(look::events(&lab.store(), "withdrawn").await, []);
    for row in look::snapshots(&lab.store(), "nightly").await.iter().filter(|row| row.vm_name == names[0]) {
        assert_eq!(row.state, SnapshotState::Removed, "{row:?}");
        let removals = lab.store().removals_of(row.uuid).await.unwrap();
        assert_eq!(removals.iter().map(|removal| removal.state).collect::<Vec<_>>(), [RemovalState::Done], "{removals:?}");
    }
    lab.stop().await;
}

/// From now on this takes so many seconds.
fn takes(lab: &Lab, operation: &str, seconds: u64) {
    lab.step(|world| {
        world.storage.timings = Timings::default();
        world.storage.timings.set(operation, Duration::from_secs(seconds));
    });
}

/// VMs that an earlier life shut down and did not bring back, and a pool that takes two minutes to start one.
#[tokio::test]
async fn vms_that_were_left_halted_are_started_side_by_side() {
    let mut lab = Lab::new(6, vec![]).await;
    lab.start().await;
    lab.until("2026-03-01T12:30:00Z").await;
    let person = Person::new(&lab);
    let running = |vm: &Ref| lab.step(|world| &*world.database.text("VM", vm, "power_state") == "Running");
    let vms: Vec<Ref> = lab.vms().iter().map(|name| plain(&lab, name)).filter(|vm| running(vm)).take(4).collect();
    assert_eq!(vms.len(), 4);
    let pool = lab.handle().sites().borrow()[0].uuid;
    for vm in &vms {
        person.does(calls::vm::hard_shutdown(&person::vm(vm))).await;
        let uuid = lab.step(|world| world.database.text("VM", vm, "uuid"));
        lab.store()
            .keep(&format!("offline/{pool}/{uuid}"), &serde_json::json!({ "name": "a VM" }), lab.clock.now())
            .await
            .unwrap();
    }
    person.leaves().await;
    takes(&lab, "VM.start", 120);
    lab.until("2026-03-01T13:00:30Z").await;
    assert!(!vms.iter().any(running), "looked for once an hour, and started for two minutes");
    lab.until("2026-03-01T13:03:00Z").await;
    assert!(vms.iter().all(running));
    assert_eq!(lab.store().kept_under("offline/").await.unwrap(), []);
    lab.stop().await;
}

/// A server that died, and storage that takes five minutes to be scanned.
#[tokio::test]
async fn storage_is_scanned_side_by_side_before_history_and_pool_are_compared() {
    let mut lab = Lab::new(12, vec![policy("nightly", "0 2 * * *", "*", 2)]).await;
    lab.start().await;
    lab.until("2026-03-02T12:10:00Z").await;
    let rows = look::snapshots(&lab.store(), "nightly").await;
    let srs: BTreeSet<_> = rows.iter().flat_map(|row| &row.disks).map(|disk| disk.sr).collect();
    assert!(srs.len() >= 3, "{srs:?}");
    takes(&lab, "SR.scan", 300);
    lab.simulation.kill().await;
    lab.simulation.up().await.unwrap();
    lab.pass(240).await;
    let site = lab.handle().sites().borrow()[0].clone();
    assert!(!site.is_trusted(), "they are being scanned");
    lab.pass(150).await;
    assert!(site.is_trusted());
    let calls = lab.simulation.shared().unwrap().calls();
    assert_eq!(calls["Async.SR.scan"], srs.len() as u64);
    lab.stop().await;
}

/// Two policies whose schedules and afterwards are others than before.
#[tokio::test]
async fn a_set_of_policies_that_cannot_be_written_down_leaves_the_old_one_in_force() {
    let mut lab = Lab::new(1, vec![unattended(Afterwards::Keep, after_days(3))]).await;
    let folder = folder();
    let opened =
        Store::open(folder.path().join("history.sqlite"), &Default::default(), at("2026-03-01T12:00:00Z")).await.unwrap();
    let daemon = Daemon::new(opened, lab.plan(), std::sync::Arc::new(lab.clock.clone())).await.unwrap();
    let handle = daemon.handle();
    let before = handle.plan();
    lab.policies = vec![policy("other", "@hourly", "*", 1)];
    handle.store().close().await.unwrap();
    assert!(handle.reload(lab.plan()).await.is_err());
    assert!(std::sync::Arc::ptr_eq(&before, &handle.plan()));
}
