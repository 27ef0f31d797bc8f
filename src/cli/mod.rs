//! The command line: one file per verb; this module only parses and dispatches.

mod adopt;
mod alarms;
mod asking;
mod cancel;
mod check;
mod completions;
mod control;
mod coverage;
mod daemon;
mod demo;
mod doctor;
mod exits;
mod explain;
mod history;
mod lookup;
mod man;
mod next;
mod orphans;
mod out;
mod pause;
mod pin;
mod planned;
mod policy;
mod prune;
mod reading;
mod reload;
mod run;
mod schema;
mod show;
mod simulator;
mod snapshots;
mod status;
mod target;
mod torture;
mod view;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::domain::build::Build;
use crate::telemetry::Format;

/// Scheduled snapshots of virtual machines on XenServer, Citrix Hypervisor and XCP-ng pools.
#[derive(Debug, Parser)]
#[command(name = "xensnap", version, max_term_width = 100, arg_required_else_help = true, after_help = exits::told())]
struct Cli {
    /// Say more on standard error (twice: details). XENSNAP_LOG overrides it.
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make snapshots of others a policy's
    Adopt(adopt::AdoptArgs),
    /// Show what is wrong and was told, and what could not be delivered; try the channels
    Alarms(alarms::Args),
    /// End a run, or what is under way about a VM, before it is done
    Cancel(cancel::Args),
    /// Read the configuration as the daemon does, and say what it means; changes nothing
    Check(check::Args),
    /// Print what lets a shell complete verbs and options
    Completions(completions::Args),
    /// Show what protects each VM, and whether its promise is kept
    Coverage(coverage::Args),
    /// Take and remove snapshots as the policies say, until stopped: the service
    Daemon(daemon::Args),
    /// Show snapshots being taken and removed on a simulated pool
    Demo(demo::Args),
    /// Check whether a pool can be worked with; changes nothing
    Doctor(doctor::Args),
    /// Say why a VM is covered or not, or why a snapshot stays or goes
    Explain(explain::Args),
    /// Show what was done: runs, jobs of a VM, due times; or copy the history
    History(history::Args),
    /// Write the manual pages into a folder
    Man(man::Args),
    /// Show when each policy fires next
    Next(next::Args),
    /// Show what is left that nobody works on, and what to do about it
    Orphans(orphans::Args),
    /// Begin nothing about a part of the world for a while
    Pause(pause::PauseArgs),
    /// Keep a snapshot until a date, whatever retention says
    Pin(pin::PinArgs),
    /// Write a policy file, or print a policy with all that counts
    Policy(policy::Args),
    /// Remove what a policy does not keep, now
    Prune(prune::Args),
    /// Give snapshots away
    Release(adopt::ReleaseArgs),
    /// Let the service read its configuration anew, and say what changed
    Reload(reload::Args),
    /// End a pause before its time
    Resume(pause::ResumeArgs),
    /// Run a policy now
    Run(run::Args),
    /// Print the JSON Schema of a configuration file, for editors
    Schema(schema::Args),
    /// Show everything about one run, VM or snapshot
    Show(show::Args),
    /// Show the snapshots that exist, why each stays, and when it goes
    Snapshots(snapshots::Args),
    /// Run a simulated pool, to try things on
    Simulator(simulator::Args),
    /// Show what runs, what comes, and what is wrong
    Status(status::Args),
    /// Run the service where everything goes wrong, and check that it keeps its promises
    Torture(torture::Args),
    /// Let retention decide about a pinned snapshot again
    Unpin(pin::UnpinArgs),
}

/// Parses the arguments, runs the verb and maps its outcome to an exit code.
pub fn main(build: Build) -> ExitCode {
    // Told once in a process, for as long as it lives.
    let told: &'static str = build.to_string().leak();
    let found = Cli::from_arg_matches(&Cli::command().version(told).get_matches());
    let cli = found.unwrap_or_else(|error| error.exit());
    crate::telemetry::start(cli.verbose + talk(&cli.verb), format(&cli.verb));
    report(run(cli.verb, build))
}

/// Whether these words, after the program's name, are a command line; for whoever holds documents against the program.
///
/// # Errors
/// What is wrong with them.
pub fn understood<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match Cli::try_parse_from(std::iter::once("xensnap").chain(words)) {
        Err(error) if !matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) => {
            Err(error.to_string())
        }
        _ => Ok(()),
    }
}

fn run(verb: Verb, build: Build) -> anyhow::Result<ExitCode> {
    let runtime = runtime(&verb).context("cannot start the runtime")?;
    match verb {
        Verb::Adopt(args) => runtime.block_on(adopt::adopt(args)),
        Verb::Alarms(args) => runtime.block_on(alarms::run(args)),
        Verb::Cancel(args) => runtime.block_on(cancel::run(args)),
        Verb::Check(args) => Ok(check::run(&args)),
        Verb::Completions(args) => completions::run(&args, Cli::command()),
        Verb::Coverage(args) => runtime.block_on(coverage::run(args)),
        Verb::Daemon(args) => runtime.block_on(daemon::run(args, build)),
        Verb::Demo(args) => runtime.block_on(demo::run(args)),
        Verb::Doctor(args) => runtime.block_on(doctor::run(args)),
        Verb::Explain(args) => runtime.block_on(explain::run(args)),
        Verb::History(args) => runtime.block_on(history::run(args)),
        Verb::Man(args) => man::run(&args, Cli::command()),
        Verb::Next(args) => runtime.block_on(next::run(args)),
        Verb::Orphans(args) => runtime.block_on(orphans::run(args)),
        Verb::Pause(args) => runtime.block_on(pause::pause(args)),
        Verb::Pin(args) => runtime.block_on(pin::pin(args)),
        Verb::Policy(args) => policy::run(args),
        Verb::Prune(args) => runtime.block_on(prune::run(args)),
        Verb::Release(args) => runtime.block_on(adopt::release(args)),
        Verb::Reload(args) => runtime.block_on(reload::run(args)),
        Verb::Resume(args) => runtime.block_on(pause::resume(args)),
        Verb::Run(args) => runtime.block_on(run::run(args)),
        Verb::Schema(args) => schema::run(&args),
        Verb::Show(args) => runtime.block_on(show::run(args)),
        Verb::Snapshots(args) => runtime.block_on(snapshots::run(args)),
        Verb::Simulator(args) => runtime.block_on(simulator::run(args)),
        Verb::Status(args) => runtime.block_on(status::run(args)),
        Verb::Torture(args) => runtime.block_on(torture::run(args)),
        Verb::Unpin(args) => runtime.block_on(pin::unpin(args)),
    }
}

/// How much a verb says by itself: the service what it does, others what went wrong, and a demonstration tells its own story.
fn talk(verb: &Verb) -> u8 {
    match verb {
        Verb::Daemon(_) => 3,
        // It tells of everything that happens in its own way.
        Verb::Demo(_) | Verb::Torture(_) => 0,
        _ => 2,
    }
}

/// How a verb writes its lines.
fn format(verb: &Verb) -> Format {
    match verb {
        Verb::Daemon(args) => args.log_format(),
        _ => Format::Auto,
    }
}

/// A demonstration's clock must see everybody at rest before it jumps, which is cheapest to see on one thread.
fn runtime(verb: &Verb) -> std::io::Result<tokio::runtime::Runtime> {
    match verb {
        Verb::Daemon(args) if args.follows() => one_thread(),
        Verb::Demo(_) | Verb::Torture(_) => one_thread(),
        _ => tokio::runtime::Runtime::new(),
    }
}

fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A failure with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Exit {
    code: u8,
    text: String,
}

impl Exit {
    /// The arguments are wrong in a way that clap cannot see.
    fn usage(text: String) -> Self {
        Self { code: exits::USAGE, text }
    }
}

/// Prints an error with its causes, once, on one line.
fn report(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("xensnap: {error:#}");
        error.downcast_ref::<Exit>().map_or(ExitCode::FAILURE, |exit| ExitCode::from(exit.code))
    })
}
