//! What people read. A reader who has seen enough (`| head`) closes the pipe; that is the end of the program and no error.

use std::io::{ErrorKind, Write as _};

/// Prints one line to standard output.
pub(super) fn line(text: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        // Nobody can be told through a closed pipe; anything else is worth an exit code.
        std::process::exit(i32::from(error.kind() != ErrorKind::BrokenPipe));
    }
}

/// As `println!`, but at peace with a closed pipe.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}

pub(super) use say;
