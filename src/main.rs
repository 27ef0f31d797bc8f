//! The binary: parse, call, exit code.

use xensnap::domain::build::Build;

/// What is built, as a packager says it, or as git does where there is a clone. This file alone knows it, so that a commit builds this
/// file anew and nothing else.
const REVISION: &str = match option_env!("XENSNAP_REVISION") {
    Some(revision) => revision,
    None => git_version::git_version!(args = ["--always", "--exclude=*", "--abbrev=7", "--dirty=+"], fallback = ""),
};

fn main() -> std::process::ExitCode {
    xensnap::cli::main(Build::of(REVISION, option_env!("SOURCE_DATE_EPOCH")))
}
