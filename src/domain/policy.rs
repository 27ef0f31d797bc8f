//! A policy: one named rule of which VMs, when, how and what to keep. Its parts are checked where they are built; what only the whole
//! can show is checked here, so that a policy that exists can be run.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::guard::Guards;
use super::id::PolicyId;
use super::naming::Template;
use super::retention::{Order, Rules, RulesError};
use super::schedule::{Schedule, ScheduleError};
use super::selection::{DiskClause, Selection};
use super::snapshot::Kind;
use super::span::Exact;
use super::zone::Zone;

/// A checked policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its identity; it stays when the policy is renamed.
    pub id: PolicyId,
    /// What people call it.
    pub name: String,
    /// Whether it fires.
    pub enabled: bool,
    /// Plans and records, touches nothing.
    pub observe: bool,
    /// Who goes first when several policies want the same storage; higher first.
    pub priority: Priority,
    /// When it fires.
    pub schedule: Schedule,
    /// Which VMs it covers.
    pub selection: Selection,
    /// How snapshots are taken.
    pub snapshot: SnapshotSettings,
    /// What is run before and after.
    pub hooks: Vec<Hook>,
    /// How old the newest good snapshot of a VM may be; where nothing is said, the schedule promises it.
    pub rpo: Option<Exact>,
    /// What is kept.
    pub retention: Retention,
    /// How much of it works at once.
    pub limits: Limits,
    /// What is looked at before a snapshot is begun or removed.
    pub guards: Guards,
}

/// From 0 to 100; higher goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The priority of this number; none above 100.
    pub fn new(number: u8) -> Option<Self> {
        (number <= 100).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(50)
    }
}

/// How a policy's snapshots are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// What is asked for.
    pub kind: WantedKind,
    /// Disks that are left out.
    pub exclude_disks: Vec<DiskClause>,
    /// The snapshot's name; its nonce follows.
    pub name: Template,
    /// The snapshot's description.
    pub description: Template,
}

/// What kind of snapshot is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedKind {
    /// The disks, as they are at a crash.
    Disk,
    /// The disks, after the guest wrote out its buffers.
    Quiesced(Fallback),
    /// Disks and memory, of a VM that has memory.
    Memory(Fallback),
    /// The disks of a VM that is shut down for it and started again.
    Offline {
        /// How long the guest may take to shut down.
        shutdown_timeout: Exact,
    },
}

impl WantedKind {
    /// The kind that is tried first.
    pub fn kind(self) -> Kind {
        match self {
            WantedKind::Disk => Kind::Disk,
            WantedKind::Quiesced(_) => Kind::Quiesced,
            WantedKind::Memory(_) => Kind::Memory,
            WantedKind::Offline { .. } => Kind::Offline,
        }
    }

    /// The kind that is taken when the first cannot be had.
    pub fn fallback(self) -> Option<Kind> {
        matches!(self, WantedKind::Quiesced(Fallback::Disk) | WantedKind::Memory(Fallback::Disk)).then_some(Kind::Disk)
    }
}

/// What happens where the server, the guest or the VM's state does not allow the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// The job fails and says why.
    #[default]
    Fail,
    /// A snapshot of the disks is taken, and the history says so.
    Disk,
}

/// A command that is run around snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub phase: Phase,
    /// The program by its full path, and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// Variables added to those that describe run and VM.
    pub environment: BTreeMap<String, String>,
    /// It is ended when it takes longer.
    pub timeout: Exact,
    /// What its failure means.
    pub on_failure: OnFailure,
}

/// When a hook runs. What runs after something runs whatever happened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before the first VM of a run.
    BeforeRun,
    /// After the last VM of a run.
    AfterRun,
    /// Before each VM's snapshot.
    BeforeVm,
    /// After each VM's snapshot.
    AfterVm,
}

/// What the failure of a hook means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Before: no snapshot is taken, of the VM or of the whole run. After: the job or run counts as failed, the snapshot stays.
    #[default]
    Fail,
    /// It is recorded, and work goes on.
    Continue,
}

/// What a policy keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The rules.
    pub rules: Rules,
    /// Whether room is made before or after the new snapshot.
    pub order: Order,
    /// What becomes of the snapshots of a VM that was deleted.
    pub on_vm_deleted: Afterwards,
    /// What becomes of all snapshots once the policy is no longer in any file.
    pub on_policy_removed: Afterwards,
}

/// What becomes of snapshots that no run looks after any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Afterwards {
    /// They stay until somebody removes them.
    #[default]
    Keep,
    /// They are removed when this much time has passed since it was noticed.
    RemoveAfter(Exact),
}

/// How much of a policy works at once, below the limits of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Storage operations on one SR.
    pub per_sr: Option<NonZeroU32>,
    /// Jobs of VMs on one host.
    pub per_host: Option<NonZeroU32>,
    /// Jobs in one pool.
    pub per_pool: Option<NonZeroU32>,
}

/// A policy whose parts do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Nothing is selected.
    #[error("nothing is selected; write include = [{{ tag = \"...\" }}], or all = true")]
    NothingSelected,
}

/// What a policy may do but hardly means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// More snapshots than a chain of disks can have.
    LongChain {
        /// How many the rules may keep at once.
        snapshots: u32,
    },
    /// The spread is longer than the time to the next slot.
    SpreadBeyondNextSlot {
        /// The spread.
        spread: Exact,
        /// The time between two slots.
        interval: Exact,
    },
}

/// From this many snapshots on a chain is near the server's limit of 30.
const LONG_CHAIN: u32 = 25;

impl Policy {
    /// In place of a policy that is in no file any more: it ends what was begun in its name, begins nothing, and keeps everything.
    pub fn keeping_everything(id: PolicyId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            enabled: false,
            observe: false,
            priority: Priority::default(),
            schedule: Schedule::never(Zone::utc()),
            selection: Selection::default(),
            snapshot: SnapshotSettings {
                kind: WantedKind::Disk,
                exclude_disks: Vec::new(),
                name: Template::of_policy(),
                description: Template::of_policy(),
            },
            hooks: Vec::new(),
            rpo: None,
            retention: Retention {
                rules: Rules::everything(),
                order: Order::SnapshotFirst,
                on_vm_deleted: Afterwards::Keep,
                on_policy_removed: Afterwards::Keep,
            },
            limits: Limits::default(),
            guards: Guards::default(),
        }
    }

    /// Whether the parts fit together. `from` is where slots are looked at.
    pub fn check(&self, from: DateTime<Utc>) -> Result<(), PolicyError> {
        if self.selection.include.is_empty() {
            return Err(PolicyError::NothingSelected);
        }
        self.retention.rules.check()?;
        Ok(self.schedule.check(from)?)
    }

    /// What should be looked at again. `from` is where slots are looked at.
    pub fn doubts(&self, from: DateTime<Utc>) -> Vec<Doubt> {
        let snapshots = self.retention.rules.most_counted();
        let long = (snapshots > LONG_CHAIN).then_some(Doubt::LongChain { snapshots });
        long.into_iter().chain(self.crowded(from)).collect()
    }

    fn crowded(&self, from: DateTime<Utc>) -> Option<Doubt> {
        if self.schedule.spread == Exact::default() {
            return None;
        }
        let slots: Vec<_> = self.schedule.slots_after(from).take(100).collect();
        let shortest = slots.windows(2).map(|pair| pair[1] - pair[0]).min()?;
        let (spread, interval) = (self.schedule.spread, Exact(shortest.to_std().ok()?));
        (spread > interval).then_some(Doubt::SpreadBeyondNextSlot { spread, interval })
    }

    /// The hooks of a phase, in the order of the file.
    pub fn hooks_of(&self, phase: Phase) -> impl Iterator<Item = &Hook> {
        self.hooks.iter().filter(move |hook| hook.phase == phase)
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::LongChain { snapshots } => write!(
                f,
                "up to {snapshots} snapshots of one VM are kept; the server refuses a chain of more than 30, and every other tool's count too"
            ),
            Doubt::SpreadBeyondNextSlot { spread, interval } => {
                write!(
                    f,
                    "the spread of {spread} is longer than the {interval} between two slots, so runs will overlap and be skipped"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::SnapshotUuid;
    use super::super::retention::{Candidate, Period, State, Verdict, decide};
    use super::*;

    fn policy() -> Policy {
        Policy {
            id: "nightly".parse().unwrap(),
            name: "Nightly".to_owned(),
            enabled: true,
            observe: false,
            priority: Priority::default(),
            schedule: Schedule::new(vec!["@hourly".parse().unwrap()], Zone::utc()).unwrap(),
            selection: Selection::everything(),
            snapshot: SnapshotSettings {
                kind: WantedKind::Disk,
                exclude_disks: Vec::new(),
                name: "{policy} {due}".parse().unwrap(),
                description: "{run}".parse().unwrap(),
            },
            hooks: Vec::new(),
            rpo: None,
            retention: Retention {
                rules: Rules::last(7),
                order: Order::SnapshotFirst,
                on_vm_deleted: Afterwards::Keep,
                on_policy_removed: Afterwards::Keep,
            },
            limits: Limits::default(),
            guards: Guards::default(),
        }
    }

    fn from() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_plain_policy_is_fine() {
        assert_eq!(policy().check(from()), Ok(()));
        assert_eq!(policy().doubts(from()), []);
    }

    #[test]
    fn what_stands_for_a_removed_policy_never_fires_selects_nothing_and_keeps_everything() {
        let gone = Policy::keeping_everything("gone".parse().unwrap(), "Gone");
        assert_eq!((gone.id.as_str(), gone.name.as_str(), gone.enabled), ("gone", "Gone", false));
        assert_eq!(gone.schedule.next_after(from()), None);
        assert!(gone.selection.include.is_empty() && gone.hooks.is_empty());
        let candidate = |n: u32| {
            let at = from() - chrono::TimeDelta::minutes(n.into());
            let snapshot = SnapshotUuid(uuid::Uuid::from_u128(n.into()));
            Candidate { snapshot, due_at: at, taken_at: at, state: State::Durable, pin: None }
        };
        let held: Vec<Candidate> = (0..500).map(candidate).collect();
        let plan = decide(&gone.retention.rules, gone.schedule.zone(), &held, from());
        assert_eq!(plan.decisions.len(), 500);
        assert!(plan.decisions.iter().all(|decision| matches!(decision.verdict, Verdict::Keep(_))));
    }

    #[test]
    fn a_policy_that_selects_nothing_is_refused() {
        let nothing = Policy { selection: Selection::default(), ..policy() };
        assert_eq!(nothing.check(from()), Err(PolicyError::NothingSelected));
    }

    #[test]
    fn rules_that_outgrow_a_chain_and_a_spread_that_outgrows_the_interval_are_doubted() {
        let mut greedy = policy();
        greedy.retention.rules = Rules::last(7).with(Period::Day, 30);
        greedy.schedule.spread = Exact::seconds(5400);
        let doubts = greedy.doubts(from());
        let interval = Exact::seconds(3600);
        assert_eq!(
            doubts,
            [Doubt::LongChain { snapshots: 37 }, Doubt::SpreadBeyondNextSlot { spread: Exact::seconds(5400), interval }]
        );
    }

    #[test]
    fn only_kinds_that_may_be_refused_have_a_fallback() {
        assert_eq!(WantedKind::Quiesced(Fallback::Disk).fallback(), Some(Kind::Disk));
        assert_eq!(WantedKind::Quiesced(Fallback::Fail).fallback(), None);
        assert_eq!(WantedKind::Offline { shutdown_timeout: Exact::seconds(60) }.fallback(), None);
    }
}
