//! A clock for demonstrations and rehearsals: a [`HandClock`] with somebody who turns it.
//!
//! It jumps over idle time and lets at most `pace` simulated seconds pass per real second, so that a person can watch.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Activity, Clock, HandClock, Sleep};

/// Virtual time that runs by itself.
#[derive(Debug, Clone)]
pub struct FastClock {
    hand: HandClock,
}

impl FastClock {
    /// A clock that starts at `start` and stands still until [`FastClock::run`] turns it.
    pub fn new(start: DateTime<Utc>) -> Self {
        Self { hand: HandClock::new(start) }
    }

    /// Turns the clock until `end`, sleeping so that no more than `pace` simulated seconds pass in a real one.
    pub async fn run(&self, end: DateTime<Utc>, pace: f64) {
        let step = Duration::from_millis(20);
        while self.now() < end {
            self.hand.advance(step.mul_f64(pace)).await;
            tokio::time::sleep(step).await;
        }
    }
}

impl Clock for FastClock {
    fn now(&self) -> DateTime<Utc> {
        self.hand.now()
    }

    fn elapsed(&self) -> Duration {
        self.hand.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.hand.sleep(duration)
    }

    fn activity(&self) -> &Arc<Activity> {
        self.hand.activity()
    }
}
