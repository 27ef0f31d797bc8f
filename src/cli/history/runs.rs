//! Runs, newest first.

use serde::Serialize;

use super::super::out::say;
use super::super::view::shapes::RunShape;
use super::super::view::{Cell, Column, NOTHING, Table, print_json, rough, states};
use super::{Asked, value};
use crate::store::{Outcome, Run, RunFilter};

#[derive(Serialize)]
struct Runs {
    runs: Vec<RunShape>,
    /// What `--after` takes to go on; null at the end.
    next: Option<String>,
}

/// Lists runs, of one outcome if a word is given.
pub(super) async fn list(asked: &Asked<'_>, word: Option<&str>) -> anyhow::Result<()> {
    let outcome = value("outcome of a run", word, Outcome::ALL, Outcome::as_str)?;
    let filter = RunFilter { policy: asked.policy.clone(), pool: asked.pool, outcome, from: asked.from, until: asked.until };
    let listed = asked.store.runs(filter, asked.page).await?;
    if asked.json {
        let runs = listed.rows.iter().map(|run| RunShape::of(run, &asked.names)).collect();
        return print_json(asked.times.now, &Runs { runs, next: listed.next.map(|next| next.to_string()) });
    }
    if listed.rows.is_empty() {
        say!("No such runs. A due time that was missed or skipped has none: --slots shows those too.");
        return Ok(());
    }
    table(asked, &listed.rows).print(&asked.screen);
    asked.more(listed.next, listed.rows.len());
    Ok(())
}

fn table(asked: &Asked<'_>, runs: &[Run]) -> Table {
    let [due, utc] = asked.due_columns();
    let columns = [
        Column::right("RUN"),
        due,
        utc,
        Column::right("LATE"),
        Column::left("POLICY").cut(6),
        if asked.names.one_pool() { Column::left("POOL").extra() } else { Column::left("POOL").cut(6) },
        Column::left("OUTCOME"),
        Column::right("DONE"),
        Column::right("FAIL"),
        Column::right("SKIP"),
        Column::right("REMOVED"),
        Column::right("TOOK").extra(),
    ];
    let mut table = Table::new(columns).remarks("CAUSE");
    for run in runs {
        let [due, utc] = asked.due_cells(run.due_at);
        let took = run.finished_at.map_or_else(|| NOTHING.to_owned(), |end| rough(end - run.started_at));
        let [done, failed, skipped, removed] = counts(run);
        let cells: [Cell; 12] = [
            run.id.to_string().into(),
            due,
            utc,
            rough(run.started_at - run.due_at).into(),
            (&run.policy_name).into(),
            asked.names.pool(run.pool).into(),
            states::run(run),
            done,
            failed,
            skipped,
            removed,
            took.into(),
        ];
        table.row(cells, remark(run));
    }
    table
}

/// Nothing is counted before a run has ended.
fn counts(run: &Run) -> [Cell; 4] {
    let numbers = [run.done, run.failed, run.skipped, run.removed];
    numbers.map(|number| if run.outcome.is_some() { number.to_string().into() } else { NOTHING.into() })
}

fn remark(run: &Run) -> Option<Cell> {
    let waits = run.approval_needed.then(|| "a part of it waits for an approval".to_owned());
    let parts: Vec<String> = run.cause.as_ref().map(states::cause).into_iter().chain(waits).collect();
    (!parts.is_empty()).then(|| parts.join("; ").into())
}
