//! `xensnap daemon`: the service. SIGTERM and SIGINT stop it at a safe point; SIGHUP and `xensnap reload` read the policies anew.

mod files;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args as ClapArgs, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::planned;
use crate::clock::{Clock as _, Hold, SharedClock, SystemClock, follow};
use crate::config::{Config, DaemonConfig, Diagnostics, Severity};
use crate::daemon::control::{Listening, PlaceError};
use crate::daemon::{Daemon, Door, Exporter, Manager, Plan, Reload};
use crate::domain::build::Build;
use crate::domain::event::EventKind;
use crate::telemetry::{Fact, Format, goes_to_journal};
use crate::xenapi::error::chain;
use files::Files;

/// Takes and removes snapshots as the policies say, until it is stopped.
#[derive(Debug, ClapArgs)]
#[command(after_help = "`xensnap reload`, or SIGHUP, reads the policies anew, all or none; SIGTERM stops at a safe point.")]
pub struct Args {
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
    /// How to write what it does
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    log_format: LogFormat,
    /// Take the time from whoever leads at this socket instead of from the machine; for the fault campaign (docs/RELIABILITY.md)
    #[arg(long, value_name = "SOCKET", hide = true)]
    clock: Option<PathBuf>,
}

/// What [`Format`] is called on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Into systemd's journal where standard error goes there, else as text
    Auto,
    /// Into systemd's journal, with fields to filter by
    Journal,
    /// As lines of text on standard error
    Text,
    /// As JSON objects on standard error, one in each line
    Json,
}

impl Args {
    /// Whether somebody else has the time. Whether a process rests is then seen best on one thread.
    pub fn follows(&self) -> bool {
        self.clock.is_some()
    }

    /// How it writes what it does.
    pub fn log_format(&self) -> Format {
        match self.log_format {
            LogFormat::Auto => Format::Auto,
            LogFormat::Journal => Format::Journal,
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        }
    }
}

/// Runs until a signal; exit code 78 for a configuration that cannot be used.
///
/// # Errors
/// When the history cannot be used, another service has the socket, or a part of the service ends.
pub async fn run(args: Args, build: Build) -> anyhow::Result<ExitCode> {
    keep_memory_private();
    let (clock, starting) = clock(args.clock.as_deref()).await?;
    let format = args.log_format();
    let Some(config) = load(&args.config, &clock, format) else { return Ok(ExitCode::from(WRONG_CONFIGURATION)) };
    let (mut plan, door) = match usable(&config, &args.config) {
        Ok(usable) => usable,
        Err(error) => {
            Fact::new(EventKind::ConfigurationWrong).say(&format!("{error:#}"));
            return Ok(ExitCode::from(WRONG_CONFIGURATION));
        }
    };
    if args.clock.is_some() {
        planned::unhurried(&mut plan);
        planned::impatient(&mut plan);
    }
    let listening = listen(&config.daemon)?;
    let opened = planned::history(&config.store.path, clock.now()).await?;
    let daemon = Daemon::new(opened, plan, Arc::clone(&clock)).await?.built(build).under(Manager::of_environment());
    let mut daemon = exporting(daemon, door).await;
    if let Some(listening) = listening {
        daemon = daemon.listening(listening);
    }
    let (path, installation) = (args.config.display(), &config.installation);
    let (pools, policies) = (config.pools.len(), config.policies.len());
    Fact::new(EventKind::Started)
        .say(&format!("xensnap {build} works by {path} as installation {installation}: {pools} pools, {policies} policies"));
    let grace = config.daemon.drain_grace.0;
    let files = Files { handle: daemon.handle(), path: args.config, now: config, clock, format };
    let steering = tokio::spawn(steer(files, daemon.reloads()));
    let running = daemon.run(grace);
    drop(starting);
    let outcome = running.await;
    steering.abort();
    outcome?;
    Fact::new(EventKind::Stopped).say("everything is at a safe point; the service ends");
    Ok(ExitCode::SUCCESS)
}

/// Passwords and sessions are in memory: no core dump has them, and nobody but root may look into the process.
fn keep_memory_private() {
    let kept = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if let Err(error) = kept {
        tracing::warn!(%error, "a core dump of this process would hold its passwords; set LimitCORE=0 for it");
    }
}

/// The machine's time, or that of whoever leads; without a leader there is nothing to go on for. It is held from before the leader can
/// find the process at rest.
async fn clock(leader: Option<&Path>) -> anyhow::Result<(SharedClock, Hold)> {
    let Some(socket) = leader else {
        let clock = SystemClock::new();
        let starting = clock.activity().hold();
        return Ok((Arc::new(clock), starting));
    };
    let joined = follow(socket).await;
    let (clock, following) = joined.with_context(|| format!("nobody leads the time at {}", socket.display()))?;
    let starting = clock.activity().hold();
    tokio::spawn(async move {
        let error = following.await;
        eprintln!("xensnap: whoever led the time is gone: {error}");
        std::process::exit(1);
    });
    Ok((Arc::new(clock), starting))
}

/// The control socket. Snapshots are taken without one too, so only another service that has it is a reason not to start.
fn listen(config: &DaemonConfig) -> anyhow::Result<Option<Listening>> {
    let with = |group: Option<&str>| Listening::at(&config.socket, group);
    let listening = match with(config.socket_group.as_deref()) {
        Err(PlaceError::NoGroup(group)) => {
            Fact::new(EventKind::SocketAway).say(&format!(
                "there is no group {group}, so only root and this user may use the control socket; make the group, or correct `socket_group` in [daemon]"
            ));
            with(None)
        }
        other => other,
    };
    match listening {
        Ok(listening) => Ok(Some(listening)),
        Err(error @ PlaceError::Live(_)) => Err(error.into()),
        Err(error) => {
            let text = format!("nobody can talk to this service while it runs; it works all the same: {}", chain(&error));
            Fact::new(EventKind::SocketAway).say(&text);
            Ok(None)
        }
    }
}

/// What to work by, if there is work and everything that is needed for it, such as passwords.
fn usable(config: &Config, path: &Path) -> anyhow::Result<(Plan, Option<(Door, usize)>)> {
    anyhow::ensure!(!config.pools.is_empty(), "{} has no [[pool]], so there is nothing to do", path.display());
    let door = config.metrics.as_ref().map(planned::door).transpose()?;
    Ok((planned::plan(config)?, door))
}

/// Offers figures. That they cannot be offered keeps nobody's snapshots from being taken.
async fn exporting(daemon: Daemon, door: Option<(Door, usize)>) -> Daemon {
    let Some((door, vms)) = door else { return daemon };
    match Exporter::open(&door).await {
        Ok(exporter) => daemon.exporting(exporter, vms),
        Err(error) => {
            Fact::new(EventKind::MetricsAway).say(&format!("no metrics are offered: {}", chain(&error)));
            daemon
        }
    }
}

/// The configuration; all that is wrong with it is said.
fn load(path: &Path, clock: &SharedClock, format: Format) -> Option<Config> {
    match Config::load(path, clock.now()) {
        Ok(loaded) => {
            tell(&loaded.warnings, format);
            Some(loaded.config)
        }
        Err(problems) => {
            tell(&problems, format);
            None
        }
    }
}

/// Each problem in a line of its own where lines are for programs; with the place in the file where a person looks on.
fn tell(problems: &Diagnostics, format: Format) {
    if format != Format::Json && !goes_to_journal(format) {
        if !problems.is_empty() {
            eprintln!("{}", problems.render(std::io::stderr().is_terminal()));
        }
        return;
    }
    for problem in problems.iter() {
        let kind = match problem.severity {
            Severity::Error => EventKind::ConfigurationWrong,
            Severity::Warning => EventKind::ConfigurationDoubtful,
        };
        Fact::new(kind).say(&problem.to_string());
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
