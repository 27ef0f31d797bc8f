//! The `[[pool]]` block. Two shapes: what stands in the file, with its places, and what it means once checked. All problems of a block
//! are found at once, and none of their texts contains the password.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::domain::address::Address;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::id::PoolUuid;

/// A `[[pool]]` block as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    name: Spanned<String>,
    addresses: Spanned<Vec<Spanned<String>>>,
    username: Spanned<String>,
    password: Option<Spanned<Hidden>>,
    password_file: Option<Spanned<PathBuf>>,
    password_credential: Option<Spanned<String>>,
    #[serde(default)]
    fingerprints: Vec<Spanned<String>>,
    ca_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    wire: WireChoice,
    pool_uuid: Option<Spanned<String>>,
    #[serde(default)]
    address_map: BTreeMap<String, Spanned<String>>,
}

/// Text that `Debug` does not show.
struct Hidden(SecretString);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A value of another type must not be quoted in the error either.
        let text =
            String::deserialize(deserializer).map_err(|_| serde::de::Error::custom("the password must be text in quotes"))?;
        Ok(Self(text.into()))
    }
}

/// Which encoding is spoken with a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireChoice {
    /// It is found out.
    #[default]
    Auto,
    /// JSON-RPC, from XenServer 7.3.
    Json,
    /// XML-RPC, every release.
    Xml,
}

/// A pool that can be connected to, as far as a file can tell.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// What people call it; unique among the pools.
    pub name: String,
    /// At least one.
    pub addresses: Vec<Address>,
    /// Who logs in.
    pub username: String,
    /// Where the password is.
    pub password: PasswordSource,
    /// Certificates that are accepted by themselves.
    pub fingerprints: Vec<Fingerprint>,
    /// The authority that is accepted, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The encoding.
    pub wire: WireChoice,
    /// The pool that is meant.
    pub pool_uuid: Option<PoolUuid>,
    /// Addresses that hosts have among themselves, with those they have from here.
    pub address_map: BTreeMap<String, Address>,
}

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

/// Something to correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolIssue {
    /// Where, in bytes of the file.
    pub place: Range<usize>,
    /// What, and what to do.
    pub message: String,
}

impl RawPool {
    /// The block's name and where it stands, for comparing blocks.
    pub fn name(&self) -> (&str, Range<usize>) {
        (self.name.get_ref(), self.name.span())
    }

    /// Checks everything.
    ///
    /// # Errors
    /// All issues, in no particular order.
    pub fn check(self) -> Result<PoolConfig, Vec<PoolIssue>> {
        let mut issues = Issues::default();
        issues.unless(is_name(self.name.get_ref()), &self.name, "a pool's name has 1 to 64 letters, digits, `-`, `_` or `.`");
        issues.unless(!self.addresses.get_ref().is_empty(), &self.addresses, "a pool needs at least one address");
        issues.unless(!self.username.get_ref().is_empty(), &self.username, "the user name is empty; root is the usual one");
        let place = self.name.span();
        let addresses = issues.each::<Address>(self.addresses.into_inner());
        let fingerprints = issues.each::<Fingerprint>(self.fingerprints);
        let pool_uuid = issues.each::<PoolUuid>(self.pool_uuid).pop();
        let inner: Vec<String> = self.address_map.keys().cloned().collect();
        let outer = issues.each::<Address>(self.address_map.into_values());
        let password = issues.password(place, self.password, self.password_file, self.password_credential);
        match (issues.0.is_empty(), password) {
            (true, Some(password)) => Ok(PoolConfig {
                name: self.name.into_inner(),
                addresses,
                username: self.username.into_inner(),
                password,
                fingerprints,
                ca_file: self.ca_file.map(Spanned::into_inner),
                wire: self.wire,
                pool_uuid,
                address_map: inner.into_iter().zip(outer).collect(),
            }),
            _ => Err(issues.0),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}

#[derive(Default)]
struct Issues(Vec<PoolIssue>);

impl Issues {
    fn add(&mut self, place: Range<usize>, message: impl Into<String>) {
        self.0.push(PoolIssue { place, message: message.into() });
    }

    fn unless<T>(&mut self, right: bool, value: &Spanned<T>, message: &str) {
        if !right {
            self.add(value.span(), message);
        }
    }

    /// Reads each value; one that cannot be read becomes an issue and is left out.
    fn each<T: FromStr<Err: fmt::Display>>(&mut self, values: impl IntoIterator<Item = Spanned<String>>) -> Vec<T> {
        let mut read = Vec::new();
        for value in values {
            match value.get_ref().parse::<T>() {
                Ok(value) => read.push(value),
                Err(error) => self.add(value.span(), error.to_string()),
            }
        }
        read
    }

    fn password(
        &mut self,
        place: Range<usize>,
        given: Option<Spanned<Hidden>>,
        file: Option<Spanned<PathBuf>>,
        credential: Option<Spanned<String>>,
    ) -> Option<PasswordSource> {
        match (given, file, credential) {
            (Some(given), None, None) => Some(PasswordSource::Given(given.into_inner().0)),
            (None, Some(file), None) => Some(PasswordSource::File(file.into_inner())),
            (None, None, Some(name)) => {
                let plain = !name.get_ref().is_empty() && !name.get_ref().contains(['/', '\0']) && name.get_ref() != "..";
                self.unless(plain, &name, "a credential's name is a plain file name, as in LoadCredential=");
                plain.then(|| PasswordSource::Credential(name.into_inner()))
            }
            (None, None, None) => {
                self.add(place, "no password; give password_file, password_credential or password");
                None
            }
            _ => {
                self.add(place, "more than one password; keep one of password, password_file and password_credential");
                None
            }
        }
    }
}

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

    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        pool: Vec<RawPool>,
    }

    fn parse(text: &str) -> Result<PoolConfig, Vec<PoolIssue>> {
        let mut file: File = toml::from_str(text).unwrap();
        file.pool.remove(0).check()
    }

    const FULL: &str = r#"
        [[pool]]
        name = "prod"
        addresses = ["xen1.example.org", "http://10.0.0.6:8080"]
        username = "root"
        password = "hunter2"
        fingerprints = ["sha256:37:54:F7:CF:A9:1A:67:4F:84:4E:4C:18:8F:D9:5A:8C:83:D3:85:00:64:95:32:A5:30:78:0E:E7:5E:DB:51:79"]
        wire = "xml"
        pool_uuid = "6a3b1f0e-58c1-4e0f-9a53-2f7f6f0f4f10"
        address_map = { "192.168.0.6" = "xen2.example.org:8443" }
    "#;

    #[test]
    fn a_full_block_is_read() {
        let pool = parse(FULL).unwrap();
        assert_eq!(
            pool.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["https://xen1.example.org", "http://10.0.0.6:8080"]
        );
        assert_eq!((pool.wire, pool.fingerprints.len()), (WireChoice::Xml, 1));
        assert_eq!(pool.address_map["192.168.0.6"].to_string(), "https://xen2.example.org:8443");
        assert_eq!(pool.password.read(None).unwrap().expose_secret(), "hunter2");
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        let raw: File = toml::from_str(FULL).unwrap();
        assert!(!format!("{raw:?}").contains("hunter2"));
        assert!(!format!("{:?}", parse(FULL).unwrap()).contains("hunter2"));
        let wrong = FULL.replace("\"hunter2\"", "4711");
        let error = toml::from_str::<File>(&wrong).unwrap_err();
        assert!(!error.message().contains("4711"), "{}", error.message());
    }

    #[test]
    fn all_problems_are_found_at_once_with_their_places() {
        let text = r#"
            [[pool]]
            name = "a b"
            addresses = ["ftp://x", "ok"]
            username = ""
            password = "p"
            password_file = "/p"
            fingerprints = ["zz"]
            pool_uuid = "x"
        "#;
        let issues = parse(text).unwrap_err();
        assert_eq!(issues.len(), 6, "{issues:#?}");
        let place = |part: &str| issues.iter().find(|issue| issue.message.contains(part)).map(|issue| &text[issue.place.clone()]);
        assert_eq!(place("https:// and http://"), Some("\"ftp://x\""));
        assert_eq!(place("SHA-256"), Some("\"zz\""));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<File>(&FULL.replace("username", "user")).unwrap_err();
        assert!(error.message().contains("user"), "{}", error.message());
    }

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
