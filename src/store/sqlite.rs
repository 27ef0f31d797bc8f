//! Everything that is SQLite's and not SQL's: pragmas, result codes, copies. Another database would replace this file, `migrate.rs`
//! and the files in `migrations/`, and leave the statements of the other files alone.
//!
//! The statements keep to what SQLite and PostgreSQL share: `$1` parameters, `ON CONFLICT`, `RETURNING`, row values, partial indexes.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::error::Fault;

/// The driver's connection.
pub(super) type Connection = sqlx::SqliteConnection;
/// One row of an answer.
pub(super) type Row = sqlx::sqlite::SqliteRow;
/// A statement with its values.
pub(super) type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;
/// The connections for reading.
pub(super) type Readers = SqlitePool;

/// "XSNP" in the file's header; see `migrations/0001_slots.sql`.
pub(super) const APPLICATION_ID: i64 = 1_481_854_544;
/// How every SQLite file begins.
pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What is wrong with the database file. Says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It is some other file.
    NotADatabase,
    /// Pages contradict one another.
    Damaged,
    /// File, folder or file system may not be written.
    ReadOnly,
    /// No room.
    Full,
    /// Another process holds it.
    Locked,
    /// It cannot be opened at all.
    CannotOpen,
    /// The disk failed underneath.
    Io,
    /// A value is too big for SQLite.
    TooBig,
    /// A constraint or the statement itself: a mistake of ours.
    Refused,
    /// The driver or its thread.
    Broken,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotADatabase => "the file is no SQLite database: name another file, or move this one away; it was not touched",
            Self::Damaged => {
                "the file is damaged: stop the daemon, keep the file, and put a backup in its place (`xensnap history --backup` makes \
                 them); the pools' marks fill in what the backup lacks"
            }
            Self::ReadOnly => {
                "the file or its folder cannot be written: make both belong to the service's user and remount the file system \
                 writable; nothing was changed"
            }
            Self::Full => "no room on its file system: make room and try again; nothing is lost",
            Self::Locked => {
                "another program holds the file (an sqlite3 shell, a backup, a second daemon): end it and try again; nothing is lost"
            }
            Self::CannotOpen => "the file cannot be opened: check that its folder exists and belongs to the service's user",
            Self::Io => "reading or writing failed (the disk, or a limit on file sizes): look into the kernel's log, mend it, then start again; nothing that was confirmed is lost",
            Self::TooBig => "a value is bigger than SQLite takes: it does not come from a healthy server",
            Self::Refused => "the statement was refused, which is a mistake in xensnap: please report it with the journal's lines",
            Self::Broken => "the database's thread has ended, which is a mistake in xensnap: restart the daemon and report it",
        })
    }
}

/// Sorts a driver's error. The low byte of SQLite's code is the class, the rest the detail (<https://sqlite.org/rescode.html>).
pub(super) fn condition(error: &sqlx::Error) -> Condition {
    const FULL_SHARED_MEMORY: i64 = 10 | (19 << 8);
    let code = match error {
        sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i64>().ok()),
        sqlx::Error::Io(_) => return Condition::Io,
        sqlx::Error::PoolTimedOut => return Condition::Locked,
        _ => None,
    };
    let Some(code) = code else { return Condition::Broken };
    match code & 0xff {
        _ if code == FULL_SHARED_MEMORY => Condition::Full,
        5 | 6 | 15 => Condition::Locked,
        8 | 3 => Condition::ReadOnly,
        10 => Condition::Io,
        11 => Condition::Damaged,
        13 => Condition::Full,
        14 => Condition::CannotOpen,
        18 => Condition::TooBig,
        26 => Condition::NotADatabase,
        1 | 19 | 20 | 25 => Condition::Refused,
        _ => Condition::Broken,
    }
}

/// How a connection is opened: without making a file, and without a change to the one that is there.
fn options(path: &Path, busy: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(busy)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging()
}

/// A connection to look at a file of which nothing is known yet.
pub(super) async fn inspect(path: &Path, busy: Duration) -> Result<Connection, Fault> {
    Ok(options(path, busy).connect().await?)
}

/// A connection that reads the database file alone, as if there were no log beside it.
pub(super) async fn without_log(path: &Path, busy: Duration) -> Result<Connection, Fault> {
    Ok(options(path, busy).read_only(true).immutable(true).connect().await?)
}

/// A connection that reads file and log, and leaves both as they are.
pub(super) async fn with_log(path: &Path, busy: Duration) -> Result<Connection, Fault> {
    Ok(options(path, busy).read_only(true).connect().await?)
}

/// The one connection that writes.
///
/// `synchronous=FULL` has the log on disk before a commit returns; that many writers share a commit makes it cheap. The log is folded
/// into the file by [`checkpoint`] and not by itself, so that it is known how far the file has come.
pub(super) async fn writer(path: &Path, busy: Duration) -> Result<Connection, Fault> {
    let options = options(path, busy)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-8000")
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "67108864");
    let mut connection = options.connect().await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
    if mode != "wal" {
        return Err(sqlx::Error::Io(std::io::Error::other("this file system has no shared memory for a write-ahead log")).into());
    }
    Ok(connection)
}

/// Connections that can only read. Each of their transactions sees the state of one moment.
pub(super) fn readers(path: &Path, busy: Duration, most: u32, file_is_ours_to_write: bool) -> Readers {
    let options = options(path, busy).read_only(!file_is_ours_to_write).pragma("query_only", "ON").pragma("cache_size", "-4000");
    SqlitePoolOptions::new().max_connections(most.max(1)).connect_lazy_with(options)
}

/// `Ok` if pages and indexes agree; otherwise what SQLite found first.
pub(super) async fn check(connection: &mut Connection, thoroughly: bool) -> Result<Result<(), String>, Fault> {
    let pragma = if thoroughly { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
    let verdict: String = sqlx::query_scalar(pragma).fetch_one(connection).await?;
    Ok(if verdict == "ok" { Ok(()) } else { Err(verdict) })
}

/// Writes a consistent copy into an empty or missing file. Writers go on meanwhile. The copy is not yet on disk for certain.
pub(super) async fn copy_into(connection: &mut Connection, target: &str) -> Result<(), Fault> {
    sqlx::query("VACUUM INTO $1").bind(target).execute(connection).await?;
    Ok(())
}

/// How many pages the log has before it is folded into the file.
const LOG_PAGES: i64 = 1000;

/// Folds the log into the file if it has grown (or in any case), without waiting for anybody. True if the file has everything now.
pub(super) async fn checkpoint(connection: &mut Connection, in_any_case: bool) -> Result<bool, Fault> {
    let (_, pages, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(NOOP)").fetch_one(&mut *connection).await?;
    if pages < LOG_PAGES && !in_any_case {
        return Ok(false);
    }
    let (_, pages, folded): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    Ok(pages == folded)
}

/// Starts a transaction that has the right to write from its first statement on.
pub(super) async fn begin(connection: &mut Connection) -> Result<(), Fault> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pragma(connection: &mut Connection, pragma: &'static str) -> i64 {
        sqlx::query_scalar(pragma).fetch_one(connection).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_acknowledged_was_forced_to_disk_and_references_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        std::fs::write(&path, "").unwrap();
        let mut connection = writer(&path, Duration::from_secs(1)).await.unwrap();
        assert_eq!(pragma(&mut connection, "PRAGMA synchronous").await, 2, "FULL");
        assert_eq!(pragma(&mut connection, "PRAGMA foreign_keys").await, 1);
        assert_eq!(pragma(&mut connection, "PRAGMA wal_autocheckpoint").await, 0);
        let readers = readers(&path, Duration::from_secs(1), 2, true);
        let write = sqlx::query("CREATE TABLE t (a)").execute(&readers).await.unwrap_err();
        assert_eq!(condition(&write), Condition::ReadOnly, "a reader cannot write by mistake");
    }
}

/// How SQLite would carry out a statement on the present schema.
#[cfg(test)]
pub(super) mod plans {
    use sqlx::{AssertSqlSafe, Row as _};

    use crate::store::{Options, Store};

    pub(in crate::store) struct Explained {
        _folder: tempfile::TempDir,
        store: Store,
    }

    impl Explained {
        pub(in crate::store) async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("history.db");
            let store = Store::open(path, &Options::default(), chrono::DateTime::UNIX_EPOCH).await.unwrap().store;
            Self { _folder: folder, store }
        }

        pub(in crate::store) async fn plan(&self, sql: &str) -> String {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.store.inner.readers).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
        }
    }
}
