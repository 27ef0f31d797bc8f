//! Whose a snapshot is. The server copies our mark with everything that it copies, people rename, clone, revert and import, and a
//! history may be lost or older than the pool. In each case two things hold: nothing that is not ours is changed or destroyed, and
//! exactly the promised snapshots exist.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rstest::rstest;
use tokio::task::JoinHandle;
use uuid::Uuid;
use xensnap::domain::id::SrUuid;
use xensnap::domain::mark::KEY;
use xensnap::engine::admission::{Request, Staged};
use xensnap::engine::prune;
use xensnap::engine::uninstall::{self, Removed};
use xensnap::simulator::value::{Ref, Value};
use xensnap::store::{NewRemoval, PartState, RemovalId, Role};
use xensnap::xenapi::calls;
use xensnap::xenapi::types::Ref as Reference;

use super::foreign::{Foreign, assert_destroyed_only_its_own};
use super::lab::{Found, HISTORY, Lab, folder, originator, policy};
use super::look;
use super::person::{self, Person};

const NIGHTLY: &str = "0 2 * * *";

/// Three VMs, each night a snapshot of each, two stay; the first three nights have passed.
async fn after_three_nights() -> Lab {
    let mut lab = Lab::new(3, vec![policy("nightly", NIGHTLY, "*", 2)]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-03", "03-04"]));
    lab
}

/// The nights of our snapshots, by VM.
fn due_by_vm(lab: &Lab) -> BTreeMap<String, Vec<String>> {
    by_vm(lab.snapshots())
}

fn by_vm(found: Vec<Found>) -> BTreeMap<String, Vec<String>> {
    let mut nights: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in found {
        nights.entry(found.vm).or_default().push(found.mark.due_at.format("%m-%d").to_string());
    }
    nights
}

fn promised(vms: &[String], nights: &[&str]) -> BTreeMap<String, Vec<String>> {
    vms.iter().map(|vm| (vm.clone(), nights.iter().map(|night| (*night).to_owned()).collect())).collect()
}

/// A VM by its name.
fn vm(lab: &Lab, name: &str) -> Ref {
    lab.step(|world| {
        let plain = |vm: &Ref| !world.database.bool("VM", vm, "is_a_template") && !world.database.bool("VM", vm, "is_a_snapshot");
        let named = |vm: &Ref| &*world.database.text("VM", vm, "name_label") == name;
        world.database.refs("VM").into_iter().find(|vm| plain(vm) && named(vm)).expect("there is such a VM")
    })
}

fn text(lab: &Lab, class: &str, reference: &Ref, field: &str) -> String {
    lab.step(|world| world.database.text(class, reference, field).to_string())
}

/// The value under our key.
fn mark_on(lab: &Lab, object: &Ref) -> Option<String> {
    lab.step(|world| world.database.map_text("VM", object, "other_config", KEY).map(|text| text.to_string()))
}

/// The newest snapshot of ours of a VM.
fn newest(lab: &Lab, vm: &str) -> Found {
    lab.snapshots().into_iter().rfind(|found| found.vm == vm).expect("a snapshot of the VM")
}

fn oldest(lab: &Lab, vm: &str) -> Found {
    lab.snapshots().into_iter().find(|found| found.vm == vm).expect("a snapshot of the VM")
}

/// The disks of a snapshot or VM.
fn disks(lab: &Lab, vm: &Ref) -> Vec<Ref> {
    lab.step(|world| {
        let vbds = world.database.texts("VM", vm, "VBDs").into_iter();
        let disks = vbds.filter(|vbd| &*world.database.text("VBD", vbd, "type") == "Disk");
        disks.map(|vbd| world.database.text("VBD", &vbd, "VDI")).collect()
    })
}

/// No slot has two snapshots of one VM.
fn assert_nothing_doubled(lab: &Lab) {
    let mut slots: BTreeMap<(String, String, DateTime<Utc>), usize> = BTreeMap::new();
    for found in lab.snapshots() {
        *slots.entry((found.mark.installation.to_string(), found.vm, found.mark.due_at)).or_default() += 1;
    }
    assert!(slots.values().all(|count| *count == 1), "{slots:?}");
}

#[tokio::test]
async fn another_installation_with_an_empty_history_and_a_policy_of_the_same_name_has_snapshots_of_its_own() {
    let mut lab = after_three_nights().await;
    let ours: Vec<Ref> = lab.snapshots().into_iter().map(|found| found.reference).collect();
    let ours = Foreign::of(&lab, &ours);
    let folder = folder();
    let test = lab.another("test", &folder, &[policy("nightly", "0 4 * * *", "*", 1)]).await;
    lab.until("2026-03-05T01:00:00Z").await;
    ours.assert_untouched(&lab);
    lab.until("2026-03-07T12:00:00Z").await;
    let (theirs, ours): (Vec<_>, Vec<_>) =
        lab.snapshots().into_iter().partition(|found| found.mark.installation.as_str() == "test");
    assert_eq!(by_vm(ours), promised(&lab.vms(), &["03-06", "03-07"]));
    assert_eq!(by_vm(theirs), promised(&lab.vms(), &["03-07"]));
    lab.end(test).await;
    lab.stop().await;
    assert_eq!(assert_destroyed_only_its_own(&lab, &originator("lab")), (18, 12));
    assert_eq!(assert_destroyed_only_its_own(&lab, &originator("test")), (9, 6));
}

#[rstest]
#[case::with_an_empty_history(false)]
#[case::with_the_history_of_the_old_pool(true)]
#[tokio::test]
async fn snapshots_in_a_pool_that_was_restored_under_another_uuid_belong_to_nobody(#[case] keep_history: bool) {
    let mut lab = after_three_nights().await;
    lab.stop().await;
    let inherited = Foreign::all_snapshots(&lab);
    assert_eq!(inherited.snapshots(), 6);
    let other = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
    lab.step(|world| {
        let pool = world.database.refs("pool").remove(0);
        world.database.set("pool", &pool, "uuid", Value::str(other.to_string())).unwrap();
    });
    if !keep_history {
        lab.folder = folder();
    }
    lab.start().await;
    lab.until("2026-03-08T12:00:00Z").await;
    inherited.assert_untouched(&lab);
    let ours: Vec<Found> = lab.snapshots().into_iter().filter(|found| found.mark.pool.0 == other).collect();
    assert_eq!(by_vm(ours), promised(&lab.vms(), &["03-07", "03-08"]));
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

#[rstest]
#[case::cloned(false)]
#[case::copied(true)]
#[tokio::test]
async fn what_a_person_takes_of_a_vm_made_from_our_snapshot_carries_our_mark_and_is_the_persons(#[case] full_copy: bool) {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let name = lab.vms().remove(0);
    let made = person.restores(&newest(&lab, &name).reference, "restored", full_copy).await;
    let manual = person.snapshots(&made, "before the upgrade").await;
    assert!(mark_on(&lab, &made).is_some(), "the server copies other_config, our mark with it");
    assert!(mark_on(&lab, &manual).is_some());
    let theirs = Foreign::of(&lab, [&manual]);
    lab.until("2026-03-08T12:00:00Z").await;
    theirs.assert_untouched(&lab);
    // The new VM is covered like any other, and its snapshots carry marks of their own.
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-07", "03-08"]));
    assert_eq!(lab.vms().len(), 4);
    assert!(!disks(&lab, &made).is_empty() && disks(&lab, &made).iter().all(|disk| lab.step(|w| w.database.exists("VDI", disk))));
    person.leaves().await;
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

#[tokio::test]
async fn what_a_person_takes_of_a_vm_that_was_reverted_to_our_snapshot_is_the_persons() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let name = lab.vms().remove(0);
    let back = newest(&lab, &name);
    // A snapshot that does not remember its VM's settings, as those from before 5.6: the VM gets the snapshot's own, our mark too.
    lab.step(|world| world.database.set("VM", &back.reference, "snapshot_metadata", Value::str(""))).unwrap();
    person.does(calls::vm::revert(&person::vm(&back.reference))).await;
    let mark = mark_on(&lab, &back.reference);
    assert!(mark.is_some() && mark_on(&lab, &vm(&lab, &name)) == mark);
    let manual = person.snapshots(&vm(&lab, &name), "after going back").await;
    assert_eq!(mark_on(&lab, &manual), mark);
    let theirs = Foreign::of(&lab, [&manual]);
    lab.until("2026-03-08T12:00:00Z").await;
    theirs.assert_untouched(&lab);
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-07", "03-08"]));
    person.leaves().await;
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

#[tokio::test]
async fn a_mark_that_was_copied_by_hand_onto_vms_and_snapshots_makes_none_of_them_ours() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let vms = lab.vms();
    let mark = mark_on(&lab, &newest(&lab, &vms[0]).reference).unwrap();
    let manual = person.snapshots(&vm(&lab, &vms[0]), "mine").await;
    let other = vm(&lab, &vms[1]);
    for object in [&manual, &other] {
        person.does(calls::vm::add_to_other_config(&person::vm(object), KEY, &mark)).await;
    }
    let inheriting = person.snapshots(&other, "mine too").await;
    let garbage = person.snapshots(&vm(&lab, &vms[2]), "odd").await;
    person.does(calls::vm::add_to_other_config(&person::vm(&garbage), KEY, "{\"v\":1,\"installation\":\"lab\"}")).await;
    let theirs = Foreign::of(&lab, [&manual, &inheriting, &garbage]);
    lab.until("2026-03-08T12:00:00Z").await;
    theirs.assert_untouched(&lab);
    assert_eq!(due_by_vm(&lab), promised(&vms, &["03-07", "03-08"]));
    assert_eq!(mark_on(&lab, &other), Some(mark), "a VM is not ours to clean");
    person.leaves().await;
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

#[tokio::test]
async fn a_renamed_vm_keeps_its_snapshots_and_its_retention() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let before = lab.vms().remove(0);
    person.does(calls::vm::set_name_label(&person::vm(&vm(&lab, &before)), "another name")).await;
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-04", "03-05"]));
    assert!(lab.vms().contains(&"another name".to_owned()) && !lab.vms().contains(&before));
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_a_person_renamed_is_ours_by_its_mark_and_goes_in_its_time() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let name = lab.vms().remove(0);
    let renamed = newest(&lab, &name);
    person.does(calls::vm::set_name_label(&person::vm(&renamed.reference), "please keep")).await;
    lab.until("2026-03-05T12:00:00Z").await;
    assert!(lab.snapshots().iter().any(|found| found.uuid == renamed.uuid));
    lab.until("2026-03-06T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-05", "03-06"]));
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn a_snapshot_whose_disk_hangs_on_another_vm_stays_whole_and_goes_once_it_is_detached() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let vms = lab.vms();
    let used = oldest(&lab, &vms[0]);
    let drive = person.attaches(&disks(&lab, &used.reference)[0], &vm(&lab, &vms[1])).await;
    let whole = Foreign::of(&lab, [&used.reference]);
    lab.until("2026-03-08T12:00:00Z").await;
    whole.assert_untouched(&lab);
    let mut expected = promised(&vms, &["03-07", "03-08"]);
    expected.insert(vms[0].clone(), vec!["03-03".into(), "03-07".into(), "03-08".into()]);
    assert_eq!(due_by_vm(&lab), expected);
    assert_eq!(look::events(&lab.store(), "detached").await.len(), 1, "it is said once");

    person.does(calls::vbd::destroy(&Reference::new(&drive))).await;
    lab.until("2026-03-09T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&vms, &["03-08", "03-09"]));
    assert!(disks_are_gone(&lab, &whole));
    person.leaves().await;
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

/// A removal of the oldest snapshot of the first VM, on its way while the test decides whose turn it is on the storage.
struct UnderWay {
    lab: Lab,
    used: Found,
    disk: Ref,
    removal: RemovalId,
    ended: JoinHandle<Removed>,
}

impl UnderWay {
    /// Begins it. `before` it come so many others, of which none ends before the test says so.
    async fn behind(before: usize) -> (Self, Vec<Staged>) {
        let lab = after_three_nights().await;
        let used = oldest(&lab, &lab.vms()[0]);
        let disk = disks(&lab, &used.reference)[0].clone();
        let site = lab.handle().sites().borrow()[0].clone();
        let row = lab.store().snapshots_by_uuid(used.uuid).await.unwrap().remove(0);
        let queue = prune::queue_of(&used.mark.policy);
        let place = Request { srs: row.disks.iter().map(|disk| SrUuid(disk.sr)).take(1).collect(), ..queue.clone() };
        let mut others = Vec::new();
        for _ in 0..before {
            others.push(site.admission.stage(place.clone()).await);
        }
        let mut parts = vec![(Role::Snapshot, used.uuid)];
        parts.extend(row.disks.iter().map(|disk| (Role::Disk, disk.vdi)));
        let new = NewRemoval { pool: row.pool, snapshot: used.uuid, run: None, reason: "a test".into(), parts };
        let planned = site.store.plan_removal(new, site.now()).await.unwrap();
        let (removal, mut worker) = (planned.id, site.worker());
        let ended = tokio::spawn(async move { uninstall::carry_out(&mut worker, &site, &planned, &queue).await.unwrap() });
        lab.pass(60).await;
        (Self { lab, used, disk, removal, ended }, others)
    }

    fn is_there(&self, class: &str, reference: &Ref) -> bool {
        self.lab.step(|world| world.database.exists(class, reference))
    }

    /// A person puts the disk into another VM, and then those before us let us go on.
    async fn attached_meanwhile(&mut self, others: Vec<Staged>) -> Removed {
        let person = Person::new(&self.lab);
        person.attaches(&self.disk, &vm(&self.lab, &self.lab.vms()[1])).await;
        person.leaves().await;
        drop(others);
        self.lab.pass(60).await;
        (&mut self.ended).await.unwrap()
    }
}

#[tokio::test]
async fn a_removal_that_waits_for_its_turn_has_destroyed_nothing_and_looks_before_it_does() {
    // One in flight and one that is next: the removal is behind both.
    let (mut removal, others) = UnderWay::behind(2).await;
    assert!(removal.is_there("VM", &removal.used.reference) && removal.is_there("VDI", &removal.disk));
    let ended = removal.attached_meanwhile(others).await;
    assert!(matches!(&ended, Removed::Withdrawn(cause) if cause.text.contains("hangs on another VM")), "{ended:?}");
    assert!(removal.is_there("VM", &removal.used.reference) && removal.is_there("VDI", &removal.disk));
    removal.lab.stop().await;
}

#[tokio::test]
async fn a_disk_whose_turn_was_long_in_coming_is_looked_at_again_before_it_is_destroyed() {
    let (mut removal, others) = UnderWay::behind(1).await;
    assert!(!removal.is_there("VM", &removal.used.reference), "its first disk was next, so the record went");
    assert!(removal.is_there("VDI", &removal.disk));
    let ended = removal.attached_meanwhile(others).await;
    assert_eq!(ended, Removed::Done);
    assert!(removal.is_there("VDI", &removal.disk));
    let parts = removal.lab.store().removal(removal.removal).await.unwrap().parts;
    let spared: Vec<_> = parts.iter().filter(|part| part.state == PartState::Spared).collect();
    assert_eq!(spared.len(), 1, "{parts:?}");
    removal.lab.stop().await;
}

fn disks_are_gone(lab: &Lab, of: &Foreign) -> bool {
    of.disks().iter().all(|disk| !lab.step(|world| world.database.exists("VDI", disk)))
}

#[tokio::test]
async fn a_snapshot_that_was_turned_into_a_vm_counts_for_no_policy_and_stays() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let vms = lab.vms();
    let turned = newest(&lab, &vms[0]);
    person.does(calls::vm::set_is_a_template(&person::vm(&turned.reference), false)).await;
    let theirs = Foreign::of(&lab, [&turned.reference]);
    lab.until("2026-03-08T12:00:00Z").await;
    theirs.assert_untouched(&lab);
    let mut expected = promised(&vms, &["03-07", "03-08"]);
    expected.insert(vms[0].clone(), vec!["03-04".into(), "03-07".into(), "03-08".into()]);
    assert_eq!(due_by_vm(&lab), expected);
    person.leaves().await;
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

#[tokio::test]
async fn a_vm_that_was_deleted_and_imported_again_is_covered_anew_and_its_old_snapshots_stay() {
    let mut lab = after_three_nights().await;
    let person = Person::new(&lab);
    let vms = lab.vms();
    let (name, gone) = (&vms[0], vm(&lab, &vms[0]));
    if text(&lab, "VM", &gone, "power_state") != "Halted" {
        person.does(calls::vm::hard_shutdown(&person::vm(&gone))).await;
    }
    let (uuid, sr) = (text(&lab, "VM", &gone, "uuid"), text(&lab, "VDI", &disks(&lab, &gone)[0], "SR"));
    let old: Vec<Ref> = lab.snapshots().into_iter().filter(|found| found.vm == *name).map(|found| found.reference).collect();
    let file = person.exports(&gone).await;
    let disks = disks(&lab, &gone);
    person.does(calls::vm::destroy(&person::vm(&gone))).await;
    for disk in &disks {
        person.does(calls::vdi::destroy(&Reference::new(disk))).await;
    }
    let old = Foreign::of(&lab, &old);
    lab.until("2026-03-05T12:00:00Z").await;
    old.assert_untouched(&lab);
    let back = person.imports(file, &sr.as_str().into()).await;
    assert_eq!(text(&lab, "VM", &back[0], "uuid"), uuid);
    lab.until("2026-03-09T12:00:00Z").await;
    old.assert_untouched(&lab);
    let ours: Vec<Found> = lab.snapshots().into_iter().filter(|found| !found.vm.is_empty()).collect();
    assert_eq!(by_vm(ours), promised(&vms, &["03-08", "03-09"]));
    person.leaves().await;
    lab.stop().await;
    assert_destroyed_only_its_own(&lab, &originator("lab"));
}

#[tokio::test]
async fn with_an_empty_history_nothing_is_doubled_and_retention_goes_on_by_the_marks() {
    let mut lab = after_three_nights().await;
    lab.until("2026-03-05T02:10:00Z").await;
    lab.stop().await;
    lab.folder = folder();
    lab.start().await;
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-04", "03-05"]));
    lab.until("2026-03-07T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-06", "03-07"]));
    let known = look::snapshots(&lab.store(), "nightly").await;
    assert_eq!(known.len(), 12, "the marks of two nights were written down, and two nights were run");
    lab.stop().await;
    assert_eq!(assert_destroyed_only_its_own(&lab, &originator("lab")), (18, 12));
}

#[tokio::test]
async fn a_history_that_was_restored_from_an_older_copy_repeats_nothing_and_removes_nothing_twice() {
    let mut lab = after_three_nights().await;
    lab.stop().await;
    let copy = std::fs::read(lab.folder.path().join(HISTORY)).unwrap();
    lab.start().await;
    lab.until("2026-03-07T02:10:00Z").await;
    lab.stop().await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-06", "03-07"]));

    std::fs::write(lab.folder.path().join(HISTORY), copy).unwrap();
    lab.start().await;
    // The slots of three nights are not in this history, and the last of them would be caught up with.
    lab.until("2026-03-07T12:00:00Z").await;
    assert_nothing_doubled(&lab);
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-06", "03-07"]));
    assert_eq!(assert_destroyed_only_its_own(&lab, &originator("lab")), (18, 12), "not one call was made again");
    lab.until("2026-03-09T12:00:00Z").await;
    assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-08", "03-09"]));
    assert_eq!(look::events(&lab.store(), "history-restored").await.len(), 1);
    lab.stop().await;
    assert_eq!(assert_destroyed_only_its_own(&lab, &originator("lab")), (24, 18));
}

/// What a power failure leaves: the file, and a log of which the end was not on disk yet. The pool has everything.
#[tokio::test]
async fn a_power_failure_that_took_the_end_of_the_log_costs_no_snapshot_and_doubles_none() {
    for kept in [0.97, 0.6, 0.45, 0.3, 0.0] {
        let mut lab = after_three_nights().await;
        let names = [HISTORY.to_owned(), format!("{HISTORY}-wal"), format!("{HISTORY}.generation")];
        lab.until("2026-03-06T02:10:00Z").await;
        let read = |name: &String| std::fs::read(lab.folder.path().join(name)).unwrap();
        let files: Vec<Vec<u8>> = names.iter().map(read).collect();
        lab.stop().await;
        for (name, mut bytes) in names.iter().zip(files) {
            if name.ends_with("-wal") {
                assert!(bytes.len() > 100_000, "the night is in the log");
                bytes.truncate((bytes.len() as f64 * kept) as usize);
            }
            std::fs::write(lab.folder.path().join(name), bytes).unwrap();
        }
        lab.start().await;
        lab.until("2026-03-06T12:00:00Z").await;
        assert_nothing_doubled(&lab);
        assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-05", "03-06"]), "{kept} of the log");
        lab.until("2026-03-08T12:00:00Z").await;
        assert_eq!(due_by_vm(&lab), promised(&lab.vms(), &["03-07", "03-08"]), "{kept} of the log");
        lab.stop().await;
        // Jobs that were under way when the log ends may be made good once more, and then those snapshots go again.
        let (taken, removed) = assert_destroyed_only_its_own(&lab, &originator("lab"));
        assert!(taken - removed == 6 && (21..=24).contains(&taken), "{kept} of the log: {taken} taken, {removed} removed");
    }
}
