//! A clock that only a test moves. Sleepers wake in the order of their deadlines, one instant at a time, and between two instants
//! everything that was woken comes to rest.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Activity, Clock, Sleep};

/// How often in a row the clock must be found idle before time may pass: tasks that were woken need a turn to say that they work.
const QUIET_LOOKS: u32 = 8;
/// Real time after which a clock that never comes to rest moves on all the same, so that a test fails instead of hanging.
const REST_BOUND: Duration = Duration::from_secs(20);

/// Virtual time, moved by [`HandClock::advance`].
#[derive(Debug, Clone)]
pub struct HandClock {
    state: Arc<Mutex<State>>,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct State {
    start: DateTime<Utc>,
    elapsed: Duration,
    /// What was added to the wall clock by [`HandClock::step_wall_clock`].
    wall_offset: TimeDelta,
    next_id: u64,
    sleepers: BTreeMap<(Duration, u64), Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    waker: Option<Waker>,
}

impl HandClock {
    /// A clock that shows `start` and stands still.
    pub fn new(start: DateTime<Utc>) -> Self {
        let state =
            State { start, elapsed: Duration::ZERO, wall_offset: TimeDelta::zero(), next_id: 0, sleepers: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), activity: Arc::default() }
    }

    /// Moves time forward by `duration`, waking every sleeper on the way at its own instant, and returns once all has come to rest.
    pub async fn advance(&self, duration: Duration) {
        let end = self.lock().elapsed + duration;
        self.settle().await;
        while self.jump(end) {
            self.settle().await;
        }
        self.lock().elapsed = end;
        self.settle().await;
    }

    /// Moves time to the wall-clock instant `to`; does nothing when that has passed.
    pub async fn advance_to(&self, to: DateTime<Utc>) {
        if let Ok(duration) = (to - self.now()).to_std() {
            self.advance(duration).await;
        }
    }

    /// Moves time to the next sleeper and wakes it. False when nobody sleeps.
    pub async fn advance_to_next_sleeper(&self) -> bool {
        self.settle().await;
        let woken = self.jump(Duration::MAX);
        self.settle().await;
        woken
    }

    /// When the next sleeper wakes, in elapsed time; none when nobody sleeps.
    pub fn next_sleeper(&self) -> Option<Duration> {
        self.lock().sleepers.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Moves to `elapsed`, never back, and wakes every sleeper up to then. Waits for nobody: for those who see to that themselves.
    pub fn jump_to(&self, elapsed: Duration) {
        while self.jump(elapsed) {}
        let mut state = self.lock();
        state.elapsed = state.elapsed.max(elapsed);
    }

    /// Waits until nobody of this process works, whatever is on the wire. Only on a runtime of one thread is that certain.
    pub async fn pause_of_work(&self) {
        let (mut quiet, mut seen) = (0, self.activity.changes());
        while quiet < QUIET_LOOKS {
            if self.activity.counts().busy > 0 {
                self.activity.done().await;
            }
            tokio::task::yield_now().await;
            let counts = self.activity.counts();
            quiet = if counts.busy <= 0 && counts.changes == seen { quiet + 1 } else { 0 };
            seen = counts.changes;
        }
    }

    /// Steps the wall clock as an administrator or NTP would; monotonic time and sleepers do not notice.
    pub fn step_wall_clock(&self, by: TimeDelta) {
        self.lock().wall_offset += by;
    }

    /// Waits until nobody works and nothing is on the wire.
    pub async fn settle(&self) {
        let bound = tokio::time::Instant::now() + REST_BOUND;
        let mut quiet = 0;
        let mut seen = self.activity.changes();
        while quiet < QUIET_LOOKS && tokio::time::Instant::now() < bound {
            if self.activity.is_idle() {
                breathe(quiet).await;
            } else {
                // Asking again and again would take the processor from those who work.
                let _ = tokio::time::timeout_at(bound, self.activity.rest()).await;
            }
            let changes = self.activity.changes();
            quiet = if self.activity.is_idle() && changes == seen { quiet + 1 } else { 0 };
            seen = changes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves to the earliest sleeper not after `end` and wakes all sleepers of that instant.
    fn jump(&self, end: Duration) -> bool {
        let woken = {
            let mut state = self.lock();
            let Some((&(at, _), _)) = state.sleepers.first_key_value() else { return false };
            if at > end {
                return false;
            }
            state.elapsed = state.elapsed.max(at);
            let later = state.sleepers.split_off(&(at, u64::MAX));
            std::mem::replace(&mut state.sleepers, later)
        };
        for sleeper in woken.into_values() {
            sleeper.waker.inspect(Waker::wake_by_ref);
        }
        true
    }
}

/// Lets other tasks run: mostly by yielding, and twice by a moment of real time, which a socket on another thread needs. Such a moment
/// is a millisecond at least, and a simulated year has many of them.
async fn breathe(quiet: u32) {
    if quiet % (QUIET_LOOKS / 2) == QUIET_LOOKS / 2 - 1 {
        tokio::time::sleep(Duration::from_micros(50)).await;
    } else {
        tokio::task::yield_now().await;
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        let state = self.lock();
        state.start + state.elapsed + state.wall_offset
    }

    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.lock();
        let key = (state.elapsed.saturating_add(duration), state.next_id);
        state.next_id += 1;
        if !duration.is_zero() {
            state.sleepers.insert(key, Sleeper { waker: None });
        }
        drop(state);
        Box::pin(Slumber { clock: self.clone(), key })
    }

    fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

struct Slumber {
    clock: HandClock,
    key: (Duration, u64),
}

impl Future for Slumber {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.lock();
        match state.sleepers.get_mut(&self.key) {
            Some(sleeper) => {
                sleeper.waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Slumber {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}

/// Runs `work` while moving `clock` from sleeper to sleeper, for work that is expected to end by itself.
///
/// The future is polled with the clock held, so that time does not pass while it computes; for every wait it must use
/// [`Hold::while_waiting`](super::Hold::while_waiting) or the clock's own users (client, simulator).
impl HandClock {
    /// Drives `work` to its end, jumping over every idle moment.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = self.settle() => {}
            }
            if !self.jump(Duration::MAX) {
                // Nobody sleeps: only something outside the clock can go on.
                tokio::select! {
                    output = &mut work => return output,
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_instants_and_each_at_its_own() {
        let clock = HandClock::new(start());
        let woken = Arc::new(Mutex::new(Vec::new()));
        for seconds in [30, 10, 20] {
            let (clock, woken) = (clock.clone(), Arc::clone(&woken));
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                woken.lock().unwrap().push((seconds, clock.elapsed().as_secs()));
            });
        }
        clock.advance(Duration::from_secs(25)).await;
        assert_eq!(*woken.lock().unwrap(), [(10, 10), (20, 20)]);
        clock.advance(Duration::from_secs(5)).await;
        assert_eq!(*woken.lock().unwrap(), [(10, 10), (20, 20), (30, 30)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn time_does_not_pass_while_somebody_works() {
        let clock = HandClock::new(start());
        let (asked, mut ask) = tokio::sync::mpsc::channel::<()>(1);
        let hold = clock.activity().hold();
        let mover = tokio::spawn({
            let clock = clock.clone();
            async move {
                asked.send(()).await.unwrap();
                clock.advance(Duration::from_secs(1)).await;
            }
        });
        ask.recv().await.unwrap();
        assert_eq!(clock.elapsed(), Duration::ZERO);
        drop(hold);
        mover.await.unwrap();
        assert_eq!(clock.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn work_that_waits_on_the_clock_is_driven_to_its_end() {
        let clock = HandClock::new(start());
        let work = async {
            let mut hold = clock.activity().hold();
            for _ in 0..3 {
                hold.while_waiting(clock.sleep(Duration::from_secs(3600))).await;
            }
            clock.now()
        };
        assert_eq!(clock.run(work).await, start() + TimeDelta::hours(3));
    }

    #[tokio::test]
    async fn a_stepped_wall_clock_moves_no_sleeper() {
        let clock = HandClock::new(start());
        let sleep = clock.sleep(Duration::from_secs(60));
        clock.step_wall_clock(TimeDelta::hours(-5));
        assert_eq!(clock.now(), start() - TimeDelta::hours(5));
        clock.advance(Duration::from_secs(60)).await;
        sleep.await;
        assert_eq!(clock.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_sleeper_that_is_dropped_is_forgotten() {
        let clock = HandClock::new(start());
        drop(clock.sleep(Duration::from_secs(5)));
        assert!(!clock.advance_to_next_sleeper().await);
    }
}
