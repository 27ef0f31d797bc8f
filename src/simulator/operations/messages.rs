//! Messages that the server leaves about what it did.

use super::clock::now;
use crate::simulator::context::Context;
use crate::simulator::value::{Text, Value};
use crate::simulator::world::World;

/// Leaves a message about an object.
pub fn leave(context: &Context, name: &str, priority: i64, class: &str, object: &Text, body: String) {
    let timestamp = now(context);
    context.step(|world| {
        let (reference, uuid) = (world.reference(), world.uuid());
        let fields = [
            ("uuid", Value::str(uuid)),
            ("name", Value::str(name)),
            ("priority", Value::Int(priority)),
            ("cls", Value::str(class)),
            ("obj_uuid", Value::str(object.clone())),
            ("timestamp", timestamp),
            ("body", Value::str(body)),
        ];
        world.database.create("message", reference, fields);
    });
}

/// Leaves the message of an operation on a VM: its name, its uuid, and `what` became of it.
pub fn about_vm(context: &Context, name: &str, vm: &str, what: &str) {
    let (label, uuid) =
        context.step(|world| (world.database.text("VM", vm, "name_label"), world.database.text("VM", vm, "uuid")));
    leave(context, name, 5, "VM", &uuid, format!("VM '{label}' (uuid: {uuid}) {what}"));
}

/// Removes all messages about the object with this uuid.
pub fn forget_about(world: &mut World, uuid: &str) {
    for message in world.database.refs("message") {
        if *world.database.text("message", &message, "obj_uuid") == *uuid {
            world.database.destroy("message", &message);
        }
    }
}
