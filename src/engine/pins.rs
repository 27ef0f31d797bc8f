//! Pins: a snapshot stays until its date, whatever retention says. The history has the date and the reason; the server itself guards
//! the snapshot, so that no other tool and no click removes it, and so that a pin outlives a lost history.

use chrono::{DateTime, SecondsFormat, Utc};

use super::error::{Result, Setback};
use super::guards::clocks;
use super::site::Site;
use super::view;
use super::worker::Worker;
use crate::store::{EventKind, Snapshot};
use crate::xenapi::calls;
use crate::xenapi::failure::Kind;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Vm, VmOperation};
use crate::xenapi::types::Ref;

/// What begins every reason that we block with: what people or other tools blocked is left alone.
pub const OURS: &str = "pinned with xensnap";

/// Guards a snapshot at the server and writes the pin down. A later pin replaces an earlier one.
///
/// # Errors
/// The inner error when the pool refuses: then nothing is pinned. [`super::error::HistoryError`] when the history cannot be written.
pub async fn pin(
    worker: &mut Worker,
    site: &Site,
    row: &Snapshot,
    until: DateTime<Utc>,
    reason: &str,
) -> Result<std::result::Result<(), Setback>> {
    let Some(reference) = view::vm_of(&site.inventory.read(), row.uuid) else { return Ok(Err(gone())) };
    if let Err(setback) = guard(worker, site, &reference, &text(until, reason)).await {
        return Ok(Err(setback));
    }
    site.store.pin(row.id, until, reason).await?;
    Ok(Ok(()))
}

/// Takes the guard off and lets retention decide again. Idempotent.
///
/// # Errors
/// As [`pin`].
pub async fn unpin(worker: &mut Worker, site: &Site, row: &Snapshot) -> Result<std::result::Result<(), Setback>> {
    let reference = view::vm_of(&site.inventory.read(), row.uuid);
    if let Some(reference) = reference
        && let Err(setback) = unguard(worker, site, &reference).await
    {
        return Ok(Err(setback));
    }
    site.store.unpin(row.id).await?;
    Ok(Ok(()))
}

/// Takes the guard off every snapshot of this pool whose date has passed; of none while the clock is in doubt.
///
/// # Errors
/// When the history cannot be kept.
pub async fn let_go(worker: &mut Worker, site: &Site) -> Result<()> {
    let over: Vec<_> = site.store.pins_over(site.now()).await?.into_iter().filter(|row| row.pool == site.uuid.0).collect();
    if over.is_empty() || clocks::doubt(worker, site).await?.is_some() {
        return Ok(());
    }
    for row in over {
        match unpin(worker, site, &row).await? {
            Ok(()) => {
                let text =
                    format!("the pin of the snapshot {} of {} is over; retention decides about it again", row.uuid, row.vm_name);
                site.note(site.event_of(&row, EventKind::PinOver, text)).await?;
            }
            Err(setback) => {
                tracing::info!(pool = %site.name(), snapshot = %row.uuid, error = %setback.cause.text, "a pin that is over could not be taken off");
            }
        }
    }
    Ok(())
}

fn text(until: DateTime<Utc>, reason: &str) -> String {
    let day = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    if reason.is_empty() { format!("{OURS} until {day}") } else { format!("{OURS} until {day}: {reason}") }
}

async fn guard(worker: &mut Worker, site: &Site, snapshot: &Ref<Vm>, text: &str) -> std::result::Result<(), Setback> {
    let blocked = worker.call(&site.pool, calls::record(snapshot)).await?.blocked(&VmOperation::Destroy).map(str::to_owned);
    match blocked {
        Some(already) if already == text => return Ok(()),
        // Somebody else guards it already; our date is in the history.
        Some(other) if !other.starts_with(OURS) => return Ok(()),
        Some(_) => {
            worker
                .call(&site.pool, calls::vm::remove_from_blocked_operations(snapshot, &VmOperation::Destroy))
                .await
                .map(drop)?;
        }
        None => {}
    }
    worker.call(&site.pool, calls::vm::add_to_blocked_operations(snapshot, &VmOperation::Destroy, text)).await?;
    Ok(())
}

async fn unguard(worker: &mut Worker, site: &Site, snapshot: &Ref<Vm>) -> std::result::Result<(), Setback> {
    let record = match worker.call(&site.pool, calls::record(snapshot)).await {
        Ok(record) => record,
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if record.blocked(&VmOperation::Destroy).is_some_and(|reason| reason.starts_with(OURS)) {
        worker.call(&site.pool, calls::vm::remove_from_blocked_operations(snapshot, &VmOperation::Destroy)).await?;
        // Whoever decides next asks the inventory.
        let off = |vm: &Vm| vm.blocked(&VmOperation::Destroy).is_none();
        let shown = |tables: &Tables| tables.get(snapshot).is_none_or(|vm| off(vm)).then_some(());
        site.seen(worker, site.pace.showing, shown).await;
    }
    Ok(())
}

/// The date and the reason of one of our pins, from what the server was told to say when somebody tries to remove the snapshot.
pub fn parse(guard: &str) -> Option<(DateTime<Utc>, &str)> {
    let rest = guard.strip_prefix(OURS)?.strip_prefix(" until ")?;
    let (day, reason) = rest.split_once(": ").unwrap_or((rest, ""));
    Some((day.parse().ok()?, reason))
}

fn gone() -> Setback {
    let text = "the snapshot is not in the pool any more, so it cannot be pinned";
    Setback { kind: Kind::NotFound, cause: crate::store::Cause::new("vanished", text), effect: super::error::Effect::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_of_ours_tells_the_date_and_the_reason() {
        let day: DateTime<Utc> = "2026-03-06T00:00:00Z".parse().unwrap();
        assert_eq!(parse(&text(day, "before: the audit")), Some((day, "before: the audit")));
        assert_eq!(parse(&text(day, "")), Some((day, "")));
    }

    #[test]
    fn what_others_say_is_no_pin() {
        for guard in [
            "",
            "no",
            OURS,
            "pinned with xensnap until",
            "pinned with xensnap until ever: x",
            "pinned by hand until 2026-03-06T00:00:00Z",
        ] {
            assert_eq!(parse(guard), None, "{guard}");
        }
    }
}
