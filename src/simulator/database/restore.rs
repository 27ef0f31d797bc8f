//! Puts rows back as they were written out: with their generations, and with the reverse sets they had.
//!
//! The rule: restoring is no change. The generation does not move while rows come in; [`Database::finish_restoring`] makes the
//! reverse sets agree with the references, moves the generation to where it was, and notes which references dangle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Dangling, Database, Deletion, Row, column, facts, relations};
use crate::simulator::model::Model;
use crate::simulator::value::{Ref, Value, is_null};

impl Database {
    /// Puts a row back; a second row of the same reference replaces the first. `values` has one value per column of the model.
    pub fn restore(&mut self, class: &str, reference: impl Into<Ref>, born: u64, changed: u64, values: Vec<Value>) {
        let reference = reference.into();
        let uuid = facts(class).column("uuid").and_then(|at| values[at].as_text().cloned());
        let table = self.table_mut(class);
        let row = Row { created: born, modified: changed, values: Arc::new(values) };
        if let Some(old) = table.rows.insert(reference.clone(), row) {
            super::forget_change(table, old.modified, &reference);
        }
        table.changes.entry(changed).or_default().push(reference.clone());
        if let Some(uuid) = uuid {
            table.by_uuid.insert(uuid, reference);
        }
    }

    /// Writes a field of a restored row as if it had been restored so; fields that mirror references must not be written.
    pub fn rewrite(&mut self, class: &str, reference: &str, field: &str, value: Value) {
        let column = column(class, field);
        if let Some(row) = self.table_mut(class).rows.get_mut(reference) {
            Arc::make_mut(&mut row.values)[column] = value;
        }
    }

    /// Puts a deletion back; deletions of a class must come in the order they happened.
    pub fn restore_deletion(&mut self, class: &str, reference: impl Into<Ref>, born: u64, deleted: u64) {
        self.table_mut(class).deletions.push_back(Deletion { reference: reference.into(), created: born, deleted });
    }

    /// Ends restoring: reverse sets follow the references again, in the order they were restored in where they were right, and the
    /// generation is `generation`, or that of the newest row if it is later.
    pub fn finish_restoring(&mut self, generation: u64) {
        for class in Model::get().classes() {
            for (other, field, set) in relations::into_class(&class.name) {
                self.mend(&class.name, set, other, field);
            }
        }
        let newest = self.tables.iter().filter_map(|table| table.changes.last_key_value()).map(|(last, _)| *last).max();
        self.generation = newest.unwrap_or(0).max(generation).max(1);
    }

    /// Makes one set agree with the references to its class.
    fn mend(&mut self, class: &'static str, set: &'static str, other: &'static str, field: &'static str) {
        let mut sources = self.sources(other, field);
        let column = column(class, set);
        let table = self.table_mut(class);
        for (reference, row) in &mut table.rows {
            let named_by = sources.remove(reference).unwrap_or_default();
            let items = agreeing(row.values[column].items(), named_by);
            if row.values[column].items() != items {
                Arc::make_mut(&mut row.values)[column] = Value::Set(items);
            }
        }
        for (target, sources) in sources {
            let dangling = sources.into_iter().map(|source| Dangling { class: other, field, source });
            self.dangling.entry(target).or_default().extend(dangling);
        }
    }

    /// Who names whom in a field, newest first.
    fn sources(&self, class: &str, field: &str) -> HashMap<Ref, Vec<Ref>> {
        let column = column(class, field);
        let mut rows: Vec<_> = self.table(class).rows.iter().collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.created));
        let mut sources: HashMap<Ref, Vec<Ref>> = HashMap::new();
        for (reference, row) in rows {
            if let Some(target) = row.values[column].as_text().filter(|target| !is_null(target)) {
                sources.entry(target.clone()).or_default().push(reference.clone());
            }
        }
        sources
    }
}

/// The references that belong into a set: those it has already, in its order, then the others.
fn agreeing(had: &[Value], belong: Vec<Ref>) -> Vec<Value> {
    let mut left: HashSet<&str> = belong.iter().map(|reference| &**reference).collect();
    let kept: Vec<Value> = had.iter().filter(|item| item.as_text().is_some_and(|text| left.remove(&**text))).cloned().collect();
    let missing = belong.iter().filter(|reference| left.contains(&***reference)).map(|reference| Value::Str(reference.clone()));
    missing.chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::value::NULL;

    fn row(class: &str, cells: &[(&str, Value)]) -> Vec<Value> {
        let class = facts(class);
        let mut values: Vec<Value> = class.fields.iter().map(|field| field.kind.zero()).collect();
        for (field, value) in cells {
            values[class.column(field).unwrap()] = value.clone();
        }
        values
    }

    #[test]
    fn restoring_is_no_change_and_mends_reverse_sets() {
        let mut database = Database::new();
        database.restore("SR", "sr", 3, 9, row("SR", &[("uuid", Value::str("u")), ("VDIs", Value::texts(["b", "gone", "a"]))]));
        for (vdi, sr, born) in [("a", "sr", 4), ("b", "sr", 5), ("c", "sr", 6), ("d", "nowhere", 7), ("e", NULL, 7)] {
            database.restore("VDI", vdi, born, born, row("VDI", &[("SR", Value::str(sr))]));
        }
        database.finish_restoring(20);
        assert_eq!(database.texts("SR", "sr", "VDIs"), ["c".into(), "b".into(), "a".into()]);
        assert_eq!(database.by_uuid("SR", "u").map(|sr| &**sr), Some("sr"));
        assert_eq!(database.generation(), 20);
        assert_eq!(database.changed_since("VDI", 5).count(), 3);
        database.create("SR", "nowhere", []);
        assert_eq!(database.texts("SR", "nowhere", "VDIs"), ["d".into()]);
    }
}
