//! `xensnap simulator`: a simulated pool to point a client at.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::out::say;
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::simulator::faults::{Faults, Plan};
use crate::simulator::generate::{Recipe, generate};
use crate::simulator::http::tls::Identity;
use crate::simulator::model::Release;
use crate::simulator::options::User;
use crate::simulator::simulation::{Seat, Simulation};
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::World;
use crate::simulator::{Options, pool_database, revive};

/// Runs a simulated pool until SIGTERM or SIGINT.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Where the pool master listens; port 0 takes a free one. Members listen on the following ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Serve TLS instead of plain HTTP
    #[arg(long, value_name = "KIND")]
    tls: Option<Tls>,
    /// How many hosts the pool has
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    hosts: u16,
    /// How many virtual machines the pool has
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    vms: u32,
    /// How many snapshots there are already [default: a few, of several tools]
    #[arg(long)]
    snapshots: Option<u32>,
    /// The size of every disk in MiB [default: sizes as they are found in real pools]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(i64).range(1..=2_097_152))]
    disk_size: Option<i64>,
    /// Everything that is made up is made up from this number
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The release to simulate, such as 8.2 or 26.17
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// Serve the pool of a database that `xe pool-dump-database` wrote, instead of a made-up one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vms", "snapshots", "hosts", "disk_size"])]
    pool_database: Option<PathBuf>,
    /// Write the pool's database here at the end, in the form of `xe pool-dump-database`
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Go wrong on purpose: a fault plan in TOML
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Storage operations take this share of a real server's time; 0: none
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    storage_time: f64,
    /// Who may log in
    #[arg(long, default_value = "root")]
    user: String,
    /// With which password
    #[arg(long, default_value = "xensnap")]
    password: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tls {
    /// A certificate of its own, as XenServer has by default
    SelfSigned,
}

/// Serves until a signal ends it.
///
/// # Errors
/// When a file cannot be read, the address is taken, or the release is unknown.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let faults = args.faults.as_deref().map(plan).transpose()?;
    let mut world = world(&args, release(&args)?, clock.as_ref())?;
    world.storage.timings.scale = args.storage_time.max(0.0);
    let seats = seats(&args, &mut world)?;
    let options = options(&args)?;
    let fingerprint = options.tls.as_ref().map(Identity::fingerprint);
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let simulation = Simulation::start(options, clock, world, seats).await?;
    if let Some(plan) = faults {
        simulation.set_faults(plan);
    }
    announce(&args, &simulation.addresses(), fingerprint.as_deref());
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for SIGINT")?,
    }
    report(simulation.faults());
    let world = simulation.shutdown().await;
    if let Some(path) = &args.dump {
        dump(&world, path).with_context(|| format!("cannot write the database to {}; choose another path", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(path: &Path) -> anyhow::Result<Plan> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read the fault plan {}; check the path and its rights", path.display()))?;
    Plan::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// What the faults did, for whoever put them in.
fn report(faults: &Faults) {
    for fault in faults.reports() {
        say!("fault {}: struck {} of {} times", fault.name, fault.struck, fault.met);
        for effect in &fault.effects {
            say!("  {} {}: {}", effect.at.format("%F %T"), effect.what, effect.effect);
        }
    }
}

fn dump(world: &World, path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    pool_database::dump(&world.database, &world.kept, world.release, &mut file)?;
    file.flush()
}

/// A socket for each host. On a loopback address the members have addresses of their own and the master's port, so that HOST_IS_SLAVE
/// names them as a real pool would; elsewhere they have the following ports.
fn seats(args: &Args, world: &mut World) -> anyhow::Result<Vec<Seat>> {
    let mut seats: Vec<Seat> = Vec::new();
    let mut names = Vec::new();
    let mut first = args.listen;
    for (number, host) in (0u16..).zip(revive::hosts(world)) {
        let address = host_address(first, number);
        let listener = std::net::TcpListener::bind(address);
        let listener = listener.with_context(|| format!("cannot listen on {address}; choose another one with --listen"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        if number == 0 {
            first = address;
        }
        names.push(inner_name(first, address));
        seats.push(Seat { host, listener });
    }
    revive::set_addresses(world, &names);
    Ok(seats)
}

fn host_address(first: SocketAddr, number: u16) -> SocketAddr {
    match first.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            SocketAddr::new(IpAddr::V4((u32::from(ip).wrapping_add(number.into())).into()), first.port())
        }
        ip => SocketAddr::new(ip, first.port().saturating_add(number)),
    }
}

/// How a host is named inside the pool: without a port where the master's port is meant.
fn inner_name(master: SocketAddr, host: SocketAddr) -> Text {
    if host.port() == master.port() { host.ip().to_string().into() } else { host.to_string().into() }
}

fn release(args: &Args) -> anyhow::Result<Option<Release>> {
    let Some(name) = &args.release else { return Ok(None) };
    match Release::parse(name) {
        Some(release) => Ok(Some(release)),
        None => bail!("there is no release {name}; known are {}", Release::products().collect::<Vec<_>>().join(", ")),
    }
}

fn world(args: &Args, release: Option<Release>, clock: &dyn Clock) -> anyhow::Result<World> {
    if let Some(path) = &args.pool_database {
        return load(path, release, args.seed).with_context(|| format!("cannot serve the pool database {}", path.display()));
    }
    let recipe = Recipe {
        hosts: args.hosts.into(),
        vms: args.vms as usize,
        snapshots: args.snapshots.map(|count| count as usize),
        disk_size: args.disk_size.map(|mebibytes| mebibytes << 20),
        seed: args.seed,
        release: release.unwrap_or(Release::NEWEST),
        ..Recipe::default()
    };
    Ok(generate(&recipe, clock.now()))
}

fn load(path: &Path, release: Option<Release>, seed: u64) -> anyhow::Result<World> {
    let loaded = pool_database::load(BufReader::new(File::open(path)?), release)?;
    for damage in &loaded.damages {
        tracing::warn!(%damage, "a value of the database could not be read");
    }
    Ok(revive::revive(loaded, seed)?)
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let tls = match args.tls {
        Some(Tls::SelfSigned) => Some(Identity::self_signed(&[&args.listen.ip().to_string(), "localhost"])?),
        None => None,
    };
    let user = User { name: args.user.as_str().into(), password: args.password.as_str().into(), role: None };
    Ok(Options { users: vec![user], tls, ..Options::default() })
}

/// Says where the pool is, and what to write into a configuration to use it.
fn announce(args: &Args, hosts: &[(Ref, SocketAddr)], fingerprint: Option<&str>) {
    let scheme = if fingerprint.is_some() { "https" } else { "http" };
    let (master, members) = match hosts {
        [(_, master), members @ ..] => (*master, members),
        [] => return,
    };
    say!("A simulated pool is ready; its master answers at {scheme}://{master}");
    for (_, member) in members {
        say!("  member at {scheme}://{member}");
    }
    if let Some(fingerprint) = fingerprint {
        say!("  certificate fingerprint (SHA-256): {fingerprint}");
    }
    say!("\nTo use it, put this into xensnap.toml:\n");
    say!("[[pool]]\nname = \"simulated\"\naddresses = [\"{scheme}://{master}\"]");
    say!("username = {:?}\npassword = {:?}", args.user, args.password);
    if let Some(fingerprint) = fingerprint {
        say!("fingerprints = [\"sha256:{fingerprint}\"]");
    }
    say!("\nCtrl-C ends it.");
}
