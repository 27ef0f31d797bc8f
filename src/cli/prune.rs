//! `xensnap prune`: a policy's retention now, and a person's word about what a guard stopped.

mod approve;

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::Exit;
use super::asking::{Asking, carry_out};
use crate::daemon::Ask;
use approve::About;

/// Removes what a policy's retention does not keep, without taking a snapshot first. What is more than usual waits until somebody agrees:
/// --approve shows exactly what would go, and asks.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  xensnap prune nightly --dry-run     what would go, and why
  xensnap prune --approve 412         what run 412 was kept from removing; asks before anything goes
  xensnap prune --approve nightly     the same of whatever a policy waits for")]
pub struct Args {
    /// The policy, by id or name
    #[arg(required_unless_present = "approve")]
    policy: Option<String>,
    /// Only say what would be removed, and why
    #[arg(long)]
    dry_run: bool,
    /// Agree to what a guard stopped: in a run, by its number, or of a policy
    #[arg(long, value_name = "RUN|POLICY", num_args = 0..=1)]
    approve: Option<Option<String>>,
    /// Agree without being asked
    #[arg(long, requires = "approve", conflicts_with = "dry_run")]
    yes: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 0 if nothing was left that should have gone.
///
/// # Errors
/// When the configuration or the history cannot be used, or no pool is reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { policy, dry_run, approve, yes, asking } = args;
    match (approve, policy) {
        (Some(what), policy) => {
            let about = match (what, policy) {
                (Some(what), None) => About::read(what),
                (None, Some(policy)) => About::Policy(policy),
                _ => return Err(Exit::usage("say one of both: the number of a run, or a policy".to_owned()).into()),
            };
            approve::approve(&asking, about, (dry_run, yes)).await
        }
        (None, Some(policy)) if dry_run => carry_out(&asking, Ask::Preview { policy, vms: Vec::new(), prune: true }).await,
        (None, Some(policy)) => carry_out(&asking, Ask::Prune { policy }).await,
        (None, None) => Err(Exit::usage("say which policy".to_owned()).into()),
    }
}
