//! `xensnap alarms`: what is raised, and what waits to be delivered; and trying the channels.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args as ClapArgs, Subcommand};

use super::asking::{Asking, Found, carry_out_asked, data};
use super::out::say;
use super::planned;
use super::view::{Cell, Column, NOTHING, Screen, Table, Times, Tone, counted, harmless, print_report, rough};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::daemon::report::{AlarmDelivery, AlarmsReport, RaisedAlarm, alarms_from_history};
use crate::daemon::{Ask, try_channels};
use crate::store::{Options, Store};

/// Shows what is wrong and was told, and what could not be delivered; or tries the channels through which people are told.
#[derive(Debug, ClapArgs)]
#[command(after_help = NOTES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Print one JSON object for programs (docs/JSON.md)
    #[arg(long)]
    json: bool,
    /// Show times in UTC
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send a message through each channel now, or through one, and say what happened
    Test {
        /// The name of a mail or webhook; pool:NAME for the messages of a pool; dead-man for the monitor outside
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
}

const NOTES: &str =
    "An alarm is raised when something begins to be wrong and cleared when that is over; each is told once (docs/ALARMS.md).

Exit codes: 0 everything that was told has arrived, 1 something has not; with test: 0 every channel took it, 1 one did not.";

/// Shows, or tries.
///
/// # Errors
/// When neither a service nor a history can be asked.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Verb::Test { channel, asking }) = args.verb {
        return test(&asking, channel).await;
    }
    let report = report(&args.asking).await?;
    let failing = report.deliveries.iter().any(is_failing);
    if args.json {
        print_report(report.at, &report)?;
    } else {
        show(&report, &Times::new(report.at, args.utc), &Screen::of_output());
    }
    Ok(if failing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// As the service says, or else the history.
async fn report(asking: &Asking) -> anyhow::Result<AlarmsReport> {
    match asking.find().await? {
        Found::Service(mut service) => Ok(serde_json::from_value(data(&mut service, Ask::Alarms {}).await?)?),
        Found::Nobody { config, .. } => {
            let path = &config?.store.path;
            if !path.try_exists().unwrap_or(false) {
                bail!("no service answers, and there is no history at {}", path.display());
            }
            let store = Store::open_read_only(path, &Options::default()).await?;
            Ok(alarms_from_history(&store, SystemClock::new().now()).await?)
        }
    }
}

/// Through the service, which is what sends alarms; where none runs, from here.
async fn test(asking: &Asking, channel: Option<String>) -> anyhow::Result<ExitCode> {
    match asking.find().await? {
        Found::Service(service) => carry_out_asked(service, Ask::AlarmsTest { channel }).await,
        Found::Nobody { config, .. } => try_from_here(&*config?, channel.as_deref()).await,
    }
}

async fn try_from_here(config: &Config, channel: Option<&str>) -> anyhow::Result<ExitCode> {
    if config.alarms.is_none() {
        bail!("there is no [alarms] in the main file; docs/ALARMS.md shows it");
    }
    let outcomes = try_channels(&planned::plan(config)?, channel, SystemClock::new().now()).await;
    if outcomes.is_empty() {
        bail!("[alarms] has no such channel; `xensnap alarms` lists those of a service that runs");
    }
    for outcome in &outcomes {
        say!("{}: {}", outcome.channel, harmless(&outcome.text));
    }
    let all = outcomes.iter().all(|outcome| outcome.delivered);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether nobody may have been told through it.
fn is_failing(delivery: &AlarmDelivery) -> bool {
    delivery.state == "given-up" || delivery.state == "waiting" && delivery.error.is_some()
}

fn show(report: &AlarmsReport, times: &Times, screen: &Screen) {
    if report.alarms.is_empty() {
        say!("nothing is wrong that would be told");
    } else {
        raised(report, times, screen);
    }
    let waiting: Vec<&AlarmDelivery> =
        report.deliveries.iter().filter(|delivery| delivery.state == "waiting" || is_failing(delivery)).collect();
    if !waiting.is_empty() {
        say!("\n{}", screen.paint(Tone::Strong, "Not delivered"));
        undelivered(&waiting, report, times, screen);
    }
    footer(report, times, screen);
}

fn raised(report: &AlarmsReport, times: &Times, screen: &Screen) {
    let columns = [
        Column::left("SEVERITY"),
        Column::left(times.title("SINCE")),
        Column::right("AGE"),
        Column::left("POOL").cut(6).if_any(),
        Column::left("POLICY").cut(6).if_any(),
        Column::left("CODE"),
    ];
    let mut table = Table::new(columns);
    for alarm in &report.alarms {
        table.row(alarm_cells(alarm, report, times), Some(alarm.text.as_str().into()));
    }
    table.print(screen);
    say!("{} raised", counted(report.alarms.len(), "alarm"));
}

fn alarm_cells(alarm: &RaisedAlarm, report: &AlarmsReport, times: &Times) -> [Cell; 6] {
    let tone = match alarm.severity.as_str() {
        "critical" | "error" => Tone::Bad,
        "warning" => Tone::Doubt,
        _ => Tone::Faint,
    };
    [
        Cell::toned(tone, alarm.severity.as_str()),
        times.short(alarm.since).into(),
        rough(report.at - alarm.since).into(),
        alarm.pool.as_deref().unwrap_or_default().into(),
        alarm.policy.as_deref().unwrap_or_default().into(),
        alarm.code.as_str().into(),
    ]
}

fn undelivered(waiting: &[&AlarmDelivery], report: &AlarmsReport, times: &Times, screen: &Screen) {
    let columns = [
        Column::left("CHANNEL").cut(8),
        Column::left("FORM"),
        Column::left(times.title("WRITTEN")),
        Column::right("TRIES"),
        Column::left("STATE"),
        Column::right("AGAIN IN").if_any(),
    ];
    let mut table = Table::new(columns);
    for delivery in waiting {
        let tone = if delivery.state == "waiting" { Tone::Doubt } else { Tone::Bad };
        let again =
            delivery.next_try_at.map_or_else(String::new, |next| rough((next - report.at).max(chrono::TimeDelta::zero())));
        let cells: [Cell; 6] = [
            delivery.channel.as_str().into(),
            delivery.form.as_str().into(),
            times.short(delivery.created_at).into(),
            delivery.attempts.to_string().into(),
            Cell::toned(tone, delivery.state.as_str()),
            again.into(),
        ];
        table.row(cells, delivery.error.as_deref().map(|error| Cell::toned(tone, error)));
    }
    table.print(screen);
}

fn footer(report: &AlarmsReport, times: &Times, screen: &Screen) {
    let channels = if report.channels.is_empty() { NOTHING.to_owned() } else { report.channels.join(", ") };
    if report.watching {
        say!("\nchannels: {channels}");
    } else {
        say!("\n{}", screen.paint(Tone::Doubt, "nobody looks now: no service runs, or its main file has no [alarms]"));
    }
    if let Some(monitor) = &report.monitor {
        let how = monitor.error.as_ref().map_or_else(|| "told that all is well".to_owned(), |error| harmless(error));
        say!("monitor outside, {}: {how}", times.short(monitor.at));
    }
}
