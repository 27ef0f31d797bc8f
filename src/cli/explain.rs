//! `xensnap explain`: why a VM is covered or not, and why a snapshot stays or goes.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::{Asking, carry_out};
use crate::daemon::Ask;

/// Says which policies cover a VM and why, or whose a snapshot is, why it stays, and when it will go.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// A VM by name or uuid, or a snapshot by uuid
    subject: String,
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 1 if there is no such thing.
///
/// # Errors
/// When the configuration or the history cannot be used, or no pool is reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    carry_out(&args.asking, Ask::Explain { subject: args.subject }).await
}
