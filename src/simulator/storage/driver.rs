//! What the driver of an SR can do, and how it allocates. An `SM` row decides, where the pool has one; else the type's name.

use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// How an SR allocates space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// A live disk occupies its whole size at once (VHD on LVM).
    Thick,
    /// Files that grow.
    Thin,
    /// No VHDs: the volume is what it is (ISO files, LUNs, devices).
    Plain,
}

/// How SRs of a type allocate.
pub fn allocation(sr_type: &str) -> Allocation {
    match sr_type {
        "lvm" | "lvmoiscsi" | "lvmohba" | "lvmofcoe" | "lvhdoiscsi" | "lvhdohba" | "lvhdofcoe" => Allocation::Thick,
        "iso" | "udev" | "iscsi" | "hba" | "rawhba" | "rawiscsi" | "shm" | "fake" => Allocation::Plain,
        _ => Allocation::Thin,
    }
}

/// The features of drivers that keep disks as VHDs.
const VHD: [&str; 10] = [
    "VDI_CREATE",
    "VDI_DELETE",
    "VDI_SNAPSHOT",
    "VDI_CLONE",
    "VDI_RESIZE",
    "VDI_UPDATE",
    "VDI_MIRROR",
    "VDI_GENERATE_CONFIG",
    "VDI_CONFIG_CBT",
    "SR_UPDATE",
];

/// What the driver of one SR can do, looked up once for many questions.
#[derive(Debug)]
pub struct Features {
    sr_type: Text,
    declared: Option<Vec<Text>>,
}

impl Features {
    /// The features of an SR's driver: what its `SM` row declares, or what its type is known for where there is no such row.
    pub fn of(world: &World, sr: &str) -> Self {
        let sr_type = world.database.text("SR", sr, "type");
        Self { declared: declared(world, &sr_type), sr_type }
    }

    /// Whether the driver has a feature such as `VDI_SNAPSHOT`.
    pub fn has(&self, feature: &str) -> bool {
        match &self.declared {
            Some(features) => features.iter().any(|declared| &**declared == feature),
            None => by_type(&self.sr_type, feature),
        }
    }
}

/// Whether the SR's driver has a feature such as `VDI_SNAPSHOT`.
pub fn has_feature(world: &World, sr: &str, feature: &str) -> bool {
    Features::of(world, sr).has(feature)
}

/// What the `SM` row of a type declares; none when there is no such row, or an empty one.
fn declared(world: &World, sr_type: &str) -> Option<Vec<Text>> {
    let database = &world.database;
    let is_type = |row: &&Ref| database.get("SM", row, "type").and_then(Value::as_text).is_some_and(|text| **text == *sr_type);
    let row = database.rows("SM").map(|(row, _)| row).find(is_type)?;
    let mut features = database.texts("SM", row, "capabilities");
    features.extend(database.get("SM", row, "features").into_iter().flat_map(Value::members).map(|(name, _)| name.clone()));
    (!features.is_empty()).then_some(features)
}

fn by_type(sr_type: &str, feature: &str) -> bool {
    match sr_type {
        "iso" => matches!(feature, "VDI_CREATE" | "VDI_DELETE" | "VDI_UPDATE"),
        "udev" => matches!(feature, "VDI_INTRODUCE" | "VDI_UPDATE" | "SR_UPDATE"),
        _ if allocation(sr_type) == Allocation::Plain => {
            matches!(feature, "VDI_CREATE" | "VDI_DELETE" | "VDI_UPDATE" | "SR_UPDATE")
        }
        // Change tracking is off where files are shared over the network without SM saying otherwise, on where it is not.
        _ => VHD.contains(&feature),
    }
}

/// How the SR of this reference allocates.
pub fn allocation_of(world: &World, sr: &str) -> Allocation {
    let thin = world.database.map_text("SR", sr, "sm_config", "allocation").is_some_and(|text| &*text == "thin");
    match allocation(&world.database.text("SR", sr, "type")) {
        Allocation::Thick if thin => Allocation::Thin,
        allocation => allocation,
    }
}
