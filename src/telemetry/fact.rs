//! A line of a known kind, with what it is about. Whoever has something to say that a person may filter for, be alarmed by or look up
//! in the catalogue, says it as a fact; `tracing`'s macros are for details.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::domain::event::{EventKind, Severity};

/// One line. What it is not about is left out.
#[derive(Debug, Clone, Copy)]
#[must_use = "a fact is told by `say`"]
pub struct Fact<'a> {
    kind: EventKind,
    pool: Option<&'a str>,
    policy: Option<&'a str>,
    policy_name: Option<&'a str>,
    vm: Option<Uuid>,
    vm_name: Option<&'a str>,
    run: Option<i64>,
    snapshot: Option<Uuid>,
    slot: Option<DateTime<Utc>>,
    took: Option<Duration>,
    cause: Option<&'a str>,
}

impl<'a> Fact<'a> {
    /// A line of this kind, about nothing yet.
    pub const fn new(kind: EventKind) -> Self {
        Self {
            kind,
            pool: None,
            policy: None,
            policy_name: None,
            vm: None,
            vm_name: None,
            run: None,
            snapshot: None,
            slot: None,
            took: None,
            cause: None,
        }
    }

    /// About the pool of this configured name.
    pub const fn pool(self, name: &'a str) -> Self {
        Self { pool: Some(name), ..self }
    }

    /// About the policy of this id.
    pub const fn policy(self, id: &'a str) -> Self {
        Self { policy: Some(id), ..self }
    }

    /// About a policy whose name is known too.
    pub const fn named_policy(self, id: &'a str, name: &'a str) -> Self {
        Self { policy: Some(id), policy_name: Some(name), ..self }
    }

    /// About this VM.
    pub const fn vm(self, vm: Uuid) -> Self {
        Self { vm: Some(vm), ..self }
    }

    /// About a VM whose name is known too.
    pub const fn named_vm(self, vm: Uuid, name: &'a str) -> Self {
        Self { vm: Some(vm), vm_name: Some(name), ..self }
    }

    /// In this run, as `xensnap history` numbers it.
    pub const fn run(self, run: i64) -> Self {
        Self { run: Some(run), ..self }
    }

    /// About this snapshot.
    pub const fn snapshot(self, snapshot: Uuid) -> Self {
        Self { snapshot: Some(snapshot), ..self }
    }

    /// About the due time.
    pub const fn slot(self, due_at: DateTime<Utc>) -> Self {
        Self { slot: Some(due_at), ..self }
    }

    /// What it is about took so long.
    pub const fn took(self, took: Duration) -> Self {
        Self { took: Some(took), ..self }
    }

    /// The code of a cause; told if it is one of the server's.
    pub const fn cause(self, code: &'a str) -> Self {
        Self { cause: Some(code), ..self }
    }

    /// Tells it, with a text of one line that can be read alone.
    pub fn say(self, text: &str) {
        macro_rules! at {
            ($level:ident) => {
                tracing::$level!(
                    target: "xensnap",
                    event = self.kind.as_str(),
                    policy = self.policy,
                    policy_name = self.policy_name,
                    pool = self.pool,
                    vm = self.vm_name,
                    vm_uuid = self.vm.map(display),
                    run = self.run,
                    snapshot = self.snapshot.map(display),
                    slot = self.slot.map(|slot| display(slot.to_rfc3339_opts(SecondsFormat::Secs, true))),
                    duration_ms = self.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
                    xenapi_error = self.cause.filter(|code| is_of_the_server(code)),
                    "{}",
                    one_line(text)
                )
            };
        }
        match self.kind.severity() {
            Severity::Info | Severity::Notice => at!(info),
            Severity::Warning => at!(warn),
            Severity::Error | Severity::Critical => at!(error),
        }
    }
}

/// The server's codes are written like constants, ours like words.
fn is_of_the_server(code: &str) -> bool {
    !code.is_empty() && code.chars().all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '_'))
}

/// Names and messages come from a server: none of them may begin a line of its own.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_codes_are_told_from_our_own() {
        assert!(is_of_the_server("SR_BACKEND_FAILURE_44") && is_of_the_server("VDI_IN_USE"));
        assert!(!is_of_the_server("no-space") && !is_of_the_server("vm-gone") && !is_of_the_server(""));
    }

    #[test]
    fn a_name_with_line_ends_begins_no_line() {
        assert_eq!(one_line("db\nroot: logged in\t\u{1b}[31m"), "db root: logged in  [31m");
    }
}
