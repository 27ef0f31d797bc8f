//! One entry: the fields of a line under the journal's names, and a message that can be read without them.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::domain::event::EventKind;
use crate::telemetry::fact::one_line;
use crate::telemetry::names::{journal_name, spoken};

/// Who speaks.
const IDENTIFIER: &str = "xensnap";

/// A value is cut there: a datagram must hold the entry, and nobody reads on.
const LONGEST: usize = 16 * 1024;

/// A line on its way into the journal.
#[derive(Debug)]
pub(super) struct Entry {
    kind: Option<EventKind>,
    level: Level,
    target: &'static str,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Entry {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut read = Read::default();
        event.record(&mut read);
        let kind = read.fields.iter().find(|(name, _)| *name == "event").and_then(|(_, word)| EventKind::from_word(word));
        let metadata = event.metadata();
        Self { kind, level: *metadata.level(), target: metadata.target(), message: read.told(), fields: read.fields }
    }

    /// What stands in a list of lines.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// As syslog counts: that of the kind, or that of the level.
    pub(super) fn priority(&self) -> u8 {
        let by_level = match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        self.kind.map_or(by_level, |kind| kind.severity().priority())
    }

    /// The entry as the journal takes it.
    pub(super) fn datagram(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        put(&mut bytes, "MESSAGE", &self.message);
        put(&mut bytes, "PRIORITY", &self.priority().to_string());
        put(&mut bytes, "SYSLOG_IDENTIFIER", IDENTIFIER);
        if let Some(kind) = self.kind {
            put(&mut bytes, "MESSAGE_ID", kind.message_id());
        }
        for (name, value) in &self.fields {
            if let Some(name) = journal_name(name) {
                put(&mut bytes, name, value);
            }
        }
        put(&mut bytes, "TARGET", self.target);
        bytes
    }
}

/// A value with a line end in it is written with its length before it, others as `NAME=value`.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(LONGEST)];
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[derive(Default)]
struct Read {
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Read {
    /// The text, the error behind it, and what it is about as far as the text does not say.
    fn told(&self) -> String {
        let mut told = self.text.clone();
        if let Some((_, error)) = self.fields.iter().find(|(name, _)| *name == "error") {
            let _ = write!(told, ": {error}");
        }
        let mut about = Vec::new();
        for (name, value) in &self.fields {
            match spoken(name) {
                Some(_) if one_line(&self.text).contains(&one_line(value)) => {}
                Some(word) => about.push(format!("{word} {value}")),
                None if journal_name(name).is_none() => about.push(format!("{name}={value}")),
                None => {}
            }
        }
        if !about.is_empty() {
            let _ = write!(told, " ({})", about.join(", "));
        }
        one_line(&told)
    }

    fn take(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.text = value,
            // Where a line of the `log` crate comes from.
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Read {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}"));
    }
}
