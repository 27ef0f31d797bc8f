//! `xensnap prune --approve`: first all that would go, then a question, then the yes to just that. What was shown is named by the numbers
//! of its questions, so that nobody agrees to what came in between.

use std::io::{BufRead, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::super::Exit;
use super::super::asking::{Asking, carry_out_asked, data};
use super::super::out::say;
use super::super::view::counted;
use crate::daemon::Ask;
use crate::engine::consent::Listed;

/// A question, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Question {
    question: i64,
    why: String,
    pool: String,
    policy: Named,
    vm: Named,
    run: Option<i64>,
    asked_at: DateTime<Utc>,
    snapshots: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Told {
    questions: Vec<Question>,
}

/// What somebody agrees to.
pub(super) enum About {
    /// What this run was kept from.
    Run(i64),
    /// Whatever this policy waits for.
    Policy(String),
}

impl About {
    /// A number is a run's.
    pub(super) fn read(what: String) -> Self {
        what.parse().map_or(Self::Policy(what), Self::Run)
    }

    fn parts(self) -> (Option<String>, Option<i64>) {
        match self {
            Self::Run(run) => (None, Some(run)),
            Self::Policy(policy) => (Some(policy), None),
        }
    }
}

/// Shows, asks and agrees. Exit code 0 if all of it is gone, 1 if something was left or nobody agreed.
pub(super) async fn approve(asking: &Asking, about: About, (only_show, yes): (bool, bool)) -> anyhow::Result<ExitCode> {
    let (policy, run) = about.parts();
    let mut asker = asking.asker().await?;
    let told = data(&mut asker, Ask::Questions { policy: policy.clone(), run }).await;
    let told = match told.and_then(read) {
        Ok(told) => told,
        Err(error) => {
            asker.done().await?;
            return Err(error);
        }
    };
    told.iter().for_each(show);
    let agreed = if only_show { Ok(false) } else { agree(&told, yes) };
    match agreed {
        Ok(true) => {
            let questions = told.iter().map(|question| question.question).collect();
            carry_out_asked(asker, Ask::Approve { policy, run, questions }).await
        }
        other => {
            asker.done().await?;
            other.map(|_| if only_show { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn read(told: Value) -> anyhow::Result<Vec<Question>> {
    let told: Told = serde_json::from_value(told).context("the service's answer is not understood; are both of one version?")?;
    Ok(told.questions)
}

fn show(question: &Question) {
    let asked = question.asked_at.format("%Y-%m-%d %H:%M UTC");
    let by = question.run.map_or_else(|| "a pruning by hand".to_owned(), |run| format!("run {run}"));
    say!("VM {}, policy {}, pool {}: {}", question.vm.name, question.policy.name, question.pool, question.why);
    say!("  {by} would have removed these at {asked}:");
    for Listed { snapshot, due_at, reason } in &question.snapshots {
        say!("    {snapshot} of {}: {reason}", due_at.format("%Y-%m-%d %H:%M UTC"));
    }
}

/// Whether whoever sits there agrees; where nobody does, `--yes` has to say so.
fn agree(told: &[Question], yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let text = "nothing was removed: nobody can be asked here; look at the list, and give --yes to agree to it";
        return Err(Exit::usage(text.to_owned()).into());
    }
    let snapshots: usize = told.iter().map(|question| question.snapshots.len()).sum();
    answer(&format!("Remove {} of {}?", counted(snapshots, "snapshot"), counted(told.len(), "VM")), &mut stdin.lock())
}

fn answer(question: &str, input: &mut impl BufRead) -> anyhow::Result<bool> {
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().context("the question cannot be shown")?;
    let mut line = String::new();
    input.read_line(&mut line).context("the answer cannot be read")?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        let said = |line: &str| answer("Remove?", &mut line.as_bytes()).unwrap();
        assert!(["y\n", "Y\n", "yes\n", " YES \n"].into_iter().all(said));
        assert!(!["", "\n", "n\n", "yes please\n", "ja\n", "yy\n"].into_iter().any(said));
    }
}
