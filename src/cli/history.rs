//! `xensnap history`: what was done, newest first. Runs; with `--vm` the jobs of that VM; with `--slots` every due time, those that did
//! not run included. With `--backup` nothing is listed and the history is copied.

mod jobs;
mod runs;
mod slots;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;
use serde::Serialize;
use uuid::Uuid;

use super::Exit;
use super::lookup::{Names, suggestion};
use super::out::say;
use super::reading::Reading;
use super::view::{Moment, Screen, Times, Tone, print_json};
use crate::store::{After, Page, Store};

/// Shows what was done: runs, the jobs of one VM, or every due time; newest first.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only of this policy
    #[arg(long, value_name = "ID|NAME")]
    policy: Option<String>,
    /// The jobs of this VM instead of runs
    #[arg(long, value_name = "NAME|UUID", conflicts_with = "slots")]
    vm: Option<String>,
    /// Only on this pool
    #[arg(long, value_name = "NAME|UUID")]
    pool: Option<String>,
    /// Every due time instead of runs: also those missed or skipped, with the reason
    #[arg(long)]
    slots: bool,
    /// Not before this time: 2026-03-01, "2026-03-01 02:00", or 7d for a week ago
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Only runs with this outcome, such as failed; jobs (with --vm) or due times (with --slots) in this state
    #[arg(long, value_name = "WORD", visible_alias = "state")]
    outcome: Option<String>,
    /// How many to show
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on after the place that the page before named
    #[arg(long, value_name = "PLACE")]
    after: Option<After>,
    /// Copy the history to this new file, safely while the daemon runs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "vm", "pool", "slots", "since", "until", "outcome", "after"])]
    backup: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

const EXAMPLES: &str = "Examples:
  xensnap history --outcome failed --since 7d     what went wrong this week
  xensnap history --vm web-01                     every job of one VM
  xensnap history --slots --policy nightly        every night, also those that did not run
  xensnap history --backup /backup/xensnap.db     a copy that can be restored";

/// Lists or copies.
///
/// # Errors
/// When the history cannot be read, or does not know what is asked for.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let store = args.reading.sources()?.store().await?;
    let times = args.reading.times();
    match &args.backup {
        Some(target) => back_up(&store, target, &times, args.reading.json()).await?,
        None => list(&store, &args, &times).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a list is narrowed to, in history's own terms.
struct Asked<'a> {
    store: &'a Store,
    names: Names,
    policy: Option<String>,
    pool: Option<Uuid>,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    page: Page,
    times: &'a Times,
    screen: Screen,
    json: bool,
}

async fn list(store: &Store, args: &Args, times: &Times) -> anyhow::Result<()> {
    let names = Names::of(store).await?;
    let first = Page::first(args.limit);
    let asked = Asked {
        store,
        policy: args.policy.as_deref().map(|policy| names.policy_id(policy)).transpose()?,
        pool: args.pool.as_deref().map(|pool| names.pool_uuid(pool)).transpose()?,
        names,
        from: args.since.map(|moment| moment.instant(times)),
        until: args.until.map(|moment| moment.instant(times)),
        page: args.after.map_or(first, |after| first.after(after)),
        times,
        screen: args.reading.screen(),
        json: args.reading.json(),
    };
    let word = args.outcome.as_deref();
    match &args.vm {
        Some(vm) => jobs::list(&asked, vm, word).await,
        None if args.slots => slots::list(&asked, word).await,
        None => runs::list(&asked, word).await,
    }
}

impl Asked<'_> {
    /// What a list ends with when there is more: how to see it.
    fn more(&self, next: Option<After>, shown: usize) {
        if let Some(next) = next {
            let hint = format!("The newest {shown} are shown. For those before them add --after {next}");
            say!("\n{}", self.screen.paint(Tone::Faint, &hint));
        }
    }

    /// The columns of a due time: in the reader's zone, and in UTC where there is room and it is another.
    fn due_columns(&self) -> [super::view::Column; 2] {
        use super::view::Column;
        [Column::left(self.times.title("DUE")), Column::left("UTC").extra().if_any()]
    }

    fn due_cells(&self, due: DateTime<Utc>) -> [super::view::Cell; 2] {
        let utc = if self.times.is_utc() { String::new() } else { due.format("%Y-%m-%d %H:%M").to_string() };
        [self.times.short(due).into(), utc.into()]
    }
}

/// The value that a word stands for.
fn value<T: Copy>(what: &str, word: Option<&str>, all: &[T], name: fn(T) -> &'static str) -> anyhow::Result<Option<T>> {
    let Some(word) = word else { return Ok(None) };
    let words = || all.iter().map(|value| name(*value));
    let found = all.iter().copied().find(|value| name(*value) == word);
    match found {
        Some(value) => Ok(Some(value)),
        None => {
            let known = words().collect::<Vec<_>>().join(", ");
            Err(Exit::usage(format!("\"{word}\" is no {what}; there are {known}{}", suggestion(word, words()))).into())
        }
    }
}

#[derive(Serialize)]
struct Backup<'a> {
    backup: BackupShape<'a>,
}

#[derive(Serialize)]
struct BackupShape<'a> {
    path: &'a Path,
    bytes: u64,
}

async fn back_up(store: &Store, target: &Path, times: &Times, json: bool) -> anyhow::Result<()> {
    let copied = store.backup(target, times.now).await?;
    if json {
        return print_json(times.now, &Backup { backup: BackupShape { path: &copied.path, bytes: copied.bytes } });
    }
    say!(
        "{} holds the history as it was at {}: {} bytes, read back and found whole.",
        copied.path.display(),
        times.long(times.now),
        copied.bytes
    );
    say!(
        "To restore it, stop the daemon and put it in the place of {}; the daemon recognises an older copy.",
        store.path().display()
    );
    Ok(())
}
