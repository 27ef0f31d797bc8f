//! `xensnap run`: a run of a policy now, and what became of it.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::Asking;
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
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 0 if every VM has its snapshot.
///
/// # Errors
/// When the configuration or the history cannot be used, or no pool is reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let asker = args.asking.asker().await?;
    let (policy, vms) = (asker.policy(&args.policy)?, asker.vms(&args.vms).await?);
    if args.dry_run {
        let reply = asker.ask(Ask::Preview { policy, vms, prune: false }).await?;
        return asker.done(!reply.failed).await;
    }
    let reply = asker.ask(Ask::Run { policy, vms }).await?;
    let well = asker.follow(&reply.slots).await?;
    asker.done(well && !reply.failed).await
}
