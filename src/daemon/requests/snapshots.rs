//! What is asked of single snapshots: pins, and moving them between installations. Ownership moves only here, and only by a person's
//! word: an adopted snapshot gets a mark of ours that is true of it, a released one loses ours or gets another installation's.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Ask, Reply};
use crate::domain::id::{InstallationId, RunId, SnapshotUuid, VmUuid};
use crate::domain::mark::{self, KEY, Mark, Ownership};
use crate::domain::nonce::Nonce;
use crate::domain::policy::Policy;
use crate::domain::snapshot::{Kind, Parent};
use crate::engine::error::{Result, Setback};
use crate::engine::site::{SharedSite, Site};
use crate::engine::worker::Worker;
use crate::engine::{consent, holdings, marking, pins, view};
use crate::store::{EventKind, NewEvent, Snapshot, SnapshotState};
use crate::xenapi::calls;
use crate::xenapi::records::Vm;
use crate::xenapi::types::Ref;

/// Pins or unpins.
pub(super) async fn pinned(
    worker: &mut Worker,
    sites: &[SharedSite],
    snapshot: Uuid,
    ask: &Ask,
    reply: &mut Reply,
) -> Result<()> {
    let Some((site, row)) = known(sites, snapshot).await? else {
        reply.refuse("not-found", unknown(snapshot));
        return Ok(());
    };
    let done = match ask {
        Ask::Pin { until, reason, .. } => pins::pin(worker, site, &row, *until, reason).await?.map(|()| stays(*until)),
        _ => pins::unpin(worker, site, &row).await?.map(|()| "retention decides about it again".to_owned()),
    };
    match done {
        Ok(line) => reply.say(format!("{} of {}: {line}", row.uuid, row.vm_name)),
        Err(setback) => reply.refuse("failed", setback.cause.text),
    }
    Ok(())
}

fn stays(until: DateTime<Utc>) -> String {
    format!("stays until {}; the server refuses to destroy it as well", until.format("%Y-%m-%d %H:%M UTC"))
}

async fn known(sites: &[SharedSite], snapshot: Uuid) -> Result<Option<(&SharedSite, Snapshot)>> {
    for site in sites {
        let rows = site.store.snapshots_by_uuid(snapshot).await?;
        if let Some(row) = rows.into_iter().find(|row| row.pool == site.uuid.0) {
            return Ok(Some((site, row)));
        }
    }
    Ok(None)
}

fn unknown(snapshot: Uuid) -> String {
    format!("{snapshot} is no snapshot that this installation knows; `xensnap snapshots` lists them")
}

/// Takes snapshots over for a policy.
pub(super) async fn adopt(
    worker: &mut Worker,
    site: &SharedSite,
    policy: &Policy,
    snapshots: &[Uuid],
    reply: &mut Reply,
) -> Result<()> {
    for uuid in snapshots {
        let Some(reference) = view::vm_of(&site.inventory.read(), *uuid) else { continue };
        match adoptable(site, policy, &reference) {
            Err(why) => reply.fail(format!("{uuid}: not adopted: {why}")),
            Ok(mark) => match take_over(worker, site, policy, &reference, &mark).await? {
                Ok(()) => reply.say(format!("{uuid}: is of policy {} now", policy.name)),
                Err(setback) => reply.fail(format!("{uuid}: not adopted: {}", setback.cause.text)),
            },
        }
    }
    Ok(())
}

/// The mark that a snapshot gets, if it may be adopted.
fn adoptable(site: &Site, policy: &Policy, reference: &Ref<Vm>) -> std::result::Result<Mark, String> {
    let tables = site.inventory.read();
    let Some(record) = tables.get(reference) else { return Err("it is gone".to_owned()) };
    let facts = view::facts(&tables, site.uuid, record);
    let Parent::Vm(vm) = facts.parent else { return Err("its VM is gone, so it can be no VM's snapshot".to_owned()) };
    if !facts.is_a_snapshot || !facts.is_a_template || facts.shared_disk.is_some() {
        return Err("it is not a plain snapshot with disks of its own".to_owned());
    }
    let found = match mark::verify(&site.installation, &facts) {
        Ownership::Ours(mark) => return Err(format!("it is ours already, of policy {}", mark.policy)),
        Ownership::OtherInstallation(mark) => Some(mark),
        _ => None,
    };
    let taken = record.snapshot_time.happened().unwrap_or_else(|| site.now());
    let memory = record.suspend_vdi.not_null().is_some();
    Ok(Mark {
        installation: site.installation.clone(),
        pool: site.uuid,
        snapshot: SnapshotUuid(record.uuid.get()),
        vm: VmUuid(vm.0),
        policy: policy.id.clone(),
        due_at: found.as_ref().map_or(taken, |mark| mark.due_at),
        run: found.as_ref().map_or_else(|| RunId(Uuid::new_v4()), |mark| mark.run),
        kind: found.as_ref().map_or(if memory { Kind::Memory } else { Kind::Disk }, |mark| mark.kind),
        nonce: found.map_or_else(|| Nonce::from_bits(rand::random()), |mark| mark.nonce),
    })
}

/// The row first: what is marked and not in the history would be written down as found, and needs no yes before it is pruned.
async fn take_over(
    worker: &mut Worker,
    site: &Site,
    policy: &Policy,
    reference: &Ref<Vm>,
    mark: &Mark,
) -> Result<std::result::Result<(), Setback>> {
    let Some(new) = holdings::as_new(site, reference, mark) else { return Ok(Err(pins_gone())) };
    let now = site.now();
    site.store.keep(&consent::adopted_note(site.uuid.0, policy.id.as_str()), &serde_json::json!(true), now).await?;
    site.store.adopt(new, now).await?;
    let Some(seen) = site.inventory.read().get(reference).cloned() else { return Ok(Err(pins_gone())) };
    if let Err(setback) = marking::put(worker, site, reference, &seen, mark).await {
        return Ok(Err(setback));
    }
    let text = format!("the snapshot {} was adopted for policy {}", mark.snapshot, policy.name);
    let (vm, snapshot) = (Some(mark.vm.0), Some(mark.snapshot.0));
    let event = site.event(EventKind::Adopted, text);
    site.note(NewEvent { policy: Some(policy.id.to_string()), vm, snapshot, ..event }).await?;
    Ok(Ok(()))
}

fn pins_gone() -> Setback {
    Setback {
        kind: crate::xenapi::failure::Kind::NotFound,
        cause: crate::store::Cause::new("vanished", "the snapshot is not to be seen in the pool"),
        effect: crate::engine::error::Effect::Refused,
    }
}

/// Gives snapshots away: to another installation, or to nobody.
pub(super) async fn release(
    worker: &mut Worker,
    sites: &[SharedSite],
    snapshots: &[Uuid],
    to: Option<&str>,
    reply: &mut Reply,
) -> Result<()> {
    let to: Option<InstallationId> = match to.map(str::parse).transpose() {
        Ok(to) => to,
        Err(error) => {
            reply.refuse("usage", format!("{error}"));
            return Ok(());
        }
    };
    for uuid in snapshots {
        let Some((site, row)) = known(sites, *uuid).await? else {
            reply.fail(unknown(*uuid));
            continue;
        };
        match give(worker, site, &row, to.clone()).await? {
            Ok(()) => reply.say(format!("{uuid}: released{}", to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default())),
            Err(why) => reply.fail(format!("{uuid}: not released: {why}")),
        }
    }
    Ok(())
}

async fn give(
    worker: &mut Worker,
    site: &Site,
    row: &Snapshot,
    to: Option<InstallationId>,
) -> Result<std::result::Result<(), String>> {
    let found = {
        let tables = site.inventory.read();
        view::vm_of(&tables, row.uuid).and_then(|reference| {
            let record = tables.get(&reference)?.clone();
            let ownership = mark::verify(&site.installation, &view::facts(&tables, site.uuid, &record));
            Some((reference, record, ownership))
        })
    };
    let Some((reference, record, Ownership::Ours(mark) | Ownership::Detached(mark, _))) = found else {
        return Ok(Err("it is not ours, or not in the pool any more".to_owned()));
    };
    // Before the mark goes: from here on nothing of ours counts or removes it.
    site.store.snapshot_seen(row.id, SnapshotState::Released, site.now()).await?;
    let written = match to {
        Some(to) => marking::put(worker, site, &reference, &record, &mark.handed_to(to)).await,
        None => {
            worker.call(&site.pool, calls::vm::remove_from_other_config(&reference, KEY)).await.map(|_| ()).map_err(Setback::from)
        }
    };
    Ok(written.map_err(|setback| setback.cause.text))
}
