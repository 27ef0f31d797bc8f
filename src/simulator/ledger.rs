//! What really happened: every creation and destruction, with who caused it. Tests compare it with what a client believes.

use std::fmt;

use chrono::{DateTime, Utc};

use super::database::Row;
use super::value::{Ref, Text};
use super::world::World;

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
    /// This field of it was written. Only a [`Witness`] hears of that.
    Changed(&'static str),
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

/// What happened to an object, as the database notes it.
#[derive(Debug, Clone)]
pub struct Note {
    /// What.
    pub deed: Deed,
    /// The object's class.
    pub class: &'static str,
    /// The object.
    pub reference: Ref,
    /// The row as it is now; of what was destroyed, as it was last.
    pub row: Row,
}

/// Somebody who sees everything that happens to objects, through all lives of a server, at the moment at which it happens.
pub trait Witness: fmt::Debug + Send + Sync {
    /// What a step in somebody's name did, and the world right after it. Called with the world's lock held.
    fn sees(&self, at: DateTime<Utc>, actor: &Actor, notes: &[Note], world: &World);
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
        self.entries.extend(notes.into_iter().filter(|note| !matches!(note.deed, Deed::Changed(_))).map(entry));
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.clone()
    }
}
