//! Databases of real pools, with the snapshots that people and other tools left in them: a policy over all their VMs is run for a
//! simulated month, and every foreign snapshot is afterwards as it was. The files are not part of this repository; where they are
//! absent, the tests say that they are skipped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use rstest::rstest;
use xensnap::domain::selection::Selection;
use xensnap::simulator::pool_database;
use xensnap::simulator::revive::revive;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::world::World;
use xensnap::store::JobState;

use super::foreign::{Foreign, assert_destroyed_only_its_own};
use super::lab::{Lab, NOON, originator, policy};
use super::look;

fn pool(name: &str) -> Option<World> {
    let shared = std::env::var_os("XENSNAP_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join("pools").join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    let loaded = pool_database::load(BufReader::new(File::open(path).unwrap()), None).unwrap();
    let mut world = revive(loaded, 7).unwrap();
    world.storage.timings = Timings::instant();
    Some(world)
}

#[rstest]
#[case("xs55-one-host-2-snapshots.xml", 2)]
#[case("xs56-two-hosts-two-snapshots.xml", 2)]
#[case("xs56fp1-vmpp-38-snapshots.xml", 38)]
#[case("xs61-two-hosts-5-snapshots.xml", 5)]
#[case("xapi26-one-host.xml", 124)]
#[tokio::test]
async fn a_month_of_a_policy_over_all_vms_leaves_every_foreign_snapshot_of_a_real_pool_untouched(
    #[case] file: &str,
    #[case] snapshots: usize,
) {
    let Some(world) = pool(file) else { return };
    let mut nightly = policy("nightly", "0 2 * * *", "*", 3);
    nightly.selection = Selection::everything();
    let mut lab = Lab::with(NOON, world, vec![nightly]).await.looking_every(12);
    let foreign = Foreign::all_snapshots(&lab);
    assert_eq!(foreign.snapshots(), snapshots);
    lab.start().await;
    lab.until("2026-04-01T12:00:00Z").await;
    foreign.assert_untouched(&lab);

    let jobs = look::jobs(&lab.store(), "nightly").await;
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for job in &jobs {
        *states.entry(job.state.as_str()).or_default() += 1;
        *causes.entry(job.cause.as_ref().map(|cause| cause.code.clone()).unwrap_or_default()).or_default() += 1;
    }
    println!("{file}: {} VMs, jobs {states:?}, causes {causes:?}", lab.vms().len());
    assert_eq!(look::slots(&lab.store(), "nightly").await.len(), 31);
    assert!(jobs.iter().all(|job| job.state.is_final()), "{states:?}");
    let last: Vec<_> =
        jobs.iter().filter(|job| job.due_at == jobs[jobs.len() - 1].due_at && job.state == JobState::Done).collect();
    let held = lab.held();
    for job in &last {
        assert_eq!(held[&job.vm_name].len() % 3, 0, "{}: {:?}", job.vm_name, held[&job.vm_name]);
    }
    assert_eq!(lab.snapshots().len(), 3 * last.len());
    lab.stop().await;
    let (taken, removed) = assert_destroyed_only_its_own(&lab, &originator("lab"));
    assert_eq!(taken - removed, 3 * last.len());
}
