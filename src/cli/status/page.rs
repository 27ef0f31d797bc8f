//! The status for people.

use super::super::view::{Cell, Column, NOTHING, Screen, Table, Times, Tone, counted, rough};
use crate::daemon::report::{Phase, PoolStatus, RunStatus, Status, Weight};

/// So many VMs that are worked on are named.
const NAMED: usize = 4;

/// All of it, as lines.
pub(super) fn show(status: &Status, times: &Times, screen: &Screen) -> Vec<String> {
    let mut lines = vec![headline(status, times, screen)];
    let mut section = |title: &str, table: Option<Table>| {
        if let Some(table) = table {
            lines.push(String::new());
            lines.push(screen.paint(Tone::Strong, title));
            lines.extend(table.render(screen));
        }
    };
    section("Wrong", troubles(status, times));
    section("Pools", Some(pools(status, times)));
    section("Running", running(status, times));
    section("Coming", coming(status, times));
    section("Paused", paused(status, times));
    lines
}

fn headline(status: &Status, times: &Times, screen: &Screen) -> String {
    let running = if status.running.is_empty() { "nothing runs".to_owned() } else { format!("{} running", status.running.len()) };
    let next = status.coming.first().map(|next| format!("next {} {}", next.policy.name, times.distance(next.due_at)));
    let next = next.unwrap_or_else(|| "nothing comes".to_owned());
    match &status.service {
        Some(service) => {
            let up = rough(status.at - service.started_at);
            let revision = if service.revision.is_empty() { String::new() } else { format!(" ({})", service.revision) };
            let text = format!("xensnap {}{revision}, process {}, up {up}: {running}, {next}", service.xensnap, service.pid);
            screen.paint(Tone::Good, &text)
        }
        None => screen.paint(Tone::Bad, "No service runs; this is what the history says. Nothing will be taken."),
    }
}

fn troubles(status: &Status, times: &Times) -> Option<Table> {
    let mut table = Table::new([
        Column::left("WEIGHT"),
        Column::left(times.title("SINCE")),
        Column::right("AGE"),
        Column::left("POOL").cut(6).if_any(),
    ])
    .remarks("WHAT");
    for trouble in &status.troubles {
        let weight = match trouble.weight {
            Weight::Critical => Cell::toned(Tone::Bad, "critical"),
            Weight::Warning => Cell::toned(Tone::Doubt, "warning"),
        };
        let pool = trouble.pool.as_deref().filter(|_| status.pools.len() > 1).unwrap_or("");
        let cells = [weight, times.short(trouble.since).into(), rough(status.at - trouble.since).into(), pool.into()];
        table.row(cells, Some(trouble.text.as_str().into()));
    }
    (!status.troubles.is_empty()).then_some(table)
}

fn pools(status: &Status, times: &Times) -> Table {
    let columns = [
        Column::left("POOL").cut(6),
        Column::left("STATE"),
        Column::right("SINCE"),
        Column::left("MASTER").cut(8).if_any(),
        Column::left("ADDRESS").extra().if_any(),
        Column::left("RELEASE").extra().if_any(),
        Column::right("CLOCK").if_any(),
        Column::right("VMS").if_any(),
    ];
    let mut table = Table::new(columns).remarks("PROBLEM");
    for pool in &status.pools {
        let master = pool.master.as_ref();
        let cells = [
            pool.name.as_str().into(),
            phase(pool),
            pool.since.map_or_else(|| NOTHING.to_owned(), |since| times.distance(since)).into(),
            master.map_or("", |master| &master.name).into(),
            master.map_or("", |master| &master.address).into(),
            pool.release.as_deref().unwrap_or("").into(),
            pool.clock_ahead_seconds.map_or_else(String::new, |ahead| format!("{:+}s", ahead.round() as i64)).into(),
            pool.vms.map_or_else(String::new, |vms| vms.to_string()).into(),
        ];
        table.row(cells, pool.problem.as_deref().map(Cell::from));
    }
    table
}

fn phase(pool: &PoolStatus) -> Cell {
    match pool.phase {
        Phase::Connected => Cell::toned(Tone::Good, "connected"),
        Phase::StandingBy => Cell::toned(Tone::Doubt, "standing by"),
        Phase::Comparing => Cell::toned(Tone::Doubt, "comparing"),
        Phase::Connecting => Cell::toned(Tone::Doubt, "connecting"),
        Phase::Unreachable => Cell::toned(Tone::Bad, "unreachable"),
        Phase::Unknown => Cell::toned(Tone::Faint, "last seen"),
    }
}

fn running(status: &Status, times: &Times) -> Option<Table> {
    let columns = [
        Column::right("RUN"),
        Column::left("POLICY").cut(8),
        Column::left("POOL").cut(6).if_any(),
        Column::left(times.title("DUE")).extra(),
        Column::right("STARTED"),
        Column::left("STATE"),
        Column::right("JOBS"),
        Column::right("TAKEN"),
        Column::right("FAILED"),
    ];
    let mut table = Table::new(columns).remarks("NOW");
    for run in &status.running {
        let jobs = run.jobs;
        let failed = if jobs.failed == 0 { Cell::from("0") } else { Cell::toned(Tone::Bad, jobs.failed.to_string()) };
        let cells = [
            run.run.to_string().into(),
            run.policy.name.as_str().into(),
            (if status.pools.len() > 1 { run.pool.as_str() } else { "" }).into(),
            times.short(run.due_at).into(),
            times.distance(run.started_at).into(),
            run.state.as_str().into(),
            jobs.total.to_string().into(),
            format!("{} ({}%)", jobs.taken, percent(run)).into(),
            failed,
        ];
        table.row(cells, work(run, status).map(Cell::from));
    }
    (!status.running.is_empty()).then_some(table)
}

fn percent(run: &RunStatus) -> usize {
    let ended = run.jobs.total - run.jobs.waiting - run.jobs.working;
    (ended * 100).checked_div(run.jobs.total).unwrap_or(0)
}

/// What is worked on, and for how long.
fn work(run: &RunStatus, status: &Status) -> Option<String> {
    let named =
        run.work.iter().take(NAMED).map(|work| format!("{} {} for {}", work.vm, work.state, rough(status.at - work.since)));
    let mut parts: Vec<String> = named.collect();
    if run.work.len() > NAMED {
        parts.push(format!("{} more", run.work.len() - NAMED));
    }
    if run.jobs.waiting > 0 {
        parts.push(format!("{} waiting", counted(run.jobs.waiting, "job")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn coming(status: &Status, times: &Times) -> Option<Table> {
    let columns = [
        Column::left(times.title("DUE")),
        Column::right("LEFT"),
        Column::left("POLICY").cut(8),
        Column::left("POOL").cut(6).if_any(),
    ];
    let mut table = Table::new(columns).remarks("NOTE");
    for fires in &status.coming {
        let cells = [
            times.short(fires.due_at).into(),
            rough(fires.due_at - status.at).into(),
            fires.policy.name.as_str().into(),
            (if status.pools.len() > 1 { fires.pool.as_str() } else { "" }).into(),
        ];
        table.row(cells, fires.paused.then(|| Cell::toned(Tone::Doubt, "will be skipped: paused")));
    }
    (!status.coming.is_empty()).then_some(table)
}

fn paused(status: &Status, times: &Times) -> Option<Table> {
    let columns =
        [Column::left("WHAT").cut(12), Column::left(times.title("UNTIL")), Column::right("SINCE"), Column::left("BY").cut(8)];
    let mut table = Table::new(columns);
    for pause in &status.paused {
        let until = pause.until.map_or_else(|| "resumed".to_owned(), |until| times.short(until));
        let cells = [pause.what.as_str().into(), until.into(), times.distance(pause.since).into(), pause.by.as_str().into()];
        table.row(cells, Some(pause.reason.as_str()).filter(|reason| !reason.is_empty()).map(Cell::from));
    }
    (!status.paused.is_empty()).then_some(table)
}
