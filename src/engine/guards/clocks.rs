//! What the clocks of a pool's server and of ours say, and since when they contradict one another. The server is asked before something
//! is removed, but not for each snapshot: as long as our own clock goes on evenly, an answer holds for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::error::Result;
use super::super::site::Site;
use super::super::worker::Worker;
use crate::domain::guard::clock::{Implausible, Witnesses, judge};
use crate::store::{Cause, EventKind, Page, RunFilter};
use crate::xenapi::calls;
use crate::xenapi::types::Ref;

/// How long a server may take to say what time it is.
const ANSWERS: Duration = Duration::from_secs(5);

/// How long an answer holds while things are removed.
const AT_WORK: Duration = Duration::from_secs(300);

/// How long it holds where nothing depends on it at once.
const AT_REST: Duration = Duration::from_secs(3600);

/// So soon is asked again while the clocks contradict one another.
const IN_DOUBT: Duration = Duration::from_secs(30);

/// So much may our clock gain or lose on itself before it has stepped.
const STEP: TimeDelta = TimeDelta::seconds(30);

/// That the clocks agreed is written down so often.
const KEPT_EVERY: TimeDelta = TimeDelta::hours(1);

/// What is known of the clocks of a pool.
#[derive(Debug, Default)]
pub struct Clocks {
    known: Mutex<Known>,
    /// Whoever asks the server; others wait for the answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    looked: Option<Look>,
    agreed: Option<DateTime<Utc>>,
}

/// What a look found, and when by either of our clocks.
#[derive(Debug, Clone, Copy)]
struct Look {
    elapsed: Duration,
    now: DateTime<Utc>,
    found: Option<Implausible>,
}

impl Clocks {
    /// Why nothing is removed, by what was found last.
    pub fn doubt(&self) -> Option<Implausible> {
        self.lock().looked.and_then(|look| look.found)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found last, if it holds still.
    fn holds(&self, site: &Site, good_for: Duration) -> Option<Option<Implausible>> {
        let look = self.lock().looked?;
        let (elapsed, passed) = (site.clock.elapsed().saturating_sub(look.elapsed), site.now() - look.now);
        let even = (passed - TimeDelta::from_std(elapsed).ok()?).abs() <= STEP;
        let good_for = if look.found.is_some() { IN_DOUBT } else { good_for };
        (even && elapsed < good_for).then_some(look.found)
    }
}

/// Why nothing may be removed now; asks the server unless it did so lately.
///
/// # Errors
/// When the history cannot be kept.
pub async fn doubt(worker: &mut Worker, site: &Site) -> Result<Option<Implausible>> {
    doubt_within(worker, site, AT_WORK).await
}

/// The same, for what is done from time to time and destroys nothing in the pool.
///
/// # Errors
/// When the history cannot be kept.
pub async fn doubt_at_rest(worker: &mut Worker, site: &Site) -> Result<Option<Implausible>> {
    doubt_within(worker, site, AT_REST).await
}

async fn doubt_within(worker: &mut Worker, site: &Site, good_for: Duration) -> Result<Option<Implausible>> {
    if let Some(found) = site.clocks.holds(site, good_for) {
        return Ok(found);
    }
    let _asking = worker.wait(site.clocks.asking.lock()).await;
    if let Some(found) = site.clocks.holds(site, good_for) {
        return Ok(found);
    }
    look(worker, site).await
}

async fn look(worker: &mut Worker, site: &Site) -> Result<Option<Implausible>> {
    let server = ahead(worker, site).await.map(|ahead| site.now() + ahead);
    let now = site.now();
    let (newest, agreed) = told_by_history(site).await?;
    let found = judge(&Witnesses { now, server, newest, agreed }).err();
    if server.is_some() && found.is_none() {
        agree(site, agreed, now).await?;
    }
    let look = Look { elapsed: site.clock.elapsed(), now, found };
    let before = site.clocks.lock().looked.replace(look).and_then(|before| before.found);
    match (before, found) {
        (None, Some(why)) => site.note(site.event(EventKind::ClockImplausible, told(site, &why))).await?,
        (Some(_), None) => {
            let text = format!(
                "the clock of pool {} and ours agree again; what retention does not keep goes with the next run",
                site.name()
            );
            site.note(site.event(EventKind::ClockAgrees, text)).await?;
        }
        _ => {}
    }
    Ok(found)
}

/// What the history says: the newest time that it knows of, and when the clocks agreed last.
async fn told_by_history(site: &Site) -> Result<(Option<DateTime<Utc>>, Option<DateTime<Utc>>)> {
    let filter = RunFilter { pool: Some(site.uuid.0), ..RunFilter::default() };
    let newest = site.store.runs(filter, Page::first(1)).await?.rows.first().map(|run| run.started_at);
    let known = site.clocks.lock().agreed;
    let agreed = match known {
        Some(agreed) => Some(agreed),
        None => site.store.kept(&note(site)).await?.as_ref().and_then(Value::as_str).and_then(|at| at.parse().ok()),
    };
    Ok((newest, agreed))
}

/// Writes down that the clocks agree, from time to time.
async fn agree(site: &Site, before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<()> {
    if before.is_none_or(|before| (now - before).abs() >= KEPT_EVERY) {
        site.store.keep(&note(site), &json!(now.to_rfc3339()), now).await?;
        site.clocks.lock().agreed = Some(now);
    }
    Ok(())
}

/// The note of when the clocks agreed last.
fn note(site: &Site) -> String {
    format!("clocks-agreed/{}", site.uuid)
}

/// Why nothing is removed of a pool, and what to do about it.
pub fn told(site: &Site, why: &Implausible) -> String {
    format!("nothing is removed of pool {}: {why}; set the clocks right, and let both follow NTP", site.name())
}

/// The same as the cause of what is not done.
pub fn cause(site: &Site, why: &Implausible) -> Cause {
    Cause::new(EventKind::ClockImplausible.as_str(), told(site, why))
}

/// By how much the server's clock is ahead of ours, to the second that it tells; nothing if it does not say.
pub async fn ahead(worker: &mut Worker, site: &Site) -> Option<TimeDelta> {
    let master = Ref::new(&site.pool.incarnation()?.master);
    let before = site.now();
    let late = site.clock.sleep(ANSWERS);
    let asked = site.pool.call(calls::host::get_servertime(&master));
    let told = async {
        tokio::select! { told = asked => told.ok(), () = late => None }
    };
    let theirs = worker.wait(told).await?.get();
    let ours = before + (site.now() - before) / 2;
    Some(theirs - ours)
}
