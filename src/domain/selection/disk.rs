//! Which disks of a VM are left out of its snapshots (`ignore_vdis`).

use std::fmt;

use super::super::id::{SrUuid, VdiUuid};
use super::pattern::{Pattern, PatternError};

/// A disk of a VM as selection sees it.
#[derive(Debug, Clone)]
pub struct DiskView<'a> {
    /// Its uuid.
    pub uuid: VdiUuid,
    /// `name_label` of the disk.
    pub name: &'a str,
    /// `tags` of the disk.
    pub tags: Vec<&'a str>,
    /// Where it lies.
    pub sr: (SrUuid, &'a str),
    /// The VBD's `userdevice`: the position, which survives a revert.
    pub position: &'a str,
}

/// What a disk condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskField {
    /// The disk's uuid.
    Uuid,
    /// Its name, by glob.
    Name,
    /// One of its tags, by glob.
    Tag,
    /// Its storage repository, by uuid or name.
    Sr,
    /// Its position on the VM, `0` for the first.
    Position,
}

impl DiskField {
    /// All fields.
    pub const ALL: [DiskField; 5] = [DiskField::Uuid, DiskField::Name, DiskField::Tag, DiskField::Sr, DiskField::Position];

    /// The key used in policies.
    pub fn word(self) -> &'static str {
        match self {
            DiskField::Uuid => "uuid",
            DiskField::Name => "name",
            DiskField::Tag => "tag",
            DiskField::Sr => "sr",
            DiskField::Position => "position",
        }
    }

    /// Reads a value of this field.
    pub fn pattern(self, text: &str) -> Result<Pattern, PatternError> {
        match self {
            DiskField::Uuid => Pattern::uuid(text),
            DiskField::Name | DiskField::Tag => Pattern::glob(text),
            DiskField::Sr => Pattern::uuid_or_glob(text),
            DiskField::Position => match text.parse::<u16>() {
                Ok(position) => Pattern::exact(&position.to_string()),
                Err(_) => Err(PatternError::no_position(text)),
            },
        }
    }

    fn fits(self, pattern: &Pattern, disk: &DiskView<'_>) -> bool {
        match self {
            DiskField::Uuid => pattern.fits_uuid(disk.uuid.0),
            DiskField::Name => pattern.fits(disk.name),
            DiskField::Tag => disk.tags.iter().any(|tag| pattern.fits(tag)),
            DiskField::Sr => pattern.fits_uuid(disk.sr.0.0) || pattern.fits(disk.sr.1),
            DiskField::Position => pattern.fits(disk.position),
        }
    }
}

/// Disks that fulfil all of these: each field by one of its patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskClause(pub Vec<(DiskField, Vec<Pattern>)>);

impl DiskClause {
    /// Whether the disk fulfils every condition. A clause without conditions fits no disk.
    pub fn fits(&self, disk: &DiskView<'_>) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(field, patterns)| patterns.iter().any(|pattern| field.fits(pattern, disk)))
    }
}

impl fmt::Display for DiskClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = self.0.iter().map(|(field, patterns)| super::told(field.word(), patterns));
        f.write_str(&conditions.collect::<Vec<_>>().join(" and "))
    }
}

/// The disks that a VM's snapshot leaves out, each with the clause that says so.
pub fn excluded<'a>(clauses: &'a [DiskClause], disks: &'a [DiskView<'_>]) -> impl Iterator<Item = (VdiUuid, &'a DiskClause)> {
    disks.iter().filter_map(|disk| clauses.iter().find(|clause| clause.fits(disk)).map(|clause| (disk.uuid, clause)))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn clause(conditions: &[(DiskField, &str)]) -> DiskClause {
        DiskClause(conditions.iter().map(|(field, text)| (*field, vec![field.pattern(text).unwrap()])).collect())
    }

    fn disk(n: u128, name: &'static str, position: &'static str) -> DiskView<'static> {
        let sr = (SrUuid(Uuid::from_u128(50 + n)), "fast");
        DiskView { uuid: VdiUuid(Uuid::from_u128(n)), name, tags: vec!["scratch"], sr, position }
    }

    #[test]
    fn a_disk_is_left_out_by_name_tag_storage_or_position() {
        let disks = [disk(0, "root", "0"), disk(1, "swap", "1")];
        let out = |conditions: &[(DiskField, &str)]| -> Vec<u128> {
            excluded(&[clause(conditions)], &disks).map(|(disk, _)| disk.0.as_u128()).collect()
        };
        assert_eq!(out(&[(DiskField::Name, "*swap*")]), [1]);
        assert_eq!(out(&[(DiskField::Position, "0")]), [0]);
        assert_eq!(out(&[(DiskField::Tag, "scratch")]), [0, 1]);
        assert_eq!(out(&[(DiskField::Sr, "00000000-0000-0000-0000-000000000033")]), [1]);
        assert_eq!(out(&[(DiskField::Sr, "fast"), (DiskField::Position, "1")]), [1]);
        assert_eq!(out(&[]), Vec::<u128>::new());
    }

    #[test]
    fn a_position_is_a_number() {
        let error = DiskField::Position.pattern("xvdb").unwrap_err();
        assert_eq!(error.to_string(), "\"xvdb\" is no position; write the VBD's userdevice, 0 for the first disk");
    }
}
