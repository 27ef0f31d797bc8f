//! Taking the keys out of a table. Whoever reads a table names each key it knows; what nobody asked for is unknown, and the keys
//! that were asked for are what may have been meant. A value of the wrong kind becomes a finding, and reading goes on without it.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::findings::Findings;
use super::source::Place;
use super::told::Told;
use super::tree::{Node, Table, Text, Value};
use crate::domain::nearest::nearest;

/// A value and where it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<T> {
    pub value: T,
    pub place: Place,
    /// From how many templates up.
    pub depth: u8,
}

impl<T> Written<T> {
    /// True when the other one stands nearer to the policy, so that this one may be meant for something else.
    pub fn yields_to<U>(&self, other: &Written<U>) -> bool {
        self.depth > other.depth
    }

    fn of(node: &Node, value: T) -> Self {
        Self { value, place: node.place, depth: node.depth }
    }
}

/// The keys of a table, being taken out.
pub(super) struct Fields<'t> {
    table: &'t Table,
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    pub fn new(table: &'t Table) -> Self {
        Self { table, known: Vec::new() }
    }

    pub fn place(&self) -> Place {
        self.table.place
    }

    /// The value of a key, of any kind.
    pub fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.entries.get(key).map(|entry| &entry.node)
    }

    /// Where a key stands.
    pub fn key(&self, key: &str) -> Option<Place> {
        self.table.entries.get(key).map(|entry| entry.key)
    }

    /// True when a key is missing; not when it was misspelt, which is told as such.
    pub fn lacks(&self, key: &str) -> bool {
        let unread = self.table.entries.keys().filter(|entry| !self.known.contains(&entry.as_str()));
        !self.table.entries.contains_key(key) && unread.into_iter().all(|entry| nearest(entry, [key]).is_none())
    }

    pub fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written<&'t str>> {
        let node = self.node(key)?;
        text(key, node, findings).map(|text| Written::of(node, text.text.as_str()))
    }

    pub fn flag(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written<bool>> {
        let node = self.node(key)?;
        match node.value {
            Value::Flag(flag) => Some(Written::of(node, flag)),
            _ => wrong_kind(key, node, "true or false", &format!("write {key} = true, without quotes"), findings),
        }
    }

    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u32>, findings: &mut Findings) -> Option<Written<u32>> {
        let node = self.node(key)?;
        let (from, to) = (*range.start(), *range.end());
        match node.value {
            Value::Integer(number) => {
                let fits = number.and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number));
                if fits.is_none() {
                    findings.error(node.place, format!("`{key}` is out of range"), format!("write a number from {from} to {to}"));
                }
                fits.map(|number| Written::of(node, number))
            }
            Value::Text(_) => {
                wrong_kind(key, node, "a number", &format!("write {key} = {}, without quotes", from.max(1)), findings)
            }
            _ => wrong_kind(key, node, "a number", &format!("write a whole number: {key} = {}", from.max(1)), findings),
        }
    }

    /// A text that is read as something else.
    pub fn parsed<T>(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written<T>>
    where
        T: FromStr<Err: Into<Told>>,
    {
        let node = self.node(key)?;
        let text = text(key, node, findings)?;
        read(node, text, text.text.parse::<T>(), findings)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
        findings: &mut Findings,
    ) -> Option<Written<T>> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let node = self.node(key)?;
        let Value::Text(text) = &node.value else { return wrong_kind(key, node, "text", &one_of("", &known), findings) };
        let written = Written::of(node, text.text.as_str());
        match words.iter().find(|(word, _)| *word == written.value) {
            Some((_, value)) => Some(Written { value: *value, place: written.place, depth: written.depth }),
            None => {
                findings.error(
                    written.place,
                    format!("\"{}\" is nothing that `{key}` can be", shortened(written.value)),
                    one_of(written.value, &known),
                );
                None
            }
        }
    }

    /// One text or a list of texts; with its own place, which an empty list needs.
    pub fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written<Vec<(&'t Node, &'t Text)>>> {
        let node = self.node(key)?;
        let items: &[Node] = match &node.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(node),
        };
        let texts = items.iter().filter_map(|item| text(key, item, findings).map(|text| (item, text))).collect();
        Some(Written::of(node, texts))
    }

    /// As `texts`, each read as something else. Nothing when one of them could not be read.
    pub fn all_parsed<T>(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written<Vec<Written<T>>>>
    where
        T: FromStr<Err: Into<Told>>,
    {
        let before = findings.errors();
        let Written { value, place, depth } = self.texts(key, findings)?;
        let all = value.into_iter().filter_map(|(node, text)| read(node, text, text.text.parse::<T>(), findings)).collect();
        (findings.errors() == before).then_some(Written { value: all, place, depth })
    }

    /// A table.
    pub fn table(&mut self, key: &'static str, findings: &mut Findings) -> Option<Fields<'t>> {
        let node = self.node(key)?;
        table(key, node, findings).map(Fields::new)
    }

    /// A list of tables, each with its place and how far away it stands.
    pub fn tables(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written<Vec<&'t Table>>> {
        let node = self.node(key)?;
        match &node.value {
            Value::List(items) => Some(Written::of(node, items.iter().filter_map(|item| table(key, item, findings)).collect())),
            _ => wrong_kind(
                key,
                node,
                "a list of tables",
                &format!("write {key} = [{{ ... }}], or a block in double brackets: [[...]]"),
                findings,
            ),
        }
    }

    /// The remaining keys are unknown.
    pub fn finish(self, findings: &mut Findings) {
        for (key, entry) in &self.table.entries {
            if findings.is_full() || self.known.contains(&key.as_str()) {
                continue;
            }
            findings.error(entry.key, format!("unknown key `{}`", shortened(key)), one_of_keys(key, &self.known));
        }
    }
}

/// Keys whose values are lengths of time: whoever wrote a number has left out the unit too.
const LENGTHS: [&str; 10] = [
    "spread",
    "deadline",
    "catch_up_max_age",
    "timeout",
    "shutdown_timeout",
    "sync_interval",
    "lease",
    "reconcile_interval",
    "drain_grace",
    "keep",
];

/// The value as text, or a finding. The value itself is not quoted: it may be a password.
pub(super) fn text<'n>(key: &str, node: &'n Node, findings: &mut Findings) -> Option<&'n Text> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ if LENGTHS.contains(&key) => {
            wrong_kind(key, node, "text", &format!("put it in quotes, with its unit: {key} = \"30m\""), findings)
        }
        _ => wrong_kind(key, node, "text", &format!("put it in quotes: {key} = \"...\""), findings),
    }
}

fn table<'n>(key: &str, node: &'n Node, findings: &mut Findings) -> Option<&'n Table> {
    match &node.value {
        Value::Table(table) => Some(table),
        _ => wrong_kind(key, node, "a table", &format!("write {key} = {{ ... }}, or a block of its own"), findings),
    }
}

fn wrong_kind<T>(key: &str, node: &Node, wanted: &str, help: &str, findings: &mut Findings) -> Option<T> {
    findings.error(node.place, format!("`{key}` takes {wanted}, not {}", node.value.kind()), help);
    None
}

/// What was read, or a finding at the part of the text that is wrong.
pub(super) fn read<T, E: Into<Told>>(
    node: &Node,
    text: &Text,
    result: Result<T, E>,
    findings: &mut Findings,
) -> Option<Written<T>> {
    match result {
        Ok(value) => Some(Written::of(node, value)),
        Err(error) => {
            let told = error.into();
            let place = told.at.map_or(node.place, |at| text.part(node.place, at));
            findings.error(place, told.message, told.help);
            None
        }
    }
}

/// `write "daily"`, or all that is possible.
pub(super) fn one_of(wanted: &str, known: &[&str]) -> String {
    match nearest(wanted, known.iter().copied()) {
        Some(word) => format!("write \"{word}\""),
        None => format!("write {}", known.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")),
    }
}

fn one_of_keys(wanted: &str, known: &[&'static str]) -> String {
    match nearest(wanted, known.iter().copied()) {
        Some(key) => format!("write `{key}`"),
        None => format!("the keys here are {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// A value as far as it is quoted.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(60).chain("...".chars()).collect() }
}
