//! The machine's clock. Its monotonic time goes on while the machine is suspended. It sleeps in short pieces and looks again, because a suspended machine or a stepped clock makes one long
//! sleep end at the wrong time.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};

use super::{Activity, Clock, Sleep};

/// The longest piece of a sleep.
const PIECE: Duration = Duration::from_secs(30);

/// Wall time and monotonic time of this machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Duration,
    activity: Arc<Activity>,
}

impl SystemClock {
    /// A clock that counts from now.
    pub fn new() -> Self {
        Self { started: since_boot(), activity: Arc::default() }
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
        since_boot().saturating_sub(self.started)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let end = since_boot().checked_add(duration);
        Box::pin(async move {
            loop {
                let left = end.map_or(PIECE, |end| end.saturating_sub(since_boot()));
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

/// Unlike `Instant`, which stands still while the machine is suspended.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
