//! Two years in one process: nightly, weekly and six-hourly policies on a small pool, whose server restarts once a month. At the end of
//! each month it is looked at what the service's process takes: memory, file descriptors, threads, tasks. What leaks grows.
//!
//! The service is `xensnap daemon` in a process of its own whose clock follows ours; a day takes about half a second. Its lease has a term
//! of an hour: renewals of every twenty seconds would be most of what happens.
//!
//! Run with `cargo bench --bench soak`; `XENSNAP_BENCH_MONTHS` (of 30 days, at least 6) and `XENSNAP_BENCH_VMS` set the size.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use support::number;
use tokio::net::UnixListener;
use xensnap::clock::{Clock as _, HandClock, Leader, SharedClock};
use xensnap::simulator::Options;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::simulation::{Seat, Simulation};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(soak());
}

async fn soak() {
    let (months, vms) = (number("XENSNAP_BENCH_MONTHS", 24).max(6), number("XENSNAP_BENCH_VMS", 8));
    let folder = support::folder();
    let clock = HandClock::new("2026-01-01T11:30:00Z".parse().expect("a time"));
    let simulation = pool(&clock, vms).await;
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    write_down(folder.path(), &simulation, &metrics.to_string());
    let listener = UnixListener::bind(folder.path().join("clock")).expect("a socket");
    let mut leader = Leader::new(clock.clone());
    let service = Service(start(folder.path()));
    leader.admit(listener.accept().await.expect("a service").0, TimeDelta::zero()).await.expect("it follows");
    println!("{vms} VMs, {months} months of 30 days");
    println!(
        "{:>6} {:>9} {:>12} {:>8} {:>6} {:>8} {:>8}",
        "month", "resident", "descriptors", "threads", "tasks", "history", "took"
    );
    let (mut seen, began) = (Vec::new(), Instant::now());
    for month in 1..=months {
        let end = clock.elapsed() + MONTH;
        while !leader.step(end).await.expect("the service lives") {}
        let used = Used::of(&service.0, metrics).await;
        println!(
            "{month:>6} {:>6.1} MB {:>12} {:>8} {:>6} {:>5.1} MB {:>6.0} s",
            used.resident / 1e6,
            used.descriptors,
            used.threads,
            used.tasks,
            used.history / 1e6,
            began.elapsed().as_secs_f64()
        );
        seen.push(used);
        simulation.restart().await.expect("the server comes back");
    }
    compare(&seen);
}

/// The last months beside those in which everything had been done once.
fn compare(seen: &[Used]) {
    let mean = |months: &[Used], value: fn(&Used) -> f64| months.iter().map(value).sum::<f64>() / months.len() as f64;
    let (early, late) = (&seen[2..5], &seen[seen.len() - 3..]);
    let ratio = |value: fn(&Used) -> f64| mean(late, value) / mean(early, value);
    println!(
        "the last three months beside months 3 to 5: resident {:.2} times, descriptors {:.2}, threads {:.2}, tasks {:.2}",
        ratio(|used| used.resident),
        ratio(|used| used.descriptors),
        ratio(|used| used.threads),
        ratio(|used| used.tasks)
    );
}

/// What the service's process takes.
struct Used {
    resident: f64,
    descriptors: f64,
    threads: f64,
    tasks: f64,
    history: f64,
}

impl Used {
    async fn of(service: &Child, metrics: std::net::SocketAddr) -> Self {
        let page = tokio::task::spawn_blocking(move || support::get(metrics, "/metrics")).await.expect("no panic");
        let page = page.expect("figures");
        let figure = |name: &str| {
            let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{} "));
            value.and_then(|value| value.trim().parse().ok()).expect(name)
        };
        let process = Path::new("/proc").join(service.id().to_string());
        let status = fs::read_to_string(process.join("status")).expect("it lives");
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        Self {
            resident: of("VmRSS") * 1024.0,
            descriptors: fs::read_dir(process.join("fd")).expect("its descriptors").count() as f64,
            threads: of("Threads"),
            tasks: figure("xensnap_tasks"),
            history: figure("xensnap_history_bytes"),
        }
    }
}

/// It ends with the benchmark.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xensnap"));
    command.args(["daemon", "--log-format", "text", "--config"]).arg(folder.join("xensnap.toml"));
    command.arg("--clock").arg(folder.join("clock")).env_remove("NOTIFY_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the service")
}

async fn pool(clock: &HandClock, vms: usize) -> Simulation {
    let recipe = Recipe { hosts: 1, vms, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let shared: SharedClock = Arc::new(clock.clone());
    let mut world = generate(&recipe, shared.now());
    let host = world.master.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    world.database.set("host", &host, "address", xensnap::simulator::value::Value::str("127.0.0.1")).expect("a host");
    let options = Options { collect_every: Duration::from_secs(3600), ..Options::default() };
    Simulation::start(options, shared, world, vec![Seat { host, listener }]).await.expect("a pool")
}

fn write_down(folder: &Path, simulation: &Simulation, metrics: &str) {
    let address = simulation.addresses()[0].1;
    let main = format!(
        "installation = \"soak\"\npolicies = \"policies.d\"\n[daemon]\nlease = \"1h\"\nsocket = \"control.sock\"\n[store]\npath = \"history.sqlite\"\n\
         [metrics]\nlisten = \"{metrics}\"\n[[pool]]\nname = \"pool\"\naddresses = [\"http://{address}\"]\nusername = \"root\"\n\
         password = \"xensnap\"\n"
    );
    let policy = |id: &str, cron: &str, name: &str, more: &str| {
        format!(
            "[[policy]]\nname = \"{id}\"\nid = \"{id}\"\n[policy.schedule]\nzone = \"Europe/Berlin\"\ncron = \"{cron}\"\n\
             [policy.select]\ninclude = [{{ name = \"{name}\" }}]\n{more}\n"
        )
    };
    let policies = [
        policy("nightly", "30 2 * * *", "*", "[policy.retention]\nlast = 2\ndaily = 7\nweekly = 4"),
        policy(
            "weekly",
            "0 4 * * 0",
            "*",
            "[policy.snapshot]\nkind = \"memory\"\nfallback = \"disk\"\n[policy.retention]\nlast = 2",
        ),
        policy("hourly", "15 */6 * * *", "*-01", "[policy.retention]\nlast = 4"),
    ];
    fs::create_dir(folder.join("policies.d")).expect("a folder");
    fs::write(folder.join("policies.d/all.toml"), policies.concat()).expect("a file");
    fs::write(folder.join("xensnap.toml"), main).expect("a file");
    fs::set_permissions(folder.join("xensnap.toml"), fs::Permissions::from_mode(0o600)).expect("its mode");
}
