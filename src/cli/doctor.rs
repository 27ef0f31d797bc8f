//! `xensnap doctor`: can this program work with a pool as the policies ask, and if not, what has to be done? Nothing is changed on the
//! server. What is found are values with a code (`docs/DOCTOR.md`); the pool is judged by `engine::checkup`, here it is asked and told.

mod look;
mod page;
mod service;
mod told;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::target::{Meant, Target};
use super::view::{Screen, print_json};
use crate::clock::{SharedClock, SystemClock};
use crate::domain::finding::{Code, Finding, Weight};
use crate::xenapi::Settings;
use look::Asked;
use told::{PoolReport, Report};

/// Checks whether pools can be worked with as the policies ask, and says what has to be done if not. Changes nothing.
#[derive(Debug, ClapArgs)]
#[command(after_help = NOTES)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Wait this many seconds for a pool that is away
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// Show every finding, and who fills the storage VM by VM
    #[arg(long)]
    all: bool,
    /// Print one JSON object for programs (docs/JSON.md)
    #[arg(long)]
    json: bool,
    /// The service's unit, with its drop-ins in the folder beside it [default: as `systemctl cat xensnap` says]
    #[arg(long, value_name = "FILE")]
    unit: Option<std::path::PathBuf>,
    /// Take this for the present time
    #[arg(long, value_name = "TIME", hide = true)]
    now: Option<chrono::DateTime<chrono::Utc>>,
}

const NOTES: &str =
    "With a configuration its policies are judged too: which VMs they cover, whether those can be snapshotted as asked,
and whether hooks can be run as the service. With an address alone it is said what can be said without.

Exit codes: 0 snapshots can be taken as asked (there may be warnings), 1 there is a problem. docs/DOCTOR.md explains each code.";

/// Checks every pool that is meant; the exit code is 1 if something is a problem.
///
/// # Errors
/// When the settings cannot be read.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let Meant { pools, config, unusable, file } = args.target.meant()?;
    let mut service = service::judge(config.as_deref(), args.unit.as_deref()).await;
    service.extend(unusable.map(|problems| wrong(&file.unwrap_or_default().display().to_string(), problems.errors().count())));
    let asked = Asked { clock, config: config.as_deref(), now: args.now };
    let mut report = Report { pools: Vec::new(), service };
    let screen = Screen::of_output();
    for (name, settings) in pools {
        let pool = match settings {
            Ok(settings) => examine(&asked, settings, args.wait).await,
            Err(error) => PoolReport::away(name, format!("{error:#}")),
        };
        if !args.json {
            page::pool(&pool, config.as_deref(), args.all, &screen);
        }
        report.pools.push(pool);
    }
    let healthy = report.findings().all(|finding| finding.weight != Weight::Problem);
    if args.json {
        print_json(asked.now(), &report)?;
    } else {
        page::service(&report.service, args.all, &screen);
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(asked: &Asked<'_>, settings: Settings, wait: u64) -> PoolReport {
    let settings = Settings { patience: Duration::from_secs(wait), originator: "xensnap|doctor".to_owned(), ..settings };
    look::at(asked, settings).await
}

fn wrong(file: &str, errors: usize) -> Finding {
    let what = format!("{file} has {}, so that policies cannot be judged", super::view::counted(errors, "error"));
    let todo = format!("`xensnap check --config {file}` names each with its place");
    Finding::new(Code::Configuration, Weight::Problem, what, todo).about("file", None, file)
}
