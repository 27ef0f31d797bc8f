//! `xensnap daemon`: the service. SIGTERM and SIGINT stop it at a safe point, SIGHUP reads the policies anew.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args as ClapArgs, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::planned;
use crate::clock::{SharedClock, SystemClock};
use crate::config::changes::changes;
use crate::config::{Config, Diagnostics, Severity};
use crate::daemon::{Daemon, Door, Exporter, Handle, Manager, Plan};
use crate::domain::event::EventKind;
use crate::telemetry::{Fact, Format, goes_to_journal};
use crate::xenapi::error::chain;

/// Takes and removes snapshots as the policies say, until it is stopped.
#[derive(Debug, ClapArgs)]
#[command(after_help = "SIGHUP reads the policies anew, all or none; SIGTERM stops at a safe point.")]
pub struct Args {
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
    /// How to write what it does
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    log_format: LogFormat,
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
/// When the history cannot be used, or a part of the service ends.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let format = args.log_format();
    let Some(config) = load(&args.config, &clock, format) else { return Ok(ExitCode::from(WRONG_CONFIGURATION)) };
    let (plan, door) = match usable(&config, &args.config) {
        Ok(usable) => usable,
        Err(error) => {
            Fact::new(EventKind::ConfigurationWrong).say(&format!("{error:#}"));
            return Ok(ExitCode::from(WRONG_CONFIGURATION));
        }
    };
    let opened = planned::history(&config.store.path, clock.now()).await?;
    let daemon = Daemon::new(opened, plan, Arc::clone(&clock)).await?.under(Manager::of_environment());
    let daemon = exporting(daemon, door).await;
    let (version, path, installation) = (env!("CARGO_PKG_VERSION"), args.config.display(), &config.installation);
    let (pools, policies) = (config.pools.len(), config.policies.len());
    Fact::new(EventKind::Started)
        .say(&format!("xensnap {version} works by {path} as installation {installation}: {pools} pools, {policies} policies"));
    let steering = tokio::spawn(steer(daemon.handle(), args.config, config.clone(), clock, format));
    let outcome = daemon.run(config.daemon.drain_grace.0).await;
    steering.abort();
    outcome?;
    Fact::new(EventKind::Stopped).say("everything is at a safe point; the service ends");
    Ok(ExitCode::SUCCESS)
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

/// Turns signals into wishes.
async fn steer(handle: Handle, path: PathBuf, mut now: Config, clock: SharedClock, format: Format) -> anyhow::Result<()> {
    let (mut hangup, mut terminate, mut interrupt) = signals().context("cannot listen for signals")?;
    loop {
        tokio::select! {
            _ = terminate.recv() => handle.stop(),
            _ = interrupt.recv() => handle.stop(),
            _ = hangup.recv() => reload(&handle, &path, &mut now, &clock, format).await,
        }
    }
}

fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

/// Puts the files as they are now in force; if anything is wrong with them, nothing changes.
async fn reload(handle: &Handle, path: &Path, now: &mut Config, clock: &SharedClock, format: Format) {
    handle.manager().reloading();
    let taken = take_over(handle, path, now, clock, format).await;
    handle.manager().ready();
    match taken {
        Ok(changes) => {
            let what = if changes.is_empty() { "nothing changed".to_owned() } else { changes.join("; ") };
            Fact::new(EventKind::Reloaded).say(&format!("{} policies are in force: {what}", now.policies.len()));
        }
        Err(why) => {
            let text = format!("the configuration was not reloaded, and the policies of before stay in force: {why}");
            Fact::new(EventKind::ReloadRefused).say(&text);
        }
    }
}

/// What changed, or why nothing did.
async fn take_over(
    handle: &Handle,
    path: &Path,
    now: &mut Config,
    clock: &SharedClock,
    format: Format,
) -> Result<Vec<String>, String> {
    let new = load(path, clock, format).ok_or("the files have errors; `xensnap check` shows them")?;
    let kept = Config {
        installation: now.installation.clone(),
        pools: now.pools.clone(),
        store: now.store.clone(),
        metrics: now.metrics.clone(),
        ..new.clone()
    };
    if kept != new {
        Fact::new(EventKind::RestartNeeded)
            .say("pools, history, metrics and installation change with a restart only; the policies are taken over now");
    }
    let plan = planned::plan(&kept).map_err(|error| format!("{error:#}"))?;
    handle.reload(plan).await.map_err(|error| format!("the history cannot be written: {}", chain(&error)))?;
    let changes = changes(now, &kept).iter().map(ToString::to_string).collect();
    *now = kept;
    Ok(changes)
}
