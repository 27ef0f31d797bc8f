//! `xensnap daemon`: the service. SIGTERM and SIGINT stop it at a safe point; SIGHUP and `xensnap reload` read the policies anew.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::planned;
use crate::clock::{SharedClock, SystemClock};
use crate::config::changes::{Change, changes};
use crate::config::{Config, DaemonConfig};
use crate::daemon::control::{Listening, PlaceError};
use crate::daemon::{Daemon, Handle, Reload, Reloaded};

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

/// The files, and the configuration that is in force.
struct Files {
    handle: Handle,
    path: PathBuf,
    now: Config,
    clock: SharedClock,
}

impl Files {
    /// Puts the files as they are now in force; if anything is wrong with them, nothing changes. Says the same to the journal.
    async fn reload(&mut self, by: &str) -> Reloaded {
        let reloaded = self.try_reload().await;
        match &reloaded {
            Reloaded::Yes(lines) => {
                self.handle.files_are_wrong(None);
                lines.iter().for_each(|line| tracing::info!(%by, "{line}"));
            }
            Reloaded::Wrong(drawn) => {
                let text = drawn.lines().next().unwrap_or_default().to_owned();
                self.handle.files_are_wrong(Some(text));
                tracing::error!(%by, "the configuration was not reloaded: it has errors; the policies of before stay in force");
                eprintln!("{drawn}");
            }
            Reloaded::Failed(error) => tracing::error!(%by, %error, "the configuration was not reloaded"),
        }
        reloaded
    }

    async fn try_reload(&mut self) -> Reloaded {
        let loaded = match Config::load(&self.path, self.clock.now()) {
            Ok(loaded) => loaded,
            Err(problems) => {
                let count = problems.errors().count();
                let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
                let path = self.path.display();
                let text = format!("{path} was not reloaded, {errors}; what was in force stays so\n{}", problems.render(false));
                return Reloaded::Wrong(text);
            }
        };
        let (new, now) = (loaded.config, &self.now);
        let mut lines: Vec<String> = Vec::new();
        if !loaded.warnings.is_empty() {
            lines.extend(loaded.warnings.render(false).lines().map(str::to_owned));
        }
        let kept = Config {
            installation: now.installation.clone(),
            pools: now.pools.clone(),
            store: now.store.clone(),
            daemon: DaemonConfig {
                socket: now.daemon.socket.clone(),
                socket_group: now.daemon.socket_group.clone(),
                ..new.daemon.clone()
            },
            policies: new.policies.clone(),
        };
        let plan = match planned::plan(&kept) {
            Ok(plan) => plan,
            Err(error) => return Reloaded::Failed(format!("{error:#}")),
        };
        if let Err(error) = self.handle.reload(plan).await {
            let error = crate::xenapi::error::chain(&error);
            return Reloaded::Failed(format!("the history cannot be written, so what was in force stays so: {error}"));
        }
        lines.extend(told(now, &new, self.clock.now()));
        lines.extend(waiting(now, &new));
        let count = kept.policies.len();
        lines.push(if count == 1 { "1 policy is in force".to_owned() } else { format!("{count} policies are in force") });
        self.now = kept;
        Reloaded::Yes(lines)
    }
}

/// What changed, policy by policy, with the next slot of those that are new or fire at other times.
fn told(old: &Config, new: &Config, now: DateTime<Utc>) -> Vec<String> {
    let changes = changes(old, new);
    if changes.is_empty() {
        return vec!["nothing changed".to_owned()];
    }
    let fires = |id: &str| {
        let policy = &new.policy(id)?.policy;
        let zone = policy.schedule.zone();
        let next = policy.schedule.next_open_after(now).filter(|_| policy.enabled);
        let at = |at| zone.format(at, "%a %Y-%m-%d %H:%M %Z").unwrap_or_else(|| at.to_string());
        Some(next.map_or_else(|| "it fires no more".to_owned(), |next| format!("next {}", at(next))))
    };
    changes
        .iter()
        .map(|change| fires_of(change).and_then(fires).map_or_else(|| change.to_string(), |fires| format!("{change}; {fires}")))
        .collect()
}

/// The policy of which a person wants to know when it fires now.
fn fires_of(change: &Change) -> Option<&str> {
    match change {
        Change::PolicyAdded(id) | Change::PolicyIdChanged { to: id, .. } => Some(id),
        Change::PolicyChanged { id, parts } => {
            parts.iter().any(|part| ["schedule", "enabled"].contains(part)).then_some(id.as_str())
        }
        _ => None,
    }
}

/// What a service that runs does not follow.
fn waiting(old: &Config, new: &Config) -> Option<String> {
    let socket = (&old.daemon.socket, &old.daemon.socket_group) != (&new.daemon.socket, &new.daemon.socket_group);
    let all = [
        ("the installation", old.installation != new.installation),
        ("pools", old.pools != new.pools),
        ("the history", old.store != new.store),
        ("the control socket", socket),
    ];
    let changed: Vec<&str> = all.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
    let text = || format!("not taken over before a restart: {}", changed.join(", "));
    (!changed.is_empty()).then(text)
}
