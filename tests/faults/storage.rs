//! Storage that fills, disks that fail, work that gets slow or stuck, and events that are lost.

use std::time::Duration;

use xensnap::clock::Clock;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::simulator::storage::timings::Timings;
use xensnap::xenapi::calls;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::task::TaskError;

use crate::bench::{Bench, PATIENCE};

#[tokio::test]
async fn a_full_sr_refuses_snapshots_until_it_is_emptied() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    let sr = bench.shared().step(|world| {
        let database = &world.database;
        let vbds = database.texts("VM", &vm.to_string(), "VBDs");
        let disk = vbds.iter().find(|vbd| &*database.text("VBD", vbd, "type") == "Disk").unwrap();
        database.text("VDI", &database.text("VBD", disk, "VDI"), "SR").to_string()
    });
    bench.fault(Rule::on("VM.snapshot", Action::FillSr { sr: sr.clone(), leave: 0 }).times(1));
    let task = bench.run(bench.pool.start(calls::vm::snapshot(&vm, "no room"))).await.unwrap();
    let error = bench.run(task.finish(Some(PATIENCE))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    let free = bench
        .shared()
        .step(|world| world.database.int("SR", &sr, "physical_size") - world.database.int("SR", &sr, "physical_utilisation"));
    assert_eq!(free, 0, "the SR's record shows it");
    bench.shared().step(|world| bench.simulation.faults().empty_srs(world));
    bench.run(bench.pool.call(calls::vm::snapshot(&vm, "room"))).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn when_the_second_disk_fails_the_first_is_not_left_behind() {
    let bench = Bench::new().await;
    let vm = bench.vm_with_disks(2).await;
    let before = bench.disks().await;
    let error = ApiError::new("SR_BACKEND_FAILURE_46", ["", "The VDI is not available", ""]);
    bench.fault(Rule::on("VM.snapshot", Action::FailDisk { disk: 2, error }).times(1));
    let task = bench.run(bench.pool.start(calls::vm::snapshot(&vm, "half"))).await.unwrap();
    let error = bench.run(task.finish(Some(PATIENCE))).await.unwrap_err();
    assert!(error.to_string().contains("SR_BACKEND_FAILURE_46"), "{error}");
    assert_eq!(bench.struck(), 1);
    let vms = bench.run(bench.pool.call(calls::all::<Vm>())).await.unwrap();
    assert!(vms.values().all(|vm| &*vm.name_label != "half"));
    let visible = bench.shared().step(|world| {
        let managed = |vdi: &xensnap::simulator::value::Ref| world.database.bool("VDI", vdi, "managed");
        (world.database.refs("VDI").iter().filter(|vdi| managed(vdi)).count(), world.database.count("VDI"))
    });
    assert!(visible.1 <= before + 1, "at most a hidden parent is new: {visible:?}, {before} before");
    bench.end().await;
}

#[tokio::test]
async fn slow_work_takes_longer_by_the_factor() {
    let mut taken = Vec::new();
    for factor in [1.0, 40.0] {
        let bench = Bench::with(Timings::default(), |settings| settings).await;
        let vm = bench.vm().await;
        bench.fault(Rule::on("VM.snapshot", Action::Slow(factor)));
        let begin = bench.clock.elapsed();
        bench.run(bench.pool.call(calls::vm::snapshot(&vm, "slow"))).await.unwrap();
        taken.push(bench.clock.elapsed() - begin);
        bench.end().await;
    }
    assert!(taken[1] > taken[0] * 20, "{taken:?}");
}

#[tokio::test]
async fn a_call_that_is_stuck_ends_with_its_deadline() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.snapshot", Action::Stuck).times(1));
    let task = bench.run(bench.pool.start(calls::vm::snapshot(&vm, "stuck"))).await.unwrap();
    let begin = bench.clock.elapsed();
    let error = bench.run(task.finish(Some(Duration::from_secs(300)))).await.unwrap_err();
    assert!(matches!(error, TaskError::Deadline { .. } | TaskError::StillRunning { .. }), "{error:?}");
    assert!(bench.clock.elapsed() - begin >= Duration::from_secs(300));
    bench.end().await;
}

#[tokio::test]
async fn deletions_that_the_server_forgot_are_found_all_the_same() {
    let bench = Bench::new().await;
    let inventory = bench.inventory().await;
    let read = inventory.status().borrow().synchronisations;
    let snapshots: Vec<_> =
        inventory.read().all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot).map(|(reference, _)| reference.clone()).collect();
    assert!(snapshots.len() > 3, "the recipe makes snapshots");
    // The feed's next question is held up while snapshots go and the server forgets that they did.
    let held = Rule::on("event.from", Action::Delay(Duration::from_secs(3600))).times(1);
    let plan = Plan::new(7).with(held).with(Rule::on("VM.get_uuid", Action::LoseEvents).times(1));
    bench.simulation.set_faults(plan);
    let vm = bench.vm().await;
    bench.run(bench.pool.call(calls::vm::set_name_label(&vm, "wakes the feed"))).await.unwrap();
    bench
        .until(&inventory, "the new name", |inventory| &*inventory.read().get(&vm).unwrap().name_label == "wakes the feed")
        .await;
    bench.clock.settle().await;
    for snapshot in &snapshots {
        bench.pool.call(calls::vm::destroy(snapshot)).await.unwrap();
    }
    bench.pool.call(xensnap::xenapi::Call::<String>::read("VM.get_uuid").with(&vm)).await.unwrap();
    bench
        .until(&inventory, "that they are gone", |inventory| {
            snapshots.iter().all(|snapshot| inventory.read().get(snapshot).is_none())
        })
        .await;
    assert!(inventory.status().borrow().synchronisations > read, "it read everything anew");
    assert_eq!(bench.simulation.faults().reports().iter().map(|report| report.struck).collect::<Vec<_>>(), [1, 1]);
    bench.end().await;
}
