//! Guards: what an unguarded service would have filled or lost, and what becomes of it here.

use std::collections::BTreeMap;

use xensnap::domain::guard::{OnLowSpace, Reserve};
use xensnap::domain::policy::Policy;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;
use xensnap::store::{EventFilter, EventKind, Job, JobState, Page, RunFilter};

use super::crash::{policy_for, with_disks, world};
use super::lab::{Lab, at};

const START: &str = "2026-03-01T12:00:00Z";

/// The disks of a VM.
fn disks_of(world: &World, name: &str) -> Vec<Ref> {
    let database = &world.database;
    let vm = database.refs("VM").into_iter().find(|vm| *database.text("VM", vm, "name_label") == *name).unwrap();
    let drives = database.texts("VM", &vm, "VBDs").into_iter().filter(|vbd| &*database.text("VBD", vbd, "type") == "Disk");
    drives.map(|vbd| database.text("VBD", &vbd, "VDI")).collect()
}

/// The SRs of a VM's disks.
fn srs_of(world: &World, name: &str) -> Vec<Ref> {
    let mut srs: Vec<Ref> = disks_of(world, name).iter().map(|vdi| world.database.text("VDI", vdi, "SR")).collect();
    srs.sort();
    srs.dedup();
    srs
}

/// Two VMs all of whose disks are on one SR.
fn neighbours(world: &World) -> (Ref, Vec<String>) {
    let mut alone: BTreeMap<Ref, Vec<String>> = BTreeMap::new();
    for vm in world.database.refs("VM") {
        let plain = |field| !world.database.bool("VM", &vm, field);
        if plain("is_a_template") && plain("is_a_snapshot") && plain("is_control_domain") {
            let name = world.database.text("VM", &vm, "name_label").to_string();
            if let [sr] = srs_of(world, &name).as_slice() {
                alone.entry(sr.clone()).or_default().push(name);
            }
        }
    }
    let (sr, mut vms) = alone.into_iter().find(|(_, vms)| vms.len() >= 2).expect("two of the generated VMs share an SR");
    vms.truncate(2);
    (sr, vms)
}

/// Makes the SRs of VMs so large that this much is free.
fn leave_free(world: &mut World, vms: &[String], bytes: i64) {
    for sr in vms.iter().flat_map(|vm| srs_of(world, vm)).collect::<Vec<_>>() {
        let used = world.database.int("SR", &sr, "physical_utilisation");
        world.database.set("SR", &sr, "physical_size", Value::Int(used + bytes)).unwrap();
    }
}

/// A lab with one VM of two disks, and its policy with a reserve of 64 MiB.
async fn lab(free: i64, on_low_space: OnLowSpace, change: impl FnOnce(&mut Policy)) -> (Lab, String) {
    let mut world = world(Timings::instant());
    let vms = with_disks(&world, 2, 1);
    leave_free(&mut world, &vms, free);
    let mut policy = policy_for("hourly", "0 * * * *", &vms, 1);
    (policy.guards.space_reserve, policy.guards.on_low_space) = (Reserve::Bytes(64 << 20), on_low_space);
    change(&mut policy);
    let lab = Lab::with(START, world, vec![policy]).await;
    (lab, vms[0].clone())
}

async fn jobs(lab: &Lab) -> Vec<Job> {
    let runs = lab.store().runs(RunFilter::default(), Page::first(50)).await.unwrap().rows;
    let mut jobs = Vec::new();
    for run in runs {
        jobs.extend(lab.store().jobs_of(run.id).await.unwrap());
    }
    jobs
}

async fn told(lab: &Lab, kind: EventKind) -> Vec<String> {
    let events = lab.store().events(EventFilter::default(), Page::first(500)).await.unwrap().rows;
    events.into_iter().filter(|event| event.kind == kind.as_str()).map(|event| event.text).collect()
}

/// The server itself would have taken it: the disks are small, and it keeps no reserve.
#[tokio::test]
async fn a_snapshot_that_would_go_into_the_reserve_is_not_taken_and_the_job_says_why() {
    let (mut lab, vm) = lab((64 << 20) + 1024, OnLowSpace::Skip, |_| {}).await;
    lab.start().await;
    lab.until("2026-03-01T13:30:00Z").await;
    assert!(lab.snapshots().is_empty(), "the SR is not to be filled");
    let jobs = jobs(&lab).await;
    let cause = jobs[0].cause.clone().unwrap();
    assert_eq!((jobs[0].state, cause.code.as_str()), (JobState::Failed, "low-space"), "{vm}: {}", cause.text);
    assert!(cause.text.contains("free, keeps 64 MiB in reserve") && cause.text.contains("needs up to"), "{}", cause.text);
    lab.stop().await;
}

#[tokio::test]
async fn without_a_reserve_or_with_go_ahead_the_same_snapshot_is_taken_and_the_history_says_so() {
    let (mut lab, _) = lab((64 << 20) + 1024, OnLowSpace::GoAhead, |_| {}).await;
    lab.start().await;
    lab.until("2026-03-01T13:30:00Z").await;
    assert_eq!(lab.snapshots().len(), 1);
    let told = told(&lab, EventKind::LowSpace).await;
    assert_eq!(told.len(), 1, "{told:?}");
    lab.stop().await;
}

#[tokio::test]
async fn where_the_space_comes_back_in_the_window_a_job_that_prunes_first_is_done() {
    let (mut lab, vm) = lab((64 << 20) + 1024, OnLowSpace::PruneFirst, |_| {}).await;
    lab.start().await;
    lab.until("2026-03-01T13:10:00Z").await;
    assert!(lab.snapshots().is_empty());
    let waiting = jobs(&lab).await;
    assert_eq!((waiting[0].state, waiting[0].cause.clone().unwrap().code.as_str()), (JobState::Queued, "low-space"));
    lab.step(|world| leave_free(world, &[vm], 10 << 30));
    lab.until("2026-03-01T13:40:00Z").await;
    assert_eq!(lab.snapshots().len(), 1);
    assert_eq!(jobs(&lab).await[0].state, JobState::Done);
    lab.stop().await;
}

/// A full SR and one snapshot that retention gives up once another is there: two are kept, the third would not fit.
#[tokio::test]
async fn what_retention_gives_up_goes_before_the_snapshot_and_the_last_good_one_stays() {
    let (mut lab, vm) = lab(10 << 30, OnLowSpace::PruneFirst, |policy| {
        policy.retention.rules = xensnap::domain::retention::Rules::last(2);
    })
    .await;
    lab.start().await;
    lab.until("2026-03-01T14:30:00Z").await;
    assert_eq!(lab.held()[&vm], ["03-01 13:00", "03-01 14:00"]);
    lab.step(|world| leave_free(world, std::slice::from_ref(&vm), 1 << 20));
    lab.until("2026-03-01T15:30:00Z").await;
    assert_eq!(lab.held()[&vm], ["03-01 14:00"], "the oldest made room, the last good one stays");
    lab.step(|world| leave_free(world, std::slice::from_ref(&vm), 10 << 30));
    lab.until("2026-03-01T15:50:00Z").await;
    assert_eq!(lab.held()[&vm], ["03-01 14:00", "03-01 15:00"]);
    lab.stop().await;
}

/// Each of them would fit alone; unguarded, all would be begun.
#[tokio::test]
async fn snapshots_of_one_run_count_together() {
    let recipe = Recipe { hosts: 2, vms: 12, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, at(START));
    world.storage.timings = Timings::instant();
    let (shared, vms) = neighbours(&world);
    // It is of the kind that takes a disk's whole size, 37 MiB with what goes with each of these.
    world.database.set("SR", &shared, "type", Value::str("lvmoiscsi")).unwrap();
    let disks = |vm: &String| disks_of(&world, vm).iter().filter(|vdi| world.database.text("VDI", vdi, "SR") == shared).count();
    let most = vms.iter().map(disks).max().unwrap() as i64;
    let used = world.database.int("SR", &shared, "physical_utilisation");
    world.database.set("SR", &shared, "physical_size", Value::Int(used + most * (38 << 20))).unwrap();
    let mut policy = policy_for("hourly", "0 * * * *", &vms, 1);
    policy.guards.space_reserve = Reserve::Bytes(0);
    let mut lab = Lab::with(START, world, vec![policy]).await;
    lab.start().await;
    lab.until("2026-03-01T13:30:00Z").await;
    let jobs = jobs(&lab).await;
    let low = jobs.iter().filter_map(|job| job.cause.as_ref()).filter(|cause| cause.code == "low-space").collect::<Vec<_>>();
    assert_eq!((lab.snapshots().len(), low.len()), (1, 1), "{jobs:?}");
    assert!(low[0].text.contains("promised"), "{}", low[0].text);
    lab.stop().await;
}
