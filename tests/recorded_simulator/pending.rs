//! Tasks that are not over yet: the server's clock stands still, so that the first wait of an operation lasts.

use std::path::Path;
use std::sync::Arc;

use xensnap::clock::HandClock;
use xensnap::simulator::value::Value;
use xensnap::simulator::world::World;

use crate::compare::Mask;
use crate::replay::Replay;
use crate::transcript::Transcript;
use crate::{recordings, state};

const SESSION: &str = "OpaqueRef:7811ffe2-453c-1911-d536-93de595b6f41";
const LATER_SESSION: &str = "OpaqueRef:b9be4153-ea00-9cf3-8f98-daa93481495a";
/// VMs of another state of the pool; any halted VM with a disk does as well.
const VMS: [&str; 3] =
    ["86a87e1b-c9c8-ad86-028a-efce930bb90d", "890a8889-23e9-5591-636a-59e8e836d157", "f29f7813-36cc-1347-931e-295fefefaddd"];

fn named(recordings: &Path, name: &str) -> Option<Transcript> {
    let file = recordings.join(format!("async/{name}.json.txt"));
    file.exists().then(|| Transcript::read(&file).unwrap())
}

async fn replay_at_a_standstill(recordings: &Path, recorded: &str, clock: &HandClock) -> Replay {
    let mut world = state::pool(recordings);
    state::session(&mut world, SESSION);
    state::session(&mut world, LATER_SESSION);
    let vm = halted_vm_with_disk(&world);
    let mut replay = Replay::start_with(world, Arc::new(clock.clone())).await;
    if let Some(vm) = vm {
        assert!(replay.bindings.bind(recorded, &vm));
    }
    replay
}

/// The uuid part of its reference.
fn halted_vm_with_disk(world: &World) -> Option<String> {
    let database = &world.database;
    let fits = |vm: &str| {
        let disks = database.texts("VM", vm, "VBDs").iter().filter(|vbd| &*database.text("VBD", vbd, "type") == "Disk").count();
        let live = !database.bool("VM", vm, "is_a_template") && &*database.text("VM", vm, "power_state") == "Halted";
        disks > 0 && live
    };
    let found = database.refs("VM").into_iter().find(|vm| fits(vm))?;
    found.strip_prefix("OpaqueRef:").map(str::to_owned)
}

/// Replays these exchanges in order on a server of their own; one of the pool's VMs stands for the recorded one.
async fn run(vm: usize, names: &[&str]) {
    for recordings in recordings() {
        let exchanges: Option<Vec<Transcript>> = names.iter().map(|name| named(&recordings, name)).collect();
        let Some(exchanges) = exchanges else { continue };
        let clock = HandClock::new(Value::Date("20261122T16:03:52Z".into()).as_date().unwrap());
        let mut replay = replay_at_a_standstill(&recordings, VMS[vm], &clock).await;
        for exchange in &exchanges {
            replay.check(exchange, &[Mask::Dates]).await;
            clock.settle().await;
        }
        replay.finish().await;
    }
}

#[tokio::test]
async fn a_snapshot_in_work() {
    run(0, &["snapshot_halted_json.0_call", "snapshot_halted_json.1_poll"]).await;
    run(1, &["Async_destroy_task_early.0_call", "Async_destroy_task_early.1_poll"]).await;
}

#[tokio::test]
async fn a_call_tagged_by_a_header() {
    run(2, &["tagged_by_header", "tagged_by_header_task"]).await;
}

#[tokio::test]
async fn a_snapshot_that_is_to_be_cancelled() {
    run(0, &["cancel.0_start", "cancel.1_cancel", "cancel.2_record_right_after"]).await;
}

#[tokio::test]
async fn a_pending_task_that_is_destroyed() {
    run(1, &["task_destroy_while_pending.0", "task_destroy_while_pending.1", "task_destroy_while_pending.2_get_record"]).await;
}

#[tokio::test]
async fn a_task_of_the_client() {
    run(0, &["task_create", "task_create_record", "task_set_progress", "task_set_status", "destroyed_task_get_record"]).await;
}
