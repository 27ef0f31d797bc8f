//! `xensnap prune`: a policy's retention now.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::{Asking, carry_out};
use crate::daemon::Ask;

/// Removes what a policy's retention does not keep, without taking a snapshot first.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The policy, by id or name
    policy: String,
    /// Only say what would be removed, and why
    #[arg(long, conflicts_with = "approve")]
    dry_run: bool,
    /// Agree to what a guard stopped, such as the first pruning of adopted snapshots
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 0 if nothing was left that should have gone.
///
/// # Errors
/// When the configuration or the history cannot be used, or no pool is reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let policy = args.policy;
    let ask = if args.dry_run {
        Ask::Preview { policy, vms: Vec::new(), prune: true }
    } else if args.approve {
        Ask::Approve { policy }
    } else {
        Ask::Prune { policy }
    };
    carry_out(&args.asking, ask).await
}
