//! Which kind of snapshot can be had of a VM right now. The rule: it is decided before anything is asked of the server, from what the
//! inventory shows, and every no says what to do about it. What cannot be seen is not held against the VM: the server has the last word.

mod condition;
mod obstacle;
#[cfg(test)]
mod tests;

pub use condition::{DiskCondition, GuestCondition, HostCondition, ImageStore, VmCondition, condition_of};

use crate::domain::policy::WantedKind;
use crate::domain::snapshot::Kind;
use obstacle::Obstacle;

/// What is done about a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A snapshot of this kind.
    Take {
        /// The kind.
        kind: Kind,
        /// Why it is not the kind asked for.
        note: Option<String>,
    },
    /// None.
    Cannot {
        /// The server's code for it, where it has one.
        code: &'static str,
        /// Why, and what to do.
        text: String,
        /// It may be otherwise by itself later.
        for_now: bool,
    },
}

/// Chooses the kind of snapshot: what is wanted, or its fallback where that cannot be had.
pub fn choose(wanted: &WantedKind, vm: &VmCondition<'_>) -> Choice {
    let kind = wanted.kind();
    let Some(in_the_way) = obstacle::to(kind, vm) else { return Choice::Take { kind, note: None } };
    match (wanted.fallback(), obstacle::to(Kind::Disk, vm)) {
        (Some(fallback), None) => Choice::Take { kind: fallback, note: Some(note(kind, &in_the_way)) },
        (Some(_), Some(in_the_way)) => in_the_way.into(),
        (None, None) if kind != Kind::Offline => {
            in_the_way.with("; with fallback = \"disk\" its disks would be snapshotted").into()
        }
        (None, _) => in_the_way.into(),
    }
}

fn note(wanted: Kind, in_the_way: &Obstacle) -> String {
    let one = match wanted {
        Kind::Quiesced => "a quiesced one",
        Kind::Memory => "one with memory",
        Kind::Disk | Kind::Offline => "the one asked for",
    };
    format!("a snapshot of the disks instead of {one}: {}", in_the_way.text)
}

impl From<Obstacle> for Choice {
    fn from(Obstacle { code, text, for_now }: Obstacle) -> Self {
        Choice::Cannot { code, text, for_now }
    }
}
