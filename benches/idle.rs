//! The idle daemon: 1,000 policies and a pool of 5,000 VMs with 30,000 snapshots, none of them due. Resident memory and the
//! processor's time once it has come to rest, and beside them a process that only connects and keeps the pool's inventory.
//!
//! The pool is `xensnap simulator` in a process of its own, and so are the daemon and the baseline, because memory is a process's.
//!
//! Run with `cargo bench --bench idle`; `XENSNAP_BENCH_VMS`, `XENSNAP_BENCH_SNAPSHOTS`, `XENSNAP_BENCH_POLICIES` and
//! `XENSNAP_BENCH_SECONDS` set the size and how long it is watched.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Service, number};
use xensnap::domain::selection::Field;
use xensnap::engine::site::CLASSES;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let address = |at: usize| args[at].parse::<SocketAddr>().expect("an address");
    match args.get(1).map(String::as_str) {
        Some("daemon") => support::runtime().block_on(daemon(address(2))),
        Some("inventory") => support::runtime().block_on(inventory(address(2))),
        _ => compare(),
    }
}

/// What a process used.
struct Used {
    ready: f64,
    resident: f64,
    peak: f64,
    processor: f64,
}

fn compare() {
    let (vms, snapshots) = (number("XENSNAP_BENCH_VMS", 5_000), number("XENSNAP_BENCH_SNAPSHOTS", 30_000));
    let (policies, seconds) = (number("XENSNAP_BENCH_POLICIES", 1_000), number("XENSNAP_BENCH_SECONDS", 60));
    let pool = Pool::start(vms, snapshots);
    println!("{vms} VMs with {snapshots} snapshots, watched for {seconds} s each");
    let baseline = child("inventory", &pool.address);
    say("the inventory alone", &baseline);
    let daemon = child("daemon", &pool.address);
    say(&format!("the daemon, {policies} policies"), &daemon);
    println!("  resident: {:.2} times the inventory alone", daemon.resident / baseline.resident);
}

fn say(what: &str, used: &Used) {
    println!(
        "  {what}: ready after {:.1} s, {:.0} MB resident ({:.0} MB at its peak), {:.2} % of a core",
        used.ready,
        used.resident / 1e6,
        used.peak / 1e6,
        used.processor * 100.0
    );
}

/// `xensnap simulator`, ended when it is dropped.
struct Pool {
    process: Child,
    address: String,
}

impl Pool {
    fn start(vms: usize, snapshots: usize) -> Self {
        let (vms, snapshots) = (vms.to_string(), snapshots.to_string());
        let args = ["simulator", "--listen", "127.0.0.1:0", "--hosts", "16", "--vms", &vms, "--snapshots", &snapshots];
        let mut command = Command::new(env!("CARGO_BIN_EXE_xensnap"));
        let mut process = command.args(args).stdout(Stdio::piped()).spawn().expect("the simulator");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("answers at http://")?.1.trim().to_owned()));
        // It must not be stopped by a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("an address") }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a part in a process of its own; it prints four figures.
fn child(part: &str, address: &str) -> Used {
    let program = std::env::current_exe().expect("our own path");
    let output = Command::new(program).args([part, address]).output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [ready, resident, peak, processor] = figures[..] else {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Used { ready, resident, peak, processor }
}

async fn daemon(address: SocketAddr) {
    let begin = Instant::now();
    let folder = support::folder();
    let policies = (0..number("XENSNAP_BENCH_POLICIES", 1_000)).map(|n| {
        // Due in half a day, and so not now.
        let due = support::soon(12 * 3600 + n as i64);
        support::policy(&format!("p{n}"), &support::daily_at(due), Field::Name, "*", 7)
    });
    let service = Service::start(folder.path(), support::plan(address, policies.collect())).await;
    watch(begin).await;
    service.stop().await;
}

async fn inventory(address: SocketAddr) {
    let begin = Instant::now();
    let pool = support::client(address).await;
    let inventory = pool.inventory(&CLASSES);
    assert!(inventory.ready(Duration::from_secs(600)).await, "it was not read in ten minutes");
    watch(begin).await;
    pool.logout().await;
}

/// Lets it come to rest, watches, and prints what was used.
async fn watch(begin: Instant) {
    let ready = begin.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, from) = (support::processor(), Instant::now());
    tokio::time::sleep(Duration::from_secs(number("XENSNAP_BENCH_SECONDS", 60) as u64)).await;
    let share = (support::processor() - before).as_secs_f64() / from.elapsed().as_secs_f64();
    println!("{ready} {} {} {share}", support::memory("VmRSS"), support::memory("VmHWM"));
}
