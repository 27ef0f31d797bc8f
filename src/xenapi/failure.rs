//! What a server said no with: code and parameters are kept, one table maps the code to a closed set of kinds, and only the kind
//! decides whether anything is tried again.

use std::fmt;

/// A XenAPI error as the server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code, for example `VM_BAD_POWER_STATE`. Never empty.
    pub code: String,
    /// The parameters, in the server's order; references stay references.
    pub params: Vec<String>,
}

/// What a failure means for whoever asked. Closed on purpose: the decision to retry is taken here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The same call may work in a moment: booting, emergency mode, a session that ended before the call ran.
    Transient,
    /// Something else works on the object.
    Busy,
    /// The object is not (or no longer) there.
    NotFound,
    /// Credentials or role do not allow it.
    Denied,
    /// This server, licence, storage or object cannot do it.
    Unsupported,
    /// Storage is full.
    NoSpace,
    /// We do not know whether it happened.
    Ambiguous,
    /// Anything else: a mistake of ours or damage on the server.
    Broken,
}

impl Failure {
    /// The kind of this code.
    pub fn kind(&self) -> Kind {
        todo!("table")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)
    }
}
