//! `xensnap prune`: a policy's retention now.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::Asking;
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
    let asker = args.asking.asker().await?;
    let policy = asker.policy(&args.policy)?;
    let ask = if args.dry_run {
        Ask::Preview { policy, vms: Vec::new(), prune: true }
    } else if args.approve {
        let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "somebody".to_owned());
        Ask::Approve { policy, by }
    } else {
        Ask::Prune { policy }
    };
    let reply = asker.ask(ask).await?;
    asker.done(!reply.failed).await
}
