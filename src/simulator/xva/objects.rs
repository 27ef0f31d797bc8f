//! Which objects an archive holds, what they are called in it, and what their records show.
//!
//! Every reference gets a name, `Ref:N`, in the order in which the server comes across it. N counts on from export to export until
//! the server restarts. The null reference gets a name too as soon as an optional field holds it: a VM without guest metrics shows
//! `guest_metrics`, `resident_on` and `affinity` under one and the same name of an object that is not there (seen in the recordings).

use std::collections::HashMap;

use crate::simulator::codec::Answer;
use crate::simulator::error::ApiResult;
use crate::simulator::generic;
use crate::simulator::model::{Model, release};
use crate::simulator::storage::ledger;
use crate::simulator::value::{NULL, Ref, Text, Value, is_null};
use crate::simulator::world::World;

/// What to export.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The VMs.
    pub vms: Vec<Ref>,
    /// With the VMs' snapshots and their links (metadata only).
    pub snapshots: bool,
    /// A suspended VM stays suspended, with its memory image.
    pub power_state: bool,
    /// With the hidden parents of the disks (metadata only).
    pub parents: bool,
    /// Devices to leave out: `vbd`, `vif`, `vgpu`, `vtpm`.
    pub excluded: Vec<Text>,
}

/// The names of objects in one archive.
#[derive(Debug, Clone, Default)]
pub struct Names {
    names: HashMap<Ref, Text>,
}

/// An object of an archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its class.
    pub class: Text,
    /// Its name.
    pub id: Text,
    /// Its record, with names for references.
    pub record: Value,
}

/// Everything that an archive's `ova.xml` lists.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// The objects in the order of the file.
    pub objects: Vec<Object>,
    /// The disks whose content belongs to the archive: name and reference, in the order of the stream.
    pub disks: Vec<(Text, Ref)>,
}

/// Lists what belongs to an archive.
///
/// # Errors
/// HANDLE_INVALID when a VM does not exist.
pub fn catalogue(world: &mut World, scope: &Scope) -> ApiResult<Catalogue> {
    let mut naming = Naming { world, scope, names: Names::default() };
    for vm in &scope.vms {
        naming.world.database.check("VM", vm)?;
        naming.vm(vm);
    }
    let names = naming.names;
    let show = Show { world, scope, names: &names };
    let mut objects = Vec::new();
    for class in CLASSES {
        for reference in world.database.refs(class).iter().rev() {
            if let Some(id) = names.names.get(reference) {
                objects.push(Object { class: class.into(), id: id.clone(), record: show.record(class, reference)? });
            }
        }
    }
    let in_archive = world.database.refs("VDI").into_iter();
    let mut disks: Vec<_> = in_archive.filter_map(|vdi| Some((names.names.get(&vdi)?.clone(), vdi))).collect();
    disks.sort();
    Ok(Catalogue { objects, disks })
}

/// The classes of an archive in the order of the file.
const CLASSES: [&str; 9] = ["VM", "VM_metrics", "VM_guest_metrics", "VBD", "VIF", "network", "VDI", "SR", "VTPM"];

struct Naming<'a> {
    world: &'a mut World,
    scope: &'a Scope,
    names: Names,
}

impl Naming<'_> {
    fn add(&mut self, reference: &Ref) {
        if !self.names.names.contains_key(reference) {
            let id = format!("Ref:{}", self.world.exported);
            self.world.exported += 1;
            self.names.names.insert(reference.clone(), id.into());
        }
    }

    fn has(&self, reference: &Ref) -> bool {
        self.names.names.contains_key(reference)
    }

    fn takes(&self, device: &str) -> bool {
        !self.scope.excluded.iter().any(|excluded| **excluded == *device)
    }

    /// The server recurses; chains of parents can be long, so this keeps a list of what it still has to do.
    fn vm(&mut self, vm: &Ref) {
        let mut todo = vec![Step::Vm(vm.clone())];
        while let Some(step) = todo.pop() {
            match step {
                Step::Vm(vm) if self.world.database.exists("VM", &vm) && !self.has(&vm) => {
                    self.add(&vm);
                    self.devices(&vm);
                    // Popped from the end: what comes first is pushed last.
                    todo.push(Step::Rest(vm.clone()));
                    let snapshots =
                        if self.scope.snapshots { self.world.database.texts("VM", &vm, "snapshots") } else { Vec::new() };
                    todo.extend(snapshots.into_iter().rev().map(Step::Vm));
                }
                Step::Vm(_) => {}
                Step::Rest(vm) => todo.extend(self.rest(&vm)),
            }
        }
    }

    fn devices(&mut self, vm: &Ref) {
        for vif in self.references(vm, "VIFs", "vif") {
            self.add(&vif);
            let network = self.world.database.text("VIF", &vif, "network");
            self.add(&network);
        }
        for vbd in self.references(vm, "VBDs", "vbd") {
            self.add(&vbd);
            let vdi = self.world.database.text("VBD", &vbd, "VDI");
            if !self.world.database.bool("VBD", &vbd, "empty") && self.world.database.exists("VDI", &vdi) {
                self.disk(&vdi);
            }
        }
        for vtpm in self.references(vm, "VTPMs", "vtpm") {
            self.add(&vtpm);
        }
    }

    fn references(&self, vm: &Ref, field: &str, device: &str) -> Vec<Ref> {
        if self.takes(device) { self.world.database.texts("VM", vm, field) } else { Vec::new() }
    }

    fn disk(&mut self, vdi: &Ref) {
        self.add(vdi);
        let sr = self.world.database.text("VDI", vdi, "SR");
        self.add(&sr);
        let mut at = vdi.clone();
        while let Some(parent) = ledger::parent_of(self.world, &at).filter(|parent| self.scope.parents && !self.has(parent)) {
            self.add(&parent);
            at = parent;
        }
    }

    /// What comes after a VM's devices and snapshots; the parent is still to be followed.
    fn rest(&mut self, vm: &Ref) -> Option<Step> {
        let text = |world: &World, field: &str| world.database.text("VM", vm, field);
        let image = text(self.world, "suspend_VDI");
        let suspended = &*text(self.world, "power_state") == "Suspended";
        if self.scope.power_state && suspended && self.world.database.exists("VDI", &image) {
            self.disk(&image);
        }
        // Metrics are in archives since some release after 8.2.
        let metrics = (self.world.release >= release("22.0.0")).then_some("metrics");
        for field in metrics.into_iter().chain(["guest_metrics", "resident_on", "affinity"]) {
            let reference = text(self.world, field);
            self.add(&reference);
        }
        let parent = text(self.world, "parent");
        (self.scope.snapshots && self.world.database.exists("VM", &parent)).then_some(Step::Vm(parent))
    }
}

enum Step {
    Vm(Ref),
    Rest(Ref),
}

struct Show<'a> {
    world: &'a World,
    scope: &'a Scope,
    names: &'a Names,
}

impl Show<'_> {
    fn record(&self, class: &'static str, reference: &Ref) -> ApiResult {
        if class == "VTPM" {
            return Ok(self.vtpm(reference));
        }
        let facts = Model::get().class(class).ok_or_else(|| crate::simulator::error::ApiError::internal(class))?;
        let mut record = Answer::Record(generic::record(self.world, facts, reference)?).to_value();
        if let Value::Map(members) = &mut record {
            for (field, value) in members.iter_mut() {
                self.field(class, field, value);
            }
        }
        Ok(record)
    }

    fn field(&self, class: &str, field: &str, value: &mut Value) {
        match (class, field) {
            (_, "allowed_operations") | ("VM", "consoles" | "crash_dumps") | ("VDI", "crash_dumps") => {
                *value = Value::Set(Vec::new());
            }
            ("network" | "SR", "PIFs" | "PBDs") => *value = Value::Set(Vec::new()),
            (_, "current_operations") | ("VM" | "SR" | "network", "blobs") => *value = Value::Map(Vec::new()),
            ("VM", field) => self.vm_field(field, value),
            ("VBD" | "VIF", "metrics") | ("VDI", "parent") | ("SR", "introduced_by") => *value = Value::null(),
            ("VBD" | "VIF", "currently_attached") if !self.scope.power_state => *value = Value::Bool(false),
            ("VBD", "VM" | "VDI") | ("VIF", "VM" | "network") | ("VDI", "SR") => *value = self.name(value),
            ("VDI", "VBDs") | ("SR", "VDIs") | ("network", "VIFs") => *value = self.named(value),
            _ => {}
        }
    }

    fn vm_field(&self, field: &str, value: &mut Value) {
        let plain = !self.scope.snapshots;
        match field {
            "VBDs" | "VIFs" | "VTPMs" | "VGPUs" => *value = self.named(value),
            "VUSBs" | "attached_PCIs" | "groups" => *value = Value::Set(Vec::new()),
            "resident_on" | "affinity" | "guest_metrics" | "metrics" => *value = self.name(value),
            "protection_policy" | "snapshot_schedule" | "appliance" | "scheduled_to_be_resident_on" => *value = Value::null(),
            "power_state" if !self.scope.power_state => *value = Value::str("Halted"),
            "suspend_VDI" if self.scope.power_state => *value = self.name(value),
            "suspend_VDI" => *value = Value::null(),
            "is_a_snapshot" if plain => *value = Value::Bool(false),
            "snapshots" if plain => *value = Value::Set(Vec::new()),
            "snapshot_time" if plain => *value = Value::Date("19700101T00:00:00Z".into()),
            "snapshot_of" | "parent" if plain => *value = Value::null(),
            "snapshot_of" | "parent" => *value = self.name(value),
            _ => {}
        }
    }

    /// The name of a reference; null when the archive does not know it.
    fn name(&self, value: &Value) -> Value {
        let name = value.as_text().and_then(|reference| self.names.names.get(reference));
        name.map_or_else(Value::null, |name| Value::Str(name.clone()))
    }

    /// The names of those references of a set that the archive knows.
    fn named(&self, value: &Value) -> Value {
        let known = value.items().iter().filter_map(Value::as_text).filter_map(|reference| self.names.names.get(reference));
        Value::texts(known.cloned())
    }

    /// The server writes this class with the field names of its own source.
    fn vtpm(&self, vtpm: &Ref) -> Value {
        let database = &self.world.database;
        let flag = |field| Value::Bool(database.bool("VTPM", vtpm, field));
        let members = [
            ("vTPM'_VM", self.name(&Value::Str(database.text("VTPM", vtpm, "VM")))),
            ("vTPM'_uuid", Value::Str(database.text("VTPM", vtpm, "uuid"))),
            ("vTPM'_is_unique", flag("is_unique")),
            ("vTPM'_is_protected", flag("is_protected")),
            ("vTPM'_content", Value::str("")),
        ];
        Value::Map(members.into_iter().map(|(name, value)| (Text::from(name), value)).collect())
    }
}

impl Object {
    /// A text, reference or enum of the record; empty when it is not there.
    pub fn text(&self, field: &str) -> Text {
        self.record.member(field).and_then(Value::as_text).cloned().unwrap_or_else(|| "".into())
    }

    /// A name that refers to another object; none for null.
    pub fn refers(&self, field: &str) -> Option<Text> {
        Some(self.text(field)).filter(|id| !is_null(id) && &**id != NULL)
    }

    /// A boolean of the record; false when it is not there.
    pub fn flag(&self, field: &str) -> bool {
        matches!(self.record.member(field), Some(Value::Bool(true)))
    }
}
