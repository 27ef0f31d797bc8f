//! One pool, for as long as the service lives: it is reached, compared with the history, and only then handed to the others; what an
//! earlier life began is gone on with; and whenever the server may have forgotten something, it is compared again before anything is
//! removed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Daemon;
use super::chores;
use super::plan::{Plan, PlannedPool};
use super::reach::{Phase, Reaches};
use super::runs::{Runs, Start};
use super::timekeeper::Moved;
use crate::clock::SharedClock;
use crate::domain::id::PoolUuid;
use crate::domain::policy::Policy;
use crate::engine::admission::Admission;
use crate::engine::barrier::{Barrier, Settings as BarrierSettings};
use crate::engine::error::Result;
use crate::engine::guards::{Allowances, Clocks, Promises};
use crate::engine::lease::{Home, Reconsidered, Succession, Tenure, TenureSettings, slots_to_reconsider};
use crate::engine::orphans;
use crate::engine::others;
use crate::engine::reconcile::{self, Doubt, Findings};
use crate::engine::site::{CLASSES, SharedSite, Site, start_of};
use crate::engine::wishes::Wishes;
use crate::engine::worker::Worker;
use crate::store::{EventKind, Member, Outcome, Page, PoolSeen, Run, RunFilter, Store};
use crate::telemetry::Fact;
use crate::telemetry::metrics::Metrics;
use crate::xenapi::inventory::Follows;
use crate::xenapi::records::Host;
use crate::xenapi::types::Ref;
use crate::xenapi::{Incarnation, Inventory, Pool, error};

/// Between attempts at a pool that refuses us: somebody has to correct something first.
const REFUSED: Duration = Duration::from_secs(60);

/// How often it is looked who else takes snapshots.
const OTHERS_EVERY: Duration = Duration::from_secs(6 * 3600);

/// How long to wait for all of a pool at once.
const READING: Duration = Duration::from_secs(600);

/// Keeps one pool.
pub(super) struct Keeper {
    pub(super) pool: PlannedPool,
    pub(super) clock: SharedClock,
    pub(super) store: Store,
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    runs: Runs,
    pub(super) stop: CancellationToken,
    arrive: mpsc::Sender<Moved>,
    sites: watch::Sender<Vec<SharedSite>>,
    wishes: Arc<Wishes>,
    reaches: Reaches,
    metrics: Metrics,
    /// Whether it also puts right what is left, and tells of others; a service that only answers a verb does not.
    tends: bool,
    home: Home,
}

/// A pool that was reached.
pub(super) struct Reached {
    pub(super) pool: Pool,
    pub(super) uuid: PoolUuid,
    pub(super) inventory: Inventory,
}

/// Why a pool is not worked with any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The service stops.
    Stopped,
    /// Another daemon has the lease.
    Lost,
}

enum News {
    Stop,
    Server,
    Untrusted,
    Lost,
    Shown,
    Chores,
}

impl Keeper {
    pub(super) fn new(pool: PlannedPool, daemon: &Daemon, arrive: mpsc::Sender<Moved>) -> Self {
        Self {
            pool,
            clock: daemon.clock.clone(),
            store: daemon.store.clone(),
            plan: daemon.plan.subscribe(),
            runs: daemon.runs.clone(),
            stop: daemon.stop.clone(),
            arrive,
            sites: daemon.sites.clone(),
            wishes: Arc::clone(&daemon.wishes),
            reaches: daemon.desk.reaches.clone(),
            metrics: daemon.metrics.clone(),
            tends: daemon.timekeeping,
            home: daemon.home.clone(),
        }
    }

    pub(super) async fn run(self) -> Result<()> {
        let mut worker = Worker::new(&self.clock);
        self.stands(Phase::Connecting, None);
        let Some(reached) = self.reach(&mut worker).await? else { return Ok(()) };
        let tenure = Arc::new(self.tenure(&reached));
        loop {
            let Some(turn) = self.our_turn(&mut worker, &reached, &tenure).await? else {
                worker.wait(reached.pool.logout()).await;
                return Ok(());
            };
            let site = Arc::new(self.site(&reached, &tenure, turn.succession));
            match self.work(&mut worker, &site).await? {
                Left::Stopped => return Ok(()),
                Left::Lost => self.step_down(&mut worker, &site).await?,
            }
        }
    }

    /// The lease of the pool, from now on.
    fn tenure(&self, reached: &Reached) -> Tenure {
        let plan = Arc::clone(&self.plan.borrow());
        let settings = TenureSettings {
            installation: plan.installation.clone(),
            home: self.home.clone(),
            terms: plan.lease,
            pool: reached.uuid,
            inventory: reached.inventory.clone(),
            store: self.store.clone(),
        };
        Tenure::begin(&reached.pool, settings)
    }

    /// Works with the pool for as long as it is ours.
    async fn work(&self, worker: &mut Worker, site: &SharedSite) -> Result<Left> {
        self.stands(Phase::Comparing, None);
        let Some(incarnation) = site.pool.incarnation() else { return Ok(Left::Stopped) };
        let findings = match site.takes_over() {
            Some(succession) => self.succeed(worker, site, succession).await?,
            None => {
                let doubt = self.doubt(site, &incarnation).await?;
                reconcile::compare(worker, site, doubt).await?
            }
        };
        self.seen(site, &incarnation).await?;
        self.store.restore_settled().await?;
        self.resume(worker, site, &findings).await?;
        self.remember_successes(site).await?;
        let text = format!("the pool {} is worked with: master {}, {}", site.name(), incarnation.address, holdings(&findings));
        Fact::new(EventKind::PoolReached).pool(site.name()).say(&text);
        self.sites.send_modify(|sites| {
            sites.retain(|known| known.name() != site.name());
            sites.push(Arc::clone(site));
        });
        self.stands(Phase::Connected, None);
        if self.arrive.send(Moved::Came(Arc::clone(site))).await.is_err() {
            return Ok(Left::Stopped);
        }
        self.keep(worker, site, incarnation).await
    }

    /// Compares what another daemon left, and looks again at the newest slot of each policy that it may not have finished.
    async fn succeed(&self, worker: &mut Worker, site: &SharedSite, succession: &Succession) -> Result<Findings> {
        while !(site.shows_the_present(worker, READING).await && succession.is_shown(worker, site, READING).await) {
            tracing::warn!(pool = %site.name(), "the pool does not show yet what another daemon did; nothing is decided before it does");
        }
        let plan = Arc::clone(&self.plan.borrow());
        let policies: Vec<Arc<Policy>> = plan.enabled_on(site.name()).cloned().collect();
        let slots = slots_to_reconsider(site, policies.iter().map(|policy| &**policy), succession);
        let open = slots.iter().filter(|slot| !slot.is_complete).map(|slot| (slot.policy.clone(), slot.due_at)).collect();
        let findings = reconcile::compare_but(worker, site, Doubt::Successor, &open).await?;
        let from = |slot: &Reconsidered| (slot.policy.to_string(), slot.due_at);
        self.store.move_cursors(site.uuid.0, slots.iter().map(from).collect(), self.clock.now()).await?;
        succession.settled().keep(&self.store, site.uuid, self.clock.now()).await?;
        Ok(findings)
    }

    /// Another daemon has the lease: what has not begun is left, and nothing more is decided about the pool.
    async fn step_down(&self, worker: &mut Worker, site: &SharedSite) -> Result<()> {
        site.drain.cancel();
        self.sites.send_modify(|sites| sites.retain(|known| known.name() != site.name()));
        let _ = worker.wait(self.arrive.send(Moved::Left(site.name().to_owned()))).await;
        let text = format!(
            "another daemon of this installation works with the pool {} now; this one has stopped to act and stands by",
            site.name()
        );
        site.note(site.event(EventKind::LeaseLost, text)).await?;
        Ok(())
    }

    pub(super) fn stands(&self, phase: Phase, problem: Option<String>) {
        self.reaches.set(&self.pool.settings.name, phase, problem, self.clock.now());
    }

    /// Connects, however long that takes. Nothing if the service stops before.
    async fn reach(&self, worker: &mut Worker) -> Result<Option<Reached>> {
        loop {
            let settings = self.remembering().await?;
            let reached = async {
                tokio::select! { () = self.stop.cancelled() => None, reached = connect(settings, &self.clock) => Some(reached) }
            };
            match worker.wait(reached).await {
                None => return Ok(None),
                Some(Ok((pool, incarnation))) => match incarnation.pool_uuid.parse::<PoolUuid>() {
                    Ok(uuid) => {
                        let inventory = pool.inventory(&CLASSES);
                        worker.wait(inventory.ready(READING)).await;
                        return Ok(Some(Reached { pool, uuid, inventory }));
                    }
                    Err(error) => {
                        self.say_away(format!("it has no uuid that can be read: {error}"));
                    }
                },
                Some(Err(error)) => {
                    self.say_away(error::chain(&*error));
                }
            }
            let sleep = self.clock.sleep(REFUSED);
            let stopped = async {
                tokio::select! { () = self.stop.cancelled() => true, () = sleep => false }
            };
            if worker.wait(stopped).await {
                return Ok(None);
            }
        }
    }

    fn say_away(&self, why: String) {
        let name = &self.pool.settings.name;
        Fact::new(EventKind::PoolAway).pool(name).say(&format!("the pool {name} cannot be worked with; its slots wait: {why}"));
        self.stands(Phase::Unreachable, Some(why));
    }

    /// The settings with the members that the history knows: where to look for a master when the configured hosts are gone.
    async fn remembering(&self) -> Result<crate::xenapi::Settings> {
        let mut settings = self.pool.settings.clone();
        if let Some(uuid) = settings.pool_uuid.as_deref().and_then(|uuid| uuid.parse().ok())
            && let Some(known) = self.store.pool(uuid).await?
        {
            settings.members = known.members.iter().filter_map(|member| member.address.parse().ok()).collect();
        }
        Ok(settings)
    }

    /// Everything that work needs, for one time in which the pool is ours.
    fn site(&self, reached: &Reached, tenure: &Arc<Tenure>, succession: Option<Succession>) -> Site {
        let Reached { pool, uuid, inventory } = reached;
        let plan = Arc::clone(&self.plan.borrow());
        let barrier = BarrierSettings { at_most_every: plan.times.synchronise_every, ..BarrierSettings::default() };
        Site {
            installation: plan.installation.clone(),
            uuid: *uuid,
            barrier: Barrier::new(pool.clone(), barrier).beside(inventory.clone()),
            pool: pool.clone(),
            inventory: inventory.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            admission: Admission::new(self.pool.limits),
            pace: plan.pace,
            compared: watch::Sender::new(None),
            wishes: Arc::clone(&self.wishes),
            metrics: self.metrics.clone(),
            left: watch::Sender::new(Vec::new()),
            tenure: Arc::clone(tenure),
            succession,
            drain: self.stop.child_token(),
            said: std::sync::Mutex::default(),
            promises: Promises::default(),
            allowances: Allowances::default(),
            clocks: Clocks::default(),
            alone: crate::engine::alone::Alone::default(),
            backlog: crate::engine::backlog::Backlog::default(),
        }
    }

    /// Whether the server may have forgotten something since history and pool were last compared. What is not in the pool any more
    /// although the same server still runs, somebody has removed.
    async fn doubt(&self, site: &Site, incarnation: &Incarnation) -> Result<Doubt> {
        let before = self.store.pool(site.uuid.0).await?;
        let same = before.is_some_and(|before| {
            let (master, start) = (master(site, incarnation), &incarnation.agent_start_time);
            master.is_some() && before.master == master && start.is_some() && before.server_start == *start
        });
        Ok(if same { Doubt::None } else { Doubt::Server })
    }

    /// Writes down how the pool looks: who its members are, and with which life of its server the history agrees. So it is written
    /// after they have been compared: a life that ends before then leaves the next one in doubt.
    async fn seen(&self, site: &Site, incarnation: &Incarnation) -> Result<()> {
        let members = {
            let tables = site.inventory.read();
            let member = |host: &Arc<Host>| Member {
                uuid: host.uuid.get(),
                name: host.name_label.to_string(),
                address: host.address.to_string(),
            };
            tables.all::<Host>().map(|(_, host)| member(host)).collect::<Vec<Member>>()
        };
        let master = master(site, incarnation).unwrap_or_default();
        let server_start = start_of(incarnation);
        let seen = PoolSeen { uuid: site.uuid.0, name: site.name().to_owned(), members, master, server_start };
        self.store.see_pool(seen, self.clock.now()).await?;
        Ok(())
    }

    /// When each policy last did well, in whichever life.
    async fn remember_successes(&self, site: &Site) -> Result<()> {
        let policies: Vec<String> = self.plan.borrow().enabled_on(site.name()).map(|policy| policy.id.to_string()).collect();
        for policy in policies {
            for outcome in [Outcome::Succeeded, Outcome::Observed] {
                let filter = RunFilter {
                    policy: Some(policy.clone()),
                    pool: Some(site.uuid.0),
                    outcome: Some(outcome),
                    ..RunFilter::default()
                };
                let newest = self.store.runs(filter, Page::first(1)).await?.rows.pop().and_then(|run| run.finished_at);
                newest.into_iter().for_each(|at| self.metrics.succeeded(site.name(), &policy, at));
            }
        }
        Ok(())
    }

    /// Goes on with what earlier lives began.
    async fn resume(&self, worker: &mut Worker, site: &SharedSite, findings: &Findings) -> Result<()> {
        chores::bring_back(worker, site).await?;
        for slot in self.store.slots_without_run().await?.into_iter().filter(|slot| slot.pool == site.uuid.0) {
            let Some(policy) = self.policy(&slot.policy, &slot.policy_name) else { continue };
            self.runs.start(site, &policy, slot.due_at, Start::Slot(slot.id));
        }
        for run in self.store.unfinished_runs().await?.into_iter().filter(|run| run.pool == site.uuid.0) {
            self.again(site, run).await?;
        }
        if !findings.reopened.is_empty() {
            let text =
                format!("snapshots that the pool {} forgot are taken again, in {} runs", site.name(), findings.reopened.len());
            Fact::new(EventKind::TakenAgain).pool(site.name()).say(&text);
        }
        Ok(())
    }

    /// Drives a run that an earlier life began, or that has work again.
    async fn again(&self, site: &SharedSite, run: Run) -> Result<()> {
        let Some(policy) = self.policy(&run.policy, &run.policy_name) else { return Ok(()) };
        if self.plan.borrow().policy(&run.policy).is_none() {
            chores::cancel_queued(&self.store, &run, self.clock.now()).await?;
        }
        let jobs = self.store.jobs_of(run.id).await?;
        let mut open = jobs.iter().filter(|job| !job.state.is_final()).peekable();
        let is_over = open.peek().is_some() && open.all(|job| job.deadline <= self.clock.now());
        let (due_at, run) = (run.due_at, Box::new(run));
        self.runs.start(site, &policy, due_at, if is_over { Start::Over(run) } else { Start::Again(run) });
        Ok(())
    }

    /// The policy of this id; one that keeps everything if no file has it any more. Nothing for an id that is none.
    fn policy(&self, id: &str, name: &str) -> Option<Arc<Policy>> {
        if let Some(policy) = self.plan.borrow().policy(id) {
            return Some(Arc::clone(policy));
        }
        match id.parse() {
            Ok(id) => Some(Arc::new(Policy::keeping_everything(id, name))),
            Err(error) => {
                tracing::error!(policy_name = %name, %error, "the history names a policy by an id that cannot be; what was begun for it is left alone");
                None
            }
        }
    }

    async fn tell_of_others(&self, site: &Site) -> Result<()> {
        let plan = Arc::clone(&self.plan.borrow());
        let policies: Vec<&Policy> = plan.enabled_on(site.name()).map(|policy| &**policy).collect();
        others::tell(site, &policies).await
    }

    async fn keep(&self, worker: &mut Worker, site: &SharedSite, mut known: Incarnation) -> Result<Left> {
        let mut standing = site.tenure.standing();
        let mut incarnations = site.pool.incarnations();
        let mut compared_with = site.compared.subscribe();
        let mut shown = site.inventory.status();
        let mut stale = None;
        let mut compared = self.clock.elapsed();
        let mut tidied = None;
        let mut others_told: Option<Duration> = None;
        loop {
            if self.tends && tidied.is_none_or(|at| self.clock.elapsed() - at >= self.plan.borrow().times.compare_every) {
                orphans::tidy(worker, site).await?;
                tidied = Some(self.clock.elapsed());
            }
            if self.tends && others_told.is_none_or(|at| self.clock.elapsed() - at >= OTHERS_EVERY) {
                self.tell_of_others(site).await?;
                others_told = Some(self.clock.elapsed());
            }
            let times = self.plan.borrow().times;
            let sleep = self.clock.sleep(times.chores_every);
            let news = async {
                Ok(tokio::select! {
                    () = self.stop.cancelled() => News::Stop,
                    Ok(_) = standing.wait_for(|standing| !standing.works()) => News::Lost,
                    error = site.tenure.failed() => return Err(error),
                    Ok(_) = incarnations.wait_for(|now| now.as_ref().is_some_and(|now| now.number != known.number)) => News::Server,
                    Ok(_) = compared_with.wait_for(Option::is_none) => News::Untrusted,
                    Ok(_) = shown.wait_for(|shown| staleness(shown) != stale) => News::Shown,
                    () = sleep => News::Chores,
                })
            };
            let news = worker.wait(news).await?;
            let (mut doubt, mut renewed) = (Doubt::None, false);
            match news {
                News::Stop => return Ok(Left::Stopped),
                News::Lost => return Ok(Left::Lost),
                News::Shown => {
                    stale = staleness(&shown.borrow());
                    let phase = if stale.is_some() { Phase::Unreachable } else { Phase::Connected };
                    self.stands(phase, stale.clone());
                    continue;
                }
                News::Server | News::Untrusted => {
                    let now = incarnations.borrow_and_update().clone().unwrap_or_else(|| known.clone());
                    if !now.is_same_server(&known) || matches!(news, News::Untrusted) {
                        say_server_changed(site, &now);
                        site.distrust();
                        doubt = Doubt::Server;
                    }
                    known = now;
                    renewed = true;
                }
                News::Chores => {}
            }
            if doubt != Doubt::None || self.clock.elapsed() - compared >= times.compare_every {
                let findings = reconcile::compare(worker, site, doubt).await?;
                compared = self.clock.elapsed();
                for run in findings.reopened {
                    let run = self.store.run(run).await?;
                    self.again(site, run).await?;
                }
            }
            if renewed {
                self.seen(site, &known).await?;
            }
            let plan = Arc::clone(&self.plan.borrow());
            chores::do_all(worker, site, &plan, &self.runs).await?;
        }
    }
}

/// Why the pool is not seen as it is, if it is not.
pub(super) fn staleness(shown: &crate::xenapi::inventory::Status) -> Option<String> {
    if let Follows::Stale(why) = &shown.follows { Some(why.clone()) } else { None }
}

/// What the comparison of history and pool brought, in a word.
fn holdings(findings: &Findings) -> String {
    let differ = findings.vanished.len() + findings.ghosts.len() + findings.found.len() + findings.detached.len();
    if differ == 0 {
        "which agrees with the history".to_owned()
    } else {
        format!("{differ} snapshots were not as the history had them")
    }
}

fn say_server_changed(site: &Site, now: &Incarnation) {
    let text = format!(
        "the server of pool {} restarted, or another host is master ({} now); nothing is removed before history and pool are compared",
        site.name(),
        now.address
    );
    Fact::new(EventKind::ServerChanged).pool(site.name()).say(&text);
}

/// The uuid of the master's host, if the inventory shows it.
fn master(site: &Site, incarnation: &Incarnation) -> Option<Uuid> {
    site.inventory.read().get(&Ref::<Host>::new(&incarnation.master)).map(|host| host.uuid.get())
}

async fn connect(
    settings: crate::xenapi::Settings,
    clock: &SharedClock,
) -> std::result::Result<(Pool, Incarnation), Arc<crate::xenapi::ConnectError>> {
    let pool = Pool::open(settings, clock.clone())?;
    match pool.connected().await {
        Ok(incarnation) => Ok((pool, incarnation)),
        Err(error) => {
            pool.logout().await;
            Err(error)
        }
    }
}
