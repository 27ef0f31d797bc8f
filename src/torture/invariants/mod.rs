//! What must be true after a play, whatever went wrong in it. Each invariant is a function from the evidence to what breaks it, and is
//! tested on evidence that does.

mod after;
mod during;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::policy::Policy;

/// A snapshot with a mark of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The snapshot.
    pub snapshot: Uuid,
    /// The VM it was taken of.
    pub vm: Uuid,
    /// The policy it was taken for.
    pub policy: String,
    /// The slot.
    pub due_at: DateTime<Utc>,
    /// When it was taken, by the server's clock.
    pub taken_at: DateTime<Utc>,
    /// Whether all its disks are there.
    pub whole: bool,
}

impl Held {
    /// What there may be one of.
    pub fn slot(&self) -> (&str, Uuid, DateTime<Utc>) {
        (&self.policy, self.vm, self.due_at)
    }
}

/// The service changed or destroyed what is not its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// When.
    pub at: DateTime<Utc>,
    /// By which call.
    pub method: String,
    /// The object's class.
    pub class: String,
    /// The object.
    pub object: String,
    /// The field; empty: the object was destroyed.
    pub field: String,
}

/// The service destroyed a managed snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// When.
    pub at: DateTime<Utc>,
    /// The snapshot.
    pub removed: Held,
    /// Those of the same policy and VM that were there right afterwards.
    pub others: Vec<Held>,
}

/// A snapshot was marked for a slot that had a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Double {
    /// When.
    pub at: DateTime<Utc>,
    /// The one that was there.
    pub first: Held,
    /// The one that came.
    pub second: Held,
}

/// A due time as the history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// The policy's id.
    pub policy: String,
    /// The due time.
    pub due_at: DateTime<Utc>,
    /// Whether nothing more will happen to it.
    pub is_final: bool,
}

/// What is there once the pool has been healthy for a while and the service has ended in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Managed snapshots.
    pub held: Vec<Held>,
    /// Snapshots that the service took and that carry no mark of their own.
    pub unmarked: Vec<String>,
    /// Disks that the service recorded with its snapshots and that no VM has.
    pub disks: Vec<String>,
    /// How many disks its calls made that no VM has and that it never heard of: their calls died with the server. Nothing proves to
    /// anybody but the ledger whose they are, so that they are not held against it.
    pub unheard: usize,
    /// How many disks that it recorded no VM has now, but had when they were to be destroyed. What is in them is a person's business: the
    /// service spares and lists them.
    pub spared: usize,
    /// Tasks of the service.
    pub tasks: Vec<String>,
    /// VMs that the service halted or suspended, and that do not run.
    pub halted: Vec<String>,
    /// Claims to the lease that nobody needs, or by which somebody would have to wait.
    pub claims: Vec<String>,
    /// Sessions of the service.
    pub sessions: usize,
    /// Operations of VMs, disks and SRs that are blocked or still going on.
    pub operations: Vec<String>,
    /// Which VMs each policy covers at the end.
    pub covered: BTreeMap<String, Vec<Uuid>>,
}

/// Everything that the invariants look at.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The policies.
    pub policies: Vec<Policy>,
    /// When the service first ran.
    pub began: DateTime<Utc>,
    /// When the last fault was over.
    pub healthy: DateTime<Utc>,
    /// When everything was looked at.
    pub ended: DateTime<Utc>,
    /// See [`Touch`].
    pub touches: Vec<Touch>,
    /// See [`Removal`].
    pub removals: Vec<Removal>,
    /// See [`Double`].
    pub doubles: Vec<Double>,
    /// All slots of the history.
    pub slots: Vec<SlotRow>,
    /// What is left.
    pub remains: Remains,
    /// How the service ended without having been killed or told to, and other things that must never happen.
    pub deaths: Vec<String>,
}

impl Evidence {
    fn policy(&self, id: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.id.as_str() == id)
    }
}

/// An invariant: its name, and what breaks it.
type Invariant = (&'static str, fn(&Evidence) -> Vec<String>);

/// All of them.
pub const ALL: [Invariant; 9] = [
    ("foreign-untouched", during::foreign_untouched),
    ("kept-by-policy", during::kept_by_policy),
    ("one-per-slot", during::one_per_slot),
    ("service-lives", during::service_lives),
    ("slots-final", after::slots_final),
    ("slots-complete", after::slots_complete),
    ("marked", after::marked),
    ("nothing-left", after::nothing_left),
    ("converged", after::converged),
];

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What breaks it.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// Asks all invariants.
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let broken = ALL.iter().flat_map(|(invariant, ask)| ask(evidence).into_iter().map(|text| Violation { invariant, text }));
    broken.collect()
}
