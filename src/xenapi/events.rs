//! One line of calls to event.from: it keeps the token, and knows when the token is worth nothing any more. After a new login, and
//! whenever the server's own count goes back, everything is asked for anew; so a stream never silently skips.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::call::{Call, Parts};
use super::connection::Core;
use super::error::CallError;
use super::records::{Event, EventBatch, EventBatchSeed};
use super::wire::Param;

/// How long the answer may take beyond that, in real time: the first answer of a large pool is work.
const GRACE: Duration = Duration::from_secs(120);

/// A line of calls.
#[derive(Debug)]
pub(super) struct EventCall {
    classes: Vec<String>,
    token: String,
    /// The login the token was got under.
    number: Option<u64>,
}

/// What one call brought.
#[derive(Debug)]
pub(super) enum Polled {
    /// Events; if `whole`, they show all there is.
    Batch { batch: EventBatch, whole: bool },
    /// What came cannot be used: the next call will ask for everything.
    Restart,
}

impl EventCall {
    /// For these classes, from the beginning.
    pub(super) fn new(classes: Vec<String>) -> Self {
        Self { classes, token: String::new(), number: None }
    }

    /// Asks for everything next time.
    pub(super) fn restart(&mut self) {
        self.token.clear();
    }

    /// True if the next call asks for everything.
    pub(super) fn is_at_start(&self) -> bool {
        self.token.is_empty()
    }

    /// True for servers without event.from (before 6.0).
    pub(super) fn is_unsupported(error: &CallError) -> bool {
        error.is("MESSAGE_METHOD_UNKNOWN") || error.is("MESSAGE_REMOVED")
    }

    /// One call. Each event is given to a sink that `sink` makes; it makes a new one when the call is repeated, and what the old one got
    /// is to be forgotten. Nothing of a batch may be used before this has returned [`Polled::Batch`].
    pub(super) async fn poll<F>(&mut self, core: &Arc<Core>, wait: Duration, sink: impl Fn() -> F) -> Result<Polled, CallError>
    where
        F: FnMut(Event) + Send + 'static,
    {
        let whole = self.is_at_start();
        let before = core.login_number();
        let answered = core.run(&self.parts(wait), || EventBatchSeed::new(sink())).await;
        let number = core.login_number();
        let batch = match answered {
            Ok(batch) => batch,
            Err(error)
                if !whole && (error.is("EVENT_FROM_TOKEN_PARSE_FAILURE") || matches!(error, CallError::LoginOver { .. })) =>
            {
                self.restart();
                return Ok(Polled::Restart);
            }
            Err(error) => return Err(error),
        };
        // What is there at the beginning may have been read in either of two logins; a first login is not one too many.
        let one_login = !whole || before.is_none() || before == number;
        if !one_login || went_back(&self.token, &batch.token) {
            self.restart();
            return Ok(Polled::Restart);
        }
        self.token.clone_from(&batch.token);
        if whole {
            self.number = number;
        }
        Ok(Polled::Batch { batch, whole })
    }

    /// As [`EventCall::poll`] with the usual wait, collecting the events: for classes with few objects.
    pub(super) async fn poll_all(&mut self, core: &Arc<Core>) -> Result<(Polled, Vec<Event>), CallError> {
        let collected = Arc::new(Mutex::new(Vec::new()));
        let polled = self.poll(core, core.settings.poll, || collect_into(&collected)).await?;
        Ok((polled, take(&collected)))
    }

    fn parts(&self, wait: Duration) -> Parts {
        Call::<()>::read("event.from")
            .with(self.classes.iter().map(String::as_str).collect::<Param>())
            .with(self.token.as_str())
            .with(wait.as_secs_f64())
            .answered_within(wait + GRACE)
            .only_in_login(if self.is_at_start() { None } else { self.number })
            .parts
    }
}

/// A sink that starts `collected` anew.
pub(super) fn collect_into(collected: &Arc<Mutex<Vec<Event>>>) -> impl FnMut(Event) + Send + 'static {
    take(collected);
    let collected = Arc::clone(collected);
    move |event| collected.lock().unwrap_or_else(PoisonError::into_inner).push(event)
}

/// What was collected.
pub(super) fn take(collected: &Mutex<Vec<Event>>) -> Vec<Event> {
    std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner))
}

/// True if the server's count is lower than it was: its database is an older one. Tokens of another form say nothing.
fn went_back(sent: &str, received: &str) -> bool {
    let count = |token: &str| token.split_once(',').and_then(|(count, _)| count.parse::<u64>().ok());
    matches!((count(sent), count(received)), (Some(sent), Some(received)) if received < sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_went_back_is_recognised() {
        let token = |count: u64| format!("{count:020},{:020}", 0);
        assert!(went_back(&token(100), &token(99)));
        assert!(!went_back(&token(100), &token(100)) && !went_back(&token(9), &token(10)));
        assert!(!went_back("", &token(1)) && !went_back("opaque", "other"));
    }
}
