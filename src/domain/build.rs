//! Which build of the program this is: version, revision, and the day of the revision. Only the binary knows the revision (see
//! `src/main.rs`), and hands it to whoever tells it on: a commit must not make the whole library be built anew.

use std::fmt;

use chrono::{DateTime, NaiveDate};

/// A build of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The version of the package.
    pub version: &'static str,
    /// What the version control calls the source; empty where nobody knows.
    pub revision: &'static str,
    /// The day of the revision, in UTC.
    pub date: Option<NaiveDate>,
}

impl Build {
    /// A build of which no more is known than its version.
    pub const UNKNOWN: Self = Self { version: env!("CARGO_PKG_VERSION"), revision: "", date: None };

    /// The build of this revision. `epoch` is what `SOURCE_DATE_EPOCH` says: seconds since 1970; anything else is no date.
    #[must_use]
    pub fn of(revision: &'static str, epoch: Option<&str>) -> Self {
        let second = epoch.and_then(|epoch| epoch.trim().parse().ok());
        let date = second.and_then(|second| DateTime::from_timestamp(second, 0)).map(|at| at.date_naive());
        Self { revision, date, ..Self::UNKNOWN }
    }
}

impl Default for Build {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

/// `0.1.0 (513d48f, 2026-11-24)`, with what is known.
impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)?;
        match (self.revision, self.date) {
            ("", None) => Ok(()),
            ("", Some(date)) => write!(f, " ({date})"),
            (revision, None) => write!(f, " ({revision})"),
            (revision, Some(date)) => write!(f, " ({revision}, {date})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_says_what_is_known_of_it() {
        let told = |revision, epoch| Build::of(revision, epoch).to_string().replace(env!("CARGO_PKG_VERSION"), "1.2.3");
        assert_eq!(told("513d48f", Some("1795478400")), "1.2.3 (513d48f, 2026-11-24)");
        assert_eq!(told("513d48f", None), "1.2.3 (513d48f)");
        assert_eq!(told("", Some("1795478400")), "1.2.3 (2026-11-24)");
        assert_eq!(told("", Some("yesterday")), "1.2.3");
        assert_eq!(Build::of("", None), Build::UNKNOWN);
    }
}
