//! Ordinary nights.

use super::lab::{Lab, policy};
use xensnap::store::{Outcome, Page, RunFilter};

#[tokio::test]
async fn each_night_every_vm_has_its_snapshot_and_only_as_many_as_are_kept_stay() {
    let mut lab = Lab::new(6, vec![policy("nightly", "0 2 * * *", "*", 2)]).await;
    let vms = lab.vms().len();
    let before = (lab.count("VM"), lab.count("VBD"));
    lab.start().await;
    lab.until("2026-03-02T03:00:00Z").await;
    assert_eq!(lab.snapshots().len(), vms);
    lab.until("2026-03-05T03:00:00Z").await;
    let held = lab.held();
    assert_eq!(held.len(), vms);
    assert!(held.values().all(|due| *due == ["03-04 02:00", "03-05 02:00"]), "{held:?}");
    let runs = lab.store().runs(RunFilter::default(), Page::first(10)).await.unwrap().rows;
    assert_eq!(runs.iter().map(|run| run.outcome).collect::<Vec<_>>(), [Some(Outcome::Succeeded); 4]);
    lab.stop().await;
    assert_eq!(lab.count("VM"), before.0 + 2 * vms);
}
