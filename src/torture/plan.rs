//! What goes wrong when: a plan is a seed, how many days pass, and steps. It is a TOML file, so that a plan that failed can be kept.
//!
//! ```toml
//! seed = 7
//! days = 6
//!
//! [[step]]
//! at = 86395
//! fault = "cut-after"
//! method = "VM.snapshot"
//! nth = 2
//! pick = 0
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Everything that one play is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What pool and policies are drawn from.
    pub seed: u64,
    /// How many days things go wrong; healthy days follow.
    pub days: u32,
    /// What goes wrong, in the order of time.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Seconds since the beginning.
    pub at: u64,
    /// What.
    pub fault: Fault,
    /// Which of the service's calls it strikes; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The how-manieth of those, from 1.
    #[serde(default = "one")]
    pub nth: u64,
    /// What is left open is chosen by this number: which VM, which error, by how much.
    #[serde(default)]
    pub pick: u64,
}

fn one() -> u64 {
    1
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal;)+) => {
        /// The kinds of faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Fault {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $name,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Fault] = &[$(Fault::$name),+];

            /// What it is called in plans and reports.
            pub fn word(self) -> &'static str {
                match self {
                    $(Fault::$name => $word,)+
                }
            }
        }
    };
}

faults! {
    /// A call fails without effect.
    Refused = "refused";
    /// A call has no effect and is never answered.
    Hung = "hung";
    /// A call takes effect and is never answered.
    Mute = "mute";
    /// The connection is cut before the effect.
    CutBefore = "cut-before";
    /// The connection is cut after the effect.
    CutAfter = "cut-after";
    /// A call begins late.
    Delayed = "delayed";
    /// A call's work takes very long.
    Slow = "slow";
    /// A call's work never ends.
    Stuck = "stuck";
    /// Something else than the answer is sent.
    Garbage = "garbage";
    /// `event.from` has lost events.
    LostEvents = "lost-events";
    /// All sessions end.
    ExpiredSessions = "expired-sessions";
    /// Another host becomes master as planned, in the middle of a call.
    MasterChange = "master-change";
    /// The server is restarted: sessions and tasks are gone.
    Restart = "restart";
    /// The server dies: up to five minutes are forgotten.
    Crash = "crash";
    /// The master dies and a member takes over: up to a day is forgotten.
    Promotion = "promotion";
    /// An SR is full for some hours.
    FullSr = "full-sr";
    /// A snapshot fails at one of its disks and leaves the others.
    PartialSnapshot = "partial-snapshot";
    /// A VM is in the middle of something long.
    BusyVm = "busy-vm";
    /// A VM is deleted.
    VmDeleted = "vm-deleted";
    /// A VM gets another name.
    VmRenamed = "vm-renamed";
    /// A VM goes to another host.
    VmMigrated = "vm-migrated";
    /// A VM is put back to a snapshot.
    VmReverted = "vm-reverted";
    /// The server's clock steps.
    ServerClock = "server-clock";
    /// The service's clock steps.
    ServiceClock = "service-clock";
    /// SIGKILL before a call's effect.
    KilledBefore = "killed-before";
    /// SIGKILL after a call's effect, before its answer.
    KilledAfter = "killed-after";
    /// SIGKILL in the midst of whatever the service does.
    KilledAnytime = "killed-anytime";
    /// Writes to the history fail for a while: SQLite's disk is full.
    FullDisk = "full-disk";
    /// A second service of the same installation, with a history of its own, works with the same pool for hours.
    SecondDaemon = "second-daemon";
}

impl Fault {
    /// Whether the service's process dies of it.
    pub fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter | Self::KilledAnytime)
    }
}

/// A plan that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the file is no plan of a fault campaign: {0}")]
pub struct PlanError(#[from] toml::de::Error);

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let mut plan: Self = toml::from_str(text)?;
        plan.steps.sort_by_key(|step| step.at);
        Ok(plan)
    }

    /// Writes it, so that it is read the same.
    ///
    /// # Errors
    /// None for numbers that TOML can hold: less than 2^63.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The kinds of faults in it.
    pub fn kinds(&self) -> BTreeSet<Fault> {
        self.steps.iter().map(|step| step.fault).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = Plan::draw(11, 14);
        assert_eq!(Plan::parse(&plan.to_toml().unwrap()).unwrap(), plan);
    }

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_one_another() {
        assert_eq!(Plan::draw(3, 14), Plan::draw(3, 14));
        assert_ne!(Plan::draw(3, 14).steps, Plan::draw(4, 14).steps);
    }

    #[test]
    fn a_few_seeds_have_every_kind_of_fault() {
        let kinds: BTreeSet<Fault> = (0..20).flat_map(|seed| Plan::draw(seed, 14).kinds()).collect();
        assert_eq!(kinds.len(), Fault::ALL.len(), "{kinds:?}");
    }
}
