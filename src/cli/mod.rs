//! The command line: one file per verb; this module only parses and dispatches.

use std::process::ExitCode;

/// Parses the arguments, runs the verb and maps its outcome to an exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
