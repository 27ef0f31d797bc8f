//! `xensnap simulator`: a simulated pool to point a client at.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::{Clock, SharedClock, SystemClock};
use crate::simulator::generate::{Recipe, generate};
use crate::simulator::http::tls::Identity;
use crate::simulator::model::Release;
use crate::simulator::options::User;
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::World;
use crate::simulator::{Options, Server};

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
    /// Everything that is made up is made up from this number
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The release to simulate, such as 8.2 or 26.17
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// Serve the pool of a database that `xe pool-dump-database` wrote, instead of a made-up one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vms", "snapshots", "hosts"])]
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
    let release = release(&args)?;
    let listeners = listen(&args).await?;
    let world = world(&args, release, &listeners, clock.as_ref())?;
    let options = options(&args)?;
    let fingerprint = options.tls.as_ref().map(Identity::fingerprint);
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let (server, addresses) = serve(options, clock, world, listeners).await?;
    announce(&args, &addresses, fingerprint.as_deref())?;
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for SIGINT")?,
    }
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// One listener for each host. On a loopback address the members have addresses of their own and the master's port, so that
/// HOST_IS_SLAVE names them as a real pool would; elsewhere they have the following ports.
async fn listen(args: &Args) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for number in 0..if args.pool_database.is_some() { 1 } else { args.hosts } {
        let first = listeners.first().map_or(Ok(args.listen), TcpListener::local_addr)?;
        let address = host_address(first, number);
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("cannot listen on {address}; choose another one with --listen"))?);
    }
    Ok(listeners)
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

fn world(args: &Args, release: Option<Release>, listeners: &[TcpListener], clock: &dyn Clock) -> anyhow::Result<World> {
    let sockets = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let recipe = Recipe {
        hosts: args.hosts.into(),
        vms: args.vms as usize,
        snapshots: args.snapshots.map(|count| count as usize),
        seed: args.seed,
        release: release.unwrap_or(Release::NEWEST),
        addresses: sockets.iter().map(|socket| inner_name(sockets[0], *socket)).collect(),
        ..Recipe::default()
    };
    Ok(generate(&recipe, clock.now()))
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let tls = match args.tls {
        Some(Tls::SelfSigned) => Some(Identity::self_signed(&[&args.listen.ip().to_string(), "localhost"])?),
        None => None,
    };
    let user = User { name: args.user.as_str().into(), password: args.password.as_str().into(), role: None };
    Ok(Options { users: vec![user], tls, ..Options::default() })
}

async fn serve(
    options: Options,
    clock: SharedClock,
    world: World,
    listeners: Vec<TcpListener>,
) -> anyhow::Result<(Server, Vec<SocketAddr>)> {
    let master = world.master.clone();
    let members: Vec<Ref> = world.database.refs("host").into_iter().filter(|host| *host != master).collect();
    let mut listeners = listeners.into_iter();
    let first = listeners.next().context("the pool has no host")?;
    let server = Server::start(options, clock, world, first).await?;
    let mut addresses = vec![server.address()];
    for (host, listener) in members.iter().zip(listeners) {
        addresses.push(server.listen(host, listener)?);
    }
    Ok((server, addresses))
}

/// Says where the pool is, and what to write into a configuration to use it.
fn announce(args: &Args, addresses: &[SocketAddr], fingerprint: Option<&str>) -> anyhow::Result<()> {
    let scheme = if fingerprint.is_some() { "https" } else { "http" };
    let mut out = std::io::stdout().lock();
    writeln!(out, "A simulated pool is ready; its master answers at {scheme}://{}", addresses[0])?;
    for member in &addresses[1..] {
        writeln!(out, "  member at {scheme}://{member}")?;
    }
    if let Some(fingerprint) = fingerprint {
        writeln!(out, "  certificate fingerprint (SHA-256): {fingerprint}")?;
    }
    writeln!(out, "\nTo use it, put this into xensnap.toml:\n")?;
    writeln!(out, "[[pool]]\nname = \"simulated\"\naddresses = [\"{scheme}://{}\"]", addresses[0])?;
    writeln!(out, "username = {:?}\npassword = {:?}", args.user, args.password)?;
    if let Some(fingerprint) = fingerprint {
        writeln!(out, "fingerprints = [\"sha256:{fingerprint}\"]")?;
    }
    writeln!(out, "\nCtrl-C ends it.")?;
    Ok(out.flush()?)
}
