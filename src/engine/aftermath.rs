//! Snapshots that no run looks after any more, because their VM was deleted or their policy is in no file. They stay, unless the
//! policy's file said otherwise; then they go when that time has passed since it was noticed, and not while anybody doubts anything.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::Result;
use super::holdings;
use super::prune;
use super::site::Site;
use super::uninstall::{self, Claim};
use super::view;
use super::worker::Worker;
use crate::domain::mark::{Detachment, Mark, Ownership};
use crate::domain::policy::{Afterwards, Policy};
use crate::store::{EventKind, NewEvent, NewRemoval, Role, Store};
use crate::xenapi::records::Vm;
use crate::xenapi::types::Ref;

/// The note that keeps what a policy's file said, for when it is gone.
fn wish_note(policy: &str) -> String {
    format!("afterwards/{policy}")
}

/// The note of when it was noticed that nobody looks after a snapshot.
fn since_note(pool: Uuid, snapshot: Uuid) -> String {
    format!("unattended/{pool}/{snapshot}")
}

/// Writes down what the policies say about a time without them. Idempotent.
///
/// # Errors
/// When the history cannot be written.
pub async fn remember_wishes<'a>(store: &Store, policies: impl Iterator<Item = &'a Policy>, now: DateTime<Utc>) -> Result<()> {
    for policy in policies {
        let (vm, removed) = (seconds(policy.retention.on_vm_deleted), seconds(policy.retention.on_policy_removed));
        let wish = json!({ "vm_deleted": vm, "policy_removed": removed });
        let name = wish_note(policy.id.as_str());
        let before = store.kept(&name).await?;
        let nothing = vm.is_none() && removed.is_none();
        if before.as_ref() != Some(&wish) && !(nothing && before.is_none()) {
            store.keep(&name, &wish, now).await?;
        }
    }
    Ok(())
}

fn seconds(afterwards: Afterwards) -> Option<u64> {
    match afterwards {
        Afterwards::Keep => None,
        Afterwards::RemoveAfter(time) => Some(time.0.as_secs()),
    }
}

/// Removes what has been unattended for as long as its policy wanted. `known` are the policies that are in a file now.
///
/// # Errors
/// When the history cannot be kept.
pub async fn tidy(worker: &mut Worker, site: &Site, known: &BTreeSet<String>) -> Result<()> {
    let wishes = site.store.kept_under("afterwards/").await?;
    if wishes.is_empty() {
        return Ok(());
    }
    let marked = view::marked(&site.inventory.read(), site);
    for (reference, record, ownership) in marked {
        let Some((mark, event, claim)) = unattended(ownership, known) else { continue };
        let wish = wishes.iter().find(|(name, _)| *name == wish_note(mark.policy.as_str()));
        let Some(after) = wish.and_then(|(_, wish)| wish.get(event)).and_then(Value::as_u64) else { continue };
        if record.blocked_operations.contains_key("destroy") || !is_over(site, mark.snapshot.0, after).await? {
            continue;
        }
        remove(worker, site, &reference, &mark, claim).await?;
    }
    Ok(())
}

/// Whether nobody looks after a snapshot, and for which reason.
fn unattended(ownership: Ownership, known: &BTreeSet<String>) -> Option<(Mark, &'static str, Claim)> {
    match ownership {
        Ownership::Detached(mark, Detachment::VmGone) => Some((mark, "vm_deleted", Claim::VmGone)),
        Ownership::Ours(mark) if !known.contains(mark.policy.as_str()) => Some((mark, "policy_removed", Claim::Ours)),
        _ => None,
    }
}

/// True once a snapshot has been unattended for so many seconds; the first look only notices.
async fn is_over(site: &Site, snapshot: Uuid, after: u64) -> Result<bool> {
    let note = since_note(site.uuid.0, snapshot);
    let since = site.store.kept(&note).await?;
    let since = since.as_ref().and_then(Value::as_str).and_then(|since| since.parse::<DateTime<Utc>>().ok());
    let Some(since) = since else {
        site.store.keep(&note, &json!(site.now().to_rfc3339()), site.now()).await?;
        return Ok(false);
    };
    Ok(site.now() - since >= TimeDelta::seconds(i64::try_from(after).unwrap_or(i64::MAX / 1000)))
}

async fn remove(worker: &mut Worker, site: &Site, reference: &Ref<Vm>, mark: &Mark, claim: Claim) -> Result<()> {
    let Some(new) = holdings::as_new(site, reference, mark) else { return Ok(()) };
    let mut parts = vec![(Role::Snapshot, mark.snapshot.0)];
    parts.extend(new.disks.iter().map(|disk| (Role::Disk, disk.vdi)));
    parts.extend(new.suspend_image.map(|image| (Role::Suspend, image)));
    let why = if claim == Claim::VmGone { "its VM was deleted" } else { "its policy is in no file any more" };
    let reason = format!("{why}, and the policy said when its snapshots go then");
    let plan = NewRemoval { pool: site.uuid.0, snapshot: mark.snapshot.0, run: None, reason: reason.clone(), parts };
    let removal = match site.store.plan_removal(plan, site.now()).await {
        Ok(removal) => removal,
        // Pinned, or detached as the history sees it: a person decides.
        Err(crate::store::Error::Pinned { .. } | crate::store::Error::Illegal { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let queue = prune::queue_of(&mark.policy);
    uninstall::carry_out_as(worker, site, &removal, &queue, claim).await?;
    site.store.drop_note(&since_note(site.uuid.0, mark.snapshot.0)).await?;
    let event = site.event(EventKind::UnattendedRemoved, format!("the snapshot {}: {reason}", mark.snapshot));
    let (policy, vm, snapshot) = (Some(mark.policy.to_string()), Some(mark.vm.0), Some(mark.snapshot.0));
    site.note(NewEvent { policy, vm, snapshot, ..event }).await?;
    Ok(())
}
