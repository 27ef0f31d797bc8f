//! The one session of a pool, shared by all callers. It is made by a task of its own, so that a caller who goes away neither cuts a
//! login short nor leaves a session behind; whoever comes meanwhile waits for the same login. A session whose connection broke is
//! tried again before a new one is opened.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::{ConnectError, Problem};
use super::failure::Failure;
use super::fence::Fence;
use super::login::Missed;
use super::members::{Members, resolve};
use super::patience::Patience;
use super::secret::SessionRef;
use super::settings::Settings;
use super::tally::Tallies;
use super::task::Hub;
use super::transport::Transport;
use super::trust::ServerCertificate;
use super::trust::TrustError;
use super::wire::Wire;
use crate::clock::SharedClock;
use crate::domain::address::Address;

/// Which life of which server we are logged in to. Whoever keeps a copy of the pool's state reads it anew when this changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnation {
    /// Counts logins, from 1. It stays the same when only a connection broke and the session lived on.
    pub number: u64,
    /// Where the master answers.
    pub address: Address,
    /// The reference of the pool.
    pub pool_ref: String,
    /// The pool's uuid.
    pub pool_uuid: String,
    /// The reference of the master's host.
    pub master: String,
    /// When the master's toolstack started, as it says itself (`host.other_config`, seconds since 1970, with a trailing point).
    pub agent_start_time: Option<String>,
}

impl Incarnation {
    /// True if the same run of the same toolstack answers as in `earlier`: nothing it acknowledged can have been forgotten since.
    pub fn is_same_server(&self, earlier: &Incarnation) -> bool {
        self.master == earlier.master && self.agent_start_time.is_some() && self.agent_start_time == earlier.agent_start_time
    }
}

/// A session on a master.
pub(super) struct Link {
    pub(super) address: Address,
    pub(super) wire: Wire,
    pub(super) session: SessionRef,
    pub(super) incarnation: Incarnation,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).field("wire", &self.wire).finish_non_exhaustive()
    }
}

/// What a pool's handles share.
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) clock: SharedClock,
    pub(super) transport: Transport,
    pub(super) members: Members,
    pub(super) pool_uuid: Mutex<Option<String>>,
    /// Ends what runs in the background.
    pub(super) stop: CancellationToken,
    /// The tasks that are waited for.
    pub(super) tasks: Hub,
    /// What must not be cut short at a shutdown.
    pub(super) running: TaskTracker,
    /// What was called.
    pub(super) tallies: Tallies,
    /// Who may change something.
    pub(super) fence: Fence,
    wires: Mutex<HashMap<Address, Wire>>,
    state: Mutex<State>,
    incarnation: watch::Sender<Option<Incarnation>>,
    numbers: AtomicU64,
}

type Outcome = Result<Arc<Link>, Arc<ConnectError>>;
type Attempt = Shared<BoxFuture<'static, Outcome>>;

enum State {
    Down(Down),
    Connecting { attempt: Attempt, last: Option<Arc<ConnectError>> },
    Up(Arc<Link>),
    Closed,
}

/// What is known while there is no session in use.
#[derive(Debug, Clone, Default)]
struct Down {
    /// A session whose connection broke.
    suspect: Option<Arc<Link>>,
    /// Who was named as the master.
    hint: Option<Address>,
    failures: u32,
    /// No attempt before this time of the clock.
    not_before: Duration,
    last: Option<Arc<ConnectError>>,
}

enum Step {
    Go(Arc<Link>),
    Join(Attempt),
    Pause(Duration, Arc<ConnectError>),
    Fail(Arc<ConnectError>),
}

impl Core {
    pub(super) fn new(settings: Settings, clock: SharedClock) -> Result<Self, TrustError> {
        Ok(Self {
            transport: Transport::new(&settings, clock.clone())?,
            members: Members::new(settings.members.clone()),
            pool_uuid: Mutex::new(settings.pool_uuid.clone()),
            stop: CancellationToken::new(),
            tasks: Hub::default(),
            running: TaskTracker::new(),
            tallies: Tallies::default(),
            fence: Fence::default(),
            wires: Mutex::default(),
            state: Mutex::new(State::Down(Down::default())),
            incarnation: watch::Sender::new(None),
            numbers: AtomicU64::new(0),
            settings,
            clock,
        })
    }

    /// The session in use; connects if there is none.
    pub(super) async fn link(self: &Arc<Self>, patience: &Patience) -> Outcome {
        loop {
            let attempt = match self.step() {
                Step::Go(link) => return Ok(link),
                Step::Fail(error) => return Err(error),
                Step::Pause(pause, last) => {
                    if patience.pause(pause).await {
                        continue;
                    }
                    return Err(self.gave_up(patience, last));
                }
                Step::Join(attempt) => attempt,
            };
            match patience.wait_for(attempt).await {
                Some(Ok(link)) => return Ok(link),
                Some(Err(error)) if error.is_final() => return Err(error),
                Some(Err(_)) => {}
                None => return Err(self.gave_up(patience, self.last_error())),
            }
        }
    }

    fn step(self: &Arc<Self>) -> Step {
        let mut state = lock(&self.state);
        let down = match &*state {
            State::Up(link) => return Step::Go(Arc::clone(link)),
            State::Connecting { attempt, .. } => return Step::Join(attempt.clone()),
            State::Closed => return Step::Fail(Arc::new(self.error(Problem::Closed))),
            State::Down(down) => down.clone(),
        };
        let pause = down.not_before.saturating_sub(self.clock.elapsed());
        match &down.last {
            Some(error) if !pause.is_zero() && error.is_final() => Step::Fail(Arc::clone(error)),
            Some(error) if !pause.is_zero() => Step::Pause(pause, Arc::clone(error)),
            _ => {
                let last = down.last.clone();
                let attempt = self.attempt(down);
                *state = State::Connecting { attempt: attempt.clone(), last };
                Step::Join(attempt)
            }
        }
    }

    /// Starts to connect, in a task that nobody's impatience ends.
    fn attempt(self: &Arc<Self>, down: Down) -> Attempt {
        let core = Arc::clone(self);
        let mut at_work = self.clock.activity().hold();
        let again = down.clone();
        let connecting = self.running.spawn(async move {
            let reached = at_work.while_waiting(core.reach(&down)).await;
            drop(at_work);
            core.settle(down, reached).await
        });
        let core = Arc::clone(self);
        let outcome = connecting.map(move |ended| {
            ended.unwrap_or_else(|panicked| {
                let error = Arc::new(core.error(Problem::Internal(format!("connecting stopped: {panicked}"))));
                core.put(State::Down(core.after_failure(again, &error)));
                Err(error)
            })
        });
        outcome.boxed().shared()
    }

    /// One attempt: the broken connection's session first, then whoever is the master now.
    async fn reach(self: &Arc<Self>, down: &Down) -> Result<Arc<Link>, ConnectError> {
        let Some(suspect) = &down.suspect else {
            return self.find_master(down.hint.clone(), None).await.map(Arc::new);
        };
        let (hint, asked) = match self.ask::<Vec<String>>(&suspect.address, suspect.wire, &suspect.session, "pool.get_all").await
        {
            Ok(_) => return Ok(Arc::clone(suspect)),
            Err(Missed::Member(master)) => {
                (resolve(&self.settings, &suspect.address, &master).ok(), Some(suspect.address.clone()))
            }
            Err(Missed::Problem(problem @ Problem::NotReady { .. })) => return Err(self.error(problem)),
            Err(Missed::Problem(Problem::Transport(_))) => (down.hint.clone(), Some(suspect.address.clone())),
            Err(Missed::Problem(_)) => (Some(suspect.address.clone()), None),
        };
        let link = self.find_master(hint, asked).await.map(Arc::new)?;
        // The same server may have been found by another address; elsewhere this does nothing.
        self.close_session(&link.address, link.wire, &suspect.session).await;
        Ok(link)
    }

    /// Makes the outcome of an attempt known. A session that arrives after we have logged out is ended at once.
    async fn settle(&self, down: Down, reached: Result<Arc<Link>, ConnectError>) -> Outcome {
        match reached {
            Ok(link) if self.put(State::Up(Arc::clone(&link))) => {
                self.incarnation.send_if_modified(|current| {
                    let new = Some(link.incarnation.clone());
                    std::mem::replace(current, new.clone()) != new
                });
                Ok(link)
            }
            Ok(link) => {
                self.close_session(&link.address, link.wire, &link.session).await;
                Err(Arc::new(self.error(Problem::Closed)))
            }
            Err(error) => {
                let error = Arc::new(error);
                tracing::debug!(%error, "no connection");
                let next = self.after_failure(down, &error);
                let suspect = next.suspect.clone();
                if let (false, Some(link)) = (self.put(State::Down(next)), suspect) {
                    self.close_session(&link.address, link.wire, &link.session).await;
                }
                Err(error)
            }
        }
    }

    fn after_failure(&self, down: Down, error: &Arc<ConnectError>) -> Down {
        let failures = down.failures.saturating_add(1);
        let pause = if error.is_final() { self.settings.backoff.longest } else { self.settings.backoff.pause(failures) };
        Down { failures, not_before: self.clock.elapsed() + pause, last: Some(Arc::clone(error)), ..down }
    }

    /// Sets the state, unless we have logged out.
    fn put(&self, new: State) -> bool {
        let mut state = lock(&self.state);
        let open = !matches!(*state, State::Closed);
        if open {
            *state = new;
        }
        open
    }

    /// The server said that this session is gone.
    pub(super) fn session_ended(&self, link: &Arc<Link>) {
        self.leave(link, Down { hint: Some(link.address.clone()), ..Down::default() });
    }

    /// The server said that it is not the master (any more).
    pub(super) fn master_moved(&self, link: &Arc<Link>, master: &str) {
        self.leave(link, Down { hint: resolve(&self.settings, &link.address, master).ok(), ..Down::default() });
    }

    /// The connection broke, or the server cannot answer now.
    pub(super) fn suspect(&self, link: &Arc<Link>) {
        self.leave(link, Down { suspect: Some(Arc::clone(link)), ..Down::default() });
    }

    /// Stops using `link`, if it is still in use.
    fn leave(&self, link: &Arc<Link>, down: Down) {
        let mut state = lock(&self.state);
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, link)) {
            *state = State::Down(down);
        }
    }

    /// Ends the session and refuses further calls. Bounded by the timeout for logging out, in real time, and once more where a
    /// connection is being made at this moment.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let before = std::mem::replace(&mut *lock(&self.state), State::Closed);
        let link = match before {
            State::Up(link) | State::Down(Down { suspect: Some(link), .. }) => Some(link),
            // Whatever it reaches it gives back itself.
            State::Connecting { .. } | State::Down(_) | State::Closed => None,
        };
        if let Some(link) = link {
            self.close_session(&link.address, link.wire, &link.session).await;
        }
        self.running.close();
        if tokio::time::timeout(self.settings.timeouts.logout, self.running.wait()).await.is_err() {
            tracing::warn!(pool = %self.settings.name, "not everything ended in time at the logout; a session may stay at the server");
        }
    }

    /// The incarnation in use, or the last one.
    pub(super) fn incarnations(&self) -> watch::Receiver<Option<Incarnation>> {
        self.incarnation.subscribe()
    }

    /// The number of the login in use, or of the last one.
    pub(super) fn login_number(&self) -> Option<u64> {
        self.incarnation.borrow().as_ref().map(|incarnation| incarnation.number)
    }

    /// `failure` without the session in use.
    pub(super) fn clean(&self, failure: Failure) -> Failure {
        match &*lock(&self.state) {
            State::Up(link) => link.session.clean(failure),
            _ => failure,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(&*lock(&self.state), State::Closed)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The certificates that were accepted, by server.
    pub(super) fn certificates(&self) -> Vec<ServerCertificate> {
        self.transport.certificates.all()
    }

    pub(super) fn remembered_wire(&self, address: &Address) -> Option<Wire> {
        lock(&self.wires).get(address).copied()
    }

    pub(super) fn remember_wire(&self, address: &Address, wire: Option<Wire>) {
        let mut wires = lock(&self.wires);
        match wire {
            Some(wire) => wires.insert(address.clone(), wire),
            None => wires.remove(address),
        };
    }

    fn last_error(&self) -> Option<Arc<ConnectError>> {
        match &*lock(&self.state) {
            State::Down(Down { last, .. }) | State::Connecting { last, .. } => last.clone(),
            State::Up(_) | State::Closed => None,
        }
    }

    fn gave_up(&self, patience: &Patience, last: impl Into<Option<Arc<ConnectError>>>) -> Arc<ConnectError> {
        let waited = patience.waited();
        match last.into() {
            Some(last) if waited < Duration::from_secs(1) => last,
            Some(last) => Arc::new(self.error(Problem::GaveUp { waited, last })),
            None => Arc::new(self.error(Problem::NoAnswerYet { waited })),
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("pool", &self.settings.name).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
