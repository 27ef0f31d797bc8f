//! A consistent copy while the history is in use. The copy is read back, marked as a copy and forced to disk before it gets its name,
//! so a file with that name is a good one; and a file that already has the name is never overwritten.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use super::columns::at;
use super::error::{Error, Fault, Result};
use super::lineage::{beside, same_owner, sync_folder};
use super::sqlite::{self, Connection};
use super::{Store, migrate};

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl Store {
    /// Copies the history as it is at one moment to a new file, while others read and write. The copy knows that it is one: put in
    /// the place of the original, it is recognised as older.
    ///
    /// # Errors
    /// [`Error::CopyExists`] if there is a file; otherwise what the disk said. Nothing is left behind then.
    pub async fn backup(&self, target: impl AsRef<Path>, now: DateTime<Utc>) -> Result<Copied> {
        let failed = |fault: Fault| fault.during("copy the history", self.path());
        let mut connection = sqlite::inspect(self.path(), self.inner.busy).await.map_err(failed)?;
        let copied = copy(&mut connection, self.path(), target.as_ref(), self.inner.busy, now).await;
        connection.close().await.map_err(Fault::from).map_err(failed)?;
        copied
    }
}

/// Copies what `connection` sees to `target`.
pub(super) async fn copy(
    connection: &mut Connection,
    source: &Path,
    target: &Path,
    busy: Duration,
    now: DateTime<Utc>,
) -> Result<Copied> {
    let reserved = Reserved::new(source, target)?;
    let partial = reserved.partial.to_str().ok_or_else(|| reserved.failed(std::io::Error::other("the path is not UTF-8")))?;
    sqlite::copy_into(connection, partial).await.map_err(|fault| fault.during("copy the history", target))?;
    sign_and_check(&reserved.partial, busy, now).await?;
    reserved.publish()
}

/// Marks the copy as one and reads it back.
async fn sign_and_check(copy: &Path, busy: Duration, now: DateTime<Utc>) -> Result<()> {
    let failed = |fault: Fault| fault.during("check the copy", copy);
    let mut connection = sqlite::inspect(copy, busy).await.map_err(failed)?;
    sqlx::query("UPDATE installation SET copied_at = $1")
        .bind(at(now))
        .execute(&mut connection)
        .await
        .map_err(Fault::from)
        .map_err(failed)?;
    migrate::look(&mut connection, copy).await.map_err(failed)?;
    let verdict = sqlite::check(&mut connection, false).await.map_err(failed)?;
    connection.close().await.map_err(Fault::from).map_err(failed)?;
    verdict.map_err(|detail| Error::BadCopy { path: copy.to_owned(), detail })
}

/// The target's name, taken, and a file beside it to write into. Both go again unless the copy is published.
struct Reserved {
    target: PathBuf,
    partial: PathBuf,
    published: bool,
}

impl Reserved {
    fn new(source: &Path, target: &Path) -> Result<Self> {
        let target = std::path::absolute(target).map_err(|error| Error::file("copy the history", target, error))?;
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::CopyExists { path: target.clone() },
            _ => Error::file("copy the history", &target, error),
        };
        let partial = beside(&target, &format!(".{}.partial", std::process::id()));
        let empty = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop);
        empty(&target).map_err(failed)?;
        let reserved = Self { target: target.clone(), partial, published: false };
        // The service's copy made by root is the service's.
        same_owner(source, &target).map_err(failed)?;
        empty(&reserved.partial).and_then(|()| same_owner(source, &reserved.partial)).map_err(failed)?;
        Ok(reserved)
    }

    fn publish(mut self) -> Result<Copied> {
        let publish = || {
            let file = File::open(&self.partial)?;
            file.sync_all()?;
            std::fs::rename(&self.partial, &self.target)?;
            sync_folder(&self.target)?;
            file.metadata()
        };
        let bytes = publish().map_err(|error| self.failed(error))?.len();
        self.published = true;
        Ok(Copied { path: self.target.clone(), bytes })
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::file("copy the history", &self.target, error)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what is left is an empty file and one that says it is partial.
            let _ = std::fs::remove_file(&self.partial);
            let _ = std::fs::remove_file(beside(&self.partial, "-journal"));
            let _ = std::fs::remove_file(&self.target);
        }
    }
}
