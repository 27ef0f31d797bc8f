//! A policy as a file again: everything that counts, whether the file said it, a template, or a default. What the readers make of
//! the text is the same policy.

use serde::Serialize;
use toml::{Table, Value};

use super::CheckedPolicy;
use crate::domain::guard::Guards;
use crate::domain::policy::{
    Afterwards, Fallback, Hook, Limits, OnFailure, Phase, Policy, Retention, SnapshotSettings, WantedKind,
};
use crate::domain::retention::{Order, Period};
use crate::domain::schedule::{CatchUp, Schedule, TimeWindow};
use crate::domain::selection::{Clause, Pattern, Selection};

/// The keys of a policy, in the order in which people write them.
#[derive(Serialize)]
struct File {
    policy: [Written; 1],
}

#[derive(Serialize)]
struct Written {
    name: String,
    id: String,
    enabled: bool,
    observe: bool,
    priority: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pools: Vec<String>,
    schedule: Table,
    select: Table,
    snapshot: Table,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpo: Option<String>,
    retention: Table,
    #[serde(skip_serializing_if = "Table::is_empty")]
    limits: Table,
    guards: Table,
}

/// The text of a file that has this policy and nothing else.
///
/// # Errors
/// When TOML cannot hold it; no policy that was read is so.
pub(super) fn text(checked: &CheckedPolicy) -> Result<String, toml::ser::Error> {
    let policy = &checked.policy;
    let written = Written {
        name: policy.name.clone(),
        id: policy.id.to_string(),
        enabled: policy.enabled,
        observe: policy.observe,
        priority: policy.priority.number(),
        pools: checked.pools.clone(),
        schedule: schedule(&policy.schedule),
        select: select(&policy.selection),
        snapshot: snapshot(&policy.snapshot),
        hooks: policy.hooks.iter().map(hook).collect(),
        rpo: policy.rpo.map(|rpo| rpo.to_string()),
        retention: retention(&policy.retention),
        limits: limits(policy),
        guards: guards(&policy.guards),
    };
    toml::to_string(&File { policy: [written] })
}

/// Puts a key in.
fn put(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

/// One text stands alone.
fn one_or_list(texts: Vec<String>) -> Value {
    match <[String; 1]>::try_from(texts) {
        Ok([text]) => Value::String(text),
        Err(texts) => texts.into(),
    }
}

fn schedule(schedule: &Schedule) -> Table {
    let mut table = Table::new();
    put(&mut table, "cron", one_or_list(schedule.expressions().iter().map(ToString::to_string).collect()));
    put(&mut table, "zone", schedule.zone().name());
    put(&mut table, "spread", schedule.spread.to_string());
    for (key, windows) in [("window", &schedule.windows.open), ("blackout", &schedule.windows.blackouts)] {
        if !windows.is_empty() {
            put(&mut table, key, one_or_list(windows.iter().map(TimeWindow::to_string).collect()));
        }
    }
    if let Some(deadline) = schedule.deadline {
        put(&mut table, "deadline", deadline.to_string());
    }
    match schedule.catch_up {
        CatchUp::None => put(&mut table, "catch_up", "none"),
        CatchUp::One { max_age } => {
            put(&mut table, "catch_up", "one");
            put(&mut table, "catch_up_max_age", max_age.to_string());
        }
    }
    put(&mut table, "run_on_start", schedule.run_on_start);
    table
}

fn select(selection: &Selection) -> Table {
    let conditions = |each: &Clause| clause(each.0.iter().map(|one| (one.field.word(), one.patterns.as_slice())));
    let clauses = |all: &[Clause]| all.iter().map(conditions).collect::<Vec<Table>>();
    let mut table = Table::new();
    if selection.include.iter().any(|clause| clause.0.is_empty()) {
        put(&mut table, "all", true);
    } else {
        put(&mut table, "include", clauses(&selection.include));
    }
    if !selection.exclude.is_empty() {
        put(&mut table, "exclude", clauses(&selection.exclude));
    }
    put(&mut table, "honour_no_bak", selection.honour_no_bak);
    table
}

fn clause<'a>(conditions: impl Iterator<Item = (&'static str, &'a [Pattern])>) -> Table {
    let texts = |patterns: &[Pattern]| one_or_list(patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect());
    conditions.map(|(word, patterns)| (word.to_owned(), texts(patterns))).collect()
}

fn snapshot(settings: &SnapshotSettings) -> Table {
    let mut table = Table::new();
    put(&mut table, "kind", settings.kind.kind().word());
    match settings.kind {
        WantedKind::Quiesced(fallback) | WantedKind::Memory(fallback) => {
            put(&mut table, "fallback", if fallback == Fallback::Disk { "disk" } else { "fail" });
        }
        WantedKind::Offline { shutdown_timeout } => put(&mut table, "shutdown_timeout", shutdown_timeout.to_string()),
        WantedKind::Disk => {}
    }
    if !settings.exclude_disks.is_empty() {
        let clauses = settings.exclude_disks.iter();
        let clauses = clauses.map(|each| clause(each.0.iter().map(|(field, patterns)| (field.word(), patterns.as_slice()))));
        put(&mut table, "exclude_disks", clauses.collect::<Vec<_>>());
    }
    put(&mut table, "name", settings.name.to_string());
    put(&mut table, "description", settings.description.to_string());
    table
}

fn hook(hook: &Hook) -> Table {
    let mut table = Table::new();
    let phase = match hook.phase {
        Phase::BeforeRun => "before_run",
        Phase::AfterRun => "after_run",
        Phase::BeforeVm => "before_vm",
        Phase::AfterVm => "after_vm",
    };
    put(&mut table, "phase", phase);
    put(&mut table, "command", hook.command.clone());
    if !hook.environment.is_empty() {
        let variables: Table = hook.environment.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        put(&mut table, "environment", variables);
    }
    put(&mut table, "timeout", hook.timeout.to_string());
    put(&mut table, "on_failure", if hook.on_failure == OnFailure::Fail { "fail" } else { "continue" });
    table
}

fn retention(retention: &Retention) -> Table {
    let mut table = Table::new();
    let rules = &retention.rules;
    let periods = Period::ALL.map(|period| (period.reason().word(), rules.of(period)));
    for (word, count) in [("last", rules.last)].into_iter().chain(periods).filter(|(_, count)| *count > 0) {
        put(&mut table, word, i64::from(count));
    }
    if let Some(within) = rules.within {
        put(&mut table, "within", within.to_string());
    }
    put(&mut table, "min", i64::from(rules.min));
    put(&mut table, "order", if retention.order == Order::PruneFirst { "prune-first" } else { "snapshot-first" });
    put(&mut table, "on_vm_deleted", afterwards(retention.on_vm_deleted));
    put(&mut table, "on_policy_removed", afterwards(retention.on_policy_removed));
    table
}

fn afterwards(what: Afterwards) -> String {
    match what {
        Afterwards::Keep => "keep".to_owned(),
        Afterwards::RemoveAfter(span) => format!("remove after {span}"),
    }
}

fn limits(policy: &Policy) -> Table {
    let Limits { per_sr, per_host, per_pool } = policy.limits;
    let all = [("per_sr", per_sr), ("per_host", per_host), ("per_pool", per_pool)];
    all.into_iter().filter_map(|(key, limit)| Some((key.to_owned(), i64::from(limit?.get()).into()))).collect()
}

fn guards(guards: &Guards) -> Table {
    let mut table = Table::new();
    put(&mut table, "space_reserve", guards.space_reserve.to_string());
    put(&mut table, "on_low_space", guards.on_low_space.word());
    let depths = [("chain_warn", guards.chain_warn), ("chain_refuse", guards.chain_refuse)];
    depths.into_iter().for_each(|(key, depth)| put(&mut table, key, i64::try_from(depth).unwrap_or_default()));
    put(&mut table, "coalesce", guards.coalesce.word());
    let bounds = [("max_removals_per_vm", guards.removals.per_vm), ("max_removals_per_run", guards.removals.per_run)];
    for (key, bound) in bounds {
        if let Some(bound) = bound {
            put(&mut table, key, i64::from(bound));
        }
    }
    table
}
