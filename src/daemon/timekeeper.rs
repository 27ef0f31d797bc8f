//! When something is due, and the claim. One line for each policy on each pool; a queue says which line has to be looked at next. What
//! came due at the same moment is claimed in one transaction, so that ten thousand policies due at midnight do not wait for one
//! another's disk.
//!
//! A pool that was not reached yet has no lines: what came due meanwhile is decided, late or missed, when it is reached. The wall clock
//! may step, so no sleep is long, and a claimed slot stays claimed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Daemon;
use super::alarms::Pulse;
use super::notify::Manager;
use super::plan::Plan;
use super::runs::{Runs, Start};
use super::status::Coming;
use crate::clock::SharedClock;
use crate::domain::id::{PolicyId, PoolUuid};
use crate::domain::pause::{self, Pause};
use crate::domain::policy::Policy;
use crate::domain::schedule::{Decision, Missed, Progress, Skipped, Verdict};
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::engine::wishes::Wishes;
use crate::engine::worker::Worker;
use crate::store::{Claim, Cursor, EventKind, NewSlot, Origin, SlotState, Store};
use crate::telemetry::Fact;

/// By so much the schedules may have come further than the clock: a clock that is corrected a little goes back.
const AHEAD: TimeDelta = TimeDelta::minutes(10);

/// So many claims go into one transaction.
const TOGETHER: usize = 500;

type Key = (PolicyId, PoolUuid);

/// Decides slots as they come due.
pub(super) struct Timekeeper {
    clock: SharedClock,
    store: Store,
    plan: watch::Receiver<Arc<Plan>>,
    arrivals: mpsc::Receiver<Moved>,
    runs: Runs,
    wishes: Arc<Wishes>,
    stop: CancellationToken,
    sites: Vec<SharedSite>,
    lines: HashMap<Key, Line>,
    queue: BinaryHeap<Reverse<(DateTime<Utc>, Key)>>,
    manager: Manager,
    coming: watch::Sender<Option<Coming>>,
    pulse: Pulse,
}

/// One policy on one pool.
struct Line {
    policy: Arc<Policy>,
    site: SharedSite,
    counts_from: DateTime<Utc>,
    last_claimed: Option<DateTime<Utc>>,
    /// When to look; an entry of the queue with another time is an old one.
    wake_at: DateTime<Utc>,
}

/// A decision that is to be written down.
struct Due {
    key: Key,
    slot: NewSlot,
    runs: bool,
}

impl Due {
    /// What is paused does not run, whatever was decided.
    fn unless_paused(mut self, pauses: &[Pause], now: DateTime<Utc>) -> Self {
        let (policy_and_pool, due_at) = ((&self.key.0, self.key.1.0), self.slot.due_at);
        if !self.runs && self.slot.state != SlotState::Missed {
            return self;
        }
        let looked_at = if self.runs { now } else { due_at };
        if let Some(paused) = pause::of_slot(pauses, policy_and_pool, due_at, looked_at) {
            self.slot.state = SlotState::Skipped;
            "paused".clone_into(&mut self.slot.reason);
            self.slot.detail = paused.to_string();
            self.runs = false;
        }
        self
    }
}

impl Timekeeper {
    pub(super) fn new(daemon: &Daemon, arrivals: mpsc::Receiver<Moved>) -> Self {
        Self {
            clock: daemon.clock.clone(),
            store: daemon.store.clone(),
            plan: daemon.plan.subscribe(),
            arrivals,
            runs: daemon.runs.clone(),
            wishes: Arc::clone(&daemon.wishes),
            stop: daemon.stop.clone(),
            sites: Vec::new(),
            lines: HashMap::new(),
            queue: BinaryHeap::new(),
            manager: daemon.manager.clone(),
            coming: daemon.coming.clone(),
            pulse: daemon.desk.pulse.clone(),
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let mut worker = Worker::new(&self.clock);
        let mut latest = self.clock.now();
        loop {
            if self.clock.now() + AHEAD < latest {
                self.lay_out().await?;
                latest = self.clock.now();
            }
            latest = latest.max(self.clock.now());
            self.decide().await?;
            self.tell();
            let now = self.clock.now();
            let next = self.queue.peek().map(|Reverse((at, _))| (*at - now).to_std().unwrap_or_default());
            let look = self.plan.borrow().times.look_every;
            let look = self.manager.beat().map_or(look, |beat| look.min(beat));
            let sleep = self.clock.sleep(next.unwrap_or(look).min(look));
            let news = {
                let (arrivals, plan, stop) = (&mut self.arrivals, &mut self.plan, &self.stop);
                let news = async move {
                    tokio::select! {
                        () = stop.cancelled() => News::Stop,
                        Some(moved) = arrivals.recv() => News::Site(moved),
                        Ok(()) = plan.changed() => News::Plan,
                        () = sleep => News::Time,
                    }
                };
                worker.wait(news).await
            };
            match news {
                News::Stop => return Ok(()),
                News::Time => {}
                News::Site(Moved::Came(site)) => self.arrive(site).await?,
                News::Site(Moved::Left(pool)) => {
                    self.sites.retain(|known| known.name() != pool);
                    self.lay_out().await?;
                }
                News::Plan => self.lay_out().await?,
            }
        }
    }

    /// That the loop came round, and what is due next. An entry whose line has another time by now is not it.
    fn tell(&mut self) {
        self.manager.alive();
        self.pulse.beat(self.clock.elapsed());
        while let Some(Reverse((at, key))) = self.queue.peek()
            && self.lines.get(key).is_none_or(|line| line.wake_at != *at)
        {
            self.queue.pop();
        }
        let next = self.queue.peek().filter(|Reverse((at, _))| *at < DateTime::<Utc>::MAX_UTC);
        let coming = next.and_then(|Reverse((at, key))| {
            let policy = &self.lines.get(key)?.policy;
            Some(Coming { policy: policy.id.to_string(), at: *at, zone: policy.schedule.zone().clone() })
        });
        self.coming.send_if_modified(|known| std::mem::replace(known, coming.clone()) != coming);
    }

    /// A pool was reached and compared with the history.
    async fn arrive(&mut self, site: SharedSite) -> Result<()> {
        self.sites.retain(|known| known.name() != site.name());
        self.sites.push(Arc::clone(&site));
        self.lay_out().await?;
        // Whoever takes over does not start: he goes on.
        if site.takes_over().is_some() { Ok(()) } else { self.on_start(&site).await }
    }

    /// Makes a line for each policy on each pool, as the history says how far it has come.
    async fn lay_out(&mut self) -> Result<()> {
        let plan = Arc::clone(&self.plan.borrow_and_update());
        self.lines.clear();
        self.queue.clear();
        for site in &self.sites {
            let policies: Vec<Arc<Policy>> = plan.enabled_on(site.name()).cloned().collect();
            let ids = policies.iter().map(|policy| policy.id.to_string()).collect();
            self.store.start_cursors(site.uuid.0, ids, self.clock.now()).await?;
            let mut cursors = self.store.cursors().await?;
            if self.take_back(site, &cursors).await? {
                cursors = self.store.cursors().await?;
            }
            let cursors: HashMap<&str, _> = cursors
                .iter()
                .filter(|cursor| cursor.pool == site.uuid.0)
                .map(|cursor| (cursor.policy.as_str(), cursor))
                .collect();
            for policy in policies {
                let Some(cursor) = cursors.get(policy.id.as_str()) else { continue };
                let wake_at = policy.schedule.next_after(cursor.after()).unwrap_or(DateTime::<Utc>::MAX_UTC);
                let key = (policy.id.clone(), site.uuid);
                self.queue.push(Reverse((wake_at, key.clone())));
                let (counts_from, last_claimed) = (cursor.counts_from, cursor.last_due);
                self.lines.insert(key, Line { policy, site: Arc::clone(site), counts_from, last_claimed, wake_at });
            }
        }
        Ok(())
    }

    /// Where the schedules have come further than the clock, the clock was ahead and is not any more. What it made us decide would keep
    /// policies from firing until it is that time again. True if something was taken back.
    async fn take_back(&self, site: &SharedSite, cursors: &[Cursor]) -> Result<bool> {
        let now = self.clock.now();
        let mut mine = cursors.iter().filter(|cursor| cursor.pool == site.uuid.0);
        let Some(ahead) = mine.find(|cursor| cursor.last_due.is_some_and(|due| due > now + AHEAD)) else { return Ok(false) };
        let until = ahead.last_due.unwrap_or(now).to_rfc3339_opts(SecondsFormat::Secs, true);
        let taken_back = self.store.take_back(site.uuid.0, now).await?;
        let text = format!(
            "the clock went back: due times until {until} had been decided, by a clock that was ahead; {taken_back} of them had no run \
             and are decided anew when they come"
        );
        site.note(site.event(EventKind::ClockSetBack, text)).await?;
        Ok(true)
    }

    /// Decides everything that is due now.
    async fn decide(&mut self) -> Result<()> {
        loop {
            let due = self.collect();
            if due.is_empty() {
                return Ok(());
            }
            for together in due.chunks(TOGETHER) {
                self.claim(together).await?;
            }
        }
    }

    /// Takes the lines off the queue whose time has come, and what is to be decided about them.
    fn collect(&mut self) -> Vec<Due> {
        let now = self.clock.now();
        let pauses = self.wishes.pauses();
        let mut due = Vec::new();
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, key))) = self.queue.pop() else { break };
            let Some(line) = self.lines.get_mut(&key).filter(|line| line.wake_at == at) else { continue };
            let running = self.runs.running(&key.0, key.1.0);
            let progress = Progress { counts_from: line.counts_from, last_claimed: line.last_claimed, running };
            let agenda = line.policy.schedule.agenda(&progress, now);
            if let Some(last) = agenda.decisions.last() {
                line.last_claimed = Some(last.due_at);
            }
            line.wake_at = agenda.wake_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            if agenda.decisions.is_empty() && line.wake_at <= now {
                // Nothing to decide and nothing to wait for: the expression has no next time.
                line.wake_at = now + Duration::from_secs(60);
            }
            self.queue.push(Reverse((line.wake_at, key.clone())));
            let slots = agenda.decisions.into_iter().map(|decision| {
                let slot = slot(&key, &decision, Origin::Schedule);
                let due = Due { slot, runs: decision.verdict.runs(), key: key.clone() };
                due.unless_paused(&pauses, now)
            });
            due.extend(slots);
        }
        due
    }

    /// Writes decisions down and starts the runs that were won.
    async fn claim(&mut self, due: &[Due]) -> Result<()> {
        let slots = due.iter().map(|due| due.slot.clone()).collect();
        let claims = self.store.claim_all(slots, self.clock.now()).await?;
        for (due, claim) in due.iter().zip(claims) {
            let Some(line) = self.lines.get(&due.key) else { continue };
            let late = (self.clock.now() - due.slot.due_at).to_std().unwrap_or_default();
            line.site.metrics.slot_decided(line.site.name(), &due.slot.reason, due.runs.then_some(late));
            if !due.runs {
                say(line, &due.slot);
            }
            if let (true, Claim::Won(id)) = (due.runs, claim) {
                self.runs.start(&line.site, &line.policy, due.slot.due_at, Start::Slot(id));
            }
        }
        Ok(())
    }

    /// The extra slot of policies that ask for one when the service starts.
    async fn on_start(&mut self, site: &SharedSite) -> Result<()> {
        let now = self.clock.now();
        let mine: Vec<Key> = self.lines.keys().filter(|(_, pool)| *pool == site.uuid).cloned().collect();
        let mut due = Vec::new();
        for key in mine {
            let Some(mut decision) = self.lines.get(&key).and_then(|line| line.policy.schedule.on_start(now)) else { continue };
            if let Some(running) = self.runs.running(&key.0, key.1.0).filter(|_| decision.verdict.runs()) {
                decision.verdict = Verdict::Skipped(Skipped::Overlap { running });
            }
            let start = Due { slot: slot(&key, &decision, Origin::Start), runs: decision.verdict.runs(), key };
            due.push(start.unless_paused(&self.wishes.pauses(), now));
        }
        self.claim(&due).await
    }
}

/// Tells of a slot that does not run.
fn say(line: &Line, slot: &NewSlot) {
    let missed = slot.state == SlotState::Missed;
    let kind = if missed { EventKind::SlotMissed } else { EventKind::SlotSkipped };
    let fact = Fact::new(kind).pool(line.site.name()).named_policy(line.policy.id.as_str(), &line.policy.name);
    let due = slot.due_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    fact.slot(slot.due_at).say(&format!("policy {}, due {due}: {}", line.policy.name, slot.detail));
}

/// What becomes of a pool.
#[derive(Debug)]
pub(super) enum Moved {
    /// It is worked with from now on.
    Came(SharedSite),
    /// Another daemon works with the pool of this name.
    Left(String),
}

enum News {
    Stop,
    Site(Moved),
    Plan,
    Time,
}

/// A decision as a row.
fn slot(key: &Key, decision: &Decision, origin: Origin) -> NewSlot {
    let state = match &decision.verdict {
        Verdict::Run { .. } if decision.verdict.code() == "on-time" => SlotState::Claimed,
        Verdict::Run { .. } => SlotState::Late,
        Verdict::Missed(Missed::TooLate { .. } | Missed::Superseded { .. } | Missed::NeverOpened(_)) => SlotState::Missed,
        Verdict::Skipped(Skipped::Overlap { .. }) => SlotState::Overlapped,
        Verdict::Skipped(Skipped::Closed(_)) => SlotState::Skipped,
    };
    NewSlot {
        policy: key.0.to_string(),
        pool: key.1.0,
        due_at: decision.due_at,
        origin,
        state,
        reason: decision.verdict.code().to_owned(),
        detail: decision.verdict.to_string(),
    }
}
