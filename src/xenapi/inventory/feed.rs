//! The task that keeps an inventory up to date. It never gives up while the inventory is used: whatever goes wrong makes the state
//! stale, is said so, and is tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tables::Tables;
use super::{Change, Follows, Shared, reading};
use crate::clock::Hold;
use crate::xenapi::error::{CallError, Problem, chain};
use crate::xenapi::events::{self, EventCall, Polled};
use crate::xenapi::records::{Event, EventBatch, EventClass, EventOperation};

/// The wait of a call that only compares counts once more.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken, at_work: Hold) {
    drop(at_work);
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&shared) => {}
    }
}

/// Ends only when the pool was left.
async fn follow(shared: &Arc<Shared>) {
    let classes = shared.classes.iter().map(|class| class.as_str().to_owned()).collect();
    let mut feed =
        Feed { shared: Arc::clone(shared), call: EventCall::new(classes), misfits: Vec::new(), doubts: 0, uncounted: Vec::new() };
    let mut failures = 0;
    loop {
        match feed.step().await {
            Ok(()) => failures = 0,
            Err(error) if EventCall::is_unsupported(&error) => return reading::follow(shared).await,
            Err(CallError::NotConnected(error)) if matches!(error.problem, Problem::Closed) => return,
            Err(error) => {
                failures += 1;
                shared.fail(&error, failures).await;
            }
        }
    }
}

impl Shared {
    /// Says why the state is stale, and waits for the next attempt.
    pub(super) async fn fail(&self, error: &CallError, failures: u32) {
        tracing::debug!(pool = %self.core.settings.name, %error, "the inventory cannot follow");
        self.set_follows(Follows::Stale(chain(error)));
        self.core.clock.sleep(self.core.settings.backoff.pause(failures)).await;
    }
}

struct Feed {
    shared: Arc<Shared>,
    call: EventCall,
    /// What did not fit in the last batch, and in how many batches in a row.
    misfits: Vec<Misfit>,
    doubts: u32,
    /// Classes whose count did not fit even after everything was read anew.
    uncounted: Vec<EventClass>,
}

/// A class, and how many objects the server counts beyond ours.
type Misfit = (EventClass, i64);

impl Feed {
    async fn step(&mut self) -> Result<(), CallError> {
        if self.call.is_at_start() { self.synchronise().await } else { self.next_batch().await }
    }

    /// Reads everything, record by record, beside the state that readers see.
    async fn synchronise(&mut self) -> Result<(), CallError> {
        let aside = Arc::new(Mutex::new(Tables::default()));
        let shared = Arc::clone(&self.shared);
        let core = Arc::clone(&shared.core);
        let polled = self.call.poll(&core, core.settings.poll, || build(&shared, &aside)).await?;
        let Polled::Batch { batch, .. } = polled else { return Ok(()) };
        let new = std::mem::take(&mut *aside.lock().unwrap_or_else(PoisonError::into_inner));
        tracing::debug!(pool = %core.settings.name, events = batch.events, "the inventory was read");
        let login = core.login_number();
        if self.shared.status.borrow().login != login {
            self.uncounted.clear();
        }
        self.shared.replace(new, Follows::Live, login);
        self.compare(&batch);
        Ok(())
    }

    async fn next_batch(&mut self) -> Result<(), CallError> {
        let collected = Arc::new(Mutex::new(Vec::new()));
        let core = Arc::clone(&self.shared.core);
        let wait = if self.doubts > 0 { AGAIN } else { core.settings.poll };
        let polled = self.call.poll(&core, wait, || events::collect_into(&collected)).await?;
        let Polled::Batch { batch, .. } = polled else { return Ok(()) };
        let changes = self.shared.apply(events::take(&collected));
        self.shared.announce(changes);
        self.shared.set_follows(Follows::Live);
        self.compare(&batch);
        Ok(())
    }

    /// Compares what we have with what the server counts: the only sign of deletions that were lost. An object that died while the
    /// answer was made is counted but not told, and its deletion comes with the next answer; so only what does not fit twice counts.
    fn compare(&mut self, batch: &EventBatch) {
        let now = self.shared.misfits(batch, &self.uncounted);
        let lasting: Vec<Misfit> = now.iter().filter(|misfit| self.misfits.contains(misfit)).cloned().collect();
        self.doubts = match (now.is_empty(), lasting.is_empty()) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => self.doubts + 1,
        };
        self.misfits = now;
        let pool = &self.shared.core.settings.name;
        match self.doubts {
            2 => {
                tracing::info!(%pool, classes = ?lasting, "deletions were lost: reading everything anew");
                self.call.restart();
            }
            // Twice more, after everything was read anew: another reading would not help.
            4.. => {
                tracing::warn!(%pool, classes = ?lasting, "the server's counts do not fit its own answers; they are not compared any more");
                self.uncounted.extend(lasting.into_iter().map(|(class, _)| class));
                self.doubts = 0;
            }
            _ => {}
        }
    }
}

/// A sink that builds a state from nothing, sharing the memory of records that did not change.
fn build(shared: &Arc<Shared>, aside: &Arc<Mutex<Tables>>) -> impl FnMut(Event) + Send + 'static {
    *aside.lock().unwrap_or_else(PoisonError::into_inner) = Tables::default();
    let (shared, aside) = (Arc::clone(shared), Arc::clone(aside));
    move |event| {
        if event.operation == EventOperation::Del {
            return;
        }
        let Some(record) = event.record else { return };
        let earlier = shared.tables.read().unwrap_or_else(PoisonError::into_inner);
        aside.lock().unwrap_or_else(PoisonError::into_inner).put(event.reference, record, Some(&earlier));
    }
}

impl Shared {
    /// Applies a batch at once: what is there first, what is gone last. Returns what changed.
    fn apply(&self, events: Vec<Event>) -> Vec<Change> {
        if events.is_empty() {
            return Vec::new();
        }
        let (gone, put): (Vec<Event>, Vec<Event>) = events.into_iter().partition(|event| event.operation == EventOperation::Del);
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::with_capacity(put.len() + gone.len());
        for event in put {
            let change = Change::Put(event.class.clone(), event.reference.clone());
            changes.extend(tables.apply(event).then_some(change));
        }
        for event in gone {
            let change = Change::Gone(event.class.clone(), event.reference.clone());
            changes.extend(tables.apply(event).then_some(change));
        }
        changes
    }

    /// The classes of which the server counts another number than we have. Tasks come and go too fast to be compared.
    fn misfits(&self, batch: &EventBatch, uncounted: &[EventClass]) -> Vec<Misfit> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let compared = self.classes.iter().filter(|class| **class != EventClass::Task && !uncounted.contains(class));
        let misfit = |class: &EventClass| {
            let ours = i64::try_from(tables.count(class)).unwrap_or(i64::MAX);
            let beyond = batch.count(class)?.saturating_sub(ours);
            (beyond != 0).then(|| (class.clone(), beyond))
        };
        compared.filter_map(misfit).collect()
    }
}
