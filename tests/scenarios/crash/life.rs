//! A service that dies as a process does: in the midst of whatever it does, with nothing said to anybody.
//!
//! It lives on a runtime of its own beside that of the simulated pool; one thread takes turns with both, a task at a time. So the
//! moment of death can be chosen: the pool is asked between two turns whether a call was struck, the history whether it was written.
//! Dropping the runtime drops every task where it stands and closes every socket and file, which is what SIGKILL leaves behind.

#![allow(
    clippy::disallowed_methods,
    reason = "a life has a thread of its own, and whoever watches it from outside waits in real time"
)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xensnap::clock::{Activity, Clock, SharedClock};
use xensnap::daemon::{Daemon, DaemonError};
use xensnap::simulator::faults::Faults;
use xensnap::store::{Options, Store};

use crate::lab::Lab;

/// How many tasks of a service that is watched task by task run before the pool has its turn again.
const TURNS: u32 = 24;
/// After so many rounds in which nothing began and nothing ended somebody else is waited for: a disk, or a real millisecond.
const QUIET: u32 = 6;

/// When the service dies.
#[derive(Debug, Clone)]
pub enum Death {
    /// When a fault of the pool's plan has struck.
    Struck(Arc<Faults>),
    /// When the history was written so often, before anybody hears of it. For a service that is watched closely.
    Written(u64),
    /// After so many turns of its tasks. For a service that is watched closely.
    Turned(u64),
}

/// A service that can be killed, again and again.
#[derive(Clone, Default)]
pub struct Life {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    runtime: RefCell<Option<Runtime>>,
    death: RefCell<Option<Death>>,
    folder: RefCell<PathBuf>,
    written: RefCell<Vec<u8>>,
    stop: RefCell<CancellationToken>,
    activity: RefCell<Option<Arc<Activity>>>,
    ended: RefCell<Option<JoinHandle<Result<(), DaemonError>>>>,
    deaths: Cell<u32>,
    closely: Cell<bool>,
}

/// Plays a script with a service in it, and gives both runtimes their turns.
pub fn play<F: Future>(script: impl FnOnce(Life) -> F) -> F::Output {
    let pool = Builder::new_current_thread().enable_all().build().unwrap();
    let life = Life::default();
    let mut script = Box::pin(script(life.clone()));
    let mut context = Context::from_waker(Waker::noop());
    let (mut quiet, mut seen) = (0, 0);
    loop {
        let played = {
            let _here = pool.enter();
            script.as_mut().poll(&mut context)
        };
        if let Poll::Ready(output) = played {
            life.inner.die();
            return output;
        }
        pool.block_on(tokio::task::yield_now());
        life.inner.turns();
        let changes = life.inner.activity.borrow().as_ref().map_or(0, |activity| activity.changes());
        quiet = if changes == seen { quiet + 1 } else { 0 };
        seen = changes;
        if quiet > QUIET {
            rest();
        }
    }
}

impl Life {
    /// Starts the service and waits until it knows the pool, or is dead.
    pub async fn start(&self, lab: &Lab) {
        let (clock, plan): (SharedClock, _) = (Arc::new(lab.clock.clone()), lab.plan());
        let path = lab.folder.path().join("history.sqlite");
        *self.inner.folder.borrow_mut() = lab.folder.path().to_owned();
        let (here, arrived) = tokio::sync::oneshot::channel();
        let stop = CancellationToken::new();
        *self.inner.stop.borrow_mut() = stop.clone();
        // With an interval of one every block_on below runs one task and then returns.
        let interval = if self.inner.closely.get() { 1 } else { 61 };
        let runtime = Builder::new_current_thread().enable_all().event_interval(interval).build().unwrap();
        *self.inner.activity.borrow_mut() = Some(Arc::clone(clock.activity()));
        let at_work = clock.activity().hold();
        let service = async move {
            let opened = Store::open(path, &Options::default(), clock.now()).await?;
            let daemon = Daemon::new(opened, plan, clock).await?;
            let handle = daemon.handle();
            tokio::spawn(async move {
                let mut sites = handle.sites();
                let _ = sites.wait_for(|sites| !sites.is_empty()).await;
                let _ = here.send(());
                stop.cancelled().await;
                handle.stop();
            });
            drop(at_work);
            daemon.run(Duration::from_secs(60)).await
        };
        *self.inner.ended.borrow_mut() = Some(runtime.spawn(service));
        *self.inner.runtime.borrow_mut() = Some(runtime);
        let mut arrived = std::pin::pin!(arrived);
        for _ in 0..1000 {
            if self.is_dead() || futures_util::poll!(arrived.as_mut()).is_ready() {
                return;
            }
            lab.clock.advance(Duration::from_secs(2)).await;
        }
        panic!("the pool was not reached");
    }

    /// From its next start on it is watched task by task, so that it can die between any two.
    pub fn is_watched_closely(&self) {
        self.inner.closely.set(true);
    }

    /// Says when the service is to die.
    pub fn dies(&self, death: Death) {
        *self.inner.written.borrow_mut() = self.inner.generation();
        *self.inner.death.borrow_mut() = Some(death);
    }

    /// It lives on.
    pub fn lives(&self) {
        *self.inner.death.borrow_mut() = None;
    }

    /// Kills it now.
    pub fn kill(&self) {
        self.inner.die();
    }

    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        self.inner.runtime.borrow().is_none()
    }

    /// Lets time pass until it is dead, at most `bound`. Whether it is.
    pub async fn until_dead(&self, lab: &Lab, bound: Duration) -> bool {
        let end = lab.clock.elapsed() + bound;
        while !self.is_dead() && lab.clock.elapsed() < end {
            lab.clock.advance(Duration::from_secs(10)).await;
        }
        self.is_dead()
    }

    /// Stops it in order (SIGTERM), and returns how much time that took.
    pub async fn stop(&self, lab: &Lab) -> Duration {
        let began = lab.clock.elapsed();
        self.inner.stop.borrow().cancel();
        let ended = self.inner.ended.borrow_mut().take().expect("it was started");
        while !ended.is_finished() {
            lab.clock.advance(Duration::from_secs(1)).await;
        }
        let took = lab.clock.elapsed() - began;
        ended.await.unwrap().unwrap();
        self.inner.die();
        took
    }

    /// How often it died.
    pub fn deaths(&self) -> u32 {
        self.inner.deaths.get()
    }
}

impl Inner {
    /// A few turns of the service, unless it dies.
    fn turns(&self) {
        if self.is_struck() {
            return self.die();
        }
        for _ in 0..if self.closely.get() { TURNS } else { 1 } {
            match self.runtime.borrow().as_ref() {
                Some(runtime) => runtime.block_on(tokio::task::yield_now()),
                None => return,
            }
            if self.is_due() {
                return self.die();
            }
        }
    }

    fn is_struck(&self) -> bool {
        match &*self.death.borrow() {
            Some(Death::Struck(faults)) => faults.reports().iter().any(|report| report.struck > 0),
            _ => false,
        }
    }

    fn is_due(&self) -> bool {
        match &mut *self.death.borrow_mut() {
            Some(Death::Turned(left)) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Some(Death::Written(left)) => {
                let now = self.generation();
                if std::mem::replace(&mut *self.written.borrow_mut(), now.clone()) != now {
                    *left = left.saturating_sub(1);
                }
                *left == 0
            }
            Some(Death::Struck(_)) | None => false,
        }
    }

    /// What stands beside the history after its last commit.
    fn generation(&self) -> Vec<u8> {
        std::fs::read(self.folder.borrow().join("history.sqlite.generation")).unwrap_or_default()
    }

    fn die(&self) {
        let Some(runtime) = self.runtime.borrow_mut().take() else { return };
        drop(runtime);
        self.death.borrow_mut().take();
        self.deaths.set(self.deaths.get() + 1);
        // Threads of the database outlive the runtime for a moment; of a process nothing would.
        let end = Instant::now() + Duration::from_secs(20);
        while is_open(&self.folder.borrow()) && Instant::now() < end {
            rest();
        }
    }
}

/// A moment of real time, for threads that are not ours.
#[expect(clippy::disallowed_methods, reason = "both runtimes stand still meanwhile, so no clock can help")]
fn rest() {
    std::thread::sleep(Duration::from_micros(60));
}

/// Whether this process has a file of the folder open.
fn is_open(folder: &Path) -> bool {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|file| file.starts_with(folder))
}
