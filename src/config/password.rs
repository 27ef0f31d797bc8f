//! Where the password of a pool comes from. It is read when it is needed, and shown nowhere.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Where a password comes from. `Debug` does not show it.
#[derive(Debug, Clone)]
pub enum PasswordSource {
    /// It stands in the configuration.
    Given(SecretString),
    /// It is the first line of a file that others cannot read.
    File(PathBuf),
    /// It is a credential of the service (systemd's `LoadCredential=`).
    Credential(String),
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("the password file {path} cannot be read; create it, readable by the service's user only")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Everybody can read it.
    #[error("the password file {path} can be read by everybody; run `chmod o-rwx` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("the password file {path} is empty; write the password into its first line")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The service was started without credentials.
    #[error("there are no credentials here; start xensnap with systemd and LoadCredential={name}:<file>, or use password_file")]
    NoCredentials {
        /// The credential's name.
        name: String,
    },
}

impl PartialEq for PasswordSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (PasswordSource::Given(ours), PasswordSource::Given(theirs)) => ours.expose_secret() == theirs.expose_secret(),
            (PasswordSource::File(ours), PasswordSource::File(theirs)) => ours == theirs,
            (PasswordSource::Credential(ours), PasswordSource::Credential(theirs)) => ours == theirs,
            _ => false,
        }
    }
}

impl Eq for PasswordSource {}

impl PasswordSource {
    /// The password. `credentials` is the directory of the service's credentials (`$CREDENTIALS_DIRECTORY`).
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn read(&self, credentials: Option<&Path>) -> Result<SecretString, PasswordError> {
        match self {
            PasswordSource::Given(password) => Ok(password.clone()),
            PasswordSource::File(path) if is_exposed(path) => Err(PasswordError::Exposed { path: path.clone() }),
            PasswordSource::File(path) => first_line(path),
            PasswordSource::Credential(name) => {
                let directory = credentials.ok_or_else(|| PasswordError::NoCredentials { name: name.clone() })?;
                first_line(&directory.join(name))
            }
        }
    }
}

fn first_line(path: &Path) -> Result<SecretString, PasswordError> {
    let content = std::fs::read_to_string(path).map_err(|source| PasswordError::Unreadable { path: path.to_owned(), source })?;
    match content.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.into()),
        _ => Err(PasswordError::Empty { path: path.to_owned() }),
    }
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_exposed(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_password_file_is_read_unless_everybody_can() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"secret word\n").unwrap();
        let source = PasswordSource::File(file.path().to_owned());
        assert_eq!(source.read(None).unwrap().expose_secret(), "secret word");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(source.read(None), Err(PasswordError::Exposed { .. })));
        }
    }

    #[test]
    fn a_credential_is_looked_for_where_systemd_puts_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("prod"), "from systemd\n").unwrap();
        let source = PasswordSource::Credential("prod".into());
        assert_eq!(source.read(Some(directory.path())).unwrap().expose_secret(), "from systemd");
        assert!(matches!(source.read(None), Err(PasswordError::NoCredentials { .. })));
    }
}
