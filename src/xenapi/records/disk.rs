//! Drives and disks. The rule: everything that decides whether a disk may be destroyed (type, managed, snapshot, who uses it) is
//! required to be there.

use serde::{Deserialize, Deserializer};

use super::{Sr, VbdUuid, VdiUuid, Vm};
use crate::xenapi::types::{Date, EnumSet, Operations, Ref, RefSet, Shared, StringMap, TextSet, Uuid, int64, open_enum};

open_enum! {
    /// What stands in a drive.
    VbdType {
        Disk = "Disk",
        Cd = "CD",
        Floppy = "Floppy",
    }
}

open_enum! {
    /// Whether a drive may be written.
    VbdMode {
        ReadOnly = "RO",
        ReadWrite = "RW",
    }
}

/// A virtual drive: a VM's place for a disk.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vbd {
    /// Its own uuid.
    pub uuid: VbdUuid,
    /// The VM it belongs to.
    #[serde(rename = "VM")]
    pub vm: Ref<Vm>,
    /// What stands in it; null when empty. A snapshot's CD names the live disc.
    #[serde(rename = "VDI")]
    pub vdi: Ref<Vdi>,
    /// The name in the guest, for example `xvda`; may be empty.
    #[serde(default)]
    pub device: Shared,
    /// The position as the user gave it: what identifies a disk across a revert.
    #[serde(default)]
    pub userdevice: Shared,
    /// Disk, CD or floppy.
    #[serde(rename = "type")]
    pub kind: VbdType,
    /// Read-only or not.
    pub mode: VbdMode,
    /// The VM boots from it.
    #[serde(default)]
    pub bootable: bool,
    /// Nothing stands in it: only for CD drives.
    #[serde(default)]
    pub empty: bool,
    /// A running or suspended VM uses it.
    #[serde(default)]
    pub currently_attached: bool,
    /// The key `owner`, whatever its value, marks disks that go with the VM.
    #[serde(default)]
    pub other_config: StringMap,
}

impl Vbd {
    /// A drive of type Disk with something in it.
    pub fn has_disk(&self) -> bool {
        self.kind == VbdType::Disk && !self.vdi.is_null()
    }
}

open_enum! {
    /// What a disk is for.
    VdiType {
        System = "system",
        User = "user",
        Ephemeral = "ephemeral",
        Suspend = "suspend",
        Crashdump = "crashdump",
        HaStatefile = "ha_statefile",
        Metadata = "metadata",
        RedoLog = "redo_log",
        Rrd = "rrd",
        PvsCache = "pvs_cache",
        CbtMetadata = "cbt_metadata",
    }
}

open_enum! {
    /// What becomes of a disk when its VM starts.
    OnBoot {
        Persist = "persist",
        Reset = "reset",
    }
}

open_enum! {
    /// What can be done to a disk.
    VdiOperation {
        Clone = "clone",
        Copy = "copy",
        Resize = "resize",
        ResizeOnline = "resize_online",
        Snapshot = "snapshot",
        Mirror = "mirror",
        Destroy = "destroy",
        Forget = "forget",
        Update = "update",
        ForceUnlock = "force_unlock",
        GenerateConfig = "generate_config",
        EnableCbt = "enable_cbt",
        DisableCbt = "disable_cbt",
        DataDestroy = "data_destroy",
        ListChangedBlocks = "list_changed_blocks",
        SetOnBoot = "set_on_boot",
        Blocked = "blocked",
        RevertTo = "revert_to",
        RevertFrom = "revert_from",
    }
}

/// A virtual disk: of a VM, of a snapshot, a disc image, or one of the hidden parents that snapshots leave ("base copy").
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Vdi {
    /// Holds for the disk's life; a revert gives the VM's disks new ones on most releases.
    pub uuid: VdiUuid,
    /// The disk's name; a snapshot's disk has that of the disk, not of the snapshot.
    #[serde(default)]
    pub name_label: Shared,
    /// Where it is stored.
    #[serde(rename = "SR")]
    pub sr: Ref<Sr>,
    /// The drives it stands in.
    #[serde(rename = "VBDs")]
    pub vbds: RefSet<Vbd>,
    /// Bytes the guest sees.
    #[serde(deserialize_with = "int64")]
    pub virtual_size: i64,
    /// Bytes it takes in the SR; may be stale, and -1 or 0 where the storage does not say.
    #[serde(default = "unknown", deserialize_with = "int64")]
    pub physical_utilisation: i64,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: VdiType,
    /// Several VMs may write it: cannot be snapshotted.
    #[serde(default)]
    pub sharable: bool,
    /// Cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// False for the storage's own nodes, which must be left alone.
    pub managed: bool,
    /// The last scan did not find it.
    #[serde(default)]
    pub missing: bool,
    /// It was made by a snapshot.
    pub is_a_snapshot: bool,
    /// The disk it was taken of; may dangle.
    pub snapshot_of: Ref<Vdi>,
    /// When it was taken, by the storage's clock.
    #[serde(default)]
    pub snapshot_time: Date,
    /// `reset` forbids snapshots; from 5.6 FP1.
    #[serde(default)]
    pub on_boot: Option<OnBoot>,
    /// Changed blocks are tracked; from 7.3.
    #[serde(default)]
    pub cbt_enabled: Option<bool>,
    /// The disc with the guest tools; from 7.0.
    #[serde(default)]
    pub is_tools_iso: Option<bool>,
    /// Copied to snapshots.
    #[serde(default)]
    pub tags: TextSet,
    /// Copied to snapshots. `content_id`, which every snapshot has anew, is not kept.
    #[serde(default, deserialize_with = "disk_config")]
    pub other_config: StringMap,
    /// What the storage driver notes, as far as it matters here.
    #[serde(default)]
    pub sm_config: SmConfig,
    /// What the state allows, whatever the role; advisory.
    #[serde(default)]
    pub allowed_operations: EnumSet<VdiOperation>,
    /// What is being done to it.
    #[serde(default)]
    pub current_operations: Operations<VdiOperation>,
}

/// For sizes that were not given.
fn unknown() -> i64 {
    -1
}

fn disk_config<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StringMap, D::Error> {
    StringMap::filtered(deserializer, |key| key != "content_id")
}

/// The storage driver's notes on a disk. Of the whole map, which may hold a block map of many kB, only this is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SmConfig {
    /// The disk's parent in its chain; absent for the first, and on storage without chains.
    pub vhd_parent: Option<VdiUuid>,
    /// The form on the storage: `vhd`, `qcow2`, `aio`; `raw` cannot be snapshotted.
    pub form: Option<Shared>,
    /// The garbage collector or an attach is at work on it.
    pub in_use: bool,
}

impl<'de> Deserialize<'de> for SmConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEPT: [&str; 7] = ["vhd-parent", "vdi_type", "type", "image-format", "paused", "relinking", "activating"];
        let map = StringMap::filtered(deserializer, |key| KEPT.contains(&key))?;
        Ok(Self {
            vhd_parent: map.get("vhd-parent").filter(|parent| !parent.is_empty()).map(Uuid::lenient),
            form: ["vdi_type", "type", "image-format"].iter().find_map(|key| map.get(key)).map(Shared::new),
            in_use: ["paused", "relinking", "activating"].iter().any(|key| map.contains_key(key)),
        })
    }
}

impl SmConfig {
    /// Whether the disk is a raw one, which no driver can snapshot.
    pub fn is_raw(&self) -> bool {
        self.form.as_ref().is_some_and(|form| matches!(&**form, "raw" | "aio"))
    }
}
