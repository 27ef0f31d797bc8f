//! Who may change something in a pool. The one rule: every call that changes something is held against it the moment before it is sent,
//! so that a process that was suspended, or whose calls hung, finds out before it does anything. A call that may not pass waits, as it
//! does for a pool that is away; where another works with the pool it is refused.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};

use super::patience::Patience;
use crate::clock::SharedClock;

/// The wall clock may run ahead of the monotonic one by this before it is taken for a sign that the machine stood still.
const STOOD_STILL: TimeDelta = TimeDelta::seconds(5);

/// How it stands.
#[derive(Debug, Clone, PartialEq)]
enum Gate {
    /// Whoever wants may pass: nobody guards the pool.
    Open,
    /// One may pass in this login until then.
    Until { login: u64, until: Duration, set: (Duration, DateTime<Utc>) },
    /// Nobody may pass for now.
    Shut,
    /// Another works with the pool.
    Lost,
}

/// The fence of one pool. Clones share it.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gate: watch::Sender<Gate>,
    wanted: Notify,
}

/// Why a call may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    /// It may later.
    NotNow,
    /// Another works with the pool.
    Lost,
    /// The login is another by now: look again.
    LoginChanged,
}

impl Default for Fence {
    fn default() -> Self {
        Self(Arc::new(Shared { gate: watch::Sender::new(Gate::Open), wanted: Notify::new() }))
    }
}

impl Fence {
    /// Nobody guards the pool.
    pub fn open(&self) {
        self.0.gate.send_replace(Gate::Open);
    }

    /// Nothing passes until it is opened again.
    pub fn shut(&self) {
        self.0.gate.send_replace(Gate::Shut);
    }

    /// Another works with the pool.
    pub fn lose(&self) {
        self.0.gate.send_replace(Gate::Lost);
    }

    /// What changes something may pass in the login of this number until `until`, in elapsed time of the clock. `set` is the elapsed
    /// time and the wall clock of one moment from which that counts.
    pub fn open_until(&self, login: u64, until: Duration, set: (Duration, DateTime<Utc>)) {
        self.0.gate.send_replace(Gate::Until { login, until, set });
    }

    /// Waits until somebody wants to pass who may not now.
    pub async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// Whether a call may pass in this login now.
    pub fn passes(&self, clock: &SharedClock, login: u64) -> bool {
        passes(&self.0.gate.borrow(), clock, login)
    }

    /// Waits until a call may pass in this login.
    pub(super) async fn pass(&self, clock: &SharedClock, login: u64, patience: &Patience) -> Result<(), Barred> {
        let mut gate = self.0.gate.subscribe();
        if passes(&gate.borrow_and_update(), clock, login) {
            return Ok(());
        }
        self.0.wanted.notify_one();
        let moved = gate.wait_for(|gate| match gate {
            Gate::Lost => true,
            Gate::Until { login: proven, .. } if *proven > login => true,
            gate => passes(gate, clock, login),
        });
        match patience.wait_for(moved).await {
            Some(Ok(gate)) if passes(&gate, clock, login) => Ok(()),
            Some(Ok(gate)) if *gate == Gate::Lost => Err(Barred::Lost),
            Some(Ok(_)) => Err(Barred::LoginChanged),
            _ => Err(Barred::NotNow),
        }
    }
}

fn passes(gate: &Gate, clock: &SharedClock, login: u64) -> bool {
    match gate {
        Gate::Open => true,
        Gate::Shut | Gate::Lost => false,
        Gate::Until { login: proven, until, set: (elapsed, wall) } => {
            let now = clock.elapsed();
            let passed = TimeDelta::from_std(now.saturating_sub(*elapsed)).unwrap_or(TimeDelta::MAX);
            *proven == login && now < *until && clock.now() - *wall - passed < STOOD_STILL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HandClock;

    fn clock() -> (HandClock, SharedClock) {
        let clock = HandClock::new(DateTime::UNIX_EPOCH);
        (clock.clone(), Arc::new(clock))
    }

    #[test]
    fn it_passes_in_its_login_and_time_and_not_after_a_machine_stood_still() {
        let (hand, clock) = clock();
        let fence = Fence::default();
        assert!(fence.passes(&clock, 1), "nobody guards it");
        fence.open_until(1, Duration::from_secs(45), (clock.elapsed(), clock.now()));
        assert!(fence.passes(&clock, 1) && !fence.passes(&clock, 2));
        hand.step_wall_clock(TimeDelta::seconds(4));
        assert!(fence.passes(&clock, 1), "a clock that is corrected a little");
        hand.step_wall_clock(TimeDelta::seconds(2));
        assert!(!fence.passes(&clock, 1), "a clock that is far ahead: the machine may have stood still");
        fence.open_until(1, Duration::from_secs(45), (clock.elapsed(), clock.now()));
        hand.step_wall_clock(TimeDelta::hours(-3));
        hand.jump_to(Duration::from_secs(44));
        assert!(fence.passes(&clock, 1), "a clock that was set back says nothing");
        hand.jump_to(Duration::from_secs(45));
        assert!(!fence.passes(&clock, 1));
    }

    #[tokio::test]
    async fn whoever_may_not_pass_waits_and_is_told_what_came_of_it() {
        let (hand, clock) = clock();
        let fence = Fence::default();
        fence.shut();
        let pass = |login: u64| {
            let (fence, clock) = (fence.clone(), clock.clone());
            tokio::spawn(async move {
                let patience = Patience::new(&clock, Duration::from_secs(60));
                fence.pass(&clock, login, &patience).await
            })
        };
        let (first, second) = (pass(1), pass(2));
        fence.wanted().await;
        fence.open_until(2, Duration::from_secs(45), (clock.elapsed(), clock.now()));
        assert_eq!(first.await.unwrap(), Err(Barred::LoginChanged));
        assert_eq!(second.await.unwrap(), Ok(()));
        fence.shut();
        let waits = pass(2);
        hand.advance(Duration::from_secs(61)).await;
        assert_eq!(waits.await.unwrap(), Err(Barred::NotNow));
        let waits = pass(2);
        fence.lose();
        assert_eq!(waits.await.unwrap(), Err(Barred::Lost));
    }
}
