//! A simulated pool, a clock that the test moves, a history in a temporary folder, and the service between them.
#![allow(dead_code, reason = "each scenario uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;
use xensnap::clock::{Clock, HandClock, SharedClock};
use xensnap::daemon::control::Listening;
use xensnap::daemon::{Alarms, Assigned, Daemon, DaemonError, Exporter, Handle, Plan, PlannedPool, Times};
use xensnap::domain::lease::Terms;
use xensnap::domain::mark::{KEY, Mark};
use xensnap::domain::policy::{Afterwards, Limits as PolicyLimits, Policy, Priority, Retention, SnapshotSettings, WantedKind};
use xensnap::domain::retention::{Order, Rules};
use xensnap::domain::schedule::Schedule;
use xensnap::domain::selection::{Clause, Condition, Field, Selection};
use xensnap::domain::zone::Zone;
use xensnap::engine::admission::Limits;
use xensnap::engine::site::Pace;
use xensnap::simulator::Options;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::simulation::{Seat, Simulation};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Ref;
use xensnap::simulator::world::World;
use xensnap::store::{Changes, Options as StoreOptions, Store};
use xensnap::xenapi::Settings;

/// When labs begin, unless they say otherwise.
pub const NOON: &str = "2026-03-01T12:00:00Z";

/// The history's file.
pub const HISTORY: &str = "history.sqlite";

/// The control socket.
pub const SOCKET: &str = "control.sock";

/// What the sessions of an installation are called at the server.
pub fn originator(installation: &str) -> String {
    format!("xensnap|{installation}")
}

/// A folder for a history. In memory where the system offers that: what a disk does to SQLite is shown by the store's own tests, and
/// a simulated year waits for thousands of its commits.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A time of the form `2026-03-01T02:00:00Z`.
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A policy that takes all VMs of a name, at these times, and keeps the newest so many.
pub fn policy(id: &str, cron: &str, vms: &str, last: u32) -> Policy {
    let name = Condition::parse(Field::Name, &[vms]).unwrap();
    Policy {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        enabled: true,
        observe: false,
        priority: Priority::default(),
        schedule: Schedule::new(vec![cron.parse().unwrap()], Zone::utc()).unwrap(),
        selection: Selection { include: vec![Clause(vec![name])], ..Selection::default() },
        snapshot: SnapshotSettings {
            kind: WantedKind::Disk,
            exclude_disks: Vec::new(),
            name: "{vm} {policy} {due}".parse().unwrap(),
            description: "taken by xensnap for policy {policy}, run {run}".parse().unwrap(),
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
        guards: xensnap::domain::guard::Guards::default(),
    }
}

/// The same policy in another zone.
pub fn in_zone(mut policy: Policy, cron: &str, zone: &str) -> Policy {
    policy.schedule = Schedule::new(vec![cron.parse().unwrap()], Zone::named(zone).unwrap()).unwrap();
    policy
}

pub struct Lab {
    pub clock: HandClock,
    pub simulation: Simulation,
    pub folder: TempDir,
    pub policies: Vec<Policy>,
    pub installation: String,
    pub pace: Pace,
    /// How often the service looks around without a reason.
    pub every: Duration,
    /// The group whose members may ask at the control socket.
    pub group: Option<String>,
    /// The pool that is meant.
    pub pinned: Option<Uuid>,
    /// How long the history keeps what is over.
    pub keep_history: Option<chrono::TimeDelta>,
    /// Offers figures, from the next start on.
    pub export: Option<(Exporter, usize)>,
    /// In the machine's time: until a call that is not answered is given up, if it is to be soon.
    pub answer: Option<Duration>,
    /// How long a claim to the pool is good for; nothing: there is no lease.
    pub lease: Option<Terms>,
    /// Who is told of what goes wrong.
    pub alarms: Option<Arc<Alarms>>,
    daemon: Option<Running>,
}

/// A service that runs.
pub struct Running {
    pub handle: Handle,
    task: JoinHandle<Result<(), DaemonError>>,
}

/// A snapshot of ours, as the pool shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub reference: Ref,
    pub uuid: Uuid,
    pub vm: String,
    pub mark: Mark,
}

impl Lab {
    /// A pool of this many plain VMs that takes no time, at noon of the first of March 2026.
    pub async fn new(vms: usize, policies: Vec<Policy>) -> Self {
        Self::at(NOON, vms, policies).await
    }

    pub async fn at(start: &str, vms: usize, policies: Vec<Policy>) -> Self {
        let recipe = Recipe { hosts: 2, vms, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
        let mut world = generate(&recipe, at(start));
        world.storage.timings = Timings::instant();
        Self::with(start, world, policies).await
    }

    pub async fn with(start: &str, mut world: World, policies: Vec<Policy>) -> Self {
        let clock = HandClock::new(at(start));
        let collect_every = Duration::from_secs(6 * 3600);
        let options = Options { login_takes: Duration::ZERO, refusal_takes: Duration::ZERO, collect_every, ..Options::default() };
        let seat = |host: Ref| Seat { host, listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap() };
        let seats: Vec<Seat> = world.database.refs("host").into_iter().map(seat).collect();
        for (n, seat) in seats.iter().enumerate() {
            let _ = n;
            let _ = world.database.set("host", &seat.host, "address", xensnap::simulator::value::Value::str("127.0.0.1"));
        }
        let shared: SharedClock = Arc::new(clock.clone());
        let simulation = Simulation::start(options, shared, world, seats).await.unwrap();
        let folder = folder();
        let pace = Pace::default();
        let every = Duration::from_secs(3600);
        Self {
            clock,
            simulation,
            folder,
            policies,
            installation: "lab".into(),
            pace,
            every,
            group: None,
            pinned: None,
            keep_history: None,
            export: None,
            answer: None,
            lease: None,
            alarms: None,
            daemon: None,
        }
    }

    /// The same with a service that looks around only every so many hours, for scenarios of many days.
    pub fn looking_every(self, hours: u64) -> Self {
        Self { every: Duration::from_secs(hours * 3600), ..self }
    }

    /// What the service works by.
    pub fn plan(&self) -> Plan {
        self.plan_of(&self.installation, &self.policies)
    }

    fn plan_of(&self, installation: &str, policies: &[Policy]) -> Plan {
        let addresses: Vec<xensnap::xenapi::Address> =
            self.simulation.addresses().into_iter().map(|(_, address)| format!("http://{address}").parse().unwrap()).collect();
        let mut settings = Settings::new("lab", addresses[0].clone(), "root", "xensnap".into());
        settings.addresses = addresses;
        settings.originator = originator(installation);
        // Nothing looks more often than it must: every look costs a test some milliseconds.
        settings.poll = self.every;
        if let Some(answer) = self.answer {
            (settings.timeouts.answer, settings.timeouts.blocking, settings.timeouts.login) = (answer, answer, answer);
        }
        settings.pool_uuid = self.pinned.map(|uuid| uuid.to_string());
        let every = self.every;
        let times = Times { chores_every: every, look_every: every, keep_history: self.keep_history, ..Times::default() };
        let limits = Limits { per_sr: 1.try_into().unwrap(), per_host: None, per_pool: None };
        Plan {
            installation: installation.parse().unwrap(),
            pools: vec![PlannedPool { settings, limits }],
            policies: policies.iter().map(|policy| Assigned { policy: Arc::new(policy.clone()), pools: Vec::new() }).collect(),
            times,
            pace: self.pace,
            lease: self.lease,
            alarms: self.alarms.clone(),
        }
    }

    /// Starts the service, and waits until it knows the pool.
    pub async fn start(&mut self) {
        let export = self.export.take();
        self.daemon = Some(self.launch(self.folder.path(), self.plan(), export).await);
    }

    /// Starts the service of another installation beside ours, with a history of its own.
    pub async fn another(&self, installation: &str, folder: &TempDir, policies: &[Policy]) -> Running {
        self.launch(folder.path(), self.plan_of(installation, policies), None).await
    }

    /// Starts a second service of our installation, with a history of its own, and does not wait for the pool. The server knows it as
    /// `standby`.
    pub async fn standby(&self, folder: &TempDir) -> Running {
        self.standby_that_tells(folder, None).await
    }

    /// The same with figures, and series for so many VMs.
    pub async fn standby_that_tells(&self, folder: &TempDir, export: Option<(Exporter, usize)>) -> Running {
        let mut plan = self.plan();
        plan.pools[0].settings.originator = originator("standby");
        self.begin(folder.path(), plan, export).await
    }

    /// Starts the service although the pool is away, and waits until it listens.
    pub async fn start_alone(&mut self) {
        let running = self.begin(self.folder.path(), self.plan(), None).await;
        self.clock.settle().await;
        self.daemon = Some(running);
    }

    /// Lets time pass until a service works with the pool; how long that took, or nothing after `bound`.
    pub async fn until_works(&self, running: &Running, bound: Duration) -> Option<Duration> {
        let began = self.clock.elapsed();
        while running.handle.sites().borrow().is_empty() {
            if self.clock.elapsed() - began >= bound {
                return None;
            }
            self.clock.advance(Duration::from_millis(250)).await;
        }
        Some(self.clock.elapsed() - began)
    }

    async fn launch(&self, folder: &Path, plan: Plan, export: Option<(Exporter, usize)>) -> Running {
        let running = self.begin(folder, plan, export).await;
        let mut sites = running.handle.sites();
        for _ in 0..1000 {
            if !sites.borrow_and_update().is_empty() {
                self.clock.settle().await;
                return running;
            }
            self.clock.advance(Duration::from_millis(100)).await;
        }
        panic!("the pool was not reached");
    }

    async fn begin(&self, folder: &Path, plan: Plan, export: Option<(Exporter, usize)>) -> Running {
        let opened = Store::open(folder.join(HISTORY), &StoreOptions::default(), self.clock.now()).await.unwrap();
        let clock: SharedClock = Arc::new(self.clock.clone());
        let listening = Listening::at(&folder.join(SOCKET), self.group.as_deref()).unwrap();
        let mut daemon = Daemon::new(opened, plan, clock).await.unwrap().listening(listening);
        if let Some((exporter, vm_series)) = export {
            daemon = daemon.exporting(exporter, vm_series);
        }
        let handle = daemon.handle();
        let running = daemon.run(Duration::from_secs(600));
        assert!(!self.clock.activity().is_idle(), "no time passes before all parts of the service have begun");
        Running { handle, task: tokio::spawn(running) }
    }

    /// Puts other policies in force while the service runs.
    pub async fn reload(&mut self, policies: Vec<Policy>) -> Changes {
        self.policies = policies;
        let changes = self.handle().reload(self.plan()).await.unwrap();
        self.clock.settle().await;
        changes
    }

    pub fn handle(&self) -> &Handle {
        &self.daemon.as_ref().expect("the service runs").handle
    }

    pub fn store(&self) -> Store {
        self.handle().store().clone()
    }

    /// Lets time pass until then.
    pub async fn until(&self, to: &str) {
        self.clock.advance_to(at(to)).await;
    }

    /// Lets time pass.
    pub async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
    }

    /// Stops the service in order.
    pub async fn stop(&mut self) {
        let Some(running) = self.daemon.take() else { return };
        self.end(running).await;
    }

    /// Stops a service in order.
    pub async fn end(&self, running: Running) {
        running.handle.stop();
        let mut task = running.task;
        for _ in 0..10_000 {
            if task.is_finished() {
                (&mut task).await.unwrap().unwrap();
                return;
            }
            self.clock.advance(Duration::from_millis(100)).await;
        }
        panic!("the service did not stop");
    }

    /// Every snapshot that carries a mark which is true of it.
    pub fn snapshots(&self) -> Vec<Found> {
        let shared = self.simulation.shared().expect("the server is up");
        let mut found = shared.step(|world| {
            let database = &world.database;
            let snapshots = database.refs("VM").into_iter().filter(|vm| database.bool("VM", vm, "is_a_snapshot"));
            let marked = snapshots.filter_map(|reference| {
                let mark = Mark::decode(&database.map_text("VM", &reference, "other_config", KEY)?).ok()?;
                let uuid: Uuid = database.text("VM", &reference, "uuid").parse().ok()?;
                let vm = database.text("VM", &database.text("VM", &reference, "snapshot_of"), "name_label").to_string();
                (mark.snapshot.0 == uuid).then_some(Found { reference, uuid, vm, mark })
            });
            marked.collect::<Vec<_>>()
        });
        found.sort_by_key(|found| (found.vm.clone(), found.mark.due_at, found.uuid));
        found
    }

    /// The due times of our snapshots, by VM.
    pub fn held(&self) -> BTreeMap<String, Vec<String>> {
        let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for found in self.snapshots() {
            held.entry(found.vm).or_default().push(found.mark.due_at.format("%m-%d %H:%M").to_string());
        }
        held
    }

    /// How many objects of a class the pool has.
    pub fn count(&self, class: &str) -> usize {
        self.step(|world| world.database.count(class))
    }

    /// Looks at the pool, or changes it behind everybody's back.
    pub fn step<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        self.simulation.shared().expect("the server is up").step(step)
    }

    /// Names of the plain VMs.
    pub fn vms(&self) -> Vec<String> {
        self.simulation.shared().expect("the server is up").step(|world| {
            let database = &world.database;
            let plain = |vm: &Ref| {
                !["is_a_template", "is_a_snapshot", "is_control_domain"].iter().any(|field| database.bool("VM", vm, field))
            };
            database
                .refs("VM")
                .iter()
                .filter(|vm| plain(vm))
                .map(|vm| database.text("VM", vm, "name_label").to_string())
                .collect()
        })
    }
}
