//! What is left although nobody works on it. What is ours beyond doubt is put right by itself; what is not is listed, with what to do
//! about it, and never touched.

use std::time::Duration;

use serde_json::{Value as Json, json};
use xensnap::domain::mark::KEY;
use xensnap::domain::policy::{Fallback, WantedKind};
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Order, Plan, Rule, When};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Value};
use xensnap::store::{AttemptState, JobState, RemovalState};
use xensnap::xenapi::calls;
use xensnap::xenapi::types::Ref as Reference;

use super::control::Peer;
use super::crash::{policy_for, with_disks, world};
use super::foreign::Foreign;
use super::lab::Lab;
use super::look;
use super::person::Person;

/// What `xensnap orphans` would show: each with what it is, its code and its uuid.
async fn listed(lab: &Lab) -> Vec<(String, String, String)> {
    let answer = Peer::of(lab).await.ask(json!({ "orphans": {} })).await;
    let data = answer.iter().find_map(|piece| piece.get("data")).unwrap();
    let text = |orphan: &Json, member: &str| orphan[member].as_str().unwrap().to_owned();
    let orphans = data["orphans"].as_array().unwrap().iter();
    orphans.map(|orphan| (text(orphan, "what"), text(orphan, "code"), text(orphan, "uuid"))).collect()
}

async fn codes(lab: &Lab) -> Vec<String> {
    listed(lab).await.into_iter().map(|(_, code, _)| code).collect()
}

/// Disks that people see and that stand in no drive.
fn loose(lab: &Lab) -> Vec<Ref> {
    lab.step(|world| {
        let database = &world.database;
        let lonely = |vdi: &Ref| database.bool("VDI", vdi, "managed") && database.texts("VDI", vdi, "VBDs").is_empty();
        database.refs("VDI").into_iter().filter(lonely).collect()
    })
}

/// Every snapshot and template that is not ours.
fn others(lab: &Lab) -> Foreign {
    let ours: Vec<Ref> = lab.snapshots().into_iter().map(|found| found.reference).collect();
    let all = lab.step(|world| {
        let database = &world.database;
        database.refs("VM").into_iter().filter(|vm| database.bool("VM", vm, "is_a_template")).collect::<Vec<Ref>>()
    });
    Foreign::of(lab, all.iter().filter(|vm| !ours.contains(vm)))
}

fn text(lab: &Lab, class: &str, object: &Ref, field: &str) -> String {
    lab.step(|world| world.database.text(class, object, field)).to_string()
}

fn named(lab: &Lab, name: &str) -> Ref {
    lab.step(|world| {
        let database = &world.database;
        let plain = |vm: &Ref| !["is_a_template", "is_a_snapshot"].iter().any(|field| database.bool("VM", vm, field));
        database.refs("VM").into_iter().find(|vm| plain(vm) && &*database.text("VM", vm, "name_label") == name).unwrap()
    })
}

/// Two VMs with two disks each and a nightly policy that keeps two, in the afternoon of its first night.
async fn after_a_night() -> (Lab, Vec<String>) {
    let world = world(Timings::instant());
    let names = with_disks(&world, 2, 2);
    let mut lab = Lab::with("2026-03-01T12:30:00Z", world, vec![policy_for("nightly", "0 2 * * *", &names, 2)]).await;
    lab.start().await;
    lab.until("2026-03-02T14:00:00Z").await;
    (lab, names)
}

/// The server dies right after the second snapshot of the night and has forgotten both, whose volumes a scan brings back; both are
/// taken again.
async fn forgetting_night() -> (Lab, Vec<String>, Vec<Ref>) {
    let (lab, names) = after_a_night().await;
    let before = loose(&lab);
    lab.until("2026-03-03T01:59:59Z").await;
    let order = Order::Kill { down: Some(Duration::from_secs(30)) };
    let dies = Rule::on("VM.set_name_description", Action::Server { order, when: When::During, delay: Duration::ZERO }).nth(2);
    let slow = Rule::on("pool.sync_database", Action::Delay(Duration::from_secs(60))).times(1);
    lab.simulation.set_faults(Plan::new(0).with(dies).with(slow));
    lab.until("2026-03-03T04:00:00Z").await;
    lab.simulation.set_faults(Plan::default());
    let left: Vec<Ref> = loose(&lab).into_iter().filter(|vdi| !before.contains(vdi)).collect();
    assert_eq!(left.len(), 4, "the volumes of two snapshots with two disks each");
    assert_eq!(look::events(&lab.store(), "left-behind").await.len(), 2);
    (lab, names, left)
}

#[tokio::test]
async fn disks_of_snapshots_that_the_server_forgot_stay_for_a_day_and_go_then() {
    let (mut lab, names, left) = forgetting_night().await;
    let foreign = others(&lab);
    assert_eq!(codes(&lab).await, ["waits"; 4]);
    lab.until("2026-03-04T01:30:00Z").await;
    assert!(left.iter().all(|vdi| loose(&lab).contains(vdi)), "somebody may bring the snapshot back");
    lab.until("2026-03-04T05:00:00Z").await;
    foreign.assert_untouched(&lab);
    assert!(left.iter().all(|vdi| !loose(&lab).contains(vdi)), "nobody brought it back");
    assert_eq!(look::events(&lab.store(), "reclaimed").await.len(), 2, "each snapshot's is told");
    assert_eq!(listed(&lab).await, []);
    assert_eq!(lab.held()[&names[0]].len(), 2);
    lab.stop().await;
}

/// The service that saw them go is gone too.
#[tokio::test]
async fn disks_that_another_life_saw_left_behind_go_as_well() {
    let (mut lab, _, left) = forgetting_night().await;
    lab.stop().await;
    lab.until("2026-03-04T12:00:00Z").await;
    lab.start().await;
    lab.pass(30).await;
    assert!(left.iter().all(|vdi| !loose(&lab).contains(vdi)), "at the start, not an hour later");
    lab.stop().await;
}

#[tokio::test]
async fn a_disk_that_somebody_uses_or_has_named_since_is_spared() {
    let (mut lab, names, left) = forgetting_night().await;
    let (person, vm) = (Person::new(&lab), named(&lab, &names[0]));
    person.attaches(&left[0], &vm).await;
    person.does(calls::vdi::set_name_label(&Reference::new(&left[1]), "rescued by Alice")).await;
    lab.until("2026-03-05T12:00:00Z").await;
    let exists = |vdi: &Ref| lab.step(|world| world.database.exists("VDI", vdi));
    assert_eq!(left.iter().map(exists).collect::<Vec<_>>(), [true, true, false, false]);
    let uuid = text(&lab, "VDI", &left[1], "uuid");
    assert_eq!(listed(&lab).await, [("disk".to_owned(), "renamed".to_owned(), uuid)], "one that is used is no leftover");
    person.leaves().await;
    lab.stop().await;
}

/// Whoever destroys a snapshot's record alone may want its disks.
#[tokio::test]
async fn disks_that_somebody_else_left_are_listed_and_stay() {
    let (mut lab, _) = after_a_night().await;
    let before = loose(&lab).len();
    let person = Person::new(&lab);
    let snapshot = lab.snapshots()[0].reference.clone();
    person.does(calls::vm::destroy(&Reference::new(&snapshot))).await;
    lab.until("2026-03-06T14:00:00Z").await;
    assert_eq!(loose(&lab).len(), before + 2);
    assert_eq!(codes(&lab).await, ["removed-by-others"; 2]);
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_lost_its_mark_is_marked_again_and_goes_in_its_time() {
    let (mut lab, names) = after_a_night().await;
    let snapshot = lab.snapshots()[0].reference.clone();
    let mark = lab.step(|world| {
        let mark = world.database.map_text("VM", &snapshot, "other_config", KEY);
        world.database.take("VM", &snapshot, "other_config", KEY).unwrap();
        mark
    });
    assert_eq!(lab.snapshots().len(), 1);
    lab.until("2026-03-02T16:30:00Z").await;
    assert_eq!(lab.step(|world| world.database.map_text("VM", &snapshot, "other_config", KEY)), mark, "the very same");
    assert_eq!(look::events(&lab.store(), "reclaimed").await.len(), 1);
    lab.until("2026-03-05T04:00:00Z").await;
    assert_eq!(lab.held()[&names[0]], ["03-04 02:00", "03-05 02:00"], "retention removed it as every other");
    assert_eq!(listed(&lab).await, []);
    lab.stop().await;
}

/// It turns up under the name that a failed attempt gave it, long after the attempt's run has ended.
#[tokio::test]
async fn what_a_failed_attempt_left_goes_also_when_its_run_is_over() {
    let (mut lab, names) = after_a_night().await;
    lab.until("2026-03-03T01:59:59Z").await;
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VM.snapshot", Action::Refuse(full)).object(&*names[0])));
    lab.until("2026-03-03T04:00:00Z").await;
    lab.simulation.set_faults(Plan::default());
    let jobs = look::jobs(&lab.store(), "nightly").await;
    let failed = jobs.iter().find(|job| job.state == JobState::Failed).unwrap();
    let attempt = lab.store().attempts(failed.id).await.unwrap().pop().unwrap();
    assert_eq!(attempt.state, AttemptState::Refused);
    let (person, vms) = (Person::new(&lab), lab.count("VM"));
    person.snapshots(&named(&lab, &names[0]), &format!("{} nightly #{}", names[0], attempt.nonce)).await;
    lab.until("2026-03-03T06:30:00Z").await;
    assert_eq!(lab.count("VM"), vms, "it counts for nothing");
    assert_eq!(look::events(&lab.store(), "leftover").await.len(), 1);
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn a_snapshot_whose_name_alone_is_like_ours_is_listed_and_stays_as_it_is() {
    let (mut lab, names) = after_a_night().await;
    let person = Person::new(&lab);
    let like = person.snapshots(&named(&lab, &names[0]), "before the upgrade #abcdefgh").await;
    let foreign = Foreign::of(&lab, [&like]);
    assert_eq!(listed(&lab).await, [], "another installation may be about to mark it");
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(listed(&lab).await, [("snapshot".to_owned(), "name-only".to_owned(), text(&lab, "VM", &like, "uuid"))]);
    foreign.assert_untouched(&lab);
    person.leaves().await;
    lab.stop().await;
}

/// A running VM and a policy that takes it with its memory.
async fn frozen() -> (Lab, String, Ref) {
    let mut lab = Lab::new(2, vec![]).await;
    let running = lab.vms().into_iter().find(|name| text(&lab, "VM", &named(&lab, name), "power_state") == "Running");
    let name = running.expect("a VM runs");
    let mut frozen = policy_for("frozen", "0 2 * * *", std::slice::from_ref(&name), 2);
    frozen.snapshot.kind = WantedKind::Memory(Fallback::Fail);
    lab.policies = vec![frozen];
    let vm = named(&lab, &name);
    lab.start().await;
    (lab, name, vm)
}

#[tokio::test]
async fn a_vm_that_a_snapshot_with_memory_left_suspended_is_resumed() {
    let (mut lab, _, vm) = frozen().await;
    let failed = ApiError::new("VM_CHECKPOINT_RESUME_FAILED", [&*vm]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VM.resume", Action::Refuse(failed)).times(1)));
    lab.until("2026-03-02T02:30:00Z").await;
    assert_eq!(text(&lab, "VM", &vm, "power_state"), "Running");
    assert_eq!(lab.store().kept_under("suspended/").await.unwrap(), []);
    assert_eq!(listed(&lab).await, []);
    lab.stop().await;
}

/// The server is as unwilling as before, and somebody has to know.
#[tokio::test]
async fn a_vm_that_cannot_be_resumed_is_listed_and_tried_again() {
    let (mut lab, _, vm) = frozen().await;
    let failed = ApiError::new("VM_CHECKPOINT_RESUME_FAILED", [&*vm]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VM.resume", Action::Refuse(failed))));
    lab.until("2026-03-02T06:30:00Z").await;
    assert_eq!(listed(&lab).await, [("vm".to_owned(), "suspended".to_owned(), text(&lab, "VM", &vm, "uuid"))]);
    assert!(!look::events(&lab.store(), "left-suspended").await.is_empty());
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-03-02T08:30:00Z").await;
    assert_eq!(text(&lab, "VM", &vm, "power_state"), "Running");
    assert_eq!(look::events(&lab.store(), "reclaimed").await.len(), 1);
    assert_eq!(listed(&lab).await, []);
    lab.stop().await;
}

#[tokio::test]
async fn a_vm_that_somebody_else_suspended_stays_so() {
    let (mut lab, _, vm) = frozen().await;
    lab.until("2026-03-02T04:00:00Z").await;
    let person = Person::new(&lab);
    person.does(calls::vm::suspend(&Reference::new(&vm))).await;
    lab.until("2026-03-02T20:00:00Z").await;
    assert_eq!(text(&lab, "VM", &vm, "power_state"), "Suspended");
    assert_eq!(listed(&lab).await, []);
    person.leaves().await;
    lab.stop().await;
}

/// A task with this nonce, made by somebody who went away.
async fn task_of(person: &Person, nonce: &str) -> Ref {
    let task = person.does(calls::task::create("Async.VM.snapshot", "")).await;
    person.does(calls::task::add_to_other_config(&task, "http:xensnap-nonce", nonce)).await;
    task.to_string().into()
}

#[tokio::test]
async fn a_task_of_ours_that_nobody_watches_is_cleaned_away_when_it_is_over_and_told_to_end_before() {
    let (mut lab, _) = after_a_night().await;
    let job = look::jobs(&lab.store(), "nightly").await.pop().unwrap();
    let nonce = lab.store().attempts(job.id).await.unwrap().pop().unwrap().nonce;
    let person = Person::new(&lab);
    let (ours, others) = (task_of(&person, &nonce).await, task_of(&person, "zzzzzzzz").await);
    lab.until("2026-03-02T16:30:00Z").await;
    assert_eq!(listed(&lab).await, [("task".to_owned(), "ends-not".to_owned(), text(&lab, "task", &ours, "uuid"))]);
    let told = |task: &Ref| lab.step(|world| world.database.get("task", task, "current_operations").unwrap().members().len());
    assert_eq!((told(&ours), told(&others)), (1, 0), "what the history does not know is another installation's");
    lab.step(|world| world.database.set("task", &ours, "status", Value::str("cancelled"))).unwrap();
    lab.until("2026-03-02T18:30:00Z").await;
    assert!(!lab.step(|world| world.database.exists("task", &ours)));
    assert!(lab.step(|world| world.database.exists("task", &others)));
    assert_eq!(listed(&lab).await, []);
    person.leaves().await;
    lab.stop().await;
}

/// Somebody put a history back that does not know the pin any more.
#[tokio::test]
async fn a_guard_that_the_history_lost_is_a_pin_again_and_is_taken_off_when_its_date_has_passed() {
    let (mut lab, names) = after_a_night().await;
    let snapshot = lab.snapshots()[0].reference.clone();
    let blocks = |until: &str| {
        let guard = format!("pinned with xensnap until {until}: the audit");
        lab.step(|world| world.database.put("VM", &snapshot, "blocked_operations", "destroy", Value::str(guard))).unwrap();
    };
    blocks("2026-03-06T12:00:00Z");
    lab.until("2026-03-06T10:00:00Z").await;
    assert_eq!(lab.held()[&names[0]], ["03-02 02:00", "03-05 02:00", "03-06 02:00"], "it stays as a pinned one does");
    lab.until("2026-03-07T10:00:00Z").await;
    assert_eq!(lab.held()[&names[0]], ["03-06 02:00", "03-07 02:00"]);
    lab.stop().await;
}

/// The storage lets a disk go only days later.
#[tokio::test]
async fn a_removal_that_could_not_be_brought_to_its_end_is_tried_again_each_day() {
    let (mut lab, _) = after_a_night().await;
    let broken = ApiError::new("SR_BACKEND_FAILURE_80", ["", "the disk cannot be deleted", ""]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VDI.destroy", Action::Refuse(broken))));
    lab.until("2026-03-05T12:00:00Z").await;
    let codes = codes(&lab).await;
    assert!(!codes.is_empty() && codes.iter().all(|code| code == "stuck"), "{codes:?}");
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-03-06T14:00:00Z").await;
    assert_eq!(listed(&lab).await, []);
    for row in look::snapshots(&lab.store(), "nightly").await {
        let removals = lab.store().removals_of(row.uuid).await.unwrap();
        assert!(removals.iter().all(|removal| removal.state == RemovalState::Done), "{removals:?}");
    }
    lab.stop().await;
}
