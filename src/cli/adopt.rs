//! `xensnap adopt` and `release`: snapshots move between installations, on purpose and one by one.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use uuid::Uuid;

use super::asking::{Asking, carry_out};
use crate::daemon::Ask;

/// Makes snapshots of another installation, another tool or a person a policy's. Its first pruning then needs a yes.
#[derive(Debug, ClapArgs)]
pub struct AdoptArgs {
    /// The policy that is to hold them, by id or name
    #[arg(long)]
    policy: String,
    /// The snapshots' uuids
    #[arg(required = true)]
    snapshots: Vec<Uuid>,
    #[command(flatten)]
    asking: Asking,
}

/// Gives snapshots away: from then on this installation neither counts nor removes them.
#[derive(Debug, ClapArgs)]
pub struct ReleaseArgs {
    /// The installation that gets them; without it they are nobody's
    #[arg(long, value_name = "INSTALLATION")]
    to: Option<String>,
    /// The snapshots' uuids
    #[arg(required = true)]
    snapshots: Vec<Uuid>,
    #[command(flatten)]
    asking: Asking,
}

/// Adopts.
///
/// # Errors
/// When the configuration or the history cannot be used, or no pool is reached.
pub async fn adopt(args: AdoptArgs) -> anyhow::Result<ExitCode> {
    carry_out(&args.asking, Ask::Adopt { policy: args.policy, snapshots: args.snapshots }).await
}

/// Releases.
///
/// # Errors
/// As [`adopt`].
pub async fn release(args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    carry_out(&args.asking, Ask::Release { snapshots: args.snapshots, to: args.to }).await
}
