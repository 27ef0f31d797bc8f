//! Brings a world to the state that recordings show.

use std::path::Path;

use xensnap::simulator::codec::{Rpc, json, xml};
use xensnap::simulator::messages::Message;
use xensnap::simulator::model::{Class, Model, Release, Type};
use xensnap::simulator::value::{Text, Value};
use xensnap::simulator::world::{Session, World};

use crate::transcript::Transcript;

/// The pool as `reads/*.get_all_records` show it.
pub fn pool(recordings: &Path) -> World {
    let mut world = World::new(Release::NEWEST, 1);
    let mut records = Vec::new();
    for exchange in Transcript::folder(&recordings.join("reads")) {
        let class = exchange.name.strip_prefix("reads/").and_then(|name| name.strip_suffix(".get_all_records.json"));
        if let (Some(class), Some(Rpc::Dict(found))) = (class, records_of(recordings, &exchange)) {
            records.push((class.to_owned(), found));
        }
    }
    for (class, found) in &records {
        if class == "message" {
            restore_messages(&mut world, found);
        } else {
            found.iter().for_each(|(reference, record)| row(&mut world, class, reference, record));
        }
    }
    // Creating rows has made reverse sets of what is there; the recorded ones name objects that were not recorded, too.
    for (class, found) in &records {
        found.iter().for_each(|(reference, record)| overwrite(&mut world, class, reference, record));
    }
    world.master = master(&world);
    world
}

/// Very long answers were cut off; their pretty form was not, or the test does without.
fn records_of(recordings: &Path, exchange: &Transcript) -> Option<Rpc> {
    result(&exchange.body).or_else(|| {
        let file = std::fs::read_to_string(recordings.join(format!("{}.txt", exchange.name))).ok()?;
        let (_, pretty) = file.split_once("===== RESPONSE BODY (pretty) =====\n")?;
        result(pretty.as_bytes())
    })
}

/// What a call was answered with, over either wire; none for errors and for what was cut off.
pub fn result(body: &[u8]) -> Option<Rpc> {
    match body.strip_prefix(b"<?xml version=\"1.0\"?><methodResponse>") {
        Some(params) => {
            let params = params.strip_suffix(b"</methodResponse>")?;
            let call = [b"<methodCall><methodName>x</methodName>", params, b"</methodCall>"].concat();
            member(&xml::parse(&call).ok()?.params[0], "Value").cloned()
        }
        None => member(&json::parse_value(body).ok()?, "result").cloned(),
    }
}

/// A member of an object.
pub fn member<'a>(rpc: &'a Rpc, name: &str) -> Option<&'a Rpc> {
    members(rpc).iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The members of an object.
pub fn members(rpc: &Rpc) -> &[(String, Rpc)] {
    match rpc {
        Rpc::Dict(members) => members,
        _ => &[],
    }
}

fn master(world: &World) -> Text {
    let pool = world.database.refs("pool").into_iter().next();
    pool.map_or_else(|| world.master.clone(), |pool| world.database.text("pool", &pool, "master"))
}

fn facts(class: &str) -> &'static Class {
    Model::get().class(class).unwrap_or_else(|| panic!("there is no class {class}"))
}

/// Makes a row from a record.
pub fn row(world: &mut World, class: &str, reference: &str, record: &Rpc) {
    let facts = facts(class);
    let fields = members(record).iter();
    let fields = fields.map(|(name, json)| (&**name, value(json, &facts.field(name).unwrap().kind)));
    let fields: Vec<_> = fields.filter(|(_, value)| !matches!(value, Value::Set(_))).collect();
    world.database.create(class, reference, fields);
}

/// Writes every field of a record, reverse sets included.
pub fn overwrite(world: &mut World, class: &str, reference: &str, record: &Rpc) {
    if class == "message" {
        return;
    }
    for (name, json) in members(record) {
        let value = value(json, &facts(class).field(name).unwrap().kind);
        world.database.set(class, reference, name, value).unwrap();
    }
}

/// A recorded value of a known type.
pub fn value(rpc: &Rpc, kind: &Type) -> Value {
    match (rpc, kind) {
        (Rpc::String(text) | Rpc::Date(text), Type::DateTime) => Value::Date(text.as_str().into()),
        // XML does not mark integers.
        (Rpc::String(text), Type::Int) => Value::Int(text.parse().unwrap()),
        (Rpc::String(text), _) => Value::str(&**text),
        (Rpc::Bool(value), _) => Value::Bool(*value),
        (Rpc::Float(number), _) => Value::Float(*number),
        (Rpc::Int(number), Type::Float) => Value::Float(*number as f64),
        (Rpc::Int(number), _) => Value::Int(*number),
        (Rpc::List(items), Type::Set(item)) => Value::Set(items.iter().map(|rpc| value(rpc, item)).collect()),
        (Rpc::Dict(members), Type::Map(_, kind)) => {
            Value::Map(members.iter().map(|(key, rpc)| (Text::from(&**key), value(rpc, kind))).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn restore_messages(world: &mut World, found: &[(String, Rpc)]) {
    // Newest first on the wire, newest last in the world.
    for (at, (reference, record)) in found.iter().rev().enumerate() {
        message(world, reference, at as u64 + 1, record);
    }
}

/// Puts a recorded message in.
pub fn message(world: &mut World, reference: &str, generation: u64, record: &Rpc) {
    let text = |field: &str| Text::from(member(record, field).and_then(Rpc::text).unwrap());
    world.messages.restore(Message {
        reference: reference.into(),
        generation,
        uuid: text("uuid"),
        name: text("name"),
        priority: if let Some(Rpc::Int(priority)) = member(record, "priority") { *priority } else { 0 },
        cls: text("cls"),
        obj_uuid: text("obj_uuid"),
        timestamp: Value::Date(text("timestamp")).as_date().unwrap(),
        body: text("body"),
    });
}

/// Logs somebody in under a recorded reference.
pub fn session(world: &mut World, reference: &str) {
    let host = world.master.clone();
    world.database.create("session", reference, [("this_host", Value::Str(host))]);
    log_in(world, reference);
}

/// Makes the session of a row one that may call.
pub fn log_in(world: &mut World, reference: &str) {
    let session = Session { user: "root".into(), originator: "lab".into(), role: None, scheduler: false };
    world.sessions.insert(reference.into(), session);
}

/// A copy of the first object that fits, under a recorded reference; none where nothing fits.
pub fn like(world: &mut World, class: &str, fits: impl Fn(&World, &str) -> bool, uuid: &str) -> Option<Text> {
    let model = world.database.refs(class).into_iter().find(|reference| fits(world, reference))?;
    let row = world.database.row(class, &model).unwrap().clone();
    let fields = facts(class).fields.iter().enumerate().map(|(column, field)| (&*field.name, row.value(column).clone()));
    // Reverse sets belong to the model alone.
    let fields: Vec<_> = fields.filter(|(name, value)| *name != "uuid" && !matches!(value, Value::Set(_))).collect();
    Some(world.database.create(class, format!("OpaqueRef:{uuid}"), fields))
}

/// A disk that a running VM uses.
pub fn disk_in_use(world: &mut World, uuid: &str) {
    let attached = |world: &World, vdi: &str| {
        let database = &world.database;
        database.texts("VDI", vdi, "VBDs").iter().any(|vbd| database.bool("VBD", vbd, "currently_attached"))
            && &*database.text("VDI", vdi, "type") == "user"
    };
    let Some(vdi) = like(world, "VDI", attached, uuid) else { return };
    let vbd = like(
        world,
        "VBD",
        |world, vbd| world.database.bool("VBD", vbd, "currently_attached"),
        "00000000-0000-0000-0000-00000000abcd",
    );
    let vbd = vbd.unwrap();
    world.database.set("VBD", &vbd, "VDI", Value::Str(vdi)).unwrap();
}
