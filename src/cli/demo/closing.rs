//! How the demonstration ends: what exists and why, what was refused and why, and the proof that nothing else was touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use super::super::lookup::Names;
use super::super::out::say;
use super::super::snapshots::{fates, present, table};
use super::super::view::{Screen, Times};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::simulator::faults::{Action, Moment, Plan, Rule};
use crate::simulator::simulation::Simulation;
use crate::simulator::world::World;
use crate::store::{JobFilter, JobState, Page, RunFilter, SlotFilter, SnapshotFilter, Store};

/// Every object that was there before: VMs, drives and managed disks; the collector's own remains come and go by themselves.
pub(super) fn objects(simulation: &Simulation) -> BTreeSet<String> {
    let Some(shared) = simulation.shared() else { return BTreeSet::new() };
    shared.step(|world| {
        let database = &world.database;
        let managed = database.refs("VDI").into_iter().filter(|vdi| database.bool("VDI", vdi, "managed"));
        let all = database.refs("VM").into_iter().chain(database.refs("VBD")).chain(managed);
        all.map(|reference| reference.to_string()).collect()
    })
}

/// The shared SR with the most disks: it hurts most when it is full.
pub(super) fn busiest_sr(simulation: &Simulation) -> String {
    let busiest = |world: &mut World| {
        let database = &world.database;
        let shared = database
            .refs("SR")
            .into_iter()
            .filter(|sr| database.bool("SR", sr, "shared") && &*database.text("SR", sr, "content_type") != "iso");
        let busiest = shared.max_by_key(|sr| database.texts("SR", sr, "VDIs").len());
        busiest.map(|sr| database.text("SR", &sr, "name_label").to_string())
    };
    simulation.shared().and_then(|shared| shared.step(busiest)).unwrap_or_default()
}

/// An SR without a free byte, from now on.
pub(super) fn filled(sr: &str) -> Plan {
    let fill = Action::FillSr { sr: sr.to_owned(), leave: 0 };
    Plan { seed: 0, rules: vec![Rule::at(Moment::Since(Duration::ZERO), fill)] }
}

/// Prints the end.
///
/// # Errors
/// When an object that is not ours is gone: then this program has a defect.
pub(super) async fn show(
    store: &Store,
    config: &Config,
    simulation: &Simulation,
    foreign: &BTreeSet<String>,
    clock: &SharedClock,
    folder: &Path,
) -> anyhow::Result<()> {
    let times = Times::new(clock.now(), false);
    let names = Names::of(store).await?;
    let mut snapshots = present(store, &SnapshotFilter::default()).await?;
    let fates = fates(&snapshots, Some(&config.policies), times.now);
    snapshots.sort_by(|a, b| (&a.vm_name, &a.policy, b.due_at).cmp(&(&b.vm_name, &b.policy, a.due_at)));
    let vms: BTreeSet<&str> = snapshots.iter().map(|snapshot| snapshot.vm_name.as_str()).collect();
    let shown: Vec<_> =
        snapshots.iter().filter(|snapshot| vms.iter().take(3).any(|vm| *vm == snapshot.vm_name)).cloned().collect();
    say!("\nWhat exists, why, and until when (the first three of {} VMs):\n", vms.len());
    table(&shown, &fates, &names, &times).print(&Screen::of_output());
    refused(store).await?;
    let gone = foreign.difference(&objects(simulation)).count();
    ensure!(gone == 0, "{gone} objects that are not ours are gone");
    say!("\nAll {} objects that were in the pool before are still there.", foreign.len());
    let file = folder.join("xensnap.toml");
    say!("The history stays behind. Look around in it:\n");
    for verb in ["history", "history --slots", "snapshots", "show 1"] {
        say!("  xensnap {verb} --config {}", file.display());
    }
    Ok(())
}

/// Runs by outcome, slots that did not run, and jobs that failed, by reason.
async fn refused(store: &Store) -> anyhow::Result<()> {
    let runs = store.runs(RunFilter::default(), Page::first(1000)).await?.rows;
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for run in &runs {
        *outcomes.entry(run.outcome.map_or("running", |outcome| outcome.as_str())).or_default() += 1;
    }
    let taken: u64 = runs.iter().map(|run| run.done).sum();
    let removed: u64 = runs.iter().map(|run| run.removed).sum();
    say!("\n{} runs ({}): {taken} snapshots taken, {removed} removed.", runs.len(), listed(&outcomes));
    let slots = store.slots(SlotFilter::default(), Page::first(1000)).await?.rows;
    let passed: BTreeMap<&str, usize> =
        slots.iter().filter(|slot| !slot.state.has_run()).fold(BTreeMap::new(), |mut passed, slot| {
            *passed.entry(slot.state.as_str()).or_default() += 1;
            passed
        });
    if !passed.is_empty() {
        say!("Slots that did not run: {}.", listed(&passed));
    }
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for state in [JobState::Failed, JobState::Skipped, JobState::Unresolved] {
        let filter = JobFilter { state: Some(state), ..JobFilter::default() };
        for job in store.jobs(filter, Page::first(1000)).await?.rows {
            let cause = job.cause.map_or_else(|| "no reason".to_owned(), |cause| format!("{}: {}", cause.code, cause.text));
            *causes.entry(format!("{} {}", state.as_str(), super::super::view::cut(&cause, 120))).or_default() += 1;
        }
    }
    if !causes.is_empty() {
        say!("What was refused:");
        for (cause, count) in causes {
            say!("  {count:>4} x {cause}");
        }
    }
    Ok(())
}

fn listed(counts: &BTreeMap<&str, usize>) -> String {
    counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
