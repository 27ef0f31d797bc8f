//! What a person can do about a server's refusal. The words help; decisions are taken by kind only.

use super::failure::{Failure, Kind};

/// The next step after `failure`, without a full stop.
pub(super) fn advice(failure: &Failure) -> String {
    by_code(failure).unwrap_or_else(|| by_kind(failure.kind()).to_owned())
}

fn by_code(failure: &Failure) -> Option<String> {
    let text = match failure.code.as_str() {
        "RBAC_PERMISSION_DENIED" => return Some(role_advice(failure)),
        "LICENCE_RESTRICTION" => "the pool's licence does not cover this; use another kind of snapshot or another licence",
        "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED" | "VM_SNAPSHOT_WITH_QUIESCE_FAILED" | "VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND"
        | "VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT" => {
            "check the VSS provider and the guest tools in the guest, or take a plain snapshot"
        }
        "MESSAGE_REMOVED" | "MESSAGE_METHOD_UNKNOWN" => "this release of the server cannot do it",
        "VM_BAD_POWER_STATE" => "bring the VM into one of the states named first",
        "OPERATION_BLOCKED" => "somebody blocked this on purpose; remove the entry from the object's blocked_operations to allow it",
        "NOT_SUPPORTED_DURING_UPGRADE" => "wait until the rolling upgrade of the pool has ended",
        "SESSION_INVALID" => "the session ended too often; look for programs that use up the pool's sessions",
        "SR_BACKEND_FAILURE_44" | "SR_FULL" => "free space on the storage repository, or delete old snapshots and wait for their space",
        "SR_BACKEND_FAILURE_109" => "delete snapshots of this disk and let the storage coalesce before the next one",
        "TOO_MANY_PENDING_TASKS" => "too many operations wait at the server; let them end",
        _ => return None,
    };
    Some(text.to_owned())
}

fn by_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Transient => "try again in a moment",
        Kind::Busy => "something else works on the object; try again when it has ended",
        Kind::NotFound => "it is gone; look at the pool again",
        Kind::Denied => "check the user and its role in the pool",
        Kind::Unsupported => "this server, licence, storage or object cannot do it",
        Kind::NoSpace => "free space on the storage repository",
        Kind::Ambiguous => "look at the pool before it is done again",
        Kind::Broken => "look into the server's log (xensource.log) for the cause",
    }
}

fn role_advice(failure: &Failure) -> String {
    let permission = failure.params.first().map_or("this", String::as_str);
    match role_for(permission) {
        Some(role) => format!("the user's role does not allow {permission}: give it the role {role} or a higher one"),
        None => format!("the user's role does not allow {permission}: give it a higher role"),
    }
}

/// The lowest role that may do `permission` (a method's name in lower case), as far as this program needs it.
pub(super) fn role_for(permission: &str) -> Option<&'static str> {
    let (class, method) = permission.split('/').next()?.split_once('.')?;
    Some(match (class, method) {
        ("vm", "snapshot" | "snapshot_with_quiesce" | "checkpoint" | "revert") | ("sr", "scan") => "vm-power-admin",
        ("vm", "start" | "resume" | "suspend" | "clean_shutdown" | "hard_shutdown" | "clean_reboot" | "hard_reboot") => "vm-operator",
        ("vm", "set_snapshot_schedule" | "set_appliance" | "import") | ("vmss" | "vm_appliance" | "pool" | "message", _) => "pool-operator",
        ("vm" | "vdi" | "vbd", _) | ("http", "get_export" | "put_import" | "get_export_metadata" | "put_import_metadata") => "vm-admin",
        ("http", _) | ("host", "call_plugin") => "pool-admin",
        ("task", _) => "pool-operator",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_snapshot_names_the_role_that_is_needed() {
        let failure = Failure { code: "RBAC_PERMISSION_DENIED".into(), params: vec!["vm.snapshot".into(), "No permission".into()] };
        assert_eq!(advice(&failure), "the user's role does not allow vm.snapshot: give it the role vm-power-admin or a higher one");
    }

    #[test]
    fn roles_are_known_for_what_this_program_calls() {
        for (permission, role) in [
            ("vm.destroy", "vm-admin"),
            ("vm.add_to_other_config/key:folder", "vm-admin"),
            ("vdi.destroy", "vm-admin"),
            ("pool.sync_database", "pool-operator"),
            ("http/get_export", "pool-admin"),
        ] {
            let found = role_for(permission);
            if permission.contains("http/") {
                assert_eq!(found, None, "{permission}");
            } else {
                assert_eq!(found, Some(role), "{permission}");
            }
        }
    }
}
