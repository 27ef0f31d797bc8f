//! Whether a fault meets a call: by method, client, and what the call's objects are called.

use super::{Call, Match};
use crate::simulator::value::{NULL, Ref, Text, Value};
use crate::simulator::world::World;

/// Whether a fault meets a call.
pub(super) fn meets(matching: &Match, world: &World, call: Call<'_>) -> bool {
    let method = matching.method.as_deref().is_none_or(|pattern| is_method(pattern, call.method));
    let originator = matching.originator.as_deref().is_none_or(|pattern| is_text(pattern, call.originator));
    method && originator && matching.object.as_deref().is_none_or(|pattern| concerns(pattern, world, call.args))
}

fn is_method(pattern: &str, method: &str) -> bool {
    let asked = if pattern.starts_with("Async.") { method } else { method.strip_prefix("Async.").unwrap_or(method) };
    is_text(pattern, asked)
}

fn is_text(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

fn concerns(pattern: &str, world: &World, args: &[Value]) -> bool {
    args.iter().any(|arg| match arg {
        Value::Str(text) => is_text(pattern, text) || is_called(pattern, world, text),
        Value::Set(items) => concerns(pattern, world, items),
        Value::Map(members) => members.iter().any(|(_, value)| concerns(pattern, world, std::slice::from_ref(value))),
        _ => false,
    })
}

/// Whether an object (by reference or uuid), the VM it belongs to, or an SR with its disks is called so.
fn is_called(pattern: &str, world: &World, given: &str) -> bool {
    let Some((class, reference)) = find(world, given) else { return false };
    related(world, class, reference).iter().any(|(class, reference)| {
        let name = |field| world.database.text(class, reference, field);
        is_text(pattern, reference) || is_text(pattern, &name("uuid")) || is_text(pattern, &name("name_label"))
    })
}

const NAMED: [&str; 8] = ["VM", "VDI", "SR", "host", "network", "VMSS", "VM_appliance", "pool"];

fn find(world: &World, given: &str) -> Option<(&'static str, Ref)> {
    let by_reference = NAMED.into_iter().find(|class| world.database.exists(class, given)).map(|class| (class, given.into()));
    by_reference.or_else(|| NAMED.into_iter().find_map(|class| Some((class, world.database.by_uuid(class, given)?.clone()))))
}

fn related(world: &World, class: &'static str, reference: Ref) -> Vec<(&'static str, Ref)> {
    let db = &world.database;
    let mut found = vec![(class, reference.clone())];
    if class == "VM" {
        found.push(("VM", db.text("VM", &reference, "snapshot_of")));
        let disks = db.texts("VM", &reference, "VBDs").into_iter().map(|vbd| db.text("VBD", &vbd, "VDI"));
        found.extend(disks.map(|vdi| ("SR", db.text("VDI", &vdi, "SR"))));
    }
    if class == "VDI" {
        found.push(("VDI", db.text("VDI", &reference, "snapshot_of")));
        found.push(("SR", db.text("VDI", &reference, "SR")));
    }
    found.retain(|(_, reference)| !reference.is_empty() && &**reference != NULL);
    found
}

/// The SR of this name, uuid or reference.
pub(super) fn find_sr(world: &World, sr: &str) -> Option<Ref> {
    let db = &world.database;
    let known = db.exists("SR", sr).then(|| Ref::from(sr)).or_else(|| db.by_uuid("SR", sr).cloned());
    known.or_else(|| db.refs("SR").into_iter().find(|reference| &*db.text("SR", reference, "name_label") == sr))
}

/// Lets the SR's record show how little is free; says how many bytes more are in use.
pub(super) fn show_full(world: &mut World, sr: &str, leave: i64) -> i64 {
    let size = world.database.int("SR", sr, "physical_size");
    let added = size - leave.clamp(0, size.max(0)) - world.database.int("SR", sr, "physical_utilisation");
    show_more(world, sr, added);
    added
}

/// Lets the SR's record show so many bytes more in use.
pub(super) fn show_more(world: &mut World, sr: &str, added: i64) {
    let used = world.database.int("SR", sr, "physical_utilisation") + added;
    // An SR that is gone shows nothing any more.
    let _ = world.database.set("SR", sr, "physical_utilisation", Value::Int(used));
}

/// Ends sessions as the server's garbage collector does; says how many.
pub(super) fn end_sessions(world: &mut World, originator: Option<&str>) -> usize {
    let meant = |called: &Text| originator.is_none_or(|pattern| is_text(pattern, called));
    let doomed: Vec<Ref> = world.sessions.iter().filter(|(_, s)| meant(&s.originator)).map(|(r, _)| r.clone()).collect();
    for session in &doomed {
        world.sessions.remove(session);
        world.database.destroy("session", session);
    }
    doomed.len()
}
