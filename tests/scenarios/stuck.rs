//! What never ends. A call whose time is over is told to end; whether it does or not, its storage is free for others after a bounded time,
//! nothing is done twice, what it left is looked for, and a person is told.

use std::time::Duration;

use xensnap::engine::site::Pace;
use xensnap::simulator::faults::{Action, Order, Plan, Rule};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Ref;
use xensnap::store::{AttemptState, Job, JobState, Outcome, RemovalState};
use xensnap::xenapi::calls;
use xensnap::xenapi::types::Ref as Reference;

use super::crash::{policy_for, with_disks, world};
use super::lab::{Lab, originator};
use super::look;
use super::person::{self, Person};

/// Work takes time, and whoever waits at the server looks every so many seconds. Two VMs with two disks each, and a policy that keeps one
/// snapshot of each.
async fn nightly() -> (Lab, Vec<String>) {
    nightly_within(Pace::default().call).await
}

/// The same, with so long for a call.
async fn nightly_within(call: Duration) -> (Lab, Vec<String>) {
    let world = world(Timings::default());
    let names = with_disks(&world, 2, 2);
    let mut lab = Lab::with("2026-03-01T12:30:00Z", world, vec![policy_for("nightly", "0 2 * * *", &names, 1)]).await;
    lab.pace.call = call;
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    (lab, names)
}

fn snapshots(lab: &Lab) -> usize {
    lab.step(|world| {
        let database = &world.database;
        database.refs("VM").into_iter().filter(|vm: &Ref| database.bool("VM", vm, "is_a_snapshot")).count()
    })
}

/// A disk of the VM.
fn a_disk(lab: &Lab, name: &str) -> Ref {
    lab.step(|world| {
        let database = &world.database;
        let plain = |vm: &Ref| !database.bool("VM", vm, "is_a_snapshot") && &*database.text("VM", vm, "name_label") == name;
        let vm = database.refs("VM").into_iter().find(plain).unwrap();
        let drives = database.texts("VM", &vm, "VBDs").into_iter();
        let drive = drives.filter(|vbd| &*database.text("VBD", vbd, "type") == "Disk").min().unwrap();
        database.text("VBD", &drive, "VDI")
    })
}

/// How often this was called by the service since the simulator started.
fn called(lab: &Lab, method: &str) -> u64 {
    lab.simulation.shared().unwrap().calls().get(method).copied().unwrap_or_default()
}

/// The server begins the snapshot of one VM and never ends it, and does not heed that it is told to.
#[tokio::test]
async fn a_snapshot_that_never_ends_holds_its_storage_for_a_bounded_time_and_is_not_taken_twice() {
    let (mut lab, names) = nightly().await;
    let before = called(&lab, "Async.VM.snapshot");
    let stuck = Rule::on("VM.snapshot", Action::Stuck).originator(originator("lab")).object(&*names[0]).times(1);
    lab.simulation.set_faults(Plan::new(0).with(stuck));
    lab.until("2026-03-03T04:05:00Z").await;
    assert_eq!(look::events(&lab.store(), "stuck").await.len(), 1, "a person is told, once");
    let site = lab.handle().sites().borrow()[0].clone();
    assert!(site.admission.queues().iter().all(|queue| queue.in_flight == 0), "its storage is free for others");
    let jobs = look::jobs(&lab.store(), "nightly").await;
    let of = |name: &str| jobs.iter().rfind(|job| job.vm_name == name).unwrap().clone();
    assert_eq!(of(&names[0]).state, JobState::Unresolved, "nobody knows yet");
    let run = look::runs(&lab.store(), "nightly").await.pop().unwrap();
    assert!(run.outcome.is_some(), "the run does not wait for it: {run:?}");
    // The stuck call holds the storage at the server itself, so nobody else's call can have an effect while it does.
    lab.until("2026-03-03T05:00:00Z").await;
    let made = called(&lab, "Async.VM.snapshot") - before;
    assert!(made <= 2, "one for each VM, and none twice: {made}");
    // Somebody restarts the toolstack: now it is certain.
    lab.clock.run(lab.simulation.carry_out(&Order::Stop { down: Some(Duration::from_secs(20)) })).await.unwrap();
    lab.until("2026-03-03T14:00:00Z").await;
    let jobs = look::jobs(&lab.store(), "nightly").await;
    let last = jobs.iter().rfind(|job| job.vm_name == names[0]).unwrap();
    assert!(last.state.is_final(), "{last:?}");
    lab.until("2026-03-04T12:00:00Z").await;
    assert_eq!(lab.held()[&names[0]], ["03-04 02:00"]);
    assert_eq!(lab.held()[&names[1]], ["03-04 02:00"]);
    lab.stop().await;
}

/// Somebody else's call holds the storage and never ends. Ours waits for it at the server, which gives it up after two hours.
#[tokio::test]
async fn a_snapshot_whose_end_comes_long_after_its_time_counts_as_what_it_was() {
    let (mut lab, names) = nightly_within(Duration::from_secs(3600)).await;
    let (before, disk, person) = (snapshots(&lab), a_disk(&lab, &names[0]), Person::new(&lab));
    let stuck = Rule::on("VDI.snapshot", Action::Stuck).originator(person::ORIGINATOR);
    lab.simulation.set_faults(Plan::new(0).with(stuck));
    let theirs = tokio::spawn(async move { person.tries(calls::vdi::snapshot(&Reference::new(&disk))).await.is_ok() });
    lab.until("2026-03-03T03:10:00Z").await;
    assert_eq!(look::events(&lab.store(), "stuck").await.len(), 1, "a person is told");
    let of_run = look::jobs(&lab.store(), "nightly").await.split_off(2);
    let states =
        |jobs: &[Job]| names.iter().map(|name| jobs.iter().find(|job| job.vm_name == *name).unwrap().state).collect::<Vec<_>>();
    assert_eq!(states(&of_run), [JobState::Unresolved, JobState::Done], "the other VM's snapshot did not wait for it");
    lab.until("2026-03-03T05:10:00Z").await;
    let job = look::jobs(&lab.store(), "nightly").await.split_off(2).into_iter().find(|job| job.vm_name == names[0]).unwrap();
    let attempts = lab.store().attempts(job.id).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.state).collect::<Vec<_>>(), [AttemptState::Refused], "now it is certain");
    assert_eq!(job.state, JobState::Failed);
    lab.clock.run(lab.simulation.carry_out(&Order::Stop { down: Some(Duration::from_secs(20)) })).await.unwrap();
    theirs.abort();
    lab.until("2026-03-04T12:00:00Z").await;
    assert_eq!(snapshots(&lab), before, "one of each VM, as the policy wants");
    assert!(lab.held().values().all(|due| due == &["03-04 02:00"]), "{:?}", lab.held());
    lab.stop().await;
}

#[tokio::test]
async fn a_disk_that_is_never_destroyed_holds_its_storage_for_a_bounded_time_and_is_called_for_once_more() {
    let (mut lab, names) = nightly().await;
    let stuck = Rule::on("VDI.destroy", Action::Stuck).originator(originator("lab")).times(1);
    lab.simulation.set_faults(Plan::new(0).with(stuck));
    lab.until("2026-03-03T04:30:00Z").await;
    assert_eq!(look::events(&lab.store(), "stuck").await.len(), 1);
    let site = lab.handle().sites().borrow()[0].clone();
    assert!(site.admission.queues().iter().all(|queue| queue.in_flight == 0), "its storage is free for others");
    // Nothing shows any more that the server works on it: a second call, and no third one.
    assert_eq!(called(&lab, "Async.VDI.destroy"), 5, "four disks");
    lab.until("2026-03-03T05:30:00Z").await;
    assert_eq!(called(&lab, "Async.VDI.destroy"), 5);
    lab.clock.run(lab.simulation.carry_out(&Order::Stop { down: Some(Duration::from_secs(20)) })).await.unwrap();
    lab.until("2026-03-05T12:00:00Z").await;
    for row in look::snapshots(&lab.store(), "nightly").await {
        let removals = lab.store().removals_of(row.uuid).await.unwrap();
        assert!(removals.iter().all(|removal| removal.state == RemovalState::Done), "{removals:?}");
    }
    assert_eq!(lab.held()[&names[0]], ["03-05 02:00"]);
    let run = look::runs(&lab.store(), "nightly").await.pop().unwrap();
    assert_eq!(run.outcome, Some(Outcome::Succeeded));
    lab.stop().await;
}
