//! The client's errors. Each has one [`Kind`], which alone decides a retry, and a text for people that ends in what to do next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, Kind};
use super::fault::TransportError;
use super::trust::TrustError;
use super::wire::EncodeError;
use crate::domain::address::Address;

/// Why there is no connection to a pool.
#[derive(Debug)]
pub struct ConnectError {
    /// The pool's configured name.
    pub pool: String,
    /// What is wrong; the chain of causes goes on there.
    pub problem: Problem,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: {}", self.pool, self.problem)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::GaveUp { last, .. } => last.source(),
            problem => problem.source(),
        }
    }
}

/// An error with its causes on one line, for logs and status texts.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What keeps us from a pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No usable exchange with a host.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The certificate settings are unusable.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Wrong user or password.
    #[error("{address} refuses user `{user}` with this password; check `username` and the password")]
    Password {
        /// The host that said so.
        address: Address,
        /// Who tried.
        user: String,
    },
    /// The user exists but may not log in.
    #[error(
        "{address} knows user `{user}` but does not let it in ({failure}); give it a role in this pool (`xe subject-role-add`)"
    )]
    NoRole {
        /// The host that said so.
        address: Address,
        /// Who tried.
        user: String,
        /// The server's words.
        failure: Failure,
    },
    /// A host of another pool.
    #[error(
        "{address} belongs to pool {found}, but {expected} is meant; correct `addresses`, or `pool_uuid` if the pool was rebuilt"
    )]
    OtherPool {
        /// The host that answered.
        address: Address,
        /// The pool that is meant.
        expected: String,
        /// The pool it belongs to.
        found: String,
    },
    /// A server that starts, or waits for its master.
    #[error("{address} is not ready ({failure}); wait for it, and look at the host if it stays so")]
    NotReady {
        /// The host.
        address: Address,
        /// The server's words.
        failure: Failure,
    },
    /// Every host that answers names a master that does not.
    #[error(
        "{member} names {master} as the master, and that is not one now; if it is gone for good, promote a member (`xe pool-emergency-transition-to-master`)"
    )]
    NoMaster {
        /// Who answered.
        member: Address,
        /// Whom it named.
        master: String,
    },
    /// The server refused the login for another reason.
    #[error("{address} refuses the login: {failure}. {}", failure.advice())]
    Login {
        /// The host.
        address: Address,
        /// The server's words.
        failure: Failure,
    },
    /// The pool stayed away for as long as the caller was ready to wait.
    #[error("not reachable for {} s; last: {}", waited.as_secs(), last.problem)]
    GaveUp {
        /// How long.
        waited: Duration,
        /// What was wrong at the end.
        last: Arc<ConnectError>,
    },
    /// The first attempt was still under way when the caller's patience ended.
    #[error("no host has answered within {} s; check the pool's `addresses` and the network in between", waited.as_secs())]
    NoAnswerYet {
        /// How long.
        waited: Duration,
    },
    /// Our side has logged out.
    #[error("logged out already; this happens at shutdown and reload")]
    Closed,
    /// A mistake of this program.
    #[error("{0}; this is a defect of xensnap, please report it")]
    Internal(String),
}

impl ConnectError {
    /// What this means for a retry.
    pub fn kind(&self) -> Kind {
        match &self.problem {
            Problem::Transport(error) => error.fault.kind(),
            Problem::Trust(_) | Problem::OtherPool { .. } | Problem::Closed | Problem::Internal(_) => Kind::Broken,
            Problem::Password { .. } | Problem::NoRole { .. } => Kind::Denied,
            Problem::NotReady { .. } | Problem::NoMaster { .. } | Problem::NoAnswerYet { .. } => Kind::Transient,
            Problem::Login { failure, .. } => failure.kind(),
            Problem::GaveUp { last, .. } => last.kind(),
        }
    }

    /// True when waiting changes nothing: somebody has to correct something first.
    pub fn is_final(&self) -> bool {
        !matches!(self.kind(), Kind::Transient | Kind::Busy)
    }
}

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server said no.
    #[error(transparent)]
    Refused(Refusal),
    /// The server said no, but in a way that leaves open whether it had begun.
    #[error("nobody knows whether it was done: {0} Look at the pool before it is done again")]
    Unclear(Refusal),
    /// The call was sent, no answer came, and it must not simply be repeated.
    #[error(
        "nobody knows whether {method} was done: it was sent, but no answer came back; look at the pool before it is done again"
    )]
    Lost {
        /// The method.
        method: String,
        /// What happened.
        #[source]
        source: TransportError,
    },
    /// The call may be repeated, and was where that could help, without an answer.
    #[error("{method} got no usable answer; it may be tried again, it changes nothing twice")]
    Unanswered {
        /// The method.
        method: String,
        /// What happened last.
        #[source]
        source: TransportError,
    },
    /// The answer came and could not be understood.
    #[error("the answer to {method} could not be understood; report this with the server's release")]
    Unreadable {
        /// The method.
        method: String,
        /// What is wrong with it.
        #[source]
        source: TransportError,
    },
    /// The call was meant for a login that is over; it was not made in the new one.
    #[error("the session that {method} was meant for is over; start again with what is there now")]
    LoginOver {
        /// The method.
        method: String,
    },
    /// The call never left: another daemon of the same installation works with the pool, or nobody knows at the moment which one does.
    #[error("{method} was not sent: {reason}")]
    Fenced {
        /// The method.
        method: String,
        /// Why not.
        reason: &'static str,
    },
    /// The call never left: there is no connection.
    #[error(transparent)]
    NotConnected(Arc<ConnectError>),
    /// The call cannot be encoded.
    #[error("the call cannot be sent; make it smaller (fewer or shorter values)")]
    Encode(#[from] EncodeError),
    /// A tag or header of the call cannot be sent.
    #[error("the call {method} cannot be tagged: {reason}")]
    Tag {
        /// The method.
        method: String,
        /// What is wrong with the tag.
        reason: &'static str,
    },
}

/// A server's no to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The method called.
    pub method: String,
    /// The server's words, without secrets.
    pub failure: Failure,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was refused: {}. {}", self.method, self.failure, self.failure.advice())
    }
}

impl std::error::Error for Refusal {}

impl CallError {
    /// What this means for a retry.
    pub fn kind(&self) -> Kind {
        match self {
            CallError::Refused(refusal) => refusal.failure.kind(),
            CallError::Lost { .. } | CallError::Unclear(_) => Kind::Ambiguous,
            CallError::Unanswered { source, .. } => source.fault.kind(),
            CallError::LoginOver { .. } | CallError::Fenced { .. } => Kind::Transient,
            CallError::Unreadable { .. } | CallError::Encode(_) | CallError::Tag { .. } => Kind::Broken,
            CallError::NotConnected(error) => error.kind(),
        }
    }

    /// The server's words, if it was the server that said no.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            CallError::Refused(refusal) | CallError::Unclear(refusal) => Some(&refusal.failure),
            _ => None,
        }
    }

    /// True for a refusal with this code.
    pub fn is(&self, code: &str) -> bool {
        self.failure().is_some_and(|failure| failure.code == code)
    }
}
