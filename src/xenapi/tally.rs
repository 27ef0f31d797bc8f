//! How many calls were made, by method, and with which errors. Counted where a call meets the wire, so that repetitions count too; what
//! a task failed with counts for the call that began it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls of one method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many left.
    pub calls: u64,
    /// How many brought which error: the server's code, or `transport`.
    pub errors: BTreeMap<String, u64>,
}

/// All methods.
#[derive(Debug, Default)]
pub(super) struct Tallies(Mutex<BTreeMap<String, Tally>>);

impl Tallies {
    /// A call was answered, with this error if any.
    pub(super) fn answered(&self, method: &str, error: Option<&str>) {
        self.change(method, |tally| {
            tally.calls += 1;
            if let Some(error) = error {
                *tally.errors.entry(error.to_owned()).or_default() += 1;
            }
        });
    }

    /// The task of a call has failed.
    pub(super) fn failed(&self, method: &str, error: &str) {
        self.change(method, |tally| *tally.errors.entry(error.to_owned()).or_default() += 1);
    }

    /// Whether a call waits for its end or gives a task is no matter of what is called.
    fn change(&self, method: &str, change: impl FnOnce(&mut Tally)) {
        let method = method.strip_prefix("Async.").unwrap_or(method);
        let mut all = self.lock();
        match all.get_mut(method) {
            Some(tally) => change(tally),
            None => change(all.entry(method.to_owned()).or_default()),
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, Tally> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
