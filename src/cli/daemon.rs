//! `xensnap daemon`: the service. SIGTERM and SIGINT stop it at a safe point, SIGHUP reads the policies anew.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::planned;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::daemon::{Daemon, Handle};

/// Takes and removes snapshots as the policies say, until it is stopped.
#[derive(Debug, ClapArgs)]
#[command(after_help = "SIGHUP reads the policies anew, all or none; SIGTERM stops at a safe point.")]
pub struct Args {
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
}

/// Runs until a signal; exit code 78 for a configuration that cannot be used.
///
/// # Errors
/// When the history cannot be used, or a part of the service ends.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let Some(config) = load(&args.config, &clock) else { return Ok(ExitCode::from(WRONG_CONFIGURATION)) };
    let plan = planned::plan(&config)?;
    anyhow::ensure!(!plan.pools.is_empty(), "{} has no [[pool]], so there is nothing to do", args.config.display());
    let opened = planned::history(&config.store.path, clock.now()).await?;
    let daemon = Daemon::new(opened, plan, Arc::clone(&clock)).await?;
    tracing::info!(
        installation = %config.installation, pools = config.pools.len(), policies = config.policies.len(),
        "xensnap {} works by {}", env!("CARGO_PKG_VERSION"), args.config.display()
    );
    let steering = tokio::spawn(steer(daemon.handle(), args.config, config.clone(), clock));
    let outcome = daemon.run(config.daemon.drain_grace.0).await;
    steering.abort();
    outcome?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
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

/// Turns signals into wishes.
async fn steer(handle: Handle, path: PathBuf, mut now: Config, clock: SharedClock) -> anyhow::Result<()> {
    let (mut hangup, mut terminate, mut interrupt) = signals().context("cannot listen for signals")?;
    loop {
        tokio::select! {
            _ = terminate.recv() => handle.stop(),
            _ = interrupt.recv() => handle.stop(),
            _ = hangup.recv() => reload(&handle, &path, &mut now, &clock).await,
        }
    }
}

fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

/// Puts the files as they are now in force; if anything is wrong with them, nothing changes.
async fn reload(handle: &Handle, path: &Path, now: &mut Config, clock: &SharedClock) {
    let Some(new) = load(path, clock) else {
        tracing::error!("the configuration was not reloaded: it has errors; the policies of before stay in force");
        return;
    };
    if new.installation != now.installation || new.pools != now.pools || new.store != now.store {
        tracing::warn!("pools, history and installation change with a restart only; the policies are taken over now");
    }
    let kept = Config { installation: now.installation.clone(), pools: now.pools.clone(), store: now.store.clone(), ..new };
    let plan = match planned::plan(&kept) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the configuration was not reloaded");
            return;
        }
    };
    match handle.reload(plan).await {
        Ok(_) => {
            for change in crate::config::changes::changes(now, &kept) {
                tracing::info!("{change}");
            }
            tracing::info!(policies = kept.policies.len(), "the policies were reloaded");
            *now = kept;
        }
        Err(error) => tracing::error!(%error, "the configuration was not reloaded: the history cannot be written"),
    }
}
