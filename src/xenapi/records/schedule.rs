//! The server's own schedulers: VMSS from 7.2, VMPP from 5.6 FP1 to 6.1. They are read to find VMs that are protected twice.

use serde::Deserialize;

use super::{Vm, VmppUuid, VmssUuid};
use crate::xenapi::types::{Date, RefSet, StringMap, int64, open_enum};

open_enum! {
    /// The kind of snapshot a schedule takes.
    VmssType {
        Snapshot = "snapshot",
        Checkpoint = "checkpoint",
        SnapshotWithQuiesce = "snapshot_with_quiesce",
    }
}

open_enum! {
    /// How often a schedule runs.
    Frequency {
        Hourly = "hourly",
        Daily = "daily",
        Weekly = "weekly",
    }
}

/// A snapshot schedule of the server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vmss {
    /// Its uuid.
    pub uuid: VmssUuid,
    /// Its name.
    pub name_label: Box<str>,
    /// What somebody wrote about it.
    #[serde(default)]
    pub name_description: Box<str>,
    /// Whether it runs.
    pub enabled: bool,
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: VmssType,
    /// How many it keeps, 1 to 10.
    #[serde(deserialize_with = "int64")]
    pub retained_snapshots: i64,
    /// How often it runs.
    pub frequency: Frequency,
    /// `hour`, `min`, `days`.
    #[serde(default)]
    pub schedule: StringMap,
    /// When it last ran.
    #[serde(default)]
    pub last_run_time: Date,
    /// The VMs it protects.
    #[serde(default, rename = "VMs")]
    pub vms: RefSet<Vm>,
}

/// A protection policy of 5.6 FP1 to 6.1.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vmpp {
    /// Its uuid.
    pub uuid: VmppUuid,
    /// Its name.
    pub name_label: Box<str>,
    /// What somebody wrote about it.
    #[serde(default)]
    pub name_description: Box<str>,
    /// Whether it runs.
    pub is_policy_enabled: bool,
    /// What it takes.
    pub backup_type: VmssType,
    /// How many it keeps, 1 to 10.
    #[serde(deserialize_with = "int64")]
    pub backup_retention_value: i64,
    /// How often it runs.
    pub backup_frequency: Frequency,
    /// `hour`, `min`, `days`.
    #[serde(default)]
    pub backup_schedule: StringMap,
    /// It is running now.
    #[serde(default)]
    pub is_backup_running: bool,
    /// When it last ran.
    #[serde(default)]
    pub backup_last_run_time: Date,
    /// The VMs it protects.
    #[serde(default, rename = "VMs")]
    pub vms: RefSet<Vm>,
}
