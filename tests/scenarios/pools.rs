//! Databases of real pools, with the snapshots that people and other tools left in them: a policy over all their VMs is run for a
//! simulated month, and every foreign snapshot is afterwards as it was. The files are not part of this repository; where they are
//! absent, the tests say that they are skipped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use rstest::rstest;
use xensnap::domain::policy::Policy;
use xensnap::domain::selection::Selection;
use xensnap::simulator::model::Release;
use xensnap::simulator::pool_database;
use xensnap::simulator::revive::revive;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::world::World;
use xensnap::store::JobState;

use super::foreign::{Foreign, assert_nobody_destroyed_what_was_there};
use super::lab::{Lab, NOON, policy};
use super::look;

fn pool(name: &str, release: Option<&str>) -> Option<World> {
    let shared = std::env::var_os("XENSNAP_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join("pools").join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    let release = release.map(|release| Release::parse(release).unwrap());
    let loaded = pool_database::load(BufReader::new(File::open(path).unwrap()), release).unwrap();
    let mut world = revive(loaded, 7).unwrap();
    world.storage.timings = Timings::instant();
    Some(world)
}

/// How many snapshots of each VM stay.
const KEPT: usize = 2;
const NIGHTLY: (&str, usize) = ("0 2 * * *", 31);

/// A policy over everything that runs at these times.
fn over_all(cron: &str) -> Policy {
    Policy { selection: Selection::everything(), ..policy("all", cron, "*", KEPT as u32) }
}

/// The databases of 5.5 to 5.6 FP1 are served as 6.1 would show them after an update: without `event.from`, which came later, the
/// service reads the whole pool every minute, and a month has 43,200 of them. The next test serves them as what they are.
#[rstest]
#[case("xs55-one-host-2-snapshots.xml", Some("6.1"), 2, NIGHTLY)]
#[case("xs56-two-hosts-two-snapshots.xml", Some("6.1"), 2, NIGHTLY)]
#[case("xs56fp1-vmpp-38-snapshots.xml", Some("6.1"), 38, NIGHTLY)]
#[case("xs61-two-hosts-5-snapshots.xml", None, 5, NIGHTLY)]
// It has 48 VMs: once a week is work enough.
#[case("xapi26-one-host.xml", None, 124, ("0 2 * * 0", 4))]
#[tokio::test]
async fn a_month_of_a_policy_over_all_vms_leaves_every_foreign_snapshot_of_a_real_pool_untouched(
    #[case] file: &str,
    #[case] release: Option<&str>,
    #[case] snapshots: usize,
    #[case] (cron, slots): (&str, usize),
) {
    let Some(world) = pool(file, release) else { return };
    let lab = Lab::with(NOON, world, vec![over_all(cron)]).await.looking_every(24);
    foreign_snapshots_stay(lab, "2026-04-01T12:00:00Z", file, snapshots, slots).await;
}

#[rstest]
#[case("xs55-one-host-2-snapshots.xml", 2)]
#[case("xs56-two-hosts-two-snapshots.xml", 2)]
#[case("xs56fp1-vmpp-38-snapshots.xml", 38)]
#[tokio::test]
async fn so_does_half_an_hour_of_one_on_the_release_that_the_pool_ran(#[case] file: &str, #[case] snapshots: usize) {
    let Some(world) = pool(file, None) else { return };
    let lab = Lab::with(NOON, world, vec![over_all("*/10 * * * *")]).await;
    foreign_snapshots_stay(lab, "2026-03-01T12:35:00Z", file, snapshots, 3).await;
}

async fn foreign_snapshots_stay(mut lab: Lab, until: &str, file: &str, snapshots: usize, slots: usize) {
    let foreign = Foreign::all_snapshots(&lab);
    assert_eq!(foreign.snapshots(), snapshots);
    lab.start().await;
    lab.until(until).await;
    foreign.assert_untouched(&lab);

    let jobs = look::jobs(&lab.store(), "all").await;
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for job in &jobs {
        *states.entry(job.state.as_str()).or_default() += 1;
        *causes.entry(job.cause.as_ref().map(|cause| cause.code.clone()).unwrap_or_default()).or_default() += 1;
    }
    println!("{file}: {} VMs, jobs {states:?}, causes {causes:?}", lab.vms().len());
    assert_eq!(look::slots(&lab.store(), "all").await.len(), slots);
    assert!(!jobs.is_empty() && jobs.iter().all(|job| job.state == JobState::Done), "{states:?} {causes:?}");
    let last: Vec<_> =
        jobs.iter().filter(|job| job.due_at == jobs[jobs.len() - 1].due_at && job.state == JobState::Done).collect();
    let held = lab.held();
    for job in &last {
        assert_eq!(held[&job.vm_name].len() % KEPT, 0, "{}: {:?}", job.vm_name, held[&job.vm_name]);
    }
    assert_eq!(lab.snapshots().len(), KEPT * last.len());
    lab.stop().await;
    let (taken, removed) = assert_nobody_destroyed_what_was_there(&lab);
    assert_eq!(taken - removed, KEPT * last.len());
}
