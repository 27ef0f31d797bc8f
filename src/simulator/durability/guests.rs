//! Guests do not stop because the server forgets them: what runs is what runs, whatever an older database says.

use super::super::operations::device_lifecycle;
use crate::simulator::database::Database;
use crate::simulator::value::{NULL, Ref, Value};
use crate::simulator::world::World;

/// Writes into the records which guests run and where. Those of a dead host stay as they were recorded: nobody knows.
pub(super) fn resync(world: &mut World, before: &Database, dead: Option<&Ref>) {
    for vm in world.database.refs("VM") {
        let uuid = world.database.text("VM", &vm, "uuid");
        let truth = before.by_uuid("VM", &uuid).filter(|vm| runs(before, vm)).cloned();
        let on_dead = |database: &Database, vm: &Ref| dead.is_some_and(|dead| database.text("VM", vm, "resident_on") == *dead);
        if truth.as_ref().is_some_and(|truth| on_dead(before, truth)) || on_dead(&world.database, &vm) {
            continue;
        }
        match truth {
            Some(truth) => runs_on(world, &vm, before, &truth),
            None if runs(&world.database, &vm) => stopped(world, &vm),
            None => {}
        }
    }
}

fn runs(database: &Database, vm: &str) -> bool {
    matches!(&*database.text("VM", vm, "power_state"), "Running" | "Paused")
}

fn runs_on(world: &mut World, vm: &Ref, before: &Database, truth: &Ref) {
    let fields = ["power_state", "resident_on", "domid"];
    if fields.iter().all(|field| world.database.get("VM", vm, field) == before.get("VM", truth, field)) {
        return;
    }
    for field in fields {
        if let Some(value) = before.get("VM", truth, field) {
            let _ = world.database.set("VM", vm, field, value.clone());
        }
    }
    for vbd in world.database.texts("VM", vm, "VBDs") {
        let uuid = world.database.text("VBD", &vbd, "uuid");
        let plugged = before.by_uuid("VBD", &uuid).is_some_and(|vbd| before.bool("VBD", vbd, "currently_attached"));
        let _ = world.database.set("VBD", &vbd, "currently_attached", Value::Bool(plugged));
    }
    device_lifecycle::update_vm(world, vm);
}

fn stopped(world: &mut World, vm: &Ref) {
    let changes = [("power_state", Value::str("Halted")), ("resident_on", Value::str(NULL)), ("domid", Value::Int(-1))];
    for (field, value) in changes {
        let _ = world.database.set("VM", vm, field, value);
    }
    for (field, class) in [("VBDs", "VBD"), ("VIFs", "VIF")] {
        for device in world.database.texts("VM", vm, field) {
            let _ = world.database.set(class, &device, "currently_attached", Value::Bool(false));
        }
    }
    device_lifecycle::update_vm(world, vm);
}
