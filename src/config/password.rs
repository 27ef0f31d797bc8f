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
    /// Others than the service can read the credential.
    #[error(
        "the credential {path} can be read by everybody; systemd makes credentials readable for the service only, so start xensnap with systemd and LoadCredential="
    )]
    ExposedCredential {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error(
        "the credential {name} is empty; write the password into the first line of the file that LoadCredential={name}:<file> names"
    )]
    EmptyCredential {
        /// The credential's name.
        name: String,
    },
    /// It is not among the service's credentials.
    #[error("the service has no credential {name}{}; write LoadCredential={name}:<file> into a drop-in of the unit (`systemctl edit xensnap`) and restart", among(.there))]
    NoSuchCredential {
        /// The credential's name.
        name: String,
        /// Those that it has.
        there: Vec<String>,
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
                credential(directory, name)
            }
        }
    }
}

fn credential(directory: &Path, name: &str) -> Result<SecretString, PasswordError> {
    let path = directory.join(name);
    if is_exposed(&path) {
        return Err(PasswordError::ExposedCredential { path });
    }
    match first_line(&path) {
        Err(PasswordError::Empty { .. }) => Err(PasswordError::EmptyCredential { name: name.to_owned() }),
        Err(PasswordError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(PasswordError::NoSuchCredential { name: name.to_owned(), there: names(directory) })
        }
        other => other,
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn among(there: &[String]) -> String {
    if there.is_empty() { String::new() } else { format!(" among those it has ({})", there.join(", ")) }
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
        let put = |name: &str, text: &str, mode: u32| {
            use std::os::unix::fs::PermissionsExt;
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        put("prod", "from systemd\n", 0o440);
        let source = PasswordSource::Credential("prod".into());
        assert_eq!(source.read(Some(directory.path())).unwrap().expose_secret(), "from systemd");
        assert!(matches!(source.read(None), Err(PasswordError::NoCredentials { .. })));
        put("empty", "\n", 0o400);
        put("open", "for all to see\n", 0o444);
        let of = |name: &str| PasswordSource::Credential(name.into()).read(Some(directory.path())).unwrap_err().to_string();
        assert!(of("empty").starts_with("the credential empty is empty; write the password"), "{}", of("empty"));
        assert!(of("open").contains("can be read by everybody"), "{}", of("open"));
        let missing = of("tokyo");
        let expected =
            "the service has no credential tokyo among those it has (empty, open, prod); write LoadCredential=tokyo:<file>";
        assert!(missing.starts_with(expected), "{missing}");
    }
}
