//! Virtual time for tests without sockets: as [`xensnap::clock::HandClock`], but it need not leave a socket's other end any real time.
//! All work runs on the test's own thread, so yielding to it is enough.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use xensnap::clock::{Activity, Clock, Sleep};

/// How many turns in a row everybody must have had without anything happening.
const QUIET: u32 = 4;

#[derive(Debug, Clone, Default)]
pub struct QuickClock {
    state: Arc<Mutex<State>>,
    activity: Arc<Activity>,
}

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    next: u64,
    sleepers: BTreeMap<(Duration, u64), Option<Waker>>,
}

impl QuickClock {
    /// Drives `work` to its end, jumping from sleeper to sleeper.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = self.settle() => {}
            }
            assert!(self.jump(), "nobody sleeps, and nobody works");
        }
    }

    /// Moves to the next sleeper and lets it work. False when nobody sleeps.
    pub async fn next(&self) -> bool {
        self.settle().await;
        let woken = self.jump();
        self.settle().await;
        woken
    }

    /// Lets a time pass.
    pub async fn advance(&self, by: Duration) {
        let end = self.elapsed() + by;
        self.run(self.sleep(by)).await;
        assert!(self.elapsed() >= end);
        self.settle().await;
    }

    async fn settle(&self) {
        let mut quiet = 0;
        let mut seen = self.activity.changes();
        while quiet < QUIET {
            tokio::task::yield_now().await;
            let changes = self.activity.changes();
            quiet = if self.activity.is_idle() && changes == seen { quiet + 1 } else { 0 };
            seen = changes;
        }
    }

    fn jump(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let Some((&(at, _), _)) = state.sleepers.first_key_value() else { return false };
        state.elapsed = state.elapsed.max(at);
        let later = state.sleepers.split_off(&(at, u64::MAX));
        for waker in std::mem::replace(&mut state.sleepers, later).into_values().flatten() {
            waker.wake();
        }
        true
    }
}

impl Clock for QuickClock {
    fn now(&self) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 22, 16, 0, 0).unwrap() + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.state.lock().unwrap().elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.state.lock().unwrap();
        let key = (state.elapsed.saturating_add(duration), state.next);
        state.next += 1;
        if !duration.is_zero() {
            state.sleepers.insert(key, None);
        }
        Box::pin(Slumber { clock: self.clone(), key })
    }

    fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

struct Slumber {
    clock: QuickClock,
    key: (Duration, u64),
}

impl Future for Slumber {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.clock.state.lock().unwrap().sleepers.get_mut(&self.key) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Slumber {
    fn drop(&mut self) {
        self.clock.state.lock().unwrap().sleepers.remove(&self.key);
    }
}
