//! Is this the database we wrote last, or an older copy of it?
//!
//! Every commit raises the `generation` in the database, and after the commit the same number goes into a small file beside it
//! (`<database>.generation`: twenty digits and the database's UUID). So the file is never ahead of the database it belongs to. If it
//! is, somebody put an older copy in place, and what that copy says about open removals and unclaimed slots is yesterday's truth.
//! Only opening and closing force the file to disk: after a power failure it may be behind, which is harmless.
//!
//! A restored folder brings both files back together and is not recognised here; the pools' marks tell.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::{Error, Result};

const DIGITS: usize = 20;
const LENGTH: usize = DIGITS + 1 + 36 + 1;

/// Where the opened database stands among those that were here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lineage {
    /// There was nothing; the history begins.
    Created,
    /// The database that was written last.
    Continued,
    /// An older state of it: this many commits are missing, as far as is known.
    OlderCopy {
        /// How many commits are missing; 0 if unknown.
        missing: u64,
    },
    /// The database is gone and a new one was begun, but there was one.
    Lost,
    /// A different history was put in place.
    OtherDatabase,
    /// There is no sidecar to tell; it may be an older copy.
    Unknown,
}

impl Lineage {
    /// True if the pools may know more than this history does.
    pub fn is_suspect(self) -> bool {
        !matches!(self, Self::Created | Self::Continued)
    }
}

/// What the sidecar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) generation: u64,
    pub(super) database: Uuid,
}

/// What the database says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) generation: u64,
    pub(super) database: Uuid,
    pub(super) is_copy: bool,
}

/// Compares the two. `None` for a database without its row (new), or a sidecar that says nothing.
pub(super) fn compare(noted: Option<Noted>, stated: Option<Stated>) -> Lineage {
    match (noted, stated) {
        (None, None) => Lineage::Created,
        (Some(_), None) => Lineage::Lost,
        (Some(noted), Some(stated)) if noted.database != stated.database => Lineage::OtherDatabase,
        (Some(noted), Some(stated)) if noted.generation > stated.generation || stated.is_copy => {
            Lineage::OlderCopy { missing: noted.generation.saturating_sub(stated.generation) }
        }
        (None, Some(stated)) if stated.is_copy => Lineage::OlderCopy { missing: 0 },
        // The first opening was interrupted between the database and its sidecar.
        (None, Some(stated)) if stated.generation <= 1 => Lineage::Created,
        (None, Some(_)) => Lineage::Unknown,
        (Some(_), Some(_)) => Lineage::Continued,
    }
}

/// The file beside the database.
#[derive(Debug)]
pub(super) struct Sidecar {
    file: File,
    path: PathBuf,
}

impl Sidecar {
    /// Opens or creates the file and locks it. True: nobody else has the database open, nor will until [`Self::share`]. False: others
    /// have it open; whoever was just opening it has finished.
    pub(super) fn lock(database: &Path) -> Result<(Self, bool)> {
        let path = beside(database, ".generation");
        let failed = |error| Error::file("open the history's sidecar", &path, error);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        let alone = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        };
        if !alone {
            file.lock_shared().map_err(failed)?;
        }
        Ok((Self { file, path }, alone))
    }

    /// Lets others open the database, and shows them for as long as this lives that somebody has it open.
    pub(super) fn share(&self) -> Result<()> {
        self.file.lock_shared().map_err(|error| Error::file("share the history's sidecar", &self.path, error))
    }

    /// What it says; `None` if it is new or no sidecar of ours.
    pub(super) fn read(&self) -> Result<Option<Noted>> {
        let mut text = Vec::new();
        (&self.file)
            .take(4096)
            .read_to_end(&mut text)
            .map_err(|error| Error::file("read the history's sidecar", &self.path, error))?;
        Ok(parse(&text))
    }

    /// Notes a commit. One small write into the page cache: it survives the process, not the machine.
    pub(super) fn note(&self, noted: Noted) -> Result<()> {
        let text = format!("{:0DIGITS$} {}\n", noted.generation, noted.database.hyphenated());
        self.file.write_all_at(text.as_bytes(), 0).map_err(|error| Error::file("write the history's sidecar", &self.path, error))
    }

    /// Forces it to disk, with the folder's entry for it. Belongs to whom the database belongs: root may have come first.
    pub(super) fn settle(&self, database: &Path) -> Result<()> {
        let failed = |error| Error::file("write the history's sidecar", &self.path, error);
        same_owner(database, &self.path).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        sync_folder(&self.path).map_err(failed)
    }
}

/// Leaves no sidecar beside a file that turned out not to be ours.
pub(super) fn discard_unused(database: &Path) {
    let path = beside(database, ".generation");
    if std::fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
        // An empty file is all that would be left.
        let _ = std::fs::remove_file(path);
    }
}

fn parse(text: &[u8]) -> Option<Noted> {
    let text = std::str::from_utf8(text.get(..LENGTH)?).ok()?.strip_suffix('\n')?;
    let (generation, database) = text.split_once(' ')?;
    Some(Noted { generation: generation.parse().ok()?, database: Uuid::try_parse(database).ok()? })
}

/// `<path><ending>`, in the same folder.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Puts the entry of a new or renamed file on disk.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A file that root makes for the service must be the service's.
pub(super) fn same_owner(of: &Path, file: &Path) -> io::Result<()> {
    let (wanted, is) = (std::fs::metadata(of)?, std::fs::metadata(file)?);
    if (wanted.uid(), wanted.gid()) == (is.uid(), is.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(file, Some(wanted.uid()), Some(wanted.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Uuid = Uuid::from_u128(1);

    fn noted(generation: u64) -> Option<Noted> {
        Some(Noted { generation, database: OURS })
    }

    fn stated(generation: u64) -> Option<Stated> {
        Some(Stated { generation, database: OURS, is_copy: false })
    }

    #[test]
    fn a_database_is_older_only_when_its_sidecar_is_ahead() {
        assert_eq!(compare(noted(7), stated(7)), Lineage::Continued);
        assert_eq!(compare(noted(6), stated(7)), Lineage::Continued, "killed between commit and sidecar");
        assert_eq!(compare(noted(9), stated(7)), Lineage::OlderCopy { missing: 2 });
    }

    #[test]
    fn a_copy_made_by_ourselves_is_older_even_without_a_sidecar() {
        let copy = Some(Stated { generation: 7, database: OURS, is_copy: true });
        assert_eq!(compare(None, copy), Lineage::OlderCopy { missing: 0 });
        assert_eq!(compare(noted(7), copy), Lineage::OlderCopy { missing: 0 });
        assert_eq!(compare(noted(9), copy), Lineage::OlderCopy { missing: 2 });
    }

    #[test]
    fn what_cannot_be_told_is_suspect() {
        assert_eq!(compare(None, stated(7)), Lineage::Unknown);
        assert_eq!(compare(noted(7), None), Lineage::Lost);
        let other = Some(Stated { generation: 900, database: Uuid::from_u128(2), is_copy: false });
        assert_eq!(compare(noted(7), other), Lineage::OtherDatabase);
        assert!(Lineage::Unknown.is_suspect() && Lineage::Lost.is_suspect() && Lineage::OtherDatabase.is_suspect());
        assert!(!Lineage::Created.is_suspect() && !Lineage::Continued.is_suspect());
    }

    #[test]
    fn the_sidecar_reads_back_what_was_noted_and_garbage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("history.db");
        let (sidecar, alone) = Sidecar::lock(&database).unwrap();
        assert!(alone);
        assert_eq!(sidecar.read().unwrap(), None);
        sidecar.note(Noted { generation: 12, database: OURS }).unwrap();
        sidecar.share().unwrap();
        let (second, alone) = Sidecar::lock(&database).unwrap();
        assert!(!alone);
        assert_eq!(second.read().unwrap(), noted(12));
        for garbage in ["", "12", "x y\n", &"9".repeat(LENGTH)] {
            assert_eq!(parse(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
