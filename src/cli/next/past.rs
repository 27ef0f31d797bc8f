//! How far each policy has come on each pool of the configuration that it covers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::coming::Line;
use crate::config::{CheckedPolicy, Config};
use crate::domain::pause::{self, Pause};
use crate::domain::policy::Policy;
use crate::domain::schedule::Progress;
use crate::store::{Cursor, Store};

/// What history knows, by the names that the configuration gives to pools.
#[derive(Debug, Default)]
pub(super) struct Past {
    pools: HashMap<String, Uuid>,
    cursors: HashMap<(String, Uuid), Cursor>,
    running: HashMap<(String, Uuid), DateTime<Utc>>,
    pauses: Vec<Pause>,
}

impl Past {
    /// Reads it.
    pub(super) async fn of(store: &Store) -> anyhow::Result<Self> {
        let pools = store.pools().await?.into_iter().map(|pool| (pool.name, pool.uuid)).collect();
        let cursors = store.cursors().await?.into_iter().map(|cursor| ((cursor.policy.clone(), cursor.pool), cursor)).collect();
        let running = store.unfinished_runs().await?.into_iter().map(|run| ((run.policy, run.pool), run.due_at)).collect();
        let pauses = crate::engine::wishes::pauses(store).await?;
        Ok(Self { pools, cursors, running, pauses })
    }

    /// The pause that a slot will be skipped for, as far as is known now.
    pub(super) fn paused(&self, policy: &Policy, pool: Option<&str>, due_at: DateTime<Utc>) -> Option<&Pause> {
        let pool = pool.and_then(|pool| self.pools.get(pool)).copied().unwrap_or_default();
        pause::of_slot(&self.pauses, (&policy.id, pool), due_at, due_at)
    }

    /// A line for each pool that the policy covers; one without a pool where the configuration has none.
    pub(super) fn lines<'a>(&self, config: &'a Config, checked: &'a CheckedPolicy) -> Vec<Line<'a>> {
        let policy = &checked.policy;
        let pools = config.pools.iter().map(|pool| pool.name.as_str()).filter(|pool| checked.covers(pool));
        let lines: Vec<Line<'a>> =
            pools.map(|pool| Line { policy, pool: Some(pool), progress: self.progress(policy.id.as_str(), pool) }).collect();
        if lines.is_empty() { vec![Line { policy, pool: None, progress: None }] } else { lines }
    }

    fn progress(&self, policy: &str, pool: &str) -> Option<Progress> {
        let key = (policy.to_owned(), *self.pools.get(pool)?);
        let cursor = self.cursors.get(&key)?;
        let running = self.running.get(&key).copied();
        Some(Progress { counts_from: cursor.counts_from, last_claimed: cursor.last_due, running })
    }
}
