//! The client against the simulated pool, through sockets, on releases that differ: what both understand by the same words.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio::net::TcpListener;
use xensnap::clock::{SharedClock, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::model::Release;
use xensnap::simulator::{Options, Server};
use xensnap::xenapi::inventory::Follows;
use xensnap::xenapi::records::{EventClass, Host, Task, Vm};
use xensnap::xenapi::settings::Settings;
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::wire::Wire;
use xensnap::xenapi::{Inventory, Pool, calls};

const WAIT: Duration = Duration::from_secs(30);

struct Bench {
    server: Server,
    pool: Pool,
}

async fn bench(release: &str, wire: Option<Wire>) -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock: SharedClock = Arc::new(SystemClock::new());
    let recipe = Recipe {
        hosts: 1,
        vms: 6,
        release: Release::parse(release).unwrap_or(Release::NEWEST),
        seed: 7,
        disk_size: Some(4 << 20),
        ..Recipe::default()
    };
    let world = generate(&recipe, DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let server = Server::start(Options::default(), Arc::clone(&clock), world, listener).await.unwrap();
    let address = format!("http://{}", server.address()).parse().unwrap();
    let mut settings = Settings::new("simulated", address, "root", "xensnap".into());
    settings.wire = wire;
    Bench { server, pool: Pool::open(settings, clock).unwrap() }
}

impl Bench {
    async fn inventory(&self) -> Inventory {
        let classes = [EventClass::Pool, EventClass::Host, EventClass::Vm, EventClass::Vbd, EventClass::Vdi, EventClass::Sr];
        let inventory = self.pool.inventory_reading_every(&classes, Duration::from_millis(200));
        assert!(inventory.ready(WAIT).await, "{inventory:?}");
        inventory
    }

    async fn end(self) {
        self.pool.logout().await;
        self.server.shutdown().await;
    }
}

fn a_halted_vm(inventory: &Inventory) -> Ref<Vm> {
    let read = inventory.read();
    let mut vms: Vec<_> = read.all::<Vm>().filter(|(_, vm)| vm.is_plain() && vm.power_state.as_str() == "Halted").collect();
    vms.sort_by_key(|(_, vm)| vm.uuid);
    vms.first().expect("a halted VM").0.clone()
}

async fn until(inventory: &Inventory, what: &str, condition: impl Fn(&Inventory) -> bool) {
    let mut status = inventory.status();
    let waiting = async {
        while !condition(inventory) {
            status.changed().await.unwrap();
        }
    };
    tokio::time::timeout(WAIT, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_seen_and_removed_on_every_release() {
    for (release, wire) in
        [("5.6", Wire::Xml), ("6.2", Wire::Xml), ("7.2", Wire::Xml), ("8.2", Wire::Json), ("newest", Wire::Json)]
    {
        for forced in [None, Some(Wire::Xml)] {
            let bench = bench(release, forced).await;
            let inventory = bench.inventory().await;
            let vm = a_halted_vm(&inventory);
            let taken = bench.pool.start(calls::vm::snapshot(&vm, "by a test").tagged("xensnap", "nonce-1")).await.unwrap();
            let snapshot = taken.finish(Some(WAIT)).await.unwrap_or_else(|error| panic!("{release}: {error}"));
            until(&inventory, "the snapshot", |inventory| inventory.read().snapshots_of(&vm).iter().any(|(s, _)| *s == snapshot))
                .await;
            let disks = inventory.read().disks_of(&snapshot);
            assert!(disks.iter().all(|disk| disk.vdi.is_a_snapshot), "{release} {wire:?}");
            bench.pool.start(calls::vm::destroy(&snapshot)).await.unwrap().finish(Some(WAIT)).await.unwrap();
            for disk in disks {
                bench.pool.start(calls::vdi::destroy(&disk.vdi_ref)).await.unwrap().finish(Some(WAIT)).await.unwrap();
            }
            until(&inventory, "the removal", |inventory| inventory.read().get(&snapshot).is_none()).await;
            let tasks = bench.pool.call(calls::all::<Task>()).await.unwrap();
            assert!(tasks.values().all(|task| !task.name_label.starts_with("Async.V")), "{release}: tasks were left: {tasks:?}");
            bench.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_events_are_read_and_others_followed() {
    for (release, follows) in [("5.6", Follows::ByReading), ("6.2", Follows::Live), ("newest", Follows::Live)] {
        let bench = bench(release, None).await;
        let inventory = bench.inventory().await;
        assert_eq!(inventory.status().borrow().follows, follows, "{release}");
        let vm = a_halted_vm(&inventory);
        bench.pool.call(calls::vm::set_name_label(&vm, "renamed <&>")).await.unwrap();
        until(&inventory, "the new name", |inventory| &*inventory.read().get(&vm).unwrap().name_label == "renamed <&>").await;
        bench.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_rights_and_records_are_read() {
    for wire in [Wire::Json, Wire::Xml] {
        let bench = bench("newest", Some(wire)).await;
        let incarnation = bench.pool.connected().await.unwrap();
        assert!(incarnation.agent_start_time.is_some());
        let host: Ref<Host> = Ref::new(&incarnation.master);
        bench.pool.call(calls::host::get_servertime(&host)).await.unwrap();
        bench.pool.call(calls::record(&host)).await.unwrap();
        assert_eq!(bench.pool.missing_rights(&["VM.snapshot", "VM.destroy"]).await.unwrap(), []);
        bench.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_leads_to_the_master() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let member = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let clock: SharedClock = Arc::new(SystemClock::new());
    let addresses = vec!["127.0.0.1".into(), "127.0.0.2".into()];
    let recipe = Recipe { hosts: 2, vms: 1, addresses, ..Recipe::default() };
    let world = generate(&recipe, DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let other = world.database.refs("host").into_iter().find(|host| *host != world.master).unwrap();
    let server = Server::start(Options::default(), Arc::clone(&clock), world, first).await.unwrap();
    server.listen(&other, member).unwrap();
    let address = format!("http://127.0.0.2:{port}").parse().unwrap();
    let pool = Pool::open(Settings::new("simulated", address, "root", "xensnap".into()), clock).unwrap();
    let incarnation = pool.connected().await.unwrap();
    assert_eq!(incarnation.address.to_string(), format!("http://127.0.0.1:{port}"));
    assert_eq!(pool.known_members().len(), 2);
    pool.logout().await;
    server.shutdown().await;
}
