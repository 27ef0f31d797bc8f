//! From the table to JSON Schema, draft 7.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Block, Key, Need, Shape};

/// The schema of a file, with the blocks it uses as definitions.
pub(super) fn schema(file: &'static Block) -> Value {
    let mut definitions = BTreeMap::new();
    define(file, &mut definitions);
    let mut schema = object(file);
    schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_owned(), json!(file.name));
    schema.insert("definitions".to_owned(), json!(definitions));
    Value::Object(schema)
}

fn define(block: &'static Block, definitions: &mut BTreeMap<String, Value>) {
    for inner in block.keys().filter_map(|key| key.shape.block()) {
        if definitions.insert(label(inner), Value::Object(object(inner))).is_none() {
            define(inner, definitions);
        }
    }
}

/// A name that may stand in a reference.
fn label(block: &Block) -> String {
    let first = block.name.split(',').next().unwrap_or_default();
    first.replace('.', "-")
}

fn object(block: &'static Block) -> Map<String, Value> {
    let properties: Map<String, Value> = block.keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("description".to_owned(), json!(block.about));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), Value::Object(properties));
    let always = names(block, Need::Always);
    if !always.is_empty() {
        object.insert("required".to_owned(), json!(always));
    }
    if !block.one_of.is_empty() {
        let each: Vec<Value> = block.one_of.iter().map(|name| json!({ "required": [name] })).collect();
        object.insert("oneOf".to_owned(), json!(each));
    }
    whole(block, &mut object);
    object
}

fn names(block: &'static Block, need: Need) -> Vec<&'static str> {
    block.keys().filter(|key| key.need == need).map(|key| key.name).collect()
}

/// A policy that inherits nothing must say everything itself. A template, which has no name, need not say anything.
fn whole(block: &'static Block, object: &mut Map<String, Value>) {
    let is_policy = block.keys().any(|key| key.name == "inherit") && block.keys().any(|key| key.name == "name");
    if !is_policy {
        return;
    }
    let inner = block.keys().filter_map(|key| Some((key.name, names(key.shape.block()?, Need::OrInherited))));
    let inner: Map<String, Value> = inner
        .filter(|(_, names)| !names.is_empty())
        .map(|(name, names)| (name.to_owned(), json!({ "required": names })))
        .collect();
    object.insert("if".to_owned(), json!({ "not": { "required": ["inherit"] } }));
    object.insert("then".to_owned(), json!({ "required": names(block, Need::OrInherited), "properties": inner }));
}

fn property(key: &Key) -> Value {
    let mut schema = shape(key.shape);
    schema.insert("description".to_owned(), json!(key.about));
    if let Some(default) = default(key.default) {
        schema.insert("default".to_owned(), default);
    }
    Value::Object(schema)
}

/// TOML's texts, numbers and flags are JSON's.
fn default(toml: &str) -> Option<Value> {
    serde_json::from_str(toml).ok()
}

fn shape(shape: Shape) -> Map<String, Value> {
    let one = json!({ "type": "string" });
    let list = json!({ "type": "array", "items": one });
    let schema = match shape {
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Number(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Shape::Text => one,
        Shape::Choice(words) => json!({ "type": "string", "enum": words }),
        Shape::Texts => json!({ "anyOf": [one, list] }),
        Shape::TextsOrNumber => json!({ "anyOf": [one, { "type": "integer" }, list] }),
        Shape::Map => json!({ "type": "object", "additionalProperties": one }),
        // Beside a reference nothing counts in draft 7, so it stands in a group of its own.
        Shape::Table(block) => json!({ "allOf": [reference(block)] }),
        Shape::Tables(block) => json!({ "type": "array", "items": reference(block) }),
        Shape::Named(block) => json!({ "type": "object", "additionalProperties": reference(block) }),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn reference(block: &Block) -> Value {
    json!({ "$ref": format!("#/definitions/{}", label(block)) })
}
