//! One pool with all that is needed to work on it. Whoever works on a pool has one of these and nothing global.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::admission::Admission;
use super::alone::Alone;
use super::backlog::Backlog;
use super::barrier::Barrier;
use super::guards::{Allowances, Clocks, Promises};
use super::lease::{Succession, Tenure};
use super::wishes::Wishes;
use super::worker::Worker;
use crate::clock::SharedClock;
use crate::domain::id::{InstallationId, PolicyId, PoolUuid};
use crate::domain::orphans::{Orphan, Why};
use crate::store::{self, Cause, EventKind, Job, NewEvent, Snapshot, Store};
use crate::telemetry::Fact;
use crate::telemetry::metrics::Metrics;
use crate::xenapi::inventory::{Follows, Tables};
use crate::xenapi::records::{EventClass, Vm};
use crate::xenapi::types::Uuid as ServerUuid;
use crate::xenapi::{Incarnation, Inventory, Pool};

/// What is followed of a pool: all that selection, retention and the guards look at.
pub const CLASSES: [EventClass; 10] = [
    EventClass::Pool,
    EventClass::Vm,
    EventClass::Vbd,
    EventClass::Vdi,
    EventClass::Sr,
    EventClass::Pbd,
    EventClass::Sm,
    EventClass::Host,
    EventClass::VmGuestMetrics,
    EventClass::VmAppliance,
];

/// How long things may take and how often they are tried, in time of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A call to the storage; it is cancelled then. The server itself may hold a call back for two hours.
    pub call: Duration,
    /// How long what a call made may take to show up in the events.
    pub showing: Duration,
    /// The first pause before something is tried again; it doubles.
    pub first_retry: Duration,
    /// The longest pause.
    pub longest_retry: Duration,
    /// How long a call that was never seen may still be on its way to the server.
    pub grace: Duration,
    /// So often a removal is tried before what is left of it is listed as an orphan.
    pub removal_tries: u64,
    /// Where so many layers wait to be coalesced, removals wait; nothing: they never do.
    pub uncoalesced: Option<NonZeroU32>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(2 * 3600),
            showing: Duration::from_secs(150),
            first_retry: Duration::from_secs(10),
            longest_retry: Duration::from_secs(300),
            grace: Duration::from_secs(30),
            removal_tries: 20,
            uncoalesced: NonZeroU32::new(500),
        }
    }
}

impl Pace {
    /// The pause after so many tries that failed.
    pub fn pause(&self, failures: u64) -> Duration {
        let doubled = self.first_retry.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.longest_retry)
    }
}

/// One pool, with the history it is written down in.
#[derive(Debug)]
pub struct Site {
    /// Who we are.
    pub installation: InstallationId,
    /// The pool.
    pub uuid: PoolUuid,
    /// The way to it.
    pub pool: Pool,
    /// What is in it.
    pub inventory: Inventory,
    /// What was done about it.
    pub store: Store,
    /// The time.
    pub clock: SharedClock,
    /// Whose turn it is on its storage.
    pub admission: Admission,
    /// When it will not forget any more.
    pub barrier: Barrier,
    /// How long things may take.
    pub pace: Pace,
    /// With which life of the server the history agrees; nothing while they have not been compared since the server may have
    /// forgotten something: then nothing is removed.
    pub compared: watch::Sender<Option<Incarnation>>,
    /// What people want of the work: pauses, cancellations.
    pub wishes: Arc<Wishes>,
    /// What storage was promised to snapshots under way.
    pub promises: Promises,
    /// How many removals are left to runs under way.
    pub allowances: Allowances,
    /// What the server's clock and ours say.
    pub clocks: Clocks,
    /// Who has which VM.
    pub alone: Alone,
    /// What waits to be coalesced.
    pub backlog: Backlog,
    /// What is counted.
    pub metrics: Metrics,
    /// What is left that nobody works on, as of the last look around.
    pub left: watch::Sender<Vec<Orphan>>,
    /// The lease under which the pool is worked with.
    pub tenure: Arc<Tenure>,
    /// When the pool was last taken over from another daemon, if it ever was.
    pub succession: Option<Succession>,
    /// Set when the service stops, or another daemon has the lease: what has not begun is left.
    pub drain: CancellationToken,
    /// What was said of each policy's selection, so that it is said again only when it changes.
    pub said: Mutex<HashMap<PolicyId, String>>,
}

impl Site {
    /// The takeover that is to be carried out now: what the other daemon left is not known yet.
    pub fn takes_over(&self) -> Option<&Succession> {
        self.succession.as_ref().filter(|succession| !succession.is_settled())
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The configured name of the pool.
    pub fn name(&self) -> &str {
        self.pool.name()
    }

    /// A line of work on this pool.
    pub fn worker(&self) -> Worker {
        Worker::new(&self.clock)
    }

    /// When the master's toolstack started, as it says itself; empty before the first login.
    pub fn server_start(&self) -> String {
        self.pool.incarnation().as_ref().map_or_else(unknown_start, start_of)
    }

    /// Waits until the inventory shows the pool as it is under the present login; at most `bound`. False if it does not.
    pub async fn shows_the_present(&self, worker: &mut Worker, bound: Duration) -> bool {
        let present = |status: &crate::xenapi::inventory::Status| {
            let login = self.pool.incarnation().map(|incarnation| incarnation.number);
            matches!(status.follows, Follows::Live | Follows::ByReading) && status.login == login
        };
        let mut status = self.inventory.status();
        let shown = async { status.wait_for(present).await.is_ok() };
        let late = self.clock.sleep(bound);
        worker
            .wait(async {
                tokio::select! { shown = shown => shown, () = late => false }
            })
            .await
    }

    /// Waits until `look` finds something in the inventory; at most `bound`. A server without events is asked soon.
    pub async fn seen<T>(&self, worker: &mut Worker, bound: Duration, mut look: impl FnMut(&Tables) -> Option<T>) -> Option<T> {
        let mut status = self.inventory.status();
        let late = self.clock.sleep(bound);
        let seen = async {
            loop {
                if let Some(found) = look(&self.inventory.read()) {
                    return Some(found);
                }
                self.inventory.look_soon();
                if status.changed().await.is_err() {
                    return None;
                }
            }
        };
        worker
            .wait(async {
                tokio::select! { seen = seen => seen, () = late => None }
            })
            .await
    }

    /// Waits until history and pool have been compared, and returns with which life of the server.
    pub async fn trust(&self, worker: &mut Worker) -> Option<Incarnation> {
        let mut compared = self.compared.subscribe();
        // An error says that the site is gone, and with it whoever waits.
        let agrees = compared.wait_for(|with| with.as_ref().is_some_and(|with| self.answers_as(with)));
        worker.wait(agrees).await.ok().and_then(|with| with.clone())
    }

    /// With which life of the server the history agrees, if it is the present one. A server that came up a moment ago is not, even if
    /// nobody has noticed.
    pub fn agrees_with(&self) -> Option<Incarnation> {
        self.compared.borrow().clone().filter(|with| self.answers_as(with))
    }

    /// True while history and pool are known to agree.
    pub fn is_trusted(&self) -> bool {
        self.agrees_with().is_some()
    }

    /// How many things are left that need somebody, besides removals that could not be brought to their end.
    pub fn orphans(&self) -> u64 {
        let needs = |orphan: &&Orphan| !orphan.why.passes() && !matches!(orphan.why, Why::Stuck(_));
        self.left.borrow().iter().filter(needs).count() as u64
    }

    /// The server may have forgotten something: nothing is removed until history and pool have been compared again.
    pub fn distrust(&self) {
        self.compared.send_replace(None);
    }

    /// Whether the server that we are logged in to now is still this one, so that it cannot have forgotten anything since.
    fn answers_as(&self, known: &Incarnation) -> bool {
        self.pool.incarnation().is_some_and(|now| now.number == known.number || now.is_same_server(known))
    }

    /// True if this was not said of the policy's selection before, or something else was since.
    pub fn is_news(&self, policy: &PolicyId, text: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(policy.clone(), text.to_owned()).as_deref() != Some(text)
    }

    /// An event about this pool.
    pub fn event(&self, kind: EventKind, text: impl Into<String>) -> NewEvent {
        NewEvent { pool: Some(self.uuid.0), ..NewEvent::new(self.now(), kind, text) }
    }

    /// An event about a snapshot that the history knows.
    pub fn event_of(&self, row: &Snapshot, kind: EventKind, text: impl Into<String>) -> NewEvent {
        let (policy, vm, snapshot) = (Some(row.policy.clone()), Some(row.vm_uuid), Some(row.uuid));
        NewEvent { policy, vm, snapshot, ..self.event(kind, text) }
    }

    /// Writes an event down and into the journal.
    ///
    /// # Errors
    /// As the store.
    pub async fn note(&self, event: NewEvent) -> store::Result<()> {
        let name = event.vm.and_then(|vm| self.vm_name(vm));
        let mut fact = Fact::new(event.kind).pool(self.name());
        if let Some(policy) = &event.policy {
            fact = fact.policy(policy);
        }
        fact = match (event.vm, &name) {
            (Some(vm), Some(name)) => fact.named_vm(vm, name),
            (Some(vm), None) => fact.vm(vm),
            (None, _) => fact,
        };
        if let Some(run) = event.run {
            fact = fact.run(run.0);
        }
        if let Some(snapshot) = event.snapshot {
            fact = fact.snapshot(snapshot);
        }
        fact.say(&event.text);
        self.store.note_event(event).await.map(|_| ())
    }

    fn vm_name(&self, vm: Uuid) -> Option<String> {
        self.inventory.read().by_uuid::<Vm>(&ServerUuid::new(vm)).map(|(_, vm)| vm.name_label.to_string())
    }

    /// A line about a job.
    pub fn fact_of_job<'a>(&'a self, job: &'a Job, kind: EventKind) -> Fact<'a> {
        let fact = Fact::new(kind).pool(self.name()).named_policy(&job.policy, &job.policy_name);
        fact.named_vm(job.vm_uuid, &job.vm_name).run(job.run.0).slot(job.due_at)
    }

    /// Writes down what became of a job, as an event that can be read alone.
    ///
    /// # Errors
    /// As the store.
    pub async fn note_of_job(&self, job: &Job, kind: EventKind, cause: &Cause) -> store::Result<()> {
        let text = format!("VM {}, policy {}: {}", job.vm_name, job.policy_name, cause.text);
        self.fact_of_job(job, kind).cause(&cause.code).say(&text);
        let event = self.event(kind, text);
        let event = NewEvent { policy: Some(job.policy.clone()), vm: Some(job.vm_uuid), run: Some(job.run), ..event };
        self.store.note_event(event).await.map(|_| ())
    }
}

/// When the toolstack of this life of the server started, as rows keep it; `unknown` where it does not say.
pub fn start_of(incarnation: &Incarnation) -> String {
    incarnation.agent_start_time.clone().unwrap_or_else(unknown_start)
}

fn unknown_start() -> String {
    "unknown".to_owned()
}

/// A handle that many lines of work share.
pub type SharedSite = Arc<Site>;
