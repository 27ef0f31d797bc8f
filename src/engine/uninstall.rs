//! Carrying out a removal: the snapshot's record, then each of its disks and its memory image. Nothing is touched before the first of
//! the disks is next at its storage. Then the pool is asked, in one look, whether every part is still what the plan says; afterwards
//! each disk goes by itself, and each is looked at again when it is tried again or has waited long. What is not provably the
//! snapshot's own is spared. While the clock is in doubt nothing is begun, and the removal is left as it is.

mod place;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::admission::{Request, Turn};
use super::backlog;
use super::error::{Effect, Result, STILL_RUNNING, Setback, is_stuck};
use super::guards::clocks;
use super::site::Site;
use super::view;
use super::worker::Worker;
use crate::domain::id::VdiUuid;
use crate::domain::mark::{self, Detachment, Ownership};
use crate::domain::orphans::{self, Signs};
use crate::domain::uninstall::{DiskFacts, ImageFacts, Link, belongings};
use crate::store::{Cause, EventKind, NewEvent, Part, PartState, Removal, RemovalState, Role};
use crate::telemetry::Fact;
use crate::xenapi::calls;
use crate::xenapi::failure::Kind;
use crate::xenapi::records::{Vbd, Vdi, VdiType, Vm};
use crate::xenapi::types::{Ref, Uuid as ServerUuid, Void};

use place::Place;

/// So long after it was looked at a disk may be destroyed without another look.
const FRESH: Duration = Duration::from_secs(10);

/// Whose removal it is, for the order of turns.
pub type Queue = Request;

/// How far a removal came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// Everything is gone.
    Done,
    /// The server refused for the moment; it is tried again later.
    Waiting(Cause),
    /// The pool shows something else than the plan: nothing was destroyed, and the plan was withdrawn.
    Withdrawn(Cause),
    /// Something stays, and trying again does not help.
    Orphaned(Cause),
}

/// What makes a snapshot ours to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Every part of its mark is true.
    Ours,
    /// The same, but its VM is gone, and its policy's file said that it goes then.
    VmGone,
}

/// Carries out one try of a removal.
///
/// # Errors
/// When the history cannot be written.
pub async fn carry_out(worker: &mut Worker, site: &Site, removal: &Removal, queue: &Queue) -> Result<Removed> {
    carry_out_as(worker, site, removal, queue, Claim::Ours).await
}

/// The same for a snapshot that is ours in another way.
///
/// # Errors
/// As [`carry_out`].
pub async fn carry_out_as(worker: &mut Worker, site: &Site, removal: &Removal, queue: &Queue, claim: Claim) -> Result<Removed> {
    if let Some(why) = clocks::doubt(worker, site).await? {
        return Ok(Removed::Waiting(clocks::cause(site, &why)));
    }
    if let Some(cause) = backlog::delays(site, removal).await? {
        return Ok(Removed::Waiting(cause));
    }
    let begun = site.clock.elapsed();
    let removal = site.store.begin_removal(removal.id, site.now()).await?;
    let mut places = Place::all(site, &removal, queue);
    place::first(worker, &mut places).await;
    let looked_at = site.clock.elapsed();
    let ended = match record_part(&removal) {
        Some(part) if !matches!(part.state, PartState::Gone | PartState::Spared) => {
            destroy_record(worker, site, &removal, part, claim).await?
        }
        _ => Ok(Vec::new()),
    };
    let seen = match ended {
        Ok(seen) => seen,
        Err(stop) => return stopped(site, &removal, stop).await,
    };
    let lines = places.into_iter().map(|place| {
        let fresh = seen.iter().find(|(uuid, _)| *uuid == place.disk).map(|(_, vdi)| vdi.clone());
        destroy_disk(worker.fork(), site, &removal, place, Fresh { disk: fresh, looked_at })
    });
    let lines: Vec<_> = lines.collect();
    for ended in worker.wait(join_all(lines)).await {
        if let Err(stop) = ended? {
            return stopped(site, &removal, stop).await;
        }
    }
    site.store.finish_removal(removal.id, site.now()).await?;
    if is_of_disks(&removal) {
        tell_disks(site, &removal).await?;
    } else {
        tell(site, &removal, site.clock.elapsed().saturating_sub(begun));
    }
    Ok(Removed::Done)
}

/// True for disks alone, of a snapshot whose record is gone.
pub fn is_of_disks(removal: &Removal) -> bool {
    record_part(removal).is_none()
}

fn tell(site: &Site, removal: &Removal, took: Duration) {
    let mut fact = Fact::new(EventKind::SnapshotRemoved).pool(site.name()).snapshot(removal.snapshot);
    if let Some(run) = removal.run {
        fact = fact.run(run.0);
    }
    site.metrics.snapshot_removed(site.name());
    fact.took(took).say(&format!("the snapshot {} was removed with its disks: {}", removal.snapshot, removal.reason));
}

/// What was destroyed without a snapshot is an event: nobody's plan wanted it.
async fn tell_disks(site: &Site, removal: &Removal) -> Result<()> {
    let parts = site.store.removal(removal.id).await?.parts;
    let gone: Vec<String> = parts.iter().filter(|part| part.state == PartState::Gone).map(|part| part.uuid.to_string()).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let text = format!("the disks {} were destroyed: {}", gone.join(", "), removal.reason);
    let data = json!({ "what": "disk", "uuids": gone });
    Ok(site.note(NewEvent { data, ..event_of(site, removal, EventKind::Reclaimed, text) }).await?)
}

/// Why a try ends early.
enum Stop {
    /// Before anything was destroyed, because the pool shows something else.
    Otherwise(Cause),
    /// The server refused a call.
    Refused(Setback),
}

impl From<Setback> for Stop {
    fn from(setback: Setback) -> Self {
        Self::Refused(setback)
    }
}

type Try<T> = std::result::Result<T, Stop>;

/// Disks that were looked at in this try, with their references.
type Seen = Vec<(Uuid, Ref<Vdi>)>;

fn record_part(removal: &Removal) -> Option<&Part> {
    removal.parts.iter().find(|part| part.role == Role::Snapshot)
}

async fn stopped(site: &Site, removal: &Removal, stop: Stop) -> Result<Removed> {
    let setback = match stop {
        Stop::Otherwise(cause) => return withdrawn(site, removal, cause).await,
        Stop::Refused(setback) => setback,
    };
    let passes = setback.may_pass() || matches!(setback.effect, Effect::Unknown | Effect::NeverLeft);
    if passes && removal.tries < site.pace.removal_tries {
        let next = site.now() + site.pace.pause(removal.tries);
        site.store.postpone_removal(removal.id, next, setback.cause.clone()).await?;
        return Ok(Removed::Waiting(setback.cause));
    }
    orphaned(site, removal, setback.cause).await
}

/// The record is there and is not to go: whatever an earlier try called had no effect.
async fn withdrawn(site: &Site, removal: &Removal, cause: Cause) -> Result<Removed> {
    if removal.parts.iter().any(|part| part.state == PartState::Gone) {
        return orphaned(site, removal, cause).await;
    }
    for part in removal.parts.iter().filter(|part| part.state == PartState::Destroying) {
        site.store.removal_part(removal.id, part.uuid, PartState::There, None, site.now()).await?;
    }
    site.store.withdraw_removal(removal.id, cause.clone(), site.now()).await?;
    let text = format!("the snapshot {} stays: {}", removal.snapshot, cause.text);
    site.note(event_of(site, removal, EventKind::Withdrawn, text)).await?;
    Ok(Removed::Withdrawn(cause))
}

async fn orphaned(site: &Site, removal: &Removal, cause: Cause) -> Result<Removed> {
    site.store.orphan_removal(removal.id, cause.clone(), site.now()).await?;
    let what = if is_of_disks(removal) { "the disks that were left of the snapshot" } else { "the snapshot" };
    let text = format!("{what} {} cannot be removed: {}", removal.snapshot, cause.text);
    site.note(event_of(site, removal, EventKind::Orphan, text)).await?;
    Ok(Removed::Orphaned(cause))
}

fn event_of(site: &Site, removal: &Removal, kind: EventKind, text: String) -> NewEvent {
    NewEvent { snapshot: Some(removal.snapshot), run: removal.run, ..site.event(kind, text) }
}

/// Looks at everything once, and destroys the record.
async fn destroy_record(worker: &mut Worker, site: &Site, removal: &Removal, part: &Part, claim: Claim) -> Result<Try<Seen>> {
    let Some(reference) = view::vm_of(&site.inventory.read(), part.uuid) else {
        site.store.removal_part(removal.id, part.uuid, PartState::Gone, None, site.now()).await?;
        return Ok(Ok(Vec::new()));
    };
    let seen = match look(worker, site, removal, &reference, claim).await {
        Ok(Some(seen)) => seen,
        Ok(None) => {
            site.store.removal_part(removal.id, part.uuid, PartState::Gone, None, site.now()).await?;
            return Ok(Ok(Vec::new()));
        }
        Err(stop) => return Ok(Err(stop)),
    };
    site.store.removal_part(removal.id, part.uuid, PartState::Destroying, None, site.now()).await?;
    match destroy(worker, site, (removal, part.uuid), calls::vm::destroy(&reference), None).await? {
        Ok(()) => {}
        Err(setback) if setback.kind == Kind::NotFound => {}
        Err(setback) => {
            if setback.effect == Effect::Refused {
                let cause = Some(setback.cause.clone());
                site.store.removal_part(removal.id, part.uuid, PartState::There, cause, site.now()).await?;
            }
            return Ok(Err(setback.into()));
        }
    }
    site.store.removal_part(removal.id, part.uuid, PartState::Gone, None, site.now()).await?;
    Ok(Ok(seen))
}

/// The last look: the record and each disk, fresh from the server. `None`: the record is gone.
async fn look(worker: &mut Worker, site: &Site, removal: &Removal, reference: &Ref<Vm>, claim: Claim) -> Try<Option<Seen>> {
    let record = match worker.call(&site.pool, calls::record(reference)).await {
        Ok(record) => record,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(Stop::Refused(error.into())),
    };
    if !record.current_operations.is_empty() {
        return Err(Stop::Refused(busy()));
    }
    let planned: Vec<&Part> = removal.parts.iter().filter(|part| part.role != Role::Snapshot).collect();
    let (ownership, drives) = {
        let tables = site.inventory.read();
        let ownership = mark::verify(&site.installation, &view::facts(&tables, site.uuid, &record));
        let drives: Vec<Vbd> = record.vbds.iter().filter_map(|vbd| tables.get::<Vbd>(vbd)).map(|vbd| (**vbd).clone()).collect();
        (ownership, drives)
    };
    if let Some(cause) = not_ours(&ownership, claim) {
        return Err(Stop::Otherwise(cause));
    }
    if let Some(reason) = record.blocked(&crate::xenapi::records::VmOperation::Destroy) {
        return Err(Stop::Otherwise(Cause::new("blocked", format!("somebody forbade to destroy it: {reason}"))));
    }
    let mut seen = Vec::with_capacity(planned.len());
    let mut disks = Vec::new();
    let mut image = None;
    for part in planned {
        let Some((vdi, disk)) = read_disk(worker, site, part.uuid).await? else { continue };
        let used_elsewhere = disk.vbds.iter().any(|vbd| !record.vbds.contains(vbd));
        if part.role == Role::Suspend {
            let others = *record.suspend_vdi != vdi || image_is_shared(site, reference, &vdi);
            image = Some(ImageFacts {
                vdi: VdiUuid(part.uuid),
                is_suspend_image: disk.kind == VdiType::Suspend,
                used_elsewhere: others || used_elsewhere,
            });
        } else {
            let drive = drives.iter().find(|drive| drive.vdi == vdi);
            let link = drive.map_or(Link::Recorded, |drive| if drive.has_disk() { Link::Disk } else { Link::NoDisk });
            let (is_a_snapshot, managed) = (disk.is_a_snapshot, disk.managed);
            disks.push(DiskFacts { vdi: VdiUuid(part.uuid), link, is_a_snapshot, managed, used_elsewhere });
        }
        seen.push((part.uuid, vdi));
    }
    let own = belongings(&disks, image).map_err(|refusal| Stop::Otherwise(Cause::new("not-its-own", refusal.to_string())))?;
    seen.retain(|(uuid, _)| own.disks.contains(&VdiUuid(*uuid)) || own.image == Some(VdiUuid(*uuid)));
    Ok(Some(seen))
}

/// Something is being done with the snapshot. The server would wait for the end of it, for hours if need be, and the storage with it.
fn busy() -> Setback {
    let cause = Cause::new("busy", "something is being done with the snapshot, such as an export or a copy");
    Setback { kind: Kind::Busy, cause, effect: Effect::Refused }
}

/// The same for a disk at which an earlier call of ours may still be.
fn busy_disk() -> Setback {
    let cause = Cause::new(STILL_RUNNING, "something is still being done with the disk, which did not end in its time");
    Setback { kind: Kind::Busy, cause, effect: Effect::Refused }
}

/// Whether an earlier call to destroy this part did not end in its time.
fn was_stuck(removal: &Removal, part: Uuid) -> bool {
    let part = removal.parts.iter().find(|known| known.uuid == part);
    part.and_then(|part| part.cause.as_ref()).is_some_and(is_stuck)
}

/// Why a snapshot is not removed, whatever the plan says.
fn not_ours(ownership: &Ownership, claim: Claim) -> Option<Cause> {
    match ownership {
        Ownership::Ours(_) => None,
        Ownership::Detached(_, Detachment::VmGone) if claim == Claim::VmGone => None,
        other => Some(Cause::new("not-ours", format!("it is not removed: {other}"))),
    }
}

/// True if another VM or snapshot names the memory image too.
fn image_is_shared(site: &Site, snapshot: &Ref<Vm>, image: &Ref<Vdi>) -> bool {
    let tables = site.inventory.read();
    tables.all::<Vm>().any(|(reference, vm)| reference != snapshot && *vm.suspend_vdi == *image)
}

async fn read_disk(worker: &mut Worker, site: &Site, uuid: Uuid) -> Try<Option<(Ref<Vdi>, Vdi)>> {
    let known = site.inventory.read().by_uuid::<Vdi>(&ServerUuid::new(uuid)).map(|(reference, _)| reference.clone());
    let Some(reference) = known else { return Ok(None) };
    match worker.call(&site.pool, calls::record(&reference)).await {
        Ok(record) => Ok(Some((reference, record))),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(Stop::Refused(error.into())),
    }
}

/// What the last look showed of a disk, and when that was.
struct Fresh {
    disk: Option<Ref<Vdi>>,
    looked_at: Duration,
}

/// Destroys one disk, in its storage's turn. The row that says so is on disk before the turn comes. A turn may be long in coming: what
/// was looked at too long ago is looked at again before anything is destroyed.
async fn destroy_disk(mut worker: Worker, site: &Site, removal: &Removal, mut place: Place, fresh: Fresh) -> Result<Try<()>> {
    let (worker, disk) = (&mut worker, place.disk);
    place.next(worker).await;
    site.store.removal_part(removal.id, disk, PartState::Destroying, None, site.now()).await?;
    let turn = place.turn(worker).await;
    let still = fresh.disk.filter(|_| site.clock.elapsed() - fresh.looked_at < FRESH);
    let looked = match still {
        Some(reference) => Again::Fine(reference),
        None => match again(worker, site, removal, disk).await {
            Ok(looked) => looked,
            Err(stop) => {
                let cause = match &stop {
                    Stop::Refused(setback) => Some(setback.cause.clone()),
                    Stop::Otherwise(_) => None,
                };
                site.store.removal_part(removal.id, disk, PartState::There, cause, site.now()).await?;
                return Ok(Err(stop));
            }
        },
    };
    let ended = match looked {
        Again::Fine(reference) => destroy(worker, site, (removal, disk), calls::vdi::destroy(&reference), turn).await?,
        Again::Gone => Ok(()),
        Again::Spare(cause) => {
            site.store.removal_part(removal.id, disk, PartState::Spared, Some(cause), site.now()).await?;
            return Ok(Ok(()));
        }
    };
    match ended {
        Ok(()) => {}
        Err(setback) if setback.kind == Kind::NotFound => {}
        Err(setback) => {
            let state = if setback.may_pass() || setback.effect == Effect::Unknown { PartState::There } else { PartState::Stuck };
            site.store.removal_part(removal.id, disk, state, Some(setback.cause.clone()), site.now()).await?;
            return Ok(Err(setback.into()));
        }
    }
    site.store.removal_part(removal.id, disk, PartState::Gone, None, site.now()).await?;
    Ok(Ok(()))
}

/// What a disk is when it is looked at again, the record being gone.
enum Again {
    Gone,
    Spare(Cause),
    Fine(Ref<Vdi>),
}

async fn again(worker: &mut Worker, site: &Site, removal: &Removal, uuid: Uuid) -> Try<Again> {
    let Some((reference, disk)) = read_disk(worker, site, uuid).await? else { return Ok(Again::Gone) };
    if !disk.current_operations.is_empty() && was_stuck(removal, uuid) {
        return Err(Stop::Refused(busy_disk()));
    }
    let image = disk.kind == VdiType::Suspend;
    let used = !disk.vbds.is_empty() || named_by_a_vm(site, &reference);
    let cause = if is_of_disks(removal) {
        // No mark speaks for it: what the history says of it counts only while history and pool are known to agree.
        if !site.is_trusted() {
            return Err(Stop::Refused(untrusted()));
        }
        let snapshot_is_back = view::vm_of(&site.inventory.read(), removal.snapshot).is_some();
        // A storage that keeps no names brings a disk back without one; a name that it has by now somebody gave it.
        let renamed = !disk.is_a_snapshot && !image && !disk.name_label.is_empty();
        orphans::spared(Signs { snapshot_is_back, used, unmanaged: !disk.managed, renamed })
    } else if used {
        Some("it is used by another VM by now")
    } else if !disk.is_a_snapshot && !image {
        Some("it is not a snapshot any more")
    } else {
        (!disk.managed).then_some("it is not managed by the storage's clients")
    };
    Ok(match cause {
        Some(cause) => Again::Spare(Cause::new("not-its-own", cause)),
        None => Again::Fine(reference),
    })
}

/// True if a VM or snapshot names it as its memory.
fn named_by_a_vm(site: &Site, disk: &Ref<Vdi>) -> bool {
    site.inventory.read().all::<Vm>().any(|(_, vm)| *vm.suspend_vdi == *disk)
}

fn untrusted() -> Setback {
    let cause = Cause::new("not-compared", "the server may have forgotten something; history and pool are compared first");
    Setback { kind: Kind::Transient, cause, effect: Effect::NeverLeft }
}

/// Calls, waits for the end, and passes the turn on.
async fn destroy(
    worker: &mut Worker,
    site: &Site,
    (removal, part): (&Removal, Uuid),
    call: crate::xenapi::Call<Void>,
    turn: Option<Turn>,
) -> Result<std::result::Result<(), Setback>> {
    let ended = match worker.wait(site.pool.start(call)).await {
        Ok(task) => worker.wait(task.finish_then(Some(site.pace.call), move || drop(turn))).await.map_err(Setback::from),
        Err(error) => Err(error.into()),
    };
    if let Err(setback) = &ended
        && setback.is_stuck()
    {
        let text = format!("{part} of the snapshot {} is not destroyed: {}", removal.snapshot, setback.cause.text);
        site.note(event_of(site, removal, EventKind::Stuck, text)).await?;
    }
    Ok(ended.map(drop))
}

/// True once nothing more is done about a removal by itself.
pub fn is_over(removal: &Removal) -> bool {
    !removal.state.is_open() || removal.state == RemovalState::Orphaned
}
