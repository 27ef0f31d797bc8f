//! `xensnap demo`: weeks of nights in about a minute. A simulated pool behind a real wire, the real service with the policies of
//! `config/`, and a clock that jumps over the hours in which nothing happens. One night an SR is full, another night the master dies and
//! a member takes over with yesterday's database; what the policies promise is kept all the same, and nothing of anybody else is touched.

mod closing;
mod progress;
mod stage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args as ClapArgs;

use super::out::say;
use super::planned;
use crate::clock::{Clock as _, FastClock, SharedClock};
use crate::daemon::{Daemon, Handle};
use crate::simulator::simulation::Simulation;
use crate::store::{Severity, Store};
use progress::Progress;

/// Shows weeks of nights on a simulated pool, in about a minute.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// How many virtual machines the pool has
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(6..=200))]
    vms: u16,
    /// How many nights pass
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=60))]
    nights: u16,
    /// Everything that is made up is made up from this number
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Where the history is left behind [default: a new folder among the temporary ones]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Leave the pool and the service running afterwards, a minute for a second, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// The nights contain the one in which the clocks of Berlin are put forward.
const BEGIN: &str = "2026-03-20T12:00:00Z";

/// So many simulated seconds pass at most in a real one.
const PACE: f64 = 60_000.0;

/// With `--keep`, afterwards.
const AFTERWARDS: f64 = 60.0;

/// The nights, counted from 1, in which something goes wrong.
const FULL: u16 = 5;
const EMPTIED: u16 = 7;
const FAILOVER: u16 = 9;

/// Runs the demonstration.
///
/// # Errors
/// When something does not go as it must: then this program has a defect.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let fast = FastClock::new(BEGIN.parse::<DateTime<Utc>>().context("the demonstration's first day")?);
    let clock: SharedClock = Arc::new(fast.clone());
    let folder = folder(args.folder.as_deref())?;
    let stage = stage::set(args.vms, args.seed, Arc::clone(&clock)).await?;
    stage::write_down(&stage, &folder)?;
    let config = stage::configuration(&stage, clock.now())?;
    let foreign = closing::objects(&stage.simulation);
    let opened = planned::history(&folder.join("history.sqlite"), clock.now()).await?;
    let mut plan = planned::plan(&config)?;
    planned::unhurried(&mut plan);
    // Nobody else is there, and simulated days have many renewals.
    plan.lease = None;
    let daemon = Daemon::new(opened, plan, Arc::clone(&clock)).await?;
    let handle = daemon.handle();
    say!(
        "A simulated pool of {} VMs on 3 hosts, and the policies of config/policies.d: nightly, hourly for databases, weekly.",
        args.vms
    );
    say!("{}\n", announcement(args.nights));
    let service = tokio::spawn(daemon.run(Duration::from_secs(3600)));
    reached(&fast, &handle).await?;
    let store = handle.store().clone();
    nights(&args, &fast, &stage.simulation, &store).await?;
    closing::show(&store, &config, &stage.simulation, &foreign, &clock, &folder).await?;
    if args.keep {
        keep(&fast, &stage.text).await?;
    }
    handle.stop();
    stop(&fast, service).await?;
    stage.simulation.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

fn folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = match wanted {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("xensnap-demo-{}", std::process::id())),
    };
    ensure!(!folder.join("history.sqlite").exists(), "{} holds a history already; name another --folder", folder.display());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}

async fn reached(clock: &FastClock, handle: &Handle) -> anyhow::Result<()> {
    let mut sites = handle.sites();
    for _ in 0..600 {
        if !sites.borrow_and_update().is_empty() {
            return Ok(());
        }
        clock.run(clock.now() + TimeDelta::seconds(1), PACE).await;
    }
    anyhow::bail!("the service did not reach the simulated pool; run with -v to see why")
}

/// What is going to happen.
fn announcement(nights: u16) -> String {
    let full = format!("in night {FULL} an SR is full");
    let failover = format!("in night {FAILOVER} the master dies, and a member takes over with yesterday's database");
    let troubles: Vec<String> =
        [(FULL, full), (FAILOVER, failover)].into_iter().filter(|(night, _)| *night <= nights).map(|(_, text)| text).collect();
    if troubles.is_empty() {
        return format!("{nights} nights pass now.");
    }
    format!("{nights} nights pass now: {}.", troubles.join("; "))
}

/// Lets the nights pass, with what goes wrong in some of them.
async fn nights(args: &Args, clock: &FastClock, simulation: &Simulation, store: &Store) -> anyhow::Result<()> {
    let mut progress = Progress::new(args.nights, store.clone(), clock.now());
    let full = closing::busiest_sr(simulation);
    for night in 1..=args.nights {
        match night {
            FULL => progress.tell(&format!("night {FULL}: somebody fills {full} to the last byte")),
            EMPTIED => progress.tell(&format!("night {EMPTIED}: {full} has room again")),
            _ => {}
        }
        if night == FULL {
            simulation.set_faults(closing::filled(&full));
        } else if night == EMPTIED
            && let Some(shared) = simulation.shared()
        {
            shared.step(|world| simulation.faults().empty_srs(world));
        }
        let noon = clock.now() + TimeDelta::days(1);
        if night == FAILOVER {
            // In the middle of the night, a while after its run: the day's hourly snapshots are not in the member's database.
            progress.pass(clock, noon - TimeDelta::hours(9), PACE, night).await?;
            progress.tell(&format!(
                "night {FAILOVER}: the master dies; a member takes over with the database of its last synchronisation"
            ));
            simulation.promote(None, true).await.context("the simulated pool cannot change its master")?;
        }
        progress.pass(clock, noon, PACE, night).await?;
    }
    progress.end();
    Ok(())
}

/// Goes on at a leisurely pace until Ctrl-C.
async fn keep(clock: &FastClock, text: &str) -> anyhow::Result<()> {
    say!("\nPool and service go on, a minute for a second, until Ctrl-C. The pool answers to this:\n");
    for line in text.lines().skip_while(|line| *line != "[[pool]]") {
        say!("{line}");
    }
    let end = clock.now() + TimeDelta::days(3650);
    tokio::select! {
        () = clock.run(end, AFTERWARDS) => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
    }
}

async fn stop(clock: &FastClock, service: tokio::task::JoinHandle<Result<(), crate::daemon::DaemonError>>) -> anyhow::Result<()> {
    let mut service = service;
    for _ in 0..3600 {
        if service.is_finished() {
            return Ok((&mut service).await??);
        }
        clock.run(clock.now() + TimeDelta::seconds(1), PACE).await;
    }
    anyhow::bail!("the service did not stop within an hour of simulated time")
}

/// What of the events is worth a line.
fn is_told(severity: Severity) -> bool {
    severity >= Severity::Notice
}
