//! The server's database: tables of rows, one generation number for every change.
//!
//! The rules it keeps are those that clients can see: each write moves the generation; each row remembers the generation of its
//! birth and of its last change; each table remembers only its newest deletions; and a reverse set (`VM.VBDs`) follows the forward
//! reference (`VBD.VM`) by itself, which counts as a change of the row that holds the set.
//!
//! Class and field names come from this program's code, so an unknown one is a bug and panics; references come from clients, so an
//! unknown one is a [`ApiError::handle_invalid`].

mod relations;
mod restore;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::error::{ApiError, ApiResult};
use super::ledger::{Deed, Note};
use super::model::{Class, Model};
use super::value::{Ref, Text, Value, is_null};

/// How many deletions a table remembers at least; at twice as many the older half is forgotten (xapi: db_cache_types.ml).
const DELETIONS_KEPT: usize = 256;

/// A row of a table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The generation of its birth.
    pub created: u64,
    /// The generation of its last change.
    pub modified: u64,
    /// Shared with whoever read the row; a write makes its own copy, so that a reader keeps what it saw.
    values: Arc<Vec<Value>>,
}

/// A row that is gone.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Its reference.
    pub reference: Ref,
    /// The generation of its birth.
    pub created: u64,
    /// The generation of its end.
    pub deleted: u64,
}

#[derive(Debug, Clone, Default)]
struct Table {
    rows: BTreeMap<Ref, Row>,
    by_uuid: HashMap<Text, Ref>,
    deletions: VecDeque<Deletion>,
    /// Rows by the generation of their last change.
    changes: BTreeMap<u64, Vec<Ref>>,
}

/// All tables.
#[derive(Debug, Clone)]
pub struct Database {
    generation: u64,
    tables: Vec<Table>,
    deletions_kept: usize,
    /// Forward references to objects that do not exist, by the reference they name.
    dangling: HashMap<Ref, Vec<Dangling>>,
    /// Creations and destructions that nobody has taken note of yet; none while nobody wants to know.
    journal: Option<Vec<Note>>,
    /// Whether changes are noted too.
    keeps_changes: bool,
}

#[derive(Debug, Clone)]
struct Dangling {
    class: &'static str,
    field: &'static str,
    source: Ref,
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    /// A database without rows.
    pub fn new() -> Self {
        Self {
            generation: 1,
            tables: vec![Table::default(); Model::get().classes().len()],
            deletions_kept: DELETIONS_KEPT,
            dangling: HashMap::new(),
            journal: None,
            keeps_changes: false,
        }
    }

    /// Makes tables forget deletions sooner than the real server, to provoke what clients seldom see.
    pub fn keep_deletions(&mut self, kept: usize) {
        self.deletions_kept = kept;
    }

    /// The number of the last change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Notes creations and destructions from now on, for [`Database::take_journal`]. Tasks and sessions come and go with every
    /// call and are left out.
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// Notes changes of fields as well, from now on or no longer.
    pub fn keep_changes(&mut self, keep: bool) {
        self.keeps_changes = keep;
    }

    /// What was created and destroyed since the last time.
    pub fn take_journal(&mut self) -> Vec<Note> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, deed: Deed, facts: &'static Class, reference: &str, row: Row) {
        if let Some(journal) = &mut self.journal
            && !matches!(&*facts.name, "task" | "session")
        {
            journal.push(Note { deed, class: &facts.name, reference: reference.into(), row });
        }
    }

    /// Takes a generation for something that is no row (a message), and answers the one before.
    pub fn advance(&mut self) -> u64 {
        self.generation += 1;
        self.generation - 1
    }

    /// Moves the generation as a database does that was restored or loaded.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Every row of a class, in the order of references.
    pub fn rows(&self, class: &str) -> impl DoubleEndedIterator<Item = (&Ref, &Row)> {
        self.table(class).rows.iter()
    }

    /// The references of a class.
    pub fn refs(&self, class: &str) -> Vec<Ref> {
        self.table(class).rows.keys().cloned().collect()
    }

    /// How many rows a class has.
    pub fn count(&self, class: &str) -> usize {
        self.table(class).rows.len()
    }

    /// Whether the object exists.
    pub fn exists(&self, class: &str, reference: &str) -> bool {
        self.table(class).rows.contains_key(reference)
    }

    /// Whether the object exists, as the answer a client gets.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn check(&self, class: &str, reference: &str) -> ApiResult<()> {
        self.row(class, reference).map(drop)
    }

    /// The row of an object.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn row(&self, class: &str, reference: &str) -> ApiResult<&Row> {
        self.table(class).rows.get(reference).ok_or_else(|| ApiError::handle_invalid(class, reference))
    }

    /// The reference of the object with this uuid.
    pub fn by_uuid(&self, class: &str, uuid: &str) -> Option<&Ref> {
        self.table(class).by_uuid.get(uuid)
    }

    /// A field; none when the object does not exist.
    pub fn get(&self, class: &str, reference: &str, field: &str) -> Option<&Value> {
        let column = column(class, field);
        self.table(class).rows.get(reference).map(|row| &row.values[column])
    }

    /// A text, reference, enum or date field; empty when the object does not exist.
    pub fn text(&self, class: &str, reference: &str, field: &str) -> Text {
        self.get(class, reference, field).and_then(Value::as_text).cloned().unwrap_or_else(|| "".into())
    }

    /// An integer field; 0 when the object does not exist.
    pub fn int(&self, class: &str, reference: &str, field: &str) -> i64 {
        match self.get(class, reference, field) {
            Some(Value::Int(n)) => *n,
            _ => 0,
        }
    }

    /// A boolean field; false when the object does not exist.
    pub fn bool(&self, class: &str, reference: &str, field: &str) -> bool {
        matches!(self.get(class, reference, field), Some(Value::Bool(true)))
    }

    /// A set of texts or references; empty when the object does not exist.
    pub fn texts(&self, class: &str, reference: &str, field: &str) -> Vec<Text> {
        self.get(class, reference, field).map_or(&[][..], Value::items).iter().filter_map(Value::as_text).cloned().collect()
    }

    /// The text under `key` of a map field.
    pub fn map_text(&self, class: &str, reference: &str, field: &str, key: &str) -> Option<Text> {
        self.get(class, reference, field)?.member(key)?.as_text().cloned()
    }

    /// Creates an object; fields that are not given take the model's default, else the zero of their type.
    ///
    /// # Panics
    /// When the reference is in use.
    pub fn create<'a>(
        &mut self,
        class: &str,
        reference: impl Into<Ref>,
        fields: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Ref {
        let reference = reference.into();
        let facts = facts(class);
        let mut values: Vec<Value> =
            facts.fields.iter().map(|field| field.default.clone().unwrap_or_else(|| field.kind.zero())).collect();
        for (field, value) in fields {
            values[column(class, field)] = value;
        }
        self.insert(facts, reference.clone(), values);
        reference
    }

    /// Removes an object and the references that reverse sets hold to it. False when it was not there.
    pub fn destroy(&mut self, class: &str, reference: &str) -> bool {
        let Some(row) = self.table_mut(class).rows.remove(reference) else { return false };
        let facts = facts(class);
        self.note(Deed::Destroyed, facts, reference, row.clone());
        self.leave_dangling(class, reference, &row);
        for (column, field) in facts.fields.iter().enumerate() {
            self.unlink(class, &field.name, reference, &row.values[column]);
        }
        self.generation += 1;
        let (deleted, kept) = (self.generation, self.deletions_kept);
        let table = self.table_mut(class);
        if let Some(uuid) = facts.column("uuid").and_then(|at| row.values[at].as_text()) {
            table.by_uuid.remove(uuid);
        }
        forget_change(table, row.modified, reference);
        table.deletions.push_back(Deletion { reference: reference.into(), created: row.created, deleted });
        if table.deletions.len() >= kept.max(1) * 2 {
            table.deletions.drain(..kept.max(1));
        }
        true
    }

    /// Writes a field. Writing what is there already is no change, as on the real server.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn set(&mut self, class: &str, reference: &str, field: &str, value: Value) -> ApiResult<()> {
        let column = column(class, field);
        let row = self.table_mut(class).rows.get_mut(reference).ok_or_else(|| ApiError::handle_invalid(class, reference))?;
        if row.values[column] == value {
            return Ok(());
        }
        let old = std::mem::replace(&mut Arc::make_mut(&mut row.values)[column], value.clone());
        self.unlink(class, field, reference, &old);
        self.link(class, field, reference, &value);
        if field == "uuid" {
            self.index_uuid(class, reference, &old, &value);
        }
        self.touch(class, reference);
        if self.keeps_changes
            && let Some(row) = self.table(class).rows.get(reference).cloned()
        {
            let facts = facts(class);
            self.note(Deed::Changed(&facts.fields[column].name), facts, reference, row);
        }
        Ok(())
    }

    /// Changes a field in place.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn update(&mut self, class: &str, reference: &str, field: &str, change: impl FnOnce(&mut Value)) -> ApiResult<()> {
        let mut value = self.get(class, reference, field).cloned().ok_or_else(|| ApiError::handle_invalid(class, reference))?;
        change(&mut value);
        self.set(class, reference, field, value)
    }

    /// Puts a key into a map field, replacing what was there.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn put(&mut self, class: &str, reference: &str, field: &str, key: &str, value: Value) -> ApiResult<()> {
        self.update(class, reference, field, |map| {
            if let Value::Map(members) = map {
                match members.iter_mut().find(|(k, _)| &**k == key) {
                    Some((_, old)) => *old = value,
                    // The server lists the newest first.
                    None => members.insert(0, (key.into(), value)),
                }
            }
        })
    }

    /// Takes a key out of a map field; an absent key is no error.
    ///
    /// # Errors
    /// HANDLE_INVALID.
    pub fn take(&mut self, class: &str, reference: &str, field: &str, key: &str) -> ApiResult<()> {
        self.update(class, reference, field, |map| {
            if let Value::Map(members) = map {
                members.retain(|(k, _)| &**k != key);
            }
        })
    }

    /// Marks an object as changed, though nothing in it did (`event.inject`).
    pub fn touch(&mut self, class: &str, reference: &str) {
        self.generation += 1;
        let generation = self.generation;
        let table = self.table_mut(class);
        let Some(row) = table.rows.get_mut(reference) else { return };
        let before = std::mem::replace(&mut row.modified, generation);
        forget_change(table, before, reference);
        table.changes.entry(generation).or_default().push(reference.into());
    }

    /// The objects of a class that changed or were born after `generation`, oldest change first.
    pub fn changed_since(&self, class: &str, generation: u64) -> impl Iterator<Item = (&Ref, &Row)> {
        let table = self.table(class);
        let later = table.changes.range(generation + 1..).flat_map(|(_, refs)| refs);
        later.filter_map(|reference| table.rows.get_key_value(reference))
    }

    /// The remembered deletions of a class after `generation`, oldest first.
    pub fn deleted_since(&self, class: &str, generation: u64) -> impl Iterator<Item = &Deletion> {
        self.table(class).deletions.iter().filter(move |deletion| deletion.deleted > generation)
    }

    /// Forgets which deletions happened, as a restart does.
    pub fn forget_deletions(&mut self) {
        self.tables.iter_mut().for_each(|table| table.deletions.clear());
    }

    fn insert(&mut self, facts: &'static Class, reference: Ref, values: Vec<Value>) {
        self.generation += 1;
        let generation = self.generation;
        let uuid = facts.column("uuid").and_then(|at| values[at].as_text().cloned());
        let links = values.clone();
        let table = self.table_mut(&facts.name);
        let row = Row { created: generation, modified: generation, values: Arc::new(values) };
        assert!(table.rows.insert(reference.clone(), row.clone()).is_none(), "the reference {reference} is in use");
        table.changes.entry(generation).or_default().push(reference.clone());
        if let Some(uuid) = uuid {
            table.by_uuid.insert(uuid, reference.clone());
        }
        for (field, value) in facts.fields.iter().zip(links) {
            self.link(&facts.name, &field.name, &reference, &value);
        }
        self.adopt_dangling(&facts.name, &reference);
        self.note(Deed::Created, facts, &reference, row);
    }

    fn index_uuid(&mut self, class: &str, reference: &str, old: &Value, new: &Value) {
        let table = self.table_mut(class);
        if let Some(old) = old.as_text() {
            table.by_uuid.remove(old);
        }
        if let Some(new) = new.as_text() {
            table.by_uuid.insert(new.clone(), reference.into());
        }
    }

    /// Puts `reference` into the reverse sets of whatever `value` refers to.
    fn link(&mut self, class: &str, field: &str, reference: &str, value: &Value) {
        self.note_dangling(class, field, reference, value);
        self.relate(class, field, value, |items| {
            if !items.iter().any(|item| item.as_text().is_some_and(|text| &**text == reference)) {
                // The server lists the newest first.
                items.insert(0, Value::str(reference));
            }
        });
    }

    fn note_dangling(&mut self, class: &str, field: &str, source: &str, value: &Value) {
        let Some((relation, other)) = relations::forward(class, field) else { return };
        let Some(target) = value.as_text().filter(|target| !is_null(target) && !self.exists(other, target)) else { return };
        let dangling = Dangling { class: relation.0, field: relation.1, source: source.into() };
        self.dangling.entry(target.clone()).or_default().push(dangling);
    }

    /// Takes `reference` out of the reverse sets of whatever `value` refers to.
    fn unlink(&mut self, class: &str, field: &str, reference: &str, value: &Value) {
        self.relate(class, field, value, |items| {
            items.retain(|item| item.as_text().is_none_or(|text| &**text != reference));
        });
    }

    fn relate(&mut self, class: &str, field: &str, value: &Value, change: impl Fn(&mut Vec<Value>)) {
        let Some((other, set)) = relations::reverse_of(class, field) else { return };
        let single = std::slice::from_ref(value);
        let targets = if let Value::Set(items) = value { items.as_slice() } else { single };
        for target in targets.iter().filter_map(Value::as_text).filter(|target| !is_null(target)).cloned().collect::<Vec<_>>() {
            let column = column(other, set);
            let Some(row) = self.table_mut(other).rows.get_mut(&*target) else { continue };
            if let Value::Set(items) = &mut Arc::make_mut(&mut row.values)[column] {
                let before = items.len();
                change(items);
                if items.len() != before {
                    self.touch(other, &target);
                }
            }
        }
    }

    /// Objects may have named this reference before it existed, or after it was gone (a revived VM): its reverse sets start with them.
    fn adopt_dangling(&mut self, class: &str, reference: &str) {
        for Dangling { class: other, field, source } in self.dangling.remove(reference).unwrap_or_default() {
            let still = self.get(other, &source, field).cloned();
            if let Some(value) = still.filter(|value| value.as_text().is_some_and(|text| &**text == reference)) {
                debug_assert!(relations::reverse_of(other, field).is_some_and(|(target, _)| target == class));
                self.link(other, field, &source, &value);
            }
        }
    }

    /// Remembers who still names an object that is about to go.
    fn leave_dangling(&mut self, class: &str, reference: &str, row: &Row) {
        for (other, field, set) in relations::into_class(class) {
            for source in row.values[column(class, set)].items().iter().filter_map(Value::as_text) {
                let dangling = Dangling { class: other, field, source: source.clone() };
                self.dangling.entry(reference.into()).or_default().push(dangling);
            }
        }
    }

    fn table(&self, class: &str) -> &Table {
        &self.tables[index(class)]
    }

    fn table_mut(&mut self, class: &str) -> &mut Table {
        &mut self.tables[index(class)]
    }
}

impl Row {
    /// The value in a column, see [`Class::column`].
    pub fn value(&self, column: usize) -> &Value {
        &self.values[column]
    }
}

fn forget_change(table: &mut Table, generation: u64, reference: &str) {
    if let Some(refs) = table.changes.get_mut(&generation) {
        refs.retain(|changed| &**changed != reference);
        if refs.is_empty() {
            table.changes.remove(&generation);
        }
    }
}

fn index(class: &str) -> usize {
    Model::get().index(class).unwrap_or_else(|| panic!("there is no class {class}"))
}

fn facts(class: &str) -> &'static Class {
    &Model::get().classes()[index(class)]
}

fn column(class: &str, field: &str) -> usize {
    facts(class).column(field).unwrap_or_else(|| panic!("{class} has no field {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_with_a_disk() -> Database {
        let mut database = Database::new();
        database.create("SR", "sr", [("uuid", Value::str("u-sr"))]);
        database.create("VDI", "vdi", [("uuid", Value::str("u-vdi")), ("SR", Value::str("sr"))]);
        database
    }

    #[test]
    fn a_reverse_set_follows_the_reference() {
        let mut database = pool_with_a_disk();
        assert_eq!(database.texts("SR", "sr", "VDIs"), ["vdi".into()]);
        database.set("VDI", "vdi", "SR", Value::null()).unwrap();
        assert!(database.texts("SR", "sr", "VDIs").is_empty());
    }

    #[test]
    fn a_change_of_a_reverse_set_is_a_change_of_its_row() {
        let mut database = pool_with_a_disk();
        let before = database.generation();
        database.create("VDI", "other", [("SR", Value::str("sr"))]);
        let changed: Vec<_> = database.changed_since("SR", before).map(|(r, _)| r.clone()).collect();
        assert_eq!(changed, ["sr".into()]);
    }

    #[test]
    fn an_object_that_comes_back_finds_those_who_still_name_it() {
        let mut database = Database::new();
        database.create("VM", "vm", []);
        database.create("VM", "snapshot", [("snapshot_of", Value::str("vm"))]);
        database.destroy("VM", "vm");
        assert_eq!(&*database.text("VM", "snapshot", "snapshot_of"), "vm");
        database.create("VM", "vm", []);
        assert_eq!(database.texts("VM", "vm", "snapshots"), ["snapshot".into()]);
    }

    #[test]
    fn writing_what_is_there_is_no_change() {
        let mut database = pool_with_a_disk();
        let before = database.generation();
        database.set("VDI", "vdi", "uuid", Value::str("u-vdi")).unwrap();
        assert_eq!(database.generation(), before);
    }

    #[test]
    fn only_the_newest_deletions_are_remembered() {
        let mut database = Database::new();
        database.keep_deletions(2);
        for at in 0..4 {
            let reference = database.create("VM", format!("vm{at}"), []);
            database.destroy("VM", &reference);
        }
        let remembered: Vec<_> = database.deleted_since("VM", 0).map(|deletion| deletion.reference.clone()).collect();
        assert_eq!(remembered, ["vm2".into(), "vm3".into()]);
    }

    #[test]
    fn an_object_is_found_by_its_uuid_until_it_is_gone() {
        let mut database = pool_with_a_disk();
        assert_eq!(database.by_uuid("VDI", "u-vdi").map(|r| &**r), Some("vdi"));
        database.destroy("VDI", "vdi");
        assert!(database.by_uuid("VDI", "u-vdi").is_none());
    }
}
