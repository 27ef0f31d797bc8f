//! `xensnap orphans`: what is left that nobody works on, why, and what to do about it by hand.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::{Asking, data};
use super::out::say;
use super::view::{Cell, Column, Screen, Table, Times, Tone, counted, harmless, print_report, rough, wrapped};
use crate::daemon::Ask;
use crate::daemon::report::{Leftover, OrphansReport};

/// Shows what is left at the pools that nobody works on: disks without a VM, snapshots that count for nothing, VMs and tasks that were
/// left behind. What is ours beyond doubt the service puts right by itself; this is the rest.
#[derive(Debug, ClapArgs)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// Print one JSON object for programs (docs/JSON.md)
    #[arg(long)]
    json: bool,
    /// Show times in UTC
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    asking: Asking,
}

const NOTES: &str =
    "What each word means, and what is put right by itself, is told in docs/ORPHANS.md. Nothing is changed by looking.

Exit codes: 0 nothing needs anybody, 1 something does.";

/// Looks and shows.
///
/// # Errors
/// When neither a service nor a history can be asked.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut asker = args.asking.asker_even_alone().await?;
    let answer = data(&mut asker, Ask::Orphans {}).await;
    asker.done().await?;
    let report: OrphansReport = serde_json::from_value(answer?)?;
    if args.json {
        print_report(report.at, &report)?;
    } else {
        show(&report, &Times::new(report.at, args.utc), &Screen::of_output());
    }
    let needs = report.orphans.iter().any(|left| !left.passes());
    Ok(if needs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(report: &OrphansReport, times: &Times, screen: &Screen) {
    let columns = [
        Column::left("WHAT"),
        Column::left("UUID"),
        Column::left("VM").cut(8).if_any(),
        Column::right("AGE").if_any(),
        Column::left("NAME").extra().if_any(),
        Column::left("POOL").extra().if_any(),
        Column::left("SR").extra().if_any(),
        Column::right("BYTES").extra().if_any(),
        Column::left(times.title("GOES")).if_any(),
    ];
    let mut table = Table::new(columns);
    for left in &report.orphans {
        table.row(cells(left, report, times), Some(why(left).into()));
    }
    if report.orphans.is_empty() {
        say!("nothing is left that nobody works on");
    } else {
        table.print(screen);
        let needs = report.orphans.iter().filter(|left| !left.passes()).count();
        say!("{} left, {needs} of which somebody has to look at", counted(report.orphans.len(), "thing"));
    }
    for pool in &report.unreached {
        let text = format!("pool {pool} is not reached, so nobody knows what is left there; `xensnap doctor` says why");
        wrapped(&harmless(&text), screen.width).iter().for_each(|line| say!("{}", screen.paint(Tone::Bad, line)));
    }
}

/// Why it is left, and what to do.
fn why(left: &Leftover) -> String {
    format!("{}; to do: {}", left.why, left.todo)
}

fn cells(left: &Leftover, report: &OrphansReport, times: &Times) -> [Cell; 9] {
    let tone = if left.passes() { Tone::Faint } else { Tone::Doubt };
    [
        Cell::toned(tone, left.what.as_str()),
        left.uuid.to_string().into(),
        left.vm.as_ref().map_or("", |vm| vm.name.as_str()).into(),
        left.since.map_or_else(String::new, |since| rough(report.at - since)).into(),
        left.name.as_str().into(),
        left.pool.as_str().into(),
        left.sr.as_deref().unwrap_or_default().into(),
        left.bytes.map_or_else(String::new, |bytes| bytes.to_string()).into(),
        left.goes_at.map_or_else(String::new, |at| times.short(at)).into(),
    ]
}
