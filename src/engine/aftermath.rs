//! Snapshots that no run looks after any more, because their VM was deleted or their policy is in no file. They stay, unless the
//! policy's file said otherwise; then they go when that time has passed since it was noticed, and not while anybody doubts anything.
//! When a policy or a VM is back nothing has been noticed: the time counts from the beginning if it goes again.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::Result;
use super::guards::clocks;
use super::holdings;
use super::prune;
use super::site::Site;
use super::uninstall::{self, Claim, Removed};
use super::view;
use super::worker::Worker;
use crate::domain::mark::{Detachment, Mark, Ownership};
use crate::domain::policy::{Afterwards, Policy};
use crate::store::{EventKind, NewEvent, NewRemoval, Role, SnapshotState, Store};
use crate::xenapi::records::Vm;
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// The note that keeps what a policy's file said, for when it is gone.
fn wish_note(policy: &str) -> String {
    format!("afterwards/{policy}")
}

/// What the notes of a pool begin with that say since when nobody looks after a snapshot.
fn since_notes(pool: Uuid) -> String {
    format!("unattended/{pool}/")
}

/// The note of when something was noticed that leaves nobody to look after a snapshot.
fn since_note(pool: Uuid, snapshot: Uuid, reason: Reason) -> String {
    format!("{}{snapshot}/{}", since_notes(pool), reason.as_str())
}

/// Why nobody looks after a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    VmDeleted,
    PolicyRemoved,
}

impl Reason {
    /// As notes call it.
    fn as_str(self) -> &'static str {
        match self {
            Reason::VmDeleted => "vm_deleted",
            Reason::PolicyRemoved => "policy_removed",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Reason::VmDeleted => "its VM was deleted",
            Reason::PolicyRemoved => "its policy is in no file any more",
        }
    }
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
    let wishes = Wishes::read(site).await?;
    let noticed = site.store.kept_under(&since_notes(site.uuid.0)).await?;
    if wishes.0.is_empty() && noticed.is_empty() {
        return Ok(());
    }
    // A time that was noticed by a wrong clock would be over when the clock is set right.
    if clocks::doubt_at_rest(worker, site).await?.is_some() {
        return Ok(());
    }
    let mut lasting = BTreeSet::new();
    let marked = view::marked(&site.inventory.read(), site);
    for (reference, record, ownership) in marked {
        let Some((mark, reasons, claim)) = unattended(ownership, known) else { continue };
        let mut over = None;
        for reason in reasons {
            let Some(after) = wishes.of(&mark, reason) else { continue };
            let note = since_note(site.uuid.0, mark.snapshot.0, reason);
            over = over.or(is_over(site, &noticed, &note, after).await?.then_some(reason));
            lasting.insert(note);
        }
        // What is pinned stays, however long nobody has looked after it.
        if let Some(reason) = over.filter(|_| !record.blocked_operations.contains_key("destroy") && site.is_trusted()) {
            remove(worker, site, &reference, &mark, reason, claim).await?;
        }
    }
    for (note, _) in noticed.iter().filter(|(note, _)| !lasting.contains(note)) {
        site.store.drop_note(note).await?;
    }
    Ok(())
}

/// What makes a snapshot ours whose removal waits: its VM may be gone by then, and its policy have said that it goes too.
///
/// # Errors
/// When the history cannot be read.
pub async fn claim_on(site: &Site, snapshot: Uuid) -> Result<Claim> {
    let ownership = {
        let tables = site.inventory.read();
        let known = tables.by_uuid::<Vm>(&ServerUuid::new(snapshot));
        known.and_then(|(_, vm)| view::ownership(&tables, site, vm))
    };
    let Some(Ownership::Detached(mark, Detachment::VmGone)) = ownership else { return Ok(Claim::Ours) };
    let Some(after) = Wishes::read(site).await?.of(&mark, Reason::VmDeleted) else { return Ok(Claim::Ours) };
    let noticed = site.store.kept_under(&since_notes(site.uuid.0)).await?;
    let over = is_over(site, &noticed, &since_note(site.uuid.0, snapshot, Reason::VmDeleted), after).await?;
    Ok(if over { Claim::VmGone } else { Claim::Ours })
}

/// What policies said, by the names of their notes.
struct Wishes(Vec<(String, Value)>);

impl Wishes {
    async fn read(site: &Site) -> Result<Self> {
        Ok(Self(site.store.kept_under("afterwards/").await?))
    }

    /// After how many seconds a snapshot goes; never, unless something is said.
    fn of(&self, mark: &Mark, reason: Reason) -> Option<u64> {
        let (_, wish) = self.0.iter().find(|(name, _)| *name == wish_note(mark.policy.as_str()))?;
        wish.get(reason.as_str()).and_then(Value::as_u64)
    }
}

/// Whether nobody looks after a snapshot, and for which reasons.
fn unattended(ownership: Ownership, known: &BTreeSet<String>) -> Option<(Mark, Vec<Reason>, Claim)> {
    let removed = |mark: &Mark| (!known.contains(mark.policy.as_str())).then_some(Reason::PolicyRemoved);
    let (mark, deleted, claim) = match ownership {
        Ownership::Detached(mark, Detachment::VmGone) => (mark, Some(Reason::VmDeleted), Claim::VmGone),
        Ownership::Ours(mark) => (mark, None, Claim::Ours),
        _ => return None,
    };
    let reasons: Vec<Reason> = deleted.into_iter().chain(removed(&mark)).collect();
    (!reasons.is_empty()).then_some((mark, reasons, claim))
}

/// True once a snapshot has been unattended for so many seconds; the first look only notices.
async fn is_over(site: &Site, noticed: &[(String, Value)], note: &str, after: u64) -> Result<bool> {
    let since = noticed.iter().find(|(name, _)| name == note).and_then(|(_, since)| since.as_str());
    let since = since.and_then(|since| since.parse::<DateTime<Utc>>().ok());
    let Some(since) = since else {
        site.store.keep(note, &json!(site.now().to_rfc3339()), site.now()).await?;
        return Ok(false);
    };
    Ok(site.now() - since >= TimeDelta::seconds(i64::try_from(after).unwrap_or(i64::MAX / 1000)))
}

async fn remove(worker: &mut Worker, site: &Site, reference: &Ref<Vm>, mark: &Mark, reason: Reason, claim: Claim) -> Result<()> {
    let Some(new) = holdings::as_new(site, reference, mark) else { return Ok(()) };
    let mut parts = vec![(Role::Snapshot, mark.snapshot.0)];
    parts.extend(new.disks.iter().map(|disk| (Role::Disk, disk.vdi)));
    parts.extend(new.suspend_image.map(|image| (Role::Suspend, image)));
    let reason = format!("{}, and the policy said when its snapshots go then", reason.text());
    if claim == Claim::VmGone {
        take_back(site, mark.snapshot.0).await?;
    }
    let plan = NewRemoval { pool: site.uuid.0, snapshot: mark.snapshot.0, run: None, reason: reason.clone(), parts };
    let removal = match site.store.plan_removal(plan, site.now()).await {
        Ok(removal) => removal,
        // Pinned, or detached as the history sees it: a person decides.
        Err(crate::store::Error::Pinned { .. } | crate::store::Error::Illegal { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // One that the server refused for the moment waits for its time.
    if removal.next_try > site.now() {
        return Ok(());
    }
    let queue = prune::queue_of(&mark.policy);
    if uninstall::carry_out_as(worker, site, &removal, &queue, claim).await? == Removed::Done {
        let event = site.event(EventKind::UnattendedRemoved, format!("the snapshot {}: {reason}", mark.snapshot));
        let (policy, vm, snapshot) = (Some(mark.policy.to_string()), Some(mark.vm.0), Some(mark.snapshot.0));
        site.note(NewEvent { policy, vm, snapshot, ..event }).await?;
    }
    Ok(())
}

/// The history calls a snapshot detached once its VM is gone, and nothing detached is planned to be removed. This is the one case in
/// which somebody said what becomes of it.
async fn take_back(site: &Site, snapshot: Uuid) -> Result<()> {
    let rows = site.store.snapshots_by_uuid(snapshot).await?;
    let detached = rows.iter().find(|row| row.pool == site.uuid.0 && row.state == SnapshotState::Detached);
    if let Some(row) = detached.filter(|row| row.pinned_until.is_none_or(|until| until <= site.now())) {
        site.store.snapshot_seen(row.id, SnapshotState::Marked, site.now()).await?;
    }
    Ok(())
}
