//! VMs that our work left halted or suspended. A note stands before the call that may leave one so, and goes when it was seen to be back.

use serde_json::Value;
use uuid::Uuid;

use super::{orphan, reclaimed};
use crate::domain::orphans::{Orphan, What, Why};
use crate::engine::around::{offline_note, suspended_note};
use crate::engine::error::Result;
use crate::engine::offline::{self, OfflineError};
use crate::engine::site::Site;
use crate::engine::worker::Worker;
use crate::store::{EventKind, JobState, NewEvent};
use crate::xenapi::records::{PowerState, Vm};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// Resumes VMs that a snapshot with memory left suspended, and lets go of the notes of those that are fine.
pub(super) async fn wake_all(worker: &mut Worker, site: &Site) -> Result<()> {
    for (note, value, vm) in notes(site, &suspended_note(site.uuid.0, "")).await? {
        let Some((reference, record)) = vm.and_then(|vm| found(site, vm)) else {
            site.store.drop_note(&note).await?;
            continue;
        };
        if is_in_work(site, &value, record.uuid.get()).await? {
            continue;
        }
        // Whoever has it wakes it.
        let Some(_turn) = site.alone.if_free(record.uuid.get()) else { continue };
        let was_suspended = record.power_state == PowerState::Suspended;
        let about = (None, Some(record.uuid.get()));
        match offline::wake(worker, &site.pool, &site.inventory, &reference).await {
            Ok(()) if was_suspended => {
                site.store.drop_note(&note).await?;
                let text = format!("the VM {}, which a snapshot with memory left suspended, was resumed", record.name_label);
                reclaimed(site, What::Vm, record.uuid.get(), about, text).await?;
            }
            Ok(()) | Err(OfflineError::Gone) => site.store.drop_note(&note).await?,
            Err(OfflineError::Busy(_)) => {}
            Err(error) => {
                let error = crate::xenapi::error::chain(&error);
                let text =
                    format!("a snapshot with memory left {} suspended, and it cannot be resumed: {error}", record.name_label);
                site.note(NewEvent { vm: about.1, ..site.event(EventKind::LeftSuspended, text) }).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn look(site: &Site) -> Result<Vec<Orphan>> {
    let mut left = Vec::new();
    for (prefix, power, why) in [
        (offline_note(site.uuid.0, ""), PowerState::Halted, Why::Halted),
        (suspended_note(site.uuid.0, ""), PowerState::Suspended, Why::Suspended),
    ] {
        for (_, value, vm) in notes(site, &prefix).await? {
            let Some((_, record)) = vm.and_then(|vm| found(site, vm)) else { continue };
            let uuid = record.uuid.get();
            if record.power_state == power && !is_in_work(site, &value, uuid).await? {
                let orphan = orphan(What::Vm, uuid, &record.name_label, why.clone());
                left.push(Orphan { vm: Some((uuid, record.name_label.to_string())), ..orphan });
            }
        }
    }
    Ok(left)
}

/// Notes of this kind, with the VM that each is about.
async fn notes(site: &Site, prefix: &str) -> Result<Vec<(String, Value, Option<Uuid>)>> {
    let notes = site.store.kept_under(prefix).await?;
    let vm = |note: &str| note.rsplit('/').next().and_then(|vm| vm.parse().ok());
    Ok(notes.into_iter().map(|(note, value)| (note.clone(), value, vm(&note))).collect())
}

fn found(site: &Site, vm: Uuid) -> Option<(Ref<Vm>, std::sync::Arc<Vm>)> {
    let tables = site.inventory.read();
    tables.by_uuid::<Vm>(&ServerUuid::new(vm)).map(|(reference, record)| (reference.clone(), record.clone()))
}

/// Whether the snapshot for which a VM was shut down or suspended may be in work.
///
/// # Errors
/// When the history cannot be read.
pub async fn is_in_work(site: &Site, note: &Value, vm: Uuid) -> Result<bool> {
    let Some(run) = note.get("run").and_then(Value::as_str).and_then(|run| run.parse().ok()) else { return Ok(false) };
    let Some(run) = site.store.run_by_uuid(run).await? else { return Ok(false) };
    let jobs = site.store.jobs_of(run.id).await?;
    Ok(jobs.iter().any(|job| job.vm_uuid == vm && matches!(job.state, JobState::Intent | JobState::Calling)))
}
