//! Guards: what an unguarded service would have filled or lost, and what becomes of it here.

use std::collections::BTreeMap;

use xensnap::domain::guard::{Coalesce, OnLowSpace, Reserve};
use xensnap::domain::policy::Policy;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;
use xensnap::store::{EventFilter, EventKind, Job, JobState, Page, RunFilter};

use super::crash::{policy_for, with_disks, world};
use super::lab::{Lab, at};
use super::person::Person;

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

/// A lab with one VM whose only disk is on storage that shows its chains, and its policy, which keeps `last` snapshots.
async fn chain_lab(last: u32, change: impl FnOnce(&mut Policy, &mut World)) -> (Lab, String) {
    let mut world = world(Timings::instant());
    let vms = with_disks(&world, 1, 1);
    let mut policy = policy_for("hourly", "0 * * * *", &vms, last);
    change(&mut policy, &mut world);
    let lab = Lab::with(START, world, vec![policy]).await;
    (lab, vms[0].clone())
}

/// The unguarded program goes on until the server refuses with SR_BACKEND_FAILURE_109, and nobody else can take one then.
#[tokio::test]
async fn before_the_server_would_refuse_nothing_is_added_to_a_chain_and_its_parts_are_told() {
    let (mut lab, vm) = chain_lab(60, |_, _| {}).await;
    lab.start().await;
    lab.until("2026-03-02T18:30:00Z").await;
    assert_eq!(lab.held()[&vm].len(), 27, "27 frozen layers and the disk's own are 28");
    let failed = jobs(&lab).await.into_iter().filter(|job| job.state == JobState::Failed).collect::<Vec<_>>();
    assert_eq!(failed.len(), 3, "{failed:?}");
    let cause = failed[0].cause.clone().unwrap();
    assert_eq!(cause.code, "long-chain");
    assert!(cause.text.contains("28 layers") && cause.text.contains("27 under snapshots of xensnap"), "{}", cause.text);
    assert!(cause.text.ends_with("keep fewer snapshots"), "{}", cause.text);
    let warned = told(&lab, EventKind::LongChain).await;
    assert_eq!(warned.len(), 8, "at 20 layers and from there on: {warned:?}");
    lab.stop().await;
}

#[tokio::test]
async fn a_chain_that_the_storage_will_shorten_is_waited_for_in_the_window() {
    let (mut lab, vm) = chain_lab(1, |policy, world| {
        (policy.guards.chain_warn, policy.guards.chain_refuse) = (3, 5);
        world.storage.collector.off = true;
    })
    .await;
    lab.start().await;
    lab.until("2026-03-01T17:10:00Z").await;
    assert_eq!(lab.held()[&vm], ["03-01 16:00"], "four were taken, and three removed of which the layers are left");
    let waiting = jobs(&lab).await.into_iter().find(|job| job.state == JobState::Queued).unwrap();
    let cause = waiting.cause.unwrap();
    assert_eq!(cause.code, "long-chain");
    assert!(cause.text.contains("3 waiting to be coalesced"), "{}", cause.text);
    let sr = lab.step(|world| {
        world.storage.collector.off = false;
        srs_of(world, &vm)[0].clone()
    });
    let person = Person::new(&lab);
    person.does(xensnap::xenapi::calls::sr::scan(&xensnap::xenapi::types::Ref::new(&sr))).await;
    person.leaves().await;
    lab.until("2026-03-01T17:50:00Z").await;
    assert_eq!(lab.held()[&vm], ["03-01 17:00"]);
    lab.stop().await;
}

#[tokio::test]
async fn a_chain_is_not_waited_for_where_the_policy_or_the_storage_does_not_want_it() {
    for off in [false, true] {
        let (mut lab, vm) = chain_lab(1, |policy, world| {
            (policy.guards.chain_warn, policy.guards.chain_refuse) = (3, 4);
            world.storage.collector.off = true;
            if off {
                for sr in world.database.refs("SR") {
                    world.database.set("SR", &sr, "other_config", Value::pairs([("gc", "false")])).unwrap();
                }
            } else {
                policy.guards.coalesce = Coalesce::Refuse;
            }
        })
        .await;
        lab.start().await;
        lab.until("2026-03-01T16:10:00Z").await;
        assert_eq!(lab.held()[&vm], ["03-01 15:00"]);
        let failed = jobs(&lab).await.into_iter().find(|job| job.state == JobState::Failed).unwrap();
        let text = failed.cause.unwrap().text;
        assert_eq!(text.contains("switched off"), off, "{text}");
        lab.stop().await;
    }
}

/// Three VMs lose a snapshot each hour. Where three layers wait already, the fourth removal would free nothing.
#[tokio::test]
async fn removals_wait_until_the_storage_has_coalesced_what_earlier_ones_left() {
    let mut world = world(Timings::instant());
    let vms = with_disks(&world, 1, 1);
    world.storage.collector.off = true;
    let policy = policy_for("hourly", "0 * * * *", &vms, 1);
    let mut lab = Lab::with(START, world, vec![policy]).await;
    lab.pace.uncoalesced = std::num::NonZeroU32::new(3);
    lab.start().await;
    lab.until("2026-03-01T20:30:00Z").await;
    assert_eq!(lab.held()[&vms[0]].len(), 5, "three were removed, those that followed wait: {:?}", lab.held());
    let waits = told(&lab, EventKind::RemovalsWait).await;
    assert_eq!(waits.len(), 1, "said once: {waits:?}");
    let sr = lab.step(|world| {
        world.storage.collector.off = false;
        srs_of(world, &vms[0])[0].clone()
    });
    let person = Person::new(&lab);
    person.does(xensnap::xenapi::calls::sr::scan(&xensnap::xenapi::types::Ref::new(&sr))).await;
    person.leaves().await;
    lab.until("2026-03-01T22:50:00Z").await;
    assert_eq!(lab.held()[&vms[0]], ["03-01 22:00"]);
    lab.stop().await;
}

#[tokio::test]
async fn another_tool_on_the_same_vms_is_told_once_in_whichever_life() {
    let mut lab = Lab::new(3, vec![super::lab::policy("hourly", "0 * * * *", "*", 2)]).await;
    let person = Person::new(&lab);
    let vm = lab.step(|world| {
        let name = |vm: &Ref| world.database.text("VM", vm, "name_label");
        world
            .database
            .refs("VM")
            .into_iter()
            .find(|vm| {
                !name(vm).is_empty()
                    && !world.database.bool("VM", vm, "is_a_template")
                    && !world.database.bool("VM", vm, "is_control_domain")
            })
            .unwrap()
    });
    person.snapshots(&vm, "[XO Backup nightly] 20260301T110000Z").await;
    person.leaves().await;
    for until in ["2026-03-01T20:30:00Z", "2026-03-02T08:30:00Z"] {
        lab.start().await;
        lab.until(until).await;
        lab.stop().await;
    }
    lab.start().await;
    let told = told(&lab, EventKind::OtherTool).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Xen Orchestra takes snapshots of VMs that policies cover ("), "{told:?}");
    lab.stop().await;
}

/// Retention works after a snapshot, and a full chain allows none: without a look at what goes before, it would be so for ever.
#[tokio::test]
async fn a_chain_that_is_full_of_what_retention_gives_up_is_made_shorter_before_the_snapshot() {
    let (mut lab, vm) = chain_lab(60, |policy, _| (policy.guards.chain_warn, policy.guards.chain_refuse) = (3, 7)).await;
    lab.start().await;
    lab.until("2026-03-01T20:30:00Z").await;
    assert_eq!(lab.held()[&vm].len(), 6, "the chain is full");
    let mut policies = lab.policies.clone();
    policies[0].retention.rules = xensnap::domain::retention::Rules::last(2);
    lab.reload(policies).await;
    lab.until("2026-03-01T21:50:00Z").await;
    let causes: Vec<_> = jobs(&lab).await.into_iter().map(|job| (job.due_at, job.state, job.cause)).collect();
    assert_eq!(lab.held()[&vm].last().map(String::as_str), Some("03-01 21:00"), "{:?} {causes:?}", lab.held());
    assert_eq!(lab.held()[&vm].len(), 2, "{:?}", lab.held());
    lab.stop().await;
}
