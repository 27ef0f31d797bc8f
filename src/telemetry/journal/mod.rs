//! Lines as entries of systemd's journal, in its own protocol: each fact is one datagram with fields, so that `journalctl
//! POLICY=nightly` finds it and `journalctl -x` explains it. Written here and not by a library, because those that there are take the
//! priority from the level (a notice and a critical fact would be lost in their neighbours) and cannot give a kind its MESSAGE_ID.
//!
//! What the journal does not take, because it is away for a moment, goes to standard error with its priority before it, where systemd
//! reads it from.

mod entry;

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use entry::Entry;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Writes lines into the journal.
#[derive(Debug)]
pub struct Journal {
    /// Nothing where no socket could be made.
    socket: Option<UnixDatagram>,
    path: PathBuf,
}

impl Journal {
    /// This machine's journal.
    pub fn new() -> Self {
        Self::at(Path::new(SOCKET))
    }

    /// The journal that listens at this path.
    pub fn at(path: &Path) -> Self {
        Self { socket: UnixDatagram::unbound().ok(), path: path.to_owned() }
    }

    fn send(&self, entry: &Entry) {
        let sent = self.socket.as_ref().map(|socket| socket.send_to(&entry.datagram(), &self.path));
        if !matches!(sent, Some(Ok(_))) {
            // There is nobody to tell that this failed too.
            let _ = writeln!(std::io::stderr(), "<{}>{}", entry.priority(), entry.message());
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.send(&Entry::of(event));
    }
}

/// Whether there is a journal on this machine.
pub(super) fn is_there() -> bool {
    Path::new(SOCKET).exists()
}

/// Whether what is written to standard error ends in the journal: systemd says so in `JOURNAL_STREAM`, which children inherit even
/// when their standard error is another.
pub(super) fn is_standard_error() -> bool {
    let Ok(file) = std::fs::metadata("/proc/self/fd/2") else { return false };
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    is_there() && stream == format!("{}:{}", file.dev(), file.ino())
}
