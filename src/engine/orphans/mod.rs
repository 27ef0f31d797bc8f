//! The reconciler without input: it looks through pool and history for what is left although nobody works on it, puts right what is ours
//! beyond doubt, and keeps a list of the rest for people. What it may do is decided by `domain::orphans`; here the evidence is gathered
//! and the repair is carried out, rows first and by the same code as always: marks by `marking`, removals by `uninstall`.
//!
//! Nothing is touched that a run or a job still has in its hands, and nothing at all while history and pool may differ.

mod disks;
mod snapshots;
mod tasks;
mod vms;

pub use vms::is_in_work;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::error::Result;
use super::site::Site;
use super::worker::Worker;
use crate::domain::orphans::{Orphan, What, Why};
use crate::store::{EventKind, NewEvent, Snapshot};

/// Rows of snapshots that were removed longer ago are not looked at: no server forgets so much.
const REMEMBERED: TimeDelta = TimeDelta::days(8);

/// Why something of ours is still there after it was to be put right.
const AGAIN: &str = "it is tried again at the next look around";

/// What the history says of snapshots, by their uuids.
struct Rows {
    all: HashMap<Uuid, Snapshot>,
}

impl Rows {
    async fn read(site: &Site) -> Result<Self> {
        let pool = site.uuid.0;
        let mut all: HashMap<Uuid, Snapshot> = HashMap::new();
        let gone = site.store.gone_snapshots(pool, site.now() - REMEMBERED).await?;
        all.extend(gone.into_iter().map(|row| (row.uuid, row)));
        all.extend(site.store.present_snapshots(pool).await?.into_iter().map(|row| (row.uuid, row)));
        Ok(Self { all })
    }
}

/// Puts right what is ours beyond doubt, and keeps what is left for [`Site::left`]. Idempotent.
///
/// # Errors
/// When the history cannot be kept.
pub async fn tidy(worker: &mut Worker, site: &Site) -> Result<()> {
    if !site.is_trusted() {
        return Ok(());
    }
    let rows = Rows::read(site).await?;
    snapshots::mend(worker, site, &rows).await?;
    snapshots::mend_guards(worker, site, &rows).await?;
    vms::wake_all(worker, site).await?;
    let tasks = tasks::settle(worker, site).await?;
    if site.is_trusted() {
        disks::remove(worker, site, &rows).await?;
    }
    site.left.send_replace(look_without(site, tasks).await?);
    Ok(())
}

/// What is left and is not put right now. Changes nothing.
///
/// # Errors
/// When the history cannot be read.
pub async fn look(worker: &mut Worker, site: &Site) -> Result<Vec<Orphan>> {
    let tasks = tasks::look(worker, site).await?;
    look_without(site, tasks).await
}

/// The same, once it is known which tasks are left.
async fn look_without(site: &Site, tasks: Vec<Orphan>) -> Result<Vec<Orphan>> {
    let rows = Rows::read(site).await?;
    let mut left = vms::look(site).await?;
    left.extend(snapshots::look(site, &rows).await?);
    left.extend(disks::look(site, &rows).await?);
    left.extend(tasks);
    left.sort_by(|one, other| (one.what, &one.name, one.uuid).cmp(&(other.what, &other.name, other.uuid)));
    Ok(left)
}

/// An orphan of which no more is known than that.
fn orphan(what: What, uuid: Uuid, name: &str, why: Why) -> Orphan {
    Orphan { what, uuid, name: name.to_owned(), vm: None, policy: None, storage: None, since: None, goes_at: None, why }
}

/// One that belonged to a snapshot of the history.
fn of_row(what: What, uuid: Uuid, name: &str, row: &Snapshot, why: Why) -> Orphan {
    let since: Option<DateTime<Utc>> = row.vanished_at.or(row.removed_at);
    let (vm, policy) = (Some((row.vm_uuid, row.vm_name.clone())), Some(row.policy.clone()));
    Orphan { vm, policy, since, ..orphan(what, uuid, name, why) }
}

/// Writes down that something was put right.
async fn reclaimed(site: &Site, what: What, uuid: Uuid, about: (Option<String>, Option<Uuid>), text: String) -> Result<()> {
    let data = json!({ "what": what.as_str(), "uuids": [uuid] });
    let (policy, vm) = about;
    let snapshot = (what == What::Snapshot).then_some(uuid);
    Ok(site.note(NewEvent { policy, vm, snapshot, data, ..site.event(EventKind::Reclaimed, text) }).await?)
}
