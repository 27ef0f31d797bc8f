//! What can go wrong between two hosts, before a server's own yes or no. Whether the request may have reached the server is part
//! of every fault: the decision to repeat a call hangs on it.

use std::fmt;
use std::io;
use std::time::Duration;

use super::failure::Kind;
use super::trust::UntrustedCertificate;
use super::wire::DecodeError;
use crate::domain::address::Address;

/// An exchange with one host that brought no answer.
#[derive(Debug)]
pub struct TransportError {
    /// The host.
    pub address: Address,
    /// What happened; the chain of causes goes on there.
    pub fault: Fault,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.fault)
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

/// What happened to an exchange.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The name has no address.
    #[error("the name cannot be resolved; check the pool's `addresses` and this machine's name server")]
    NameNotFound(#[source] io::Error),
    /// Nobody listens.
    #[error("the connection is refused; check host and port in the pool's `addresses`, and that the host's toolstack runs")]
    Refused,
    /// No connection within the bound.
    #[error("no connection within {} s; check the address, and that no firewall drops the packets", .0.as_secs())]
    ConnectTimeout(Duration),
    /// No connection for another reason.
    #[error("no connection can be made; check the pool's `addresses` and the network in between")]
    Unreachable(#[source] io::Error),
    /// The other end does not speak TLS.
    #[error(
        "this port does not speak TLS; use the port that does (443 by default), or write `http://` in front of the address if everybody on the way may read the password"
    )]
    NotTls,
    /// The connection ended before TLS was agreed on.
    #[error("the connection was closed during the TLS greeting; the host may be restarting, or this port does not speak TLS")]
    NoGreeting(#[source] io::Error),
    /// The certificate is not known.
    #[error("{0}")]
    Untrusted(Box<UntrustedCertificate>),
    /// No agreement on TLS.
    #[error("no TLS connection can be agreed on; releases before 7.1 may offer too old a TLS")]
    TlsFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not HTTP.
    #[error("what answers there is no web server, so no XenServer; check host and port (and `https://` against `http://`)")]
    NotHttp,
    /// HTTP, but not what a XenAPI server sends.
    #[error("what answers there is no XenServer ({0}); check host and port in the pool's `addresses`")]
    NotXenApi(String),
    /// HTTP refused the request.
    #[error("the server answered HTTP {0} to a XenAPI call; its log (xensource.log) says why")]
    Status(u16),
    /// The connection ended before the answer did.
    #[error(
        "the connection ended before the answer was complete; if it stays so, look at the host, the network in between, and whether its port speaks TLS (`https://`)"
    )]
    Cut(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Nothing came.
    #[error("no answer, and no further piece of one, within {} s", .0.as_secs())]
    Silent(Duration),
    /// Something came, but it took too long in all.
    #[error("the answer did not end within {} s", .0.as_secs())]
    Endless(Duration),
    /// The answer came and cannot be understood.
    #[error("the answer could not be used")]
    Decode(#[source] DecodeError),
    /// This program could not do its part.
    #[error("the request could not be made; this is a defect of xensnap, please report it")]
    Local(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Fault {
    /// Whether the server may have got the request: false only where no byte of it can have been sent.
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Fault::NameNotFound(_)
            | Fault::Refused
            | Fault::ConnectTimeout(_)
            | Fault::Unreachable(_)
            | Fault::NotTls
            | Fault::NoGreeting(_)
            | Fault::Untrusted(_)
            | Fault::TlsFailed(_)
            | Fault::Local(_) => false,
            // The server refuses such a request when it reads it; 5xx may come from later.
            Fault::Status(status) => *status >= 500,
            Fault::NotHttp | Fault::NotXenApi(_) | Fault::Cut(_) | Fault::Silent(_) | Fault::Endless(_) | Fault::Decode(_) => {
                true
            }
        }
    }

    /// What a fault means for a request that may be repeated.
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Untrusted(_) => Kind::Denied,
            Fault::NotTls | Fault::TlsFailed(_) | Fault::NotHttp | Fault::NotXenApi(_) | Fault::Local(_) => Kind::Broken,
            Fault::Decode(DecodeError::Io(_)) => Kind::Transient,
            Fault::Decode(_) => Kind::Broken,
            Fault::Status(status) if *status < 500 && *status != 408 => Kind::Broken,
            Fault::NameNotFound(_)
            | Fault::Refused
            | Fault::ConnectTimeout(_)
            | Fault::Unreachable(_)
            | Fault::NoGreeting(_)
            | Fault::Status(_)
            | Fault::Cut(_)
            | Fault::Silent(_)
            | Fault::Endless(_) => Kind::Transient,
        }
    }
}
