//! `xensnap completions`: what lets a shell complete verbs and options, made from the same source as `--help`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

/// Prints what lets a shell complete verbs and options.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

const EXAMPLES: &str = "Examples:
  xensnap completions bash > /etc/bash_completion.d/xensnap
  xensnap completions zsh > /usr/local/share/zsh/site-functions/_xensnap
  xensnap completions fish > /etc/fish/completions/xensnap.fish";

/// Prints.
///
/// # Errors
/// When nobody takes the text.
pub(super) fn run(args: &Args, mut program: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "xensnap", &mut script);
    std::io::stdout().write_all(&script).context("the completions cannot be printed")?;
    Ok(ExitCode::SUCCESS)
}
