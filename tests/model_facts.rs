//! The simulator's table of facts, derived again from the published data model and held against the one in the repository.
//!
//! `UPDATE_FACTS=1 cargo test --test model_facts` writes the table anew. What the published model does not say (it is older than the
//! newest recordings, and leaves out messages that are hidden from its documentation) stands in `newer.tsv`.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use support::shared;

const TABLE: &str = "src/simulator/model/facts.tsv";
const NEWER: &str = "src/simulator/model/newer.tsv";

/// A class of the table while it is put together.
#[derive(Default)]
struct Class {
    head: String,
    fields: Vec<Row>,
    messages: Vec<Row>,
    enums: Vec<Row>,
}

/// A line with the name it is found by.
struct Row {
    name: String,
    cells: Vec<String>,
}

impl Row {
    fn new<C: Into<String>>(cells: impl IntoIterator<Item = C>) -> Self {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        Row { name: cells[1].clone(), cells }
    }
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_table_of_facts_is_what_the_data_model_says() {
    let Some(model) = shared("xenapi/xenapi.json") else { return };
    let model: Value = serde_json::from_slice(&std::fs::read(model).unwrap()).unwrap();
    let mut classes = derive(&model);
    amend(&mut classes, &std::fs::read_to_string(repository(NEWER)).unwrap());
    let table = print(&classes);
    if std::env::var_os("UPDATE_FACTS").is_some() {
        std::fs::write(repository(TABLE), &table).unwrap();
    }
    let stored = std::fs::read_to_string(repository(TABLE)).unwrap();
    let difference = stored.lines().zip(table.lines()).find(|(stored, derived)| stored != derived);
    assert_eq!(difference, None, "run UPDATE_FACTS=1 cargo test --test model_facts");
    assert_eq!(stored.lines().count(), table.lines().count());
}

fn derive(model: &Value) -> Vec<Class> {
    model.as_array().unwrap().iter().map(class).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn class(class: &Value) -> Class {
    let (since, _, removed) = life(class);
    Class {
        head: format!("class\t{}\t{since}\t{removed}", text(class, "name")),
        fields: class["fields"].as_array().unwrap().iter().map(field).collect(),
        // The published model lists messages from the last to the first.
        messages: class["messages"].as_array().unwrap().iter().rev().map(message).collect(),
        enums: class["enums"].as_array().unwrap().iter().map(enumeration).collect(),
    }
}

/// Since, deprecated, removed.
fn life(thing: &Value) -> (String, String, String) {
    let transitions = thing["lifecycle"]["transitions"].as_array().unwrap();
    let release = |names: &[&str]| {
        let found = transitions.iter().find(|transition| names.contains(&text(transition, "transition")));
        found.map_or("-".to_owned(), |transition| text(transition, "release").to_owned())
    };
    (release(&["published", "prototyped"]), release(&["deprecated"]), release(&["removed"]))
}

fn field(field: &Value) -> Row {
    let (since, _, removed) = life(field);
    let access = match text(field, "qualifier") {
        "RW" => "rw",
        "RO/constructor" => "cons",
        _ => "ro",
    };
    Row::new(["field", text(field, "name"), &kind(text(field, "type")), access, &since, &removed, &default(&field["default"])])
}

fn default(value: &Value) -> String {
    match value.as_str() {
        None => "-".to_owned(),
        Some("Null") => "OpaqueRef:NULL".to_owned(),
        Some(text) => text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).to_owned(),
    }
}

fn message(message: &Value) -> Row {
    let (since, deprecated, removed) = life(message);
    let parameter = |param: &Value| format!("{}:{}", text(param, "name"), kind(text(param, "type")));
    let params: Vec<_> = message["params"].as_array().unwrap().iter().map(parameter).collect();
    let errors: Vec<_> = message["errors"].as_array().unwrap().iter().map(|error| text(error, "name")).collect();
    // The mightiest role comes first, so the last is the least.
    let role = message["roles"].as_array().and_then(|roles| roles.last()).and_then(Value::as_str).unwrap_or("-");
    let implicit = if message["implicit"].as_bool().unwrap() { "i" } else { "c" };
    Row::new([
        "message",
        text(message, "name"),
        &kind(message["result"][0].as_str().unwrap()),
        &params.join(","),
        &since,
        &deprecated,
        &removed,
        role,
        implicit,
        &errors.join(" "),
    ])
}

fn enumeration(enumeration: &Value) -> Row {
    let values: Vec<_> = enumeration["values"].as_array().unwrap().iter().map(|value| text(value, "name")).collect();
    Row::new(["enum", text(enumeration, "name"), &values.join(" ")])
}

/// A type in the table's spelling.
fn kind(text: &str) -> String {
    if let Some(inner) = text.strip_suffix(" set") {
        return format!("set({})", kind(inner));
    }
    if let Some(inner) = text.strip_suffix(" option") {
        return format!("option({})", kind(inner));
    }
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(") map")) {
        let (key, value) = inner.split_once(" -> ").unwrap();
        return format!("map({},{})", kind(key), kind(value));
    }
    if let Some(name) = text.strip_suffix(" ref") {
        return format!("ref({name})");
    }
    if let Some(name) = text.strip_suffix(" record") {
        return format!("record({name})");
    }
    match text.strip_prefix("enum ") {
        Some(name) => format!("enum({name})"),
        None => text.to_owned(),
    }
}

/// Applies `newer.tsv`: class, what the line follows or changes, and a line of the table or what changes.
fn amend(classes: &mut Vec<Class>, newer: &str) {
    for line in newer.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let at = classes.iter().position(|class| class.head.split('\t').nth(1) == Some(cells[0]));
        let at = at.unwrap_or_else(|| panic!("{NEWER}: there is no class {:?}", cells[0]));
        if cells[2] == "class" {
            classes.insert(at + 1, Class { head: cells[2..].join("\t"), ..Class::default() });
        } else {
            amend_class(&mut classes[at], cells[1], &cells[2..]);
        }
    }
}

fn amend_class(class: &mut Class, place: &str, cells: &[&str]) {
    match cells[0] {
        "field" => insert(&mut class.fields, place, cells),
        "message" => insert(&mut class.messages, place, cells),
        "enum" => class.enums.push(Row::new(cells.iter().copied())),
        "values" => {
            let row = class.enums.iter_mut().find(|row| row.name == place).unwrap();
            write!(row.cells[2], " {}", cells[1]).unwrap();
        }
        // The message has another place in the list.
        "move" => {
            let at = class.messages.iter().position(|row| row.name == cells[1]).unwrap();
            let cells = class.messages.remove(at).cells;
            insert(&mut class.messages, place, &cells.iter().map(String::as_str).collect::<Vec<_>>());
        }
        // How a message is called: only synchronously; only by members of the pool.
        "synchronous" => find(&mut class.messages, place).cells[8] = "s".to_owned(),
        "internal" => find(&mut class.messages, place).cells[8].push('p'),
        other => panic!("{NEWER}: cannot read {other:?}"),
    }
}

fn find<'a>(rows: &'a mut [Row], name: &str) -> &'a mut Row {
    rows.iter_mut().find(|row| row.name == name).unwrap_or_else(|| panic!("{NEWER}: there is no {name}"))
}

fn insert(rows: &mut Vec<Row>, after: &str, cells: &[&str]) {
    let at = match after {
        "-" => 0,
        after => rows.iter().position(|row| row.name == after).unwrap_or_else(|| panic!("{NEWER}: there is no {after}")) + 1,
    };
    rows.insert(at, Row::new(cells.iter().copied()));
}

fn print(classes: &[Class]) -> String {
    let mut table = String::new();
    for class in classes {
        writeln!(table, "{}", class.head).unwrap();
        for row in class.fields.iter().chain(&class.messages).chain(&class.enums) {
            writeln!(table, "{}", row.cells.join("\t")).unwrap();
        }
    }
    table
}
