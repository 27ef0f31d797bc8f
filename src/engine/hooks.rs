//! Commands that an administrator wants run around runs and snapshots. The rules:
//!
//! - No shell, no input, the working directory `/`, and an environment made from nothing: what the service itself was given, secrets
//!   included, stays with the service.
//! - A hook never holds a run up for longer than its timeout and ten seconds of grace: it has a process group of its own, which is ended
//!   as a whole, and what it leaves behind cannot keep us reading.
//! - A hook that did well may leave processes running; a hook that is ended, or whose caller is, leaves none.
//! - The clock is held while a hook runs, because virtual time must not pass over real work. The timeout counts on the clock handed
//!   in all the same; on [`crate::clock::SystemClock`] there is no difference.

mod environment;
mod output;
mod process;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use process::HookFailure;

use super::worker::Worker;
use crate::clock::SharedClock;
use crate::domain::event::EventKind;
use crate::domain::policy::{Hook, OnFailure, Phase};
use crate::telemetry::Fact;

/// What a hook is told about the run and the VM that it is run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookContext {
    /// The policy's name.
    pub policy: String,
    /// The policy's identity.
    pub policy_id: String,
    /// The pool's configured name.
    pub pool: String,
    /// The pool's uuid.
    pub pool_uuid: String,
    /// The run.
    pub run: String,
    /// The slot.
    pub due_at: DateTime<Utc>,
    /// Uuid and name of the VM, around a VM's snapshot.
    pub vm: Option<(String, String)>,
    /// The snapshot, after one was taken.
    pub snapshot_uuid: Option<String>,
    /// How it went, in the history's word: after a run, and after a VM's snapshot.
    pub outcome: Option<String>,
}

/// How one hook went.
#[derive(Debug)]
pub struct HookReport {
    /// When it was run.
    pub phase: Phase,
    /// The command, as one could type it.
    pub command: String,
    /// How long it took, on the clock.
    pub took: Duration,
    /// How it ended.
    pub result: Result<(), HookFailure>,
    /// What its failure means.
    pub on_failure: OnFailure,
    /// What it wrote, standard output and error in the order written: the last 64 KiB, printable, after a line that
    /// says how many bytes came before.
    pub output: String,
}

/// Runs hooks one after another, in the order given. Before something, the first failure that forbids it ends the series; what is
/// run after something is run to the last.
///
/// The worker is not made to wait: whoever has one holds the clock, and the clock is held while a hook runs.
pub async fn run_hooks<'h>(
    _holding: &mut Worker,
    clock: &SharedClock,
    hooks: impl Iterator<Item = &'h Hook>,
    phase: Phase,
    context: &HookContext,
) -> Vec<HookReport> {
    let mut reports = Vec::new();
    for hook in hooks {
        let report = run_hook(clock, hook, phase, context).await;
        let ends = is_before(phase) && report.forbids();
        reports.push(report);
        if ends {
            break;
        }
    }
    reports
}

/// What the reports mean for the job or run: the failures that count, or nothing.
pub fn verdict(reports: &[HookReport]) -> Option<String> {
    let failures: Vec<String> = reports.iter().filter(|report| report.forbids()).map(ToString::to_string).collect();
    (!failures.is_empty()).then(|| failures.join("; "))
}

fn is_before(phase: Phase) -> bool {
    matches!(phase, Phase::BeforeRun | Phase::BeforeVm)
}

async fn run_hook(clock: &SharedClock, hook: &Hook, phase: Phase, context: &HookContext) -> HookReport {
    let begun = clock.elapsed();
    let environment = environment::of(std::env::vars_os(), hook, phase, context);
    let ended = process::run(clock, &hook.command, environment, process::Limits::of(hook)).await;
    let report = HookReport {
        phase,
        command: as_typed(&hook.command),
        took: clock.elapsed().saturating_sub(begun),
        result: ended.result,
        on_failure: hook.on_failure,
        output: ended.output,
    };
    // A failure is told by whoever writes it down.
    if report.result.is_ok() {
        report.say(context);
    }
    report
}

/// A command as one would type it into a shell.
fn as_typed(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    let word = |word: &String| match word.chars().all(plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", output::harmless(word.as_bytes()).replace('\'', r"'\''")),
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The word for a phase in the environment, in messages and in files.
fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::BeforeRun => "before-run",
        Phase::AfterRun => "after-run",
        Phase::BeforeVm => "before-vm",
        Phase::AfterVm => "after-vm",
    }
}

impl HookReport {
    /// Whether it failed in a way that counts.
    fn forbids(&self) -> bool {
        self.result.is_err() && self.on_failure == OnFailure::Fail
    }

    fn say(&self, context: &HookContext) {
        let mut fact = Fact::new(EventKind::HookRun).pool(&context.pool).named_policy(&context.policy_id, &context.policy);
        fact = fact.slot(context.due_at).took(self.took);
        if let Some((Ok(vm), name)) = context.vm.as_ref().map(|(uuid, name)| (uuid.parse(), name)) {
            fact = fact.named_vm(vm, name);
        }
        fact.say(&self.to_string());
    }
}

impl fmt::Display for HookReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => write!(f, "{} hook {} went well", word(self.phase), self.command),
            Err(failure) => {
                write!(f, "{} hook {}: {failure}", word(self.phase), self.command)?;
                failure.source().map_or(Ok(()), |source| write!(f, " ({source})"))
            }
        }
    }
}
