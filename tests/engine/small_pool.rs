//! A simulated pool on a hand-moved clock, with a client and an inventory that follows it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use xensnap::clock::{HandClock, SharedClock};
use xensnap::engine::worker::Worker;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::model::release;
use xensnap::simulator::storage::Timings;
use xensnap::simulator::value::Value;
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server};
use xensnap::xenapi::records::{EventClass, PowerState, Vm};
use xensnap::xenapi::settings::Settings;
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{Inventory, Pool};

/// Everything that the kind of a snapshot depends on.
const CLASSES: [EventClass; 10] = [
    EventClass::Pool,
    EventClass::Host,
    EventClass::HostMetrics,
    EventClass::Vm,
    EventClass::VmGuestMetrics,
    EventClass::Vbd,
    EventClass::Vdi,
    EventClass::Sr,
    EventClass::Pbd,
    EventClass::Sm,
];

/// Longer than anything in these tests may take, on the clock.
const PATIENCE: Duration = Duration::from_secs(3600);

pub struct SmallPool {
    pub clock: HandClock,
    pub server: Server,
    pub pool: Pool,
    pub inventory: Inventory,
}

impl SmallPool {
    /// A pool of a release in which nothing takes time, after a change.
    pub async fn start(name: &str, change: impl FnOnce(&mut World)) -> Self {
        let clock = HandClock::new("2026-11-22T12:00:00Z".parse().unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let recipe = Recipe { hosts: 2, vms: 24, release: release(name), disk_size: Some(4 << 20), ..Recipe::default() };
        let mut world = generate(&recipe, "2026-11-22T12:00:00Z".parse().unwrap());
        world.storage.timings = Timings::instant();
        change(&mut world);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options { refusal_takes: Duration::ZERO, login_takes: Duration::ZERO, ..Options::default() };
        let server = Server::start(options, shared, world, listener).await.unwrap();
        let (pool, inventory) = clock.run(Self::connect(&clock, &server)).await;
        Self { clock, server, pool, inventory }
    }

    /// A client, and an inventory that has read everything.
    pub async fn connect(clock: &HandClock, server: &Server) -> (Pool, Inventory) {
        let address = format!("http://{}", server.address()).parse().unwrap();
        let settings = Settings { patience: PATIENCE, ..Settings::new("simulated", address, "root", "xensnap".into()) };
        let pool = Pool::connect(settings, Arc::new(clock.clone())).await.unwrap();
        let inventory = pool.inventory(&CLASSES);
        assert!(inventory.ready(PATIENCE).await);
        (pool, inventory)
    }

    pub fn worker(&self) -> Worker {
        let clock: SharedClock = Arc::new(self.clock.clone());
        Worker::new(&clock)
    }

    /// Moves the clock until work is done.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        self.clock.run(work).await
    }

    /// Changes a field behind everybody's back.
    pub fn set(&self, class: &str, object: &str, field: &str, value: Value) {
        self.server.shared().step(|world| world.database.set(class, object, field, value)).unwrap();
    }

    /// The power state at the server itself.
    pub fn power(&self, vm: &Ref<Vm>) -> String {
        self.server.shared().step(|world| world.database.text("VM", &vm.to_string(), "power_state").to_string())
    }

    /// How often a message was called, in either form.
    pub fn calls(&self, method: &str) -> u64 {
        let calls = self.server.shared().calls();
        calls.get(method).copied().unwrap_or_default() + calls.get(&format!("Async.{method}")).copied().unwrap_or_default()
    }

    /// The first plain VM, by uuid, that fits a condition.
    pub fn find(&self, fits: impl Fn(&Ref<Vm>, &Vm) -> bool) -> Ref<Vm> {
        let view = self.inventory.read();
        let mut vms: Vec<_> = view.all::<Vm>().filter(|(reference, vm)| vm.is_plain() && fits(reference, vm)).collect();
        vms.sort_by_key(|(_, vm)| vm.uuid);
        vms.first().expect("there is such a VM").0.clone()
    }

    /// A running guest with tools and disks.
    pub fn running(&self) -> Ref<Vm> {
        self.find(|reference, vm| {
            let view = self.inventory.read();
            let tools = view.get(&*vm.guest_metrics).is_some_and(|guest| guest.pv_drivers_version.is_some());
            vm.power_state == PowerState::Running && tools && !view.disks_of(reference).is_empty()
        })
    }

    pub async fn end(self) {
        self.clock.run(self.pool.logout()).await;
        self.server.shutdown().await;
    }
}
