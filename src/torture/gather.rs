//! The evidence, once everything is over: what was seen, what is left at the pool, and what the history says.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::invariants::{Evidence, Remains, SlotRow};
use super::stage::{self, Stage};
use super::witness::{ORIGINATOR, Seen};
use crate::domain::lease::{Claim, epoch_of};
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;
use crate::store::{self, Error, Options, PartState, SlotFilter, SnapshotFilter, Store};

/// The tag by which the service knows its tasks.
const TAG: &str = "xensnap-nonce";

/// Everything, by the histories of all services that ran; the moments are those of the beginning, of the end of all faults, and now.
///
/// # Errors
/// When the history cannot be read.
pub(super) async fn evidence(
    stage: &Stage,
    histories: &[PathBuf],
    [began, healthy, ended]: [DateTime<Utc>; 3],
    deaths: &[String],
) -> Result<Evidence, Error> {
    let mut told = Told::default();
    for history in histories {
        told.read(history).await?;
    }
    let seen = stage.chronicle.seen();
    let remains = stage.simulation.shared().map(|shared| shared.step(|world| remains(stage, &seen, &told, world)));
    Ok(Evidence {
        policies: stage.policies.clone(),
        began,
        healthy,
        ended,
        touches: seen.touches,
        removals: seen.removals,
        doubles: seen.doubles,
        slots: told.slots,
        remains: remains.unwrap_or_default(),
        deaths: deaths.to_vec(),
    })
}

/// What the histories say.
#[derive(Default)]
struct Told {
    slots: Vec<SlotRow>,
    /// The disks that were recorded with snapshots.
    recorded: HashSet<Uuid>,
    /// Those of them that were in use by a VM when they were to be destroyed.
    spared: HashSet<Uuid>,
}

impl Told {
    async fn read(&mut self, history: &Path) -> Result<(), Error> {
        let store = Store::open_read_only(history, &Options::default()).await?;
        let slots = store::all(|page| store.slots(SlotFilter::default(), page)).await?;
        let slots = slots.into_iter().map(|slot| SlotRow { is_final: slot.is_final(), policy: slot.policy, due_at: slot.due_at });
        self.slots.extend(slots);
        for row in store::all(|page| store.snapshots(SnapshotFilter::default(), page)).await? {
            self.recorded.extend(row.disks.iter().map(|disk| disk.vdi).chain(row.suspend_image));
            let parts = store.removals_of(row.uuid).await?.into_iter().flat_map(|removal| removal.parts);
            self.spared.extend(parts.filter(|part| part.state == PartState::Spared).map(|part| part.uuid));
        }
        store.close().await
    }
}

fn remains(stage: &Stage, seen: &Seen, told: &Told, world: &World) -> Remains {
    let held = stage.chronicle.held(world);
    let database = &world.database;
    let own = |class: &str, object: &Ref| seen.own.contains(&database.text(class, object, "uuid"));
    let is_held = |vm: &Ref| held.iter().any(|held| *held.snapshot.to_string() == *database.text("VM", vm, "uuid"));
    let unmarked = |vm: &Ref| database.bool("VM", vm, "is_a_snapshot") && own("VM", vm) && !is_held(vm);
    let images: HashSet<Ref> = database.refs("VM").iter().map(|vm| database.text("VM", vm, "suspend_VDI")).collect();
    let used = |vdi: &Ref| images.contains(vdi) || !database.texts("VDI", vdi, "VBDs").is_empty();
    let loose = |vdi: &Ref| own("VDI", vdi) && database.bool("VDI", vdi, "managed") && !used(vdi);
    let is_in =
        |vdi: &Ref, disks: &HashSet<Uuid>| database.text("VDI", vdi, "uuid").parse().is_ok_and(|uuid| disks.contains(&uuid));
    let loose_disks: Vec<Ref> = database.refs("VDI").into_iter().filter(|vdi| loose(vdi)).collect();
    let (heard_of, unheard): (Vec<Ref>, Vec<Ref>) = loose_disks.into_iter().partition(|vdi| is_in(vdi, &told.recorded));
    let (spared, disks): (Vec<Ref>, Vec<Ref>) = heard_of.into_iter().partition(|vdi| is_in(vdi, &told.spared));
    let ours = |task: &Ref| database.map_text("task", task, "other_config", TAG).is_some();
    let named = |class: &str, object: &Ref| {
        format!("{} ({})", database.text(class, object, "uuid"), database.text(class, object, "name_label"))
    };
    let all = |class: &str, wanted: &dyn Fn(&Ref) -> bool| -> Vec<String> {
        database.refs(class).iter().filter(|object| wanted(object)).map(|object| named(class, object)).collect()
    };
    let covered = stage.policies.iter().zip(&stage.names).map(|(policy, names)| {
        let vms = stage::named(world, names).into_iter();
        let uuids = vms.filter_map(|vm| database.text("VM", &vm, "uuid").parse::<Uuid>().ok());
        (policy.id.to_string(), uuids.collect())
    });
    Remains {
        unmarked: all("VM", &unmarked),
        disks: disks.iter().map(|vdi| named("VDI", vdi)).collect(),
        unheard: unheard.len(),
        spared: spared.len(),
        tasks: all("task", &ours),
        claims: left_claims(&claims(world)),
        sessions: world.sessions.values().filter(|session| &*session.originator == ORIGINATOR).count(),
        halted: all("VM", &|vm: &Ref| {
            seen.halted.contains(&database.text("VM", vm, "uuid"))
                && !database.bool("VM", vm, "is_a_snapshot")
                && &*database.text("VM", vm, "power_state") != "Running"
        }),
        operations: ["VM", "VDI"].iter().flat_map(|class| under_way(world, class)).collect(),
        covered: covered.collect(),
        held,
    }
}

/// The process that says in the pool that it has the lease.
pub(super) fn holder(stage: &Stage) -> Option<u32> {
    let claims = stage.simulation.shared()?.step(|world| claims(world));
    let newest = claims.last_key_value()?.1;
    (!newest.released).then_some(newest.pid)
}

/// The claims to the lease that stand in the pool.
fn claims(world: &World) -> BTreeMap<u64, Claim> {
    let Some((pool, installation)) = world.database.refs("pool").into_iter().next().zip(stage::INSTALLATION.parse().ok()) else {
        return BTreeMap::new();
    };
    let members = world.database.get("pool", &pool, "other_config").map(Value::members).unwrap_or_default();
    let claim = |(key, value): &(Text, Value)| Some((epoch_of(&installation, key)?, Claim::decode(value.as_text()?)?));
    members.iter().filter_map(claim).collect()
}

/// What is too much of them once everybody has left: the newest says so, and one below may be there that could not be removed.
fn left_claims(claims: &BTreeMap<u64, Claim>) -> Vec<String> {
    let below = claims.iter().rev().skip(2);
    let newest = claims.iter().next_back().filter(|(_, claim)| !claim.released);
    newest.into_iter().chain(below).map(|(epoch, claim)| format!("{epoch} of process {}", claim.pid)).collect()
}

fn under_way(world: &World, class: &str) -> Vec<String> {
    let database = &world.database;
    let busy = database.refs(class).into_iter().filter(|object| {
        database.get(class, object, "current_operations").is_some_and(|operations| !operations.members().is_empty())
    });
    busy.map(|object| {
        format!("{class} {} {:?}", database.text(class, &object, "uuid"), database.get(class, &object, "current_operations"))
    })
    .collect()
}

/// The uuid of an SR that holds disks of covered VMs.
pub(super) fn sr_of(stage: &Stage, pick: u64) -> Option<String> {
    stage.simulation.shared()?.step(|world| {
        let database = &world.database;
        let vms = stage::named(world, &stage.names.concat());
        let vbds = vms.iter().flat_map(|vm| database.texts("VM", vm, "VBDs"));
        let disks = vbds.filter(|vbd| &*database.text("VBD", vbd, "type") == "Disk").map(|vbd| database.text("VBD", &vbd, "VDI"));
        let mut srs: Vec<String> =
            disks.map(|vdi| database.text("SR", &database.text("VDI", &vdi, "SR"), "uuid").to_string()).collect();
        srs.sort();
        srs.dedup();
        (!srs.is_empty()).then(|| srs.swap_remove(usize::try_from(pick).unwrap_or_default() % srs.len()))
    })
}
