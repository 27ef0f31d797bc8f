//! A VM: the snapshots that exist of it, its newest jobs, and what happened.

use serde::Serialize;

use super::super::out::say;
use super::super::snapshots::{fates, present, table as snapshot_table};
use super::super::view::shapes::{EventShape, JobShape, NamedShape, SnapshotShape};
use super::super::view::{Column, Facts, NOTHING, Table, Tone, print_json, rough, states};
use super::run::named;
use super::{Desk, sections};
use crate::store::{EventFilter, Job, JobFilter, Page, SnapshotFilter, Vm};

/// How many jobs and events are shown; `history` lists all.
const NEWEST: u32 = 20;

#[derive(Serialize)]
struct Shape {
    vm: NamedShape,
    pool: NamedShape,
    last_seen_at: chrono::DateTime<chrono::Utc>,
    snapshots: Vec<SnapshotShape>,
    /// The newest 20.
    jobs: Vec<JobShape>,
    /// The newest 20.
    events: Vec<EventShape>,
}

/// Shows `vm`.
pub(super) async fn show(desk: &Desk<'_>, vm: &Vm) -> anyhow::Result<()> {
    let mut snapshots = present(desk.store, &SnapshotFilter { vm: Some(vm.id), ..SnapshotFilter::default() }).await?;
    snapshots.sort_by(|one, other| one.policy_name.cmp(&other.policy_name).then(other.due_at.cmp(&one.due_at)));
    let fates = fates(&snapshots, desk.policies, desk.times.now);
    let jobs = desk.store.jobs(JobFilter { vm: Some(vm.id), ..JobFilter::default() }, Page::first(NEWEST)).await?;
    let events = desk.store.events(EventFilter { vm: Some(vm.id), ..EventFilter::default() }, Page::first(NEWEST)).await?;
    if desk.json {
        let shape = Shape {
            vm: NamedShape::vm(vm),
            pool: NamedShape::pool(vm.pool, desk.names),
            last_seen_at: vm.last_seen,
            snapshots: snapshots.iter().map(|each| SnapshotShape::of(each, fates.get(&each.id), desk.names)).collect(),
            jobs: jobs.rows.iter().map(|job| JobShape::of(job, desk.names)).collect(),
            events: events.rows.iter().map(EventShape::of).collect(),
        };
        return print_json(desk.times.now, &shape);
    }
    facts(desk, vm).print(&format!("VM {}", vm.name), desk.screen);
    sections::heading(desk, "Snapshots");
    if snapshots.is_empty() {
        say!("  none; `xensnap snapshots --all --vm {}` shows those that are gone", vm.uuid);
    } else {
        snapshot_table(&snapshots, &fates, desk.names, desk.times).print(desk.screen);
    }
    newest_jobs(desk, &jobs.rows);
    if jobs.next.is_some() {
        let hint = format!("The newest {} are shown; `xensnap history --vm {}` lists all.", jobs.rows.len(), vm.uuid);
        say!("{}", desk.screen.paint(Tone::Faint, &hint));
    }
    sections::events(desk, &events.rows);
    Ok(())
}

fn facts(desk: &Desk<'_>, vm: &Vm) -> Facts {
    let mut facts = Facts::default();
    facts.add("uuid", vm.uuid.to_string());
    facts.add("pool", named(&desk.names.pool(vm.pool), &vm.pool.to_string()));
    facts.add("last job", desk.times.with_distance(vm.last_seen));
    facts
}

fn newest_jobs(desk: &Desk<'_>, jobs: &[Job]) {
    if jobs.is_empty() {
        return;
    }
    sections::heading(desk, "Jobs");
    let columns = [
        Column::left(desk.times.title("DUE")),
        Column::left("POLICY").cut(8),
        Column::left("KIND"),
        Column::left("STATE"),
        Column::right("CALLS"),
        Column::right("TOOK"),
        Column::right("RUN"),
    ];
    let mut table = Table::new(columns).remarks("CAUSE");
    for job in jobs {
        let cells = [
            desk.times.short(job.due_at).into(),
            (&job.policy_name).into(),
            job.kind.as_str().into(),
            states::job(job),
            job.attempts.to_string().into(),
            job.finished_at.map_or_else(|| NOTHING.to_owned(), |end| rough(end - job.created_at)).into(),
            job.run.to_string().into(),
        ];
        table.row(cells, job.cause.as_ref().map(|cause| states::cause(cause).into()));
    }
    table.print(desk.screen);
}
