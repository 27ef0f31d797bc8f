//! The machine's clock. It sleeps in short pieces and looks again, because a suspended machine or a stepped clock makes one long
//! sleep end at the wrong time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{Activity, Clock, Sleep};

/// The longest piece of a sleep.
const PIECE: Duration = Duration::from_secs(30);

/// Wall time and monotonic time of this machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    activity: Arc<Activity>,
}

impl SystemClock {
    /// A clock that counts from now.
    pub fn new() -> Self {
        Self { started: Instant::now(), activity: Arc::default() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where a Clock takes it from")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let end = Instant::now().checked_add(duration);
        Box::pin(async move {
            loop {
                let left = end.map_or(PIECE, |end| end.saturating_duration_since(Instant::now()));
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(PIECE)).await;
            }
        })
    }

    fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}
