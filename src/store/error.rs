//! What can go wrong with the history, and what to do about it. Nothing was written when any of these is returned.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ids::{JobId, RunId, SnapshotId};
use super::sqlite::{self, Condition};

/// The result of everything the store does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn remedy(path: &Path) -> String {
    let who = if path.is_dir() { "o-w" } else { "go-w" };
    format!("chmod {who} {}", path.display())
}

/// An operation on the history that was not done.
///
/// Cheap to copy, because one failed commit answers everybody who was part of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database said no.
    #[error("cannot {operation}: {}: {condition}", path.display())]
    Database {
        /// What was being done.
        operation: &'static str,
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        condition: Condition,
        /// The driver's words.
        source: Arc<sqlx::Error>,
    },
    /// A file next to the database could not be used.
    #[error("cannot {operation}: {}: {}", path.display(), advice(source.kind()))]
    File {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: Arc<io::Error>,
    },
    /// It is a file, but no history of ours.
    #[error("{} is not a xensnap history: name another file, or move this one away; it was not touched", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Others may write it, and whoever writes it decides what is removed.
    #[error("others may write {}, and whoever does decides what is removed: {}; it was not touched", path.display(), remedy(path))]
    Exposed {
        /// The file, or its folder.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error("{} has schema {found}, this program knows up to {known}: install the newer xensnap again, or use a copy made before its migration ({}.v*); it was not touched", path.display(), path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// Written by an older program, and opened for reading only, or while an older program still uses it.
    #[error("{} has schema {found}, this program needs {known}: restart the daemon with this version, it migrates the file and keeps a copy", path.display())]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// A migration that was applied is not the one this program has.
    #[error("{} was migrated by a different build (step {version} differs): use that build, or a copy made before its migration", path.display())]
    ForeignMigration {
        /// The file.
        path: PathBuf,
        /// The migration.
        version: i64,
    },
    /// The database is gone, its write-ahead log is not. Opening would throw the log away.
    #[error("{} is missing or empty, but {} holds writes that belong to it: put the database back beside it, or move that file away to start with an empty history", path.display(), wal.display())]
    LogWithoutDatabase {
        /// Where the database should be.
        path: PathBuf,
        /// The log.
        wal: PathBuf,
    },
    /// The file was moved, deleted or exchanged while it was in use; what is written now would be lost.
    #[error("{} was moved or replaced while in use: put it back or restart the daemon; nothing is written until then", path.display())]
    Moved {
        /// Where the database was.
        path: PathBuf,
    },
    /// There is a file where the copy should go.
    #[error("{} exists and is not overwritten: name another file", path.display())]
    CopyExists {
        /// The file.
        path: PathBuf,
    },
    /// The copy does not read back.
    #[error("the copy {} does not read back ({detail}) and was removed: check the disk, and the database with `PRAGMA integrity_check`", path.display())]
    BadCopy {
        /// The copy.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// A column holds what this program never writes.
    #[error("column {column} holds {detail}: the file was changed by something else or is damaged; restore a backup")]
    Unreadable {
        /// The column.
        column: &'static str,
        /// What it holds, shortened.
        detail: String,
    },
    /// The store was opened for reading.
    #[error("the history was opened for reading only: let the daemon do it, or run as the service's user")]
    OpenedForReading,
    /// The store was closed.
    #[error("the history is closed: the service is stopping, try again when it runs")]
    Closed,
    /// No such row.
    #[error("there is no {what} {id}: `xensnap history` lists what there is")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// A step that does not follow from where the thing is.
    #[error("{what} {id} is {from} and cannot become {to}: look at it again before acting")]
    Illegal {
        /// The kind of thing.
        what: &'static str,
        /// Which one.
        id: i64,
        /// Its state.
        from: &'static str,
        /// The state asked for.
        to: &'static str,
    },
    /// A run cannot end while its jobs have not.
    #[error("run {run} still has {open} open jobs: end them first")]
    JobsOpen {
        /// The run.
        run: RunId,
        /// How many.
        open: i64,
    },
    /// A job with an attempt whose end is unknown gets no other.
    #[error("job {job} has an attempt ({nonce}) whose end is not known: find out what became of it first")]
    AttemptOpen {
        /// The job.
        job: JobId,
        /// The open attempt's nonce.
        nonce: String,
    },
    /// A nonce names one attempt, for ever.
    #[error("nonce {nonce} belongs to another job: make a new one")]
    NonceTaken {
        /// The nonce.
        nonce: String,
    },
    /// A snapshot is the effect of one attempt.
    #[error("snapshot {snapshot} was already recorded for another attempt: it is a duplicate's, look at both jobs")]
    SnapshotTaken {
        /// The snapshot.
        snapshot: Uuid,
    },
    /// A pinned snapshot stays.
    #[error("snapshot {snapshot} is pinned until {until}: `xensnap unpin` it first")]
    Pinned {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Until when, in UTC.
        until: DateTime<Utc>,
    },
    /// Something of a removal is still there.
    #[error("{left} parts of removal {removal} are still there: remove them, or list it as an orphan")]
    PartsLeft {
        /// The removal.
        removal: i64,
        /// How many.
        left: i64,
    },
    /// A text that must be kept whole is longer than anything real.
    #[error("{field} has {length} bytes, at most {limit} are kept: it does not come from a healthy server or file")]
    TooLong {
        /// What it is.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Error {
    /// True if the same operation may work in a moment without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database { condition: Condition::Locked, .. })
    }

    /// What is wrong with the database file, if that is the reason.
    pub fn condition(&self) -> Option<Condition> {
        match self {
            Self::Database { condition, .. } => Some(*condition),
            Self::File { source, .. } => condition_of(source.kind()),
            _ => None,
        }
    }

    pub(super) fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { operation, path: path.to_owned(), source: Arc::new(source) }
    }

    pub(super) fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }
}

fn condition_of(kind: io::ErrorKind) -> Option<Condition> {
    match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Condition::ReadOnly),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Some(Condition::Full),
        _ => None,
    }
}

fn advice(kind: io::ErrorKind) -> String {
    match (kind, condition_of(kind)) {
        (_, Some(condition)) => condition.to_string(),
        (io::ErrorKind::NotFound, None) => "make the folder, or name another".to_owned(),
        (io::ErrorKind::IsADirectory, None) => "it is a folder: name a file".to_owned(),
        _ => "check that it is a file that belongs to the service's user".to_owned(),
    }
}

/// A failure on its way out: the operation's name and the file are added where it leaves the store.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The database said no.
    Sql(Arc<sqlx::Error>),
    /// The database was willing, the rules are not.
    Rule(Error),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Rule(error)
    }
}

impl Fault {
    /// The error for whoever asked.
    pub(super) fn during(self, operation: &'static str, path: &Path) -> Error {
        match self {
            Self::Rule(error) => error,
            Self::Sql(source) => {
                let condition = sqlite::condition(&source);
                Error::Database { operation, path: path.to_owned(), condition, source }
            }
        }
    }

    /// True if the statement's failure took, or must take, the whole transaction with it.
    pub(super) fn ends_transaction(&self) -> bool {
        match self {
            Self::Rule(_) => false,
            Self::Sql(error) => !matches!(sqlite::condition(error), Condition::Refused | Condition::TooBig),
        }
    }
}
