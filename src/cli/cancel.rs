//! `xensnap cancel`: a run, or the jobs of a VM, end before they are done.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::asking::{Asking, carry_out_at_the_service};
use crate::daemon::Ask;

/// Ends a run, or the jobs of one VM, before they are done. Jobs that have not begun end at once; a snapshot that the server works on is
/// cancelled there. What is taken already stays, and is kept as its policy says. Who asked is recorded.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  xensnap cancel 412          the run that `xensnap status` shows as 412
  xensnap cancel db-01        whatever is under way about this VM")]
pub(super) struct Args {
    /// The number of a run, or a VM by name or uuid
    #[arg(value_name = "RUN|VM")]
    subject: String,
    #[command(flatten)]
    asking: Asking,
}

/// Exit code 0 once it is on its way to its end.
///
/// # Errors
/// When no service runs, or nothing of that is under way.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    carry_out_at_the_service(&args.asking, Ask::Cancel { subject: args.subject }).await
}
