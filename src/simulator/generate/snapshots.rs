//! Snapshots that other people and tools left behind: none of them is this program's to touch.

use chrono::TimeDelta;

use super::guests::{self, Guest, State};
use super::maker::{Maker, date};
use super::storage::{Part, occupied};
use crate::simulator::value::{NULL, Ref, Text, Value};

/// Who made a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An administrator, by hand.
    Manual,
    /// An administrator, with memory.
    Checkpoint,
    /// The pool's own schedule.
    Schedule,
    /// A backup product that writes its marks into `other_config`.
    Backup,
}

/// A snapshot that is going to be made.
#[derive(Debug)]
pub(super) struct SnapshotPlan {
    pub(super) reference: Ref,
    /// The hidden parent that each disk's data moves to.
    pub(super) bases: Vec<Text>,
    kind: Kind,
    minutes_ago: i64,
    number: usize,
}

/// Decides which snapshots the `number`-th guest has, oldest first.
pub(super) fn plan(maker: &mut Maker<'_>, number: usize, guest: &Guest) -> Vec<SnapshotPlan> {
    let (vms, wanted) = (maker.recipe.vms.max(1), maker.recipe.snapshots);
    let count = match wanted {
        Some(all) => all / vms + usize::from(number < all % vms),
        None if number.is_multiple_of(3) => 1 + number / 3 % 3,
        None => 0,
    };
    let age = 90 + maker.below(600) as i64;
    (0..count)
        .map(|at| SnapshotPlan {
            reference: maker.reference(),
            bases: guest.disks.iter().map(|_| maker.uuid()).collect(),
            kind: kind(maker, guest, number, at),
            minutes_ago: age + (count - at) as i64 * 1440,
            number: at,
        })
        .collect()
}

fn kind(maker: &Maker<'_>, guest: &Guest, number: usize, at: usize) -> Kind {
    let scheduled = maker.since("falcon") || (maker.since("cowley") && !maker.since("clearwater"));
    match (number / 3 + at) % 4 {
        0 if guest.state == State::Running && guest.tools && number.is_multiple_of(6) && maker.since("midnight-ride") => {
            Kind::Checkpoint
        }
        1 if scheduled => Kind::Schedule,
        2 => Kind::Backup,
        _ => Kind::Manual,
    }
}

/// Makes a guest's snapshots.
pub(super) fn make(maker: &mut Maker<'_>, guest: &Guest, plans: &[SnapshotPlan]) {
    // The texts of one VM's snapshots differ in a few references only; one text for all keeps a large pool small.
    let metadata = if plans.is_empty() { "".into() } else { maker.metadata(&guest.reference) };
    for (at, plan) in plans.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &plans[before]);
        snapshot(maker, guest, plan, before, &metadata);
    }
}

fn snapshot(maker: &mut Maker<'_>, guest: &Guest, plan: &SnapshotPlan, before: Option<&SnapshotPlan>, metadata: &Text) {
    let taken = maker.now - TimeDelta::minutes(plan.minutes_ago);
    for (disk, planned) in guest.disks.iter().enumerate() {
        let time = date(taken + TimeDelta::seconds(disk as i64));
        let parent = before.and_then(|before| before.bases.get(disk));
        base(maker, planned, &plan.bases[disk], parent);
        let vdi = leaf(maker, planned, &plan.bases[disk], time);
        guests::vbd(maker, &plan.reference, Some(&vdi), disk, "Disk", false);
    }
    // The snapshot's drive holds the very disc that is in the VM's.
    let position = 3.max(guest.disks.len());
    guests::vbd(maker, &plan.reference, guest.iso.as_ref(), position, "CD", false);
    for (device, network) in guest.networks.iter().enumerate() {
        guests::vif(maker, &plan.reference, network, device, false);
    }
    let time = date(taken + TimeDelta::seconds(2 + guest.disks.len() as i64));
    let changes = changes(maker, guest, plan, before, time, metadata);
    record(maker, guest, plan, changes);
}

fn base(maker: &mut Maker<'_>, disk: &guests::DiskPlan, uuid: &Text, parent: Option<&Text>) {
    // The first hidden parent took over the whole disk, later ones what was written since.
    let data = if parent.is_some() { ((disk.data / 50) >> 20) << 20 } else { disk.data };
    let used = occupied(&disk.sr, Part::Base, disk.size, data);
    maker.occupy(&disk.sr.reference, used, 0);
    let mut fields = guests::vdi_fields(disk, uuid, parent);
    fields.extend([
        ("name_label", Value::str("base copy")),
        ("managed", Value::Bool(false)),
        ("read_only", Value::Bool(true)),
        ("physical_utilisation", Value::Int(used)),
    ]);
    maker.row("VDI", fields);
}

fn leaf(maker: &mut Maker<'_>, disk: &guests::DiskPlan, base: &Text, time: Value) -> Ref {
    let used = occupied(&disk.sr, Part::Leaf, disk.size, 0);
    maker.occupy(&disk.sr.reference, used, disk.size);
    let uuid = maker.uuid();
    let mut fields = guests::vdi_fields(disk, &uuid, Some(base));
    fields.extend([
        ("is_a_snapshot", Value::Bool(true)),
        ("snapshot_of", Value::Str(disk.vdi.clone())),
        ("snapshot_time", time),
        ("physical_utilisation", Value::Int(used)),
    ]);
    maker.row("VDI", fields)
}

/// What is different from the VM (05-operations 5.3).
fn changes(
    maker: &mut Maker<'_>,
    guest: &Guest,
    plan: &SnapshotPlan,
    before: Option<&SnapshotPlan>,
    time: Value,
    metadata: &Text,
) -> Vec<(&'static str, Value)> {
    let memory = plan.kind == Kind::Checkpoint;
    let image = memory.then(|| guests::suspend_image_in(maker, &guest.disks[0].sr.clone(), guest.memory, Some(time.clone())));
    let info = [("disk-snapshot-type", "crash_consistent"), ("power-state-at-snapshot", guest.state.name())];
    let parent = before.map_or_else(Value::null, |before| Value::Str(before.reference.clone()));
    let has_info = maker.since("midnight-ride");
    vec![
        ("name_label", Value::str(name(guest, plan, &time))),
        ("is_a_template", Value::Bool(true)),
        ("is_default_template", Value::Bool(false)),
        ("is_a_snapshot", Value::Bool(true)),
        ("snapshot_of", Value::Str(guest.reference.clone())),
        ("snapshot_time", time),
        ("snapshot_info", if has_info { Value::pairs(info) } else { Value::Map(Vec::new()) }),
        ("snapshot_metadata", if has_info { Value::Str(metadata.clone()) } else { Value::str("") }),
        ("parent", parent),
        ("power_state", Value::str(if memory { "Suspended" } else { "Halted" })),
        ("suspend_VDI", image.map_or_else(Value::null, Value::Str)),
        ("is_vmss_snapshot", Value::Bool(plan.kind == Kind::Schedule && maker.since("falcon"))),
        ("is_snapshot_from_vmpp", Value::Bool(plan.kind == Kind::Schedule && !maker.since("clearwater"))),
    ]
}

fn name(guest: &Guest, plan: &SnapshotPlan, time: &Value) -> String {
    let stamp: String = time.as_text().map(|text| text.chars().take(13).collect()).unwrap_or_default();
    match plan.kind {
        Kind::Manual => ["before upgrade", "known good", "do not delete!"][plan.number % 3].to_owned(),
        Kind::Checkpoint => format!("{} with memory", guest.character.name),
        Kind::Schedule => stamp.replace('T', "-"),
        Kind::Backup => format!("[XO Backup nightly] {}", guest.character.name),
    }
}

fn record(maker: &mut Maker<'_>, guest: &Guest, plan: &SnapshotPlan, changes: Vec<(&'static str, Value)>) {
    const RESET: [&str; 20] = [
        "uuid",
        "VBDs",
        "VIFs",
        "snapshots",
        "children",
        "consoles",
        "VTPMs",
        "blocked_operations",
        "blobs",
        "order",
        "start_delay",
        "shutdown_delay",
        "version",
        "appliance",
        "snapshot_schedule",
        "protection_policy",
        "resident_on",
        "domid",
        "suspend_VDI",
        "allowed_operations",
    ];
    let mut fields = maker.vm_values(&guest.reference);
    fields.retain(|(field, _)| !RESET.contains(field));
    let metrics = maker.row("VM_metrics", Vec::new());
    fields.extend([("metrics", Value::Str(metrics)), ("domid", Value::Int(-1)), ("guest_metrics", Value::str(NULL))]);
    if plan.kind == Kind::Backup {
        mark(guest, plan, &changes, &mut fields);
    }
    fields.extend(changes);
    maker.row_as("VM", plan.reference.clone(), fields);
}

/// The marks of a backup product, beside what the snapshot inherits from its VM.
fn mark(guest: &Guest, plan: &SnapshotPlan, changes: &[(&'static str, Value)], fields: &mut [(&'static str, Value)]) {
    let time = changes.iter().find(|(field, _)| *field == "snapshot_time").and_then(|(_, time)| time.as_text().cloned());
    let marks: [(&str, Text); 5] = [
        ("xo:backup:exported", "true".into()),
        ("xo:backup:job", "nightly".into()),
        ("xo:backup:schedule", format!("s{}", plan.number).into()),
        ("xo:backup:vm", guest.uuid.clone()),
        ("xo:backup:datetime", time.unwrap_or_else(|| "".into())),
    ];
    if let Some((_, Value::Map(members))) = fields.iter_mut().find(|(field, _)| *field == "other_config") {
        members.splice(0..0, marks.map(|(key, value)| (Text::from(key), Value::Str(value))));
    }
}
