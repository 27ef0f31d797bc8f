//! Objects of an archive to rows.
//!
//! The rule: nothing of an archive is trusted but its text. References in it are names of other objects in it; whatever names
//! anything else becomes null. Fields that the server computes start as those of a new object.

use std::collections::HashMap;

use super::{DiskWriter, Settings};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::model::{Model, Type};
use crate::simulator::operations::{copies, vdi};
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;
use crate::simulator::xva::objects::Object;

/// What an import has made so far.
#[derive(Debug, Default)]
pub(super) struct Created {
    /// The VMs, in the order of the archive.
    pub(super) vms: Vec<Ref>,
    /// The VMs that are no snapshots.
    plain: Vec<Ref>,
    /// Disks made for this import, by their name in the archive, with their size.
    disks: Vec<(Text, Ref, u64)>,
    /// What the names of the archive stand for.
    table: HashMap<Text, Ref>,
}

impl Created {
    /// What the import's task results in: snapshots are not mentioned beside their VMs.
    pub(super) fn result(&self) -> Vec<Ref> {
        if self.plain.is_empty() { self.vms.clone() } else { self.plain.clone() }
    }

    /// Writers for the disks whose content is still to come.
    pub(super) fn writers(&self) -> HashMap<Text, DiskWriter> {
        self.disks.iter().map(|(name, vdi, size)| (name.clone(), DiskWriter::new(vdi.clone(), *size))).collect()
    }

    /// The disks that were made.
    pub(super) fn own_disks(&self) -> Vec<Ref> {
        self.disks.iter().map(|(_, vdi, _)| vdi.clone()).collect()
    }

    fn lookup(&self, name: Option<Text>) -> Option<Ref> {
        self.table.get(&name?).cloned()
    }
}

/// Makes everything; what was made before an error stands in `created`.
///
/// # Errors
/// IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND, VM_TO_IMPORT_IS_NOT_NEWER_VERSION, DUPLICATE_MAC_SEED, VM_BAD_POWER_STATE, and those of
/// making disks.
pub(super) async fn all(context: &Context, settings: &Settings, objects: &[Object], created: &mut Created) -> ApiResult<()> {
    let skipped = context.step(|world| check(world, settings, objects))?;
    let objects: Vec<&Object> = objects.iter().filter(|object| !skipped.contains(&object.id)).collect();
    match &settings.sr {
        Some(sr) => make_disks(context, sr, &objects, created).await?,
        None => context.step(|world| find_disks(world, settings, &objects, created))?,
    }
    if settings.dry_run {
        return context.step(|world| {
            pretend(world, &objects, created);
            Ok(())
        });
    }
    context.step(|world| {
        let maker = Maker { settings, objects: &objects, task: &context.task };
        for object in of_class(&objects, "network") {
            let network = find_network(world, object);
            created.table.insert(object.id.clone(), network);
        }
        for object in of_class(&objects, "VM") {
            maker.vm(world, object, created)?;
        }
        maker.link(world, created)
    })
}

fn of_class<'a>(objects: &[&'a Object], class: &'static str) -> impl Iterator<Item = &'a Object> {
    objects.iter().copied().filter(move |object| &*object.class == class)
}

/// Whether VMs may take their old place. Answers which of them must be left alone.
fn check(world: &World, settings: &Settings, objects: &[Object]) -> ApiResult<Vec<Text>> {
    let mut skipped = Vec::new();
    if !settings.restore {
        return Ok(skipped);
    }
    for object in objects.iter().filter(|object| &*object.class == "VM") {
        let existing = world.database.by_uuid("VM", &object.text("uuid")).cloned();
        if let Some(existing) = &existing {
            let state = world.database.text("VM", existing, "power_state");
            let (old, new) = (world.database.int("VM", existing, "version"), int(object, "version"));
            match () {
                () if &*state != "Halted" && settings.force => skipped.push(object.id.clone()),
                () if &*state != "Halted" => return Err(ApiError::new("VM_BAD_POWER_STATE", [&**existing, "Halted", &*state])),
                () if new <= old && !settings.force => {
                    let versions = [existing.to_string(), old.to_string(), new.to_string()];
                    return Err(ApiError::new("VM_TO_IMPORT_IS_NOT_NEWER_VERSION", versions));
                }
                () => {}
            }
        }
        check_mac_seed(world, object, existing.as_ref())?;
    }
    Ok(skipped)
}

/// No two VMs may draw their addresses from one seed; snapshots do, and do not count.
fn check_mac_seed(world: &World, object: &Object, replaced: Option<&Ref>) -> ApiResult<()> {
    let Some(seed) = object.record.member("other_config").and_then(|config| config.member("mac_seed")).and_then(Value::as_text)
    else {
        return Ok(());
    };
    if object.flag("is_a_snapshot") {
        return Ok(());
    }
    let database = &world.database;
    let same = |vm: &&Ref| {
        Some(*vm) != replaced
            && !database.bool("VM", vm, "is_a_snapshot")
            && database.map_text("VM", vm, "other_config", "mac_seed").as_ref() == Some(seed)
    };
    if database.refs("VM").iter().any(|vm| same(&vm)) { Err(ApiError::new("DUPLICATE_MAC_SEED", [&**seed])) } else { Ok(()) }
}

fn int(object: &Object, field: &str) -> i64 {
    match object.record.member(field) {
        Some(Value::Int(value)) => *value,
        _ => 0,
    }
}

/// The disks that VMs need: those of their drives, and memory images.
fn needed<'a>(objects: &[&'a Object]) -> Vec<&'a Object> {
    let drives = of_class(objects, "VBD").filter(|vbd| &*vbd.text("type") != "CD").filter_map(|vbd| vbd.refers("VDI"));
    let images =
        of_class(objects, "VM").filter(|vm| &*vm.text("power_state") == "Suspended").filter_map(|vm| vm.refers("suspend_VDI"));
    let wanted: Vec<Text> = drives.chain(images).collect();
    of_class(objects, "VDI").filter(|vdi| wanted.contains(&vdi.id)).collect()
}

async fn make_disks(context: &Context, sr: &Ref, objects: &[&Object], created: &mut Created) -> ApiResult<()> {
    for object in needed(objects) {
        let size = int(object, "virtual_size");
        let copied = ["name_label", "name_description", "type", "sharable", "read_only", "other_config", "xenstore_data", "tags"];
        let fields = copied.into_iter().filter_map(|field| Some((field, object.record.member(field)?.clone()))).collect();
        let made = vdi::create_in(context, sr, size.max(1), fields, None).await?;
        created.table.insert(object.id.clone(), made.clone());
        created.disks.push((object.id.clone(), made, size.max(0) as u64));
    }
    context.step(|world| find_discs(world, objects, created));
    Ok(())
}

/// ISO images are never in an archive: the one with the same name is taken, if there is one.
fn find_discs(world: &World, objects: &[&Object], created: &mut Created) {
    let discs: Vec<Text> =
        of_class(objects, "VBD").filter(|vbd| &*vbd.text("type") == "CD").filter_map(|vbd| vbd.refers("VDI")).collect();
    for object in of_class(objects, "VDI").filter(|vdi| discs.contains(&vdi.id)) {
        let (uuid, location) = (object.text("uuid"), object.text("location"));
        let by_location =
            || world.database.refs("VDI").into_iter().find(|vdi| world.database.text("VDI", vdi, "location") == location);
        if let Some(found) = world.database.by_uuid("VDI", &uuid).cloned().or_else(by_location) {
            created.table.insert(object.id.clone(), found);
        }
    }
}

/// The disks that metadata speak of must be there.
fn find_disks(world: &World, settings: &Settings, objects: &[&Object], created: &mut Created) -> ApiResult<()> {
    let database = &world.database;
    let mut missing = Vec::new();
    for object in needed(objects) {
        let uuid = object.text("uuid");
        let asked = settings.disks.get(&uuid).unwrap_or(&uuid);
        let by_location = || {
            let location = object.text("location");
            let sr = of_class(objects, "SR").find(|sr| Some(&sr.id) == object.refers("SR").as_ref()).map(|sr| sr.text("uuid"));
            let sr = sr.and_then(|sr| database.by_uuid("SR", &sr).cloned())?;
            database.texts("SR", &sr, "VDIs").into_iter().find(|vdi| database.text("VDI", vdi, "location") == location)
        };
        match database.by_uuid("VDI", asked).cloned().or_else(by_location) {
            Some(found) => drop(created.table.insert(object.id.clone(), found)),
            None => missing.push(object.id.to_string()),
        }
    }
    find_discs(world, objects, created);
    if missing.is_empty() || settings.force {
        Ok(())
    } else {
        Err(ApiError::new("IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND", missing))
    }
}

/// What a dry run answers: references to nothing.
fn pretend(world: &mut World, objects: &[&Object], created: &mut Created) {
    for object in of_class(objects, "VM") {
        let reference = world.reference();
        created.vms.push(reference.clone());
        if !object.flag("is_a_snapshot") {
            created.plain.push(reference);
        }
    }
}

fn find_network(world: &mut World, object: &Object) -> Ref {
    let name = object.text("name_label");
    let known = world.database.refs("network");
    let by_name = known.iter().find(|network| world.database.text("network", network, "name_label") == name).cloned();
    if let Some(found) = by_name.or_else(|| world.database.by_uuid("network", &object.text("uuid")).cloned()) {
        return found;
    }
    let (reference, uuid) = (world.reference(), world.uuid());
    let bridge = format!("xapi{}", known.len());
    let fields = [
        ("uuid", Value::Str(uuid)),
        ("name_label", Value::Str(name)),
        ("name_description", Value::Str(object.text("name_description"))),
        ("MTU", Value::Int(1500)),
        ("bridge", Value::str(bridge)),
        ("managed", Value::Bool(true)),
        ("default_locking_mode", Value::str("unlocked")),
    ];
    world.database.create("network", reference, fields)
}

struct Maker<'a> {
    settings: &'a Settings,
    objects: &'a [&'a Object],
    task: &'a Ref,
}

impl Maker<'_> {
    fn vm(&self, world: &mut World, object: &Object, created: &mut Created) -> ApiResult<()> {
        if self.settings.restore
            && let Some(existing) = world.database.by_uuid("VM", &object.text("uuid")).cloned()
        {
            copies::destroy_vm(world, &existing);
        }
        let reference = world.reference();
        let uuid = if self.settings.restore { object.text("uuid") } else { world.uuid() };
        let mut fields = known_fields("VM", object);
        fields.extend(self.vm_changes(world, object, created));
        fields.push(("uuid", Value::Str(uuid)));
        world.database.create("VM", reference.clone(), fields);
        created.table.insert(object.id.clone(), reference.clone());
        created.vms.push(reference.clone());
        if !object.flag("is_a_snapshot") {
            created.plain.push(reference.clone());
        }
        self.devices(world, object, &reference, created);
        Ok(())
    }

    fn vm_changes(&self, world: &mut World, object: &Object, created: &Created) -> Vec<(&'static str, Value)> {
        let image = created.lookup(object.refers("suspend_VDI"));
        let suspended = &*object.text("power_state") == "Suspended" && image.is_some();
        let snapshot = object.flag("is_a_snapshot");
        let metadata = if snapshot { object.text("snapshot_metadata") } else { "".into() };
        let metrics = self.part(world, object, "metrics", "VM_metrics").unwrap_or_else(|| {
            let (reference, uuid) = (world.reference(), world.uuid());
            world.database.create("VM_metrics", reference, [("uuid", Value::Str(uuid))])
        });
        let guest_metrics = self.part(world, object, "guest_metrics", "VM_guest_metrics");
        let reference = |target: Option<Ref>| target.map_or_else(Value::null, Value::Str);
        vec![
            ("power_state", Value::str(if suspended { "Suspended" } else { "Halted" })),
            ("suspend_VDI", reference(image.filter(|_| suspended))),
            ("metrics", Value::Str(metrics)),
            ("guest_metrics", reference(guest_metrics)),
            ("snapshot_metadata", Value::Str(metadata)),
            ("is_default_template", Value::Bool(false)),
            ("ha_always_run", Value::Bool(false)),
            ("domid", Value::Int(-1)),
            ("other_config", self.other_config(world, object)),
            ("current_operations", Value::pairs([(self.task.clone(), "import")])),
        ]
    }

    /// The object's part of this field as a row of its own, if the archive holds it.
    fn part(&self, world: &mut World, object: &Object, field: &str, class: &'static str) -> Option<Ref> {
        let name = object.refers(field)?;
        let part = of_class(self.objects, class).find(|part| part.id == name)?;
        let (reference, uuid) = (world.reference(), world.uuid());
        let mut fields = known_fields(class, part);
        fields.push(("uuid", Value::Str(uuid)));
        Some(world.database.create(class, reference, fields))
    }

    /// Unless it takes its old place, a VM draws new addresses from a new seed.
    fn other_config(&self, world: &mut World, object: &Object) -> Value {
        let mut members = object.record.member("other_config").map(|map| map.members().to_vec()).unwrap_or_default();
        members.retain(|(key, _)| &**key != "import_task" && (self.settings.restore || &**key != "mac_seed"));
        if !self.settings.restore {
            members.insert(0, ("mac_seed".into(), Value::Str(world.uuid())));
        }
        members.insert(0, ("import_task".into(), Value::Str(self.task.clone())));
        Value::Map(members)
    }

    fn devices(&self, world: &mut World, vm: &Object, reference: &Ref, created: &Created) {
        let takes = |device: &str| !self.settings.excluded.iter().any(|excluded| **excluded == *device);
        let mine = |object: &&Object| object.refers("VM").as_ref() == Some(&vm.id);
        for vif in of_class(self.objects, "VIF").filter(mine).filter(|_| takes("vif")) {
            self.vif(world, vif, reference, created);
        }
        for vbd in of_class(self.objects, "VBD").filter(mine).filter(|_| takes("vbd")) {
            vbd_row(world, vbd, reference, created);
        }
        let own = |vtpm: &&Object| [vtpm.refers("VM"), vtpm.refers("vTPM'_VM")].contains(&Some(vm.id.clone()));
        for _ in of_class(self.objects, "VTPM").filter(own).filter(|_| takes("vtpm")) {
            let (made, uuid) = (world.reference(), world.uuid());
            let fields =
                [("uuid", Value::Str(uuid)), ("VM", Value::Str(reference.clone())), ("persistence_backend", Value::str("xapi"))];
            world.database.create("VTPM", made, fields);
        }
    }

    fn vif(&self, world: &mut World, object: &Object, vm: &Ref, created: &Created) {
        let network = created.lookup(object.refers("network"));
        let mut fields = known_fields("VIF", object);
        let (reference, uuid) = (world.reference(), world.uuid());
        fields.extend([
            ("uuid", Value::Str(uuid)),
            ("VM", Value::Str(vm.clone())),
            ("network", network.map_or_else(Value::null, Value::Str)),
            ("currently_attached", Value::Bool(false)),
        ]);
        if !self.settings.restore {
            fields.push(("MAC", copies::mac(world, vm, &object.text("device"))));
            fields.push(("MAC_autogenerated", Value::Bool(true)));
        }
        world.database.create("VIF", reference, fields);
    }

    /// Links between VMs and their snapshots, once all of them are there.
    fn link(&self, world: &mut World, created: &Created) -> ApiResult<()> {
        for object in of_class(self.objects, "VM") {
            let Some(vm) = created.table.get(&object.id) else { continue };
            for field in ["snapshot_of", "parent"] {
                let target = created.lookup(object.refers(field)).map_or_else(Value::null, Value::Str);
                world.database.set("VM", vm, field, target)?;
            }
        }
        Ok(())
    }
}

/// A drive. One whose disk is missing is not made; a CD drive without its disc is empty.
fn vbd_row(world: &mut World, object: &Object, vm: &Ref, created: &Created) {
    let disk = created.lookup(object.refers("VDI"));
    let cd = &*object.text("type") == "CD";
    if disk.is_none() && !cd {
        return;
    }
    let mut fields = known_fields("VBD", object);
    let (reference, uuid) = (world.reference(), world.uuid());
    fields.extend([
        ("uuid", Value::Str(uuid)),
        ("VM", Value::Str(vm.clone())),
        ("empty", Value::Bool(disk.is_none())),
        ("VDI", disk.map_or_else(Value::null, Value::Str)),
        ("currently_attached", Value::Bool(object.flag("currently_attached"))),
    ]);
    world.database.create("VBD", reference, fields);
}

/// The fields of an object that the model knows and that are values of its own: no references, no reverse sets, nothing computed.
fn known_fields(class: &str, object: &Object) -> Vec<(&'static str, Value)> {
    const COMPUTED: [&str; 5] = ["uuid", "allowed_operations", "current_operations", "blobs", "requires_reboot"];
    let fields = Model::get().class(class).map_or(&[][..], |class| class.fields.as_slice());
    let own = fields.iter().filter(|field| !COMPUTED.contains(&&*field.name) && !refers(&field.kind));
    own.filter_map(|field| Some((field.name.as_str(), object.record.member(&field.name)?.clone()))).collect()
}

fn refers(kind: &Type) -> bool {
    match kind {
        Type::Ref(_) => true,
        Type::Set(item) | Type::Option(item) => refers(item),
        Type::Map(key, value) => refers(key) || refers(value),
        _ => false,
    }
}
