//! Lateness of the first call of a slot with 10,000 policies on one pool: how long after its due time the server takes the snapshot. Each
//! policy selects one of 100 VMs and is due every ten minutes at a second of its own, so that 16 or 17 slots come due with each second;
//! the storage takes no time, so that it is not the queue at an SR that is measured. A slot's way is: due, claimed, run, job,
//! intent and call; each of the first five is on disk before the next. The times are the server's, by its ledger, and the due times those in the marks.
//!
//! Beside it, in the same process and the same minute, what a sleeping task alone is late by on this machine: the least anybody can do.
//!
//! Run with `cargo bench --bench lateness`; `XENSNAP_BENCH_POLICIES` and `XENSNAP_BENCH_SECONDS` set the size.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use support::{Service, number, quantile};
use xensnap::clock::{Clock, SystemClock};
use xensnap::domain::mark::{KEY, Mark};
use xensnap::domain::policy::Policy;
use xensnap::domain::selection::Field;
use xensnap::simulator::Server;
use xensnap::simulator::ledger::Deed;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Ref;

/// Each policy is due once in so many seconds.
const PERIOD: usize = 600;
const VMS: usize = 100;
const SRS: usize = 16;

fn main() {
    let (policies, seconds) = (number("XENSNAP_BENCH_POLICIES", 10_000), number("XENSNAP_BENCH_SECONDS", 60));
    let (simulator, client) = (support::runtime(), support::runtime());
    let world = support::world(VMS, SRS, Timings::instant());
    let vms: Vec<String> = support::plain(&world).iter().map(|vm| world.database.text("VM", vm, "uuid").to_string()).collect();
    let server = simulator.block_on(support::serve(world));
    let folder = support::folder();
    let mut alone = client.block_on(async {
        let policies = (0..policies).map(|n| policy(n, &vms)).collect();
        let service = Service::start(folder.path(), support::plan(server.address(), policies)).await;
        let alone = sleepers(seconds).await;
        service.stop().await;
        alone
    });
    let mut late = lateness(&server);
    simulator.block_on(server.shutdown());
    println!("{policies} policies, {} slots fired in {seconds} s", late.len());
    say("first call of a slot", &mut late);
    say("a sleeping task alone", &mut alone);
    let ratio = quantile(&mut late, 0.5).as_secs_f64() / quantile(&mut alone, 0.5).as_secs_f64().max(1e-6);
    println!("  median: {ratio:.1} times that of a sleeping task");
}

fn policy(number: usize, vms: &[String]) -> Policy {
    let (second, minute) = (number % 60, number / 60 % 10);
    let minutes: Vec<String> = (0..6).map(|ten| (ten * 10 + minute).to_string()).collect();
    // Those that are due in the same second have other VMs.
    let vm = &vms[(number + number / PERIOD) % vms.len()];
    support::policy(&format!("p{number}"), &format!("{second} {} * * * *", minutes.join(",")), Field::Uuid, vm, 1)
}

/// How much later than a whole second a task wakes that slept until then.
async fn sleepers(seconds: usize) -> Vec<Duration> {
    let clock = SystemClock::new();
    let mut late = Vec::new();
    for _ in 0..seconds {
        let now = clock.now();
        let due = DateTime::from_timestamp(now.timestamp() + 1, 0).expect("a time");
        clock.sleep((due - now).to_std().unwrap_or_default()).await;
        late.push((clock.now() - due).to_std().unwrap_or_default());
    }
    late
}

fn lateness(server: &Server) -> Vec<Duration> {
    let due: HashMap<Ref, DateTime<Utc>> = server.shared().step(|world| {
        let marks = world.database.refs("VM").into_iter().filter_map(|vm| {
            let mark = world.database.map_text("VM", &vm, "other_config", KEY)?;
            Some((vm, Mark::decode(&mark).ok()?.due_at))
        });
        marks.collect()
    });
    let made = server.shared().ledger().into_iter().filter(|entry| entry.deed == Deed::Created && entry.class == "VM");
    let late = made.filter_map(|entry| Some(entry.at - *due.get(&entry.reference)?));
    late.map(|late| late.max(TimeDelta::zero()).to_std().unwrap_or_default()).collect()
}

fn say(what: &str, late: &mut [Duration]) {
    let milliseconds = |share| format!("{:.1} ms", quantile(&mut *late, share).as_secs_f64() * 1e3);
    let [median, p99, most] = [0.5, 0.99, 1.0].map(milliseconds);
    println!("  {what}: median {median}, p99 {p99}, at most {most}");
}
