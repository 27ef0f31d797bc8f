//! What a call answers: a value, or rows that are written out one after another, because all the records of a large pool do not fit
//! into memory twice.

use std::sync::Arc;

use super::Emit;
use crate::simulator::database::Row;
use crate::simulator::model::{Class, Release};
use crate::simulator::value::{Ref, Text, Value};

/// The result of a message.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A value.
    Value(Value),
    /// One record.
    Record(Record),
    /// Records by reference, as `get_all_records` answers.
    Records(Vec<(Ref, Record)>),
    /// The answer of `event.from`.
    Events(Arc<Events>),
}

/// A row as it was when it was read, and the view of a release on it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its class.
    pub class: &'static Class,
    /// Which fields leave the server.
    pub release: Release,
    /// The row.
    pub row: Row,
}

/// A batch of events.
#[derive(Debug)]
pub struct Events {
    /// In the order of the wire.
    pub events: Vec<Event>,
    /// How many rows each table has.
    pub valid_ref_counts: Vec<(Text, i32)>,
    /// Where the next call goes on.
    pub token: Text,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// The generation, as text; "0" for messages.
    pub id: Text,
    /// Seconds since 1970 in `event.next`, "0.0" in `event.from`.
    pub timestamp: Text,
    /// The class in lower case.
    pub class: Text,
    /// `add`, `mod` or `del`.
    pub operation: &'static str,
    /// The object.
    pub reference: Ref,
    /// The object's record; none when it is gone.
    pub snapshot: Option<Snapshot>,
}

/// What an event shows of its object.
#[derive(Debug, Clone)]
pub enum Snapshot {
    /// A row.
    Record(Record),
    /// A message, which is no row.
    Value(Value),
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Answer::Value(value)
    }
}

impl Record {
    /// Writes the fields that the release has, in the order of the wire.
    pub fn emit(&self, out: &mut impl Emit) {
        out.open_map();
        let fields = self.class.fields.iter().enumerate().filter(|(_, field)| field.since <= self.release);
        for (at, (column, field)) in fields.enumerate() {
            out.member(at == 0, &field.name, self.row.value(column));
        }
        out.close_map();
    }

    /// The record as a value, for callers inside this program.
    pub fn to_value(&self) -> Value {
        let fields = self.class.fields.iter().enumerate().filter(|(_, field)| field.since <= self.release);
        Value::Map(fields.map(|(column, field)| (Text::from(&*field.name), self.row.value(column).clone())).collect())
    }
}

impl Answer {
    /// How many steps [`Answer::emit_step`] takes.
    pub fn steps(&self) -> usize {
        match self {
            Answer::Value(_) | Answer::Record(_) => 1,
            Answer::Records(records) => records.len() + 1,
            Answer::Events(batch) => batch.events.len() + 1,
        }
    }

    /// Writes one step; all of them in order are the whole answer.
    pub fn emit_step(&self, step: usize, out: &mut impl Emit) {
        match self {
            Answer::Value(value) => out.value(value),
            Answer::Record(record) => record.emit(out),
            Answer::Records(records) => emit_records(records, step, out),
            Answer::Events(batch) => batch.emit_step(step, out),
        }
    }

    /// The answer as a value, for callers inside this program.
    pub fn to_value(&self) -> Value {
        match self {
            Answer::Value(value) => value.clone(),
            Answer::Record(record) => record.to_value(),
            Answer::Records(records) => {
                Value::Map(records.iter().map(|(reference, record)| (reference.clone(), record.to_value())).collect())
            }
            Answer::Events(batch) => batch.to_value(),
        }
    }
}

fn emit_records(records: &[(Ref, Record)], step: usize, out: &mut impl Emit) {
    if step == 0 {
        out.open_map();
    }
    match records.get(step) {
        Some((reference, record)) => {
            out.key(step == 0, reference);
            record.emit(out);
            out.end_member();
        }
        None => out.close_map(),
    }
}

impl Events {
    fn emit_step(&self, step: usize, out: &mut impl Emit) {
        if step == 0 {
            out.open_map();
            out.key(true, "events");
            out.open_set();
        }
        match self.events.get(step) {
            Some(event) => {
                out.item(step == 0);
                event.emit(out);
            }
            None => self.emit_end(out),
        }
    }

    fn emit_end(&self, out: &mut impl Emit) {
        out.close_set();
        out.end_member();
        out.key(false, "valid_ref_counts");
        out.open_map();
        for (at, (table, count)) in self.valid_ref_counts.iter().enumerate() {
            out.member(at == 0, table, &Value::Int32(*count));
        }
        out.close_map();
        out.end_member();
        out.member(false, "token", &Value::Str(self.token.clone()));
        out.close_map();
    }

    fn to_value(&self) -> Value {
        let counts = self.valid_ref_counts.iter().map(|(table, count)| (table.clone(), Value::Int32(*count)));
        Value::Map(vec![
            ("events".into(), Value::Set(self.events.iter().map(Event::to_value).collect())),
            ("valid_ref_counts".into(), Value::Map(counts.collect())),
            ("token".into(), Value::Str(self.token.clone())),
        ])
    }
}

impl Event {
    /// Writes the event.
    pub fn emit(&self, out: &mut impl Emit) {
        out.open_map();
        for (at, (key, value)) in self.heading().into_iter().enumerate() {
            out.key(at == 0, key);
            out.text(value);
            out.end_member();
        }
        if let Some(snapshot) = &self.snapshot {
            out.key(false, "snapshot");
            match snapshot {
                Snapshot::Record(record) => record.emit(out),
                Snapshot::Value(value) => out.value(value),
            }
            out.end_member();
        }
        out.close_map();
    }

    fn heading(&self) -> [(&'static str, &str); 5] {
        [
            ("id", &*self.id),
            ("timestamp", &*self.timestamp),
            ("class", &*self.class),
            ("operation", self.operation),
            ("ref", &*self.reference),
        ]
    }

    /// The event as a value.
    pub fn to_value(&self) -> Value {
        let mut members: Vec<_> = self.heading().map(|(key, value)| (Text::from(key), Value::str(value))).into();
        match &self.snapshot {
            Some(Snapshot::Record(record)) => members.push(("snapshot".into(), record.to_value())),
            Some(Snapshot::Value(value)) => members.push(("snapshot".into(), value.clone())),
            None => {}
        }
        Value::Map(members)
    }
}
