//! Who claims: this life of this process, and where its history lies. An earlier life's claim need not be waited for, because whoever has
//! the history's lock knows that it is over. So a home is this very file on this very machine: a copy of the history elsewhere is
//! another home, and a machine that does not say which one it is has none.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::lease::{Claim, Terms};

/// Where a history lies, and the name of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Empty where it cannot be told for certain.
    pub name: String,
    /// The machine's name, for people.
    pub host: String,
}

impl Home {
    /// The home of a history that this process has locked for itself.
    pub fn of(history: &Path, database: Uuid) -> Self {
        let machine = read("/etc/machine-id").filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let file = std::fs::metadata(history).ok();
        let name = machine.zip(file).map(|(machine, file)| {
            let place = format!("{machine}/{}/{}", file.dev(), file.ino());
            Uuid::new_v5(&database, place.as_bytes()).to_string()
        });
        let host = read("/proc/sys/kernel/hostname").unwrap_or_else(|| "a machine without a name".to_owned());
        Self { name: name.unwrap_or_default(), host }
    }

    /// What a new life of this process claims.
    pub(super) fn claim(&self, terms: Terms, now: DateTime<Utc>) -> Claim {
        Claim {
            holder: Uuid::new_v4(),
            home: self.name.clone(),
            host: self.host.clone(),
            pid: std::process::id(),
            since: now,
            expires: terms.expires.as_secs().max(1),
            released: false,
        }
    }
}

fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_history_is_another_home() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, "x").unwrap();
        std::fs::copy(&one, &two).unwrap();
        let database = Uuid::from_u128(7);
        assert_eq!(Home::of(&one, database), Home::of(&one, database));
        let (one, two) = (Home::of(&one, database), Home::of(&two, database));
        assert!(one.name != two.name || one.name.is_empty(), "{one:?}");
        assert_eq!(Home::of(Path::new("/nowhere/at/all"), database).name, "", "nothing is said for certain");
    }
}
