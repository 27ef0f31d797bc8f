//! A snapshot: what it is made of, its mark, its pin, why it stays, and every removal of it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::snapshots::{Fate, fates, pin, present};
use super::super::view::shapes::{EventShape, RemovalShape, SnapshotShape};
use super::super::view::{Column, Facts, NOTHING, Table, print_json, states};
use super::run::named;
use super::{Desk, sections};
use crate::domain::id::{PoolUuid, RunId, SnapshotUuid, VmUuid};
use crate::domain::mark::{KEY, Mark};
use crate::domain::retention::{Expiry, Verdict};
use crate::domain::size;
use crate::domain::snapshot::Kind;
use crate::store::{Event, EventFilter, Page, Removal, Snapshot, SnapshotFilter};

#[derive(Serialize)]
struct Shape {
    snapshot: SnapshotShape,
    /// What we wrote on it; null when that is not on record, as for one that was adopted.
    mark: Option<String>,
    removals: Vec<RemovalShape>,
    events: Vec<EventShape>,
}

/// Shows `snapshot`.
pub(super) async fn show(desk: &Desk<'_>, snapshot: &Snapshot) -> anyhow::Result<()> {
    let fate = fate(desk, snapshot).await?;
    let mark = mark(desk, snapshot).await?;
    let of_this_pool = |removal: &Removal| removal.pool == snapshot.pool;
    let removals: Vec<Removal> = desk.store.removals_of(snapshot.uuid).await?.into_iter().filter(of_this_pool).collect();
    let filter = EventFilter { snapshot: Some(snapshot.uuid), pool: Some(snapshot.pool), ..EventFilter::default() };
    let events: Vec<Event> = desk.store.events(filter, Page::first(1000)).await?.rows;
    if desk.json {
        let shape = Shape {
            snapshot: SnapshotShape::of(snapshot, fate.as_ref(), desk.names),
            mark: mark.map(|mark| mark.encode()),
            removals: removals.iter().map(RemovalShape::of).collect(),
            events: events.iter().map(EventShape::of).collect(),
        };
        return print_json(desk.times.now, &shape);
    }
    facts(desk, snapshot, fate.as_ref(), mark).print(&format!("Snapshot {}", snapshot.uuid), desk.screen);
    disks(desk, snapshot);
    sections::removals(desk, &removals);
    removals.iter().for_each(|removal| parts(desk, removal));
    sections::events(desk, &events);
    Ok(())
}

/// What becomes of it, which depends on the others of its VM and policy.
async fn fate(desk: &Desk<'_>, snapshot: &Snapshot) -> anyhow::Result<Option<Fate>> {
    if desk.policies.is_none() {
        return Ok(None);
    }
    let filter = SnapshotFilter { vm: Some(snapshot.vm), policy: Some(snapshot.policy.clone()), ..SnapshotFilter::default() };
    let all = present(desk.store, &filter).await?;
    Ok(fates(&all, desk.policies, desk.times.now).remove(&snapshot.id))
}

/// The mark we wrote, from the rows that say what it holds.
async fn mark(desk: &Desk<'_>, snapshot: &Snapshot) -> anyhow::Result<Option<Mark>> {
    let (Some(job), Some(run)) = (snapshot.job, snapshot.run) else { return Ok(None) };
    let attempts = desk.store.attempts(job).await?;
    let nonce = attempts.into_iter().find(|attempt| Some(attempt.id) == snapshot.attempt).map(|attempt| attempt.nonce);
    let installation = desk.store.installation().await?.installation;
    let run = desk.store.run(run).await?.uuid;
    let mark = || {
        Some(Mark {
            installation: installation?.parse().ok()?,
            pool: PoolUuid(snapshot.pool),
            snapshot: SnapshotUuid(snapshot.uuid),
            vm: VmUuid(snapshot.vm_uuid),
            policy: snapshot.policy.parse().ok()?,
            due_at: snapshot.due_at,
            run: RunId(run),
            kind: Kind::ALL.into_iter().find(|kind| kind.word() == snapshot.kind.as_str())?,
            nonce: nonce?.parse().ok()?,
        })
    };
    Ok(snapshot.marked_at.and_then(|_| mark()))
}

fn facts(desk: &Desk<'_>, snapshot: &Snapshot, fate: Option<&Fate>, mark: Option<Mark>) -> Facts {
    let times = desk.times;
    let mut facts = Facts::default();
    facts.add("name", &snapshot.name);
    facts.add("VM", named(&snapshot.vm_name, &snapshot.vm_uuid.to_string()));
    facts.add("pool", named(&desk.names.pool(snapshot.pool), &snapshot.pool.to_string()));
    facts.add("policy", named(&snapshot.policy_name, &snapshot.policy));
    facts.maybe("run", snapshot.run.map(|run| run.to_string()));
    facts.add("kind", snapshot.kind.as_str());
    facts.add("due", times.both(snapshot.due_at));
    facts.add("taken", times.with_distance(snapshot.taken_at));
    facts.toned("state", snapshot.state.as_str(), states::of_snapshot(snapshot.state));
    for (label, at) in since(snapshot) {
        facts.maybe(label, at.map(|at| times.with_distance(at)));
    }
    if let Some((word, until)) = pin(snapshot, times) {
        facts.add(word, until);
    }
    if let Some(fate) = fate {
        fate_facts(desk, &mut facts, fate);
    }
    let written = |mark: Mark| format!("{KEY} of installation {}, run {}, nonce {}", mark.installation, mark.run, mark.nonce);
    facts.maybe("mark", mark.map(written));
    facts
}

/// What happened to it, in the order in which it does.
fn since(snapshot: &Snapshot) -> [(&'static str, Option<DateTime<Utc>>); 7] {
    [
        ("adopted", snapshot.adopted_at),
        ("marked", snapshot.marked_at),
        ("durable", snapshot.durable_at),
        ("vanished", snapshot.vanished_at),
        ("removed", snapshot.removed_at),
        ("ghost", snapshot.ghost_at),
        ("released", snapshot.released_at),
    ]
}

fn fate_facts(desk: &Desk<'_>, facts: &mut Facts, fate: &Fate) {
    match fate.verdict {
        Verdict::Keep(reasons) => facts.add("kept by", reasons.to_string()),
        Verdict::Remove(removal) => facts.add("not kept", removal.to_string()),
    }
    match fate.expiry {
        Expiry::NextPruning => facts.add("goes", "with the next run of its policy"),
        Expiry::At(at) => facts.add("goes", desk.times.with_distance(at)),
        Expiry::Stays => facts.add("goes", "stays, as things are"),
    }
}

fn disks(desk: &Desk<'_>, snapshot: &Snapshot) {
    sections::heading(desk, "Disks");
    let columns = [
        Column::right("AT"),
        Column::left("NAME").cut(8),
        Column::right("SIZE"),
        Column::left("DISK"),
        Column::left("SR").brief(8),
        Column::left("TAKEN OF").brief(8),
    ];
    let mut table = Table::new(columns);
    for disk in &snapshot.disks {
        let cells = [
            (&disk.position).into(),
            (&disk.name).into(),
            size::told(disk.virtual_size).into(),
            disk.vdi.to_string().into(),
            disk.sr.to_string().into(),
            disk.of.map_or_else(|| NOTHING.to_owned(), |of| of.to_string()).into(),
        ];
        table.row(cells, None);
    }
    if let Some(image) = snapshot.suspend_image {
        let cells = [NOTHING, "(memory)", NOTHING, &image.to_string(), NOTHING, NOTHING].map(Into::into);
        table.row(cells, None);
    }
    table.print(desk.screen);
}

/// Every piece of a removal, where not all are gone.
fn parts(desk: &Desk<'_>, removal: &Removal) {
    let columns = [Column::left(desk.times.title("SINCE")), Column::left("PART"), Column::left("STATE"), Column::left("UUID")];
    let mut table = Table::new(columns);
    for part in &removal.parts {
        let cells = [
            desk.times.short(part.changed_at).into(),
            part.role.as_str().into(),
            states::part(part.state),
            part.uuid.to_string().into(),
        ];
        table.row(cells, part.cause.as_ref().map(|cause| states::cause(cause).into()));
    }
    sections::heading(desk, &format!("Parts of the removal planned {}", desk.times.short(removal.planned_at)));
    table.print(desk.screen);
}
