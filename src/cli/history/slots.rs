//! Every due time, the latest first: what ran, and what did not and why.

use serde::Serialize;

use super::super::out::say;
use super::super::view::shapes::SlotShape;
use super::super::view::{Cell, Column, NOTHING, Table, print_json, states};
use super::{Asked, value};
use crate::store::{Slot, SlotFilter, SlotState};

#[derive(Serialize)]
struct Slots {
    slots: Vec<SlotShape>,
    /// What `--after` takes to go on; null at the end.
    next: Option<String>,
}

/// Lists slots, in one state if a word is given.
pub(super) async fn list(asked: &Asked<'_>, word: Option<&str>) -> anyhow::Result<()> {
    let state = value("state of a due time", word, SlotState::ALL, SlotState::as_str)?;
    let filter = SlotFilter { policy: asked.policy.clone(), pool: asked.pool, state, from: asked.from, until: asked.until };
    let listed = asked.store.slots(filter, asked.page).await?;
    if asked.json {
        let slots = listed.rows.iter().map(|slot| SlotShape::of(slot, &asked.names)).collect();
        return print_json(asked.times.now, &Slots { slots, next: listed.next.map(|next| next.to_string()) });
    }
    if listed.rows.is_empty() {
        say!("No such due times.");
        return Ok(());
    }
    table(asked, &listed.rows).print(&asked.screen);
    asked.more(listed.next, listed.rows.len());
    Ok(())
}

fn table(asked: &Asked<'_>, slots: &[Slot]) -> Table {
    let [due, utc] = asked.due_columns();
    let columns = [
        due,
        utc,
        Column::left("POLICY").cut(8),
        if asked.names.one_pool() { Column::left("POOL").extra() } else { Column::left("POOL").cut(6) },
        Column::left("ORIGIN"),
        Column::left("DECIDED"),
        Column::right("RUN"),
        Column::left("OUTCOME"),
    ];
    let mut table = Table::new(columns);
    for slot in slots {
        let [due, utc] = asked.due_cells(slot.due_at);
        let run = slot.run.map_or_else(|| NOTHING.to_owned(), |run| run.to_string());
        let outcome = match slot.outcome {
            Some(outcome) => Cell::toned(states::of_outcome(outcome), outcome.as_str()),
            None if slot.run.is_some() => "running".into(),
            None => NOTHING.into(),
        };
        let cells = [
            due,
            utc,
            (&slot.policy_name).into(),
            asked.names.pool(slot.pool).into(),
            slot.origin.as_str().into(),
            states::slot(slot),
            run.into(),
            outcome,
        ];
        table.row(cells, remark(slot));
    }
    table
}

/// What is as it should be needs no reason.
fn remark(slot: &Slot) -> Option<Cell> {
    let said = if slot.detail.is_empty() { &slot.reason } else { &slot.detail };
    (slot.state != SlotState::Claimed).then(|| said.into())
}
