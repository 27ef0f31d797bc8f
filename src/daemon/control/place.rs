//! The socket's file. It appears with its final mode and group at once; a dead service's is replaced, a live one's never.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::rights::Group;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another service has it.
    #[error("another xensnap daemon answers at {0}; stop it first, or give this one a `socket` of its own in [daemon]")]
    Live(PathBuf),
    /// Something else is there.
    #[error("{0} is no socket, so it was not touched; move it away, or name another `socket` in [daemon]")]
    NotASocket(PathBuf),
    /// The group is unknown to the machine.
    #[error("there is no group {0}; make it (`groupadd --system {0}`), or correct `socket_group` in [daemon]")]
    NoGroup(String),
    /// The machine refused.
    #[error("the control socket {path} cannot be made: {what}; correct that, or name another `socket` in [daemon]")]
    File {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A socket that people can reach. Dropping it removes the file.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    group: Option<Group>,
    /// Held as long as the socket is ours.
    _lock: File,
}

impl Listening {
    /// Listens at `path`, for the service's user and root, and for the members of `group` if one is named. Makes the folder if there
    /// is none. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`PlaceError::Live`] if another service has the socket; that one is not disturbed.
    pub fn at(path: &Path, group: Option<&str>) -> Result<Self, PlaceError> {
        let failed = |what| move |source| PlaceError::File { path: path.to_owned(), what, source };
        let group = group.map(Group::named).transpose()?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed("its folder cannot be made"))?;
        }
        let lock = lock(path)?;
        clear(path)?;
        // Under another name until mode and group are right, so that nobody meets it half made.
        let draft = beside(path, ".new");
        clear(&draft)?;
        let listener = UnixListener::bind(&draft).map_err(failed("binding failed"))?;
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o660)).map_err(failed("its mode cannot be set"))?;
        if let Some(group) = &group {
            std::os::unix::fs::chown(&draft, None, Some(group.gid)).map_err(failed("its group cannot be set"))?;
        }
        std::fs::rename(&draft, path).map_err(failed("it cannot be put in its place"))?;
        Ok(Self { listener, path: path.to_owned(), group, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    pub(super) async fn accept(&self) -> std::io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The lock that tells whether the socket's service lives. The kernel lets go of it however the service ends.
fn lock(path: &Path) -> Result<File, PlaceError> {
    let failed = |what| move |source| PlaceError::File { path: path.to_owned(), what, source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside(path, ".lock"));
    let file = file.map_err(failed("its lock cannot be opened"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PlaceError::Live(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed("its lock cannot be taken")(source)),
    }
}

/// Removes what a dead service left. Somebody who answers without our lock is no dead service.
fn clear(path: &Path) -> Result<(), PlaceError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(PlaceError::NotASocket(path.to_owned()));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(PlaceError::Live(path.to_owned()));
    }
    let what = "the one of a dead service cannot be removed";
    std::fs::remove_file(path).map_err(|source| PlaceError::File { path: path.to_owned(), what, source })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_owner_and_group_only_and_goes_with_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let listening = Listening::at(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(listening);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_services_socket_is_replaced_and_a_live_ones_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        // A process that was killed: its socket stays, its lock does not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listening = Listening::at(&path, None).unwrap();
        let second = Listening::at(&path, None).unwrap_err();
        assert!(matches!(second, PlaceError::Live(_)), "{second}");
        assert!(std::os::unix::net::UnixStream::connect(listening.path()).is_ok(), "the first was not disturbed");
    }

    #[tokio::test]
    async fn somebody_who_answers_without_a_lock_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(Listening::at(&path, None).unwrap_err(), PlaceError::Live(_)));
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Listening::at(&path, None).unwrap_err(), PlaceError::NotASocket(_)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn an_unknown_group_and_a_name_that_is_too_long_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let unknown = Listening::at(&folder.path().join("control.sock"), Some("nobody-has-such-a-group")).unwrap_err();
        assert!(unknown.to_string().contains("groupadd"), "{unknown}");
        let long = Listening::at(&folder.path().join("x".repeat(120)), None).unwrap_err();
        assert!(matches!(long, PlaceError::File { what: "binding failed", .. }), "{long}");
    }
}
