//! `xensnap policy`: policies as files, to read and to begin with.

mod new;
mod sheet;
mod show;

use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

/// Writes a policy file, or prints a policy with all that counts.
#[derive(Debug, ClapArgs)]
#[command(disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a commented policy file from a few questions, or from options
    New(new::Args),
    /// Print a policy with its templates resolved and its defaults written out
    Show(show::Args),
}

/// Does it.
///
/// # Errors
/// Each says what to do.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::New(args) => new::run(args),
        What::Show(args) => show::run(&args),
    }
}
