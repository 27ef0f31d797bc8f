//! What the program says about its own work: one line per fact, each readable alone. Under systemd a line goes into the journal with
//! fields to filter by; elsewhere it is plain text on standard error, or JSON where that is asked for. `XENSNAP_LOG` filters in the
//! syntax of `tracing`'s env-filter, for example `XENSNAP_LOG=xensnap::xenapi=debug`.
//!
//! | file | idea |
//! | --- | --- |
//! | `fact` | a line of a known kind, with what it is about |
//! | `names` | what the journal calls the fields of a line |
//! | `journal` | the journal's own protocol |
//! | `metrics` | figures for Prometheus |

mod fact;
mod journal;
pub mod metrics;
mod names;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

pub use fact::Fact;
pub use journal::Journal;

/// How lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Into the journal where standard error is the journal's, else as text.
    #[default]
    Auto,
    /// Into the journal; as text where there is none.
    Journal,
    /// Plain text, one line each.
    Text,
    /// One JSON object in each line.
    Json,
}

/// Begins to write lines. `verbosity` 0 shows none, 1 errors, 2 adds warnings, 3 information, 4 and more details.
///
/// Does nothing when a subscriber is installed already.
pub fn start(verbosity: u8, format: Format) {
    let level = match verbosity {
        0 => "off",
        1 => "error",
        2 => "warn",
        3 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("XENSNAP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let lines = match (format, goes_to_journal(format)) {
        (_, true) => Journal::new().boxed(),
        (Format::Json, false) => text.json().flatten_event(true).boxed(),
        (_, false) => text.boxed(),
    };
    // A second call in one process (tests) finds the first one's subscriber; that is fine.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// Whether lines of this format become entries of the journal here.
pub fn goes_to_journal(format: Format) -> bool {
    match format {
        Format::Auto => journal::is_standard_error(),
        Format::Journal => journal::is_there(),
        Format::Text | Format::Json => false,
    }
}
