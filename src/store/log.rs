//! A database file that was replaced by an older copy, and the write-ahead log of the newer one still beside it: SQLite would apply
//! the log to the copy and mix the two. So before the file is opened it is asked alone how far it has come; if that is not even as far
//! as the log says the file had come, they do not belong together, and the log is moved aside. It is not deleted: it holds commits
//! that exist nowhere else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use super::error::{Error, Fault, Result};
use super::installation::{self, Standing};
use super::lineage::beside;
use super::sqlite::{self, Condition, Connection};

/// The log beside the database, if it holds anything.
pub(super) fn of(path: &Path) -> Option<PathBuf> {
    let log = beside(path, "-wal");
    std::fs::metadata(&log).is_ok_and(|file| file.len() > 0).then_some(log)
}

/// Moves the log aside if it belongs to a newer state of the file. Only while nobody else has the database open. Returns where it is.
///
/// # Errors
/// When the log cannot be moved: then the database must not be opened.
pub(super) async fn set_aside_if_foreign(path: &Path, busy: Duration, now: DateTime<Utc>) -> Result<Option<PathBuf>> {
    let Some(log) = of(path) else { return Ok(None) };
    // Whatever cannot be read is for the opening to judge, which tells damage from other things.
    let (Ok(alone), Ok(Some(together))) = (alone(path, busy).await, together(path, busy).await) else { return Ok(None) };
    if belong_together(alone.as_ref(), &together) {
        return Ok(None);
    }
    let aside = beside(path, &format!("-wal.replaced-{}", now.format("%Y%m%dT%H%M%S%fZ")));
    let failed = |error| Error::file("move the log of a replaced history aside", &log, error);
    std::fs::rename(&log, &aside).map_err(failed)?;
    match std::fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(Some(aside)),
    }
}

/// A file that says nothing about itself is as it was before its first commit.
fn belong_together(alone: Option<&Standing>, together: &Standing) -> bool {
    match alone {
        Some(alone) => alone.database == together.database && alone.generation >= together.checkpointed,
        None => together.checkpointed == 0,
    }
}

async fn alone(path: &Path, busy: Duration) -> Result<Option<Standing>, Fault> {
    match ask(sqlite::without_log(path, busy).await?).await {
        // The table itself is only in the log.
        Err(Fault::Sql(error)) if sqlite::condition(&error) == Condition::Refused => Ok(None),
        standing => standing,
    }
}

async fn together(path: &Path, busy: Duration) -> Result<Option<Standing>, Fault> {
    ask(sqlite::with_log(path, busy).await?).await
}

async fn ask(mut connection: Connection) -> Result<Option<Standing>, Fault> {
    let standing = installation::standing(&mut connection).await;
    connection.close().await?;
    standing
}
