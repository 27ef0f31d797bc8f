//! Messages that the server leaves about what it did.

use crate::simulator::context::Context;
use crate::simulator::messages::{self, NewMessage};
use crate::simulator::value::Ref;
use crate::simulator::world::World;

/// Leaves the message of an operation on a VM: its name, its uuid, and `what` became of it.
pub fn about_vm(context: &Context, name: &str, vm: &str, what: &str) {
    let now = context.shared.clock.now();
    context.step(|world| {
        let (label, uuid) = (world.database.text("VM", vm, "name_label"), world.database.text("VM", vm, "uuid"));
        let body = format!("VM '{label}' (uuid: {uuid}) {what}");
        let message = NewMessage { name, priority: 5, cls: "VM", obj_uuid: &uuid, body: &body };
        // A VM that is gone meanwhile gets no message.
        let _ = messages::create(world, message, now);
    });
}

/// Removes all messages about the object with this uuid.
pub fn forget_about(world: &mut World, uuid: &str) {
    let about: Vec<Ref> =
        world.messages.iter().filter(|message| *message.obj_uuid == *uuid).map(|message| message.reference.clone()).collect();
    for message in about {
        // It was there a line ago.
        let _ = messages::destroy(world, &message);
    }
}
