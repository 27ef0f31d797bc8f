//! The idle daemon: 1,000 policies and a pool of 5,000 VMs with 30,000 snapshots, none of them due. Resident memory and the
//! processor's time once it has come to rest, and beside them a process that only connects and keeps the pool's inventory. Then the
//! same daemon with everything on (`support/company.rs`), and both again through a night in which 200 VMs are due: whoever switches
//! on all that can be asked and read must not pay for it with the main job.
//!
//! The pool is `xensnap simulator` in a process of its own, and so are the daemon and the baseline, because memory is a process's.
//!
//! Run with `cargo bench --bench idle`; `XENSNAP_BENCH_VMS`, `XENSNAP_BENCH_SNAPSHOTS`, `XENSNAP_BENCH_POLICIES` and
//! `XENSNAP_BENCH_SECONDS` set the size and how long it is watched, `XENSNAP_BENCH_NIGHT` how many VMs are due in the night, and
//! `XENSNAP_BENCH_STORAGE` what share of a real server's time its storage takes, in percent.

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::company::{Simulator, Used, child, child_in_company, part, service};
use support::number;
use xensnap::daemon::Plan;
use xensnap::domain::selection::Field;
use xensnap::engine::site::CLASSES;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let address = |at: usize| args[at].parse::<SocketAddr>().expect("an address");
    let company = args.get(3).map(PathBuf::from);
    match args.get(1).map(String::as_str) {
        Some("daemon") => support::runtime().block_on(daemon(address(2), company)),
        Some("night") => support::runtime().block_on(night(address(2), company)),
        Some("inventory") => support::runtime().block_on(inventory(address(2))),
        _ => {
            at_rest();
            through_a_night();
        }
    }
}

fn at_rest() {
    let (vms, snapshots) = (number("XENSNAP_BENCH_VMS", 5_000), number("XENSNAP_BENCH_SNAPSHOTS", 30_000));
    let (policies, seconds) = (number("XENSNAP_BENCH_POLICIES", 1_000), number("XENSNAP_BENCH_SECONDS", 60));
    let pool = Simulator::start(&["--hosts", "16", "--vms", &vms.to_string(), "--snapshots", &snapshots.to_string()]);
    println!("{vms} VMs with {snapshots} snapshots, watched for {seconds} s each");
    let baseline = child(&mut part("inventory", &pool.address));
    let say = |what: &str, used: &Used| {
        let (resident, peak, share) = (used.resident / 1e6, used.peak / 1e6, used.processor * 100.0);
        println!(
            "  {what}: ready after {:.1} s, {resident:.0} MB resident ({peak:.0} MB at its peak), {share:.3} % of a core",
            used.ready
        );
    };
    say("the inventory alone", &baseline);
    let bare = child(&mut part("daemon", &pool.address));
    say(&format!("the daemon, {policies} policies"), &bare);
    println!("  resident: {:.2} times the inventory alone", bare.resident / baseline.resident);
    let full = child_in_company(part("daemon", &pool.address));
    say("the daemon with everything on", &full);
    let more = (full.processor - bare.processor) * 100.0;
    println!("  resident: {:.2} times the bare daemon; {more:.3} % of a core more", full.resident / bare.resident);
}

fn through_a_night() {
    let (vms, percent) = (number("XENSNAP_BENCH_NIGHT", 200), number("XENSNAP_BENCH_STORAGE", 25));
    let share = (percent as f64 / 100.0).to_string();
    println!("a night of {vms} VMs, on storage that takes {percent} % of a real server's time");
    let run = |company: bool| {
        let pool = Simulator::start(&["--vms", &vms.to_string(), "--snapshots", "0", "--storage-time", &share]);
        let part = part("night", &pool.address);
        if company { child_in_company(part) } else { child(&mut { part }) }
    };
    let say = |what: &str, used: &Used| {
        let (resident, peak) = (used.resident / 1e6, used.peak / 1e6);
        println!(
            "  {what}: {:.1} s, {:.2} s of processor, {resident:.0} MB resident ({peak:.0} MB at its peak)",
            used.ready, used.processor
        );
    };
    let (bare, full) = (run(false), run(true));
    say("the bare daemon", &bare);
    say("with everything on", &full);
    let of = |part: fn(&Used) -> f64| part(&full) / part(&bare);
    println!(
        "  times the bare daemon: {:.2} processor, {:.2} resident, {:.2} at the peak, {:.2} as long",
        of(|used| used.processor),
        of(|used| used.resident),
        of(|used| used.peak),
        of(|used| used.ready)
    );
}

/// Many policies, none of them due.
async fn daemon(address: SocketAddr, company: Option<PathBuf>) {
    let begin = Instant::now();
    let folder = support::folder();
    let policies = (0..number("XENSNAP_BENCH_POLICIES", 1_000)).map(|n| {
        // Due in half a day, and so not now.
        let due = support::soon(12 * 3600 + n as i64);
        support::policy(&format!("p{n}"), &support::daily_at(due), Field::Name, "*", 7)
    });
    let service = service(folder.path(), support::plan(address, policies.collect()), company).await;
    watch(begin).await;
    service.stop().await;
}

/// All VMs due at once, soon; from the start of the process to the end of the run.
async fn night(address: SocketAddr, company: Option<PathBuf>) {
    let begin = Instant::now();
    let folder = support::folder();
    let due = support::soon(5);
    let policy = support::policy("nightly", &support::daily_at(due), Field::Name, "*", 7);
    let plan: Plan = support::plan(address, vec![policy]);
    let service = service(folder.path(), plan, company).await;
    service.after_runs(1).await;
    Used::print(begin.elapsed().as_secs_f64(), support::processor().as_secs_f64());
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
    Used::print(ready, share);
}
