//! What a field is called inside the server's database, and what stands there that no client sees.
//!
//! The server joins a name space and a name with two underscores: `name__label`, but `snapshot_time`. Which prefixes are name
//! spaces was read off real databases of 5.5 to 26.17; they are the same in every class.

use std::borrow::Cow;

use crate::simulator::model::{Field, Model, Release, Type, release};

const NAME_SPACES: [&str; 9] = ["name", "io", "qos", "HVM", "PV", "VCPUs", "actions", "memory", "API_version"];

/// Fields of VM_guest_metrics that look as if they stood in the name space `PV`.
const NO_NAME_SPACE: &str = "PV_drivers_";

/// `(class, column, first release, value of a new row)`: columns that clients cannot read. Seen in real databases.
const HIDDEN: [(&str, &str, &str, &str); 13] = [
    ("SR", "default_vdi_visibility", "rio", "true"),
    ("VBD", "reserved", "rio", "false"),
    ("VIF", "reserved", "rio", "false"),
    ("VIF", "reserved_pci", "ely", "OpaqueRef:NULL"),
    ("VM", "recommended_guidances", "24.10.0", "()"),
    ("VTPM", "contents", "22.26.0", "OpaqueRef:NULL"),
    ("console", "port", "rio", "-1"),
    ("host", "boot_free_mem", "rio", "0"),
    ("host", "recommended_guidances", "24.10.0", "()"),
    ("pool", "wlb_password", "rio", "OpaqueRef:NULL"),
    ("Certificate", "fingerprint_sha1", "24.19.0", ""),
    ("Certificate", "fingerprint_sha256", "24.19.0", ""),
    ("SM", "host_pending_features", "24.36.0", "()"),
];

/// The column of a field: `name_label` is stored as `name__label`.
pub fn name(field: &str) -> String {
    let mut spaces = NAME_SPACES.iter().filter(|_| !field.starts_with(NO_NAME_SPACE));
    let split = spaces.find_map(|space| Some((*space, field.strip_prefix(space)?.strip_prefix('_')?)));
    split.map_or_else(|| field.to_owned(), |(space, rest)| format!("{space}__{rest}"))
}

/// The field of a column, whether or not such a field exists: `name__label` is read as `name_label`.
pub fn field(column: &str) -> Cow<'_, str> {
    match column.split_once("__") {
        Some((space, rest)) if !space.is_empty() => Cow::Owned(format!("{space}_{rest}")),
        _ => Cow::Borrowed(column),
    }
}

/// Whether the database of a release has this field: it came no later, and neither did the class it refers to.
pub fn stored(field: &Field, shown: Release) -> bool {
    field.since <= shown && refers_to(&field.kind).is_none_or(|class| Model::get().class(class).is_none_or(|c| c.since <= shown))
}

/// Columns of a class that clients cannot read, with the text they have in a new row.
pub fn hidden(class: &str, shown: Release) -> impl Iterator<Item = (&'static str, &'static str)> {
    let here = HIDDEN.iter().filter(move |(of, _, since, _)| *of == class && release(since) <= shown);
    here.map(|(_, column, _, text)| (*column, *text))
}

fn refers_to(kind: &Type) -> Option<&str> {
    match kind {
        Type::Ref(class) => Some(class),
        Type::Set(item) | Type::Map(_, item) | Type::Option(item) => refers_to(item),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_space_is_joined_with_two_underscores() {
        for (wire, stored) in [
            ("name_label", "name__label"),
            ("VCPUs_at_startup", "VCPUs__at_startup"),
            ("API_version_vendor_implementation", "API_version__vendor_implementation"),
            ("PV_legacy_args", "PV__legacy_args"),
            ("PV_drivers_version", "PV_drivers_version"),
            ("snapshot_time", "snapshot_time"),
            ("memory", "memory"),
        ] {
            assert_eq!(name(wire), stored);
            assert_eq!(field(stored), wire);
        }
        assert_eq!(field("__ctime"), "__ctime");
    }
}
