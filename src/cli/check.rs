//! `xensnap check`: reads the configuration exactly as the daemon does, and says what it means.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;

pub(super) use super::exits::WRONG_CONFIGURATION;
use super::out::say;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{CheckedPolicy, Config, Diagnostics, Loaded};
use crate::domain::policy::{Fallback, Policy, WantedKind};
use crate::domain::schedule::Schedule;

/// Where the packages put the configuration.
pub(super) const DEFAULT: &str = "/etc/xensnap/xensnap.toml";

/// Reads the configuration as the daemon does, and says what it means; touches nothing.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
}

/// Exit code 0, or 78 with all errors on standard error.
pub fn run(args: &Args) -> ExitCode {
    let now = SystemClock::new().now();
    match Config::load(&args.config, now) {
        Ok(loaded) => {
            show(args, &loaded, now);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let coloured = std::io::stderr().is_terminal();
            eprintln!("{}\n", problems.render(coloured));
            eprintln!("{}: not usable, {}", args.config.display(), counted(problems.errors().count(), "error"));
            ExitCode::from(WRONG_CONFIGURATION)
        }
    }
}

fn show(args: &Args, loaded: &Loaded, now: DateTime<Utc>) {
    let Loaded { config, warnings } = loaded;
    for policy in &config.policies {
        show_policy(policy, now);
    }
    show_warnings(warnings);
    let policies = match config.policies.len() {
        1 => "1 policy".to_owned(),
        count => format!("{count} policies"),
    };
    let (pools, warnings) = (counted(config.pools.len(), "pool"), counted(warnings.len(), "warning"));
    say!("{}: good for installation {}: {policies}, {pools}, {warnings}", args.config.display(), config.installation);
}

fn show_warnings(warnings: &Diagnostics) {
    if !warnings.is_empty() {
        say!("{}\n", warnings.render(std::io::stdout().is_terminal()));
    }
}

fn show_policy(checked: &CheckedPolicy, now: DateTime<Utc>) {
    let policy = &checked.policy;
    say!("{} (id {}), {}:{}", policy.name, policy.id, checked.file.display(), checked.line);
    line("next", &next(policy, now));
    line("selects", &selected(checked));
    line("takes", &kind(policy.snapshot.kind));
    line("keeps", &policy.retention.rules.to_string());
    say!("");
}

fn line(what: &str, text: &str) {
    say!("  {what:<8} {text}");
}

/// The next two slots in the policy's zone.
fn next(policy: &Policy, now: DateTime<Utc>) -> String {
    if !policy.enabled {
        return "never, it is disabled".to_owned();
    }
    let schedule = &policy.schedule;
    let first = schedule.next_open_after(now);
    let slots: Vec<String> =
        first.into_iter().chain(first.and_then(|at| schedule.next_open_after(at))).map(|at| shown(schedule, at)).collect();
    if slots.is_empty() { "never, its window is closed at all its times".to_owned() } else { slots.join(", then ") }
}

fn shown(schedule: &Schedule, at: DateTime<Utc>) -> String {
    let zone = schedule.zone();
    format!("{} {zone}", zone.format(at, "%a %Y-%m-%d %H:%M %:z").unwrap_or_else(|| at.to_string()))
}

fn selected(checked: &CheckedPolicy) -> String {
    let pools = if checked.pools.is_empty() { "all pools".to_owned() } else { format!("pool {}", checked.pools.join(", ")) };
    format!("in {pools}: {}", checked.policy.selection)
}

fn kind(kind: WantedKind) -> String {
    match kind {
        WantedKind::Quiesced(Fallback::Disk) | WantedKind::Memory(Fallback::Disk) => {
            format!("{} snapshots, or disk snapshots where that is not possible", kind.kind())
        }
        WantedKind::Offline { shutdown_timeout } => {
            format!("offline snapshots: a shutdown of up to {shutdown_timeout}, a snapshot, a start")
        }
        other => format!("{} snapshots", other.kind()),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
