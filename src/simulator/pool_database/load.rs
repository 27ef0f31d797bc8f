//! Rows to a database.

use std::collections::HashMap;
use std::io::BufRead;

use super::error::{Damage, LoadError};
use super::read::{Piece, Pieces, shown};
use super::{Blanks, Kept, KeptRow, KeptTable, NOT_PERSISTENT, columns, schema};
use crate::simulator::database::Database;
use crate::simulator::model::{Class, Model, Release};
use crate::simulator::sexpr::{self, Quotes};
use crate::simulator::value::{Ref, Text, Value};

/// A database that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its rows.
    pub database: Database,
    /// What has no place in the rows.
    pub kept: Kept,
    /// The release it belongs to.
    pub release: Release,
    /// Values that could not be read; what could be saved of them stands in the rows.
    pub damages: Vec<Damage>,
}

/// Loads a dump. The release is that of its schema unless `release` says otherwise.
///
/// References, uuids and generations stay as they are; columns that the dump lacks take the model's default; reverse sets that old
/// dumps do not have are computed.
///
/// # Errors
/// [`LoadError`].
pub fn load(from: impl BufRead, release: Option<Release>) -> Result<Loaded, LoadError> {
    let mut pieces = Pieces::new(from);
    let mut loading = Loading::default();
    while let Some(piece) = pieces.next()? {
        match piece {
            Piece::Pair(key, value) => loading.kept.manifest.push((key, value)),
            Piece::Table(name) => {
                loading.kept.tables.push(KeptTable { name: name.into(), columns: Vec::new(), strangers: Vec::new() });
            }
            Piece::Row(cells) => loading.row(cells, pieces.at(), release)?,
        }
    }
    loading.finish(release)
}

#[derive(Default)]
struct Loading {
    database: Database,
    kept: Kept,
    quotes: Option<Quotes>,
    generation: u64,
    damages: Vec<Damage>,
    /// One text for each value that many rows share.
    shared: HashMap<Text, Text>,
}

/// The longest text that is shared between rows; longer ones seldom repeat.
const SHARED_UP_TO: usize = 4096;
/// The most columns of one table; the model's largest has about a hundred.
const MOST_COLUMNS: usize = 1_000;

impl Loading {
    fn row(&mut self, cells: Vec<(String, String)>, at: u64, release: Option<Release>) -> Result<(), LoadError> {
        if self.quotes.is_none() {
            self.begin(release)?;
        }
        let Some(table) = self.kept.tables.last_mut() else {
            return Err(LoadError::NoDatabase { at, reason: "a row outside of a table".to_owned() });
        };
        if cells.iter().any(|(_, text)| text.contains("%.")) {
            self.kept.blanks = Some(Blanks::Each);
        }
        match Model::get().class(&table.name) {
            None => {
                table.strangers.push(cells.into_iter().map(|(name, text)| (name.into(), shown(&text))).collect());
                Ok(())
            }
            Some(class) if NOT_PERSISTENT.contains(&&*class.name) => Ok(()),
            Some(class) => self.known_row(class, cells, at),
        }
    }

    /// Looks at the manifest once the first row comes.
    fn begin(&mut self, release: Option<Release>) -> Result<(), LoadError> {
        self.generation = self.kept.manifest_value("generation_count").and_then(|n| n.parse().ok()).unwrap_or(0).max(1);
        self.quotes = Some(Quotes::of(self.release(release)?));
        Ok(())
    }

    fn release(&self, given: Option<Release>) -> Result<Release, LoadError> {
        let part = |key| self.kept.manifest_value(key).unwrap_or_default();
        let (major, minor) = (part("schema_major_vsn"), part("schema_minor_vsn"));
        let known = major.parse() == Ok(schema::MAJOR);
        let derived = minor.parse().ok().filter(|_| known).and_then(schema::release_of);
        given.or(derived).ok_or_else(|| LoadError::Schema { major: major.to_owned(), minor: minor.to_owned() })
    }

    fn known_row(&mut self, class: &'static Class, cells: Vec<(String, String)>, at: u64) -> Result<(), LoadError> {
        let Some(reference) = cells.iter().find(|(name, _)| name == "ref").map(|(_, text)| Ref::from(shown(text))) else {
            return Err(LoadError::NoDatabase { at, reason: format!("a row of table {} without ref", class.name) });
        };
        let cell = |key: &str| cells.iter().find(|(name, _)| name == key).map(|(_, text)| text.parse().unwrap_or(0));
        // Databases of before 6.1 have no generations: everything is as old as the dump. Real ones hold a -1 too: older than all.
        let born = cell("__ctime").unwrap_or(self.generation);
        let changed = cell("__mtime").unwrap_or(self.generation);
        let absent = self.note_columns(class, &cells, at)?;
        let (values, verbatim) = self.values(class, &reference, cells);
        if !verbatim.is_empty() || !absent.is_empty() {
            self.kept.rows.insert((Text::from(&*class.name), reference.clone()), KeptRow { verbatim, absent });
        }
        self.database.restore(&class.name, reference, born, changed, values);
        Ok(())
    }

    /// Adds new columns to the table's list; answers which of the list the row lacks.
    fn note_columns(&mut self, class: &Class, cells: &[(String, String)], at: u64) -> Result<Vec<Text>, LoadError> {
        let Some(table) = self.kept.tables.last_mut() else { return Ok(Vec::new()) };
        let in_order =
            table.columns.len() == cells.len() && table.columns.iter().zip(cells).all(|(known, (name, _))| **known == *name);
        if in_order {
            return Ok(Vec::new());
        }
        let is_new = |name: &str| !table.columns.iter().any(|known| **known == *name);
        let new: Vec<Text> = cells.iter().filter(|(name, _)| is_new(name)).map(|(name, _)| name.as_str().into()).collect();
        if table.columns.len() + new.len() > MOST_COLUMNS {
            return Err(LoadError::NoDatabase { at, reason: format!("too many columns in table {}", table.name) });
        }
        table.columns.extend(new.iter().cloned());
        if !new.is_empty() {
            for earlier in self.database.refs(&class.name) {
                self.kept.rows.entry((Text::from(&*class.name), earlier)).or_default().absent.extend(new.iter().cloned());
            }
        }
        Ok(table.columns.iter().filter(|known| !cells.iter().any(|(name, _)| ***known == **name)).cloned().collect())
    }

    /// The row's values, and the texts that would be lost.
    fn values(
        &mut self,
        class: &'static Class,
        reference: &Ref,
        cells: Vec<(String, String)>,
    ) -> (Vec<Value>, Vec<(Text, String)>) {
        let quotes = self.quotes.unwrap_or(Quotes::Single);
        let mut values: Vec<Option<Value>> = vec![None; class.fields.len()];
        let mut verbatim = Vec::new();
        for (name, raw) in cells {
            let text = shown(&raw);
            let Some(column) = class.column(&columns::field(&name)) else {
                if !is_derived(class, &name, &text) {
                    verbatim.push((name.into(), text));
                }
                continue;
            };
            let kind = &class.fields[column].kind;
            let value = sexpr::decode(kind, &text).unwrap_or_else(|source| {
                let damage = Damage { table: class.name.clone(), reference: reference.to_string(), column: name.clone(), source };
                self.damages.push(damage);
                sexpr::salvage(kind, &text)
            });
            if sexpr::encode(&value, quotes) != text {
                verbatim.push((name.into(), text));
            }
            values[column] = Some(self.share(value));
        }
        let defaults = class.fields.iter().map(|field| field.default.clone().unwrap_or_else(|| field.kind.zero()));
        let values = values.into_iter().zip(defaults).map(|(value, default)| value.unwrap_or(default)).collect();
        (values, verbatim)
    }

    /// Lets equal texts of many rows share their memory.
    fn share(&mut self, value: Value) -> Value {
        match value {
            Value::Str(text) => Value::Str(self.share_text(text)),
            Value::Date(text) => Value::Date(self.share_text(text)),
            Value::Set(items) => Value::Set(items.into_iter().map(|item| self.share(item)).collect()),
            Value::Map(members) => {
                Value::Map(members.into_iter().map(|(key, value)| (self.share_text(key), self.share(value))).collect())
            }
            value => value,
        }
    }

    fn share_text(&mut self, text: Text) -> Text {
        if text.len() > SHARED_UP_TO {
            return text;
        }
        self.shared.entry(text.clone()).or_insert(text).clone()
    }

    fn finish(mut self, given: Option<Release>) -> Result<Loaded, LoadError> {
        for class in ["pool", "host"] {
            if self.database.count(class) == 0 {
                return Err(LoadError::Incomplete(class));
            }
        }
        let release = self.release(given)?;
        self.database.finish_restoring(self.generation);
        self.kept.generation = self.generation;
        derive_missing(&mut self);
        Ok(Loaded { database: self.database, kept: self.kept, release, damages: self.damages })
    }
}

/// Columns that are written again without being kept: the row's own reference and generations, and hidden ones with their usual text.
fn is_derived(class: &Class, name: &str, text: &str) -> bool {
    match name {
        "ref" | "_ref" => true,
        "__ctime" | "__mtime" => text.parse::<u64>().is_ok(),
        _ => columns::hidden(&class.name, Release::NEWEST).any(|(hidden, usual)| hidden == name && usual == text),
    }
}

/// Fills what older databases express by other fields, for those who look at them through a newer release.
fn derive_missing(loading: &mut Loading) {
    let lacks = |column: &str| {
        let table = loading.kept.tables.iter().find(|table| &*table.name == "VM");
        table.is_some_and(|table| !table.columns.is_empty() && !table.columns.iter().any(|known| &**known == column))
    };
    let (no_default_template, no_domain_type) = (lacks("is_default_template"), lacks("domain_type"));
    let generation = loading.database.generation();
    for vm in loading.database.refs("VM") {
        let text = |field| loading.database.text("VM", &vm, field);
        let template = loading.database.map_text("VM", &vm, "other_config", "default_template").is_some_and(|t| &*t == "true");
        let hvm = !text("HVM_boot_policy").is_empty();
        if no_default_template && template {
            loading.database.rewrite("VM", &vm, "is_default_template", Value::Bool(true));
        }
        if no_domain_type {
            loading.database.rewrite("VM", &vm, "domain_type", Value::str(if hvm { "hvm" } else { "pv" }));
        }
    }
    debug_assert_eq!(generation, loading.database.generation());
}
