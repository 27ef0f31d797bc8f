//! `xensnap daemon`: the service. SIGTERM and SIGINT stop it at a safe point; SIGHUP and `xensnap reload` read the policies anew.

mod files;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::planned;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, DaemonConfig};
use crate::daemon::control::{Listening, PlaceError};
use crate::daemon::{Daemon, Reload};
use files::Files;

/// Takes and removes snapshots as the policies say, until it is stopped.
#[derive(Debug, ClapArgs)]
#[command(after_help = "`xensnap reload`, or SIGHUP, reads the policies anew, all or none; SIGTERM stops at a safe point.")]
pub struct Args {
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
}

/// Runs until a signal; exit code 78 for a configuration that cannot be used.
///
/// # Errors
/// When the history cannot be used, another service has the socket, or a part of the service ends.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let Some(config) = load(&args.config, &clock) else { return Ok(ExitCode::from(WRONG_CONFIGURATION)) };
    let plan = planned::plan(&config)?;
    anyhow::ensure!(!plan.pools.is_empty(), "{} has no [[pool]], so there is nothing to do", args.config.display());
    let listening = listen(&config.daemon)?;
    let opened = planned::history(&config.store.path, clock.now()).await?;
    let mut daemon = Daemon::new(opened, plan, Arc::clone(&clock)).await?;
    if let Some(listening) = listening {
        daemon = daemon.listening(listening);
    }
    tracing::info!(
        installation = %config.installation, pools = config.pools.len(), policies = config.policies.len(),
        "xensnap {} works by {}", env!("CARGO_PKG_VERSION"), args.config.display()
    );
    let grace = config.daemon.drain_grace.0;
    let files = Files { handle: daemon.handle(), path: args.config, now: config, clock };
    let steering = tokio::spawn(steer(files, daemon.reloads()));
    let outcome = daemon.run(grace).await;
    steering.abort();
    outcome?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The control socket. Snapshots are taken without one too, so only another service that has it is a reason not to start.
fn listen(config: &DaemonConfig) -> anyhow::Result<Option<Listening>> {
    let with = |group: Option<&str>| Listening::at(&config.socket, group);
    let listening = match with(config.socket_group.as_deref()) {
        Err(PlaceError::NoGroup(group)) => {
            tracing::warn!(
                "there is no group {group}, so only root and this user may use the control socket; make the group, or correct `socket_group` in [daemon]"
            );
            with(None)
        }
        other => other,
    };
    match listening {
        Ok(listening) => Ok(Some(listening)),
        Err(error @ PlaceError::Live(_)) => Err(error.into()),
        Err(error) => {
            let error = crate::xenapi::error::chain(&error);
            tracing::warn!(%error, "nobody can talk to this service while it runs; it works all the same");
            Ok(None)
        }
    }
}

/// The configuration, or all that is wrong with it on standard error.
fn load(path: &Path, clock: &SharedClock) -> Option<Config> {
    match Config::load(path, clock.now()) {
        Ok(loaded) => {
            if !loaded.warnings.is_empty() {
                eprintln!("{}", loaded.warnings.render(std::io::stderr().is_terminal()));
            }
            Some(loaded.config)
        }
        Err(problems) => {
            eprintln!("{}", problems.render(std::io::stderr().is_terminal()));
            None
        }
    }
}

/// Turns signals and requests into wishes.
async fn steer(mut files: Files, reloads: Option<mpsc::Receiver<Reload>>) -> anyhow::Result<()> {
    let (mut hangup, mut terminate, mut interrupt) = signals().context("cannot listen for signals")?;
    let (_none, nobody) = mpsc::channel(1);
    let mut reloads = reloads.unwrap_or(nobody);
    loop {
        tokio::select! {
            _ = terminate.recv() => files.handle.stop(),
            _ = interrupt.recv() => files.handle.stop(),
            _ = hangup.recv() => drop(files.reload("SIGHUP").await),
            Some(Reload { by, answer }) = reloads.recv() => drop(answer.send(files.reload(&by).await)),
        }
    }
}

fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}
