//! From a checked configuration to what the service works by.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};

use super::target;
use crate::config::{Config, DaemonLimits};
use crate::daemon::{Assigned, Plan, PlannedPool, Times};
use crate::domain::span::CalendarSpan;
use crate::domain::zone::Zone;
use crate::engine::admission::Limits;
use crate::engine::site::Pace;
use crate::store::{Opened, Options, Store};

/// Pools with their passwords, policies, limits.
///
/// # Errors
/// When a password cannot be read.
pub(super) fn plan(config: &Config) -> anyhow::Result<Plan> {
    let limits = limits(config.daemon.limits);
    let pools = config.pools.iter().cloned().map(|pool| {
        let mut settings = target::settings(pool)?;
        settings.originator = format!("xensnap|{}", config.installation);
        Ok(PlannedPool { settings, limits })
    });
    let policies =
        config.policies.iter().map(|checked| Assigned { policy: Arc::new(checked.policy.clone()), pools: checked.pools.clone() });
    Ok(Plan {
        installation: config.installation.clone(),
        pools: pools.collect::<anyhow::Result<_>>()?,
        policies: policies.collect(),
        times: Times {
            compare_every: config.daemon.reconcile_interval.0,
            synchronise_every: config.daemon.sync_interval.0,
            keep_history: Some(length(config.store.keep)),
            ..Times::default()
        },
        pace: Pace::default(),
    })
}

/// A calendar length in days as they were last year: whether history keeps 400 or 401 days matters to nobody.
fn length(span: CalendarSpan) -> TimeDelta {
    let then = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    then - span.before(then, &Zone::utc())
}

fn limits(configured: DaemonLimits) -> Limits {
    let DaemonLimits { per_sr, per_host, per_pool } = configured;
    Limits { per_sr, per_host: Some(per_host), per_pool: Some::<NonZeroU32>(per_pool) }
}

/// Opens the history for writing, and makes its folder if there is none.
///
/// # Errors
/// Each says what is wrong with the file and what to do.
pub(super) async fn history(path: &Path, now: chrono::DateTime<chrono::Utc>) -> anyhow::Result<Opened> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| anyhow::anyhow!("the folder {} of the history cannot be made: {error}", folder.display()))?;
    }
    Ok(Store::open(path, &Options::default(), now).await?)
}
