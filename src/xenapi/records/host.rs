//! Hosts.

use serde::Deserialize;

use super::{HostMetricsUuid, HostUuid, Pbd, Sr};
use crate::xenapi::types::{Date, EnumSet, Operations, Ref, RefSet, Shared, StringMap, TextSet, int64, open_enum};

open_enum! {
    /// What can be done to a host.
    HostOperation {
        Provision = "provision",
        Evacuate = "evacuate",
        Shutdown = "shutdown",
        Reboot = "reboot",
        PowerOn = "power_on",
        VmStart = "vm_start",
        VmResume = "vm_resume",
        VmMigrate = "vm_migrate",
        ApplyUpdates = "apply_updates",
        Enable = "enable",
    }
}

/// A host of the pool.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Host {
    /// Its uuid.
    pub uuid: HostUuid,
    /// Its name for people.
    #[serde(default)]
    pub name_label: Box<str>,
    /// Its name in the network.
    #[serde(default)]
    pub hostname: Box<str>,
    /// Its management address; IPv6 without brackets.
    pub address: Box<str>,
    /// False in maintenance mode.
    #[serde(default)]
    pub enabled: bool,
    /// Where it says whether it is alive.
    #[serde(default)]
    pub metrics: Ref<HostMetrics>,
    /// Product, build and component versions.
    #[serde(default)]
    pub software_version: StringMap,
    /// Of the API.
    #[serde(rename = "API_version_major", deserialize_with = "int64")]
    pub api_version_major: i64,
    /// Of the API.
    #[serde(rename = "API_version_minor", deserialize_with = "int64")]
    pub api_version_minor: i64,
    /// `agent_start_time` and `boot_time` tell a restart.
    #[serde(default)]
    pub other_config: StringMap,
    /// The licence, with its `restrict_*`.
    #[serde(default)]
    pub license_params: StringMap,
    /// From 5.6.
    #[serde(default)]
    pub edition: Option<Shared>,
    /// Where memory images go when neither VM nor pool say; may be null or dangle.
    #[serde(default)]
    pub suspend_image_sr: Ref<Sr>,
    /// Its connections to storage.
    #[serde(default, rename = "PBDs")]
    pub pbds: RefSet<Pbd>,
    /// From 5.0.
    #[serde(default)]
    pub tags: TextSet,
    /// What the state allows; advisory.
    #[serde(default)]
    pub allowed_operations: EnumSet<HostOperation>,
    /// What is being done to it, for example `evacuate`.
    #[serde(default)]
    pub current_operations: Operations<HostOperation>,
}

impl Host {
    /// The API's version, for comparison.
    pub fn api_version(&self) -> (i64, i64) {
        (self.api_version_major, self.api_version_minor)
    }

    /// When the server process started, in the server's own text: another text is another start, and sessions, tasks and up to five
    /// minutes of work are gone.
    pub fn agent_start_time(&self) -> Option<&str> {
        self.other_config.get("agent_start_time")
    }

    /// The product's version, for example `8.2.1`.
    pub fn product_version(&self) -> Option<&str> {
        self.software_version.get("product_version")
    }
}

/// Whether a host is alive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HostMetrics {
    /// Its own uuid.
    pub uuid: HostMetricsUuid,
    /// False ten minutes after the last heartbeat, or at once when the host shuts down.
    pub live: bool,
    /// When it was last heard of.
    #[serde(default)]
    pub last_updated: Date,
}
