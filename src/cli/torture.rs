//! `xensnap torture`: the fault campaign. Seed after seed a pool is drawn, the service is run on it for weeks of simulated time while
//! everything goes wrong, and what really happened is held against what was promised.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::out::say;
use crate::torture::plan::{Fault, Plan};
use crate::torture::shrink::shrink;
use crate::torture::tally::Tally;
use crate::torture::{Outcome, play};

/// Runs the service on simulated pools where everything goes wrong, and checks that it keeps its promises.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "A seed that fails is made short, and the short plan is left in a file for --plan. See docs/RELIABILITY.md."
)]
pub struct Args {
    /// How many seeds are played
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// Play this seed alone
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// How many days of each seed things go wrong; a healthy one follows
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Play this plan alone, as a campaign left it behind
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from", "seed"])]
    plan: Option<PathBuf>,
    /// Leave a plan that fails as it was drawn, instead of making it short
    #[arg(long)]
    no_shrink: bool,
    /// How many seeds are played at the same time; each takes about a core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Leave the files of every play behind, not only of those that fail
    #[arg(long)]
    keep: bool,
    /// Where plans and files are left [default: a new folder among the temporary ones]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Plays; exit code 1 when a promise was broken, or a kind of fault was never seen in a campaign.
///
/// # Errors
/// When there is no verdict.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let program =
        std::env::current_exe().context("the program does not know where it lies, and cannot start itself as the service")?;
    let folder =
        args.folder.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("xensnap-torture-{}", std::process::id())));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let folder = folder.canonicalize().context("the folder is gone again")?;
    let campaign = Campaign { program, folder, days: args.days, keep: args.keep, shrink: !args.no_shrink };
    if let Some(file) = &args.plan {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let plan = Plan::parse(&text).with_context(|| file.display().to_string())?;
        return Ok(code(campaign.one(&plan, false).await?.violations.is_empty()));
    }
    let seeds = args.seed.map_or(args.from..args.from.saturating_add(args.seeds), |seed| seed..seed.saturating_add(1));
    let all = args.seed.is_none();
    let jobs = args.jobs;
    tokio::task::spawn_blocking(move || campaign.all(seeds, jobs, all)).await.context("a play panicked")?.map(code)
}

fn code(clean: bool) -> ExitCode {
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Campaign {
    program: PathBuf,
    folder: PathBuf,
    days: u32,
    keep: bool,
    shrink: bool,
}

/// How a seed went.
type Went = (u64, anyhow::Result<Outcome>);

impl Campaign {
    /// Whether all seeds were clean and, if that is asked for, every kind of fault was seen.
    fn all(&self, seeds: std::ops::Range<u64>, jobs: u64, every_kind: bool) -> anyhow::Result<bool> {
        let (mut tally, mut failed, began) = (Tally::default(), Vec::new(), Instant::now());
        let (mut unheard, mut spared) = (0, 0);
        let (next, (tell, told)) = (AtomicU64::new(seeds.start), std::sync::mpsc::channel::<Went>());
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                let (tell, next, end) = (tell.clone(), &next, seeds.end);
                scope.spawn(move || self.line(next, end, &tell));
            }
            drop(tell);
            for (seed, outcome) in told {
                // The others stop after the seed that they are at.
                let outcome = outcome.inspect_err(|_| next.store(u64::MAX, Ordering::Relaxed))?;
                tally.add(&outcome.tally);
                unheard += outcome.unheard;
                spared += outcome.spared;
                failed.extend((!outcome.violations.is_empty()).then_some(seed));
            }
            anyhow::Ok(())
        })?;
        failed.sort_unstable();
        say!("\n{tally}");
        let silent = if every_kind { tally.silent() } else { Vec::new() };
        let words: Vec<&str> = silent.iter().copied().map(Fault::word).collect();
        if !words.is_empty() {
            say!("never seen to have an effect: {}; play more seeds", words.join(", "));
        }
        if unheard > 0 {
            say!("{unheard} disks are left of calls that died with the server before anybody heard of them (docs/ORPHANS.md)");
        }
        if spared > 0 {
            say!(
                "{spared} disks are left that a VM used when they were to be destroyed; people are told of them (docs/ORPHANS.md)"
            );
        }
        let count = seeds.end - seeds.start;
        say!("{count} seeds in {:.0?}, {} crashes of the service; failed: {failed:?}", began.elapsed(), tally.kills());
        Ok(failed.is_empty() && silent.is_empty())
    }

    /// One seed after another, on a thread with a runtime of its own: whoever leads a time sees best on one thread who rests.
    fn line(&self, next: &AtomicU64, end: u64, tell: &std::sync::mpsc::Sender<Went>) {
        loop {
            let seed = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seed| (seed < end).then(|| seed + 1));
            let Ok(seed) = seed else { return };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome = runtime
                .context("a runtime cannot be made")
                .and_then(|runtime| runtime.block_on(self.one(&Plan::draw(seed, self.days), true)));
            if tell.send((seed, outcome)).is_err() {
                return;
            }
        }
    }

    /// Plays one plan and tells how it went; one that fails is made short if that is wanted.
    async fn one(&self, plan: &Plan, shorten: bool) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let folder = self.folder.join(format!("seed-{}", plan.seed));
        let outcome = self.play_in(plan, &folder).await?;
        let verdict = if outcome.violations.is_empty() { "clean" } else { "FAILED" };
        let (steps, kills) = (plan.steps.len(), outcome.tally.kills());
        let (seed, taken, removed) = (plan.seed, outcome.taken, outcome.removed);
        let took = began.elapsed();
        let mut told =
            format!("seed {seed}: {steps} faults, {kills} crashes, {taken} snapshots, {removed} removed, {took:.1?}: {verdict}");
        outcome.violations.iter().for_each(|violation| told.push_str(&format!("\n  {violation}")));
        say!("{told}");
        if outcome.violations.is_empty() {
            if !self.keep {
                let _ = std::fs::remove_dir_all(&folder);
            }
        } else if shorten {
            self.shorten(plan, &outcome).await?;
        }
        Ok(outcome)
    }

    async fn play_in(&self, plan: &Plan, folder: &Path) -> anyhow::Result<Outcome> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(play(plan, &self.program, folder).await?)
    }

    async fn shorten(&self, plan: &Plan, outcome: &Outcome) -> anyhow::Result<()> {
        let broken: Vec<&str> = outcome.violations.iter().map(|violation| violation.invariant).collect();
        let file = self.folder.join(format!("seed-{}.toml", plan.seed));
        std::fs::write(&file, plan.to_toml()?).with_context(|| format!("cannot write {}", file.display()))?;
        if !self.shrink {
            say!("  xensnap torture --plan {}", file.display());
            return Ok(());
        }
        let folder = self.folder.join(format!("shrinking-{}", plan.seed));
        let short = shrink(plan, async |plan: &Plan| {
            let played = self.play_in(plan, &folder).await;
            played.is_ok_and(|outcome| outcome.violations.iter().any(|violation| broken.contains(&violation.invariant)))
        })
        .await;
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::write(&file, short.to_toml()?).with_context(|| format!("cannot write {}", file.display()))?;
        say!("  {} faults are enough: xensnap torture --plan {}", short.steps.len(), file.display());
        say!("{}", short.to_toml()?.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"));
        Ok(())
    }
}
