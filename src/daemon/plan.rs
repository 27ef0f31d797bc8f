//! What the service works by. It is made from a checked configuration, and swapped as a whole: nobody sees half of one and half of
//! another.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::alarms::Alarms;
use crate::domain::id::{InstallationId, PolicyId};
use crate::domain::lease::Terms;
use crate::domain::policy::Policy;
use crate::engine::admission::Limits;
use crate::engine::site::Pace;
use crate::store::PolicySeen;
use crate::xenapi::Settings;

/// Pools, policies and limits.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who we are.
    pub installation: InstallationId,
    /// The pools.
    pub pools: Vec<PlannedPool>,
    /// The policies, disabled ones included.
    pub policies: Vec<Assigned>,
    /// How often and how long.
    pub times: Times,
    /// How long things done about a pool may take.
    pub pace: Pace,
    /// How long a claim to a pool is good for; nothing: other daemons are not kept out.
    pub lease: Option<Terms>,
    /// Who is told of what goes wrong, if somebody is.
    pub alarms: Option<Arc<Alarms>>,
}

/// A pool and how much may be done at once about it.
#[derive(Debug, Clone)]
pub struct PlannedPool {
    /// How to reach it.
    pub settings: Settings,
    /// What may be in flight.
    pub limits: Limits,
}

/// A policy and where it applies.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The configured names of pools; empty for all.
    pub pools: Vec<String>,
}

impl Assigned {
    /// Whether it applies to the pool of this name.
    pub fn applies_to(&self, pool: &str) -> bool {
        self.pools.is_empty() || self.pools.iter().any(|name| name == pool)
    }
}

/// Rhythms of the service, in time of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// History and pool are compared this often, besides when there is a reason.
    pub compare_every: Duration,
    /// Removals that wait, pins that are over and late jobs are looked at this often.
    pub chores_every: Duration,
    /// The longest sleep of the timekeeper: a wall clock that steps is noticed after this at the latest.
    pub look_every: Duration,
    /// How long the history keeps what is over; for ever if nothing is said.
    pub keep_history: Option<TimeDelta>,
    /// A pool's database is synchronised at most this often.
    pub synchronise_every: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            compare_every: Duration::from_secs(3600),
            chores_every: Duration::from_secs(60),
            look_every: Duration::from_secs(30),
            keep_history: None,
            synchronise_every: Duration::from_secs(60),
        }
    }
}

impl Plan {
    /// The policies as the history wants to see them.
    pub fn seen(&self) -> Vec<PolicySeen> {
        self.policies.iter().map(|assigned| super::policy_seen(&assigned.policy)).collect()
    }

    /// A policy by its id.
    pub fn policy(&self, id: &str) -> Option<&Arc<Policy>> {
        self.policies.iter().map(|assigned| &assigned.policy).find(|policy| policy.id.as_str() == id)
    }

    /// The policies of a pool that fire.
    pub fn enabled_on(&self, pool: &str) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies
            .iter()
            .filter(move |assigned| assigned.policy.enabled && assigned.applies_to(pool))
            .map(|assigned| &assigned.policy)
    }

    /// A policy by name or id, for people.
    pub fn find(&self, name: &str) -> Option<&Assigned> {
        self.policies.iter().find(|assigned| assigned.policy.id.as_str() == name || assigned.policy.name == name)
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = &PolicyId> {
        self.policies.iter().map(|assigned| &assigned.policy.id)
    }
}
