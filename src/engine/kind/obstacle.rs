//! What is in the way of a kind of snapshot: the server's own tests, in so far as they can be made from outside, in the order in which
//! a person would want to hear of them. The codes are the server's.

use super::condition::{DiskCondition, VmCondition};
use crate::domain::selection::Role;
use crate::domain::snapshot::Kind;
use crate::xenapi::records::{GuestFeature, HostOperation, PowerState, VmOperation};

/// Room for a memory image besides the memory itself: for each disk.
const PER_DISK: i64 = 4 << 20;

/// Operations that are over in a moment, and for which the server itself makes others wait.
const MOMENTARY: [VmOperation; 9] = [
    VmOperation::AssertOperationValid,
    VmOperation::UpdateAllowedOperations,
    VmOperation::GetBootRecord,
    VmOperation::DataSourceOp,
    VmOperation::CallPlugin,
    VmOperation::QueryServices,
    VmOperation::SendSysrq,
    VmOperation::SendTrigger,
    VmOperation::MetadataExport,
];

/// After these a host has no VMs any more.
const LEAVING: [HostOperation; 4] =
    [HostOperation::Evacuate, HostOperation::Shutdown, HostOperation::Reboot, HostOperation::ApplyUpdates];

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) for_now: bool,
}

impl Obstacle {
    /// With more to say.
    pub(super) fn with(mut self, more: &str) -> Self {
        self.text.push_str(more);
        self
    }
}

/// It stays so until somebody does something.
fn lasting(code: &'static str, text: impl Into<String>) -> Option<Obstacle> {
    Some(Obstacle { code, text: text.into(), for_now: false })
}

/// It may be over soon.
fn passing(code: &'static str, text: impl Into<String>) -> Option<Obstacle> {
    Some(Obstacle { code, text: text.into(), for_now: true })
}

/// What is in the way of a snapshot of this kind.
pub(super) fn to(kind: Kind, vm: &VmCondition<'_>) -> Option<Obstacle> {
    to_any(vm).or_else(|| match kind {
        Kind::Disk => to_disk(vm),
        Kind::Quiesced => to_quiesced(vm),
        Kind::Memory => to_memory(vm),
        Kind::Offline => to_disk(vm).or_else(|| to_shutdown(vm)),
    })
}

fn to_any(vm: &VmCondition<'_>) -> Option<Obstacle> {
    match vm.role {
        Role::Vm => {}
        Role::Template => return lasting("VM_IS_TEMPLATE", "a template cannot be snapshotted: exclude it"),
        Role::Snapshot => return lasting("VM_IS_SNAPSHOT", "a snapshot cannot be snapshotted: choose its VM"),
        Role::ControlDomain => {
            return lasting("OPERATION_NOT_ALLOWED", "a host's control domain cannot be snapshotted: exclude it");
        }
    }
    if vm.being_upgraded {
        return passing("NOT_SUPPORTED_DURING_UPGRADE", "the pool is being upgraded: snapshots wait until that is over");
    }
    if vm.usb_devices > 0 {
        return lasting(
            "VM_HAS_VUSBS",
            "the VM has USB devices passed through: detach them (xe vusb-destroy), or exclude the VM",
        );
    }
    busy(vm).or_else(|| elsewhere(vm)).or_else(|| to_disks(vm))
}

/// The server would take the snapshot, and whoever moves, starts or stops the VM next would find it locked.
fn elsewhere(vm: &VmCondition<'_>) -> Option<Obstacle> {
    if let Some(vapp) = vm.vapp_at_work {
        let text = format!("the vApp {vapp:?} is being started or stopped: it is tried again when that is over");
        return passing("OTHER_OPERATION_IN_PROGRESS", text);
    }
    let host = vm.host.as_ref()?;
    let named = host.operations.iter().filter(|operation| LEAVING.contains(operation)).map(HostOperation::as_str).next()?;
    let text = format!("the VM's host {:?} is on its way out ({named}): it is tried again when the VM is elsewhere", host.name);
    passing("OTHER_OPERATION_IN_PROGRESS", text)
}

fn busy(vm: &VmCondition<'_>) -> Option<Obstacle> {
    let in_the_way: Vec<_> = vm.operations.iter().filter(|operation| !MOMENTARY.contains(operation)).collect();
    if in_the_way.is_empty() {
        return None;
    }
    let named = in_the_way.iter().map(|operation| operation.as_str()).collect::<Vec<_>>().join(", ");
    passing("OTHER_OPERATION_IN_PROGRESS", format!("the VM is busy ({named}): it is tried again when that is over"))
}

fn to_disks(vm: &VmCondition<'_>) -> Option<Obstacle> {
    // The server looks at all of a VM's disks for this one, whatever is left out.
    if let Some(disk) = vm.disks.iter().find(|disk| disk.reset_on_boot) {
        let text = format!("{disk} is reset at each boot: set on-boot=persist on it (xe vdi-param-set)");
        return lasting("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", text);
    }
    if let Some(disk) = vm.disks.iter().find(|disk| !disk.plugged) {
        let text = format!("the SR {:?} is not attached to any host: plug it (xe pbd-plug)", disk.sr);
        return passing("NO_HOSTS_AVAILABLE", text);
    }
    if !vm.reachable {
        let text = "no running host reaches all storage of the VM: plug every SR of its disks on one host, and eject discs of unplugged ISO SRs";
        return passing("NO_HOSTS_AVAILABLE", text);
    }
    vm.disks.iter().filter(|disk| !disk.excluded).find_map(to_disk_itself)
}

fn to_disk_itself(disk: &DiskCondition<'_>) -> Option<Obstacle> {
    let exclude = "exclude the disk";
    if disk.missing {
        lasting("VDI_MISSING", format!("the storage did not find {disk}: run xe sr-scan and look at the SR, or {exclude}"))
    } else if disk.sharable {
        lasting("VDI_IS_SHARABLE", format!("{disk} is shared between VMs, which the server does not snapshot: {exclude}"))
    } else if !disk.driver_snapshots {
        let text = format!("the driver of the SR {:?} takes no snapshots: move {disk} to another SR, or {exclude}", disk.sr);
        lasting("SR_OPERATION_NOT_SUPPORTED", text)
    } else if disk.raw {
        lasting(
            "UNIMPLEMENTED_IN_SM_BACKEND",
            format!("{disk} is raw, which no driver can snapshot: {exclude}, or copy it (xe vdi-copy)"),
        )
    } else {
        None
    }
}

/// Whether somebody forbade an operation.
fn blocked(vm: &VmCondition<'_>, operation: &VmOperation) -> Option<Obstacle> {
    let reason = vm.blocked.get(operation.as_str())?;
    let text =
        format!("somebody blocked {operation} of this VM ({reason:?}): remove it from blocked_operations if it is not wanted");
    lasting("OPERATION_BLOCKED", text)
}

fn to_disk(vm: &VmCondition<'_>) -> Option<Obstacle> {
    blocked(vm, &VmOperation::Snapshot)
}

/// These calls take all disks of a VM.
fn excluded(vm: &VmCondition<'_>, kind: Kind) -> Option<Obstacle> {
    let disk = vm.disks.iter().find(|disk| disk.excluded)?;
    let text =
        format!("the server leaves no disk out of a {kind} snapshot, and {disk} is excluded: take kind = \"disk\", or all disks");
    lasting("MESSAGE_PARAMETER_COUNT_MISMATCH", text)
}

fn wrong_power(vm: &VmCondition<'_>, advice: &str) -> Option<Obstacle> {
    lasting("VM_BAD_POWER_STATE", format!("the VM is {}: {advice}", vm.power.as_str().to_lowercase()))
}

fn to_quiesced(vm: &VmCondition<'_>) -> Option<Obstacle> {
    if !vm.release_quiesces {
        let text = "servers after 8.0 have no quiesced snapshots: take kind = \"disk\" with hooks that quiesce the guest";
        return lasting("MESSAGE_REMOVED", text);
    }
    if vm.quiesce_withheld {
        return lasting(
            "LICENCE_RESTRICTION",
            "the pool's licence lacks quiesced snapshots: license it, or take kind = \"disk\"",
        );
    }
    if vm.power != PowerState::Running {
        return wrong_power(vm, "only a running VM can be quiesced");
    }
    blocked(vm, &VmOperation::SnapshotWithQuiesce).or_else(|| excluded(vm, Kind::Quiesced)).or_else(|| to_quiescing_guest(vm))
}

fn to_quiescing_guest(vm: &VmCondition<'_>) -> Option<Obstacle> {
    let text = match &vm.guest {
        None => "the guest's tools do not report: install them, or see that their service runs",
        Some(guest) if !guest.has_drivers => "the guest has no drivers of the tools: install the tools",
        Some(guest) if !guest.features.contains(&GuestFeature::Snapshot) => {
            "the guest's tools do not offer snapshots: update them, and see that their service runs"
        }
        Some(guest) if !guest.features.contains(&GuestFeature::Quiesce) => {
            "the guest offers no quiescing: register the VSS provider in it (install-XenProvider.cmd), and see that Volume Shadow Copy, \
             Virtual Disk and XenVssProvider may run"
        }
        Some(_) => return None,
    };
    lasting("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", text)
}

fn to_memory(vm: &VmCondition<'_>) -> Option<Obstacle> {
    if vm.memory_withheld {
        return lasting(
            "LICENCE_RESTRICTION",
            "the pool's licence lacks snapshots with memory: license it, or take kind = \"disk\"",
        );
    }
    let power = match vm.power {
        PowerState::Running => to_suspending(vm),
        PowerState::Suspended => None,
        // The server makes one, but without memory in it.
        PowerState::Paused => wrong_power(vm, "a snapshot of it would hold no memory; unpause it"),
        _ => wrong_power(vm, "only a running or suspended VM has memory to keep"),
    };
    power.or_else(|| blocked(vm, &VmOperation::Checkpoint)).or_else(|| excluded(vm, Kind::Memory)).or_else(|| to_image(vm))
}

/// A running VM is suspended for a moment.
fn to_suspending(vm: &VmCondition<'_>) -> Option<Obstacle> {
    let offered = vm.allowed.contains(&VmOperation::Checkpoint) || vm.allowed.contains(&VmOperation::Suspend);
    let guest = vm.guest.as_ref();
    if let Some(reason) = guest.and_then(|guest| guest.cannot_suspend) {
        return lasting(
            "VM_NON_SUSPENDABLE",
            format!("the guest says it cannot be suspended ({reason:?}): see to that in the guest"),
        );
    }
    if vm.pci_devices > 0 {
        return lasting(
            "VM_HAS_PCI_ATTACHED",
            "the VM has PCI devices passed through, so its memory cannot be kept: detach them",
        );
    }
    // Some virtual GPUs can be suspended, and only the server knows which.
    if vm.virtual_gpus > 0 && !offered {
        return lasting("VM_HAS_VGPU", "the VM has a virtual GPU that cannot be suspended: detach it");
    }
    let able = offered || guest.is_some_and(|guest| guest.features.contains(&GuestFeature::Suspend));
    if able {
        return None;
    }
    lasting(
        "VM_LACKS_FEATURE",
        "the guest's tools do not offer to suspend it: install or update them, and see that their service runs",
    )
}

fn to_image(vm: &VmCondition<'_>) -> Option<Obstacle> {
    let Some(store) = &vm.image_store else {
        return lasting("VM_NO_SUSPEND_SR", "there is no SR for memory images: set one on VM or pool (suspend-image-SR-uuid)");
    };
    let needed = room_for_image(vm);
    let free = store.free.filter(|free| *free < needed)?;
    let text = format!(
        "the SR {:?} has {} MiB free and the memory image may need {}: free space on it, or name another (suspend-image-SR-uuid)",
        store.name,
        free >> 20,
        needed >> 20
    );
    passing("SR_SUSPEND_SPACE_INSUFFICIENT", text)
}

/// Memory, something for each disk, and a fifth in reserve.
fn room_for_image(vm: &VmCondition<'_>) -> i64 {
    let disks = i64::try_from(vm.disks.len()).unwrap_or(i64::MAX);
    let bare = vm.memory.saturating_add(PER_DISK.saturating_mul(disks));
    bare.saturating_add(bare / 5)
}

fn to_shutdown(vm: &VmCondition<'_>) -> Option<Obstacle> {
    match vm.power {
        PowerState::Halted => None,
        PowerState::Running => blocked(vm, &VmOperation::CleanShutdown)
            // A VM that could not be started again is not shut down.
            .or_else(|| blocked(vm, &VmOperation::Start))
            .or_else(|| to_starting(vm))
            .or_else(|| to_asking(vm)),
        _ => wrong_power(vm, "an offline snapshot needs a running or a halted VM; resume or unpause it, or take kind = \"disk\""),
    }
}

/// A host in maintenance starts nothing, and whether another one would is known only afterwards.
fn to_starting(vm: &VmCondition<'_>) -> Option<Obstacle> {
    let host = vm.host.as_ref().filter(|host| !host.enabled)?;
    let text = format!(
        "the VM's host {:?} is disabled, so the VM could not be started there again: enable the host, or migrate the VM",
        host.name
    );
    passing("HOST_DISABLED", text)
}

/// Whether the guest would hear a request to shut down.
fn to_asking(vm: &VmCondition<'_>) -> Option<Obstacle> {
    let says = |feature| vm.guest.as_ref().is_some_and(|guest| guest.features.contains(&feature));
    let hears = vm.allowed.contains(&VmOperation::CleanShutdown) || says(GuestFeature::Shutdown) || says(GuestFeature::Poweroff);
    if hears {
        return None;
    }
    lasting(
        "VM_LACKS_FEATURE",
        "the guest's tools do not offer to shut it down: install or update them, and see that their service runs",
    )
}

impl std::fmt::Display for DiskCondition<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name {
            "" => write!(f, "the disk at position {}", self.position),
            name => write!(f, "the disk {name:?} at position {}", self.position),
        }
    }
}
