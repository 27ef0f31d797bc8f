//! Which operations VDIs, SRs, VBDs and VIFs admit now: the server's tests, and the fields that follow from them.

use super::vm_lifecycle::{in_progress, pairs};
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::driver::Features;
use crate::simulator::value::{Text, Value, is_null};
use crate::simulator::world::World;

/// Operations of a VDI in the order of `allowed_operations`, and the driver's feature that each needs.
const VDI_OPERATIONS: [(&str, Option<&str>); 11] = [
    ("copy", None),
    ("generate_config", Some("VDI_GENERATE_CONFIG")),
    ("clone", Some("VDI_CLONE")),
    ("forget", None),
    ("update", Some("VDI_UPDATE")),
    ("resize", Some("VDI_RESIZE")),
    ("snapshot", Some("VDI_SNAPSHOT")),
    ("destroy", Some("VDI_DELETE")),
    ("enable_cbt", Some("VDI_CONFIG_CBT")),
    ("disable_cbt", Some("VDI_CONFIG_CBT")),
    ("data_destroy", Some("VDI_CONFIG_CBT")),
];

/// Operations of an SR in the order of `allowed_operations`, and the driver's feature that each needs.
const SR_OPERATIONS: [(&str, Option<&str>); 20] = [
    ("unplug", None),
    ("plug", None),
    ("pbd_create", None),
    ("update", Some("SR_UPDATE")),
    ("pbd_destroy", None),
    ("vdi_introduce", Some("VDI_INTRODUCE")),
    ("vdi_resize", Some("VDI_RESIZE")),
    ("vdi_clone", None),
    ("scan", None),
    ("vdi_snapshot", Some("VDI_SNAPSHOT")),
    ("vdi_mirror", Some("VDI_MIRROR")),
    ("vdi_create", Some("VDI_CREATE")),
    ("vdi_destroy", Some("VDI_DELETE")),
    ("vdi_set_on_boot", Some("VDI_RESET_ON_BOOT")),
    ("vdi_revert", Some("VDI_REVERT")),
    ("vdi_enable_cbt", Some("VDI_CONFIG_CBT")),
    ("vdi_disable_cbt", Some("VDI_CONFIG_CBT")),
    ("vdi_data_destroy", Some("VDI_CONFIG_CBT")),
    ("forget", None),
    ("destroy", None),
];

/// What a running guest's disk admits although it is in.
const LIVE: [&str; 7] = ["snapshot", "clone", "mirror", "enable_cbt", "disable_cbt", "data_destroy", "revert_to"];

/// Tests an operation on a VDI.
///
/// # Errors
/// HANDLE_INVALID, or the first test that fails.
pub fn check_vdi(world: &World, vdi: &str, operation: &str) -> ApiResult<()> {
    let features = Features::of(world, &world.database.text("VDI", vdi, "SR"));
    check_vdi_with(world, vdi, operation, &features)
}

fn check_vdi_with(world: &World, vdi: &str, operation: &str, features: &Features) -> ApiResult<()> {
    let database = &world.database;
    database.check("VDI", vdi)?;
    let current = pairs(database.get("VDI", vdi, "current_operations"));
    if current.iter().any(|(_, current)| &**current != "copy") {
        return Err(in_progress(world.release, "VDI", vdi, &current));
    }
    let sr = database.text("VDI", vdi, "SR");
    if operation != "forget" && !is_plugged(world, &sr) {
        return Err(ApiError::new("SR_HAS_NO_PBDS", [&*sr]));
    }
    check_attached(world, vdi, operation)?;
    if operation != "forget" && world.durable.is_missing(&database.text("VDI", vdi, "uuid")) {
        return Err(ApiError::new("SR_BACKEND_FAILURE_46", ["", "The VDI is not available [opterr=VDI not found]", ""]));
    }
    check_vdi_kind(world, vdi, &sr, operation, features)
}

fn check_attached(world: &World, vdi: &str, operation: &str) -> ApiResult<()> {
    let database = &world.database;
    let vbds = database.texts("VDI", vdi, "VBDs");
    let attached: Vec<&Text> = vbds.iter().filter(|vbd| database.bool("VBD", vbd, "currently_attached")).collect();
    let written = attached.iter().any(|vbd| &*database.text("VBD", vbd, "mode") == "RW");
    let fits = LIVE.contains(&operation) || (operation == "copy" && !written);
    if !attached.is_empty() && !fits {
        return Err(ApiError::new("VDI_IN_USE", [vdi, operation]));
    }
    let busy = vbds.iter().find(|vbd| !pairs(database.get("VBD", vbd, "current_operations")).is_empty());
    match busy {
        Some(vbd) if !LIVE.contains(&operation) => {
            Err(in_progress(world.release, "VBD", vbd, &pairs(database.get("VBD", vbd, "current_operations"))))
        }
        _ => Ok(()),
    }
}

fn check_vdi_kind(world: &World, vdi: &str, sr: &str, operation: &str, features: &Features) -> ApiResult<()> {
    let database = &world.database;
    let is = |field, value: &str| *database.text("VDI", vdi, field) == *value;
    let unsupported = || Err(ApiError::new("SR_OPERATION_NOT_SUPPORTED", [sr]));
    if operation == "destroy" {
        if &*database.text("SR", sr, "type") == "udev" {
            return Err(ApiError::new("VDI_IS_A_PHYSICAL_DEVICE", [vdi]));
        }
        if database.bool("SR", sr, "is_tools_sr") {
            return unsupported();
        }
        if is("type", "rrd") {
            return Err(ApiError::new("VDI_HAS_RRDS", [vdi]));
        }
        if matches!(&*database.text("VDI", vdi, "type"), "ha_statefile" | "redo_log") && ha_is_on(world) {
            return Err(ApiError::bare("HA_IS_ENABLED"));
        }
    }
    let feature = VDI_OPERATIONS.iter().find(|(name, _)| *name == operation).and_then(|(_, feature)| *feature);
    if feature.is_some_and(|feature| !features.has(feature)) {
        return unsupported();
    }
    if is("type", "cbt_metadata") && matches!(operation, "snapshot" | "clone" | "copy" | "resize" | "revert_from") {
        return Err(ApiError::new("VDI_INCOMPATIBLE_TYPE", [vdi, "cbt_metadata"]));
    }
    if operation == "snapshot" && database.bool("VDI", vdi, "sharable") {
        return Err(ApiError::new("VDI_IS_SHARABLE", [vdi]));
    }
    let copying = pairs(database.get("VDI", vdi, "current_operations")).iter().any(|(_, current)| &**current == "copy");
    if operation == "snapshot" && copying {
        return Err(ApiError::new("OPERATION_NOT_ALLOWED", ["Snapshot operation not allowed during copy."]));
    }
    check_tracking(world, vdi, operation)
}

fn check_tracking(world: &World, vdi: &str, operation: &str) -> ApiResult<()> {
    let database = &world.database;
    let snapshot = database.bool("VDI", vdi, "is_a_snapshot");
    match operation {
        "enable_cbt" | "disable_cbt" if snapshot => {
            Err(ApiError::new("OPERATION_NOT_ALLOWED", ["VDI is a snapshot: this operation is not allowed"]))
        }
        "enable_cbt" | "disable_cbt" if &*database.text("VDI", vdi, "on_boot") == "reset" => {
            Err(ApiError::bare("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"))
        }
        "data_destroy" if !snapshot => Err(ApiError::new("OPERATION_NOT_ALLOWED", ["VDI is not a snapshot"])),
        "data_destroy" if !database.bool("VDI", vdi, "cbt_enabled") => Err(ApiError::new("VDI_NO_CBT_METADATA", [vdi])),
        _ => Ok(()),
    }
}

fn ha_is_on(world: &World) -> bool {
    world.database.refs("pool").iter().any(|pool| world.database.bool("pool", pool, "ha_enabled"))
}

/// Whether any host has the SR plugged.
pub fn is_plugged(world: &World, sr: &str) -> bool {
    let database = &world.database;
    database.texts("SR", sr, "PBDs").iter().any(|pbd| database.bool("PBD", pbd, "currently_attached"))
}

/// Tests an operation on an SR.
///
/// # Errors
/// HANDLE_INVALID, or the first test that fails.
pub fn check_sr(world: &World, sr: &str, operation: &str) -> ApiResult<()> {
    check_sr_with(world, sr, operation, &Features::of(world, sr))
}

fn check_sr_with(world: &World, sr: &str, operation: &str, features: &Features) -> ApiResult<()> {
    let database = &world.database;
    database.check("SR", sr)?;
    let feature = SR_OPERATIONS.iter().find(|(name, _)| *name == operation).and_then(|(_, feature)| *feature);
    if feature.is_some_and(|feature| !features.has(feature)) {
        return Err(ApiError::new("SR_OPERATION_NOT_SUPPORTED", [sr]));
    }
    let current = pairs(database.get("SR", sr, "current_operations"));
    let together = operation == "plug" && current.iter().all(|(_, current)| &**current == "plug");
    if !current.is_empty() && !together {
        return Err(in_progress(world.release, "SR", sr, &current));
    }
    let plugged = is_plugged(world, sr);
    match operation {
        "destroy" if !plugged => Err(ApiError::new("SR_NO_PBDS", [sr])),
        "forget" if plugged => Err(ApiError::new("SR_HAS_PBD", [sr])),
        "destroy" | "forget" | "plug" | "unplug" | "pbd_create" | "pbd_destroy" => Ok(()),
        _ if !plugged => Err(ApiError::new("SR_NO_PBDS", [sr])),
        _ => Ok(()),
    }
}

/// Writes what a VDI admits now into its row.
pub fn update_vdi(world: &mut World, vdi: &str) {
    if is_null(vdi) || !world.database.exists("VDI", vdi) {
        return;
    }
    let features = Features::of(world, &world.database.text("VDI", vdi, "SR"));
    let names = VDI_OPERATIONS.iter().map(|(operation, _)| *operation);
    let allowed: Vec<&str> = names.filter(|operation| offers_vdi(world, vdi, operation, &features)).collect();
    let _ = world.database.set("VDI", vdi, "allowed_operations", Value::texts(allowed));
}

fn offers_vdi(world: &World, vdi: &str, operation: &str, features: &Features) -> bool {
    // A copy in progress empties the set although it would admit another.
    world.database.get("VDI", vdi, "current_operations").is_none_or(|map| map.members().is_empty())
        && check_vdi_with(world, vdi, operation, features).is_ok()
        && match operation {
            "disable_cbt" => world.database.bool("VDI", vdi, "cbt_enabled"),
            "enable_cbt" => !world.database.bool("VDI", vdi, "cbt_enabled"),
            _ => true,
        }
}

/// Writes what an SR admits now into its row.
pub fn update_sr(world: &mut World, sr: &str) {
    if !world.database.exists("SR", sr) {
        return;
    }
    let plugged = is_plugged(world, sr);
    let fits = |operation: &str| operation != "destroy" || !plugged;
    let names = SR_OPERATIONS.iter().map(|(operation, _)| *operation).filter(|operation| fits(operation));
    let features = Features::of(world, sr);
    let allowed: Vec<&str> = names.filter(|operation| check_sr_with(world, sr, operation, &features).is_ok()).collect();
    let _ = world.database.set("SR", sr, "allowed_operations", Value::texts(allowed));
}

/// What a VBD admits, given the state of its VM.
pub fn vbd_operations(world: &World, vbd: &str) -> Vec<&'static str> {
    let database = &world.database;
    if !pairs(database.get("VBD", vbd, "current_operations")).is_empty() {
        return Vec::new();
    }
    let running = &*database.text("VM", &database.text("VBD", vbd, "VM"), "power_state") == "Running";
    let attached = database.bool("VBD", vbd, "currently_attached");
    let live = running && attached;
    let cd = &*database.text("VBD", vbd, "type") == "CD";
    let empty = database.bool("VBD", vbd, "empty");
    let halted_or_live = running == attached;
    let all = [
        ("attach", true),
        ("insert", cd && empty && halted_or_live),
        ("plug", running && !attached),
        ("unpause", live),
        ("unplug", live && !cd && database.bool("VBD", vbd, "unpluggable")),
        ("unplug_force", live && !cd && database.bool("VBD", vbd, "unpluggable")),
        ("pause", live),
        ("eject", cd && !empty && halted_or_live),
    ];
    all.into_iter().filter(|(_, allowed)| *allowed).map(|(operation, _)| operation).collect()
}

/// Tests an operation on a VBD.
///
/// # Errors
/// HANDLE_INVALID, or why not.
pub fn check_vbd(world: &World, vbd: &str, operation: &str) -> ApiResult<()> {
    let database = &world.database;
    database.check("VBD", vbd)?;
    let current = pairs(database.get("VBD", vbd, "current_operations"));
    if !current.is_empty() {
        return Err(in_progress(world.release, "VBD", vbd, &current));
    }
    if vbd_operations(world, vbd).contains(&operation) {
        return Ok(());
    }
    let vm = database.text("VBD", vbd, "VM");
    let (running, attached) =
        (&*database.text("VM", &vm, "power_state") == "Running", database.bool("VBD", vbd, "currently_attached"));
    let cd = &*database.text("VBD", vbd, "type") == "CD";
    Err(match operation {
        "insert" | "eject" if !cd => ApiError::new("VBD_NOT_REMOVABLE_MEDIA", [vbd]),
        "insert" if !database.bool("VBD", vbd, "empty") => ApiError::new("VBD_NOT_EMPTY", [vbd]),
        "eject" if database.bool("VBD", vbd, "empty") => ApiError::new("VBD_IS_EMPTY", [vbd]),
        "unplug" | "unplug_force" if cd && attached => ApiError::new("VBD_NOT_UNPLUGGABLE", [vbd]),
        _ if !running => {
            let state = database.text("VM", &vm, "power_state").to_lowercase();
            ApiError::new("VM_BAD_POWER_STATE", [&*vm, "running", &state])
        }
        "plug" => ApiError::new("DEVICE_ALREADY_ATTACHED", [vbd]),
        "unplug" | "unplug_force" if attached => ApiError::new("VBD_NOT_UNPLUGGABLE", [vbd]),
        _ => ApiError::new("DEVICE_ALREADY_DETACHED", [vbd]),
    })
}

/// Writes what a VBD admits now into its row.
pub fn update_vbd(world: &mut World, vbd: &str) {
    if world.database.exists("VBD", vbd) {
        let allowed = vbd_operations(world, vbd);
        let _ = world.database.set("VBD", vbd, "allowed_operations", Value::texts(allowed));
    }
}

/// Writes what a VIF admits now into its row.
pub fn update_vif(world: &mut World, vif: &str) {
    if !world.database.exists("VIF", vif) {
        return;
    }
    let database = &world.database;
    let running = &*database.text("VM", &database.text("VIF", vif, "VM"), "power_state") == "Running";
    let attached = database.bool("VIF", vif, "currently_attached");
    let more = match (running, attached) {
        (true, true) => Some("unplug"),
        (true, false) => Some("plug"),
        _ => None,
    };
    let _ = world.database.set("VIF", vif, "allowed_operations", Value::texts(["attach"].into_iter().chain(more)));
}

/// Brings everything up to date that depends on a VM's power state: itself, its devices and their disks.
pub fn update_vm(world: &mut World, vm: &str) {
    super::vm_lifecycle::update_allowed(world, vm);
    for vbd in world.database.texts("VM", vm, "VBDs") {
        update_vbd(world, &vbd);
        let vdi = world.database.text("VBD", &vbd, "VDI");
        update_vdi(world, &vdi);
    }
    for vif in world.database.texts("VM", vm, "VIFs") {
        update_vif(world, &vif);
    }
}
