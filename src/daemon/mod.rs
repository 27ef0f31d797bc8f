//! The service: it comes up, keeps its promises, changes its plan without stopping, and goes down without losing anything.
//!
//! # The rules it keeps
//!
//! - *A slot is decided once.* Due times become rows with a verdict; none passes in silence.
//! - *One owner for everything that runs.* The registry knows every run; a slot whose policy still runs is skipped and says so.
//! - *A pool is kept by one task*, which compares history and pool before anything is decided about it, and after every restart of the
//!   server; the others wait for it.
//! - *Stopping is a wish, not an end.* What has begun comes to a safe point; what has not is left to the next life.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | what the service works by: pools, policies, limits; swapped as a whole |
//! | `timekeeper` | when something is due, and the claim |
//! | `runs` | everything that runs |
//! | `keeper` | one pool: connection, comparison, resumption |
//! | `turn` | whether it is ours to work with a pool, or another daemon's |
//! | `chores` | what is done from time to time: removals that wait, pins that are over, jobs that came late |
//! | `alarms` | who is told of what goes wrong |
//! | `requests` | what people ask of the service, and its answers |
//! | `report` | how the service stands, how well VMs are protected |
//! | `control` | the socket at which they ask |
//! | `metrics` | figures for Prometheus |
//! | `notify`, `status` | what the service manager is told |

mod alarms;
mod chores;
pub mod control;
mod keeper;
mod metrics;
mod notify;
mod plan;
mod reach;
pub mod report;
mod requests;
mod runs;
mod status;
mod timekeeper;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Hold, SharedClock};
use crate::domain::build::Build;
use crate::engine::lease::Home;
use crate::engine::site::SharedSite;
use crate::engine::wishes::Wishes;
use crate::engine::worker::Worker;
use crate::store::{self, Changes, EventKind, NewEvent, Opened, PolicySeen, Store};
use crate::telemetry::Fact;
use crate::telemetry::metrics::Metrics;
pub use alarms::{Alarms, Channel, DeadMan, Monitor, Outcome, Route, try_channels};
pub use metrics::{Door, DoorError, Exporter};
pub use notify::Manager;
pub use plan::{Assigned, Plan, PlannedPool, Times};
use reach::Reaches;
use report::{Trouble, Weight};
pub use requests::{Ask, Pausable, Reload, Reloaded, Said, Slot};
pub use runs::Runs;

/// How long giving a lease back may take; where it takes longer, whoever stands by waits for its term.
const LEAVING: Duration = Duration::from_secs(10);

/// Why the service ends, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The history cannot be used.
    #[error("the history cannot be used")]
    History(#[from] store::Error),
    /// Another daemon has it open.
    #[error(
        "another xensnap daemon uses the history {0}; stop it first, or give this one a history and an installation id of its own"
    )]
    NotAlone(std::path::PathBuf),
    /// A part of the service ended that must not.
    #[error("the {0} has ended; this is a defect of xensnap, please report it with the journal")]
    Part(&'static str),
}

/// The service, once its history is open.
pub struct Daemon {
    clock: SharedClock,
    store: Store,
    plan: watch::Sender<Arc<Plan>>,
    stop: CancellationToken,
    runs: Runs,
    sites: watch::Sender<Vec<SharedSite>>,
    timekeeping: bool,
    home: Home,
    wishes: Arc<Wishes>,
    desk: Desk,
    reloads: Option<mpsc::Receiver<Reload>>,
    listening: Option<control::Listening>,
    manager: Manager,
    coming: watch::Sender<Option<status::Coming>>,
    metrics: Metrics,
    exporter: Option<(Exporter, usize)>,
}

impl Daemon {
    /// Takes over an opened history. Writes down who we are and which policies there are; nothing is due from before that.
    ///
    /// # Errors
    /// When another daemon uses the history, or it cannot be written.
    pub async fn new(opened: Opened, plan: Plan, clock: SharedClock) -> Result<Self, DaemonError> {
        let Opened { store, alone, restored_older, lineage, .. } = opened;
        if !alone {
            return Err(DaemonError::NotAlone(store.path().to_owned()));
        }
        if let Some(before) = store.belong_to(plan.installation.as_str()).await? {
            let text = format!("this history was used by installation {before} before; its snapshots belong to that one");
            announce(&store, &clock, EventKind::InstallationChanged, text).await?;
        }
        if restored_older || lineage.is_suspect() {
            // The store has written down that it was restored when it was opened.
            let text =
                format!("the history is not the one that was written last ({lineage:?}); it is compared with the pools first");
            Fact::new(EventKind::HistoryRestored).say(&text);
        }
        let home = Home::of(store.path(), store.installation().await?.database);
        store.see_policies(plan.seen(), clock.now()).await?;
        wishes(&store, &plan, &clock).await?;
        let stop = CancellationToken::new();
        let runs = Runs::new(store.clone(), clock.clone());
        let (desk, reloads) = Desk::new(clock.now());
        let wishes_of_people = Wishes::of(&store).await.map_err(|error| error.0)?;
        Ok(Self {
            clock,
            store,
            plan: watch::Sender::new(Arc::new(plan)),
            stop,
            runs,
            sites: watch::Sender::new(Vec::new()),
            timekeeping: true,
            home,
            wishes: Arc::new(wishes_of_people),
            desk,
            reloads: Some(reloads),
            listening: None,
            manager: Manager::none(),
            coming: watch::Sender::new(None),
            metrics: Metrics::new(),
            exporter: None,
        })
    }

    /// Answers at this socket while it runs.
    #[must_use]
    pub fn listening(mut self, at: control::Listening) -> Self {
        self.listening = Some(at);
        self
    }

    /// Wishes to read the files anew, for whoever reads files. Each is answered; without a reader they are refused.
    pub fn reloads(&mut self) -> Option<mpsc::Receiver<Reload>> {
        self.reloads.take()
    }

    /// Answers requests only: no slot is decided, so that a verb can do its work where no service runs.
    #[must_use]
    pub fn without_timekeeping(mut self) -> Self {
        self.timekeeping = false;
        self
    }

    /// Says of itself that it is this build.
    #[must_use]
    pub fn built(mut self, build: Build) -> Self {
        self.desk.build = build;
        self
    }

    /// Tells this service manager how it goes.
    #[must_use]
    pub fn under(mut self, manager: Manager) -> Self {
        self.manager = manager;
        self
    }

    /// Offers figures; VMs have series of their own up to so many.
    #[must_use]
    pub fn exporting(mut self, exporter: Exporter, vm_series: usize) -> Self {
        self.exporter = Some((exporter, vm_series));
        self
    }

    /// A handle to steer it by.
    pub fn handle(&self) -> Handle {
        Handle {
            store: self.store.clone(),
            clock: self.clock.clone(),
            plan: self.plan.clone(),
            stop: self.stop.clone(),
            runs: self.runs.clone(),
            sites: self.sites.subscribe(),
            wishes: Arc::clone(&self.wishes),
            desk: self.desk.clone(),
            manager: self.manager.clone(),
            metrics: self.metrics.clone(),
            vm_series: self.exporter.as_ref().map_or(0, |(_, vm_series)| *vm_series),
        }
    }

    /// Works until it is told to stop, then brings what runs to a safe point within `grace`. Time does not pass from the call on until
    /// every part has begun.
    ///
    /// # Errors
    /// When a part of it cannot go on.
    pub fn run(self, grace: Duration) -> impl Future<Output = Result<(), DaemonError>> + Send {
        let starting = self.clock.activity().hold();
        self.work(starting, grace)
    }

    async fn work(mut self, starting: Hold, grace: Duration) -> Result<(), DaemonError> {
        drop(self.reloads.take());
        let parts = TaskTracker::new();
        let (failed, mut failures) = mpsc::channel(4);
        let (arrive, arrivals) = mpsc::channel(16);
        for pool in self.plan.borrow().pools.clone() {
            let keeper = keeper::Keeper::new(pool, &self, arrive.clone());
            self.part(&parts, &failed, "keeper of a pool", keeper.run());
        }
        drop(arrive);
        if self.timekeeping {
            self.part(&parts, &failed, "watcher of alarms", alarms::watch(self.handle()));
            self.part(&parts, &failed, "courier of alarms", alarms::carry(self.handle()));
            self.part(&parts, &failed, "teller of the monitor", alarms::keep_telling(self.handle()));
            let timekeeper = timekeeper::Timekeeper::new(&self, arrivals);
            self.part(&parts, &failed, "timekeeper", timekeeper.run());
        } else {
            // Keepers hand their pool over and do not mind that nobody takes it.
            let (stop, mut arrivals) = (self.stop.clone(), arrivals);
            parts.spawn(async move {
                tokio::select! { () = stop.cancelled() => (), () = async { while arrivals.recv().await.is_some() {} } => () }
            });
        }
        if let Some(listening) = self.listening.take() {
            self.part(&parts, &failed, "control socket", control::serve(listening, self.handle()));
        }
        let handle = self.handle();
        if let Some((exporter, _)) = self.exporter.take() {
            self.part(&parts, &failed, "answerer of metrics", metrics::serve(exporter, handle, self.metrics.clone()));
        }
        if self.manager.listens() {
            self.part(&parts, &failed, "reporter to the service manager", status::Status::new(&self).run());
        }
        parts.close();
        self.manager.ready();
        drop(starting);
        let outcome = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            Some(failure) = failures.recv() => Err(failure),
        };
        self.stop.cancel();
        self.manager.stopping(grace);
        // To the very end: no time passes for others while the last rows go to disk.
        let mut worker = Worker::new(&self.clock);
        self.drain(&mut worker, &parts, grace).await;
        self.store.close().await?;
        outcome
    }

    /// Spawns a part; its end, unless the service stops, is the service's.
    fn part<F>(&self, parts: &TaskTracker, failed: &mpsc::Sender<DaemonError>, name: &'static str, part: F)
    where
        F: Future<Output = crate::engine::error::Result<()>> + Send + 'static,
    {
        let (failed, stop) = (failed.clone(), self.stop.clone());
        // Until its first rest, from where on it says itself whether it works.
        let mut starting = self.clock.activity().hold();
        let begins = async move { starting.while_waiting(part).await };
        parts.spawn(async move {
            let ended = tokio::spawn(begins).await;
            if stop.is_cancelled() {
                return;
            }
            let error = match ended {
                Ok(Err(crate::engine::error::HistoryError(error))) => DaemonError::History(error),
                Ok(Ok(())) | Err(_) => DaemonError::Part(name),
            };
            let _ = failed.send(error).await;
        });
    }

    /// The timekeeper has ended already, and its place is taken as long as runs come to a safe point.
    async fn beat(&self) -> std::convert::Infallible {
        let Some(beat) = self.manager.beat() else { return std::future::pending().await };
        let running = self.runs.len();
        self.manager.status(&format!("stopping: {running} runs come to a safe point"));
        loop {
            self.manager.alive();
            self.clock.sleep(beat).await;
        }
    }

    /// Waits for runs to reach a safe point, then logs out of every pool.
    async fn drain(&self, worker: &mut Worker, parts: &TaskTracker, grace: Duration) {
        let late = self.clock.sleep(grace);
        let rest = async {
            tokio::select! { () = self.runs.rest() => true, () = late => false, never = self.beat() => match never {} }
        };
        if !worker.wait(rest).await {
            let text = format!(
                "not everything came to a safe point within {} s; the next start goes on from the history",
                grace.as_secs()
            );
            Fact::new(EventKind::CutShort).say(&text);
        }
        let sites = self.sites.borrow().clone();
        for site in sites {
            let late = self.clock.sleep(LEAVING);
            worker
                .wait(async {
                    tokio::select! { () = site.tenure.leave() => (), () = late => () }
                })
                .await;
            worker.wait(site.pool.logout()).await;
        }
        self.desk.asked.close();
        let late = self.clock.sleep(Duration::from_secs(10));
        let rest = async {
            parts.wait().await;
            self.desk.asked.wait().await;
        };
        worker
            .wait(async {
                tokio::select! { () = rest => (), () = late => () }
            })
            .await;
    }
}

/// Where requests are worked on.
#[derive(Clone)]
struct Desk {
    /// What changes something is done one after another.
    turn: Arc<Mutex<()>>,
    /// What is being answered.
    asked: TaskTracker,
    reloads: mpsc::Sender<Reload>,
    started_at: DateTime<Utc>,
    /// What it is.
    build: Build,
    /// How the pools stand.
    reaches: Reaches,
    /// Since when the files have errors, and which, if they were found at a reload.
    files: watch::Sender<Option<(DateTime<Utc>, String)>>,
    /// A message about alarms was written.
    letters: Arc<Notify>,
    /// When the timekeeper's loop last came round.
    pulse: alarms::Pulse,
    /// How the monitor outside was last told.
    monitor: watch::Sender<Option<Monitor>>,
}

impl Desk {
    fn new(now: DateTime<Utc>) -> (Self, mpsc::Receiver<Reload>) {
        let (reloads, wishes) = mpsc::channel(1);
        let (reaches, files) = (Reaches::default(), watch::Sender::new(None));
        let desk = Self {
            turn: Arc::default(),
            asked: TaskTracker::new(),
            reloads,
            started_at: now,
            build: Build::UNKNOWN,
            reaches,
            files,
            letters: Arc::default(),
            pulse: alarms::Pulse::default(),
            monitor: watch::Sender::new(None),
        };
        (desk, wishes)
    }

    fn files_trouble(&self) -> Option<Trouble> {
        let (since, text) = self.files.borrow().clone()?;
        Some(Trouble {
            weight: Weight::Warning,
            code: "configuration".to_owned(),
            since,
            pool: None,
            policy: None,
            run: None,
            text,
        })
    }
}

/// Steers a service that runs.
#[derive(Clone)]
pub struct Handle {
    store: Store,
    clock: SharedClock,
    plan: watch::Sender<Arc<Plan>>,
    stop: CancellationToken,
    runs: Runs,
    sites: watch::Receiver<Vec<SharedSite>>,
    wishes: Arc<Wishes>,
    desk: Desk,
    manager: Manager,
    metrics: Metrics,
    vm_series: usize,
}

impl Handle {
    /// Asks something of it, as `by`. The answer comes piece by piece; whoever stops to listen does not stop what was begun.
    pub fn ask(&self, ask: Ask, by: String) -> mpsc::UnboundedReceiver<Said> {
        let (reply, said) = requests::Reply::new();
        let (handle, worker) = (self.clone(), Worker::new(&self.clock));
        self.desk.asked.spawn(async move { requests::answer(worker, &handle, ask, &by, reply).await });
        said
    }

    /// Asks it to stop. Idempotent.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Puts other policies in force, all at once; runs that have begun go on by the old ones. What changed.
    ///
    /// # Errors
    /// When the history cannot be written: then the old ones stay.
    pub async fn reload(&self, plan: Plan) -> store::Result<Changes> {
        // What is written last decides, in one transaction; what a file says for a time without it may be known before it counts.
        wishes(&self.store, &plan, &self.clock).await?;
        let changes = self.store.see_policies(plan.seen(), self.clock.now()).await?;
        self.plan.send_replace(Arc::new(plan));
        Ok(changes)
    }

    /// The files have errors, so that they are not in force; or have none any more.
    pub fn files_are_wrong(&self, errors: Option<String>) {
        let now = self.clock.now();
        self.desk.files.send_modify(|known| {
            let since = known.as_ref().map_or(now, |(since, _)| *since);
            *known = errors.map(|errors| (since, errors));
        });
    }

    /// The pools that were reached.
    pub fn sites(&self) -> watch::Receiver<Vec<SharedSite>> {
        self.sites.clone()
    }

    /// Everything that runs.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Whoever is told how it goes.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// What it works by.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    /// The history.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// What the policies want for a time without them is written down while they are there.
async fn wishes(store: &Store, plan: &Plan, clock: &SharedClock) -> store::Result<()> {
    let policies = plan.policies.iter().map(|assigned| &*assigned.policy);
    crate::engine::aftermath::remember_wishes(store, policies, clock.now()).await.map_err(|error| error.0)
}

async fn announce(store: &Store, clock: &SharedClock, kind: EventKind, text: String) -> store::Result<()> {
    Fact::new(kind).say(&text);
    store.note_event(NewEvent::new(clock.now(), kind, text)).await.map(|_| ())
}

fn policy_seen(policy: &crate::domain::policy::Policy) -> PolicySeen {
    PolicySeen {
        id: policy.id.to_string(),
        name: policy.name.clone(),
        fingerprint: policy.schedule.signature(),
        enabled: policy.enabled,
    }
}
