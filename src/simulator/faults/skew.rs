//! The server's own clock, which may be wrong.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Faults;
use crate::clock::{Activity, Clock, SharedClock, Sleep};

/// A clock whose wall time is off by what [`Action::Skew`](super::Action::Skew) added up to. Elapsed time and sleeps are true.
#[derive(Debug)]
pub struct ServerClock {
    inner: SharedClock,
    faults: Arc<Faults>,
}

impl ServerClock {
    /// The clock of a server under these faults.
    pub fn new(inner: SharedClock, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

impl Clock for ServerClock {
    fn now(&self) -> DateTime<Utc> {
        self.inner.now() + self.faults.skew()
    }

    fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.inner.sleep(duration)
    }

    fn activity(&self) -> &Arc<Activity> {
        self.inner.activity()
    }
}
