//! What a server said no with: code and parameters are kept, one table maps the code to a closed set of kinds, and only the kind
//! decides whether anything is tried again.
//!
//! The rule: texts inside parameters are never matched (they differ between releases and storage drivers); codes, and the numbers
//! of storage errors, are all that is looked at.

mod codes;
mod roles;
mod storage;
#[cfg(test)]
mod tests;

use std::fmt;

pub use roles::{Role, minimum_role};

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
    /// Credentials or role do not allow it, or somebody blocked the operation on this object.
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

/// The object that a failure is about, as far as its parameters tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'f> {
    /// The class in the spelling of the data model, for example `VM`.
    pub class: &'f str,
    /// The reference; several in one text (`{ref,ref}`) where several operations were in the way.
    pub reference: &'f str,
    /// The operation that is in the way.
    pub operation: Option<&'f str>,
    /// The task of that operation; only servers from 25.27 on name it.
    pub task: Option<&'f str>,
}

impl Failure {
    /// The kind of this code; an unknown code is [`Kind::Broken`], because nothing may be repeated on a guess.
    pub fn kind(&self) -> Kind {
        match self.storage_error() {
            Some(number) => storage::row_of(number).map_or(Kind::Broken, |row| row.kind),
            None => codes::row_of(&self.code).map_or(Kind::Broken, |row| row.kind),
        }
    }

    /// A sentence for a person: what to do next. Complete, without a final newline.
    pub fn advice(&self) -> String {
        match (self.storage_error(), self.code.as_str()) {
            (Some(number), _) => storage::row_of(number).map_or(storage::OTHER, |row| row.advice).to_owned(),
            (None, "RBAC_PERMISSION_DENIED") => roles::advice(self.param(0).unwrap_or_default()),
            (None, code) => codes::row_of(code).map_or(codes::OTHER, |row| row.advice).to_owned(),
        }
    }

    /// The parameter at `index`, counted from nought.
    pub fn param(&self, index: usize) -> Option<&str> {
        self.params.get(index).map(String::as_str)
    }

    /// The number in `SR_BACKEND_FAILURE_<n>`.
    pub fn storage_error(&self) -> Option<u32> {
        self.code.strip_prefix("SR_BACKEND_FAILURE_")?.parse().ok()
    }

    /// Whether the session is gone. Raised before the call runs, so a call refused with it has had no effect.
    pub fn is_session_invalid(&self) -> bool {
        match self.code.as_str() {
            "SESSION_INVALID" => true,
            "HANDLE_INVALID" => self.param(0) == Some("session"),
            _ => false,
        }
    }

    /// The address of the pool master, when the host asked is a member. It may be an IPv6 address without brackets.
    pub fn master_address(&self) -> Option<&str> {
        if self.code == "HOST_IS_SLAVE" { self.param(0).filter(|address| !address.is_empty()) } else { None }
    }

    /// Whether the host asked is booting or in emergency mode: no call at all is answered until that is over.
    pub fn is_emergency(&self) -> bool {
        codes::row_of(&self.code).is_some_and(|row| row.emergency)
    }

    /// Whether a snapshot was refused because the disk's chain of parents is too long; only the storage's garbage collector helps.
    pub fn is_chain_too_long(&self) -> bool {
        self.storage_error() == Some(109)
    }

    /// Whether the guest could not be quiesced: a snapshot without quiescing may still work.
    pub fn is_quiesce(&self) -> bool {
        self.code.starts_with("VM_SNAPSHOT_WITH_QUIESCE_") || self.code.starts_with("XEN_VSS_REQ_ERROR_")
    }

    /// The reference of `class` that does not exist: the server says HANDLE_INVALID with the class it looked in.
    pub fn missing(&self, class: &str) -> Option<&str> {
        if self.code == "HANDLE_INVALID" && self.param(0) == Some(class) { self.param(1) } else { None }
    }

    /// The object that the failure is about. OTHER_OPERATION_IN_PROGRESS has two shapes: `["VM.snapshot", ref]` up to about 25.26,
    /// `["VM", ref, operation, task]` since.
    pub fn object(&self) -> Option<Subject<'_>> {
        let first = self.param(0)?;
        let reference = self.param(1)?;
        match self.code.as_str() {
            "OTHER_OPERATION_IN_PROGRESS" => {
                let (class, old) = match first.split_once('.') {
                    Some((class, operation)) => (class, Some(operation)),
                    None => (first, None),
                };
                Some(Subject { class, reference, operation: old.or(self.param(2)), task: self.param(3) })
            }
            "HANDLE_INVALID" | "UUID_INVALID" | "OBJECT_NOLONGER_EXISTS" => {
                Some(Subject { class: first, reference, operation: None, task: None })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if !self.params.is_empty() {
            f.write_str(" [")?;
            for (index, param) in self.params.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { "; " })?;
                one_line(f, param)?;
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// The most of one parameter that is shown: storage drivers send whole backtraces.
const SHOWN: usize = 300;

/// A parameter on one line, without what would move a terminal's cursor.
fn one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (index, c) in text.chars().enumerate() {
        match c {
            _ if index == SHOWN => return f.write_str("…"),
            c if c.is_control() => f.write_str(" ")?,
            c => fmt::Write::write_char(f, c)?,
        }
    }
    Ok(())
}

impl std::error::Error for Failure {}
