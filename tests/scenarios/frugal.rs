//! What a night costs the server in calls, as the server counts them. The bound is the house's: 4 calls to take a snapshot (the call,
//! the mark, the description, the task forgotten), 3 + 3 for each disk to remove one (a last look, the call, the task forgotten), and
//! for the whole run two synchronisations, and one question what time it is there before anything goes. The event stream is shared by
//! everything.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::model::Release;
use xensnap::simulator::storage::timings::Timings;
use xensnap::store::Outcome;

use super::crash::{policy_for, with_disks, world};
use super::lab::{Lab, NOON, at, policy};
use super::look;

const STREAM: [&str; 2] = ["event.from", "event.next"];
const SYNCHRONISATION: [&str; 1] = ["pool.sync_database"];

const TIME: [&str; 1] = ["host.get_servertime"];

struct Counted {
    stream: u64,
    synchronisations: u64,
    times: u64,
    rest: u64,
}

fn counted(calls: &BTreeMap<String, u64>) -> Counted {
    let of = |methods: &[&str]| methods.iter().filter_map(|method| calls.get(*method)).sum();
    let (stream, synchronisations, times): (u64, u64, u64) = (of(&STREAM), of(&SYNCHRONISATION), of(&TIME));
    let rest = calls.values().sum::<u64>() - stream - synchronisations - times;
    Counted { stream, synchronisations, times, rest }
}

/// The calls of the third of three nights, in which a snapshot is taken and one is removed of each VM.
async fn night_of(vms: usize, disks: usize) -> BTreeMap<String, u64> {
    let world = world(Timings::default());
    let names = with_disks(&world, disks, vms);
    let mut lab = Lab::with("2026-03-01T12:30:00Z", world, vec![policy_for("nightly", "0 2 * * *", &names, 1)]).await;
    lab.start().await;
    lab.until("2026-03-04T01:59:00Z").await;
    let shared = lab.simulation.shared().unwrap();
    shared.reset_calls();
    lab.until("2026-03-04T02:30:00Z").await;
    let calls = shared.calls();
    let held = lab.held();
    assert!(held.len() == vms && held.values().all(|due| *due == ["03-04 02:00"]), "{held:?}");
    lab.stop().await;
    calls
}

#[tokio::test]
async fn a_night_makes_no_more_calls_than_it_needs() {
    println!("{:>4} {:>6} {:>8} {:>7} {:>6}", "VMs", "disks", "calls/VM", "stream", "syncs");
    for (vms, disks) in [(1, 1), (1, 2), (2, 2), (1, 3)] {
        let calls = night_of(vms, disks).await;
        let Counted { stream, synchronisations, times, rest } = counted(&calls);
        println!("{vms:>4} {disks:>6} {:>8} {stream:>7} {synchronisations:>6}", rest / vms as u64);
        let most = (4 + 3 + 3 * disks) * vms;
        assert!(rest <= most as u64, "{vms} VMs with {disks} disks: {rest} of {most}: {calls:?}");
        assert!(synchronisations <= 2 && times <= 1, "{calls:?}");
    }
    for (method, count) in night_of(1, 2).await {
        println!("    {count:>3} {method}");
    }
}

/// Before 6.0 there is no `event.from`, so what a call did is seen when everything is read. It is read as soon as somebody waits for it,
/// once for all, and only then.
#[tokio::test]
async fn a_server_without_events_is_read_when_somebody_waits_and_once_for_all() {
    let recipe = Recipe { vms: 6, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let recipe = Recipe { release: Release::parse("5.6").unwrap(), ..recipe };
    let mut lab = Lab::with(NOON, generate(&recipe, at(NOON)), vec![policy("often", "*/10 * * * *", "*", 1)]).await;
    lab.start().await;
    lab.until("2026-03-01T12:29:59Z").await;
    let shared = lab.simulation.shared().unwrap();
    shared.reset_calls();
    lab.until("2026-03-01T12:39:59Z").await;
    let run = look::runs(&lab.store(), "often").await.pop().unwrap();
    assert_eq!((run.outcome, run.done, run.removed), (Some(Outcome::Succeeded), 6, 6));
    let took = run.finished_at.unwrap() - run.started_at;
    let readings = shared.calls()["SR.get_all_records"];
    println!("six VMs took {took}, {readings} readings in ten minutes");
    assert!(took <= TimeDelta::seconds(150), "{took}");
    assert!(readings <= 10 + 20, "{readings}");
    lab.stop().await;
}
