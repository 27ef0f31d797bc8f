//! Templates: `[template.NAME]` tables that policies and other templates inherit from, whichever file they stand in. An heir takes
//! over key by key what it does not say itself, in nested tables too.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::fields::{shortened, text};
use super::findings::Findings;
use super::source::Place;
use super::tree::{Table, Value};
use crate::domain::nearest::nearest;

/// Keys that make a policy itself and cannot be inherited.
const OWN: [&str; 2] = ["name", "id"];
/// The key that names the template.
pub(super) const INHERIT: &str = "inherit";

/// All templates of all files.
#[derive(Debug, Default)]
pub(super) struct Templates {
    tables: BTreeMap<String, (Place, Table)>,
    resolved: BTreeMap<String, Option<Rc<Table>>>,
    /// Files could not be read: a template that is not here may be there.
    incomplete: bool,
}

impl Templates {
    /// None yet. `incomplete`: whether there are files that could not be read.
    pub fn new(incomplete: bool) -> Self {
        Self { incomplete, ..Self::default() }
    }

    /// Takes in the `template` table of a file.
    pub fn add(&mut self, all: &Table, findings: &mut Findings) {
        for (name, entry) in &all.entries {
            let Value::Table(table) = &entry.node.value else {
                let help = format!("write [template.{}]", shortened(name));
                findings.error(entry.node.place, "a template is a table", help);
                continue;
            };
            for key in OWN {
                if let Some(entry) = table.entries.get(key) {
                    findings.error(entry.key, format!("a template has no `{key}`"), "write it into the policy");
                }
            }
            if let Some((first, _)) = self.tables.get(name) {
                let message = format!("a second template is called \"{}\"", shortened(name));
                findings.conflict(entry.key, (*first, "the first"), message, "choose another name");
                continue;
            }
            let mut table = table.clone();
            table.entries.retain(|key, _| !OWN.contains(&key.as_str()));
            self.tables.insert(name.clone(), (entry.key, table));
        }
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    /// A template with all that it inherits. Nothing when it, or one above it, does not exist, or they go round in circles.
    pub fn get(&mut self, name: &str, findings: &mut Findings) -> Option<Rc<Table>> {
        self.resolve(name, &mut Vec::new(), findings)
    }

    /// A policy's table with all that it inherits.
    pub fn complete(&mut self, table: &Table, findings: &mut Findings) -> Option<Rc<Table>> {
        self.inherited(table, &mut Vec::new(), findings)
    }

    fn resolve(&mut self, name: &str, path: &mut Vec<String>, findings: &mut Findings) -> Option<Rc<Table>> {
        if let Some(resolved) = self.resolved.get(name) {
            return resolved.clone();
        }
        let (_, table) = self.tables.get(name).cloned()?;
        path.push(name.to_owned());
        let resolved = self.inherited(&table, path, findings);
        path.pop();
        self.resolved.insert(name.to_owned(), resolved.clone());
        resolved
    }

    fn inherited(&mut self, table: &Table, path: &mut Vec<String>, findings: &mut Findings) -> Option<Rc<Table>> {
        let mut own = table.clone();
        let Some(entry) = own.entries.remove(INHERIT) else { return Some(Rc::new(own)) };
        let wanted = &text(INHERIT, &entry.node, findings)?.text;
        if !self.tables.contains_key(wanted) {
            self.unknown(entry.node.place, wanted, findings);
            return None;
        }
        if let Some(begin) = path.iter().position(|name| name == wanted) {
            let circle: Vec<&str> = path[begin..].iter().chain([wanted]).map(String::as_str).collect();
            findings.error(
                entry.node.place,
                format!("templates inherit from one another in a circle: {}", shortened(&circle.join(" -> "))),
                "remove one `inherit`",
            );
            return None;
        }
        if path.len() >= DEEPEST {
            let message = format!("more than {DEEPEST} templates inherit from one another");
            findings.error(entry.node.place, message, "put what they share into one");
            return None;
        }
        let base = self.resolve(wanted, path, findings)?;
        Some(Rc::new(own.inheriting(&base)))
    }

    fn unknown(&self, place: Place, wanted: &str, findings: &mut Findings) {
        if self.incomplete || findings.is_full() {
            return;
        }
        let help = match nearest(wanted, self.tables.keys().map(String::as_str)) {
            Some(name) => format!("write inherit = \"{name}\""),
            None if self.tables.is_empty() => format!("write a template first: [template.{}]", shortened(wanted)),
            None => format!("the templates are {}", shortened(&self.names().join(", "))),
        };
        findings.error(place, format!("no template is called \"{}\"", shortened(wanted)), help);
    }
}

/// The longest chain of templates.
const DEEPEST: usize = 16;
