//! Reads `facts.tsv` and `params.tsv`. The files are part of the program: a mistake in them is a bug, found by the first test that runs.
//!
//! `facts.tsv` comes from the published data model; `params.tsv` adds what that leaves out: which parameters may be left out, and
//! since when they exist (idl/datamodel*.ml).

use std::collections::HashMap;

use super::{Access, Class, Field, Message, Model, Param, Release, Type, release};
use crate::simulator::value::{Text, Value};

/// Parses both files.
///
/// # Panics
/// When a line is not of the expected form.
pub(super) fn facts(text: &str, params: &str) -> Model {
    let mut classes: Vec<Class> = Vec::new();
    let mut enums = HashMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        match (cells[0], classes.last_mut()) {
            ("class", _) => classes.push(class(&cells)),
            ("enum", _) => drop(enums.insert(cells[1].to_owned(), cells[2].split(' ').map(str::to_owned).collect())),
            ("field", Some(class)) => {
                class.by_field.insert(cells[1].to_owned(), class.fields.len());
                class.fields.push(field(&cells));
            }
            ("message", Some(class)) => {
                class.by_message.insert(cells[1].to_owned(), class.messages.len());
                class.messages.push(message(&cells));
            }
            _ => panic!("facts.tsv: cannot read {line:?}"),
        }
    }
    let by_name = classes.iter().enumerate().map(|(at, class)| (class.name.clone(), at)).collect();
    let mut model = Model { by_wire_name: wire_names(&classes), classes, by_name, enums };
    for line in params.lines() {
        add_default(&mut model, &line.split('\t').collect::<Vec<_>>());
    }
    model
}

fn wire_names(classes: &[Class]) -> HashMap<String, (usize, usize)> {
    let mut names = HashMap::new();
    for (at, class) in classes.iter().enumerate() {
        for (message, facts) in class.messages.iter().enumerate() {
            names.insert(format!("{}_{}", class.name, facts.name), (at, message));
            names.insert(format!("{}.{}", class.name, facts.name), (at, message));
        }
    }
    names
}

/// Adds a line of `params.tsv`: message, parameter, release, default, and the type where `facts.tsv` does not have the parameter.
fn add_default(model: &mut Model, cells: &[&str]) {
    let &(class, message) =
        model.by_wire_name.get(cells[0]).unwrap_or_else(|| panic!("params.tsv: there is no message {}", cells[0]));
    let params = &mut model.classes[class].messages[message].params;
    if cells[4] != "-" {
        params.push(Param { name: cells[1].to_owned(), kind: kind(cells[4]), since: release("rio"), default: None });
    }
    let param = params.iter_mut().find(|param| param.name == cells[1]);
    let param = param.unwrap_or_else(|| panic!("params.tsv: {} has no parameter {}", cells[0], cells[1]));
    param.since = release(cells[2]);
    param.default = Some(default(&param.kind, cells[3]));
}

fn class(cells: &[&str]) -> Class {
    Class {
        name: cells[1].to_owned(),
        since: release(cells[2]),
        fields: Vec::new(),
        messages: Vec::new(),
        by_field: HashMap::new(),
        by_message: HashMap::new(),
    }
}

fn field(cells: &[&str]) -> Field {
    let kind = kind(cells[2]);
    let access = match cells[3] {
        "rw" => Access::ReadWrite,
        "cons" => Access::Constructor,
        _ => Access::ReadOnly,
    };
    let default = (cells[6] != "-").then(|| default(&kind, cells[6]));
    Field { name: cells[1].to_owned(), access, since: release(cells[4]), removed: optional(cells[5]), default, kind }
}

fn message(cells: &[&str]) -> Message {
    let params = cells[3].split(',').filter(|param| !param.is_empty());
    Message {
        name: cells[1].to_owned(),
        result: kind(cells[2]),
        params: split_params(params).into_iter().map(|(name, text)| param(name, &text)).collect(),
        since: release(cells[4]),
        deprecated: optional(cells[5]),
        removed: optional(cells[6]),
        role: (cells[7] != "-").then(|| cells[7].to_owned()),
        implicit: cells[8].starts_with('i'),
        asynchronous: cells[8].starts_with('c') || (cells[8] == "i" && matches!(cells[1], "create" | "destroy")),
        internal: cells[8].ends_with('p'),
        errors: cells[9].split(' ').filter(|code| !code.is_empty()).map(str::to_owned).collect(),
    }
}

fn param(name: String, text: &str) -> Param {
    Param { name, kind: kind(text), since: release("rio"), default: None }
}

/// Joins what was split inside `map(a,b)` again.
fn split_params<'a>(pieces: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut params: Vec<(String, String)> = Vec::new();
    for piece in pieces {
        match piece.split_once(':') {
            Some((name, text)) => params.push((name.to_owned(), text.to_owned())),
            None => {
                let (_, text) = params.last_mut().unwrap_or_else(|| panic!("facts.tsv: cannot read {piece:?}"));
                text.push(',');
                text.push_str(piece);
            }
        }
    }
    params
}

fn optional(cell: &str) -> Option<Release> {
    (cell != "-").then(|| release(cell))
}

fn kind(text: &str) -> Type {
    let inner =
        |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.strip_suffix(')'));
    if let Some(name) = inner("enum") {
        return Type::Enum(name.to_owned());
    }
    if let Some(name) = inner("ref") {
        return Type::Ref(name.to_owned());
    }
    if let Some(name) = inner("record") {
        return Type::Record(name.to_owned());
    }
    if let Some(item) = inner("set") {
        return Type::Set(Box::new(kind(item)));
    }
    if let Some(item) = inner("option") {
        return Type::Option(Box::new(kind(item)));
    }
    if let Some((key, value)) = inner("map").and_then(|both| both.split_once(',')) {
        return Type::Map(Box::new(kind(key)), Box::new(kind(value)));
    }
    match text {
        "int" => Type::Int,
        "float" => Type::Float,
        "bool" => Type::Bool,
        "datetime" => Type::DateTime,
        "void" => Type::Void,
        _ => Type::String,
    }
}

fn default(kind: &Type, text: &str) -> Value {
    match kind {
        Type::Int => Value::Int(text.parse().unwrap_or(0)),
        Type::Float => Value::Float(text.parse().unwrap_or(0.0)),
        Type::Bool => Value::Bool(text == "true"),
        Type::DateTime => Value::Date(text.into()),
        Type::Set(item) => Value::Set(items(text).map(|text| default(item, text)).collect()),
        Type::Map(_, value) => Value::Map(items(text).map(|text| pair(value, text)).collect()),
        Type::Record(_) | Type::Option(_) => kind.zero(),
        Type::Ref(_) if matches!(text, "Null" | "") => kind.zero(),
        _ => Value::str(text),
    }
}

/// The members of `{a, b}`.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    inner.split(", ").filter(|item| !item.is_empty())
}

/// A member `"key" -> "value"`.
fn pair(kind: &Type, text: &str) -> (Text, Value) {
    let (key, value) = text.split_once(" -> ").unwrap_or_else(|| panic!("facts.tsv: cannot read {text:?}"));
    (key.trim_matches('"').into(), default(kind, value.trim_matches('"')))
}
