//! The jobs of one VM, newest first.

use serde::Serialize;

use super::super::out::say;
use super::super::view::shapes::{JobShape, NamedShape};
use super::super::view::{Column, NOTHING, Table, harmless, print_json, rough, states};
use super::{Asked, value};
use crate::store::{Job, JobFilter, JobState};

#[derive(Serialize)]
struct Jobs {
    vm: NamedShape,
    jobs: Vec<JobShape>,
    /// What `--after` takes to go on; null at the end.
    next: Option<String>,
}

/// Lists jobs of `vm`, in one state if a word is given.
pub(super) async fn list(asked: &Asked<'_>, vm: &str, word: Option<&str>) -> anyhow::Result<()> {
    let state = value("state of a job", word, JobState::ALL, JobState::as_str)?;
    let vm = asked.names.vm(asked.store, vm, asked.pool).await?;
    let filter =
        JobFilter { vm: Some(vm.id), policy: asked.policy.clone(), run: None, state, from: asked.from, until: asked.until };
    let listed = asked.store.jobs(filter, asked.page).await?;
    if asked.json {
        let jobs = listed.rows.iter().map(|job| JobShape::of(job, &asked.names)).collect();
        let next = listed.next.map(|next| next.to_string());
        return print_json(asked.times.now, &Jobs { vm: NamedShape::vm(&vm), jobs, next });
    }
    if listed.rows.is_empty() {
        say!("No such jobs of {}.", harmless(&vm.name));
        return Ok(());
    }
    say!("VM {} ({}) in pool {}", harmless(&vm.name), vm.uuid, harmless(&asked.names.pool(vm.pool)));
    table(asked, &listed.rows).print(&asked.screen);
    asked.more(listed.next, listed.rows.len());
    Ok(())
}

fn table(asked: &Asked<'_>, jobs: &[Job]) -> Table {
    let [due, utc] = asked.due_columns();
    let columns = [
        due,
        utc,
        Column::left("POLICY").cut(8),
        Column::left("KIND"),
        Column::left("STATE"),
        Column::right("CALLS"),
        Column::right("TOOK"),
        Column::right("RUN"),
    ];
    let mut table = Table::new(columns).remarks("CAUSE");
    for job in jobs {
        let [due, utc] = asked.due_cells(job.due_at);
        let cells = [
            due,
            utc,
            (&job.policy_name).into(),
            job.kind.as_str().into(),
            states::job(job),
            job.attempts.to_string().into(),
            job.finished_at.map_or_else(|| NOTHING.to_owned(), |end| rough(end - job.created_at)).into(),
            job.run.to_string().into(),
        ];
        table.row(cells, job.cause.as_ref().map(|cause| states::cause(cause).into()));
    }
    table
}
