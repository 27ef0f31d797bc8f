//! What is different in another configuration, policy by policy, for the journal at a reload.

use std::fmt;

use super::{CheckedPolicy, Config};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A policy that was not there.
    PolicyAdded(String),
    /// A policy that is no longer there. Its snapshots stay or go as it said.
    PolicyRemoved(String),
    /// The same policy in everything but its id: somebody renamed it, and its snapshots belong to the old id.
    PolicyIdChanged {
        /// The old id.
        from: String,
        /// The new one.
        to: String,
    },
    /// A policy with the same id that says something else.
    PolicyChanged {
        /// Its id.
        id: String,
        /// Which parts.
        parts: Vec<&'static str>,
    },
    /// A pool that was not there.
    PoolAdded(String),
    /// A pool that is no longer there.
    PoolRemoved(String),
    /// A pool of the same name that is reached in another way.
    PoolChanged(String),
    /// Another installation; it owns none of the snapshots taken so far.
    Installation,
    /// Something in `[daemon]`.
    Daemon,
    /// Something in `[alarms]`.
    Alarms,
    /// Something in `[store]`, which a running daemon does not follow.
    Store,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::PolicyAdded(id) => write!(f, "policy {id} is new; nothing runs merely because of that"),
            Change::PolicyRemoved(id) => write!(f, "policy {id} is gone"),
            Change::PolicyIdChanged { from, to } => {
                write!(f, "policy {from} is now {to}; to keep its snapshots, write id = \"{from}\" into it")
            }
            Change::PolicyChanged { id, parts } => write!(f, "policy {id} changed: {}", parts.join(", ")),
            Change::PoolAdded(name) => write!(f, "pool {name} is new"),
            Change::PoolRemoved(name) => write!(f, "pool {name} is gone"),
            Change::PoolChanged(name) => write!(f, "pool {name} changed"),
            Change::Installation => f.write_str("the installation changed; it owns none of the snapshots taken so far"),
            Change::Daemon => f.write_str("settings of the daemon changed"),
            Change::Alarms => f.write_str("settings of alarms changed"),
            Change::Store => f.write_str("the store changed; restart the daemon to use it"),
        }
    }
}

/// What is different in `new`.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut all = Vec::new();
    all.extend((old.installation != new.installation).then_some(Change::Installation));
    all.extend((old.daemon != new.daemon).then_some(Change::Daemon));
    all.extend((old.alarms != new.alarms).then_some(Change::Alarms));
    all.extend((old.store != new.store).then_some(Change::Store));
    pools(old, new, &mut all);
    policies(old, new, &mut all);
    all
}

fn pools(old: &Config, new: &Config, all: &mut Vec<Change>) {
    for pool in &old.pools {
        match new.pools.iter().find(|other| other.name == pool.name) {
            None => all.push(Change::PoolRemoved(pool.name.clone())),
            Some(other) if other != pool => all.push(Change::PoolChanged(pool.name.clone())),
            Some(_) => {}
        }
    }
    let added = new.pools.iter().filter(|pool| old.pools.iter().all(|other| other.name != pool.name));
    all.extend(added.map(|pool| Change::PoolAdded(pool.name.clone())));
}

fn policies(old: &Config, new: &Config, all: &mut Vec<Change>) {
    let mut added = absent(&new.policies, &old.policies);
    for gone in absent(&old.policies, &new.policies) {
        let id = gone.policy.id.to_string();
        match added.iter().position(|other| is_renamed(gone, other)) {
            Some(at) => all.push(Change::PolicyIdChanged { from: id, to: added.swap_remove(at).policy.id.to_string() }),
            None => all.push(Change::PolicyRemoved(id)),
        }
    }
    all.extend(added.into_iter().map(|policy| Change::PolicyAdded(policy.policy.id.to_string())));
    let by_id: std::collections::HashMap<_, _> = new.policies.iter().map(|other| (&other.policy.id, other)).collect();
    for policy in &old.policies {
        let Some(other) = by_id.get(&policy.policy.id) else { continue };
        let parts = parts(policy, other);
        if !parts.is_empty() {
            all.push(Change::PolicyChanged { id: policy.policy.id.to_string(), parts });
        }
    }
}

/// The policies whose id is not among the others.
fn absent<'a>(policies: &'a [CheckedPolicy], others: &[CheckedPolicy]) -> Vec<&'a CheckedPolicy> {
    let ids: std::collections::HashSet<_> = others.iter().map(|other| &other.policy.id).collect();
    policies.iter().filter(|policy| !ids.contains(&policy.policy.id)).collect()
}

fn is_renamed(old: &CheckedPolicy, new: &CheckedPolicy) -> bool {
    parts(old, new).iter().all(|part| *part == "name")
}

/// Which parts differ, as they are called in the file. Where a policy stands is none of them.
fn parts(old: &CheckedPolicy, new: &CheckedPolicy) -> Vec<&'static str> {
    let (from, to) = (&old.policy, &new.policy);
    let all = [
        ("name", from.name != to.name),
        ("enabled", from.enabled != to.enabled),
        ("observe", from.observe != to.observe),
        ("priority", from.priority != to.priority),
        ("pools", old.pools != new.pools),
        ("schedule", from.schedule != to.schedule),
        ("select", from.selection != to.selection),
        ("snapshot", from.snapshot != to.snapshot),
        ("hooks", from.hooks != to.hooks),
        ("rpo", from.rpo != to.rpo),
        ("retention", from.retention != to.retention),
        ("limits", from.limits != to.limits),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}
