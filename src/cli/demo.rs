//! `xensnap demo`: a simulated pool, a real client over a real wire, and one night of snapshots on it.
//!
//! What it shows is what the service is built on: one storage operation in flight per SR, each call a task that is followed by events,
//! removal with all disks, and not one foreign object touched.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args as ClapArgs;
use futures_util::future::try_join_all;
use tokio::net::TcpListener;

use super::out::say;
use crate::clock::{SharedClock, SystemClock};
use crate::simulator::generate::{Recipe, generate};
use crate::simulator::http::tls::Identity;
use crate::simulator::{Options, Server};
use crate::xenapi::records::{EventClass, Sr, Vdi, Vm};
use crate::xenapi::types::Ref;
use crate::xenapi::{Inventory, Pool, Settings, calls};

/// No step of the demonstration takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shows snapshots being taken and removed on a simulated pool, in a few seconds.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// How many virtual machines the pool has
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=500))]
    vms: u16,
    /// Everything that is made up is made up from this number
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// A VM of tonight.
struct Guest {
    vm: Ref<Vm>,
    name: String,
}

/// What became of one VM.
struct Row {
    sr: String,
    name: String,
    snapshot: Ref<Vm>,
    disks: usize,
    took: Duration,
}

/// Runs the demonstration.
///
/// # Errors
/// When something does not go as it must: then this program has a defect.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let server = start(&args, &clock).await?;
    let foreign = objects(&server);
    say!("1. A simulated pool with {} VMs answers at https://{}.", args.vms, server.address());
    let pool = connect(&server, clock).await?;
    let inventory = pool.inventory(&[EventClass::Vm, EventClass::Vbd, EventClass::Vdi, EventClass::Sr]);
    ensure!(inventory.ready(PATIENCE).await, "the pool was not read in time");
    let night = tonight(&inventory);
    let count: usize = night.values().map(Vec::len).sum();
    say!(
        "2. {count} VMs on {} SRs get a snapshot; one storage operation at a time on each SR, the SRs side by side.",
        night.len()
    );
    let rows = take(&pool, &inventory, &night).await?;
    table(&rows);
    say!("3. The snapshots are removed again, each with the disks that belong to it.");
    remove(&pool, &inventory, &rows).await?;
    ensure!(foreign.is_subset(&objects(&server)), "an object that was not ours is gone");
    let calls: u64 = server.shared().calls().values().sum();
    say!("   Nothing is left of them, and all {} objects that were there before are still there.", foreign.len());
    say!("   {calls} calls in all, {:.1} for each VM, the event stream included.", calls as f64 / count.max(1) as f64);
    pool.logout().await;
    server.shutdown().await;
    say!("\nNext: `xensnap simulator` keeps such a pool running, and `xensnap doctor` looks at one of yours.");
    Ok(ExitCode::SUCCESS)
}

async fn start(args: &Args, clock: &SharedClock) -> anyhow::Result<Server> {
    let recipe = Recipe { vms: args.vms.into(), seed: args.seed, ..Recipe::default() };
    let world = generate(&recipe, clock.now());
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on the loopback address")?;
    let options = Options { tls: Some(Identity::self_signed(&["127.0.0.1"])?), ..Options::default() };
    Ok(Server::start(options, Arc::clone(clock), world, listener).await?)
}

async fn connect(server: &Server, clock: SharedClock) -> anyhow::Result<Pool> {
    let fingerprint =
        server.shared().options.tls.as_ref().map(Identity::fingerprint).context("the simulator has a certificate")?;
    let mut settings = Settings::new("demo", format!("https://{}", server.address()).parse()?, "root", "xensnap".into());
    settings.trust.fingerprints = vec![fingerprint.parse()?];
    Ok(Pool::connect(settings, clock).await?)
}

/// VMs with a disk, by the SR that their first disk is on.
fn tonight(inventory: &Inventory) -> BTreeMap<String, Vec<Guest>> {
    let view = inventory.read();
    let mut night: BTreeMap<String, Vec<Guest>> = BTreeMap::new();
    for (vm, record) in view.all::<Vm>().filter(|(_, vm)| vm.is_plain()) {
        let Some(disk) = view.disks_of(vm).into_iter().next() else { continue };
        let sr = view.get::<Sr>(&disk.vdi.sr).map(|sr| sr.name_label.to_string());
        night.entry(sr.unwrap_or_default()).or_default().push(Guest { vm: vm.clone(), name: record.name_label.to_string() });
    }
    night
}

async fn take(pool: &Pool, inventory: &Inventory, night: &BTreeMap<String, Vec<Guest>>) -> anyhow::Result<Vec<Row>> {
    let queues = night.iter().map(|(sr, guests)| async move {
        let mut rows = Vec::new();
        for guest in guests {
            let begin = pool.clock().elapsed();
            let task = pool.start(calls::vm::snapshot(&guest.vm, &format!("{} (demo)", guest.name))).await?;
            let snapshot = task.finish(Some(PATIENCE)).await?;
            let disks = own_disks(inventory, &snapshot).await?.len();
            let took = pool.clock().elapsed() - begin;
            rows.push(Row { sr: sr.clone(), name: guest.name.clone(), snapshot, disks, took });
        }
        anyhow::Ok(rows)
    });
    Ok(try_join_all(queues).await?.into_iter().flatten().collect())
}

async fn remove(pool: &Pool, inventory: &Inventory, rows: &[Row]) -> anyhow::Result<()> {
    let mut queues: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        queues.entry(&row.sr).or_default().push(row);
    }
    try_join_all(queues.into_values().map(|rows| async move {
        for row in rows {
            let disks = own_disks(inventory, &row.snapshot).await?;
            pool.call(calls::vm::destroy(&row.snapshot)).await?;
            for disk in disks {
                pool.start(calls::vdi::destroy(&disk)).await?.finish(Some(PATIENCE)).await?;
            }
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

/// The disks of a snapshot, once the event stream has shown it: only drives of type Disk whose VDI is a snapshot belong to it, so that
/// a disc in its drive stays what it is, somebody else's.
async fn own_disks(inventory: &Inventory, snapshot: &Ref<Vm>) -> anyhow::Result<Vec<Ref<Vdi>>> {
    let mut status = inventory.status();
    let shown = async {
        while !inventory.read().get(snapshot).is_some_and(|vm| vm.current_operations.is_empty()) {
            status.changed().await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, shown).await.context("the snapshot did not show up in the events")??;
    let view = inventory.read();
    Ok(view.disks_of(snapshot).into_iter().filter(|disk| disk.vdi.is_a_snapshot).map(|disk| disk.vdi_ref).collect())
}

fn table(rows: &[Row]) {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0).max(2);
    let (sr, vm) = (width(|row| &row.sr), width(|row| &row.name));
    say!("\n   {:<sr$}  {:<vm$}  {:>5} {:>8}", "SR", "VM", "disks", "took");
    for row in rows {
        say!("   {:<sr$}  {:<vm$}  {:>5} {:>5} ms", row.sr, row.name, row.disks, row.took.as_millis());
    }
    say!("");
}

/// Every VM, VBD and managed VDI there is; the collector's own remains come and go by themselves.
fn objects(server: &Server) -> BTreeSet<String> {
    server.shared().step(|world| {
        let database = &world.database;
        let managed = database.refs("VDI").into_iter().filter(|vdi| database.bool("VDI", vdi, "managed"));
        let all = database.refs("VM").into_iter().chain(database.refs("VBD")).chain(managed);
        all.map(|reference| reference.to_string()).collect()
    })
}
