//! `xensnap run`: a run of a policy now, and what became of it.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::{Asking, carry_out};
use crate::daemon::Ask;

/// Runs a policy now, outside its schedule, and waits for the end. Windows and spread do not count; retention does.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The policy, by id or name
    policy: String,
    /// Only this VM, by name or uuid, of those that the policy selects; may be given more than once
    #[arg(long = "vm", value_name = "VM")]
    vms: Vec<String>,
    /// Only say what would be taken and removed
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end: the service goes on with it. Where none runs, there is waiting all the same
    #[arg(long, conflicts_with = "dry_run")]
    no_wait: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 0 if every VM has its snapshot.
///
/// # Errors
/// When the configuration or the history cannot be used, or no pool is reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (policy, vms) = (args.policy, args.vms);
    let ask =
        if args.dry_run { Ask::Preview { policy, vms, prune: false } } else { Ask::Run { policy, vms, wait: !args.no_wait } };
    carry_out(&args.asking, ask).await
}
