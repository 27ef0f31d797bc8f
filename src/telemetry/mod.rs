//! What the program says about its own work. One line per fact, on standard error; `XENSNAP_LOG` filters in the syntax of
//! `tracing`'s env-filter, for example `XENSNAP_LOG=xensnap::xenapi=debug`.

use tracing_subscriber::EnvFilter;

/// Sends events to standard error, in plain text. `verbosity` 0 shows errors, 1 adds warnings, 2 information, 3 and more details.
///
/// Does nothing when a subscriber is installed already.
pub fn to_standard_error(verbosity: u8) {
    let level = match verbosity {
        0 => "error",
        1 => "warn",
        2 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("XENSNAP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(false);
    // A second call in one process (tests) finds the first one's subscriber; that is fine.
    let _ = lines.try_init();
}
