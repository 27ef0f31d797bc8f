//! Which release a database belongs to: the schema's minor number moves with the releases (09, section 10).

use crate::simulator::model::{Release, release};

/// The major number of every schema since 4.0.
pub(super) const MAJOR: u64 = 5;

/// `(release, schema minor)`, oldest first. Those of 24.16 and 25.33 are guesses between known neighbours.
const SCHEMAS: [(&str, u64); 25] = [
    ("orlando", 55),
    ("george", 57),
    ("midnight-ride", 60),
    ("cowley", 61),
    ("boston", 63),
    ("tampa", 66),
    ("clearwater", 67),
    ("clearwater-felton", 70),
    ("clearwater-whetstone", 71),
    ("creedence", 72),
    ("cream", 73),
    ("dundee", 93),
    ("ely", 108),
    ("falcon", 120),
    ("inverness", 133),
    ("jura", 134),
    ("kolkata", 142),
    ("lima", 203),
    ("naples", 400),
    ("quebec", 504),
    ("stockholm", 601),
    ("22.20.0", 602),
    ("24.16.0", 780),
    ("25.33.0", 790),
    ("26.17.0", 909),
];

/// The first release whose schema is at least this one; the newest for later ones. None for schemas of before snapshots.
///
/// Databases of development builds have numbers between those of releases; the next release has all their columns.
pub fn release_of(minor: u64) -> Option<Release> {
    let known = SCHEMAS.iter().find(|(_, schema)| *schema >= minor).map(|(name, _)| release(name));
    (minor >= SCHEMAS[0].1).then(|| known.unwrap_or(Release::NEWEST))
}

/// The schema's minor number of a release.
pub fn minor_of(shown: Release) -> u64 {
    let known = SCHEMAS.iter().rev().find(|(name, _)| release(name) <= shown);
    known.map_or(SCHEMAS[0].1, |(_, minor)| *minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_names_its_release_and_back() {
        for (name, minor) in SCHEMAS {
            assert_eq!(release_of(minor), Some(release(name)));
            assert_eq!(minor_of(release(name)), minor);
        }
        assert_eq!(release_of(58), Some(release("5.6")));
        assert_eq!(release_of(910), Some(Release::NEWEST));
        assert_eq!(release_of(30), None);
    }
}
