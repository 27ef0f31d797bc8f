//! Parts that more than one page has: jobs, events, removals.

use super::super::out::say;
use super::super::view::{Cell, Column, NOTHING, Table, Times, Tone, rough, states};
use super::Desk;
use crate::store::{Event, PartState, Removal};

/// Prints a heading.
pub(super) fn heading(desk: &Desk<'_>, text: &str) {
    say!("\n{}", desk.screen.paint(Tone::Strong, text));
}

/// Prints events, as they follow one another; nothing when there are none. `events` is newest first.
pub(super) fn events(desk: &Desk<'_>, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    heading(desk, "Events");
    let columns = [Column::left(desk.times.title("AT")), Column::left("SEVERITY"), Column::left("KIND").extra()];
    let mut table = Table::new(columns).remarks("WHAT");
    for event in events.iter().rev() {
        let cells = [desk.times.short(event.at).into(), states::severity(event.severity), (&event.kind).into()];
        table.row(cells, Some((&event.text).into()));
    }
    table.print(desk.screen);
}

/// Prints removals; nothing when there are none.
pub(super) fn removals(desk: &Desk<'_>, removals: &[Removal]) {
    if removals.is_empty() {
        return;
    }
    heading(desk, "Removals");
    let columns = [
        Column::left("SNAPSHOT").brief(8),
        Column::left(desk.times.title("PLANNED")),
        Column::left("STATE"),
        Column::right("TRIES"),
        Column::left("PARTS GONE"),
        Column::right("TOOK"),
    ];
    let mut table = Table::new(columns);
    for removal in removals {
        let cells = [
            removal.snapshot.to_string().into(),
            desk.times.short(removal.planned_at).into(),
            states::removal(removal),
            removal.tries.to_string().into(),
            gone(removal).into(),
            removal.finished_at.map_or_else(|| NOTHING.to_owned(), |end| rough(end - removal.planned_at)).into(),
        ];
        table.row(cells, Some(why(removal, desk.times)));
    }
    table.print(desk.screen);
}

fn gone(removal: &Removal) -> String {
    let gone = removal.parts.iter().filter(|part| part.state == PartState::Gone).count();
    format!("{gone} of {}", removal.parts.len())
}

/// Why it was to go, and what is in the way.
fn why(removal: &Removal, times: &Times) -> Cell {
    let again = removal.state.is_open().then(|| format!("next try {}", times.distance(removal.next_try)));
    let parts = [Some(removal.reason.clone()), removal.cause.as_ref().map(states::cause), again];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ").into()
}
