//! `xensnap next`: the coming slots, as `systemctl list-timers` shows timers.

mod coming;
mod past;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;
use serde::Serialize;

use super::lookup::suggestion;
use super::out::say;
use super::reading::Reading;
use super::view::shapes::PolicyShape;
use super::view::{Cell, Column, NOTHING, Table, Times, Tone, print_json, rough};
use crate::config::{CheckedPolicy, Config};
use crate::domain::policy::Policy;
use coming::{Coming, Prospect, coming};
use past::Past;

/// Shows when each policy fires next, in its own time zone, and what will become of that slot.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// So many slots of each policy
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Only of this policy
    #[arg(long, value_name = "ID|NAME")]
    policy: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

const EXAMPLES: &str = "Columns:
  NEXT, LEFT    the coming slot, and how long until then
  LAST, PASSED  the newest slot that was decided, whatever became of it, and how long ago that was

Examples:
  xensnap next --policy nightly --count 14     two weeks of one policy, with its blackouts";

/// Lists.
///
/// # Errors
/// When the configuration or the history cannot be read, or no policy is called so.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let times = args.reading.times();
    let (config, sources) = args.reading.configured()?;
    let past = match sources.store_if_any().await? {
        Some(store) => Past::of(&store).await?,
        None => Past::default(),
    };
    let chosen = chosen(&config, args.policy.as_deref())?;
    let lines = chosen.into_iter().flat_map(|checked| past.lines(&config, checked)).collect();
    let mut coming = coming(lines, times.now, args.count.into());
    coming.iter_mut().for_each(|each| each.pause(&past));
    if args.reading.json() {
        print_json(times.now, &Next { slots: coming.iter().map(SlotShape::of).collect() })?;
    } else if coming.is_empty() {
        say!("There are no policies. `xensnap check` says which files were read.");
    } else {
        table(&coming, config.pools.len(), &times, args.reading.utc()).print(&args.reading.screen());
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(config: &'a Config, wanted: Option<&str>) -> anyhow::Result<Vec<&'a CheckedPolicy>> {
    let Some(wanted) = wanted else { return Ok(config.policies.iter().collect()) };
    match config.policy(wanted) {
        Some(checked) => Ok(vec![checked]),
        None => {
            let known = config.policies.iter().flat_map(|each| [each.policy.id.as_str(), each.policy.name.as_str()]);
            anyhow::bail!("the configuration has no policy \"{wanted}\"{}", suggestion(wanted, known))
        }
    }
}

#[derive(Serialize)]
struct Next {
    slots: Vec<SlotShape>,
}

/// A slot to come.
#[derive(Debug, Serialize)]
struct SlotShape {
    policy: PolicyShape,
    /// The name that the configuration gives it.
    pool: Option<String>,
    /// The zone of the policy.
    zone: String,
    due_at: Option<DateTime<Utc>>,
    /// The newest slot that was decided; null for all but the first of a policy and pool.
    last_due_at: Option<DateTime<Utc>>,
    /// `runs`, `skipped-closed`, `paused`, `waits`, `disabled`, `never`, or the code that a slot that is due will get.
    prospect: &'static str,
    note: Option<String>,
}

impl SlotShape {
    fn of(coming: &Coming<'_>) -> Self {
        let policy = coming.line.policy;
        Self {
            policy: PolicyShape { id: policy.id.to_string(), name: policy.name.clone() },
            pool: coming.line.pool.map(str::to_owned),
            zone: policy.schedule.zone().name().to_owned(),
            due_at: coming.due_at,
            last_due_at: coming.last(),
            prospect: coming.prospect.word(),
            note: note(coming, true).map(|(_, note)| note),
        }
    }
}

fn table(coming: &[Coming<'_>], pools: usize, times: &Times, utc: bool) -> Table {
    let columns = [
        Column::left("NEXT"),
        Column::right("LEFT"),
        Column::left("LAST").extra().if_any(),
        Column::right("PASSED").if_any(),
        Column::left("POLICY").cut(8),
        if pools <= 1 { Column::left("POOL").extra().if_any() } else { Column::left("POOL").cut(6).if_any() },
    ];
    let mut table = Table::new(columns).remarks("NOTE");
    for each in coming {
        let at = |at: DateTime<Utc>| moment(each.line.policy, at, utc);
        let cells: [Cell; 6] = [
            each.due_at.map_or_else(|| NOTHING.to_owned(), at).into(),
            left(each.due_at, times),
            before(each, at).into(),
            before(each, |last| times.distance(last)).into(),
            (&each.line.policy.name).into(),
            each.line.pool.unwrap_or(NOTHING).into(),
        ];
        table.row(cells, note(each, utc).map(|(tone, note)| Cell::toned(tone, note)));
    }
    table
}

/// What is said of the slot before: nothing but once for each policy and pool.
fn before(coming: &Coming<'_>, say: impl FnOnce(DateTime<Utc>) -> String) -> String {
    match coming.last() {
        Some(last) => say(last),
        None if coming.first => NOTHING.to_owned(),
        None => String::new(),
    }
}

/// A time in the policy's zone, or in UTC if that was asked for.
fn moment(policy: &Policy, at: DateTime<Utc>, utc: bool) -> String {
    let format = if at.timestamp() % 60 == 0 { "%a %Y-%m-%d %H:%M %Z" } else { "%a %Y-%m-%d %H:%M:%S %Z" };
    let local = if utc { None } else { policy.schedule.zone().format(at, format) };
    local.unwrap_or_else(|| at.format(&format.replace("%Z", "UTC")).to_string())
}

fn left(due: Option<DateTime<Utc>>, times: &Times) -> Cell {
    match due {
        None => NOTHING.into(),
        Some(at) if at > times.now => rough(at - times.now).into(),
        Some(_) => Cell::toned(Tone::Strong, "due"),
    }
}

/// What is not as one would expect.
fn note(coming: &Coming<'_>, utc: bool) -> Option<(Tone, String)> {
    let policy = coming.line.policy;
    match &coming.prospect {
        Prospect::Skipped(closure) => Some((Tone::Doubt, format!("will be skipped: {closure}"))),
        Prospect::Paused(pause) => Some((Tone::Doubt, format!("will be skipped: {pause}"))),
        Prospect::Due(verdict, before) => {
            let others = if *before == 0 { String::new() } else { format!("; {before} before it do not run") };
            Some((Tone::Doubt, format!("the daemon has not looked yet: {verdict}{others}")))
        }
        Prospect::Waits(until) => Some((Tone::Doubt, format!("late, and closed until {}", moment(policy, *until, utc)))),
        Prospect::Disabled => Some((Tone::Faint, "disabled".to_owned())),
        Prospect::Never => Some((Tone::Doubt, "no time matches any more".to_owned())),
        Prospect::Runs if coming.line.progress.is_none() && coming.first => {
            Some((Tone::Faint, "new: it counts once the daemon has reached the pool".to_owned()))
        }
        Prospect::Runs if policy.observe => Some((Tone::Faint, "observes only".to_owned())),
        Prospect::Runs => None,
    }
}
