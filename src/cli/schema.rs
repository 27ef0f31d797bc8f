//! `xensnap schema`: the JSON Schemas of the configuration, by which editors complete and check it.

use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};

use super::out::say;
use crate::config::schema::{CONFIG, POLICIES, json_schema};

/// Prints the JSON Schema of a configuration file.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Of which file
    file: File,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// The main file, xensnap.toml
    Config,
    /// A file in the folder of policies
    Policy,
}

const EXAMPLES: &str = "An editor that knows Taplo completes and checks a file whose first line names its schema:
  #:schema ./xensnap.schema.json

Examples:
  xensnap schema config > /etc/xensnap/xensnap.schema.json
  xensnap schema policy > /etc/xensnap/policy.schema.json";

/// Prints.
///
/// # Errors
/// None.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = match args.file {
        File::Config => &CONFIG,
        File::Policy => &POLICIES,
    };
    say!("{}", json_schema(file).trim_end());
    Ok(ExitCode::SUCCESS)
}
