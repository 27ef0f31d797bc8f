//! One type per kind of identifier, so that a disk's uuid can never stand where a snapshot's is meant.
//!
//! Objects of a pool are known by uuid; their references change with the server's database and are not kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Text that was meant to be a uuid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not the uuid of a {kind}; write it as xe prints it, for example 6a3b1f0e-58c1-4e0f-9a53-2f7f6f0f4f10")]
pub struct UuidError {
    /// What the uuid was to name.
    pub kind: &'static str,
    /// What was found instead.
    pub text: String,
}

macro_rules! uuids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", $kind, self.0)
            }
        }

        impl FromStr for $name {
            type Err = UuidError;

            fn from_str(text: &str) -> Result<Self, UuidError> {
                let error = |_| UuidError { kind: $kind, text: text.to_owned() };
                Uuid::try_parse(text).map(Self).map_err(error)
            }
        }
    )+};
}

uuids! {
    /// A pool. Survives a change of master and a restart; an ejected host gets a new one.
    PoolUuid = "pool";
    /// A host.
    HostUuid = "host";
    /// A VM that is no snapshot.
    VmUuid = "VM";
    /// A VM record that is a snapshot.
    SnapshotUuid = "snapshot";
    /// A disk, of a VM or of a snapshot.
    VdiUuid = "disk";
    /// A storage repository.
    SrUuid = "SR";
    /// A vApp.
    ApplianceUuid = "vApp";
    /// A task of the server.
    TaskUuid = "task";
    /// One run: the work of one slot.
    RunId = "run";
    /// One job: one VM inside a run.
    JobId = "job";
}

/// The longest identifier an administrator may choose.
const LONGEST_NAME: usize = 64;

/// Text that was meant to be an identifier chosen by an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was written.
    #[error("the {kind} must not be empty")]
    Empty {
        /// What it was to name.
        kind: &'static str,
    },
    /// Longer than 64 bytes.
    #[error("the {kind} has at most 64 characters, this one has {length}")]
    TooLong {
        /// What it was to name.
        kind: &'static str,
        /// How long it is, in bytes.
        length: usize,
    },
    /// A character outside the allowed set, or a first character that is no letter or digit.
    #[error(
        "the {kind} consists of letters, digits, \"-\", \"_\" and \".\" and begins with a letter or digit; write for example \"{suggestion}\""
    )]
    Character {
        /// What it was to name.
        kind: &'static str,
        /// The nearest allowed text.
        suggestion: String,
    },
}

fn check_name(kind: &'static str, text: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().next() {
        None => Err(NameError::Empty { kind }),
        Some(first) if !first.is_ascii_alphanumeric() || !text.chars().all(allowed) => {
            Err(NameError::Character { kind, suggestion: tidy(text) })
        }
        Some(_) if text.len() > LONGEST_NAME => Err(NameError::TooLong { kind, length: text.len() }),
        Some(_) => Ok(()),
    }
}

/// `"Nightly (gold)"` as an identifier: `nightly-gold`.
fn tidy(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.'));
    let joined = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let name: String = joined.trim_start_matches(['_', '.']).chars().take(LONGEST_NAME).collect();
    if name.is_empty() { "nightly".to_owned() } else { name }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier; letters, digits, `-`, `_` and `.` only.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name($kind, text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    )+};
}

names! {
    /// The stable identity of a policy: it stays when the policy is renamed, and stands in the mark of every snapshot.
    PolicyId = "policy id";
    /// The identity of one installation of the daemon. It comes from the configuration, so that a test installation with an empty
    /// history never takes production's snapshots for its own.
    InstallationId = "installation id";
}

impl PolicyId {
    /// Whom work belongs to that is done for no policy, where turns are taken.
    pub fn nobody() -> Self {
        Self("nobody".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_shown_as_the_server_writes_it() {
        let text = "6a3b1f0e-58c1-4e0f-9a53-2f7f6f0f4f10";
        let vm: VmUuid = text.parse().unwrap();
        assert_eq!(vm.to_string(), text);
        assert_eq!(serde_json::to_string(&vm).unwrap(), format!("\"{text}\""));
    }

    #[test]
    fn something_else_than_a_uuid_is_refused_with_its_kind() {
        let error = "web-01".parse::<SrUuid>().unwrap_err();
        assert!(error.to_string().starts_with("\"web-01\" is not the uuid of a SR"), "{error}");
    }

    #[test]
    fn an_identifier_with_spaces_is_refused_with_a_usable_one() {
        let error = "Nightly (gold)".parse::<PolicyId>().unwrap_err();
        assert_eq!(error, NameError::Character { kind: "policy id", suggestion: "nightly-gold".into() });
        assert!("nightly-gold".parse::<PolicyId>().is_ok());
    }

    #[test]
    fn every_suggestion_is_an_identifier_itself() {
        for text in ["-x", "..", "Ünïcode", "日本", "a b\0c", "_._a"] {
            assert!(tidy(text).parse::<PolicyId>().is_ok(), "{text:?} gave {:?}", tidy(text));
        }
    }

    #[test]
    fn identifiers_are_checked_when_they_are_read_back() {
        assert!(serde_json::from_str::<PolicyId>("\"a b\"").is_err());
        assert!(serde_json::from_str::<InstallationId>(&format!("\"{}\"", "x".repeat(65))).is_err());
    }
}
