//! Which operations a VM admits now: the server's tests in the server's order, and the two fields that follow from them.
//!
//! The tests are pure: they look at a [`Subject`], which is read off the database in one piece.

use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::model::{Release, release};
use crate::simulator::value::{Ref, Text, Value, is_null};
use crate::simulator::world::World;

/// Operations that `allowed_operations` can name, in the order in which the server tries them, and the release that brought them.
const OFFERED: [(&str, &str); 34] = [
    ("snapshot", "orlando"),
    ("clone", "rio"),
    ("copy", "rio"),
    ("revert", "midnight-ride"),
    ("checkpoint", "midnight-ride"),
    ("snapshot_with_quiesce", "orlando"),
    ("provision", "rio"),
    ("start", "rio"),
    ("start_on", "rio"),
    ("pause", "rio"),
    ("unpause", "rio"),
    ("clean_shutdown", "rio"),
    ("clean_reboot", "rio"),
    ("hard_shutdown", "rio"),
    ("hard_reboot", "rio"),
    ("suspend", "rio"),
    ("resume", "rio"),
    ("resume_on", "rio"),
    ("pool_migrate", "rio"),
    ("migrate_send", "tampa"),
    ("changing_dynamic_range", "midnight-ride"),
    ("changing_static_range", "midnight-ride"),
    ("changing_shadow_memory", "midnight-ride"),
    ("changing_VCPUs", "midnight-ride"),
    ("changing_VCPUs_live", "rio"),
    ("changing_NVRAM", "naples"),
    ("make_into_template", "rio"),
    ("export", "rio"),
    ("metadata_export", "clearwater"),
    ("destroy", "rio"),
    ("create_vtpm", "22.26.0"),
    ("sysprep", "25.24.0"),
    ("csvm", "rio"),
    ("get_boot_record", "rio"),
];

/// What `allowed_operations` names although the tests admit more.
const NEVER_NAMED: [&str; 3] = ["changing_VCPUs", "csvm", "get_boot_record"];

/// What the tests look at.
#[derive(Debug)]
pub struct Subject {
    reference: Ref,
    release: Release,
    power_state: Text,
    template: bool,
    default_template: bool,
    snapshot: bool,
    control_domain: bool,
    hvm: bool,
    immobile: bool,
    current: Vec<(Text, Text)>,
    blocked: Vec<(Text, Text)>,
    guest: Vec<(Text, Text)>,
    reset_disk: bool,
    devices: Devices,
    bound: Option<ApiError>,
    clone_suspended: bool,
    upgrading: bool,
}

#[derive(Debug)]
struct Devices {
    vtpm: bool,
    vusb: bool,
    vgpu: bool,
    pci: bool,
}

impl Subject {
    /// Reads a VM.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn look(world: &World, vm: &str) -> ApiResult<Self> {
        let database = &world.database;
        database.check("VM", vm)?;
        let flag = |field| database.bool("VM", vm, field);
        let some = |field| !database.texts("VM", vm, field).is_empty();
        let metrics = database.text("VM", vm, "metrics");
        let pool = database.refs("pool").into_iter().next().unwrap_or_default();
        let pool_key = |key| database.map_text("pool", &pool, "other_config", key);
        Ok(Self {
            reference: vm.into(),
            release: world.release,
            power_state: database.text("VM", vm, "power_state"),
            template: flag("is_a_template"),
            default_template: is_default_template(world, vm),
            snapshot: flag("is_a_snapshot"),
            control_domain: flag("is_control_domain"),
            hvm: !database.text("VM", vm, "HVM_boot_policy").is_empty(),
            immobile: database.bool("VM_metrics", &metrics, "nomigrate") || database.bool("VM_metrics", &metrics, "nested_virt"),
            current: pairs(database.get("VM", vm, "current_operations")),
            blocked: pairs(database.get("VM", vm, "blocked_operations")),
            guest: pairs(database.get("VM_guest_metrics", &database.text("VM", vm, "guest_metrics"), "other")),
            reset_disk: has_reset_disk(world, vm),
            devices: Devices { vtpm: some("VTPMs"), vusb: some("VUSBs"), vgpu: some("VGPUs"), pci: some("attached_PCIs") },
            bound: bound(world, vm),
            clone_suspended: pool_key("allow_clone_suspended_vm").is_some(),
            upgrading: pool_key("rolling_upgrade_in_progress").is_some(),
        })
    }

    /// Tests an operation. `strict` also asks whether the guest has what it takes, which an actual call is let through without.
    ///
    /// # Errors
    /// The first test that fails.
    pub fn check(&self, operation: &str, strict: bool) -> ApiResult<()> {
        self.check_blocked(operation)?;
        self.check_power(operation)?;
        self.check_busy(operation)?;
        self.check_kind(operation)?;
        if self.immobile && matches!(operation, "suspend" | "checkpoint" | "pool_migrate" | "migrate_send") {
            return Err(self.error("VM_IS_IMMOBILE"));
        }
        self.check_control_domain(operation)?;
        self.check_guest(operation, strict)?;
        self.check_devices(operation)?;
        match &self.bound {
            Some(error) if operation == "make_into_template" => Err(error.clone()),
            _ if self.upgrading && !MEANWHILE.contains(&operation) => Err(ApiError::bare("NOT_SUPPORTED_DURING_UPGRADE")),
            _ => Ok(()),
        }
    }

    /// All operations that pass, in the server's order: the last test first.
    pub fn allowed(&self) -> Vec<&'static str> {
        let offered =
            OFFERED.iter().rev().filter(|(operation, since)| self.release >= release(since) && !NEVER_NAMED.contains(operation));
        offered.map(|(operation, _)| *operation).filter(|operation| self.check(operation, true).is_ok()).collect()
    }

    fn error(&self, code: &str) -> ApiError {
        ApiError::new(code, [&*self.reference])
    }

    fn check_blocked(&self, operation: &str) -> ApiResult<()> {
        match self.blocked.iter().find(|(blocked, _)| **blocked == *operation) {
            Some((_, reason)) => Err(ApiError::new("OPERATION_BLOCKED", [&*self.reference, reason])),
            None => Ok(()),
        }
    }

    fn check_power(&self, operation: &str) -> ApiResult<()> {
        let states = self.power_states(operation);
        if states.iter().any(|state| **state == *self.power_state) {
            return Ok(());
        }
        let expected = states.iter().map(|state| state.to_lowercase()).collect::<Vec<_>>().join(", ");
        Err(ApiError::new("VM_BAD_POWER_STATE", [&*self.reference, &expected, &self.power_state.to_lowercase()]))
    }

    fn power_states(&self, operation: &str) -> &'static [&'static str] {
        match operation {
            "changing_VCPUs" | "changing_static_range" | "changing_memory_limits" if self.control_domain => {
                &["Halted", "Running"]
            }
            "changing_VCPUs" | "changing_static_range" | "changing_memory_limits" => &["Halted"],
            "changing_shadow_memory"
            | "changing_NVRAM"
            | "make_into_template"
            | "provision"
            | "start"
            | "start_on"
            | "create_vtpm" => &["Halted"],
            "unpause" => &["Paused"],
            "csvm" | "resume" | "resume_on" => &["Suspended"],
            "clean_reboot"
            | "clean_shutdown"
            | "changing_VCPUs_live"
            | "pause"
            | "pool_migrate"
            | "snapshot_with_quiesce"
            | "suspend"
            | "sysprep"
            | "send_sysrq"
            | "send_trigger"
            | "call_plugin"
            | "data_source_op"
            | "changing_memory_live"
            | "awaiting_memory_live"
            | "changing_shadow_memory_live" => &["Running"],
            "changing_dynamic_range" => &["Halted", "Running"],
            "clone" | "copy" if self.snapshot || self.clone_suspended => &["Halted", "Suspended"],
            "clone" | "copy" => &["Halted"],
            "create_template" | "destroy" | "export" => &["Halted", "Suspended"],
            "hard_reboot" => &["Paused", "Running"],
            "checkpoint" | "get_boot_record" | "shutdown" | "hard_shutdown" => &["Paused", "Suspended", "Running"],
            "migrate_send" => &["Halted", "Suspended", "Running"],
            _ => &["Halted", "Paused", "Suspended", "Running"],
        }
    }

    fn check_busy(&self, operation: &str) -> ApiResult<()> {
        let busy = !self.current.is_empty() && !self.goes_together(operation);
        if busy { Err(in_progress(self.release, "VM", &self.reference, &self.current)) } else { Ok(()) }
    }

    fn goes_together(&self, operation: &str) -> bool {
        let all_in = |set: &[&str]| set.contains(&operation) && self.current.iter().all(|(_, current)| set.contains(&&**current));
        let during = |state: &str| matches!(self.current.as_slice(), [(_, current)] if **current == *state);
        let not_itself = |last: &str| operation == last && self.current.iter().all(|(_, current)| **current != *last);
        all_in(&["clone", "copy", "export"])
            || all_in(&["snapshot", "checkpoint"])
            || (operation == "snapshot" && during("snapshot_with_quiesce"))
            || (matches!(operation, "metadata_export" | "clean_shutdown" | "clean_reboot") && during("migrate_send"))
            || not_itself("hard_shutdown")
            || (not_itself("hard_reboot") && !self.current.iter().any(|(_, current)| &**current == "hard_shutdown"))
    }

    fn check_kind(&self, operation: &str) -> ApiResult<()> {
        let wrong_kind = |code: &str| Err(ApiError::new(code, [&*self.reference, operation]));
        if self.template && !self.snapshot && !self.fits_template(operation) {
            return wrong_kind("VM_IS_TEMPLATE");
        }
        if self.snapshot && !FOR_SNAPSHOTS.contains(&operation) {
            return wrong_kind("VM_IS_SNAPSHOT");
        }
        match operation {
            "provision" if !self.template => Err(ApiError::bare("PROVISION_ONLY_ALLOWED_ON_TEMPLATE")),
            "revert" if !self.snapshot => Err(ApiError::bare("REVERT_ONLY_ALLOWED_ON_SNAPSHOT")),
            _ => Ok(()),
        }
    }

    fn fits_template(&self, operation: &str) -> bool {
        operation.starts_with("changing_")
            || matches!(operation, "clone" | "copy" | "export" | "metadata_export" | "provision")
            || (!self.default_template && matches!(operation, "destroy" | "migrate_send"))
    }

    fn check_control_domain(&self, operation: &str) -> ApiResult<()> {
        let fits = matches!(
            operation,
            "metadata_export" | "changing_static_range" | "changing_dynamic_range" | "changing_memory_limits"
        );
        if self.control_domain && !fits {
            return Err(ApiError::new("OPERATION_NOT_ALLOWED", ["This operation is not allowed on a control domain"]));
        }
        Ok(())
    }

    fn check_guest(&self, operation: &str, strict: bool) -> ApiResult<()> {
        let says = |feature: &str| self.guest.iter().find(|(key, value)| **key == *feature && &**value != "0");
        let live = matches!(&*self.power_state, "Running" | "Paused");
        let needed: &[&str] = match operation {
            "suspend" | "checkpoint" | "pool_migrate" | "migrate_send" => &["feature-suspend"],
            "clean_shutdown" => &["feature-shutdown", "feature-poweroff"],
            "clean_reboot" => &["feature-shutdown", "feature-reboot"],
            "changing_VCPUs_live" => &["feature-vcpu-hotplug"],
            _ => &[],
        };
        if strict && live && self.hvm && !needed.is_empty() && !needed.iter().any(|feature| says(feature).is_some()) {
            return Err(self.error("VM_LACKS_FEATURE"));
        }
        if let (true, "suspend" | "checkpoint", Some((_, reason))) = (live, operation, says("data-cant-suspend-reason")) {
            return Err(ApiError::new("VM_NON_SUSPENDABLE", [&*self.reference, reason]));
        }
        let agrees = self.release < release("quebec") && says("feature-snapshot").is_some() && says("feature-quiesce").is_some();
        if operation == "snapshot_with_quiesce" && !agrees {
            return Err(self.error("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED"));
        }
        Ok(())
    }

    fn check_devices(&self, operation: &str) -> ApiResult<()> {
        if self.reset_disk && matches!(operation, "snapshot" | "checkpoint" | "suspend") {
            return Err(ApiError::bare("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"));
        }
        let moves = matches!(operation, "checkpoint" | "suspend" | "pool_migrate" | "migrate_send");
        if self.devices.pci && moves {
            return Err(self.error("VM_HAS_PCI_ATTACHED"));
        }
        if self.devices.vgpu && matches!(operation, "pool_migrate" | "migrate_send") && self.release < release("inverness") {
            return Err(self.error("VM_HAS_VGPU"));
        }
        if self.devices.vusb && (moves || operation == "snapshot") {
            return Err(self.error("VM_HAS_VUSBS"));
        }
        if self.devices.vtpm && operation == "create_vtpm" {
            return Err(ApiError::new("VTPM_MAX_AMOUNT_REACHED", ["1"]));
        }
        Ok(())
    }
}

/// What a snapshot admits at all.
const FOR_SNAPSHOTS: [&str; 7] = ["revert", "clone", "copy", "export", "destroy", "hard_shutdown", "metadata_export"];

/// What is supported while a pool is being upgraded host by host.
const MEANWHILE: [&str; 14] = [
    "start",
    "start_on",
    "pause",
    "unpause",
    "clean_shutdown",
    "clean_reboot",
    "hard_shutdown",
    "hard_reboot",
    "suspend",
    "resume",
    "resume_on",
    "pool_migrate",
    "export",
    "metadata_export",
];

/// A VM that the pool came with and that cannot be removed.
pub fn is_default_template(world: &World, vm: &str) -> bool {
    let database = &world.database;
    let marked = database.map_text("VM", vm, "other_config", "default_template").is_some_and(|value| &*value == "true");
    marked || (world.release >= release("falcon") && database.bool("VM", vm, "is_default_template"))
}

fn has_reset_disk(world: &World, vm: &str) -> bool {
    let database = &world.database;
    database.texts("VM", vm, "VBDs").iter().any(|vbd| {
        let vdi = database.text("VBD", vbd, "VDI");
        &*database.text("VBD", vbd, "type") != "CD" && &*database.text("VDI", &vdi, "on_boot") == "reset"
    })
}

fn bound(world: &World, vm: &str) -> Option<ApiError> {
    let named = [
        ("appliance", "VM_IS_PART_OF_AN_APPLIANCE"),
        ("protection_policy", "VM_ASSIGNED_TO_PROTECTION_POLICY"),
        ("snapshot_schedule", "VM_ASSIGNED_TO_SNAPSHOT_SCHEDULE"),
    ];
    named.iter().find_map(|(field, code)| {
        let other = world.database.text("VM", vm, field);
        (!is_null(&other)).then(|| ApiError::new(*code, [vm, &other]))
    })
}

/// The texts of a map field.
pub fn pairs(map: Option<&Value>) -> Vec<(Text, Text)> {
    let members = map.map_or(&[][..], Value::members);
    members.iter().filter_map(|(key, value)| Some((key.clone(), value.as_text()?.clone()))).collect()
}

/// OTHER_OPERATION_IN_PROGRESS in the shape of the release; several operations are written as `{a,b}`.
pub fn in_progress(shown: Release, class: &str, reference: &str, current: &[(Text, Text)]) -> ApiError {
    let join = |texts: Vec<&str>| match texts.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("{{{}}}", several.join(",")),
    };
    let operations = join(current.iter().map(|(_, operation)| &**operation).collect());
    let tasks = join(current.iter().map(|(task, _)| &**task).collect());
    if shown >= release("25.27.0") {
        ApiError::new("OTHER_OPERATION_IN_PROGRESS", [class, reference, &operations, &tasks])
    } else {
        ApiError::new("OTHER_OPERATION_IN_PROGRESS", [&format!("{class}.{operations}"), reference])
    }
}

/// Tests an operation on a VM.
///
/// # Errors
/// HANDLE_INVALID, or the first test that fails.
pub fn check(world: &World, vm: &str, operation: &str, strict: bool) -> ApiResult<()> {
    Subject::look(world, vm)?.check(operation, strict)
}

/// Writes what a VM admits now into its row; a VM that is gone is left alone.
pub fn update_allowed(world: &mut World, vm: &str) {
    if let Ok(subject) = Subject::look(world, vm) {
        let _ = world.database.set("VM", vm, "allowed_operations", Value::texts(subject.allowed()));
    }
}
