//! The wish to see the pool as it is now, where the server has no events. It is shared: one reading that begins after them serves all
//! who asked. Readings that were asked for keep a distance, which grows while they show nothing new.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Hold, SharedClock};

/// The distance at first; never shorter than the last reading took.
const BRIEF: Duration = Duration::from_secs(1);

/// The distance in the end.
const LONGEST: Duration = Duration::from_secs(60);

/// Whoever asks, and whoever reads.
#[derive(Debug, Default)]
pub(super) struct Asked {
    news: Notify,
    reader: Mutex<Reader>,
}

#[derive(Debug, Default)]
struct Reader {
    /// It has nothing to do.
    idle: bool,
    /// Holds the clock from a wish that wakes the reader to its reading. Whoever asks meanwhile waits for the server, as the reader does.
    hold: Option<Hold>,
}

impl Asked {
    /// Somebody wants to see the pool as it is now.
    pub(super) fn ask(&self, clock: &SharedClock) {
        let mut reader = self.lock();
        if reader.idle {
            reader.hold.get_or_insert_with(|| clock.activity().hold());
        }
        self.news.notify_one();
    }

    /// Waits until somebody asks, and then keeps the distance; `every` at most. True if somebody asked.
    pub(super) async fn wait(&self, clock: &SharedClock, distance: Duration, every: Duration) -> bool {
        let begun = clock.elapsed();
        self.lock().idle = true;
        let asked = tokio::select! {
            () = self.news.notified() => true,
            () = clock.sleep(every) => false,
        };
        let left = distance.min(every).saturating_sub(clock.elapsed().saturating_sub(begun));
        if asked && !left.is_zero() {
            self.begins();
            clock.sleep(left).await;
        }
        asked
    }

    /// The reader is not idle any more; the next request of its holds the clock.
    pub(super) fn begins(&self) {
        *self.lock() = Reader::default();
    }

    fn lock(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The distance after a reading that took so long; it doubles while readings that were asked for show nothing new.
pub(super) fn distance(before: Duration, took: Duration, in_vain: bool) -> Duration {
    let doubled = if in_vain { before.saturating_mul(2).min(LONGEST) } else { BRIEF };
    doubled.max(BRIEF).max(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_that_show_nothing_new_come_ever_more_rarely() {
        let (second, nothing) = (Duration::from_secs(1), Duration::ZERO);
        assert_eq!(distance(nothing, nothing, false), second);
        assert_eq!(distance(second, nothing, true), second * 2);
        assert_eq!(distance(second * 8, nothing, true), second * 16);
        assert_eq!(distance(LONGEST, nothing, true), LONGEST);
        assert_eq!(distance(second * 8, nothing, false), second);
        assert_eq!(distance(second, second * 30, false), second * 30, "a reading of a large pool takes long");
    }
}
