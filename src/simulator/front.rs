//! A host as its clients meet it: each listens for itself, and what it answers depends on its part in the pool.

use std::sync::{PoisonError, RwLock};

use super::error::ApiError;
use super::value::Ref;

/// What a host can do for its callers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// It works, as master or as member.
    #[default]
    Serving,
    /// Emergency mode: every call outside the emergency list fails with this error before anything else is looked at
    /// (HOST_STILL_BOOTING, HOST_MASTER_CANNOT_TALK_BACK and others).
    Emergency(ApiError),
    /// Its process does not run: connections are closed without an answer.
    Down,
}

/// A host's front.
#[derive(Debug)]
pub struct Front {
    /// The host.
    pub host: Ref,
    mode: RwLock<Mode>,
}

impl Front {
    /// A host that serves.
    pub fn new(host: Ref) -> Self {
        Self { host, mode: RwLock::default() }
    }

    /// What it does now.
    pub fn mode(&self) -> Mode {
        self.mode.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what it does, from the next call on.
    pub fn set_mode(&self, mode: Mode) {
        *self.mode.write().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// True while its process runs.
    pub fn is_up(&self) -> bool {
        self.mode() != Mode::Down
    }
}
