//! How long a caller is ready to wait, in time of the clock. Work that is under way is not cut off by it where there is none left to
//! begin with: a caller without patience still gets one whole attempt.

use std::future::Future;
use std::time::Duration;

use crate::clock::SharedClock;

/// A caller's patience, counted from when it was made.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    clock: SharedClock,
    started: Duration,
    whole: Duration,
}

impl Patience {
    pub(super) fn new(clock: &SharedClock, whole: Duration) -> Self {
        Self { clock: clock.clone(), started: clock.elapsed(), whole }
    }

    /// How much has passed.
    pub(super) fn waited(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.started)
    }

    pub(super) fn left(&self) -> Duration {
        self.whole.saturating_sub(self.waited())
    }

    /// Sleeps for `pause`; false, at once, if that is longer than the patience that is left.
    pub(super) async fn pause(&self, pause: Duration) -> bool {
        if pause > self.left() {
            return false;
        }
        self.clock.sleep(pause).await;
        true
    }

    /// Waits for `work` until patience ends, or to its end if there was none to begin with.
    pub(super) async fn wait_for<F: Future>(&self, work: F) -> Option<F::Output> {
        if self.whole.is_zero() {
            return Some(work.await);
        }
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.clock.sleep(self.left()) => None,
        }
    }
}
