//! Why work on a pool ended. What the pool says and what the history says are told apart: the first is the job's matter, the second
//! ends the daemon, because nothing may be asked of a server that cannot be written down.

use crate::store;
use crate::store::Cause;
use crate::xenapi::failure::Kind;
use crate::xenapi::{CallError, TaskError, error};

/// The history cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the history cannot be kept, so nothing may be done about the pool")]
pub struct HistoryError(#[from] pub store::Error);

/// What a step brought, unless the history failed.
pub type Result<T, E = HistoryError> = std::result::Result<T, E>;

/// Why a call or a task brought nothing, for the history, and what that means for trying again.
#[derive(Debug, Clone)]
pub struct Setback {
    /// Decides whether it is tried again.
    pub kind: Kind,
    /// For the history.
    pub cause: Cause,
    /// What is known about the call's effect.
    pub effect: Effect,
}

/// What is known about the effect of a call that brought no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It never reached the server.
    NeverLeft,
    /// The server says that it did not do it, or not all of it.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl From<CallError> for Setback {
    fn from(error: CallError) -> Self {
        let effect = match &error {
            CallError::Lost { .. } | CallError::Unclear(_) => Effect::Unknown,
            CallError::Refused(_) => Effect::Refused,
            // The call was made, and its answer is not what was expected: a task may run.
            CallError::Unreadable { .. } | CallError::Unanswered { .. } => Effect::Unknown,
            _ => Effect::NeverLeft,
        };
        let code = error.failure().map_or_else(|| word(error.kind()).to_owned(), |failure| failure.code.clone());
        Self { kind: error.kind(), cause: Cause::new(code, error::chain(&error)), effect }
    }
}

impl From<TaskError> for Setback {
    fn from(error: TaskError) -> Self {
        let effect = match &error {
            TaskError::Failed(_) | TaskError::Deadline { .. } => Effect::Refused,
            _ => Effect::Unknown,
        };
        let code = match &error {
            TaskError::Failed(refusal) => refusal.failure.code.clone(),
            TaskError::Deadline { .. } => DEADLINE.to_owned(),
            TaskError::StillRunning { .. } => STILL_RUNNING.to_owned(),
            error => word(error.kind()).to_owned(),
        };
        Self { kind: error.kind(), cause: Cause::new(code, error::chain(&error)), effect }
    }
}

/// The code of a call that did not end in its time and was cancelled.
const DEADLINE: &str = "deadline";

/// The code of a call that did not end in its time, and does not end although it was told to.
pub const STILL_RUNNING: &str = "still-running";

impl Setback {
    /// A call that goes on although its time is over and it was told to end.
    pub fn still_running(text: impl Into<String>) -> Self {
        Self { kind: Kind::Ambiguous, cause: Cause::new(STILL_RUNNING, text), effect: Effect::Unknown }
    }

    /// True if its time was over before it ended.
    pub fn is_stuck(&self) -> bool {
        is_stuck(&self.cause)
    }

    /// True when the same thing may work later without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Transient | Kind::Busy)
    }
}

/// True for what was written down of a call whose time was over before it ended.
pub fn is_stuck(cause: &Cause) -> bool {
    matches!(cause.code.as_str(), DEADLINE | STILL_RUNNING)
}

/// A kind as a code for the history; stable over releases.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Transient => "transient",
        Kind::Busy => "busy",
        Kind::NotFound => "not-found",
        Kind::Denied => "denied",
        Kind::Unsupported => "unsupported",
        Kind::NoSpace => "no-space",
        Kind::Ambiguous => "ambiguous",
        Kind::Broken => "broken",
    }
}
