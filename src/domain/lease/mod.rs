//! Which of two daemons of one installation works with a pool. Each claim is a key of its own in the pool's `other_config`: adding a key
//! that is there fails, so of two who add the same one has it. The highest key's writer holds the lease, renews it by adding the next
//! one, and nobody ever removes the highest.
//!
//! # The rules it keeps
//!
//! - *Proven, not remembered.* A claim counts once this very process wrote it, had it synchronised, and read it again in the present
//!   login: a member that is promoted brings back yesterday's keys.
//! - *No clock is compared with another.* Another's claim is dead once it has stood unchanged for its whole term by our own monotonic
//!   clock; its holder stops acting after three quarters of the term by his, counted from before he sent it.
//! - *A renewal proves itself only while the lease is valid.* One whose answer came later is read again first.
//! - *Where another's claim appeared that was not known to be dead, nobody acts*, whoever has the higher number.
//!
//! | file | idea |
//! | --- | --- |
//! | `claim` | a key and its value |
//! | `state` | what is known, and what to do next |

mod claim;
mod state;

use std::time::Duration;

pub use claim::{Claim, epoch_of, key};
pub use state::{Added, Keys, Lease, Next, Stands};

/// How long a claim is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// A standby takes over once it has seen nothing new of the holder for this long.
    pub expires: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { expires: Duration::from_secs(60) }
    }
}

impl Terms {
    /// So long the holder acts after it sent its newest claim. The rest of the term is for clocks of different rates, up to a third, and
    /// for a call that is on its way.
    pub fn hold(&self) -> Duration {
        self.expires / 4 * 3
    }

    /// The holder adds its next claim after this: one may fail before the lease lapses.
    pub fn renew(&self) -> Duration {
        self.expires / 3
    }

    /// What went wrong is tried again after this.
    pub fn again(&self) -> Duration {
        self.expires / 12
    }
}

#[cfg(test)]
mod tests;
