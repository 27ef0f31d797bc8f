//! Small records: vApps, virtual TPMs, messages, certificates.

use serde::Deserialize;

use super::{Host, MessageUuid, Vm, VmApplianceUuid, VtpmUuid};
use crate::xenapi::types::{Date, Operations, Ref, RefSet, int64, open_enum};

open_enum! {
    /// What can be done to a vApp.
    ApplianceOperation {
        Start = "start",
        CleanShutdown = "clean_shutdown",
        HardShutdown = "hard_shutdown",
        Shutdown = "shutdown",
    }
}

/// A vApp: VMs that are started and stopped together; from 6.0.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VmAppliance {
    /// Its uuid.
    pub uuid: VmApplianceUuid,
    /// Its name.
    pub name_label: Box<str>,
    /// What somebody wrote about it.
    #[serde(default)]
    pub name_description: Box<str>,
    /// Its VMs.
    #[serde(default, rename = "VMs")]
    pub vms: RefSet<Vm>,
    /// What is being done to it.
    #[serde(default)]
    pub current_operations: Operations<ApplianceOperation>,
}

/// A virtual TPM; from 22.26. A revert gives the VM a new one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vtpm {
    /// Its uuid.
    pub uuid: VtpmUuid,
    /// Its VM.
    #[serde(rename = "VM")]
    pub vm: Ref<Vm>,
    /// It must not be copied.
    #[serde(default)]
    pub is_unique: bool,
    /// Its content is protected.
    #[serde(default)]
    pub is_protected: bool,
}

open_enum! {
    /// The class a message is about.
    MessageClass {
        Vm = "VM",
        Host = "Host",
        Sr = "SR",
        Pool = "Pool",
        Vmpp = "VMPP",
        Vmss = "VMSS",
        PvsProxy = "PVS_proxy",
        Vdi = "VDI",
        Certificate = "Certificate",
    }
}

/// A message to the pool's administrators. Any client may write one, under any name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Message {
    /// Its uuid.
    pub uuid: MessageUuid,
    /// For example `VM_SNAPSHOTTED`.
    pub name: Box<str>,
    /// 1 is the highest, 5 informational.
    #[serde(deserialize_with = "int64")]
    pub priority: i64,
    /// What it is about.
    pub cls: MessageClass,
    /// The uuid (not the reference) of what it is about.
    pub obj_uuid: Box<str>,
    /// When it was written.
    pub timestamp: Date,
    /// Text or XML.
    #[serde(default)]
    pub body: Box<str>,
}

/// A certificate of a host or authority, as the pool knows it; from 8.2 (stockholm).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Certificate {
    /// Only authorities have one.
    #[serde(default)]
    pub name: Box<str>,
    /// `ca`, `host` or `host_internal`; releases that do not say have those of hosts only.
    #[serde(default, rename = "type")]
    pub kind: Option<Box<str>>,
    /// The host; null for authorities.
    #[serde(default)]
    pub host: Ref<Host>,
    /// When it ends.
    pub not_after: Date,
}
