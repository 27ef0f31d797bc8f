//! From a path to a [`Store`]. The order is what keeps files safe: look, refuse or copy, migrate, find out whether the file is the one
//! that was written last, and only then serve.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection as _;
use uuid::Uuid;

use super::error::{Error, Fault, Result};
use super::lineage::{self, Lineage, Noted, Sidecar};
use super::migrate::{self, Found};
use super::sqlite::{self, Condition, Connection};
use super::writer::{Place, Writer};
use super::{Inner, Store, backup, installation, log};

/// How a history is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long another process may hold the file before an operation gives up.
    pub busy_timeout: Duration,
    /// The most connections that read at the same time.
    pub readers: u32,
    /// Files up to this many bytes are checked for damage when they are opened; [`Store::check`] does it at any size.
    pub check_below: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(10), readers: 4, check_below: 64 << 20 }
    }
}

/// An opened history, and what was found out on the way.
#[derive(Debug)]
pub struct Opened {
    /// The history.
    pub store: Store,
    /// Where it stands among those that were here before.
    pub lineage: Lineage,
    /// The pools may know more than this history: compare before anything is called unclaimed, and before anything is removed. Stays
    /// true over restarts until [`Store::restore_settled`]. The removal queue was emptied.
    pub restored_older: bool,
    /// False: another process has it open too. Both may write; but only one of them should be a daemon.
    pub alone: bool,
    /// What was done to the schema, if anything.
    pub migrated: Option<Migrated>,
    /// Where the write-ahead log of a newer state of the file was moved to, if the file was replaced and its log was not.
    pub log: Option<PathBuf>,
}

/// A schema that was brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The version it had.
    pub from: i64,
    /// The version it has.
    pub to: i64,
    /// The copy of the file as it was before.
    pub copy: PathBuf,
}

impl Store {
    /// Opens the history for writing, making or migrating the file if needed. `now` is what a new history says it was begun at.
    ///
    /// Several processes may have it open. A file that cannot be used is left as it is.
    ///
    /// # Errors
    /// Each says what is wrong with the file and what to do.
    pub async fn open(path: impl AsRef<Path>, options: &Options, now: DateTime<Utc>) -> Result<Opened> {
        let path = resolve(path.as_ref())?;
        look_at_rights(&path)?;
        if has_content(&path) {
            look_at_file(&path)?;
        }
        let (sidecar, alone) = lock(path.clone()).await?;
        let opening = Opening { path: &path, options, now };
        let opened = opening.open(sidecar, alone).await;
        if matches!(opened, Err(Error::NotOurs { .. })) {
            lineage::discard_unused(&path);
        }
        opened
    }

    /// Opens an existing history for reading: for verbs that are used while no daemon runs.
    ///
    /// # Errors
    /// When there is no file, or its schema is not this program's.
    pub async fn open_read_only(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = resolve(path.as_ref())?;
        look_at_file(&path)?;
        let opening = Opening { path: &path, options, now: DateTime::UNIX_EPOCH };
        let failed = |fault: Fault| fault.during("open the history", &path);
        let mut connection = sqlite::with_log(&path, options.busy_timeout).await.map_err(failed)?;
        let found = migrate::look(&mut connection, &path).await.map_err(failed)?;
        connection.close().await.map_err(Fault::from).map_err(failed)?;
        match found {
            Found::History(version) if version == migrate::newest() => Ok(opening.store(None)),
            Found::History(found) => Err(Error::OlderSchema { path, found, known: migrate::newest() }),
            Found::Empty => Err(Error::NotOurs { path }),
        }
    }

    /// Reads the whole file and compares tables with indexes. Takes seconds per gigabyte.
    ///
    /// # Errors
    /// [`Condition::Damaged`] with what was found first.
    pub async fn check(&self) -> Result<()> {
        let found = self.read("check the history", |c| Box::pin(sqlite::check(c, true))).await?;
        found.map_err(|detail| damaged("check the history", self.path(), detail))
    }
}

struct Opening<'a> {
    path: &'a Path,
    options: &'a Options,
    now: DateTime<Utc>,
}

/// A writing connection to a file with the newest schema.
struct Ready {
    connection: Connection,
    /// The file has everything; its log is empty or repeats it.
    whole: bool,
    migrated: Option<Migrated>,
}

struct State {
    database: Uuid,
    restored: bool,
}

impl Opening<'_> {
    async fn open(&self, sidecar: Sidecar, alone: bool) -> Result<Opened> {
        // Read before the database is: another process may commit in between, and must not make the sidecar look ahead.
        let noted = sidecar.read()?;
        let log = if alone { self.prepare_file().await? } else { self.find_file()? };
        let Ready { connection, whole, migrated } = if alone { self.bring_up_to_date().await? } else { self.join().await? };
        let (connection, lineage, state) = self.find_lineage(connection, whole, noted, &sidecar).await?;
        sidecar.share()?;
        let place = Place::of(self.path, state.database, self.options.busy_timeout)?;
        let store = self.store(Some(Writer::start(place, connection, sidecar)));
        Ok(Opened { store, lineage, restored_older: state.restored, alone, migrated, log })
    }

    /// The file is there afterwards, and no log beside it that belongs to another.
    async fn prepare_file(&self) -> Result<Option<PathBuf>> {
        if has_content(self.path) {
            return log::set_aside_if_foreign(self.path, self.options.busy_timeout, self.now).await;
        }
        make(self.path)?;
        Ok(None)
    }

    /// Somebody else has it open, so it has to be there.
    fn find_file(&self) -> Result<Option<PathBuf>> {
        if has_content(self.path) { Ok(None) } else { Err(Error::Moved { path: self.path.to_owned() }) }
    }

    /// A writing connection to a file that somebody else has open: a schema that is in use is not migrated.
    async fn join(&self) -> Result<Ready> {
        let failed = |fault: Fault| fault.during("open the history", self.path);
        let mut connection = sqlite::writer(self.path, self.options.busy_timeout).await.map_err(failed)?;
        match migrate::look(&mut connection, self.path).await.map_err(failed)? {
            Found::History(version) if version == migrate::newest() => Ok(Ready { connection, whole: false, migrated: None }),
            Found::History(found) => Err(Error::OlderSchema { path: self.path.to_owned(), found, known: migrate::newest() }),
            Found::Empty => Err(Error::NotOurs { path: self.path.to_owned() }),
        }
    }

    /// Checks, copies and migrates a file that nobody else has open.
    async fn bring_up_to_date(&self) -> Result<Ready> {
        let failed = |fault: Fault| fault.during("open the history", self.path);
        let busy = self.options.busy_timeout;
        let mut looking = self.look_first().await.map_err(failed)?;
        let found = migrate::look(&mut looking, self.path).await.map_err(failed)?;
        self.check(&mut looking).await?;
        let migrated = match found {
            Found::History(from) if from < migrate::newest() => Some(self.keep_copy(&mut looking, from).await?),
            _ => None,
        };
        looking.close().await.map_err(Fault::from).map_err(failed)?;
        let mut connection = sqlite::writer(self.path, busy).await.map_err(failed)?;
        let failed = |fault: Fault| fault.during("bring the history's schema up to date", self.path);
        if let Err(fault) = migrate::run(&mut connection, self.path).await {
            drop_needless_copy(&mut connection, self.path, migrated).await;
            return Err(failed(fault));
        }
        // What a crash left in the log goes into the file now, while nobody waits.
        let whole = sqlite::checkpoint(&mut connection, true).await.map_err(failed)?;
        Ok(Ready { connection, whole, migrated })
    }

    /// A connection that changes nothing, so that a file that turns out to be foreign is left as it was. Only a file whose making was
    /// interrupted needs more: its journal has to be undone before it can be read.
    async fn look_first(&self) -> Result<Connection, Fault> {
        let busy = self.options.busy_timeout;
        if has_content(&lineage::beside(self.path, "-journal")) {
            return sqlite::inspect(self.path, busy).await;
        }
        sqlite::with_log(self.path, busy).await
    }

    async fn check(&self, connection: &mut Connection) -> Result<()> {
        let size = std::fs::metadata(self.path).map_or(0, |file| file.len());
        if size > self.options.check_below {
            return Ok(());
        }
        let verdict = sqlite::check(connection, false).await.map_err(|fault| fault.during("check the history", self.path))?;
        verdict.map_err(|detail| damaged("open the history", self.path, detail))
    }

    async fn keep_copy(&self, connection: &mut Connection, from: i64) -> Result<Migrated> {
        let stamp = self.now.format("%Y%m%dT%H%M%SZ");
        let names = (1..100).map(|n| if n == 1 { format!(".v{from}-{stamp}") } else { format!(".v{from}-{stamp}.{n}") });
        let free = names.map(|ending| lineage::beside(self.path, &ending)).find(|path| !path.exists());
        let target = free.ok_or_else(|| Error::CopyExists { path: self.path.to_owned() })?;
        let copied = backup::copy(connection, self.path, &target, self.options.busy_timeout, self.now).await?;
        Ok(Migrated { from, to: migrate::newest(), copy: copied.path })
    }

    /// Compares database and sidecar, and writes down what that means before anybody can act on it.
    async fn find_lineage(
        &self,
        mut connection: Connection,
        whole: bool,
        noted: Option<Noted>,
        sidecar: &Sidecar,
    ) -> Result<(Connection, Lineage, State)> {
        let entered = installation::enter(&mut connection, noted, whole, self.now).await;
        let entered = entered.map_err(|fault| fault.during("open the history", self.path))?;
        sidecar.note(Noted { generation: entered.generation, database: entered.database })?;
        sidecar.settle(self.path)?;
        Ok((connection, entered.lineage, State { database: entered.database, restored: entered.restored }))
    }

    fn store(&self, writer: Option<Writer>) -> Store {
        let Options { busy_timeout, readers, .. } = *self.options;
        let readers = sqlite::readers(self.path, busy_timeout, readers, writer.is_some());
        Store { inner: Arc::new(Inner { path: self.path.to_owned(), busy: busy_timeout, readers, writer }) }
    }
}

/// The one name of the file, whatever links lead to it. SQLite takes a leading `file:` for a URL, and an absolute path has none.
fn resolve(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::file("open the history", path, error);
    let resolved = match path.canonicalize() {
        Ok(resolved) => resolved,
        Err(_) => {
            let absolute = std::path::absolute(path).map_err(failed)?;
            let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
                return Err(failed(std::io::ErrorKind::IsADirectory.into()));
            };
            folder.canonicalize().map_err(failed)?.join(name)
        }
    };
    if resolved.to_str().is_none() {
        return Err(failed(std::io::Error::other("the path is not UTF-8")));
    }
    Ok(resolved)
}

async fn lock(path: PathBuf) -> Result<(Sidecar, bool)> {
    tokio::task::spawn_blocking(move || Sidecar::lock(&path)).await.map_err(|_| Error::Closed)?
}

/// A migration that changed nothing needs no copy: one for each restart in vain would fill the disk.
async fn drop_needless_copy(connection: &mut Connection, path: &Path, migrated: Option<Migrated>) {
    let Some(migrated) = migrated else { return };
    if migrate::look(connection, path).await.is_ok_and(|found| found == Found::History(migrated.from)) {
        let _ = std::fs::remove_file(migrated.copy);
    }
}

fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Makes an empty file that only the service can read, unless that would throw a log away.
fn make(path: &Path) -> Result<()> {
    if let Some(wal) = log::of(path) {
        return Err(Error::LogWithoutDatabase { path: path.to_owned(), wal });
    }
    let failed = |error| Error::file("create the history", path, error);
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    lineage::sync_folder(path).map_err(failed)
}

/// Refuses a file that others may write, and a folder in which they may exchange it. What is not there is told by who opens it.
fn look_at_rights(path: &Path) -> Result<()> {
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.mode());
    if mode(path) & 0o022 != 0 {
        return Err(Error::Exposed { path: path.to_owned() });
    }
    match path.parent().filter(|folder| mode(folder) & 0o1002 == 0o002) {
        Some(folder) => Err(Error::Exposed { path: folder.to_owned() }),
        None => Ok(()),
    }
}

/// Refuses what does not even begin like a database, before SQLite sees it.
fn look_at_file(path: &Path) -> Result<()> {
    let failed = |error| Error::file("open the history", path, error);
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(sqlite::MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    if start == sqlite::MAGIC { Ok(()) } else { Err(Error::NotOurs { path: path.to_owned() }) }
}

fn damaged(operation: &'static str, path: &Path, detail: String) -> Error {
    let source = Arc::new(sqlx::Error::Protocol(detail));
    Error::Database { operation, path: path.to_owned(), condition: Condition::Damaged, source }
}
