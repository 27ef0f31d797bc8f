//! How a long call can end other than well.

use std::time::Duration;

use crate::xenapi::error::{CallError, Refusal};
use crate::xenapi::failure::Kind;
use crate::xenapi::wire::DecodeError;

/// Why a task brought no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It failed, or somebody cancelled it.
    #[error(transparent)]
    Failed(Refusal),
    /// It took too long and was cancelled; it did not happen.
    #[error("{method} did not end within {} s and was cancelled; allow it more time, or look for what held it up", deadline.as_secs())]
    Deadline {
        /// The method.
        method: String,
        /// What it was given.
        deadline: Duration,
    },
    /// It took too long and could not be cancelled.
    #[error("{method} did not end within {} s, and not after it was told to stop either; look at the pool before it is done again", deadline.as_secs())]
    StillRunning {
        /// The method.
        method: String,
        /// What it was given.
        deadline: Duration,
    },
    /// The server no longer knows the task: it restarted, or forgot it.
    #[error(
        "the server no longer knows the task of {method}, so nobody knows how it ended; look at the pool before it is done again"
    )]
    Vanished {
        /// The method.
        method: String,
    },
    /// The server cannot be asked how the task stands.
    #[error("{method} was started, but the pool cannot be asked how it stands; look at the pool before it is done again")]
    Unwatched {
        /// The method.
        method: String,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// It succeeded, but its result is not what this program expects.
    #[error("{method} succeeded, but its result cannot be read; report this with the server's release")]
    Unreadable {
        /// The method.
        method: String,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
}

impl TaskError {
    /// What this means for a retry.
    pub fn kind(&self) -> Kind {
        match self {
            TaskError::Failed(refusal) => refusal.failure.kind(),
            TaskError::Deadline { .. } => Kind::Busy,
            TaskError::StillRunning { .. } | TaskError::Vanished { .. } | TaskError::Unwatched { .. } => Kind::Ambiguous,
            TaskError::Unreadable { .. } => Kind::Broken,
        }
    }
}
