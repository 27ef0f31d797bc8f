//! What is known of a snapshot: how it was taken, and the facts about the object in the pool from which ownership is judged. Whoever
//! fills in the facts has looked at the pool in one go; a fact from an earlier look is no fact.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{PoolUuid, SnapshotUuid, VdiUuid, VmUuid};

/// How a snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The disks, as they are at a crash (VM.snapshot).
    Disk,
    /// The disks, after the guest wrote out its buffers (VM.snapshot_with_quiesce).
    Quiesced,
    /// Disks and memory (VM.checkpoint).
    Memory,
    /// The disks of a VM that was shut down for it.
    Offline,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Disk, Kind::Quiesced, Kind::Memory, Kind::Offline];

    /// The word used in policies, marks and the database.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Disk => "disk",
            Kind::Quiesced => "quiesced",
            Kind::Memory => "memory",
            Kind::Offline => "offline",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a snapshot's `snapshot_of` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// A VM that exists.
    Vm(VmUuid),
    /// A VM that is gone; the server leaves the reference as it was.
    Gone,
    /// Nothing: not a snapshot of anything.
    Nothing,
}

/// The object in the pool whose ownership is in question.
#[derive(Debug, Clone)]
pub struct SnapshotFacts<'a> {
    /// The pool that answered.
    pub pool: PoolUuid,
    /// The object's own uuid.
    pub uuid: SnapshotUuid,
    /// Its name.
    pub name: &'a str,
    /// `is_a_snapshot`: what recognises a snapshot.
    pub is_a_snapshot: bool,
    /// `is_a_template`: true for a snapshot until somebody turns it into a VM, which cannot be undone.
    pub is_a_template: bool,
    /// What it is a snapshot of.
    pub parent: Parent,
    /// The value under our key in its `other_config`.
    pub mark: Option<&'a str>,
    /// The first of its disks that also hangs on another VM.
    pub shared_disk: Option<VdiUuid>,
}
