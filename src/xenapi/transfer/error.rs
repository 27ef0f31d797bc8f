//! How a transfer can fail.

use std::io;

use crate::domain::address::Address;
use crate::xenapi::error::CallError;
use crate::xenapi::failure::{Failure, Kind};
use crate::xenapi::fault::TransportError;
use crate::xenapi::task::TaskError;

/// Why a transfer came to nothing. Of a failed download, what was written so far is worthless.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A call that belongs to it failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server says that it failed, or nobody knows how it ended.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The stream broke.
    #[error("{label} broke off; start it again")]
    Broken {
        /// What it was.
        label: String,
        /// What happened.
        #[source]
        source: TransportError,
    },
    /// The server refused the request.
    #[error("{label} was refused by {address}: {failure}. {}", failure.advice())]
    Refused {
        /// What it was.
        label: String,
        /// Who refused.
        address: Address,
        /// The server's words.
        failure: Failure,
    },
    /// The server refused the request without a word that could be read.
    #[error("{label} was refused by {address} with HTTP {status}; {}", hint(*status))]
    Status {
        /// What it was.
        label: String,
        /// Who refused.
        address: Address,
        /// Its status.
        status: u16,
    },
    /// The server sent us to a host that is not known to belong to the pool. The session was not sent there.
    #[error(
        "{label} was sent on to `{target}`, which is no known host of the pool; if it is one, add it to the pool's address map"
    )]
    Elsewhere {
        /// What it was.
        label: String,
        /// Where to.
        target: String,
    },
    /// The host is not known.
    #[error("{label} needs the host {host}, which is not known to belong to the pool")]
    UnknownHost {
        /// What it was.
        label: String,
        /// The host's reference.
        host: String,
    },
    /// Our end of the stream failed.
    #[error("{label} stopped because its file could not be read or written; check the disk, then start it again")]
    Local {
        /// What it was.
        label: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "the user's role does not allow it (VMs and disks: vm-admin, database and hosts: pool-admin)",
        404 | 501 => "this release does not have it",
        _ => "the host's log (xensource.log) says why",
    }
}

impl TransferError {
    /// What this means for a retry.
    pub fn kind(&self) -> Kind {
        match self {
            TransferError::Call(error) => error.kind(),
            TransferError::Task(error) => error.kind(),
            TransferError::Broken { .. } => Kind::Transient,
            TransferError::Refused { failure, .. } => failure.kind(),
            TransferError::Status { status: 401 | 403, .. } => Kind::Denied,
            TransferError::Status { .. } | TransferError::Elsewhere { .. } => Kind::Broken,
            TransferError::UnknownHost { .. } => Kind::NotFound,
            TransferError::Local { .. } => Kind::Broken,
        }
    }
}
