//! `xensnap policy show`: a policy as it counts, as a file that would say the same by itself.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::super::Exit;
use super::super::check::DEFAULT;
use super::super::exits::WRONG_CONFIGURATION;
use super::super::lookup::suggestion;
use super::super::out::say;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;

/// Prints a policy with its templates resolved and its defaults written out, as a file that counts for the same.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The policy
    #[arg(value_name = "ID|NAME")]
    policy: String,
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
}

/// Prints.
///
/// # Errors
/// When the configuration cannot be used, or has no such policy.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(&args.config, SystemClock::new().now()).map_err(|problems| {
        let drawn = problems.render(std::io::stderr().is_terminal());
        Exit { code: WRONG_CONFIGURATION, text: format!("{} is not usable\n{drawn}", args.config.display()) }
    })?;
    let config = loaded.config;
    let Some(checked) = config.policy(&args.policy) else {
        let known = config.policies.iter().flat_map(|each| [each.policy.id.as_str(), each.policy.name.as_str()]);
        anyhow::bail!("the configuration has no policy \"{}\"{}", args.policy, suggestion(&args.policy, known));
    };
    let text = checked.to_toml().context("the policy cannot be written as TOML")?;
    say!("# {}:{}, with templates resolved and defaults written out.\n", checked.file.display(), checked.line);
    say!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}
