//! The mark: our proof of ownership. The server copies `other_config` from a VM to its snapshots, clones, copies and exports, so a
//! mark that is merely present proves nothing. A snapshot is ours only if every part of its mark is true of the very object that
//! carries it, in this pool, and names the configured installation.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::id::{InstallationId, PolicyId, PoolUuid, RunId, SnapshotUuid, VdiUuid, VmUuid};
use super::nonce::Nonce;
use super::snapshot::{Kind, Parent, SnapshotFacts};

/// The key in `other_config` that holds the mark. The server adds a key only once, so it is removed before a mark is replaced.
pub const KEY: &str = "xensnap:mark";

/// The version that this program writes and understands.
const VERSION: u32 = 1;
/// No mark is longer; a longer value is somebody else's.
const LONGEST: usize = 4096;

/// What is written on a snapshot of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose it is.
    pub installation: InstallationId,
    /// The pool it was taken in.
    pub pool: PoolUuid,
    /// The snapshot's own uuid.
    pub snapshot: SnapshotUuid,
    /// The VM it was taken of.
    pub vm: VmUuid,
    /// The policy it was taken for; the id stays when the policy is renamed.
    pub policy: PolicyId,
    /// The slot it was taken for.
    pub due_at: DateTime<Utc>,
    /// The run it was taken in.
    pub run: RunId,
    /// How it was taken.
    pub kind: Kind,
    /// The attempt that took it.
    pub nonce: Nonce,
}

/// How a mark is written: JSON on one line, so that a person reading the record understands it.
#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    installation: InstallationId,
    pool: PoolUuid,
    snapshot: SnapshotUuid,
    vm: VmUuid,
    policy: PolicyId,
    due: DateTime<Utc>,
    run: RunId,
    kind: Kind,
    nonce: Nonce,
}

/// What every version of a mark has.
#[derive(Deserialize)]
struct Version {
    v: u32,
    /// The oldest version whose readers understand this mark; `v` itself when it is not said.
    since: Option<u32>,
}

/// A value under our key that is no mark we understand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MarkError {
    /// Written by a newer program, in a way that this one must not interpret.
    #[error("the mark has version {version}, this program understands up to {VERSION}; update it")]
    Newer {
        /// Its version.
        version: u32,
    },
    /// Not a mark.
    #[error("the value is not a mark: {reason}")]
    Malformed {
        /// Why not.
        reason: String,
    },
}

impl Mark {
    /// The value to be written under [`KEY`].
    pub fn encode(&self) -> String {
        let due = self.due_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        // Identifiers have no characters that JSON escapes, so this is the whole encoder.
        format!(
            r#"{{"v":{VERSION},"installation":"{}","pool":"{}","snapshot":"{}","vm":"{}","policy":"{}","due":"{due}","run":"{}","kind":"{}","nonce":"{}"}}"#,
            self.installation, self.pool, self.snapshot, self.vm, self.policy, self.run, self.kind, self.nonce
        )
    }

    /// Reads a value found under [`KEY`]. Members that later versions added are passed over, if they say that this is harmless.
    pub fn decode(value: &str) -> Result<Self, MarkError> {
        if value.len() > LONGEST {
            return Err(MarkError::Malformed { reason: format!("it has {} bytes", value.len()) });
        }
        let malformed = |error: serde_json::Error| MarkError::Malformed { reason: error.to_string() };
        let Version { v, since } = serde_json::from_str(value).map_err(malformed)?;
        if since.unwrap_or(v) > VERSION {
            return Err(MarkError::Newer { version: v });
        }
        let written: Written = serde_json::from_str(value).map_err(malformed)?;
        Ok(written.into())
    }

    /// The same mark in the hands of another installation: what `adopt` and `release` write.
    pub fn handed_to(self, installation: InstallationId) -> Self {
        Self { installation, ..self }
    }
}

impl From<Written> for Mark {
    fn from(written: Written) -> Self {
        let Written { v: _, installation, pool, snapshot, vm, policy, due: due_at, run, kind, nonce } = written;
        Self { installation, pool, snapshot, vm, policy, due_at, run, kind, nonce }
    }
}

/// Whose a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// Every part of its mark is true.
    Ours(Mark),
    /// Its mark is its own but it is no longer a plain snapshot of its VM: it counts for no policy and is never removed by itself.
    Detached(Mark, Detachment),
    /// Its mark is its own and names another installation.
    OtherInstallation(Mark),
    /// The mark is another object's, copied here by the server or by hand: as foreign as none at all.
    Inherited(Mark, Untrue),
    /// The mark is too new to be judged.
    TooNew {
        /// Its version.
        version: u32,
    },
    /// No mark of ours.
    Foreign {
        /// Why the value under our key is none; nothing when there is no value.
        malformed: Option<String>,
    },
}

/// Which part of a mark is not true of the object that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untrue {
    /// Taken in another pool: restored or imported here.
    Pool(PoolUuid),
    /// Written on another snapshot.
    Snapshot(SnapshotUuid),
    /// The object is not a snapshot.
    NoSnapshot,
}

/// What became of a snapshot of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detachment {
    /// Somebody turned it into a VM.
    TurnedIntoVm,
    /// Its VM is gone.
    VmGone,
    /// It is now said to be a snapshot of another VM.
    OtherVm(VmUuid),
    /// One of its disks also hangs on another VM.
    DiskShared(VdiUuid),
}

/// Judges whose the object is, for the installation that asks.
pub fn verify(installation: &InstallationId, facts: &SnapshotFacts<'_>) -> Ownership {
    let Some(value) = facts.mark else { return Ownership::Foreign { malformed: None } };
    let mark = match Mark::decode(value) {
        Ok(mark) => mark,
        Err(MarkError::Newer { version }) => return Ownership::TooNew { version },
        Err(MarkError::Malformed { reason }) => return Ownership::Foreign { malformed: Some(reason) },
    };
    if let Some(untrue) = untrue(&mark, facts) {
        return Ownership::Inherited(mark, untrue);
    }
    if mark.installation != *installation {
        return Ownership::OtherInstallation(mark);
    }
    match detachment(&mark, facts) {
        Some(detachment) => Ownership::Detached(mark, detachment),
        None => Ownership::Ours(mark),
    }
}

fn untrue(mark: &Mark, facts: &SnapshotFacts<'_>) -> Option<Untrue> {
    if !facts.is_a_snapshot || facts.parent == Parent::Nothing {
        return Some(Untrue::NoSnapshot);
    }
    if mark.pool != facts.pool {
        return Some(Untrue::Pool(mark.pool));
    }
    (mark.snapshot != facts.uuid).then_some(Untrue::Snapshot(mark.snapshot))
}

fn detachment(mark: &Mark, facts: &SnapshotFacts<'_>) -> Option<Detachment> {
    if !facts.is_a_template {
        return Some(Detachment::TurnedIntoVm);
    }
    match facts.parent {
        Parent::Vm(vm) if vm == mark.vm => facts.shared_disk.map(Detachment::DiskShared),
        Parent::Vm(vm) => Some(Detachment::OtherVm(vm)),
        Parent::Gone | Parent::Nothing => Some(Detachment::VmGone),
    }
}

/// What an attempt to take a snapshot looks for when it does not know how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The VM.
    pub vm: VmUuid,
    /// Its nonce.
    pub nonce: Nonce,
}

impl Attempt {
    /// True when the object is the snapshot that this attempt took and that nobody has marked: it may be marked as ours. The name is
    /// good enough for that, and never for a removal.
    pub fn took(&self, installation: &InstallationId, facts: &SnapshotFacts<'_>) -> bool {
        let unmarked = matches!(verify(installation, facts), Ownership::Foreign { .. } | Ownership::Inherited(..));
        let plain = facts.is_a_snapshot && facts.is_a_template && facts.parent == Parent::Vm(self.vm);
        unmarked && plain && self.nonce.ends(facts.name)
    }
}

impl Ownership {
    /// The mark, when every part of it is true and it is ours.
    pub fn ours(&self) -> Option<&Mark> {
        match self {
            Ownership::Ours(mark) => Some(mark),
            _ => None,
        }
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ownership::Ours(mark) => write!(f, "ours, of policy {}", mark.policy),
            Ownership::Detached(mark, why) => write!(f, "detached, once of policy {}: {why}", mark.policy),
            Ownership::OtherInstallation(mark) => write!(f, "of the installation {}", mark.installation),
            Ownership::Inherited(_, why) => write!(f, "not ours: its mark was copied from elsewhere, {why}"),
            Ownership::TooNew { version } => write!(f, "not judged: its mark has version {version}; update this program"),
            Ownership::Foreign { malformed: None } => f.write_str("not ours"),
            Ownership::Foreign { malformed: Some(reason) } => write!(f, "not ours: the value under {KEY} is no mark, {reason}"),
        }
    }
}

impl fmt::Display for Untrue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untrue::Pool(pool) => write!(f, "it names the pool {pool}"),
            Untrue::Snapshot(snapshot) => write!(f, "it names the snapshot {snapshot}"),
            Untrue::NoSnapshot => f.write_str("and this is no snapshot"),
        }
    }
}

impl fmt::Display for Detachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Detachment::TurnedIntoVm => f.write_str("it was turned into a VM"),
            Detachment::VmGone => f.write_str("its VM is gone"),
            Detachment::OtherVm(vm) => write!(f, "it is now a snapshot of the VM {vm}"),
            Detachment::DiskShared(disk) => write!(f, "its disk {disk} hangs on another VM as well"),
        }
    }
}

#[cfg(test)]
mod tests;
