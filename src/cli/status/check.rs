//! A probe in the manner of Nagios: one line, performance data behind a bar, and an exit code that is the answer.

use std::process::ExitCode;

use super::super::asking::{Asking, Found};
use super::super::out::say;
use super::super::view::{harmless, rough};
use crate::daemon::Ask;
use crate::daemon::report::{Phase, Status, Weight};

/// What a monitoring system understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Warning => "WARNING",
            Verdict::Critical => "CRITICAL",
            Verdict::Unknown => "UNKNOWN",
        }
    }
}

/// Asks, prints the line, and returns the verdict.
pub(super) async fn run(asking: &Asking) -> ExitCode {
    let (verdict, text, data) = match ask(asking).await {
        Ok(Some(status)) => judged(&status),
        Ok(None) => (Verdict::Critical, "no service answers, so nothing is taken".to_owned(), String::new()),
        Err(error) => (Verdict::Unknown, format!("{error:#}"), String::new()),
    };
    // The bar begins the performance data, and a second line is none of this probe's.
    let text = harmless(&text).replace('|', "/");
    let bar = if data.is_empty() { "" } else { " | " };
    say!("XENSNAP {} - {text}{bar}{data}", verdict.word());
    ExitCode::from(verdict as u8)
}

async fn ask(asking: &Asking) -> anyhow::Result<Option<Status>> {
    match asking.find().await? {
        Found::Service(mut service) => {
            let data = super::super::asking::data(&mut service, Ask::Status {}).await?;
            Ok(Some(serde_json::from_value(data)?))
        }
        Found::Nobody { .. } => Ok(None),
    }
}

fn judged(status: &Status) -> (Verdict, String, String) {
    let count = |weight| status.troubles.iter().filter(|trouble| trouble.weight == weight).count();
    let (critical, warning) = (count(Weight::Critical), count(Weight::Warning));
    let verdict = match (critical, warning) {
        (0, 0) => Verdict::Ok,
        (0, _) => Verdict::Warning,
        _ => Verdict::Critical,
    };
    let text = match status.troubles.as_slice() {
        [] => quiet(status),
        [worst, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            format!("{}, for {}{more}", worst.text, rough(status.at - worst.since))
        }
    };
    let away = status.pools.iter().filter(|pool| pool.phase == Phase::Unreachable).count();
    let (waiting, working) = status.running.iter().fold((0, 0), |sum, run| (sum.0 + run.jobs.waiting, sum.1 + run.jobs.working));
    let ahead = status.pools.iter().filter_map(|pool| pool.clock_ahead_seconds).map(f64::abs).fold(0.0, f64::max);
    let data = format!(
        "critical={critical};;1;0 warning={warning};1;;0 unreachable={away};;1;0;{} running={};;;0 waiting={waiting};;;0 working={working};;;0 \
         paused={};;;0 clock={ahead:.0}s;60;;0",
        status.pools.len(),
        status.running.len(),
        status.paused.len()
    );
    (verdict, text, data)
}

fn quiet(status: &Status) -> String {
    let next = status.coming.first().map_or_else(
        || "nothing comes".to_owned(),
        |next| format!("next {} in {}", next.policy.name, rough(next.due_at - status.at)),
    );
    let paused = if status.paused.is_empty() { String::new() } else { format!(", {} paused", status.paused.len()) };
    format!("{} running{paused}, {next}", status.running.len())
}
