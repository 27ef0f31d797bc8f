//! How the service stands: its pools, what runs, what comes, what is paused, and what is wrong.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::shapes::{Fires, Jobs, Master, Paused, PolicyName, PoolStatus, RunStatus, Service, Status, Work};
use super::troubles::{ORPHANS, Trouble, Weight, sort, troubles};
use crate::daemon::Handle;
use crate::daemon::reach::Phase;
use crate::domain::guard::clock;
use crate::domain::orphans::Orphan;
use crate::domain::pause::{self, Pause};
use crate::domain::policy::Policy;
use crate::engine::error::Result;
use crate::engine::guards::clocks;
use crate::engine::site::SharedSite;
use crate::engine::wishes;
use crate::engine::worker::Worker;
use crate::store::{JobState, Run, Store};
use crate::xenapi::records::{Host, Vm};
use crate::xenapi::types::Ref;

/// How many slots to come are told.
const COMING: usize = 5;

/// A pool that is not reached within this time after the start is told as trouble.
const REACHED_WITHIN: TimeDelta = TimeDelta::minutes(2);

/// Clocks may differ so much before it is told as trouble: due times stand in names and marks.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// How a service that runs stands.
pub(in crate::daemon) async fn live(worker: &mut Worker, handle: &Handle) -> Result<Status> {
    let (now, plan) = (handle.clock.now(), handle.plan());
    let pools: Vec<&str> = plan.pools.iter().map(|pool| pool.settings.name.as_str()).collect();
    let applying = plan.policies.iter().flat_map(|assigned| {
        let pools = pools.iter().copied().filter(|pool| assigned.applies_to(pool));
        pools.map(|pool| (&*assigned.policy, pool)).collect::<Vec<_>>()
    });
    let mut status = known(&handle.store, applying, handle.wishes.pauses(), now).await?;
    status.service = Some(Service {
        xensnap: handle.desk.build.version.to_owned(),
        revision: handle.desk.build.revision.to_owned(),
        pid: std::process::id(),
        started_at: handle.desk.started_at,
        policies: plan.policies.len(),
    });
    // Side by side: one that does not answer holds up nobody but itself.
    let asked = pools.into_iter().map(|name| {
        let mut worker = worker.fork();
        async move { pool(&mut worker, handle, name).await }
    });
    status.pools = worker.wait(futures_util::future::join_all(asked)).await;
    // What our history lacks there the other daemon has made good, or tells of.
    let standing_by = |pool: &Option<String>| pool.as_deref().is_some_and(|pool| handle.desk.reaches.is_standing_by(pool));
    status.troubles.retain(|trouble| !standing_by(&trouble.pool));
    status.troubles.extend(status.pools.iter().filter_map(|pool| trouble_of(pool, now)));
    let silent = handle.sites.borrow().iter().filter_map(|site| trouble_with_time(site, now)).collect::<Vec<_>>();
    status.troubles.extend(silent);
    status.troubles.extend(handle.desk.files_trouble());
    count_orphans(&mut status.troubles, &handle.sites.borrow(), now);
    sort(&mut status.troubles);
    Ok(status)
}

/// How everything stands as far as a history tells that no service works with. `policies` come with the pools that they cover.
///
/// # Errors
/// When the history cannot be read.
pub async fn from_history<'a>(
    store: &Store,
    policies: impl Iterator<Item = (&'a Policy, &'a str)>,
    pools: impl Iterator<Item = &'a str>,
    now: DateTime<Utc>,
) -> Result<Status> {
    let mut status = known(store, policies, wishes::pauses(store).await?, now).await?;
    let seen = store.pools().await?;
    status.pools = pools
        .map(|name| {
            let seen = seen.iter().find(|pool| pool.name == name);
            PoolStatus { uuid: seen.map(|pool| pool.uuid), ..unknown(name, Phase::Unknown, seen.map(|pool| pool.last_seen)) }
        })
        .collect();
    Ok(status)
}

/// What the history and the policies tell.
async fn known<'a>(
    store: &Store,
    policies: impl Iterator<Item = (&'a Policy, &'a str)>,
    pauses: Vec<Pause>,
    now: DateTime<Utc>,
) -> Result<Status> {
    let uuids: Vec<(String, Uuid)> = store.pools().await?.into_iter().map(|pool| (pool.name, pool.uuid)).collect();
    let mut running = Vec::new();
    for run in store.unfinished_runs().await? {
        running.push(run_status(store, run, &uuids).await?);
    }
    let coming = coming(policies, &pauses, &uuids, now);
    let holding = pauses.into_iter().filter(|pause| pause.holds_at(now));
    let paused = holding.map(|pause| Paused {
        what: pause.name,
        since: pause.from,
        until: pause.until,
        by: pause.by,
        reason: pause.reason,
    });
    let paused = paused.collect();
    let troubles = troubles(store, now).await?;
    Ok(Status { at: now, service: None, pools: Vec::new(), running, coming, paused, troubles })
}

fn coming<'a>(
    policies: impl Iterator<Item = (&'a Policy, &'a str)>,
    pauses: &[Pause],
    uuids: &[(String, Uuid)],
    now: DateTime<Utc>,
) -> Vec<Fires> {
    let next = |(policy, pool): (&'a Policy, &'a str)| {
        let due_at = policy.schedule.next_open_after(now).filter(|_| policy.enabled)?;
        Some((due_at, policy, pool))
    };
    let mut coming: Vec<_> = policies.filter_map(next).collect();
    coming.sort_by(|one, other| (one.0, &one.1.name, one.2).cmp(&(other.0, &other.1.name, other.2)));
    coming.truncate(COMING);
    let fires = |(due_at, policy, pool): (DateTime<Utc>, &Policy, &str)| {
        let uuid = uuids.iter().find(|(name, _)| name == pool).map_or(Uuid::nil(), |(_, uuid)| *uuid);
        let paused = pause::of_slot(pauses, (&policy.id, uuid), due_at, due_at).is_some();
        let policy = PolicyName { id: policy.id.to_string(), name: policy.name.clone() };
        Fires { policy, pool: pool.to_owned(), due_at, paused }
    };
    coming.into_iter().map(fires).collect()
}

async fn run_status(store: &Store, run: Run, uuids: &[(String, Uuid)]) -> Result<RunStatus> {
    let mut jobs = Jobs::default();
    let mut work = Vec::new();
    for job in store.jobs_of(run.id).await? {
        jobs.total += 1;
        match job.state {
            JobState::Queued => jobs.waiting += 1,
            JobState::Intent | JobState::Calling | JobState::Taken => {
                jobs.working += 1;
                work.push(Work { vm: job.vm_name, state: job.state.as_str().to_owned(), since: job.changed_at });
            }
            JobState::Marked | JobState::Durable | JobState::Pruned | JobState::Done => jobs.taken += 1,
            JobState::Unresolved | JobState::Failed => jobs.failed += 1,
            JobState::Skipped | JobState::Cancelled | JobState::Observed => jobs.skipped += 1,
        }
    }
    let pool = uuids.iter().find(|(_, uuid)| *uuid == run.pool).map_or_else(|| run.pool.to_string(), |(name, _)| name.clone());
    Ok(RunStatus {
        run: run.id.0,
        policy: PolicyName { id: run.policy, name: run.policy_name },
        pool,
        due_at: run.due_at,
        started_at: run.started_at,
        state: run.state.as_str().to_owned(),
        jobs,
        work,
    })
}

fn unknown(name: &str, phase: Phase, since: Option<DateTime<Utc>>) -> PoolStatus {
    PoolStatus {
        name: name.to_owned(),
        uuid: None,
        phase,
        since,
        problem: None,
        master: None,
        release: None,
        clock_ahead_seconds: None,
        vms: None,
    }
}

async fn pool(worker: &mut Worker, handle: &Handle, name: &str) -> PoolStatus {
    let reach = handle.desk.reaches.of(name);
    let (phase, since) = reach.as_ref().map_or((Phase::Connecting, None), |reach| (reach.phase, Some(reach.since)));
    let status = PoolStatus { problem: reach.and_then(|reach| reach.problem), ..unknown(name, phase, since) };
    let site = handle.sites.borrow().iter().find(|site| site.name() == name).cloned();
    let Some(site) = site else { return status };
    let phase = if phase == Phase::Connected && !site.is_trusted() { Phase::Comparing } else { phase };
    let clock_ahead_seconds = if phase == Phase::Unreachable { None } else { clock_ahead(worker, &site).await };
    let tables = site.inventory.read();
    let incarnation = site.pool.incarnation();
    let master = incarnation.as_ref().and_then(|incarnation| tables.get(&Ref::<Host>::new(&incarnation.master)));
    let software = |key| master.and_then(|host| host.software_version.get(key)).unwrap_or("?").to_owned();
    PoolStatus {
        uuid: Some(site.uuid.0),
        phase,
        master: incarnation.as_ref().map(|incarnation| Master {
            name: master.map_or_else(String::new, |host| host.name_label.to_string()),
            address: incarnation.address.to_string(),
        }),
        release: master.map(|_| format!("{} {}", software("product_brand"), software("product_version"))),
        clock_ahead_seconds,
        vms: Some(tables.all::<Vm>().filter(|(_, vm)| vm.is_plain()).count()),
        ..status
    }
}

/// Asked now; nothing if the server does not say.
async fn clock_ahead(worker: &mut Worker, site: &SharedSite) -> Option<f64> {
    // The server cuts its seconds off; and no zero is below zero.
    Some(clocks::ahead(worker, site).await?.as_seconds_f64().ceil() + 0.0)
}

/// What is left that needs somebody, removals that the history calls orphaned among it.
fn count_orphans(troubles: &mut Vec<Trouble>, sites: &[SharedSite], now: DateTime<Utc>) {
    for site in sites {
        let left = site.left.borrow();
        let needs: Vec<&Orphan> = left.iter().filter(|orphan| !orphan.why.passes()).collect();
        if needs.is_empty() {
            continue;
        }
        let of_history = |trouble: &Trouble| trouble.code == ORPHANS && trouble.pool.as_deref() == Some(site.name());
        troubles.retain(|trouble| !of_history(trouble));
        let things = if needs.len() == 1 { "1 thing is".to_owned() } else { format!("{} things are", needs.len()) };
        troubles.push(Trouble {
            weight: Weight::Warning,
            code: ORPHANS.to_owned(),
            since: needs.iter().filter_map(|orphan| orphan.since).min().unwrap_or(now),
            pool: Some(site.name().to_owned()),
            policy: None,
            run: None,
            text: format!("{things} left that nobody works on; `xensnap orphans` says what to do"),
        });
    }
}

fn trouble_of(pool: &PoolStatus, now: DateTime<Utc>) -> Option<Trouble> {
    let trouble = |weight, code: &str, text| {
        let since = pool.since.unwrap_or(now);
        Some(Trouble { weight, code: code.to_owned(), since, pool: Some(pool.name.clone()), policy: None, run: None, text })
    };
    let long = pool.since.is_some_and(|since| now - since > REACHED_WITHIN);
    if pool.phase == Phase::Unreachable || pool.phase == Phase::Connecting && long {
        let why = pool.problem.as_deref().unwrap_or("it does not answer; `xensnap doctor` says why");
        return trouble(Weight::Critical, "unreachable", format!("pool {} cannot be reached: {why}", pool.name));
    }
    let ahead = pool.clock_ahead_seconds.filter(|ahead| ahead.abs() > CLOCK_TOLERANCE.as_seconds_f64())?;
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    let text = format!("the clock of pool {} is {:.0} s {side} ours; make both follow NTP", pool.name, ahead.abs());
    if ahead.abs() > clock::APART.as_seconds_f64() {
        return trouble(Weight::Critical, "clock", format!("{text}; nothing is removed of it before"));
    }
    trouble(Weight::Warning, "clock", text)
}

/// Nothing is removed because nobody says what time it is; where the server says so itself, the difference is told.
fn trouble_with_time(site: &SharedSite, now: DateTime<Utc>) -> Option<Trouble> {
    let why = site.clocks.doubt().filter(|why| !matches!(why, clock::Implausible::Apart { .. }))?;
    let (code, pool, text) = ("clock".to_owned(), Some(site.name().to_owned()), clocks::told(site, &why));
    Some(Trouble { weight: Weight::Critical, code, since: now, pool, policy: None, run: None, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_not_reached_is_trouble_after_a_while_and_one_that_is_lost_at_once() {
        let at = |second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let code = |phase, now| trouble_of(&unknown("lab", phase, Some(at(0))), at(now)).map(|trouble| trouble.code);
        assert_eq!(code(Phase::Connecting, 120), None);
        assert_eq!(code(Phase::Connecting, 121).as_deref(), Some("unreachable"));
        assert_eq!(code(Phase::Unreachable, 0).as_deref(), Some("unreachable"));
        assert_eq!(code(Phase::Connected, 1000), None);
    }

    #[test]
    fn a_clock_is_trouble_from_a_minute_on() {
        let pool = |ahead| PoolStatus { clock_ahead_seconds: Some(ahead), ..unknown("lab", Phase::Connected, None) };
        assert_eq!(trouble_of(&pool(60.0), DateTime::UNIX_EPOCH), None);
        let far = trouble_of(&pool(3600.0), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(far.weight, Weight::Critical);
        assert_eq!(
            far.text,
            "the clock of pool lab is 3600 s ahead of ours; make both follow NTP; nothing is removed of it before"
        );
        let text = trouble_of(&pool(-61.0), DateTime::UNIX_EPOCH).unwrap().text;
        assert_eq!(text, "the clock of pool lab is 61 s behind ours; make both follow NTP");
    }
}
