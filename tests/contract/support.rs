//! A simulated pool and a client that speaks to it over loopback.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use xensnap::clock::{SharedClock, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::model::release;
use xensnap::simulator::storage::Timings;
use xensnap::simulator::{Options, Server};
use xensnap::xenapi::records::{self, Vbd, VbdType, Vdi, Vm};
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::wire::Wire;
use xensnap::xenapi::{Call, CallError, Pool, Settings};

/// Releases whose differences matter to a client, and the wire that it should find by itself.
pub const RELEASES: [(&str, Wire); 9] = [
    ("5.6", Wire::Xml),
    ("6.1", Wire::Xml),
    ("6.2", Wire::Xml),
    ("6.5", Wire::Xml),
    ("7.2", Wire::Xml),
    ("7.3", Wire::Json),
    ("8.2", Wire::Json),
    ("8.3", Wire::Json),
    ("26.17", Wire::Json),
];

/// How long a test waits for what should come at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A pool of two hosts and a dozen VMs on a server that takes no time.
pub async fn simulated(name: &str) -> Server {
    let recipe = Recipe { hosts: 2, vms: 12, release: release(name), disk_size: Some(8 << 20), ..Recipe::default() };
    let clock: SharedClock = Arc::new(SystemClock::new());
    let mut world = generate(&recipe, clock.now());
    world.storage.timings = Timings::instant();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { refusal_takes: Duration::ZERO, ..Options::default() };
    Server::start(options, clock, world, listener).await.unwrap()
}

/// How to reach a simulated pool.
pub fn settings(server: &Server, wire: Option<Wire>) -> Settings {
    let address = format!("http://{}", server.address()).parse().unwrap();
    Settings { wire, patience: PATIENCE, ..Settings::new("simulated", address, "root", "xensnap".into()) }
}

/// A connected client.
pub async fn connected(server: &Server, wire: Option<Wire>) -> Pool {
    Pool::connect(settings(server, wire), Arc::new(SystemClock::new())).await.unwrap()
}

/// Every wire that a release has.
pub fn wires(found: Wire) -> Vec<Wire> {
    if found == Wire::Json { vec![Wire::Json, Wire::Xml] } else { vec![Wire::Xml] }
}

/// All records of a class.
pub async fn all<T: xensnap::xenapi::types::Class + DeserializeOwned + Send + 'static>(
    pool: &Pool,
) -> std::collections::HashMap<Ref<T>, T> {
    pool.call(Call::read(&format!("{}.get_all_records", T::NAME))).await.unwrap()
}

/// The first halted VM with a disk.
pub async fn a_vm(pool: &Pool) -> Ref<Vm> {
    let disks: Vec<Ref<Vm>> =
        all::<Vbd>(pool).await.into_values().filter(|vbd| vbd.kind == VbdType::Disk).map(|vbd| vbd.vm).collect();
    let vms = all::<Vm>(pool).await.into_iter();
    let mut vms: Vec<_> =
        vms.filter(|(r, vm)| vm.is_plain() && vm.power_state == records::PowerState::Halted && disks.contains(r)).collect();
    vms.sort_by_key(|(_, vm)| vm.uuid);
    vms.into_iter().next().expect("a generated pool has a halted VM").0
}

/// Starts a snapshot as a task and waits for it.
pub async fn snapshot(pool: &Pool, vm: &Ref<Vm>, name: &str) -> Ref<Vm> {
    let task = pool.start::<Ref<Vm>>(Call::mutating("VM.snapshot").with(vm).with(name)).await.unwrap();
    task.finish(Some(PATIENCE)).await.unwrap()
}

/// The disks that belong to a snapshot.
pub async fn own_disks(pool: &Pool, snapshot: &Ref<Vm>) -> Vec<Ref<Vdi>> {
    let vbds = all::<Vbd>(pool).await.into_values();
    vbds.filter(|vbd| vbd.vm == *snapshot && vbd.kind == VbdType::Disk).map(|vbd| vbd.vdi).collect()
}

/// The code a call was refused with.
pub fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    let error = result.unwrap_err();
    error.failure().unwrap_or_else(|| panic!("no refusal: {error:?}")).code.clone()
}
