//! What is found while a configuration is read. Reading never stops at the first mistake: it notes a finding and goes on without
//! the value. A mistake that is met twice, such as one in a template with two heirs, is noted once.

use std::collections::HashSet;

use super::source::{FileId, Place};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but hardly as it was meant.
    Warning,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Spot {
    /// A file as a whole.
    File(FileId),
    /// A place in it.
    At(Place),
}

impl Spot {
    pub fn file(self) -> FileId {
        match self {
            Spot::File(file) => file,
            Spot::At(place) => place.file,
        }
    }
}

impl From<Place> for Spot {
    fn from(place: Place) -> Self {
        Spot::At(place)
    }
}

impl From<FileId> for Spot {
    fn from(file: FileId) -> Self {
        Spot::File(file)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Finding {
    pub severity: Severity,
    pub spot: Spot,
    pub message: String,
    pub help: String,
    /// Another place that has to do with it, and what is there.
    pub related: Option<(Place, &'static str)>,
}

/// More findings are counted, but not kept: a hostile file has no bound.
const MOST: usize = 1000;

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    seen: HashSet<Finding>,
    kept: Vec<Finding>,
    errors: usize,
    left_out: usize,
}

impl Findings {
    /// Something that has to be corrected, and how.
    pub fn error(&mut self, spot: impl Into<Spot>, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, spot.into(), message.into(), help.into(), None);
    }

    /// As `error`, with another place that has to do with it.
    pub fn conflict(&mut self, place: Place, other: (Place, &'static str), message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, place.into(), message.into(), help.into(), Some(other));
    }

    /// Something that should be looked at.
    pub fn warning(&mut self, spot: impl Into<Spot>, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, spot.into(), message.into(), help.into(), None);
    }

    fn add(&mut self, severity: Severity, spot: Spot, message: String, help: String, related: Option<(Place, &'static str)>) {
        let finding = Finding { severity, spot, message, help, related };
        if self.seen.contains(&finding) {
            return;
        }
        self.errors += usize::from(severity == Severity::Error);
        if self.kept.len() >= MOST {
            self.left_out += 1;
            return;
        }
        self.seen.insert(finding.clone());
        self.kept.push(finding);
    }

    /// How many errors there are; to see whether a step added some.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// True when nothing more is kept, so that no effort needs to be made for it.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= MOST
    }

    /// Without the warnings, which only distract from errors.
    pub fn errors_only(mut self) -> Self {
        self.kept.retain(|finding| finding.severity == Severity::Error);
        self
    }

    /// What was kept, by file and place, and how many findings were not.
    pub fn into_sorted(self) -> (Vec<Finding>, usize) {
        let mut kept = self.kept;
        kept.sort_by_key(|finding| {
            let place = match finding.spot {
                Spot::File(_) => None,
                Spot::At(place) => Some(place),
            };
            (finding.spot.file(), place)
        });
        (kept, self.left_out)
    }
}
