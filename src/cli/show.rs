//! `xensnap show`: everything that history knows about one run, VM or snapshot.

mod run;
mod sections;
mod snapshot;
mod vm;

use std::process::ExitCode;

use anyhow::bail;
use clap::Args as ClapArgs;
use uuid::Uuid;

use super::lookup::{Names, suggested_vms};
use super::reading::Reading;
use super::view::{Screen, Times, harmless};
use crate::config::CheckedPolicy;
use crate::store::{Error, Run, RunId, Snapshot, Store, Vm};

/// Shorter beginnings of a uuid mean too many things.
const SHORTEST_BEGINNING: usize = 4;

/// Shows everything that is known about one run, VM or snapshot.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A run (number or uuid), a VM (name or uuid), or a snapshot (uuid or the beginning of one)
    #[arg(value_name = "RUN|VM|SNAPSHOT")]
    what: String,
    /// The pool it is in, where several have one that is called so
    #[arg(long, value_name = "NAME|UUID")]
    pool: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

const EXAMPLES: &str = "Examples:
  xensnap show 1204         a run: its jobs, calls, removals and events
  xensnap show web-01       a VM: its snapshots and newest jobs
  xensnap show 6a3b1f0e     a snapshot: its disks, mark, pin and removals";

/// Shows.
///
/// # Errors
/// When the history cannot be read, or does not know what is asked for, or several things are meant.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sources = args.reading.sources()?;
    let store = sources.store().await?;
    let names = Names::of(&store).await?;
    let pool = args.pool.as_deref().map(|pool| names.pool_uuid(pool)).transpose()?;
    let mut found = find(&store, &args.what, pool).await?;
    let desk = Desk {
        store: &store,
        names: &names,
        policies: sources.policies(),
        times: &args.reading.times(),
        screen: &args.reading.screen(),
        json: args.reading.json(),
    };
    match (found.pop(), found.as_slice()) {
        (None, _) => {
            bail!("history knows no run, VM or snapshot \"{}\"{}", harmless(&args.what), suggested_vms(&store, &args.what).await?)
        }
        (Some(Found::Run(run)), []) => run::show(&desk, &run).await?,
        (Some(Found::Vm(vm)), []) => vm::show(&desk, &vm).await?,
        (Some(Found::Snapshot(snapshot)), []) => snapshot::show(&desk, &snapshot).await?,
        (Some(last), _) => {
            let lines: Vec<String> = found.iter().chain([&last]).map(|found| found.line(&desk)).collect();
            bail!(
                "\"{}\" may mean one of these; give its uuid, or its pool with --pool:\n{}",
                harmless(&args.what),
                lines.join("\n")
            )
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is needed to show anything.
struct Desk<'a> {
    store: &'a Store,
    names: &'a Names,
    policies: Option<&'a [CheckedPolicy]>,
    times: &'a Times,
    screen: &'a Screen,
    json: bool,
}

/// What may be meant.
enum Found {
    Run(Box<Run>),
    Vm(Vm),
    Snapshot(Box<Snapshot>),
}

impl Found {
    fn pool(&self) -> Uuid {
        match self {
            Found::Run(run) => run.pool,
            Found::Vm(vm) => vm.pool,
            Found::Snapshot(snapshot) => snapshot.pool,
        }
    }

    fn line(&self, desk: &Desk<'_>) -> String {
        match self {
            Found::Vm(vm) => desk.names.vm_line(vm),
            Found::Run(run) => {
                let due = desk.times.short(run.due_at);
                format!("  run {}  number {} of policy {}, due {due}", run.uuid, run.id, harmless(&run.policy_name))
            }
            Found::Snapshot(snapshot) => {
                let pool = desk.names.pool(snapshot.pool);
                format!("  snapshot {}  of {} in pool {}", snapshot.uuid, harmless(&snapshot.vm_name), harmless(&pool))
            }
        }
    }
}

async fn find(store: &Store, what: &str, pool: Option<Uuid>) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    let uuid = Uuid::try_parse(what).ok();
    let by_number = match what.parse().map(RunId) {
        Ok(id) => match store.run(id).await {
            Err(Error::NotFound { .. }) => None,
            run => Some(run?),
        },
        Err(_) => None,
    };
    let by_uuid = match uuid {
        Some(uuid) => store.run_by_uuid(uuid).await?,
        None => None,
    };
    found.extend(by_number.into_iter().chain(by_uuid).map(|run| Found::Run(Box::new(run))));
    found.extend(store.find_vms(what).await?.into_iter().map(Found::Vm));
    let beginning = uuid.map_or_else(|| what.to_ascii_lowercase(), |uuid| uuid.to_string());
    if beginning.len() >= SHORTEST_BEGINNING && beginning.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        let snapshots = store.find_snapshots(&beginning).await?;
        found.extend(snapshots.into_iter().map(|snapshot| Found::Snapshot(Box::new(snapshot))));
    }
    found.retain(|found| pool.is_none_or(|pool| found.pool() == pool));
    Ok(found)
}
