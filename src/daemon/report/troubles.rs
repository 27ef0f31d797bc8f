//! What is wrong and since when, as far as the history tells. Something is wrong as long as nothing that came after it put it right: a
//! run that failed until one of the same policy on the same pool has succeeded, a slot that was missed until one has.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::daemon::alarms::UNDELIVERED;
use crate::engine::consent;
use crate::engine::error::Result;
use crate::store::{
    Approval, ApprovalState, Delivery, DeliveryState, JobState, Outcome, Page, RunFilter, RunId, SlotFilter, SlotState, Store,
};

/// The code of what is left that nobody works on.
pub(super) const ORPHANS: &str = "orphans";

/// What is older is history.
const LOOKED_BACK: TimeDelta = TimeDelta::days(31);

/// So many of each kind are looked at.
const MOST: u32 = 500;

/// What was given up longer ago is history.
const GIVEN_UP_TOLD: TimeDelta = TimeDelta::days(7);

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Somebody should look at it.
    Warning,
    /// A promise is broken.
    Critical,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How much it matters.
    pub weight: Weight,
    /// A short code that stays the same over versions.
    pub code: String,
    /// Since when, as far as is known.
    pub since: DateTime<Utc>,
    /// The pool's name.
    pub pool: Option<String>,
    /// The policy's id.
    pub policy: Option<String>,
    /// The newest run that it is about; told inside the service only.
    #[serde(skip)]
    pub run: Option<RunId>,
    /// One sentence.
    pub text: String,
}

type Key = (String, Uuid);

/// What the history says is wrong, the worst first, then the oldest.
///
/// # Errors
/// When it cannot be read.
pub async fn troubles(store: &Store, now: DateTime<Utc>) -> Result<Vec<Trouble>> {
    let pools: BTreeMap<Uuid, String> = store.pools().await?.into_iter().map(|pool| (pool.uuid, pool.name)).collect();
    let known: Vec<String> = store
        .policies()
        .await?
        .into_iter()
        .filter(|policy| policy.removed.is_none() && policy.enabled)
        .map(|policy| policy.id)
        .collect();
    let mut all = runs(store, now, &pools, &known).await?;
    all.extend(missed(store, now, &pools, &known).await?);
    all.extend(questions(store, &pools).await?);
    all.extend(unresolved(store, &pools).await?);
    all.extend(undelivered(store, now).await?);
    for (uuid, name) in &pools {
        let orphans = store.orphans(*uuid).await?;
        if let Some(since) = orphans.iter().map(|removal| removal.finished_at.unwrap_or(removal.planned_at)).min() {
            let text = format!("{} removals could not be brought to their end; `xensnap orphans` says what to do", orphans.len());
            all.push(Trouble {
                weight: Weight::Warning,
                code: ORPHANS.into(),
                since,
                pool: Some(name.clone()),
                policy: None,
                run: None,
                text,
            });
        }
    }
    sort(&mut all);
    Ok(all)
}

/// The worst first, then the oldest.
pub(super) fn sort(all: &mut [Trouble]) {
    all.sort_by(|one, other| other.weight.cmp(&one.weight).then(one.since.cmp(&other.since)).then(one.text.cmp(&other.text)));
}

/// The newest run of the policy on the pool that did what it should.
async fn last_good(store: &Store, key: &Key) -> Result<Option<DateTime<Utc>>> {
    let filter =
        RunFilter { policy: Some(key.0.clone()), pool: Some(key.1), outcome: Some(Outcome::Succeeded), ..RunFilter::default() };
    Ok(store.runs(filter, Page::first(1)).await?.rows.first().map(|run| run.due_at))
}

/// Policies whose newest runs did not do what they should.
async fn runs(store: &Store, now: DateTime<Utc>, pools: &BTreeMap<Uuid, String>, known: &[String]) -> Result<Vec<Trouble>> {
    let mut bad: BTreeMap<Key, Vec<crate::store::Run>> = BTreeMap::new();
    for outcome in [Outcome::Failed, Outcome::Partial] {
        let filter = RunFilter { outcome: Some(outcome), from: Some(now - LOOKED_BACK), ..RunFilter::default() };
        for run in store.runs(filter, Page::first(MOST)).await?.rows.into_iter().filter(|run| known.contains(&run.policy)) {
            bad.entry((run.policy.clone(), run.pool)).or_default().push(run);
        }
    }
    let mut all = Vec::new();
    for (key, mut runs) in bad {
        let good = last_good(store, &key).await?;
        runs.retain(|run| good.is_none_or(|good| run.due_at > good));
        runs.sort_by_key(|run| run.due_at);
        let (Some(first), Some(newest)) = (runs.first(), runs.last()) else { continue };
        let failed = newest.outcome == Some(Outcome::Failed);
        let times = if runs.len() == 1 { String::new() } else { format!(", {} runs in a row", runs.len()) };
        let text = format!(
            "policy {}: run {} {}, {} of {} VMs without a snapshot{times}; `xensnap show {}`",
            newest.policy_name,
            newest.id,
            newest.outcome.map_or("", Outcome::as_str),
            newest.failed + newest.skipped,
            newest.jobs,
            newest.id
        );
        all.push(Trouble {
            weight: if failed { Weight::Critical } else { Weight::Warning },
            code: if failed { "run-failed" } else { "run-partial" }.into(),
            since: first.due_at,
            pool: pools.get(&key.1).cloned(),
            policy: Some(key.0),
            run: Some(newest.id),
            text,
        });
    }
    Ok(all)
}

/// Policies that missed a slot and had no good run since.
async fn missed(store: &Store, now: DateTime<Utc>, pools: &BTreeMap<Uuid, String>, known: &[String]) -> Result<Vec<Trouble>> {
    let filter = SlotFilter { state: Some(SlotState::Missed), from: Some(now - LOOKED_BACK), ..SlotFilter::default() };
    let mut slots: BTreeMap<Key, Vec<crate::store::Slot>> = BTreeMap::new();
    for slot in store.slots(filter, Page::first(MOST)).await?.rows.into_iter().filter(|slot| known.contains(&slot.policy)) {
        slots.entry((slot.policy.clone(), slot.pool)).or_default().push(slot);
    }
    let mut all = Vec::new();
    for (key, mut slots) in slots {
        let good = last_good(store, &key).await?;
        slots.retain(|slot| good.is_none_or(|good| slot.due_at > good));
        slots.sort_by_key(|slot| slot.due_at);
        let (Some(first), Some(newest)) = (slots.first(), slots.last()) else { continue };
        let text = format!(
            "policy {}: {} missed and none made up for since; the newest: {}",
            newest.policy_name,
            counted(slots.len()),
            newest.detail
        );
        let (pool, code) = (pools.get(&key.1).cloned(), "missed".into());
        all.push(Trouble { weight: Weight::Critical, code, since: first.due_at, pool, policy: Some(key.0), run: None, text });
    }
    Ok(all)
}

fn counted(slots: usize) -> String {
    if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") }
}

/// Prunings that wait for a person.
async fn questions(store: &Store, pools: &BTreeMap<Uuid, String>) -> Result<Vec<Trouble>> {
    // The snapshots of a policy that is in no file stay, so that nobody is asked about them.
    let gone: Vec<String> =
        store.policies().await?.into_iter().filter(|policy| policy.removed.is_some()).map(|policy| policy.id).collect();
    let mut open: BTreeMap<Key, Vec<Approval>> = BTreeMap::new();
    for approval in store.approvals(ApprovalState::Pending).await?.into_iter().filter(|open| !gone.contains(&open.policy)) {
        open.entry((approval.policy.clone(), approval.pool)).or_default().push(approval);
    }
    Ok(open.into_iter().filter_map(|(key, questions)| question(key, &questions, pools)).collect())
}

fn question(key: Key, questions: &[Approval], pools: &BTreeMap<Uuid, String>) -> Option<Trouble> {
    let since = questions.iter().map(|question| question.asked_at).min()?;
    let newest = questions.iter().max_by_key(|question| question.id)?;
    let snapshots: usize = questions.iter().map(|question| consent::listed(question).len()).sum();
    let vms = if questions.len() == 1 { "1 VM".to_owned() } else { format!("{} VMs", questions.len()) };
    let (why, agree) = (consent::why(newest), consent::agree(&key.0, newest.run));
    let text = format!("policy {}: the removal of {snapshots} snapshots of {vms} waits for a person: {why}; {agree}", key.0);
    let (pool, code) = (pools.get(&key.1).cloned(), "approval".into());
    Some(Trouble { weight: Weight::Warning, code, since, pool, policy: Some(key.0), run: newest.run, text })
}

/// Calls of which nobody knows how they ended.
async fn unresolved(store: &Store, pools: &BTreeMap<Uuid, String>) -> Result<Vec<Trouble>> {
    let jobs = store.unfinished_jobs().await?;
    let trouble = |job: crate::store::Job| {
        let text = format!(
            "policy {}: nobody knows whether VM {} has its snapshot; `xensnap show {}`",
            job.policy_name, job.vm_name, job.run
        );
        let pool = pools.get(&job.pool).cloned();
        Trouble {
            weight: Weight::Critical,
            code: "unresolved".into(),
            since: job.changed_at,
            pool,
            policy: Some(job.policy),
            run: Some(job.run),
            text,
        }
    };
    Ok(jobs.into_iter().filter(|job| job.state == JobState::Unresolved).map(trouble).collect())
}

/// Channels through which nobody is told.
async fn undelivered(store: &Store, now: DateTime<Utc>) -> Result<Vec<Trouble>> {
    let mut channels: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    for delivery in store.deliveries(now - GIVEN_UP_TOLD, MOST).await? {
        channels.entry(delivery.channel.clone()).or_default().push(delivery);
    }
    // The newest stand first, and one that arrived puts right what was before it.
    Ok(channels.into_values().filter_map(|deliveries| of_channel(&deliveries)).collect())
}

fn of_channel(deliveries: &[Delivery]) -> Option<Trouble> {
    let since_good: Vec<&Delivery> = deliveries.iter().take_while(|one| one.state != DeliveryState::Delivered).collect();
    let lost = |one: &&&Delivery| one.state == DeliveryState::GivenUp;
    let (given_up, waiting): (Vec<&&Delivery>, Vec<&&Delivery>) = since_good.iter().partition(lost);
    let tried: Vec<&&&Delivery> = waiting.iter().filter(|one| one.state == DeliveryState::Waiting && one.attempts > 1).collect();
    let failed: Vec<&Delivery> = given_up.iter().map(|one| **one).chain(tried.iter().map(|one| ***one)).collect();
    let newest = failed.iter().max_by_key(|one| one.id)?;
    let text = format!(
        "{} about alarms did not arrive through {}: {}; `xensnap alarms` lists them",
        if failed.len() == 1 { "1 message".to_owned() } else { format!("{} messages", failed.len()) },
        newest.channel,
        newest.error.as_deref().unwrap_or("nobody knows why")
    );
    Some(Trouble {
        weight: if given_up.is_empty() { Weight::Warning } else { Weight::Critical },
        code: UNDELIVERED.into(),
        since: failed.iter().map(|one| one.created_at).min()?,
        pool: None,
        policy: None,
        run: None,
        text,
    })
}
