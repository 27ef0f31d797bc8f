//! Time is handed in, never taken: whoever waits or asks for "now" does it through a [`Clock`].
//!
//! [`SystemClock`] is the machine's. [`HandClock`] stands still until a test moves it. [`FastClock`] runs by itself, but jumps
//! over every moment in which nobody has anything to do. The last two may only jump when all work in flight has come to rest,
//! and that cannot be seen through a socket; so whoever works holds a [`Hold`], and both ends of an HTTP exchange tell the
//! clock when a message is on the wire ([`Activity`]). Where the two ends are processes of their own, one of them leads and the other
//! follows ([`Leader`], [`follow()`]).

mod activity;
mod fast;
mod follow;
mod hand;
mod system;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use activity::{Activity, Counts, Exchange, Hold, OnTheWire};
pub use fast::FastClock;
pub use follow::{Leader, Lost, follow};
pub use hand::HandClock;
pub use system::SystemClock;

/// A clock that can be shared between tasks.
pub type SharedClock = Arc<dyn Clock>;

/// The future of a [`Clock::sleep`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
///
/// `now` may step in either direction on [`SystemClock`] (an administrator, NTP); `elapsed` never goes back.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock, in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// Time since this clock was made. Monotonic.
    fn elapsed(&self) -> Duration;

    /// Completes once `duration` has passed on this clock. Cancel-safe: dropping the future forgets the sleeper.
    fn sleep(&self, duration: Duration) -> Sleep;

    /// Where work in flight is registered, so that virtual time does not run past it.
    fn activity(&self) -> &Arc<Activity>;
}
