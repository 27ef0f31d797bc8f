//! Storage repositories, their connections and their drivers. The rule: `device_config`, which may hold secrets, is never kept.

use serde::Deserialize;

use super::{Host, PbdUuid, SmUuid, SrUuid};
use crate::xenapi::types::{EnumSet, Operations, Ref, RefSet, Shared, StringMap, TextSet, int64, open_enum};

open_enum! {
    /// What can be done to an SR. While one is under way, others that touch the storage wait.
    SrOperation {
        Scan = "scan",
        Destroy = "destroy",
        Forget = "forget",
        Plug = "plug",
        Unplug = "unplug",
        Update = "update",
        VdiCreate = "vdi_create",
        VdiIntroduce = "vdi_introduce",
        VdiDestroy = "vdi_destroy",
        VdiResize = "vdi_resize",
        VdiClone = "vdi_clone",
        VdiSnapshot = "vdi_snapshot",
        VdiMirror = "vdi_mirror",
        VdiEnableCbt = "vdi_enable_cbt",
        VdiDisableCbt = "vdi_disable_cbt",
        VdiDataDestroy = "vdi_data_destroy",
        VdiListChangedBlocks = "vdi_list_changed_blocks",
        VdiSetOnBoot = "vdi_set_on_boot",
        VdiRevert = "vdi_revert",
        PbdCreate = "pbd_create",
        PbdDestroy = "pbd_destroy",
    }
}

/// A storage repository.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Sr {
    /// Its uuid.
    pub uuid: SrUuid,
    /// Its name.
    pub name_label: Box<str>,
    /// What somebody wrote about it.
    #[serde(default)]
    pub name_description: Box<str>,
    /// The driver, as in [`Sm::kind`].
    #[serde(rename = "type")]
    pub kind: Shared,
    /// `user`, `iso`, `disk`, or empty.
    #[serde(default)]
    pub content_type: Shared,
    /// Every host of the pool can reach it.
    #[serde(default)]
    pub shared: bool,
    /// Bytes in all; -1 or 0 where the driver does not say. Refreshed by scans.
    #[serde(deserialize_with = "int64")]
    pub physical_size: i64,
    /// Bytes taken. Refreshed by scans.
    #[serde(deserialize_with = "int64")]
    pub physical_utilisation: i64,
    /// The sum of the disks' sizes, snapshots included: not what is taken.
    #[serde(default, deserialize_with = "int64")]
    pub virtual_allocation: i64,
    /// Its connections to hosts.
    #[serde(default, rename = "PBDs")]
    pub pbds: RefSet<Pbd>,
    /// `gc`, `coalesce` and `leaf-coalesce` set to `false` switch the garbage collector off.
    #[serde(default)]
    pub other_config: StringMap,
    /// `use_vhd`, `allocation`.
    #[serde(default)]
    pub sm_config: StringMap,
    /// From 5.0.
    #[serde(default)]
    pub tags: TextSet,
    /// Shared by clustered hosts; from 7.0.
    #[serde(default)]
    pub clustered: Option<bool>,
    /// Holds the guest tools; from 7.0.
    #[serde(default)]
    pub is_tools_sr: Option<bool>,
    /// What the state allows; empty while another operation holds the SR or no connection is plugged.
    #[serde(default)]
    pub allowed_operations: EnumSet<SrOperation>,
    /// What is being done to it.
    #[serde(default)]
    pub current_operations: Operations<SrOperation>,
}

impl Sr {
    /// Bytes left, where the driver tells; stale until a scan.
    pub fn free(&self) -> Option<i64> {
        (self.physical_size > 0).then(|| self.physical_size.saturating_sub(self.physical_utilisation).max(0))
    }

    /// Whether somebody switched the garbage collector off: what is removed then never becomes free.
    pub fn garbage_collection_is_off(&self) -> bool {
        ["gc", "coalesce"].iter().any(|key| self.other_config.get(key) == Some("false"))
    }
}

/// A host's connection to an SR.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pbd {
    /// Its own uuid.
    pub uuid: PbdUuid,
    /// The host.
    pub host: Ref<Host>,
    /// The SR.
    #[serde(rename = "SR")]
    pub sr: Ref<Sr>,
    /// False: this host cannot touch the SR.
    pub currently_attached: bool,
}

/// A storage driver.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Sm {
    /// Its own uuid.
    pub uuid: SmUuid,
    /// The name that SRs refer to.
    #[serde(rename = "type")]
    pub kind: Shared,
    /// Its name for people.
    #[serde(default)]
    pub name_label: Box<str>,
    /// What it can do, each with a version; from 6.2.
    #[serde(default)]
    pub features: Option<Features>,
    /// What it can do; until 6.1 the only place.
    #[serde(default)]
    pub capabilities: TextSet,
}

impl Sm {
    /// Whether it can do something, for example `VDI_SNAPSHOT`.
    pub fn can(&self, feature: &str) -> bool {
        self.features.as_ref().is_some_and(|features| features.0.contains(feature)) || self.capabilities.contains(feature)
    }
}

/// The names in a map of features to versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features(pub TextSet);

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use crate::xenapi::types::Int64;
        let versions = std::collections::BTreeMap::<Shared, Int64>::deserialize(deserializer)?;
        Ok(Self(versions.into_keys().collect()))
    }
}
