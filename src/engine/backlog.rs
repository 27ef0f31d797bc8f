//! How much waits to be coalesced on each storage repository, and removals that wait for it. The rule: what is removed faster than the
//! storage coalesces frees nothing, keeps chains as long as they were, and makes a collector that works in one go work longer; so from
//! a number of layers on removals on that repository wait, and somebody is told. A removal that has begun is carried on.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::error::Result;
use super::site::Site;
use crate::domain::id::SrUuid;
use crate::store::{Cause, EventKind, PartState, Removal, RemovalState, Role};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Sr, Vdi};
use crate::xenapi::types::{Ref, Uuid as ServerUuid};

/// What was counted is believed for so long, and what was removed since counted with it: counting reads all disks of the pool.
const FRESH: Duration = Duration::from_secs(20);

/// How long a removal waits before it is looked again.
const PAUSE: Duration = Duration::from_secs(300);

/// What waits on the repositories of one pool.
#[derive(Debug, Default)]
pub struct Backlog(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    at: Option<Duration>,
    waiting: HashMap<SrUuid, u32>,
    /// Where it was said that removals wait.
    said: HashSet<SrUuid>,
}

/// A repository on which removals wait.
#[derive(Debug, PartialEq, Eq)]
struct Full {
    name: String,
    waiting: u32,
    /// Nobody has said so yet.
    is_news: bool,
}

impl Backlog {
    /// The first of these repositories on which at least `most` layers wait.
    fn full(&self, tables: &Tables, now: Duration, srs: &[&Sr], most: u32) -> Option<Full> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.is_none_or(|at| now.saturating_sub(at) >= FRESH) {
            (seen.at, seen.waiting) = (Some(now), waiting(tables));
            let Seen { waiting, said, .. } = &mut *seen;
            said.retain(|sr| waiting.get(sr).is_some_and(|waiting| *waiting >= most));
        }
        let count = |sr: &&&Sr| seen.waiting.get(&SrUuid(sr.uuid.get())).copied().unwrap_or_default();
        let (sr, waiting) = srs.iter().map(|sr| (sr, count(&sr))).find(|(_, waiting)| *waiting >= most)?;
        let is_news = seen.said.insert(SrUuid(sr.uuid.get()));
        Some(Full { name: sr.name_label.to_string(), waiting, is_news })
    }

    /// Something is removed on these.
    fn removes(&self, srs: &[&Sr]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sr in srs {
            *seen.waiting.entry(SrUuid(sr.uuid.get())).or_default() += 1;
        }
    }
}

/// Hidden layers on which at most one other stands: the storage merges them, or drops them, by itself.
fn waiting(tables: &Tables) -> HashMap<SrUuid, u32> {
    let mut standing: HashMap<Uuid, u32> = HashMap::new();
    for parent in tables.all::<Vdi>().filter_map(|(_, vdi)| vdi.sm_config.vhd_parent) {
        *standing.entry(parent.get()).or_default() += 1;
    }
    let hidden = tables.all::<Vdi>().map(|(_, vdi)| vdi).filter(|vdi| !vdi.managed);
    let mut by_sr: HashMap<&Ref<Sr>, u32> = HashMap::new();
    for vdi in hidden.filter(|vdi| standing.get(&vdi.uuid.get()).is_none_or(|standing| *standing <= 1)) {
        *by_sr.entry(&vdi.sr).or_default() += 1;
    }
    by_sr.into_iter().filter_map(|(sr, number)| Some((SrUuid(tables.get::<Sr>(sr)?.uuid.get()), number))).collect()
}

/// Why a removal that has not begun waits, if it does; it is written down then, and who has to know is told. Where the collector is
/// switched off nothing is waited for.
///
/// # Errors
/// When the history cannot be written.
pub(super) async fn delays(site: &Site, removal: &Removal) -> Result<Option<Cause>> {
    let Some(most) = site.pace.uncoalesced else { return Ok(None) };
    if !has_not_begun(removal) {
        return Ok(None);
    }
    let full = {
        let tables = site.inventory.read();
        let disks = removal.parts.iter().filter(|part| part.role == Role::Disk);
        let disks = disks.filter_map(|part| tables.by_uuid::<Vdi>(&ServerUuid::new(part.uuid)));
        let srs = disks.filter_map(|(_, vdi)| tables.get::<Sr>(&vdi.sr)).map(|sr| &**sr);
        let srs: Vec<&Sr> = srs.filter(|sr| !sr.garbage_collection_is_off()).collect();
        let full = site.backlog.full(&tables, site.clock.elapsed(), &srs, most.get());
        if full.is_none() {
            site.backlog.removes(&srs);
        }
        full
    };
    let Some(Full { name, waiting, is_news }) = full else { return Ok(None) };
    let text =
        format!("{waiting} layers wait to be coalesced on SR {name}; removals there wait until they are fewer than {most}");
    if is_news {
        site.note(site.event(EventKind::RemovalsWait, text.clone())).await?;
    }
    let cause = Cause::new("uncoalesced", text);
    site.store.postpone_removal(removal.id, site.now() + PAUSE, cause.clone()).await?;
    Ok(Some(cause))
}

fn has_not_begun(removal: &Removal) -> bool {
    matches!(removal.state, RemovalState::Planned | RemovalState::Waiting)
        && removal.parts.iter().all(|part| part.state == PartState::There)
}
