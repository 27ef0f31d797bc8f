//! `xensnap status`: what runs, what comes, what is wrong. The service is asked; where none runs, whoever may read the history is told
//! what that says, and that nobody works.

mod check;
mod page;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args as ClapArgs;
use serde_json::Value;

use super::asking::{Asking, Found};
use super::out::say;
use super::view::{Screen, Times, print_report};
use crate::clock::{Clock as _, SystemClock};
use crate::daemon::Ask;
use crate::daemon::report::{self, Status};
use crate::store::{Options, Store};

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);

/// Shows what runs and how far it is, what comes, what is paused, and what is wrong and since when; for each pool how it is reached.
#[derive(Debug, ClapArgs)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// One line for a monitoring system, with its exit codes
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    check: bool,
    /// Look again every two seconds, until interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print one JSON object for programs (docs/JSON.md)
    #[arg(long)]
    json: bool,
    /// Show times in UTC
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    asking: Asking,
}

const NOTES: &str = "Exit codes: 0 a service answers, 1 none does, and the history was read instead.
With --check: 0 all is well, 1 somebody should look, 2 a promise is broken or no service answers, 3 it cannot be told.

What is wrong stays in the list until something puts it right: a failed run until the next of that policy and pool succeeds.";

/// Shows it.
///
/// # Errors
/// When neither a service nor a history can be asked.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.check {
        return Ok(check::run(&args.asking).await);
    }
    if args.watch {
        return watch(&args).await;
    }
    let status = status(&args.asking).await?;
    if args.json {
        print_report(status.at, &status)?;
    } else {
        page::show(&status, &Times::new(status.at, args.utc), &Screen::of_output()).iter().for_each(|line| say!("{line}"));
    }
    Ok(if status.service.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How everything stands, as the service says, or else the history.
async fn status(asking: &Asking) -> anyhow::Result<Status> {
    match asking.find().await? {
        Found::Service(mut service) => {
            let data: Value = super::asking::data(&mut service, Ask::Status {}).await?;
            Ok(serde_json::from_value(data)?)
        }
        Found::Nobody { config, .. } => {
            let config = config?;
            let now = SystemClock::new().now();
            let path = &config.store.path;
            if !path.try_exists().unwrap_or(false) {
                bail!(
                    "no service answers, and there is no history at {}; is it started (`systemctl status xensnap`)?",
                    path.display()
                );
            }
            let store = Store::open_read_only(path, &Options::default()).await?;
            let pools: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
            let policies = config.policies.iter().flat_map(|checked| {
                let pools = pools.iter().copied().filter(|pool| checked.covers(pool));
                pools.map(|pool| (&checked.policy, pool)).collect::<Vec<_>>()
            });
            Ok(report::from_history(&store, policies, pools.iter().copied(), now).await?)
        }
    }
}

/// Looks again and again. What is in the way now may be over at the next look.
async fn watch(args: &Args) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::new();
    loop {
        let screen = Screen::of_output();
        let lines = match status(&args.asking).await {
            Ok(status) => page::show(&status, &Times::new(status.at, args.utc), &screen),
            Err(error) => vec![format!("xensnap: {error:#}")],
        };
        // Home, and each line to its end: nothing flickers. Then what is left below goes.
        if screen.is_terminal {
            let drawn: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
            say!("\x1b[H{}\x1b[J", drawn.join("\n"));
        } else {
            lines.iter().for_each(|line| say!("{line}"));
            say!("");
        }
        clock.sleep(AGAIN).await;
    }
}
