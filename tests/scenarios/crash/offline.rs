//! VMs that are halted for their snapshots run again, wherever the service dies, and whoever else wanted them halted at that moment.

use std::time::Duration;

use xensnap::domain::policy::{Policy, WantedKind};
use xensnap::domain::span::Exact;
use xensnap::simulator::faults::{Action, Plan, Rule, When};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, is_null};
use xensnap::simulator::world::World;
use xensnap::store::{JobFilter, JobState, Options, Page, Store};

use super::life::{Death, Life, play};
use super::{policy_for, world};
use crate::lab::{HISTORY, Lab, at};

/// The VMs that run and whose guest hears a request to shut down.
fn able(world: &World) -> Vec<Ref> {
    let database = &world.database;
    let runs = |vm: &Ref| &*database.text("VM", vm, "power_state") == "Running" && !database.bool("VM", vm, "is_control_domain");
    let vms = database.refs("VM").into_iter().filter(runs);
    vms.filter(|vm| !is_null(&database.text("VM", vm, "guest_metrics"))).collect()
}

/// A VM that two policies want halted at each full hour.
async fn wanted_twice() -> (Lab, Ref) {
    let world = world(Timings::instant());
    let vm = able(&world).first().expect("some guest has tools").clone();
    let name = world.database.text("VM", &vm, "name_label").to_string();
    let offline = |id: &str| {
        let mut policy: Policy = policy_for(id, "0 * * * *", std::slice::from_ref(&name), 2);
        policy.snapshot.kind = WantedKind::Offline { shutdown_timeout: Exact::seconds(300) };
        policy
    };
    (Lab::with("2026-03-01T12:00:00Z", world, vec![offline("one"), offline("two")]).await, vm)
}

fn power(lab: &Lab, vm: &Ref) -> String {
    lab.step(|world| world.database.text("VM", vm, "power_state").to_string())
}

async fn failed(lab: &Lab) -> Vec<String> {
    let store = Store::open_read_only(lab.folder.path().join(HISTORY), &Options::default()).await.unwrap();
    let jobs = store.jobs(JobFilter::default(), Page::first(500)).await.unwrap().rows;
    let failed = jobs.into_iter().filter(|job| job.state == JobState::Failed);
    failed.map(|job| format!("{} {}: {:?}", job.policy, job.due_at, job.cause)).collect()
}

#[tokio::test]
async fn two_policies_that_want_the_same_vm_halted_at_once_both_get_their_snapshot() {
    let (mut lab, vm) = wanted_twice().await;
    lab.start().await;
    lab.until("2026-03-01T14:30:00Z").await;
    assert_eq!(lab.snapshots().len(), 4, "{:?}", lab.held());
    assert_eq!(power(&lab, &vm), "Running");
    lab.stop().await;
    assert_eq!(failed(&lab).await, [""; 0]);
}

/// In each hour the service dies three calls later, before its effect or after; the next life comes at once or after a minute.
#[test]
fn a_vm_that_is_halted_for_two_policies_runs_again_wherever_the_service_dies() {
    play(async |life: Life| {
        let (lab, vm) = wanted_twice().await;
        life.start(&lab).await;
        let mut due = at("2026-03-01T13:00:00Z");
        for cut in [When::Before, When::After] {
            for nth in (1..).step_by(3) {
                lab.clock.advance_to(due - chrono::TimeDelta::seconds(1)).await;
                lab.simulation.set_faults(Plan::new(0).with(Rule::on("*", Action::Cut(cut)).nth(nth)));
                life.dies(Death::Struck(lab.simulation.faults().clone()));
                let died = life.until_dead(&lab, Duration::from_secs(1200)).await;
                life.lives();
                lab.simulation.set_faults(Plan::default());
                if died {
                    lab.clock.advance(Duration::from_secs(60 * (nth % 2))).await;
                    life.start(&lab).await;
                }
                lab.clock.advance_to(due + chrono::TimeDelta::minutes(50)).await;
                assert_eq!(power(&lab, &vm), "Running", "killed {cut:?} call {nth}, due {due}");
                let new = lab.snapshots().into_iter().filter(|found| found.mark.due_at == due).count();
                assert_eq!(new, 2, "killed {cut:?} call {nth}, due {due}: {:?}", failed(&lab).await);
                due += chrono::TimeDelta::hours(1);
                if !died {
                    assert!(nth > 20, "{nth}");
                    break;
                }
            }
        }
    });
}
