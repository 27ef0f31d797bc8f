//! What the benchmarks of the whole service share: a simulated pool with storage of a chosen shape behind a real socket, and the real
//! daemon with a history on a real disk.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub mod company;
pub mod ideal;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use xensnap::clock::{Clock, SystemClock};
use xensnap::daemon::{Assigned, Daemon, DaemonError, Door, Exporter, Handle, Plan, PlannedPool, Times};
use xensnap::domain::guard::{Guards, OnLowSpace, Reserve};
use xensnap::domain::policy::{Afterwards, Limits as PolicyLimits, Policy, Priority, Retention, SnapshotSettings, WantedKind};
use xensnap::domain::retention::{Order, Rules};
use xensnap::domain::schedule::Schedule;
use xensnap::domain::selection::{Clause, Condition, Field, Selection};
use xensnap::domain::zone::Zone;
use xensnap::engine::admission::Limits;
use xensnap::engine::site::Pace;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Text, Value};
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server};
use xensnap::store::{Options as StoreOptions, Outcome, Page, Run, RunFilter, Store};
use xensnap::xenapi::{Pool, Settings};

/// A number that the environment may set.
pub fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A runtime with a thread for each core.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// A pool of plain VMs with one disk each, dealt out evenly to so many SRs of their own.
pub fn world(vms: usize, srs: usize, timings: Timings) -> World {
    let recipe = Recipe { hosts: 2, vms, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, SystemClock::new().now());
    let srs: Vec<Ref> = (0..srs).map(|number| storage(&mut world, number)).collect();
    for (number, vm) in plain(&world).into_iter().enumerate() {
        let disks = world.database.texts("VM", &vm, "VBDs").into_iter();
        let disks: Vec<Text> = disks.filter(|vbd| *world.database.text("VBD", vbd, "type") == *"Disk").collect();
        for (nth, vbd) in disks.into_iter().enumerate() {
            let vdi = world.database.text("VBD", &vbd, "VDI");
            if nth > 0 {
                world.database.destroy("VBD", &vbd);
                world.database.destroy("VDI", &vdi);
                continue;
            }
            world.database.set("VDI", &vdi, "SR", Value::Str(srs[number % srs.len()].clone())).expect("a disk");
        }
    }
    world.storage.timings = timings;
    world
}

/// The VMs that can be selected.
pub fn plain(world: &World) -> Vec<Ref> {
    let other = |vm: &Ref| {
        ["is_a_template", "is_a_snapshot", "is_control_domain"].iter().any(|field| world.database.bool("VM", vm, field))
    };
    world.database.refs("VM").into_iter().filter(|vm| !other(vm)).collect()
}

/// An SR that all hosts reach, of the type whose times were measured.
fn storage(world: &mut World, number: usize) -> Ref {
    let (sr, uuid) = (world.reference(), world.uuid());
    let fields = [
        ("uuid", Value::str(uuid)),
        ("name_label", Value::str(format!("array {number:02}"))),
        ("type", Value::str("ext")),
        ("content_type", Value::str("user")),
        ("shared", Value::Bool(true)),
        ("physical_size", Value::Int(1 << 42)),
    ];
    world.database.create("SR", sr.clone(), fields);
    for host in world.database.refs("host") {
        let (pbd, uuid) = (world.reference(), world.uuid());
        let fields = [
            ("uuid", Value::str(uuid)),
            ("SR", Value::Str(sr.clone())),
            ("host", Value::Str(host)),
            ("currently_attached", Value::Bool(true)),
        ];
        world.database.create("PBD", pbd, fields);
    }
    sr
}

/// Serves a world on a free port of the loopback interface.
pub async fn serve(world: World) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    Server::start(Options::default(), Arc::new(SystemClock::new()), world, listener).await.expect("a server")
}

/// A client of the pool.
pub async fn client(address: SocketAddr) -> Pool {
    Pool::connect(settings(address), Arc::new(SystemClock::new())).await.expect("a connection")
}

fn settings(address: SocketAddr) -> Settings {
    let address = format!("http://{address}").parse().expect("an address");
    Settings::new("bench", address, "root", "xensnap".into())
}

/// A policy that takes disk snapshots of the VMs that fit, and keeps the newest so many.
pub fn policy(id: &str, cron: &str, field: Field, vms: &str, last: u32) -> Policy {
    let condition = Condition::parse(field, &[vms]).expect("a pattern");
    Policy {
        id: id.parse().expect("an id"),
        name: id.to_owned(),
        enabled: true,
        observe: false,
        priority: Priority::default(),
        schedule: Schedule::new(vec![cron.parse().expect("an expression")], Zone::utc()).expect("a schedule"),
        selection: Selection { include: vec![Clause(vec![condition])], ..Selection::default() },
        snapshot: SnapshotSettings {
            kind: WantedKind::Disk,
            exclude_disks: Vec::new(),
            name: "{vm} {policy} {due}".parse().expect("a template"),
            description: "taken by xensnap for policy {policy}, run {run}".parse().expect("a template"),
        },
        hooks: Vec::new(),
        rpo: None,
        retention: Retention {
            rules: Rules::last(last),
            order: Order::SnapshotFirst,
            on_vm_deleted: Afterwards::Keep,
            on_policy_removed: Afterwards::Keep,
        },
        limits: PolicyLimits::default(),
        // What is measured is a night of all VMs, however full the drawn pool is.
        guards: Guards { space_reserve: Reserve::Bytes(0), on_low_space: OnLowSpace::GoAhead, ..Guards::default() },
    }
}

/// An expression that is due at this second of each day.
pub fn daily_at(due: DateTime<Utc>) -> String {
    due.format("%-S %-M %-H * * *").to_string()
}

/// A whole second, a little later than now.
pub fn soon(seconds: i64) -> DateTime<Utc> {
    let later = SystemClock::new().now() + TimeDelta::seconds(seconds + 1);
    DateTime::from_timestamp(later.timestamp(), 0).expect("a time")
}

/// What the daemon works by. Pools are synchronised as often as runs want, so that it is not the distance between two
/// synchronisations that is measured.
pub fn plan(address: SocketAddr, policies: Vec<Policy>) -> Plan {
    let times = Times { synchronise_every: Duration::ZERO, ..Times::default() };
    let policies = policies.into_iter().map(|policy| Assigned { policy: Arc::new(policy), pools: Vec::new() });
    Plan {
        installation: "bench".parse().expect("an id"),
        pools: vec![PlannedPool { settings: settings(address), limits: Limits::default() }],
        policies: policies.collect(),
        times,
        pace: Pace::default(),
        alarms: None,
    }
}

/// The real daemon, at work.
pub struct Service {
    /// Steers it.
    pub handle: Handle,
    task: JoinHandle<Result<(), DaemonError>>,
}

impl Service {
    /// Starts it with a history in `folder`, and waits until it knows the pool.
    pub async fn start(folder: &Path, plan: Plan) -> Self {
        Self::start_with(folder, plan, |daemon| daemon).await
    }

    /// The same, with more than the bare daemon.
    pub async fn start_with(folder: &Path, plan: Plan, more: impl FnOnce(Daemon) -> Daemon) -> Self {
        let clock = Arc::new(SystemClock::new());
        let opened = Store::open(folder.join("history.sqlite"), &StoreOptions::default(), clock.now()).await.expect("a history");
        let daemon = more(Daemon::new(opened, plan, clock).await.expect("a daemon"));
        let handle = daemon.handle();
        let task = tokio::spawn(daemon.run(Duration::from_secs(60)));
        let mut sites = handle.sites();
        sites.wait_for(|sites| !sites.is_empty()).await.expect("a pool");
        Self { handle, task }
    }

    /// The newest run, once so many have ended and nothing runs.
    pub async fn after_runs(&self, count: usize) -> Run {
        loop {
            let runs = self.handle.store().runs(RunFilter::default(), Page::first(10)).await.expect("runs").rows;
            let ended = runs.iter().filter(|run| run.outcome.is_some()).count();
            if ended >= count {
                self.handle.runs().rest().await;
                let newest = runs.into_iter().next().expect("a run");
                assert_eq!(newest.outcome, Some(Outcome::Succeeded), "{newest:?}");
                return newest;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.handle.stop();
        self.task.await.expect("no panic").expect("an orderly end");
    }
}

/// A folder beside the build, because a temporary one may be memory, which syncs for free.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// A line of `/proc/self/status` in bytes, such as `VmRSS` and `VmHWM` (Linux).
pub fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let found = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).expect("a line");
    found.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0
}

/// The processor's time that this process has had.
pub fn processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().expect("not negative"), time.tv_nsec.try_into().expect("less than a second"))
}

/// What a page served over HTTP holds, its head included.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// A page of metrics on a free port of the loopback interface.
pub async fn exporter() -> Exporter {
    let door = Door { listen: "127.0.0.1:0".parse().expect("an address"), token: None, tls: None };
    Exporter::open(&door).await.expect("a free port")
}

/// The value below which this share of them lies.
pub fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len() as f64 * share).ceil() as usize;
    values[at.clamp(1, values.len()) - 1]
}
