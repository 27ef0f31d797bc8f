//! What is wrong now: what `xensnap status` calls wrong, and what happened since the last look. Both become conditions with a key, so that
//! what is the same is known again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::reach::Phase;
use super::super::report::{Status, Trouble, Weight};
use crate::domain::alarm::{Condition, Way, way};
use crate::domain::event::{EventKind, Severity};
use crate::domain::span::Exact;
use crate::store::{Event, RunId};

/// The code of what is wrong with the telling itself, which is no alarm: who cannot be told cannot be told that either.
pub(in crate::daemon) const UNDELIVERED: &str = "alarms";

/// Conditions of what the status calls wrong. Several of one kind about the same are one, with their number.
pub(super) fn of_status(status: &Status) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = Vec::new();
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    for trouble in status.troubles.iter().filter(|trouble| trouble.code != UNDELIVERED) {
        let condition = of_trouble(trouble);
        match places.get_mut(&condition.key) {
            Some((_, more)) => *more += 1,
            None => {
                places.insert(condition.key.clone(), (conditions.len(), 0));
                conditions.push(condition);
            }
        }
    }
    for (place, more) in places.into_values().filter(|(_, more)| *more > 0) {
        conditions[place].text.push_str(&format!(" (and {more} more)"));
    }
    conditions
}

fn of_trouble(trouble: &Trouble) -> Condition {
    // A night that failed after one that was partial is the same thing, and worse.
    let family = if trouble.code.starts_with("run-") { "run" } else { trouble.code.as_str() };
    let (pool, policy) = (trouble.pool.as_deref().unwrap_or_default(), trouble.policy.as_deref().unwrap_or_default());
    Condition {
        key: format!("{family}/{pool}/{policy}"),
        code: trouble.code.clone(),
        severity: if trouble.weight == Weight::Critical { Severity::Error } else { Severity::Warning },
        pool: trouble.pool.clone(),
        policy: trouble.policy.clone(),
        vm: None,
        run: trouble.run.map(|RunId(run)| run),
        text: trouble.text.clone(),
        since: trouble.since,
    }
}

/// Whether it cannot be told now whether a condition goes on, because its pool is being reached.
pub(super) fn is_unknown(status: &Status, condition: &Condition) -> bool {
    let about_reach = ["unreachable", "clock"].contains(&condition.code.as_str());
    let pool = status.pools.iter().find(|pool| Some(&pool.name) == condition.pool.as_ref());
    about_reach && pool.is_some_and(|pool| matches!(pool.phase, Phase::Connecting | Phase::Comparing | Phase::Unknown))
}

/// The condition of something that happened; nothing of what is looked at by itself.
pub(super) fn of_event(event: &Event, pools: &HashMap<Uuid, String>) -> Option<Condition> {
    let kind = EventKind::from_word(&event.kind).filter(|kind| way(*kind) == Way::Happened)?;
    let pool = event.pool.map(|pool| pools.get(&pool).cloned().unwrap_or_else(|| pool.to_string()));
    let vm = event.vm_uuid.map(|vm| (vm, event.vm_name.clone().unwrap_or_default()));
    let about = vm.as_ref().map_or_else(String::new, |(vm, _)| vm.to_string());
    let (on, policy) = (pool.as_deref().unwrap_or_default(), event.policy.as_deref().unwrap_or_default());
    Some(Condition {
        key: format!("{kind}/{on}/{policy}/{about}"),
        code: kind.as_str().to_owned(),
        severity: kind.severity(),
        policy: event.policy.clone(),
        run: None,
        text: event.text.clone(),
        since: event.at,
        vm,
        pool,
    })
}

/// The condition of a promise that is broken.
pub(super) fn of_promise(
    (pool, policy, policy_name): (&str, &str, &str),
    (vm, name): (Uuid, &str),
    (said, within): (bool, chrono::TimeDelta),
    newest: Option<DateTime<Utc>>,
    since: DateTime<Utc>,
) -> Condition {
    let kind = if said { EventKind::RpoBroken } else { EventKind::BehindSchedule };
    let promised = Exact(within.to_std().unwrap_or_default());
    let what = match newest.map(|newest| newest.format("%Y-%m-%d %H:%M UTC")) {
        Some(newest) => format!("its newest good snapshot is of {newest}, older than the {promised} that are promised"),
        None => format!("it has had no good snapshot for longer than the {promised} that are promised"),
    };
    Condition {
        key: format!("rpo/{pool}/{policy}/{vm}"),
        code: kind.as_str().to_owned(),
        severity: kind.severity(),
        pool: Some(pool.to_owned()),
        policy: Some(policy.to_owned()),
        vm: Some((vm, name.to_owned())),
        run: None,
        text: format!("VM {name}, policy {policy_name}: {what}"),
        since,
    }
}
