use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rstest::rstest;

use super::{Failure, Kind, Role, Subject, codes, minimum_role};

fn failure(code: &str, params: &[&str]) -> Failure {
    Failure { code: code.to_owned(), params: params.iter().map(|param| (*param).to_owned()).collect() }
}

#[rstest]
#[case("HOST_STILL_BOOTING", Kind::Transient)]
#[case("SESSION_INVALID", Kind::Transient)]
#[case("HOST_IS_SLAVE", Kind::Transient)]
#[case("NO_HOSTS_AVAILABLE", Kind::Transient)]
#[case("OTHER_OPERATION_IN_PROGRESS", Kind::Busy)]
#[case("TOO_MANY_PENDING_TASKS", Kind::Busy)]
#[case("VDI_IN_USE", Kind::Busy)]
#[case("NOT_SUPPORTED_DURING_UPGRADE", Kind::Busy)]
#[case("HANDLE_INVALID", Kind::NotFound)]
#[case("RBAC_PERMISSION_DENIED", Kind::Denied)]
#[case("OPERATION_BLOCKED", Kind::Denied)]
#[case("LICENCE_RESTRICTION", Kind::Unsupported)]
#[case("MESSAGE_REMOVED", Kind::Unsupported)]
#[case("SR_FULL", Kind::NoSpace)]
#[case("CANNOT_CONTACT_HOST", Kind::Ambiguous)]
#[case("INTERNAL_ERROR", Kind::Broken)]
#[case("SR_BACKEND_FAILURE_37", Kind::Busy)]
#[case("SR_BACKEND_FAILURE_44", Kind::NoSpace)]
#[case("SR_BACKEND_FAILURE_46", Kind::Busy)]
#[case("SR_BACKEND_FAILURE_47", Kind::Transient)]
#[case("SR_BACKEND_FAILURE_109", Kind::Unsupported)]
#[case("SR_BACKEND_FAILURE_144", Kind::NotFound)]
#[case("SR_BACKEND_FAILURE_180", Kind::NoSpace)]
#[case("SR_BACKEND_FAILURE_201", Kind::Transient)]
#[case("SR_BACKEND_FAILURE_1200", Kind::Broken)]
fn a_code_has_its_kind(#[case] code: &str, #[case] kind: Kind) {
    assert_eq!(failure(code, &[]).kind(), kind);
}

#[rstest]
#[case("A_CODE_OF_NEXT_YEAR")]
#[case("SR_BACKEND_FAILURE_99999")]
#[case("SR_BACKEND_FAILURE_")]
#[case("handle_invalid")]
#[case("")]
fn an_unknown_code_is_broken_and_still_gets_advice(#[case] code: &str) {
    let failure = failure(code, &[]);
    assert_eq!(failure.kind(), Kind::Broken);
    assert!(failure.advice().contains("look at /var/log"), "{}", failure.advice());
}

#[test]
fn only_calls_that_had_no_effect_are_called_transient_or_busy() {
    // What may have happened, or partly happened, must never be repeated blindly.
    for code in ["CANNOT_CONTACT_HOST", "OPERATION_PARTIALLY_FAILED", "VM_REVERT_FAILED", "TASK_CANCELLED", "INTERNAL_ERROR"] {
        assert!(!matches!(failure(code, &[]).kind(), Kind::Transient | Kind::Busy), "{code}");
    }
}

#[test]
fn a_failure_reads_as_one_line_however_long_its_parameters() {
    let plain = failure("HANDLE_INVALID", &["VM", "OpaqueRef:nope"]);
    assert_eq!(plain.to_string(), "HANDLE_INVALID [VM; OpaqueRef:nope]");
    assert_eq!(failure("MESSAGE_REMOVED", &[]).to_string(), "MESSAGE_REMOVED");
    let backtrace = "Traceback\n\u{1b}[2J".repeat(1000);
    let shown = failure("SR_BACKEND_FAILURE_1200", &["", &backtrace]).to_string();
    assert!(shown.chars().all(|c| !c.is_control()) && shown.chars().count() < 400, "{shown}");
    assert!(shown.ends_with("…]"));
}

#[test]
fn a_missing_role_is_named() {
    let advice = |permission: &str| failure("RBAC_PERMISSION_DENIED", &[permission, "text"]).advice();
    assert!(advice("vm.snapshot").contains("vm-power-admin"), "{}", advice("vm.snapshot"));
    assert!(advice("vm.destroy").contains("at least vm-admin"), "{}", advice("vm.destroy"));
    assert!(advice("vm.frobnicate").contains("a higher role"));
}

#[rstest]
#[case("VM.snapshot", Some(Role::VmPowerAdmin))]
#[case("Async.VM.checkpoint", Some(Role::VmPowerAdmin))]
#[case("vm.destroy", Some(Role::VmAdmin))]
#[case("VDI.destroy", Some(Role::VmAdmin))]
#[case("vm.add_to_other_config/key:xensnap", Some(Role::VmAdmin))]
#[case("vm.add_to_other_config/key:folder", Some(Role::VmOperator))]
#[case("pool.sync_database", Some(Role::PoolOperator))]
#[case("vm.frobnicate", None)]
fn the_least_role_of_a_call_is_known(#[case] method: &str, #[case] role: Option<Role>) {
    assert_eq!(minimum_role(method), role);
}

#[test]
fn roles_are_ordered_from_the_least_to_the_most() {
    let roles = [Role::ReadOnly, Role::VmOperator, Role::VmAdmin, Role::VmPowerAdmin, Role::PoolOperator, Role::PoolAdmin];
    assert!(roles.is_sorted());
    assert_eq!(
        roles.map(|role| role.to_string()).join(" < "),
        "read-only < vm-operator < vm-admin < vm-power-admin < pool-operator < pool-admin"
    );
}

#[test]
fn the_operation_in_the_way_is_read_from_both_shapes() {
    let old = failure("OTHER_OPERATION_IN_PROGRESS", &["VM.snapshot", "OpaqueRef:vm"]);
    let expected = Subject { class: "VM", reference: "OpaqueRef:vm", operation: Some("snapshot"), task: None };
    assert_eq!(old.object(), Some(expected));
    let new = failure("OTHER_OPERATION_IN_PROGRESS", &["VM", "OpaqueRef:vm", "snapshot", "OpaqueRef:task"]);
    assert_eq!(new.object(), Some(Subject { task: Some("OpaqueRef:task"), ..expected }));
    let several =
        failure("OTHER_OPERATION_IN_PROGRESS", &["VM", "OpaqueRef:vm", "{snapshot,snapshot}", "{OpaqueRef:a,OpaqueRef:b}"]);
    assert_eq!(several.object().unwrap().operation, Some("{snapshot,snapshot}"));
    assert_eq!(failure("OTHER_OPERATION_IN_PROGRESS", &["VM"]).object(), None);
}

#[test]
fn what_does_not_exist_is_told_apart_by_class() {
    let gone = failure("HANDLE_INVALID", &["VBD", "OpaqueRef:x"]);
    assert_eq!((gone.missing("VBD"), gone.missing("VM")), (Some("OpaqueRef:x"), None));
    assert_eq!(failure("UUID_INVALID", &["VM", "u"]).missing("VM"), None);
}

#[test]
fn the_master_and_the_end_of_a_session_are_recognised() {
    assert_eq!(failure("HOST_IS_SLAVE", &["fe80::1"]).master_address(), Some("fe80::1"));
    assert_eq!(failure("HOST_IS_SLAVE", &[""]).master_address(), None);
    assert_eq!(failure("HANDLE_INVALID", &["10.0.0.1"]).master_address(), None);
    assert!(failure("SESSION_INVALID", &["OpaqueRef:s"]).is_session_invalid());
    assert!(failure("HANDLE_INVALID", &["session", "OpaqueRef:s"]).is_session_invalid());
    assert!(!failure("HANDLE_INVALID", &["VM", "OpaqueRef:s"]).is_session_invalid());
    assert!(failure("HOST_STILL_BOOTING", &[]).is_emergency() && !failure("HOST_OFFLINE", &["h"]).is_emergency());
}

#[test]
fn what_only_a_plain_snapshot_can_help_is_recognised() {
    assert!(failure("VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND", &["vm"]).is_quiesce());
    assert!(failure("XEN_VSS_REQ_ERROR_PREPARING_WRITERS", &["vm", "1"]).is_quiesce());
    assert!(!failure("SR_BACKEND_FAILURE_44", &[]).is_quiesce());
    assert!(failure("SR_BACKEND_FAILURE_109", &["", "too long", ""]).is_chain_too_long());
}

fn shared(file: &str) -> Option<String> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("XENSNAP_SHARED").map_or_else(beside, PathBuf::from).join("xenapi").join(file);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: no {}", path.display());
    }
    text
}

#[test]
fn every_error_of_the_data_model_is_in_the_table() {
    let Some(model) = shared("xenapi.json") else { return };
    let classes: Vec<serde_json::Value> = serde_json::from_str(&model).unwrap();
    let messages = classes.iter().flat_map(|class| class["messages"].as_array().unwrap());
    let errors = messages.flat_map(|message| message["errors"].as_array().unwrap());
    let codes: BTreeSet<&str> = errors.map(|error| error["name"].as_str().unwrap()).collect();
    assert!(codes.len() > 90, "{}", codes.len());
    let missing: Vec<_> = codes.iter().filter(|code| codes::row_of(code).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_roles_are_those_of_the_data_model() {
    let Some(model) = shared("xenapi.json") else { return };
    let classes: Vec<serde_json::Value> = serde_json::from_str(&model).unwrap();
    let mut compared = 0;
    for class in &classes {
        for message in class["messages"].as_array().unwrap() {
            let method = format!("{}.{}", class["name"].as_str().unwrap(), message["name"].as_str().unwrap());
            let roles: Option<Vec<&str>> =
                message["roles"].as_array().map(|roles| roles.iter().filter_map(|role| role.as_str()).collect());
            if let (Some(role), Some(roles)) = (minimum_role(&method), roles.filter(|roles| !roles.is_empty())) {
                assert!(roles.contains(&role.to_string().as_str()), "{method}: {role} is not in {roles:?}");
                let lesser = roles.iter().filter(|name| ALL.iter().any(|other| *other < role && other.to_string() == **name));
                assert_eq!(lesser.collect::<Vec<_>>(), Vec::<&&str>::new(), "{method}: {role} is not the least of {roles:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "only {compared} methods were compared");
}

const ALL: [Role; 6] = [Role::ReadOnly, Role::VmOperator, Role::VmAdmin, Role::VmPowerAdmin, Role::PoolOperator, Role::PoolAdmin];
