//! A pool of two hosts, its operator, and a client that reaches it at either.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use xensnap::clock::{Clock, HandClock, SharedClock};
use xensnap::simulator::context::Shared;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Report, Rule};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::options::Options;
use xensnap::simulator::revive;
use xensnap::simulator::simulation::{Seat, Simulation};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::world::World;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::records::{EventClass, Vbd, VbdType, Vdi, Vm};
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::wire::Wire;
use xensnap::xenapi::{CallError, Inventory, Pool, Settings, calls};

/// How long a call may wait for a pool that is away, on the clock.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A pool that goes wrong, and a client.
pub struct Bench {
    pub clock: HandClock,
    pub simulation: Simulation,
    pub pool: Pool,
}

impl Bench {
    /// A pool in which storage takes no time, and a client with the usual bounds.
    pub async fn new() -> Self {
        Self::with(Timings::instant(), |settings| settings).await
    }

    pub async fn with(timings: Timings, change: impl FnOnce(Settings) -> Settings) -> Self {
        let clock = HandClock::new("2026-11-22T12:00:00Z".parse().unwrap());
        let recipe = Recipe { hosts: 2, vms: 12, snapshots: Some(6), disk_size: Some(8 << 20), ..Recipe::default() };
        let mut world = generate(&recipe, clock.now());
        world.storage.timings = timings;
        let seats = seats(&mut world);
        let shared: SharedClock = Arc::new(clock.clone());
        let simulation = Simulation::start(Options::default(), Arc::clone(&shared), world, seats).await.unwrap();
        let mut addresses = simulation.addresses().into_iter().map(|(_, address)| format!("http://{address}").parse().unwrap());
        let settings = Settings::new("faulty", addresses.next().unwrap(), "root", "xensnap".into());
        let settings = Settings { addresses: settings.addresses.iter().cloned().chain(addresses).collect(), ..settings };
        let pool = Pool::open(change(Settings { patience: PATIENCE, ..settings }), shared).unwrap();
        let bench = Self { clock, simulation, pool };
        bench.run(bench.pool.connected()).await.unwrap();
        bench
    }

    /// Lets time pass as long as `work` needs it.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        self.clock.run(work).await
    }

    /// Puts one fault in force.
    pub fn fault(&self, rule: Rule) {
        self.simulation.set_faults(Plan::new(7).with(rule));
    }

    /// What became of the only fault.
    pub fn report(&self) -> Report {
        self.simulation.faults().reports().remove(0)
    }

    pub fn struck(&self) -> u64 {
        self.report().struck
    }

    pub fn shared(&self) -> Arc<Shared> {
        self.simulation.shared().expect("the server is up")
    }

    /// The first VM with at least so many disks, by uuid.
    pub async fn vm_with_disks(&self, wanted: usize) -> Ref<Vm> {
        let vbds = self.run(self.pool.call(calls::all::<Vbd>())).await.unwrap();
        let disks = |vm: &Ref<Vm>| vbds.values().filter(|vbd| vbd.vm == *vm && vbd.kind == VbdType::Disk).count();
        let vms = self.run(self.pool.call(calls::all::<Vm>())).await.unwrap().into_iter();
        let fits = |(reference, vm): &(Ref<Vm>, Vm)| vm.is_plain() && disks(reference) >= wanted;
        let mut vms: Vec<_> = vms.filter(fits).collect();
        vms.sort_by_key(|(_, vm)| vm.uuid);
        vms.into_iter().next().expect("the recipe makes such a VM").0
    }

    pub async fn vm(&self) -> Ref<Vm> {
        self.vm_with_disks(1).await
    }

    pub async fn disks(&self) -> usize {
        self.run(self.pool.call(calls::all::<Vdi>())).await.unwrap().len()
    }

    /// Whether a name was written, seen without the client.
    pub fn is_called(&self, vm: &Ref<Vm>, name: &str) -> bool {
        self.shared().step(|world| &*world.database.text("VM", &vm.to_string(), "name_label") == name)
    }

    /// Whether a key stands in a VM's `other_config`, seen without the client.
    pub fn is_marked(&self, vm: &Ref<Vm>, key: &str) -> bool {
        self.shared().step(|world| world.database.map_text("VM", &vm.to_string(), "other_config", key).is_some())
    }

    /// An inventory that has read everything.
    pub async fn inventory(&self) -> Inventory {
        let inventory = self.pool.inventory(&[EventClass::Pool, EventClass::Host, EventClass::Vm, EventClass::Sr]);
        assert!(self.run(inventory.ready(PATIENCE)).await, "{inventory:?}");
        inventory
    }

    /// Lets time pass until the inventory shows something.
    pub async fn until(&self, inventory: &Inventory, what: &str, shown: impl Fn(&Inventory) -> bool) {
        let mut status = inventory.status();
        let waiting = async {
            while !shown(inventory) {
                status.changed().await.unwrap();
            }
        };
        let bounded = tokio::time::timeout(Duration::from_secs(60), self.run(waiting)).await;
        bounded.unwrap_or_else(|_| panic!("the inventory never shows {what}: {inventory:?}"));
    }

    pub async fn end(self) {
        self.clock.run(self.pool.logout()).await;
        self.clock.run(self.simulation.shutdown()).await;
    }
}

/// The hosts side by side: servers name one another without a port, so each has an address of its own and the same port.
fn seats(world: &mut World) -> Vec<Seat> {
    let hosts = revive::hosts(world);
    let listeners = (0..100).find_map(|_| {
        let first = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
        let port = first.local_addr().ok()?.port();
        Some([first, std::net::TcpListener::bind(("127.0.0.2", port)).ok()?])
    });
    let listeners = listeners.expect("a port that is free on both addresses");
    revive::set_addresses(world, &["127.0.0.1".into(), "127.0.0.2".into()]);
    hosts.into_iter().zip(listeners).map(|(host, listener)| Seat { host, listener }).collect()
}

/// Forces a wire.
pub fn over(wire: Wire) -> impl FnOnce(Settings) -> Settings {
    move |settings| Settings { wire: Some(wire), ..settings }
}

/// Gives up soon on what never answers: real time.
pub fn impatient(settings: Settings) -> Settings {
    let mut settings = Settings { patience: Duration::ZERO, ..settings };
    settings.timeouts.answer = Duration::from_secs(1);
    settings.timeouts.blocking = Duration::from_secs(1);
    settings.timeouts.whole = Duration::from_secs(2);
    settings
}

/// The kind of an error, which decides what a caller does.
pub fn kind<T: std::fmt::Debug>(result: Result<T, CallError>) -> Kind {
    result.unwrap_err().kind()
}

/// A refusal.
pub fn refuse(code: &str) -> Action {
    Action::Refuse(ApiError::new(code, ["", "There is insufficient space", ""]))
}
