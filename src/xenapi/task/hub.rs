//! One stream of task events for all tasks of a pool that somebody waits for. It runs while somebody waits, and knows every task it
//! has heard of, because the event of a short task may come before its reference is known here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::xenapi::connection::Core;
use crate::xenapi::error::CallError;
use crate::xenapi::events::{EventCall, Polled};
use crate::xenapi::records::{Event, EventOperation, Record, Task};
use crate::xenapi::types::Ref;

/// More tasks than a server keeps. What is forgotten beyond is found by reading.
const KNOWN_AT_MOST: usize = 10_000;

/// What was heard of a task.
#[derive(Debug, Clone)]
pub(super) enum Heard {
    /// Nothing yet, or it is under way.
    Of { progress: f64 },
    /// The last word about it.
    Ended(Arc<Task>),
    /// It seems to be gone: its record has to be asked for.
    Missed,
}

/// The tasks of one pool that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watched: HashMap<Ref<Task>, Entry>,
    known: HashMap<Ref<Task>, Arc<Task>>,
    listening: bool,
    stream: Stream,
}

#[derive(Debug)]
struct Entry {
    heard: watch::Sender<Heard>,
    watchers: usize,
}

impl Entry {
    /// Its record has to be asked for, unless the end is known.
    fn miss(&self) {
        self.heard.send_if_modified(|heard| {
            let open = !matches!(heard, Heard::Ended(_));
            if open {
                *heard = Heard::Missed;
            }
            open
        });
    }
}

/// Whether events come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stream {
    /// It is not known yet, or they fail at the moment.
    #[default]
    Silent,
    /// They come.
    Live,
    /// This server has none.
    Unsupported,
}

/// One task that is waited for; dropping it ends the watch.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) reference: Ref<Task>,
    core: Arc<Core>,
    pub(super) heard: watch::Receiver<Heard>,
}

impl Watched {
    pub(super) fn progress(&self) -> f64 {
        match &*self.heard.borrow() {
            Heard::Of { progress } => progress.clamp(0.0, 1.0),
            Heard::Ended(_) => 1.0,
            Heard::Missed => 0.0,
        }
    }

    /// The record was read: the task goes on.
    pub(super) fn under_way(&self) {
        if let Some(entry) = self.core.tasks.lock().watched.get(&self.reference) {
            entry.heard.send_if_modified(|heard| {
                let missed = matches!(heard, Heard::Missed);
                if missed {
                    *heard = Heard::Of { progress: 0.0 };
                }
                missed
            });
        }
    }

    pub(super) fn stream(&self) -> Stream {
        self.core.tasks.lock().stream
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.core.tasks.lock();
        let Some(entry) = state.watched.get_mut(&self.reference) else { return };
        entry.watchers -= 1;
        if entry.watchers == 0 {
            state.watched.remove(&self.reference);
        }
    }
}

impl Hub {
    /// Watches `reference` from now on, and starts to listen if nobody does.
    pub(super) fn watch(&self, core: &Arc<Core>, reference: Ref<Task>) -> Watched {
        let mut state = self.lock();
        let known = state.known.get(&reference).map_or(Heard::Of { progress: 0.0 }, heard_of);
        let new = || Entry { heard: watch::Sender::new(known), watchers: 0 };
        let entry = state.watched.entry(reference.clone()).or_insert_with(new);
        entry.watchers += 1;
        let heard = entry.heard.subscribe();
        if !state.listening && state.stream != Stream::Unsupported {
            state.listening = true;
            state.known.clear();
            let at_work = core.clock.activity().hold();
            core.running.spawn(listen(Arc::clone(core), at_work));
        }
        Watched { reference, core: Arc::clone(core), heard }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the listening if nobody waits any more.
    fn may_stop(&self) -> bool {
        let mut state = self.lock();
        state.listening = !state.watched.is_empty();
        !state.listening
    }

    /// Nobody listens any more; who still waits has to ask.
    fn stopped(&self) {
        let mut state = self.lock();
        state.listening = false;
        state.watched.values().for_each(Entry::miss);
    }

    fn set_stream(&self, stream: Stream) {
        let mut state = self.lock();
        state.stream = stream;
        state.watched.values().for_each(|entry| entry.heard.send_modify(|_| ()));
    }

    /// Takes in a batch; `whole` if it shows every task there is.
    fn take(&self, events: Vec<Event>, whole: bool, watched_before: &[Ref<Task>]) {
        let mut state = self.lock();
        state.stream = Stream::Live;
        if whole {
            state.known.clear();
        }
        events.into_iter().for_each(|event| state.take_one(event));
        if whole {
            state.miss(watched_before);
        }
    }
}

impl State {
    fn take_one(&mut self, event: Event) {
        let reference: Ref<Task> = event.reference.cast();
        match (event.operation, event.record) {
            (EventOperation::Del, _) => {
                self.known.remove(&reference);
                self.watched.get(&reference).into_iter().for_each(Entry::miss);
            }
            (_, Some(Record::Task(task))) => {
                let task = Arc::new(*task);
                if let Some(entry) = self.watched.get(&reference) {
                    entry.heard.send_replace(heard_of(&task));
                }
                if self.known.len() >= KNOWN_AT_MOST {
                    self.known.clear();
                }
                self.known.insert(reference, task);
            }
            _ => {}
        }
    }

    /// Of the tasks that were watched before everything was told anew, those that were not mentioned.
    fn miss(&mut self, watched_before: &[Ref<Task>]) {
        for reference in watched_before.iter().filter(|reference| !self.known.contains_key(reference)) {
            self.watched.get(reference).into_iter().for_each(Entry::miss);
        }
    }
}

fn heard_of(task: &Arc<Task>) -> Heard {
    if task.has_ended() { Heard::Ended(Arc::clone(task)) } else { Heard::Of { progress: task.progress.0 } }
}

/// Listens until nobody waits, or the pool is left.
async fn listen(core: Arc<Core>, at_work: crate::clock::Hold) {
    drop(at_work);
    let mut call = EventCall::new(vec!["task".to_owned()]);
    let mut failures = 0;
    loop {
        if core.tasks.may_stop() {
            return;
        }
        let polled = tokio::select! {
            () = core.stop.cancelled() => break,
            polled = poll(&core, &mut call) => polled,
        };
        match polled {
            Ok(()) => failures = 0,
            Err(error) if EventCall::is_unsupported(&error) => {
                core.tasks.set_stream(Stream::Unsupported);
                break;
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(pool = %core.settings.name, %error, "no task events");
                core.tasks.set_stream(Stream::Silent);
                tokio::select! {
                    () = core.stop.cancelled() => break,
                    () = core.clock.sleep(core.settings.backoff.pause(failures)) => {}
                }
            }
        }
    }
    core.tasks.stopped();
}

async fn poll(core: &Arc<Core>, call: &mut EventCall) -> Result<(), CallError> {
    let watched: Vec<Ref<Task>> = core.tasks.lock().watched.keys().cloned().collect();
    let (polled, events) = call.poll_all(core).await?;
    match polled {
        Polled::Batch { whole, .. } => core.tasks.take(events, whole, &watched),
        Polled::Restart => {}
    }
    Ok(())
}
