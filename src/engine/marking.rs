//! Writing the mark. It is written after the snapshot exists, on the snapshot itself, and whatever was inherited under our key is
//! replaced. A lost answer is no doubt for long: the record is read again.

use std::sync::Arc;

use super::error::{Effect, Setback};
use super::site::Site;
use super::worker::Worker;
use crate::domain::mark::{KEY, Mark};
use crate::xenapi::calls;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::Vm;
use crate::xenapi::types::Ref;

/// Puts the mark on a snapshot, in place of whatever stands under our key. `seen` is the snapshot as the inventory shows it, so that
/// the usual case, in which nothing was inherited, costs one call. Idempotent.
///
/// # Errors
/// When the pool refuses or cannot be asked; the mark may be there all the same.
pub async fn put(worker: &mut Worker, site: &Site, snapshot: &Ref<Vm>, seen: &Arc<Vm>, mark: &Mark) -> Result<(), Setback> {
    let value = mark.encode();
    write(worker, site, snapshot, seen, &value).await?;
    // Whoever looks into the inventory next must not see the time before.
    let shows = |tables: &Tables| tables.get(snapshot).filter(|vm| vm.other_config.get(KEY) == Some(&value)).map(|_| ());
    if site.seen(worker, site.pace.showing, shows).await.is_none() {
        tracing::warn!(pool = %site.name(), snapshot = %mark.snapshot, "the pool took the mark but does not show it");
    }
    Ok(())
}

async fn write(worker: &mut Worker, site: &Site, snapshot: &Ref<Vm>, seen: &Arc<Vm>, value: &str) -> Result<(), Setback> {
    let mut there = seen.other_config.get(KEY).map(str::to_owned);
    for _ in 0..3 {
        if there.as_deref() == Some(value) {
            return Ok(());
        }
        if there.is_some() {
            worker.call(&site.pool, calls::vm::remove_from_other_config(snapshot, KEY)).await?;
        }
        match worker.call(&site.pool, calls::vm::add_to_other_config(snapshot, KEY, value)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is("MAP_DUPLICATE_KEY") => {}
            Err(error) => {
                let setback = Setback::from(error);
                if setback.effect != Effect::Unknown {
                    return Err(setback);
                }
            }
        }
        let now = worker.call(&site.pool, calls::record(snapshot)).await?;
        there = now.other_config.get(KEY).map(str::to_owned);
    }
    Err(Setback {
        kind: crate::xenapi::failure::Kind::Busy,
        cause: crate::store::Cause::new(
            "mark-contested",
            "something else writes under our key in the snapshot's other_config; stop it",
        ),
        effect: Effect::Refused,
    })
}
