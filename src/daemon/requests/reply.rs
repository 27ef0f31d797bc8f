//! An answer while it comes into being. Nobody who answers ever waits for whoever asked: what is said is queued, and what a slow or
//! vanished reader does not take is the connection's affair.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A piece of an answer. Any number of the others come before `End` or `Error`, which is the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// One sentence about something that was or was not done.
    Say(String),
    /// The answer of a question that programs ask.
    Data(Value),
    /// How far the runs that are waited for have come.
    Progress {
        /// Jobs that have ended.
        done: usize,
        /// Jobs in all.
        of: usize,
    },
    /// The answer goes on; nothing happened for a while.
    Alive {},
    /// It is done.
    End {
        /// True if something could not be done.
        failed: bool,
        /// Slots that were claimed.
        slots: Vec<Slot>,
    },
    /// It was not done.
    Error {
        /// A short code that stays the same over versions.
        code: String,
        /// What is wrong, and what to do.
        text: String,
    },
}

/// A slot that was claimed: its run can be found in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The policy's id.
    pub policy: String,
    /// The pool.
    pub pool: Uuid,
    /// When it was due.
    pub due_at: DateTime<Utc>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    out: mpsc::UnboundedSender<Said>,
    refused: bool,
    failed: bool,
    pub(super) slots: Vec<Slot>,
}

impl Reply {
    /// An answer, and what it says.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Said>) {
        let (out, said) = mpsc::unbounded_channel();
        (Self { out, refused: false, failed: false, slots: Vec::new() }, said)
    }

    /// Says a sentence.
    pub(super) fn say(&mut self, line: impl Into<String>) {
        self.send(Said::Say(line.into()));
    }

    /// Says a sentence about something that could not be done.
    pub(super) fn fail(&mut self, line: impl Into<String>) {
        self.failed = true;
        self.say(line);
    }

    /// Nothing was done, and this is why.
    pub(super) fn refuse(&mut self, code: &str, text: impl Into<String>) {
        if !std::mem::replace(&mut self.refused, true) {
            self.send(Said::Error { code: code.to_owned(), text: text.into() });
        }
    }

    /// Says what programs asked for.
    pub(super) fn data(&mut self, data: &impl Serialize) {
        self.send(Said::Data(serde_json::to_value(data).unwrap_or_default()));
    }

    pub(super) fn progress(&mut self, done: usize, of: usize) {
        self.send(Said::Progress { done, of });
    }

    /// True while somebody listens.
    pub(super) fn is_awaited(&self) -> bool {
        !self.out.is_closed()
    }

    pub(super) fn end(mut self) {
        if !self.refused {
            let slots = std::mem::take(&mut self.slots);
            self.send(Said::End { failed: self.failed, slots });
        }
    }

    fn send(&mut self, said: Said) {
        // Nobody listens any more: what was asked is done all the same.
        let _ = self.out.send(said);
    }
}
