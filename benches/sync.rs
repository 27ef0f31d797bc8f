//! Full synchronisation of a large pool: 5,000 VMs and 30,000 snapshots with their drives and disks. Time, peak resident memory of the
//! client's process, and both beside a baseline in the same run: the same classes read with `get_all_records` into `serde_json::Value`.
//!
//! Client and baseline run in processes of their own, because peak memory is a process's; the simulated pool runs in this one.
//!
//! Run with `cargo bench --bench sync`; `XENSNAP_BENCH_VMS` and `XENSNAP_BENCH_SNAPSHOTS` set the size.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use xensnap::clock::{Clock, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::{Options, Server};
use xensnap::xenapi::records::EventClass;
use xensnap::xenapi::wire::{Limits, Wire};
use xensnap::xenapi::{Call, Pool, Settings};

/// What a snapshot service follows.
const CLASSES: [EventClass; 7] =
    [EventClass::Pool, EventClass::Host, EventClass::Vm, EventClass::Vbd, EventClass::Vdi, EventClass::Sr, EventClass::Pbd];

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("follow") => follow(&args[2], &args[3]).await,
        Some("baseline") => baseline(&args[2]).await,
        _ => compare().await,
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn compare() {
    let (vms, snapshots) = (number("XENSNAP_BENCH_VMS", 5_000), number("XENSNAP_BENCH_SNAPSHOTS", 30_000));
    let clock = Arc::new(SystemClock::new());
    let begin = Instant::now();
    let world = generate(&Recipe { hosts: 16, vms, snapshots: Some(snapshots), ..Recipe::default() }, clock.now());
    let counts: Vec<String> =
        ["VM", "VBD", "VDI"].iter().map(|class| format!("{} {class}", world.database.count(class))).collect();
    println!("a pool of {} records, made in {:.1} s", counts.join(", "), begin.elapsed().as_secs_f64());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = Server::start(Options::default(), clock, world, listener).await.expect("a server");
    let address = server.address().to_string();
    let (base_seconds, base_bytes) = child(&["baseline", &address]).await;
    println!("baseline (get_all_records into serde_json::Value): {base_seconds:.2} s, peak {:.0} MB", base_bytes / 1e6);
    for wire in ["json", "xml"] {
        let (seconds, bytes) = child(&["follow", wire, &address]).await;
        println!(
            "inventory over {wire}: {seconds:.2} s ({:.2} times the baseline), peak {:.0} MB ({:.2} times)",
            seconds / base_seconds,
            bytes / 1e6,
            bytes / base_bytes
        );
    }
    server.shutdown().await;
}

/// Runs a part in a process of its own; it prints seconds and bytes.
async fn child(args: &[&str]) -> (f64, f64) {
    let program = std::env::current_exe().expect("our own path");
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let output =
        tokio::task::spawn_blocking(move || Command::new(program).args(args).output()).await.expect("ran").expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(figures.len(), 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
    (figures[0], figures[1])
}

async fn connect(address: &str, wire: Wire) -> Pool {
    let address = format!("http://{address}").parse().expect("an address");
    let settings =
        Settings { wire: Some(wire), limits: Limits::default(), ..Settings::new("bench", address, "root", "xensnap".into()) };
    Pool::connect(settings, Arc::new(SystemClock::new())).await.expect("a connection")
}

async fn follow(wire: &str, address: &str) {
    let pool = connect(address, if wire == "json" { Wire::Json } else { Wire::Xml }).await;
    let begin = Instant::now();
    let inventory = pool.inventory(&CLASSES);
    assert!(inventory.ready(Duration::from_secs(600)).await, "it was not read in ten minutes");
    println!("{} {}", begin.elapsed().as_secs_f64(), peak());
    assert!(inventory.read().count(&EventClass::Vm) > 0);
    pool.logout().await;
}

async fn baseline(address: &str) {
    let pool = connect(address, Wire::Json).await;
    let begin = Instant::now();
    let mut kept: Vec<serde_json::Value> = Vec::new();
    for class in ["pool", "host", "VM", "VBD", "VDI", "SR", "PBD"] {
        kept.push(pool.call(Call::read(&format!("{class}.get_all_records"))).await.expect("records"));
    }
    println!("{} {}", begin.elapsed().as_secs_f64(), peak());
    assert_eq!(kept.len(), 7);
    pool.logout().await;
}

/// Peak resident memory of this process in bytes (`VmHWM`).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
