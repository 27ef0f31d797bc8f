//! The fault campaign in short: a few seeds of one day, and every plan that once failed (`tests/torture/*.toml`, as `xensnap torture`
//! wrote them). The service under test is the binary, as a process that is killed. The long campaign is the command.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::path::Path;

use xensnap::torture::invariants::Violation;
use xensnap::torture::plan::Plan;
use xensnap::torture::play;

/// In memory where the system offers that: thousands of commits wait for the disk otherwise.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a plan breaks.
async fn broken_by(plan: &Plan) -> Vec<Violation> {
    let folder = folder();
    let outcome = play(plan, Path::new(env!("CARGO_BIN_EXE_xensnap")), folder.path()).await.unwrap();
    println!("seed {}: {} crashes, {} snapshots, {} removed", plan.seed, outcome.tally.kills(), outcome.taken, outcome.removed);
    outcome.violations
}

#[tokio::test]
async fn what_was_promised_is_kept_for_a_day_in_which_everything_goes_wrong() {
    for seed in [1, 2, 4] {
        let plan = Plan::draw(seed, 1);
        assert_eq!(broken_by(&plan).await, [], "run: xensnap torture --seed {seed} --days 1\n{}", plan.to_toml().unwrap());
    }
}

#[tokio::test]
async fn what_once_failed_does_so_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let plan = Plan::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(broken_by(&plan).await, [], "{}", path.display());
        }
    }
}
