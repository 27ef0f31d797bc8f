//! `ova.xml`: an XML-RPC value with the server's version and all objects.

use super::objects::Object;
use super::reader::Broken;
use crate::simulator::codec::xml::{self, XmlEmit};
use crate::simulator::codec::{Emit, Rpc};
use crate::simulator::model::Model;
use crate::simulator::types::{typed, untyped};
use crate::simulator::value::{Text, Value};
use crate::simulator::world::World;

/// The version that an archive names: that of the master.
pub fn version(world: &World) -> Value {
    let software = |key| world.database.map_text("host", &world.master, "software_version", key).unwrap_or_else(|| "".into());
    let xapi = software("xapi");
    let (major, minor) = xapi.split_once('.').unwrap_or((&xapi, "0"));
    let number = |text: &str| Value::Int(text.parse().unwrap_or(0));
    let members = [
        ("hostname", Value::Str(software("hostname"))),
        ("date", Value::Str(software("date"))),
        ("product_version", Value::Str(software("product_version"))),
        ("product_brand", Value::Str(software("product_brand"))),
        ("build_number", Value::Str(software("build_number"))),
        ("xapi_major", number(major)),
        ("xapi_minor", number(minor)),
        ("export_vsn", Value::Int(2)),
    ];
    Value::Map(members.into_iter().map(|(key, value)| (Text::from(key), value)).collect())
}

/// The text of `ova.xml`.
pub fn write(version: &Value, objects: &[Object]) -> String {
    let mut text = String::new();
    let mut emit = XmlEmit(&mut text);
    emit.open_map();
    emit.member(true, "version", version);
    emit.key(false, "objects");
    emit.open_set();
    for (at, object) in objects.iter().enumerate() {
        emit.item(at == 0);
        emit.open_map();
        emit.member(true, "class", &Value::Str(object.class.clone()));
        emit.member(false, "id", &Value::Str(object.id.clone()));
        emit.member(false, "snapshot", &object.record);
        emit.close_map();
    }
    emit.close_set();
    emit.end_member();
    emit.close_map();
    text
}

/// The newest form of archives that can be read.
const NEWEST_FORM: &str = "2";

/// Reads `ova.xml`. Members of records that the model knows get their type, others stay as they are written.
///
/// # Errors
/// [`Broken::Ova`] with the reason, [`Broken::TooNew`] for archives of servers to come.
pub fn read(text: &[u8]) -> Result<Vec<Object>, Broken> {
    let broken = |reason: &str| Broken::Ova(reason.to_owned());
    let open = b"<methodCall><methodName>ova</methodName><params><param>";
    let call = [open, without_prolog(text), b"</param></params></methodCall>"].concat();
    let call = xml::parse(&call).map_err(|_| broken("it is no XML-RPC value"))?;
    let top = call.params.into_iter().next().ok_or_else(|| broken("it is empty"))?;
    let form = member(&top, "version").and_then(|version| member(version, "export_vsn")).and_then(Rpc::text);
    if form.is_some_and(|form| form > NEWEST_FORM) {
        return Err(Broken::TooNew);
    }
    let Some(Rpc::List(objects)) = member(&top, "objects") else { return Err(broken("it has no objects")) };
    objects.iter().map(object).collect()
}

fn without_prolog(text: &[u8]) -> &[u8] {
    let prolog = text.starts_with(b"<?xml").then(|| text.windows(2).position(|two| two == b"?>")).flatten();
    prolog.map_or(text, |end| &text[end + 2..])
}

fn member<'a>(rpc: &'a Rpc, key: &str) -> Option<&'a Rpc> {
    match rpc {
        Rpc::Dict(members) => members.iter().find(|(k, _)| k == key).map(|(_, value)| value),
        _ => None,
    }
}

fn object(rpc: &Rpc) -> Result<Object, Broken> {
    let text = |key: &str| member(rpc, key).and_then(Rpc::text).map(Text::from);
    let (Some(class), Some(id), Some(Rpc::Dict(members))) = (text("class"), text("id"), member(rpc, "snapshot")) else {
        return Err(Broken::Ova("an object without class, id or snapshot".to_owned()));
    };
    let facts = Model::get().class(&class);
    let value = |field: &str, rpc: &Rpc| match facts.and_then(|facts| facts.field(field)) {
        Some(known) => typed(rpc, &known.kind).map_err(|_| Broken::Ova(format!("{class}.{field} is of the wrong type"))),
        None => Ok(untyped(rpc)),
    };
    let members = members.iter().map(|(field, rpc)| Ok((Text::from(&**field), value(field, rpc)?)));
    Ok(Object { record: Value::Map(members.collect::<Result<_, Broken>>()?), class, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let record = Value::Map(vec![
            ("name_label".into(), Value::str("a <b> & \"c\"")),
            ("memory_static_max".into(), Value::Int(5)),
            ("HVM_shadow_multiplier".into(), Value::Float(1.5)),
            ("is_a_template".into(), Value::Bool(true)),
            ("snapshot_time".into(), Value::Date("19700101T00:00:00Z".into())),
            ("tags".into(), Value::texts(["x"])),
            ("other_config".into(), Value::pairs([("k", "v")])),
            ("novelty".into(), Value::str("kept")),
        ]);
        let objects = vec![Object { class: "VM".into(), id: "Ref:0".into(), record }];
        let text = write(&Value::Map(Vec::new()), &objects);
        assert_eq!(read(text.as_bytes()).unwrap(), objects);
    }

    #[test]
    fn what_is_no_ova_is_refused() {
        for text in
            ["", "<", "<value/>", "<value><struct></struct></value>", "<value><array><data><value/></data></array></value>"]
        {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
