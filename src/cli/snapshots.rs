//! `xensnap snapshots`: what exists because of us, by VM and policy, why each stays and when it will go.

mod fate;

use std::collections::HashMap;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;
use serde::Serialize;

use super::lookup::Names;
use super::out::say;
use super::reading::Reading;
use super::view::shapes::SnapshotShape;
use super::view::{Cell, Column, Table, Times, Tone, counted, print_json, rough, states};
use crate::store::{self, Page, Snapshot, SnapshotFilter, SnapshotId, Store};
pub(super) use fate::{Fate, fates};

/// How many rows are asked for at once.
const AT_ONCE: u32 = 1000;

/// Shows the snapshots that exist, by VM and policy, newest first: their state, why each stays, and when it will go.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only of this VM
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
    /// Only of this policy
    #[arg(long, value_name = "ID|NAME")]
    policy: Option<String>,
    /// Only in this pool
    #[arg(long, value_name = "NAME|UUID")]
    pool: Option<String>,
    /// Also those that are gone: the newest thousand of all
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    reading: Reading,
}

const EXAMPLES: &str = "States:
  taken     it exists and has no mark yet        removing  it is on its way out
  marked    the server may still forget it       removed   removed by us, with its disks
  durable   it survives a crash of the server    vanished  gone without us
  detached  turned into a VM, or its disks are used elsewhere: never removed by itself
  ghost     removed, and back because the server forgot: counts for nothing, goes again
  released  given to somebody else

`xensnap show SNAPSHOT` takes a uuid or the beginning of one.";

/// Lists.
///
/// # Errors
/// When the history cannot be read, or does not know what is asked for.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sources = args.reading.sources()?;
    let store = sources.store().await?;
    let times = args.reading.times();
    let names = Names::of(&store).await?;
    let filter = narrowed(&args, &store, &names).await?;
    let mut snapshots = present(&store, &filter).await?;
    let fates = fates(&snapshots, sources.policies(), times.now);
    if args.all {
        let all = store.snapshots(SnapshotFilter { present: false, ..filter }, Page::first(AT_ONCE)).await?.rows;
        snapshots.extend(all.into_iter().filter(|snapshot| !snapshot.state.is_present()));
    }
    snapshots.sort_by(|one, other| place(one).cmp(&place(other)));
    if args.reading.json() {
        let shape = |snapshot: &Snapshot| SnapshotShape::of(snapshot, fates.get(&snapshot.id), &names);
        print_json(times.now, &Snapshots { snapshots: snapshots.iter().map(shape).collect() })?;
    } else if snapshots.is_empty() {
        let hint = if args.all { "" } else { " --all shows also those that are gone." };
        say!("No such snapshots.{hint}");
    } else {
        table(&snapshots, &fates, &names, &times).print(&args.reading.screen());
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Snapshots {
    snapshots: Vec<SnapshotShape>,
}

async fn narrowed(args: &Args, store: &Store, names: &Names) -> anyhow::Result<SnapshotFilter> {
    let pool = args.pool.as_deref().map(|pool| names.pool_uuid(pool)).transpose()?;
    let policy = args.policy.as_deref().map(|policy| names.policy_id(policy)).transpose()?;
    let vm = match &args.vm {
        Some(vm) => Some(names.vm(store, vm, pool).await?.id),
        None => None,
    };
    Ok(SnapshotFilter { vm, policy, pool, present: true })
}

/// All snapshots that are there, page by page.
pub(super) async fn present(store: &Store, filter: &SnapshotFilter) -> anyhow::Result<Vec<Snapshot>> {
    let filter = SnapshotFilter { present: true, ..filter.clone() };
    Ok(store::all(|page| store.snapshots(filter.clone(), page)).await?)
}

/// By VM, then policy, then the newest first.
fn place(snapshot: &Snapshot) -> impl Ord + use<'_> {
    let newest_first = std::cmp::Reverse((snapshot.due_at, snapshot.id));
    (&snapshot.vm_name, snapshot.vm, &snapshot.policy_name, &snapshot.policy, newest_first)
}

/// A table of snapshots that are sorted by [`place`], with a heading for each VM and policy.
pub(super) fn table(snapshots: &[Snapshot], fates: &HashMap<SnapshotId, Fate>, names: &Names, times: &Times) -> Table {
    let columns = [
        Column::left(times.title("DUE")),
        Column::right("AGE"),
        Column::left("KIND").extra(),
        Column::left("STATE"),
        Column::left("KEPT BY").cut(9).if_any(),
        Column::left("GOES").if_any(),
        Column::left("GOES AT").extra().if_any(),
        Column::left("SNAPSHOT").brief(8),
    ];
    let mut table = Table::new(columns).remarks("PINNED, GONE");
    for group in snapshots.chunk_by(|one, other| (one.vm, &one.policy) == (other.vm, &other.policy)) {
        table.group(heading(group, names));
        for snapshot in group {
            let fate = fates.get(&snapshot.id);
            let cells = [
                times.short(snapshot.due_at).into(),
                rough(times.now - snapshot.taken_at).into(),
                snapshot.kind.as_str().into(),
                Cell::toned(states::of_snapshot(snapshot.state), snapshot.state.as_str()),
                Fate::kept_by(fate),
                Fate::goes(fate, times),
                Fate::goes_at(fate, times),
                snapshot.uuid.to_string().into(),
            ];
            table.row(cells, remark(snapshot, times));
        }
    }
    table
}

fn heading(group: &[Snapshot], names: &Names) -> String {
    let Some(first) = group.first() else { return String::new() };
    let pool = if names.one_pool() { String::new() } else { format!(" in {}", names.pool(first.pool)) };
    format!("{}{pool}, policy {}: {}", first.vm_name, first.policy_name, counted(group.len(), "snapshot"))
}

/// That it is pinned, or when it went.
fn remark(snapshot: &Snapshot, times: &Times) -> Option<Cell> {
    let since = |what, at: DateTime<Utc>| Some(Cell::toned(Tone::Faint, format!("{what} {}", times.short(at))));
    match (snapshot.removed_at, snapshot.vanished_at, snapshot.released_at) {
        _ if snapshot.state.is_present() => pin(snapshot, times).map(|(word, until)| format!("{word} {until}").into()),
        (Some(at), ..) => since("gone since", at),
        (_, Some(at), _) => since("missing since", at),
        (.., Some(at)) => since("given away", at),
        _ => None,
    }
}

/// That it is or was pinned, until when, and why.
pub(super) fn pin(snapshot: &Snapshot, times: &Times) -> Option<(&'static str, String)> {
    let until = snapshot.pinned_until?;
    let word = if until <= times.now { "was pinned" } else { "pinned" };
    let reason = snapshot.pin_reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Some((word, format!("until {}{reason}", times.short(until))))
}
