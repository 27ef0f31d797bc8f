//! Who is at work. Virtual time passes only while nobody is and no message is between two sockets.
//!
//! The rule for one HTTP exchange: the client counts the request onto the wire, the server takes it off when it has read it and
//! holds the clock while it works, counts the answer onto the wire, and the client takes that off. Every one of the four steps
//! is an RAII value, so that a cut connection, a dropped future or a killed server keeps the sum at zero.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::Notify;

/// The counters of one clock.
#[derive(Debug, Default)]
pub struct Activity {
    busy: AtomicI64,
    wire: AtomicI64,
    abandoned: AtomicI64,
    /// Grows with every change, so that an observer can tell "still idle" from "idle again".
    changes: AtomicU64,
    /// Wakes whoever waits for rest.
    rests: Notify,
    /// Wakes whoever waits until nobody works, whatever is on the wire.
    done: Notify,
}

/// What the counters show at one moment. Those of two processes that talk to one another are added up: one counts a request onto the
/// wire, the other takes it off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many work.
    pub busy: i64,
    /// What was sent and not read yet; negative in a process that mostly reads.
    pub wire: i64,
    /// What was sent by somebody who does not wait for the answer any more.
    pub abandoned: i64,
    /// Differs whenever anything was registered or released in between.
    pub changes: u64,
}

impl Counts {
    /// Of two processes together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            busy: self.busy.max(0) + other.busy.max(0),
            wire: self.wire + other.wire,
            abandoned: self.abandoned + other.abandoned,
            changes: self.changes.wrapping_add(other.changes),
        }
    }

    /// True while nobody works and nothing is between two sockets.
    pub fn is_idle(&self) -> bool {
        self.busy <= 0 && self.wire - self.abandoned <= 0
    }
}

impl Activity {
    /// Registers work; time does not pass until the hold is dropped or waits.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.add(&self.busy, 1);
        Hold { activity: Arc::clone(self), held: true }
    }

    /// The client's half of an exchange: a request goes onto the wire now.
    pub fn request(self: &Arc<Self>) -> OnTheWire {
        self.add(&self.wire, 1);
        OnTheWire { activity: Arc::clone(self), answered: false }
    }

    /// The server's half of an exchange: a request was read off the wire.
    pub fn accept(self: &Arc<Self>) -> Exchange {
        let hold = self.hold();
        self.add(&self.wire, -1);
        Exchange { hold }
    }

    /// True while nobody works and nothing is between two sockets.
    pub fn is_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) <= 0 && self.wire.load(Ordering::SeqCst) <= 0
    }

    /// A number that differs whenever anything was registered or released in between.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// All counters.
    pub fn counts(&self) -> Counts {
        Counts {
            busy: self.busy.load(Ordering::SeqCst),
            wire: self.wire.load(Ordering::SeqCst),
            abandoned: self.abandoned.load(Ordering::SeqCst),
            changes: self.changes(),
        }
    }

    /// Returns when nobody works, whatever is on the wire; somebody may have begun again by then.
    pub async fn done(&self) {
        let done = self.done.notified();
        tokio::pin!(done);
        done.as_mut().enable();
        if self.busy.load(Ordering::SeqCst) > 0 {
            done.await;
        }
    }

    /// Returns when nobody works and nothing is between two sockets; somebody may have begun again by then.
    pub async fn rest(&self) {
        let rested = self.rests.notified();
        tokio::pin!(rested);
        rested.as_mut().enable();
        if !self.is_idle() {
            rested.await;
        }
    }

    fn add(&self, counter: &AtomicI64, n: i64) {
        counter.fetch_add(n, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
        if self.busy.load(Ordering::SeqCst) <= 0 {
            self.done.notify_waiters();
        }
        if self.is_idle() {
            self.rests.notify_waiters();
        }
    }

    fn answer_left(&self) {
        let abandoned = self.abandoned.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n > 0).then_some(n - 1));
        if abandoned.is_err() {
            self.add(&self.wire, 1);
        }
    }
}

/// Work in flight. Dropping it releases the clock.
#[derive(Debug)]
pub struct Hold {
    activity: Arc<Activity>,
    held: bool,
}

impl Hold {
    /// Waits for `wait` without holding the clock, and holds it again afterwards. What `wait` does before it waits for the first time is
    /// work: a connection that is prepared, a request on its way to the wire.
    pub fn while_waiting<F: Future>(&mut self, wait: F) -> impl Future<Output = F::Output> {
        Waiting { hold: self, wait }
    }

    fn release(&mut self) {
        if std::mem::take(&mut self.held) {
            self.activity.add(&self.activity.busy, -1);
        }
    }

    fn acquire(&mut self) {
        if !std::mem::replace(&mut self.held, true) {
            self.activity.add(&self.activity.busy, 1);
        }
    }
}

pin_project! {
    /// A wait of somebody who works. A type of its own, because waits are within waits, and each level of a stack counts.
    struct Waiting<'a, F> {
        hold: &'a mut Hold,
        #[pin]
        wait: F,
    }
}

impl<F: Future> Future for Waiting<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.wait.poll(context);
        if polled.is_ready() {
            this.hold.acquire();
        } else {
            this.hold.release();
        }
        polled
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

/// A request a client has sent and whose answer it awaits.
#[derive(Debug)]
pub struct OnTheWire {
    activity: Arc<Activity>,
    answered: bool,
}

impl OnTheWire {
    /// The answer (or the connection's end) has arrived; the caller is at work again.
    pub fn answered(mut self) -> Hold {
        let hold = self.activity.hold();
        self.answered = true;
        self.activity.add(&self.activity.wire, -1);
        hold
    }
}

impl Drop for OnTheWire {
    /// Nobody waits for this answer any more: the server's half must not count it onto the wire.
    fn drop(&mut self) {
        if !self.answered {
            self.activity.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A request a server works on. Dropping it counts the answer, or the cut, onto the wire.
#[derive(Debug)]
pub struct Exchange {
    hold: Hold,
}

impl Exchange {
    /// See [`Hold::while_waiting`].
    pub fn while_waiting<F: Future>(&mut self, wait: F) -> impl Future<Output = F::Output> {
        self.hold.while_waiting(wait)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.hold.activity.answer_left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_busy_from_the_request_to_the_read_answer() {
        let activity = Arc::new(Activity::default());
        let sent = activity.request();
        assert!(!activity.is_idle(), "the request is on the wire");
        let exchange = activity.accept();
        assert!(!activity.is_idle(), "the server works");
        drop(exchange);
        assert!(!activity.is_idle(), "the answer is on the wire");
        let hold = sent.answered();
        assert!(!activity.is_idle(), "the client works");
        drop(hold);
        assert!(activity.is_idle());
    }

    #[tokio::test]
    async fn a_server_that_waits_is_idle() {
        let activity = Arc::new(Activity::default());
        let _sent = activity.request();
        let mut exchange = activity.accept();
        let waits = async {
            let idle_at_first = activity.is_idle();
            tokio::task::yield_now().await;
            (idle_at_first, activity.is_idle())
        };
        assert_eq!(exchange.while_waiting(waits).await, (false, true), "what comes before the first wait is work");
        assert!(!activity.is_idle());
    }

    #[test]
    fn a_request_that_was_never_read_and_whose_connection_ended_leaves_nothing_behind() {
        let activity = Arc::new(Activity::default());
        drop(activity.request().answered());
        assert!(activity.is_idle());
    }

    #[test]
    fn an_answer_that_nobody_waits_for_leaves_nothing_behind() {
        let activity = Arc::new(Activity::default());
        let sent = activity.request();
        let exchange = activity.accept();
        drop(sent);
        drop(exchange);
        assert!(activity.is_idle());
        let again = activity.request();
        drop(activity.accept());
        drop(again.answered());
        assert!(activity.is_idle());
    }
}
