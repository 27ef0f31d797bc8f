//! `xensnap reload`: the files as they are now come into force, or all that is wrong with them is told and nothing changes.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::{Asking, carry_out_at_the_service};
use crate::daemon::Ask;

/// Lets the service read its files anew, and says what changed, policy by policy. If anything is wrong with the files nothing changes.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 the files are in force, 78 they have errors and those of before stay in force, 1 nobody answers.

What is read anew: policies and templates. Pools, passwords, the history and the socket are read when the service starts."
)]
pub(super) struct Args {
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 0 once the files are in force.
///
/// # Errors
/// When no service runs, or the files cannot be used.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    carry_out_at_the_service(&args.asking, Ask::Reload {}).await
}
