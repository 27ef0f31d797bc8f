//! A TOML text as a tree in which everything knows its place, and how one tree inherits from another: key by key, and where both
//! have a table, inside it too. What is inherited knows from how far away, so that the nearer of two keys that exclude one another
//! can win.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::Findings;
use super::nesting;
use super::source::{FileId, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    /// From how many templates up it comes; 0: it stands in the table itself.
    pub depth: u8,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Text),
    /// Nothing when it is beyond 64 bits.
    Integer(Option<i64>),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    Float,
    Date,
}

impl Value {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Float => "a number with a point",
            Value::Date => "a date",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Text {
    pub text: String,
    /// True when the value stands in the file letter by letter between two quotes, so that places within can be shown.
    literal: bool,
}

impl Text {
    /// The place of some bytes of the value.
    pub fn part(&self, whole: Place, at: std::ops::Range<usize>) -> Place {
        let begin = whole.range().start + 1;
        if self.literal && at.end <= self.text.len() { Place::new(whole.file, begin + at.start..begin + at.end) } else { whole }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub place: Place,
    pub entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where the key stands.
    pub key: Place,
    pub node: Node,
}

impl Table {
    /// This table with what it does not say itself taken from `base`.
    pub fn inheriting(&self, base: &Table) -> Table {
        let mut entries: BTreeMap<String, Entry> =
            base.entries.iter().map(|(key, entry)| (key.clone(), entry.farther())).collect();
        for (key, own) in &self.entries {
            let merged = match (&own.node.value, base.entries.get(key).map(|entry| &entry.node.value)) {
                (Value::Table(table), Some(Value::Table(base))) => {
                    let value = Value::Table(table.inheriting(base));
                    Entry { key: own.key, node: Node { value, ..own.node.clone() } }
                }
                _ => own.clone(),
            };
            entries.insert(key.clone(), merged);
        }
        Table { place: self.place, entries }
    }
}

impl Entry {
    fn farther(&self) -> Entry {
        Entry { key: self.key, node: self.node.farther() }
    }
}

impl Node {
    fn farther(&self) -> Node {
        let value = match &self.value {
            Value::Table(table) => {
                let entries = table.entries.iter().map(|(key, entry)| (key.clone(), entry.farther())).collect();
                Value::Table(Table { place: table.place, entries })
            }
            other => other.clone(),
        };
        Node { place: self.place, depth: self.depth.saturating_add(1), value }
    }
}

/// Larger texts are not searched for a second mistake of form.
const RECOVERABLE: usize = 64 << 10;

/// More mistakes of form in one file are not told.
const MOST_MISTAKES: usize = 10;

/// The tree of a text. Mistakes of form become findings, and there is no tree.
pub(super) fn parse(file: FileId, text: &str, findings: &mut Findings) -> Option<Table> {
    if let Some(range) = nesting::too_deep(text) {
        findings.error(Place::new(file, range), "this key has too many parts", "nothing here needs more than four levels");
        return None;
    }
    let error = match DeTable::parse(text) {
        Ok(table) => {
            let place = Place::new(file, table.span());
            return Some(Reading { file, text }.table(place, table.get_ref()));
        }
        Err(error) => error,
    };
    let all = if text.len() <= RECOVERABLE { DeTable::parse_recoverable(text).1 } else { vec![error] };
    for error in all.into_iter().take(MOST_MISTAKES) {
        let place = Place::new(file, error.span().unwrap_or(0..0));
        findings.error(place, format!("this is no TOML: {}", error.message()), help(error.message()));
    }
    None
}

fn help(message: &str) -> &'static str {
    match message {
        _ if message.contains("duplicate") => "a key stands once in a table; remove one of the two",
        _ if message.contains("recursion") => "nothing here needs more than four levels",
        _ if message.contains("string") => "put text between two quotes on one line: name = \"nightly\"",
        _ => "write key = value, with text in quotes: name = \"nightly\"",
    }
}

struct Reading<'a> {
    file: FileId,
    text: &'a str,
}

impl Reading<'_> {
    fn table(&self, place: Place, table: &DeTable<'_>) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let place = Place::new(self.file, key.span());
            (key.get_ref().to_string(), Entry { key: place, node: self.node(value) })
        });
        Table { place, entries: entries.collect() }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = Place::new(self.file, value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(Text { text: text.to_string(), literal: self.is_literal(place, text) }),
            DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Array(list) => Value::List(list.iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(place, table)),
            DeValue::Float(_) => Value::Float,
            DeValue::Datetime(_) => Value::Date,
        };
        Node { place, depth: 0, value }
    }

    fn is_literal(&self, place: Place, text: &str) -> bool {
        let range = place.range();
        self.text.get(range.start + 1..range.end.saturating_sub(1)).is_some_and(|between| between == text)
    }
}
