//! `xensnap coverage`: every VM, what protects it, and whether the promise is kept.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;

use super::asking::{Asking, data};
use super::out::say;
use super::view::{Cell, Column, NOTHING, Screen, Table, Times, Tone, counted, harmless, print_report, rough, wrapped};
use crate::daemon::Ask;
use crate::daemon::report::{Away, Coverage, ProtectedVm, Rpo, Source};

/// Shows every VM, the policies that cover it, its newest good snapshot, and whether that is as new as the schedules promise.
#[derive(Debug, ClapArgs)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// Only VMs whose promise is broken, or that nobody protects
    #[arg(long)]
    gaps: bool,
    /// Print one JSON object for programs (docs/JSON.md)
    #[arg(long)]
    json: bool,
    /// Show times in UTC
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    asking: Asking,
}

const NOTES: &str = "A snapshot is good once it is marked, on the disk of the pool's database, and to be seen in the pool.
The promise (RPO) of a policy is its rpo, or else the longest time between two of its slots, and a quarter of it, an hour at least, \
for the run itself.

Of a pool that is not reached the history tells what it knows.

Exit codes: 0 all promises are kept, 1 one is broken.";

/// Exit code 0 if all promises are kept; VMs that nobody protects break none.
///
/// # Errors
/// When no pool can be looked at.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut asker = args.asking.asker_even_alone().await?;
    let answer = data(&mut asker, Ask::Coverage {}).await;
    asker.done().await?;
    let coverage: Coverage = serde_json::from_value(answer?)?;
    let broken = coverage.vms.iter().any(|vm| vm.rpo == Rpo::Broken);
    let coverage = narrowed(coverage, args.gaps);
    if args.json {
        print_report(coverage.at, &coverage)?;
    } else {
        show(&coverage, &Times::new(coverage.at, args.utc), &Screen::of_output());
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn narrowed(mut coverage: Coverage, gaps: bool) -> Coverage {
    coverage.vms.retain(|vm| !gaps || matches!(vm.rpo, Rpo::Broken | Rpo::Unprotected));
    coverage
}

fn show(coverage: &Coverage, times: &Times, screen: &Screen) {
    let one_pool = coverage.vms.iter().all(|vm| vm.pool == coverage.vms[0].pool);
    let columns = [
        Column::left("VM").cut(8),
        Column::left("POOL").cut(6).if_any(),
        Column::left("RPO"),
        Column::left("POLICIES").cut(8),
        Column::left(times.title("NEWEST")),
        Column::right("AGE"),
        Column::right("PROMISED").if_any(),
        Column::left("SNAPSHOT").extra().if_any(),
    ];
    let mut table = Table::new(columns);
    for vm in &coverage.vms {
        table.row(cells(vm, coverage, times, one_pool), why(vm, coverage).map(|why| Cell::toned(Tone::Bad, why)));
    }
    if !coverage.vms.is_empty() {
        table.print(screen);
    }
    let count = |rpo: Rpo| coverage.vms.iter().filter(|vm| vm.rpo == rpo).count();
    say!(
        "{}: {} kept, {} broken, {} not due yet, {} that nobody protects",
        counted(coverage.vms.len(), "VM"),
        count(Rpo::Kept),
        count(Rpo::Broken),
        count(Rpo::Pending),
        count(Rpo::Unprotected)
    );
    for away in &coverage.away {
        paragraph(&absent(away, times), screen);
        paragraph(&told_from(away, coverage, times), screen);
    }
}

fn paragraph(text: &str, screen: &Screen) {
    wrapped(&harmless(text), screen.width).iter().for_each(|line| say!("{}", screen.paint(Tone::Bad, line)));
}

/// Since when a pool is not reached, and why.
fn absent(away: &Away, times: &Times) -> String {
    let since = away.since.map_or_else(String::new, |since| format!(" since {}", aged(since, times)));
    let name = format!("pool {}: ", away.pool);
    let why = away.problem.as_ref().map_or_else(String::new, |why| format!(": {}", why.strip_prefix(&name).unwrap_or(why)));
    format!("pool {} is not reached{since}{why}", away.pool)
}

/// What is not known of it.
fn told_from(away: &Away, coverage: &Coverage, times: &Times) -> String {
    match away.last_seen {
        None => "the history knows nothing of its VMs".to_owned(),
        Some(_) if coverage.vms.iter().any(|vm| vm.pool == away.pool && vm.source == Source::Pool) => {
            "its VMs are told as they were then".to_owned()
        }
        Some(seen) => format!(
            "its VMs are told from the history, which last heard of it {}: those of the newest runs; what became of them since is not known",
            aged(seen, times)
        ),
    }
}

fn aged(at: DateTime<Utc>, times: &Times) -> String {
    format!("{} ({})", times.short(at), times.distance(at))
}

fn cells(vm: &ProtectedVm, coverage: &Coverage, times: &Times, one_pool: bool) -> [Cell; 8] {
    let rpo = match vm.rpo {
        Rpo::Kept => Cell::toned(Tone::Good, "kept"),
        Rpo::Pending => Cell::toned(Tone::Faint, "pending"),
        Rpo::Broken => Cell::toned(Tone::Bad, "broken"),
        Rpo::Unprotected => Cell::toned(Tone::Doubt, "unprotected"),
    };
    let names: Vec<&str> = vm.policies.iter().map(|covered| covered.policy.name.as_str()).collect();
    let policies = if names.is_empty() { NOTHING.to_owned() } else { names.join(", ") };
    let newest = vm.newest.as_ref();
    let promised = vm.policies.iter().map(|covered| covered.rpo_seconds).min();
    [
        vm.name.as_str().into(),
        (if one_pool { "" } else { vm.pool.as_str() }).into(),
        rpo,
        policies.into(),
        newest.map_or_else(|| NOTHING.to_owned(), |good| times.short(good.taken_at)).into(),
        newest.map_or_else(|| NOTHING.to_owned(), |good| rough(coverage.at - good.taken_at)).into(),
        promised.map_or_else(String::new, |seconds| rough(chrono::TimeDelta::seconds(seconds))).into(),
        newest.map_or_else(String::new, |good| good.snapshot.to_string()).into(),
    ]
}

/// Which promises are broken.
fn why(vm: &ProtectedVm, coverage: &Coverage) -> Option<String> {
    let broken = vm.policies.iter().filter(|covered| covered.rpo == Rpo::Broken).map(|covered| {
        let promised = rough(chrono::TimeDelta::seconds(covered.rpo_seconds));
        match &covered.newest {
            Some(good) => format!(
                "{}: the newest good snapshot is {} old, promised {promised}",
                covered.policy.name,
                rough(coverage.at - good.taken_at)
            ),
            None => format!("{}: no good snapshot, promised every {promised}", covered.policy.name),
        }
    });
    let broken: Vec<String> = broken.collect();
    (!broken.is_empty()).then(|| broken.join("; "))
}
