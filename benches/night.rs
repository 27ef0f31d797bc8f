//! A night: 200 VMs with one disk each, due at the same second, on 1, 4 and 16 SRs. How long the snapshots take, and a night later the
//! removals, beside the least that the server can take with one operation in flight per SR (`support/ideal.rs`), and beside
//! plain scripts against the same pool in the same run: at several concurrencies, and with one worker for each SR that was told
//! beforehand what is where.
//!
//! The storage's times are the measured ones (`simulator::storage::timings`), and the random back-off of calls that meet another one
//! on their SR belongs to them; `XENSNAP_BENCH_SCALE` stretches both alike. Everything is timed at the server, by its own ledger: from the
//! due time (the script's: from its start) to the last snapshot, and from the first record destroyed to the last disk.
//!
//! Run with `cargo bench --bench night`; `cargo bench --bench night -- large` is 1,000 VMs on 16 SRs at 500 ms per snapshot and 100 ms
//! per destroyed disk, unscaled. `XENSNAP_BENCH_VMS`, `XENSNAP_BENCH_SCALE` (in percent) and `XENSNAP_BENCH_SRS` set the size.

mod support;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use support::ideal::{self, Needs};
use support::{Service, number};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use xensnap::clock::{Clock, SystemClock};
use xensnap::domain::selection::Field;
use xensnap::simulator::Server;
use xensnap::simulator::ledger::{Deed, Entry};
use xensnap::simulator::storage::backoff::Policy;
use xensnap::simulator::storage::timings::Timings;
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{Pool, calls, records};

/// How many workers a script may have.
const WORKERS: [usize; 4] = [1, 2, 4, 10];

/// What is measured.
struct Night {
    vms: usize,
    srs: usize,
    timings: Timings,
}

/// How long the two halves of a night took.
#[derive(Debug, Clone, Copy)]
struct Spent {
    snapshots: Duration,
    removals: Duration,
}

impl Night {
    /// What somebody would need whose every call arrives the moment it may.
    fn ideal(&self) -> Spent {
        let pass = self.timings.scaled(Policy::default().attempt);
        let needs = |storage, after| Needs { pass, storage, after };
        let (taking, removing) = (self.timings.on("VDI.snapshot", "ext"), self.timings.on("VDI.destroy", "ext"));
        Spent {
            snapshots: ideal::snapshots(self.vms, self.srs, needs(taking, self.timings.of("VM.record"))),
            removals: ideal::removals(self.vms, self.srs, needs(removing, Duration::ZERO)),
        }
    }

    /// From then to the end of the first night's last snapshot.
    fn snapshots(&self, ledger: &[Entry], from: DateTime<Utc>) -> Duration {
        let records = ledger.iter().filter(|entry| entry.deed == Deed::Created && entry.class == "VM");
        let last = records.filter(|entry| &*entry.actor.method == "VM.snapshot").map(|entry| entry.at).take(self.vms).last();
        // The record is made first and then furnished.
        (last.expect("snapshots") - from).to_std().unwrap_or_default() + self.timings.of("VM.record")
    }

    fn server(&self, simulator: &Runtime) -> Server {
        simulator.block_on(support::serve(support::world(self.vms, self.srs, self.timings.clone())))
    }
}

fn main() {
    let (vms, percent) = (number("XENSNAP_BENCH_VMS", 200), number("XENSNAP_BENCH_SCALE", 100));
    let srs = std::env::var("XENSNAP_BENCH_SRS").unwrap_or_else(|_| "1,4,16".to_owned());
    // Simulator and client have threads of their own, as two processes would.
    let (simulator, client) = (support::runtime(), support::runtime());
    if std::env::args().any(|arg| arg == "large") {
        return large(&simulator, &client);
    }
    for srs in srs.split(',').filter_map(|text| text.parse().ok()) {
        let mut timings = Timings::default();
        timings.scale = percent as f64 / 100.0;
        let night = Night { vms, srs, timings };
        let ideal = night.ideal();
        println!("\n{vms} VMs on {srs} SR(s), storage at {percent} % of the measured times");
        println!("  {:<28} {:>9}          {:>9}", "", "snapshots", "removals");
        say("ideal, one in flight per SR", ideal, ideal);
        say("xensnap", daemon(&simulator, &client, &night), ideal);
        for workers in WORKERS {
            let spent = script(&simulator, &client, &night, Lines::Workers(workers));
            say(&format!("script, {workers} at a time"), spent, ideal);
        }
        say("script, one for each SR", script(&simulator, &client, &night, Lines::EachSr), ideal);
    }
}

/// A pool whose storage is slow, once.
fn large(simulator: &Runtime, client: &Runtime) {
    let mut timings = Timings::default();
    timings.set("VDI.snapshot", Duration::from_millis(495));
    timings.set("VDI.destroy", Duration::from_millis(100));
    let night = Night { vms: number("XENSNAP_BENCH_VMS", 1000), srs: 16, timings };
    println!("\n{} VMs on {} SRs, 500 ms per snapshot and 100 ms per destroyed disk", night.vms, night.srs);
    say("ideal, one in flight per SR", night.ideal(), night.ideal());
    say("xensnap", daemon(simulator, client, &night), night.ideal());
}

fn say(who: &str, spent: Spent, ideal: Spent) {
    let ratio = |spent: Duration, ideal: Duration| spent.as_secs_f64() / ideal.as_secs_f64();
    println!(
        "  {who:<28} {:>7.2} s ({:>5.2})  {:>7.2} s ({:>5.2})",
        spent.snapshots.as_secs_f64(),
        ratio(spent.snapshots, ideal.snapshots),
        spent.removals.as_secs_f64(),
        ratio(spent.removals, ideal.removals)
    );
}

/// Two nights of the real daemon: the first takes snapshots, the second takes others and removes those.
fn daemon(simulator: &Runtime, client: &Runtime, night: &Night) -> Spent {
    let server = night.server(simulator);
    let folder = support::folder();
    let due = client.block_on(async {
        let policy = |due| vec![support::policy("nightly", &support::daily_at(due), Field::Name, "*", 1)];
        let service = Service::start(folder.path(), support::plan(server.address(), Vec::new())).await;
        let due = support::soon(2);
        service.handle.reload(support::plan(server.address(), policy(due))).await.expect("a schedule");
        service.after_runs(1).await;
        let second = support::soon(2);
        service.handle.reload(support::plan(server.address(), policy(second))).await.expect("another schedule");
        let run = service.after_runs(2).await;
        assert_eq!((run.done, run.removed), (night.vms as u64, night.vms as u64), "{run:?}");
        service.stop().await;
        due
    });
    let ledger = server.shared().ledger();
    let spent = Spent { snapshots: night.snapshots(&ledger, due), removals: removals(&ledger) };
    let first = ledger.iter().find(|entry| entry.class == "VM" && &*entry.actor.method == "VM.snapshot").expect("snapshots");
    println!("  (the first call's record {} ms after the due time)", (first.at - due).num_milliseconds());
    simulator.block_on(server.shutdown());
    spent
}

/// How a script divides its work.
#[derive(Debug, Clone, Copy)]
enum Lines {
    /// So many at a time, whatever is where.
    Workers(usize),
    /// One for each SR.
    EachSr,
}

/// A night of a script, and the removal of what it took.
fn script(simulator: &Runtime, client: &Runtime, night: &Night, lines: Lines) -> Spent {
    let server = night.server(simulator);
    let began = client.block_on(script_night(server.address(), lines));
    let ledger = server.shared().ledger();
    let spent = Spent { snapshots: night.snapshots(&ledger, began), removals: removals(&ledger) };
    simulator.block_on(server.shutdown());
    spent
}

async fn script_night(address: SocketAddr, lines: Lines) -> DateTime<Utc> {
    let pool = support::client(address).await;
    let queues = match lines {
        Lines::Workers(workers) => {
            let queue = Arc::new(Mutex::new(vms(&pool).await.into_iter().map(|(vm, _)| vm).collect()));
            vec![queue; workers]
        }
        Lines::EachSr => by_sr(&pool).await.into_values().map(|vms| Arc::new(Mutex::new(vms))).collect(),
    };
    let began = SystemClock::new().now();
    let taken = side_by_side(&pool, queues, snapshot).await;
    side_by_side(&pool, taken, remove).await;
    pool.logout().await;
    began
}

/// The VMs by name.
async fn vms(pool: &Pool) -> Vec<(Ref<records::Vm>, records::Vm)> {
    let all = pool.call(calls::all::<records::Vm>()).await.expect("the VMs");
    let mut vms: Vec<_> = all.into_iter().filter(|(_, vm)| vm.is_plain()).collect();
    vms.sort_by_key(|(_, vm)| (vm.name_label.to_string(), vm.uuid.get()));
    vms
}

/// The VMs of each SR, by the first of their disks.
async fn by_sr(pool: &Pool) -> BTreeMap<String, VecDeque<Ref<records::Vm>>> {
    let drives: HashMap<_, _> = pool.call(calls::all::<records::Vbd>()).await.expect("the VBDs").into_iter().collect();
    let disks: HashMap<_, _> = pool.call(calls::all::<records::Vdi>()).await.expect("the VDIs").into_iter().collect();
    let mut queues: BTreeMap<String, VecDeque<_>> = BTreeMap::new();
    for (vm, record) in vms(pool).await {
        let mut drives = record.vbds.iter().map(|vbd| &drives[vbd]).filter(|vbd| vbd.has_disk());
        let sr = disks[&drives.next().expect("a disk").vdi].sr.to_string();
        queues.entry(sr).or_default().push_back(vm);
    }
    queues
}

type Queue = Arc<Mutex<VecDeque<Ref<records::Vm>>>>;

/// What a script does about one VM after the other, with a worker at each queue. What came of it, in queues of the same kind.
async fn side_by_side<F>(pool: &Pool, queues: Vec<Queue>, work: fn(Pool, Ref<records::Vm>) -> F) -> Vec<Queue>
where
    F: Future<Output = Ref<records::Vm>> + Send + 'static,
{
    let mut lines = JoinSet::new();
    for queue in queues {
        let pool = pool.clone();
        lines.spawn(async move {
            let mut done = VecDeque::new();
            loop {
                let next = queue.lock().expect("no panic").pop_front();
                let Some(vm) = next else { return Arc::new(Mutex::new(done)) };
                done.push_back(work(pool.clone(), vm).await);
            }
        });
    }
    lines.join_all().await
}

async fn snapshot(pool: Pool, vm: Ref<records::Vm>) -> Ref<records::Vm> {
    let task = pool.start(calls::vm::snapshot(&vm, "by a script")).await.expect("a task");
    task.finish(None).await.expect("a snapshot")
}

async fn remove(pool: Pool, snapshot: Ref<records::Vm>) -> Ref<records::Vm> {
    let record = pool.call(calls::record(&snapshot)).await.expect("a record");
    let mut disks = Vec::new();
    for vbd in record.vbds.iter() {
        let vbd: records::Vbd = pool.call(calls::record(vbd)).await.expect("a record");
        disks.extend(vbd.has_disk().then_some(vbd.vdi));
    }
    pool.start(calls::vm::destroy(&snapshot)).await.expect("a task").finish(None).await.expect("destroyed");
    for disk in disks {
        pool.start(calls::vdi::destroy(&disk)).await.expect("a task").finish(None).await.expect("destroyed");
    }
    snapshot
}

/// From the first record that was destroyed to the last disk.
fn removals(ledger: &[Entry]) -> Duration {
    let gone = |class, method| {
        let fits = move |entry: &&Entry| entry.deed == Deed::Destroyed && entry.class == class && &*entry.actor.method == method;
        ledger.iter().filter(fits).map(|entry| entry.at)
    };
    let (first, last) = (gone("VM", "VM.destroy").min(), gone("VDI", "VDI.destroy").max());
    (last.expect("removals") - first.expect("removals")).to_std().unwrap_or_default()
}
