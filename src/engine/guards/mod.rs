//! What is looked at before a job begins, by what the inventory shows: whether its snapshot would fill a storage repository, and whether
//! a disk's chain has become too long for another one; and before something is removed: whether the time can be relied upon, and whether
//! so much should go. The rule: nothing is tried to see what comes of it, and every no names its figures and what to do.
//!
//! The inventory's figures of a repository are those of its last scan or of the last operation on it. The server scans by itself
//! only some repositories, so the figures of thin storage may be hours old: the reserve is there for that too.
//!
//! | file | idea |
//! | --- | --- |
//! | `needs` | what a snapshot may need on which repository |
//! | `promises` | what snapshots under way may still need |
//! | `clocks` | what the server's clock and ours say |
//! | `allowances` | how many removals are left to a run |

pub mod allowances;
pub mod clocks;
mod needs;
mod promises;

use uuid::Uuid;

use super::chains;
use super::kind::{Choice, VmCondition, choose, condition_of};
use super::site::Site;
use super::view;
use crate::domain::guard::chain::{Chained, Hanging, TooLong, chained};
use crate::domain::guard::space::{Shortage, shortage};
use crate::domain::guard::{Guards, OnLowSpace};
use crate::domain::policy::Policy;
use crate::domain::snapshot::Kind;
use crate::store::Cause;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Sr, Vdi, Vm};
use crate::xenapi::types::Ref;

pub use allowances::Allowances;
pub use clocks::Clocks;
pub use promises::{Holder, Promises};

/// A snapshot that is about to be begun.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The pool.
    pub tables: &'a Tables,
    /// The VM.
    pub vm: &'a Ref<Vm>,
    /// Its condition, without the disks that are left out.
    pub condition: &'a VmCondition<'a>,
    /// Those disks.
    pub left_out: &'a [Ref<Vdi>],
    /// The kind that was chosen.
    pub kind: Kind,
}

/// Looks whether there is space, and keeps it for the holder if so. A second look of the same holder replaces the first.
pub fn space(promises: &Promises, holder: Holder, planned: &Planned<'_>, guards: &Guards) -> Result<(), Shortage> {
    let needs = needs::of(planned);
    promises.claim(holder, planned.tables, needs, guards.on_low_space == OnLowSpace::GoAhead, |demand| {
        shortage(guards.space_reserve, demand)
    })
}

/// What is done about the chains of the disks that would be snapshotted.
pub fn chains(site: &Site, planned: &Planned<'_>, guards: &Guards) -> Chained {
    let tables = planned.tables;
    let mut disks = tables.disks_of(planned.vm);
    disks.retain(|disk| !planned.left_out.contains(&disk.vdi_ref));
    let uuids: Vec<Uuid> = disks.iter().map(|disk| disk.vdi.uuid.get()).collect();
    let found =
        chains::of_disks(tables, (Some(&site.installation), site.uuid), &uuids, guards.chain_warn.min(guards.chain_refuse));
    let hanging = disks.iter().zip(found).map(|(disk, chain)| {
        let sr = tables.get::<Sr>(&disk.vdi.sr);
        Hanging {
            disk: &disk.vdi.name_label,
            position: &disk.vbd.userdevice,
            sr: sr.map_or("", |sr| &*sr.name_label),
            coalesces: sr.is_none_or(|sr| !sr.garbage_collection_is_off()),
            chain,
        }
    });
    chained(guards, hanging)
}

/// A chain that is too long as the cause of a job's end or delay, or as what is to be said of it.
pub fn long_chain(found: &TooLong) -> Cause {
    Cause::new("long-chain", format!("{found}; {}", found.remedy()))
}

/// A shortage as the cause of a job's end or delay.
pub fn low_space(shortage: &Shortage) -> Cause {
    Cause::new(
        "low-space",
        format!("{shortage}; free space on it, keep fewer snapshots, or lower space_reserve in [policy.guards]"),
    )
}

/// What would become of a snapshot of a VM now, as far as something is in its way or to be said of it. What is told of several VMs
/// counts together when `promises` is the same.
pub fn outlook(site: &Site, policy: &Policy, vm: Uuid, promises: &Promises) -> Vec<String> {
    let tables = site.inventory.read();
    let Some(vm_ref) = view::vm_of(&tables, vm) else { return Vec::new() };
    let Some(condition) = condition_of(&tables, &vm_ref) else { return Vec::new() };
    let left_out = view::left_out(&tables, &vm_ref, &policy.snapshot.exclude_disks);
    let condition = condition.without(&left_out);
    let (kind, note) = match choose(&policy.snapshot.kind, &condition) {
        Choice::Take { kind, note } => (kind, note),
        Choice::Cannot { text, for_now: true, .. } => return vec![format!("would wait: {text}")],
        Choice::Cannot { text, for_now: false, .. } => return vec![format!("would fail: {text}")],
    };
    let planned = Planned { tables: &tables, vm: &vm_ref, condition: &condition, left_out: &left_out, kind };
    let mut lines: Vec<String> = note.into_iter().map(|note| format!("would take {note}")).collect();
    match chains(site, &planned, &policy.guards) {
        Chained::Fine => {}
        Chained::Long(found) => lines.push(format!("would be taken, but {found}")),
        Chained::Wait(found) => lines.push(format!("would wait for the storage: {found}")),
        Chained::Refuse(found) => lines.push(format!("would fail: {found}; {}", found.remedy())),
    }
    let done = match policy.guards.on_low_space {
        OnLowSpace::Skip => "would fail",
        OnLowSpace::PruneFirst => "would remove first, and wait for the space",
        OnLowSpace::GoAhead => "would be taken all the same",
    };
    let short = space(promises, Holder { run: 0, vm }, &planned, &policy.guards).err();
    lines.extend(short.map(|shortage| format!("{done}: {shortage}")));
    lines
}
