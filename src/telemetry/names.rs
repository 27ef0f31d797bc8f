//! What the journal calls the fields of a line. The list is closed, so that a filter written today finds the same lines tomorrow; what
//! is not in it stands in the message, as `name=value`.

/// Names in the code, with those in the journal.
const NAMES: [(&str, &str); 15] = [
    ("policy", "POLICY"),
    ("policy_name", "POLICY_NAME"),
    ("pool", "POOL"),
    ("vm", "VM_NAME"),
    ("vm_uuid", "VM_UUID"),
    ("run", "RUN_ID"),
    ("snapshot", "SNAPSHOT_UUID"),
    ("slot", "SLOT"),
    ("sr", "SR_UUID"),
    ("duration_ms", "DURATION_MS"),
    ("xenapi_error", "XENAPI_ERROR"),
    ("error", "ERROR"),
    ("address", "ADDRESS"),
    ("method", "METHOD"),
    ("event", "EVENT"),
];

/// The journal's name of a field, if it has one.
pub(super) fn journal_name(field: &str) -> Option<&'static str> {
    NAMES.iter().find(|(name, _)| *name == field).map(|(_, journal)| *journal)
}

/// What a message says of a field, when its value does not stand in the text already.
pub(super) fn spoken(field: &str) -> Option<&'static str> {
    match field {
        "policy_name" => Some("policy"),
        "pool" => Some("pool"),
        "vm" => Some("VM"),
        "sr" => Some("SR"),
        "address" => Some("address"),
        "method" => Some("method"),
        _ => None,
    }
}
