//! A run: its jobs, every call they made, what was removed, and what happened.

use std::collections::HashMap;

use serde::Serialize;

use super::super::view::shapes::{AttemptShape, EventShape, JobShape, RemovalShape, RunShape};
use super::super::view::{Cell, Column, Facts, NOTHING, Table, Tone, counted, print_json, rough, states};
use super::{Desk, sections};
use crate::store::{Attempt, Event, EventFilter, Job, JobId, Page, Removal, Run, Snapshot};

/// A run with all that belongs to it.
struct Whole<'a> {
    run: &'a Run,
    jobs: Vec<Job>,
    attempts: Vec<Attempt>,
    snapshots: Vec<Snapshot>,
    removals: Vec<Removal>,
    events: Vec<Event>,
}

#[derive(Serialize)]
struct Shape {
    run: RunShape,
    jobs: Vec<JobShape>,
    attempts: Vec<AttemptShape>,
    removals: Vec<RemovalShape>,
    events: Vec<EventShape>,
}

/// Shows `run`.
pub(super) async fn show(desk: &Desk<'_>, run: &Run) -> anyhow::Result<()> {
    let filter = EventFilter { run: Some(run.id), ..EventFilter::default() };
    let whole = Whole {
        run,
        jobs: desk.store.jobs_of(run.id).await?,
        attempts: desk.store.attempts_in(run.id).await?,
        snapshots: desk.store.snapshots_in(run.id).await?,
        removals: desk.store.removals_in(run.id).await?,
        events: desk.store.events(filter, Page::first(1000)).await?.rows,
    };
    if desk.json {
        return print_json(desk.times.now, &shape(desk, &whole));
    }
    facts(desk, run).print(&format!("Run {}", run.id), desk.screen);
    jobs(desk, &whole);
    calls(desk, &whole);
    sections::removals(desk, &whole.removals);
    sections::events(desk, &whole.events);
    Ok(())
}

fn shape(desk: &Desk<'_>, whole: &Whole<'_>) -> Shape {
    Shape {
        run: RunShape::of(whole.run, desk.names),
        jobs: whole.jobs.iter().map(|job| JobShape::of(job, desk.names)).collect(),
        attempts: whole.attempts.iter().map(AttemptShape::of).collect(),
        removals: whole.removals.iter().map(RemovalShape::of).collect(),
        events: whole.events.iter().map(EventShape::of).collect(),
    }
}

fn facts(desk: &Desk<'_>, run: &Run) -> Facts {
    let mut facts = Facts::default();
    facts.add("uuid", run.uuid.to_string());
    facts.add("policy", named(&run.policy_name, &run.policy));
    facts.add("pool", named(&desk.names.pool(run.pool), &run.pool.to_string()));
    facts.add("due", format!("{}, by {}", desk.times.both(run.due_at), run.origin));
    facts.add("started", format!("{}, {} after it was due", desk.times.long(run.started_at), rough(run.started_at - run.due_at)));
    match (run.finished_at, run.outcome) {
        (Some(end), Some(outcome)) => {
            facts.add("finished", format!("{}, after {}", desk.times.long(end), rough(end - run.started_at)));
            facts.toned("outcome", format!("{outcome}: {}", tally(run)), states::of_outcome(outcome));
        }
        _ => facts.toned("state", format!("{}, since {}", run.state, rough(desk.times.now - run.started_at)), Tone::Strong),
    }
    facts.maybe("cause", run.cause.as_ref().map(states::cause));
    facts.maybe("observe", run.observe.then_some("it planned and recorded, and touched nothing"));
    facts.maybe("approval", run.approval_needed.then_some("a part of it waits until somebody approves it"));
    facts
}

fn tally(run: &Run) -> String {
    let numbers = [(run.done, "done"), (run.failed, "failed"), (run.skipped, "skipped")];
    let said: Vec<String> =
        numbers.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let of = if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) };
    format!("{}{of}, {} removed", counted(run.jobs as usize, "job"), counted(run.removed as usize, "snapshot"))
}

/// A name with the identity behind it, unless they are the same.
pub(super) fn named(name: &str, id: &str) -> String {
    if name == id || name.is_empty() { id.to_owned() } else { format!("{name} ({id})") }
}

fn jobs(desk: &Desk<'_>, whole: &Whole<'_>) {
    if whole.jobs.is_empty() {
        return;
    }
    sections::heading(desk, "Jobs");
    let taken: HashMap<JobId, &Snapshot> = whole.snapshots.iter().filter_map(|taken| Some((taken.job?, taken))).collect();
    let columns = [
        Column::left("VM").cut(12),
        Column::left("KIND"),
        Column::left("STATE"),
        Column::right("CALLS"),
        Column::right("TOOK"),
        Column::left("SNAPSHOT").brief(8),
    ];
    let mut table = Table::new(columns).remarks("CAUSE");
    for job in &whole.jobs {
        let cells: [Cell; 6] = [
            (&job.vm_name).into(),
            job.kind.as_str().into(),
            states::job(job),
            job.attempts.to_string().into(),
            job.finished_at.map_or_else(|| NOTHING.to_owned(), |end| rough(end - job.created_at)).into(),
            taken.get(&job.id).map_or_else(|| NOTHING.to_owned(), |taken| taken.uuid.to_string()).into(),
        ];
        table.row(cells, job.cause.as_ref().map(|cause| states::cause(cause).into()));
    }
    table.print(desk.screen);
}

/// A task's reference without what all have in common.
fn task(attempt: &Attempt) -> &str {
    attempt.task.as_deref().map_or(NOTHING, |task| task.strip_prefix("OpaqueRef:").unwrap_or(task))
}

fn calls(desk: &Desk<'_>, whole: &Whole<'_>) {
    if whole.attempts.is_empty() {
        return;
    }
    sections::heading(desk, "Calls");
    let vms: HashMap<JobId, &str> = whole.jobs.iter().map(|job| (job.id, job.vm_name.as_str())).collect();
    let columns = [
        Column::left("VM").cut(12),
        Column::right("CALL"),
        Column::left(desk.times.title("SENT")),
        Column::left("RESULT"),
        Column::right("TOOK"),
        Column::left("NONCE"),
        Column::left("TASK").brief(8),
    ];
    let mut table = Table::new(columns).remarks("CAUSE");
    for attempt in &whole.attempts {
        let cells: [Cell; 7] = [
            vms.get(&attempt.job).copied().unwrap_or(NOTHING).into(),
            attempt.number.to_string().into(),
            desk.times.short(attempt.intent_at).into(),
            states::attempt(attempt),
            attempt.ended_at.map_or_else(|| NOTHING.to_owned(), |end| rough(end - attempt.intent_at)).into(),
            (&attempt.nonce).into(),
            task(attempt).into(),
        ];
        table.row(cells, attempt.cause.as_ref().map(|cause| states::cause(cause).into()));
    }
    table.print(desk.screen);
}
