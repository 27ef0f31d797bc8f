//! What really happened: every creation and destruction, with who caused it. Tests compare it with what a client believes.

use chrono::{DateTime, Utc};

use super::value::{Ref, Text};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user; empty for the server itself.
    pub user: Text,
    /// What the client calls itself.
    pub originator: Text,
    /// The message, such as `VM.snapshot`.
    pub method: Text,
}

impl Actor {
    /// The server itself.
    pub fn server() -> Self {
        Self { user: "".into(), originator: "".into(), method: "".into() }
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It was created.
    Created,
    /// It was destroyed.
    Destroyed,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, on the simulated clock.
    pub at: DateTime<Utc>,
    /// By whom.
    pub actor: Actor,
    /// What.
    pub deed: Deed,
    /// The object's class.
    pub class: &'static str,
    /// The object.
    pub reference: Ref,
}

/// A creation or destruction as the database notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub deed: Deed,
    /// The object's class.
    pub class: &'static str,
    /// The object.
    pub reference: Ref,
}

/// The append-only list.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn add(&mut self, at: DateTime<Utc>, actor: &Actor, notes: Vec<Note>) {
        let entry =
            |note: Note| Entry { at, actor: actor.clone(), deed: note.deed, class: note.class, reference: note.reference };
        self.entries.extend(notes.into_iter().map(entry));
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.clone()
    }
}
