//! VMs, templates and snapshots: one class on the server, so one record here. The rule: what an object is, is asked of the methods
//! below and not of single flags, because every snapshot is also a template.

use serde::{Deserialize, Deserializer};

use super::{Host, Sr, Vbd, Vdi, VmAppliance, VmUuid, Vmpp, Vmss, Vtpm};
use crate::xenapi::types::{
    Count, Date, EnumSet, Known, Operations, RareRef, Ref, RefSet, Shared, StringMap, TextSet, Uuid, int64, open_enum,
};

open_enum! {
    /// The power state of a VM. A snapshot is `Halted`, or `Suspended` if it holds memory, whatever its VM was.
    PowerState {
        Halted = "Halted",
        Paused = "Paused",
        Running = "Running",
        Suspended = "Suspended",
    }
}

open_enum! {
    /// What can be done to a VM.
    VmOperation {
        Snapshot = "snapshot",
        Clone = "clone",
        Copy = "copy",
        CreateTemplate = "create_template",
        Revert = "revert",
        Checkpoint = "checkpoint",
        SnapshotWithQuiesce = "snapshot_with_quiesce",
        Provision = "provision",
        Start = "start",
        StartOn = "start_on",
        Pause = "pause",
        Unpause = "unpause",
        CleanShutdown = "clean_shutdown",
        CleanReboot = "clean_reboot",
        HardShutdown = "hard_shutdown",
        PowerStateReset = "power_state_reset",
        HardReboot = "hard_reboot",
        Suspend = "suspend",
        Csvm = "csvm",
        Resume = "resume",
        ResumeOn = "resume_on",
        PoolMigrate = "pool_migrate",
        MigrateSend = "migrate_send",
        GetBootRecord = "get_boot_record",
        SendSysrq = "send_sysrq",
        SendTrigger = "send_trigger",
        QueryServices = "query_services",
        Shutdown = "shutdown",
        CallPlugin = "call_plugin",
        ChangingMemoryLive = "changing_memory_live",
        AwaitingMemoryLive = "awaiting_memory_live",
        ChangingDynamicRange = "changing_dynamic_range",
        ChangingStaticRange = "changing_static_range",
        ChangingMemoryLimits = "changing_memory_limits",
        ChangingShadowMemory = "changing_shadow_memory",
        ChangingShadowMemoryLive = "changing_shadow_memory_live",
        ChangingVcpus = "changing_VCPUs",
        ChangingVcpusLive = "changing_VCPUs_live",
        ChangingNvram = "changing_NVRAM",
        AssertOperationValid = "assert_operation_valid",
        DataSourceOp = "data_source_op",
        UpdateAllowedOperations = "update_allowed_operations",
        MakeIntoTemplate = "make_into_template",
        Import = "import",
        Export = "export",
        MetadataExport = "metadata_export",
        Reverting = "reverting",
        Destroy = "destroy",
        CreateVtpm = "create_vtpm",
        Sysprep = "sysprep",
    }
}

/// A VM, a template, a snapshot or a control domain.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vm {
    /// Holds for the VM's life, over restarts and restored databases.
    pub uuid: VmUuid,
    /// Not unique, may be empty.
    pub name_label: Box<str>,
    /// A snapshot inherits its VM's.
    #[serde(default)]
    pub name_description: Shared,
    /// See [`PowerState`].
    pub power_state: PowerState,
    /// True for templates and for every snapshot.
    pub is_a_template: bool,
    /// From 7.2; before, `other_config` has `default_template`.
    #[serde(default)]
    pub is_default_template: Option<bool>,
    /// Domain 0 and its like: never to be snapshotted.
    pub is_control_domain: bool,
    /// The one field that tells a snapshot.
    pub is_a_snapshot: bool,
    /// Taken by the server's own scheduler; from 7.2.
    #[serde(default)]
    pub is_vmss_snapshot: Option<bool>,
    /// Taken by the scheduler of 5.6 FP1 to 6.1.
    #[serde(default)]
    pub is_snapshot_from_vmpp: Option<bool>,
    /// The VM that a snapshot was taken of. Dangles once that VM is gone.
    pub snapshot_of: Ref<Vm>,
    /// The snapshots of a VM, with those that hold memory.
    #[serde(default)]
    pub snapshots: RefSet<Vm>,
    /// When the snapshot's record was made, after its disks.
    #[serde(default)]
    pub snapshot_time: Date,
    /// `power-state-at-snapshot`, `disk-snapshot-type`; from 5.6, and empty for a snapshot with memory of a suspended VM.
    #[serde(default)]
    pub snapshot_info: Option<StringMap>,
    /// The VSS set of a quiesced snapshot; else empty.
    #[serde(default)]
    pub transportable_snapshot_id: Box<str>,
    /// The snapshot a VM descends from, or the one before a snapshot; from 5.6, and it may dangle.
    #[serde(default)]
    pub parent: Ref<Vm>,
    /// The VM's drives. Only those of type Disk whose VDI is a snapshot belong to a snapshot.
    #[serde(rename = "VBDs")]
    pub vbds: RefSet<Vbd>,
    /// From 22.26.
    #[serde(default, rename = "VTPMs")]
    pub vtpms: RefSet<Vtpm>,
    /// USB devices passed through: any forbids every kind of snapshot; from 7.3.
    #[serde(default, rename = "VUSBs")]
    pub vusbs: Count,
    /// Virtual GPUs; from 6.0.
    #[serde(default, rename = "VGPUs")]
    pub vgpus: Count,
    /// PCI devices passed through: any forbids a snapshot with memory; from 6.0.
    #[serde(default, rename = "attached_PCIs")]
    pub attached_pcis: Count,
    /// The memory image of a suspended VM, or of a snapshot with memory.
    #[serde(default, rename = "suspend_VDI")]
    pub suspend_vdi: RareRef<Vdi>,
    /// Where memory images go; from 6.0.
    #[serde(default, rename = "suspend_SR")]
    pub suspend_sr: RareRef<Sr>,
    /// The host it runs on; null unless a domain exists.
    #[serde(default)]
    pub resident_on: RareRef<Host>,
    /// The host that reserved memory for it while it starts, resumes or migrates.
    #[serde(default)]
    pub scheduled_to_be_resident_on: RareRef<Host>,
    /// The host it prefers.
    #[serde(default)]
    pub affinity: RareRef<Host>,
    /// What the guest's tools report; null until they do.
    #[serde(default)]
    pub guest_metrics: RareRef<VmGuestMetrics>,
    /// The vApp; from 6.0.
    #[serde(default)]
    pub appliance: RareRef<VmAppliance>,
    /// The server's own schedule; from 7.2.
    #[serde(default)]
    pub snapshot_schedule: RareRef<Vmss>,
    /// The protection policy of 5.6 FP1 to 6.1.
    #[serde(default)]
    pub protection_policy: RareRef<Vmpp>,
    /// The most memory the VM can have, in bytes: what a memory image is made for.
    #[serde(deserialize_with = "int64")]
    pub memory_static_max: i64,
    /// What the hypervisor needs besides, in bytes.
    #[serde(default, deserialize_with = "int64")]
    pub memory_overhead: i64,
    /// High availability restarts it.
    #[serde(default)]
    pub ha_always_run: bool,
    /// Copied to snapshots, and not reverted.
    #[serde(default)]
    pub tags: TextSet,
    /// Copied to snapshots, and reverted. Holds the folder, XenCenter's custom fields, and other tools' marks.
    pub other_config: StringMap,
    /// Operations somebody forbade, with the reason; not copied to snapshots.
    #[serde(default)]
    pub blocked_operations: StringMap,
    /// What the state allows, whatever the role; advisory.
    #[serde(default)]
    pub allowed_operations: EnumSet<VmOperation>,
    /// What is being done to it. While a snapshot's record shows anything here, it is not complete.
    #[serde(default)]
    pub current_operations: Operations<VmOperation>,
}

impl Vm {
    /// A VM in the sense of people: no snapshot, no template, no control domain.
    pub fn is_plain(&self) -> bool {
        !self.is_a_snapshot && !self.is_a_template && !self.is_control_domain
    }

    /// A template that is not a snapshot.
    pub fn is_plain_template(&self) -> bool {
        self.is_a_template && !self.is_a_snapshot
    }

    /// The state the VM was in when the snapshot was taken, where the server says so.
    pub fn power_state_at_snapshot(&self) -> Option<PowerState> {
        self.snapshot_info.as_ref()?.get("power-state-at-snapshot").map(PowerState::from)
    }

    /// The folder in XenCenter's tree, for example `/prod/web`.
    pub fn folder(&self) -> Option<&str> {
        self.other_config.get("folder").filter(|folder| !folder.is_empty())
    }

    /// The reason somebody blocked an operation with.
    pub fn blocked(&self, operation: &VmOperation) -> Option<&str> {
        self.blocked_operations.get(operation.as_str())
    }
}

open_enum! {
    /// What a guest's tools say the guest can do.
    GuestFeature {
        Suspend = "feature-suspend",
        Snapshot = "feature-snapshot",
        Quiesce = "feature-quiesce",
        Shutdown = "feature-shutdown",
        Poweroff = "feature-poweroff",
        Reboot = "feature-reboot",
    }
}

/// What a guest's tools report, as far as snapshots depend on it. A snapshot has a copy.
#[derive(Debug, Clone, PartialEq)]
pub struct VmGuestMetrics {
    /// Its own uuid.
    pub uuid: Uuid<VmGuestMetrics>,
    /// The name of the operating system, as the guest gives it.
    pub os_name: Option<Shared>,
    /// What the guest can do.
    pub features: EnumSet<GuestFeature>,
    /// Why the guest says it cannot be suspended.
    pub cannot_suspend: Option<Box<str>>,
    /// The version of the guest's drivers, `major.minor.micro`; absent without tools.
    pub pv_drivers_version: Option<Shared>,
    /// Whether drivers were detected; from 7.0.
    pub pv_drivers_detected: Option<bool>,
    /// Whether the guest reported since it booted; from 5.0.
    pub live: Option<bool>,
}

impl<'de> Deserialize<'de> for VmGuestMetrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            uuid: Uuid<VmGuestMetrics>,
            #[serde(default)]
            os_version: StringMap,
            #[serde(default, rename = "PV_drivers_version")]
            pv_drivers_version: StringMap,
            #[serde(default, rename = "PV_drivers_detected")]
            pv_drivers_detected: Option<bool>,
            #[serde(default)]
            other: StringMap,
            #[serde(default)]
            live: Option<bool>,
        }
        let wire = Wire::deserialize(deserializer)?;
        // What snapshots do not depend on is left out: every copy of the metrics would carry it.
        let on = |(key, value): (&str, &str)| (value == "1" && GuestFeature::TEXTS.contains(&key)).then(|| key.into());
        Ok(Self {
            uuid: wire.uuid,
            os_name: wire.os_version.get("name").map(Shared::new),
            features: wire.other.iter().filter_map(on).collect(),
            cannot_suspend: wire.other.get("data-cant-suspend-reason").map(Into::into),
            pv_drivers_version: version(&wire.pv_drivers_version),
            pv_drivers_detected: wire.pv_drivers_detected,
            live: wire.live,
        })
    }
}

fn version(parts: &StringMap) -> Option<Shared> {
    let major = parts.get("major")?;
    let rest = ["minor", "micro"].iter().filter_map(|part| parts.get(part)).map(|part| format!(".{part}"));
    Some(Shared::new(&rest.fold(major.to_owned(), |version, part| version + &part)))
}
