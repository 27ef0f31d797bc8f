//! Telling the world: a mail, a message to an address on the web, a ping. The only module that knows lettre, and beside `xenapi` the only
//! one that knows reqwest.
//!
//! # The rules it keeps
//!
//! - *Whoever is told cannot hold us up or fill us.* Each delivery has one bound for all of it, and of what is answered only so much is
//!   read. No redirect is followed: what is told goes where somebody wrote that it goes, or nowhere.
//! - *Nothing is repeated here.* A delivery succeeds or says why not; whoever asked for it decides what then.
//! - *Secrets are in no message*, and neither are addresses that may be secrets.

mod budget;
mod mail;
mod tls;
mod web;

pub use mail::{MailRoute, Protection};
pub use tls::TlsError;
pub use web::{WebRoute, signature};

/// What could not be delivered, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OutwardError {
    /// The certificates to trust cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody is there.
    #[error("{to} cannot be reached ({reason}); check the name and the port, and that this machine may go there")]
    Unreachable {
        /// Who.
        to: String,
        /// Why not.
        reason: String,
    },
    /// It took too long.
    #[error("{to} did not answer to the end within {seconds} s; look there, or set a longer timeout")]
    Late {
        /// Who.
        to: String,
        /// The bound.
        seconds: u64,
    },
    /// The certificate is not to be trusted, or there is no encryption.
    #[error(
        "the connection to {to} cannot be protected ({reason}); set ca_file to the authority that signed its certificate, and correct the host's name or tls"
    )]
    Unprotected {
        /// Who.
        to: String,
        /// Why not.
        reason: String,
    },
    /// Who logs in is not known there.
    #[error("{to} does not accept the user or the password ({reason}); correct username and the password")]
    Login {
        /// Who.
        to: String,
        /// What it said.
        reason: String,
    },
    /// It does not want it.
    #[error("{to} refuses it ({reason}); look there what it says of it")]
    Refused {
        /// Who.
        to: String,
        /// What it said.
        reason: String,
    },
    /// It would have to go somewhere else.
    #[error("{to} sends us elsewhere (HTTP {status}), which is not followed; write the address where it is to go into url")]
    Redirected {
        /// Who.
        to: String,
        /// The status.
        status: u16,
    },
    /// What is there speaks another language.
    #[error("{to} does not speak the protocol ({reason}); check the port and tls")]
    Strange {
        /// Who.
        to: String,
        /// How.
        reason: String,
    },
    /// The mail cannot be written.
    #[error("the mail cannot be written ({0}); this is a defect of xensnap, please report it")]
    Unwritable(String),
}

/// What is at the bottom of an error: of a connection that could not be made, the rest is how libraries call it.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    crate::domain::alarm::plain(&last.map_or_else(String::new, ToString::to_string), 300)
}

/// The causes of an error, on one line and with an end.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut texts: Vec<String> = Vec::new();
    for text in all {
        // Libraries say in a text what its cause says again.
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    crate::domain::alarm::plain(&texts.join(": "), 300)
}
