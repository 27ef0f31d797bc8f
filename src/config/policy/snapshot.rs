//! `[policy.snapshot]`. All of it has defaults: snapshots of the disks, named by policy and due time.

use super::super::fields::{Fields, Written};
use super::super::findings::Findings;
use super::super::source::Place;
use super::{Extent, select};
use crate::domain::naming::Template;
use crate::domain::policy::{Fallback, SnapshotSettings, WantedKind};
use crate::domain::selection::DiskClause;
use crate::domain::snapshot::Kind;
use crate::domain::span::Exact;

/// How a snapshot is named unless the policy says otherwise.
pub(super) const NAME: &str = "{policy} {due:%Y-%m-%d %H:%M}";
/// How it is described.
pub(super) const DESCRIPTION: &str =
    "{kind} snapshot of {vm} by xensnap, policy {policy_id}, due {due:%Y-%m-%d %H:%M} {zone}, run {run}";
/// How long a guest may take to shut down.
const SHUTDOWN: Exact = Exact::seconds(300);

pub(super) fn snapshot(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<SnapshotSettings> {
    let Some(mut fields) = fields.table("snapshot", findings) else { return settings(WantedKind::Disk, Vec::new(), None, None) };
    let kind = kind(&mut fields, extent, findings);
    let exclude_disks = exclude_disks(&mut fields, findings);
    let name = fields.parsed::<Template>("name", findings);
    let description = fields.parsed::<Template>("description", findings);
    fields.finish(findings);
    settings(kind, exclude_disks, name.map(|name| name.value), description.map(|description| description.value))
}

fn settings(
    kind: WantedKind,
    exclude_disks: Vec<DiskClause>,
    name: Option<Template>,
    description: Option<Template>,
) -> Option<SnapshotSettings> {
    let name = name.or_else(|| NAME.parse().ok())?;
    let description = description.or_else(|| DESCRIPTION.parse().ok())?;
    Some(SnapshotSettings { kind, exclude_disks, name, description })
}

const KINDS: [(&str, Kind); 4] =
    [("disk", Kind::Disk), ("quiesced", Kind::Quiesced), ("memory", Kind::Memory), ("offline", Kind::Offline)];
const FALLBACKS: [(&str, Fallback); 2] = [("fail", Fallback::Fail), ("disk", Fallback::Disk)];

fn kind(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> WantedKind {
    let kind = fields.choice("kind", &KINDS, findings);
    let known = kind.is_some() || fields.key("kind").is_none() && extent == Extent::Whole;
    let fallback = fields.choice("fallback", &FALLBACKS, findings);
    let timeout = fields.parsed::<Exact>("shutdown_timeout", findings);
    if let Some(timeout) = timeout.filter(|timeout| timeout.value == Exact::default()) {
        findings.error(timeout.place, "nothing shuts down in no time", "write for example shutdown_timeout = \"5m\"");
    }
    let asked = kind.map_or(Kind::Disk, |kind| kind.value);
    if known {
        let place = kind.map(|kind| (kind.place, kind.depth));
        if !matches!(asked, Kind::Quiesced | Kind::Memory) {
            idle(
                fallback.as_ref(),
                place,
                "fallback",
                "it belongs to the kinds quiesced and memory; remove it, or choose one of them",
                findings,
            );
        }
        if asked != Kind::Offline {
            idle(
                timeout.as_ref(),
                place,
                "shutdown_timeout",
                "it belongs to the kind offline; remove it, or write kind = \"offline\"",
                findings,
            );
        }
    }
    let fallback = fallback.map(|fallback| fallback.value).unwrap_or_default();
    match asked {
        Kind::Quiesced => WantedKind::Quiesced(fallback),
        Kind::Memory => WantedKind::Memory(fallback),
        Kind::Offline => WantedKind::Offline { shutdown_timeout: timeout.map_or(SHUTDOWN, |timeout| timeout.value) },
        Kind::Disk => WantedKind::Disk,
    }
}

/// A key that has no effect beside the kind, unless the kind was chosen nearer to the policy than the key.
fn idle<T>(key: Option<&Written<T>>, kind: Option<(Place, u8)>, word: &str, help: &str, findings: &mut Findings) {
    let Some(key) = key else { return };
    let message = format!("`{word}` has no effect");
    match kind {
        Some((_, depth)) if key.depth > depth => {}
        Some((place, _)) => findings.conflict(key.place, (place, "beside this kind"), message, help),
        None => findings.error(key.place, message, help),
    }
}

fn exclude_disks(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<DiskClause> {
    let tables = fields.tables("exclude_disks", findings).map(|tables| tables.value).unwrap_or_default();
    tables.into_iter().map(|table| select::disk_clause(table, findings)).collect()
}
