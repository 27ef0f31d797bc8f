//! What is kept of recorded records, how older records read, and events in orders that no recording has.

use std::path::{Path, PathBuf};

use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::xenapi::types::{Date, Ref};
use crate::xenapi::wire::{self, Answer, Limits, Wire};

/// The value of a successful answer among the recordings that go with the package.
fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded").join(format!("{name}.json.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().rfind(|line| line.starts_with(r#"{"jsonrpc":"2.0","result""#)).unwrap();
    serde_json::from_str::<Value>(line).unwrap()["result"].take()
}

fn first(name: &str) -> Value {
    recorded(name).as_object().unwrap().values().next().unwrap().clone()
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value.clone())
}

#[test]
fn a_recorded_snapshot_keeps_what_decides_about_it() {
    let vm: Vm = read(&recorded("snapshot/20_record_of_running_snapshot")).unwrap();
    assert!(vm.is_a_snapshot && vm.is_a_template && !vm.is_plain() && !vm.is_plain_template());
    assert_eq!(vm.power_state, PowerState::Halted);
    assert_eq!(vm.power_state_at_snapshot(), Some(PowerState::Running));
    assert_eq!(vm.snapshot_of, Ref::new("OpaqueRef:b9aeaa76-0f30-3b9c-d77b-66ebf21a5ef6"));
    assert_eq!(vm.uuid.to_string(), "490a7975-a027-f3d1-0d13-c9fbdb92eace");
    assert_eq!(vm.snapshot_time, "20261122T16:03:51Z".parse::<Date>().unwrap());
    assert!(vm.vbds.contains(&Ref::new("OpaqueRef:abf7c89d-4de3-edb7-c98d-0d8b17aeca7c")) && vm.vbds.len() == 2);
    assert!(vm.suspend_vdi.is_null() && vm.resident_on.is_null() && !vm.guest_metrics.is_null());
    assert!(vm.tags.contains("prod"));
    assert_eq!(vm.other_config.get("base_template_name"), Some("Other install media"));
    assert_eq!(vm.memory_static_max, 256 << 20);
    assert!(vm.allowed_operations.contains(&VmOperation::Revert) && !vm.allowed_operations.contains(&VmOperation::Start));
    assert!(vm.current_operations.is_empty());
}

#[test]
fn a_recorded_snapshot_with_memory_is_suspended_and_names_its_image() {
    let vm: Vm = read(&recorded("checkpoint/1_record")).unwrap();
    assert_eq!(vm.power_state, PowerState::Suspended);
    assert!(!vm.suspend_vdi.is_null());
}

#[test]
fn a_recorded_disk_of_a_snapshot_names_its_parent_in_the_chain() {
    let vdi: Vdi = read(&recorded("snapshot/22_vdi_of_running_snapshot_vbd0_Disk")).unwrap();
    assert!(vdi.is_a_snapshot && vdi.managed && !vdi.snapshot_of.is_null() && vdi.vbds.len() == 1);
    assert_eq!(vdi.sm_config.vhd_parent.unwrap().to_string(), "db479ed9-6d47-4c25-a3c2-efea951d627f");
    assert_eq!(vdi.on_boot, Some(OnBoot::Persist));
    let vbd: Vbd = read(&recorded("snapshot/21_vbd_of_running_snapshot_0")).unwrap();
    assert!(vbd.has_disk() && vbd.other_config.contains_key("owner") && !vbd.currently_attached);
}

#[test]
fn recorded_hosts_pools_and_drivers_answer_what_is_asked_of_them() {
    let host: Host = read(&first("reads/host.get_all_records")).unwrap();
    assert_eq!(host.api_version(), (2, 23));
    assert!(host.agent_start_time().is_some_and(|time| time.ends_with('.')), "{:?}", host.agent_start_time());
    assert!(host.enabled && host.address.is_empty(), "{:?}", host.address);
    assert_eq!(&*host.hostname, "xcp-lab1");
    let pool: Pool = read(&first("reads/pool.get_all_records")).unwrap();
    assert!(!pool.master.is_null() && !pool.is_being_upgraded() && !pool.ha_enabled);
    let drivers = recorded("reads/SM.get_all_records");
    let can = |sm: &Value| read::<Sm>(sm).unwrap().can("VDI_SNAPSHOT");
    assert!(drivers.as_object().unwrap().values().any(can));
}

#[test]
fn a_recorded_task_that_failed_tells_why() {
    let task: Task = read(&recorded("async/fail_sr_backend.2_poll")).unwrap();
    assert!(task.has_ended());
    assert_eq!(task.failure().unwrap().storage_error(), Some(44));
    let task: Task = read(&recorded("async/cancel.3_record_final")).unwrap();
    assert_eq!((task.status.clone(), task.failure().unwrap().code.as_str()), (TaskStatus::Cancelled, "TASK_CANCELLED"));
    let task: Task = read(&recorded("async/tagged_by_header_task")).unwrap();
    assert!(task.other_config.iter().any(|(key, _)| key.starts_with("http:")), "{:?}", task.other_config);
}

#[test]
fn what_snapshots_do_not_depend_on_is_not_kept() {
    let metrics: VmGuestMetrics = read(&first("reads/VM_guest_metrics.get_all_records")).unwrap();
    assert_eq!(metrics.os_name.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!(metrics.pv_drivers_version.as_deref(), Some("8.4.0"));
    assert_eq!(metrics.features.texts().collect::<Vec<_>>(), ["feature-suspend", "feature-poweroff", "feature-reboot"]);

    let mut vdi = recorded("snapshot/22_vdi_of_running_snapshot_vbd0_Disk");
    vdi["other_config"] = json!({"content_id": "x", "kept": "y"});
    vdi["sm_config"] = json!({"vhd-blocks": "x".repeat(10_000), "vdi_type": "aio", "paused": "true"});
    let vdi: Vdi = read(&vdi).unwrap();
    assert_eq!(vdi.other_config, [("kept", "y")].into_iter().collect());
    assert!(vdi.sm_config.is_raw() && vdi.sm_config.in_use && vdi.sm_config.vhd_parent.is_none());
}

#[rstest]
#[case("is_a_snapshot")]
#[case("is_control_domain")]
#[case("is_a_template")]
#[case("snapshot_of")]
#[case("VBDs")]
#[case("uuid")]
fn a_vm_that_hides_what_decides_about_it_is_refused(#[case] field: &str) {
    let mut vm = recorded("snapshot/20_record_of_running_snapshot");
    vm.as_object_mut().unwrap().remove(field).unwrap();
    let error = read::<Vm>(&vm).unwrap_err();
    assert!(error.to_string().contains(field), "{error}");
}

#[rstest]
#[case("managed")]
#[case("is_a_snapshot")]
#[case("snapshot_of")]
#[case("VBDs")]
#[case("SR")]
fn a_disk_that_hides_what_decides_about_it_is_refused(#[case] field: &str) {
    let mut vdi = recorded("snapshot/22_vdi_of_running_snapshot_vbd0_Disk");
    vdi.as_object_mut().unwrap().remove(field).unwrap();
    assert!(read::<Vdi>(&vdi).is_err());
}

#[test]
fn a_vm_takes_less_than_a_kilobyte_and_what_is_rare_next_to_nothing() {
    assert!(size_of::<Vm>() <= 400, "{}", size_of::<Vm>());
    assert!(size_of::<Vdi>() <= 288, "{}", size_of::<Vdi>());
    assert!(size_of::<Vbd>() <= 168, "{}", size_of::<Vbd>());
    assert!(size_of::<VmGuestMetrics>() <= 88, "{}", size_of::<VmGuestMetrics>());
}

/// The releases up to one, oldest first, as the data model names them; and for each class the fields that were there by then.
fn fields_by(release: &str, class: &Value, releases: &[String]) -> Vec<String> {
    let last = releases.iter().position(|name| name == release).unwrap();
    let there = |field: &&Value| {
        let transitions = field["lifecycle"]["transitions"].as_array().unwrap();
        let came = transitions
            .iter()
            .find(|transition| transition["transition"] == "published" || transition["transition"] == "prototyped");
        came.is_some_and(|came| releases.iter().position(|name| came["release"] == **name).is_some_and(|index| index <= last))
    };
    class["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(there)
        .map(|field| field["name"].as_str().unwrap().replace("__", "_"))
        .collect()
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
fn records_of_every_release_since_5_0_decode() {
    let (Some(model), Some(releases)) = (shared("xenapi.json"), shared("release_info.json")) else { return };
    let classes: Vec<Value> = serde_json::from_str(&model).unwrap();
    let releases = in_order(&releases);
    let check = |name: &str, record: &Value, read: fn(&Value) -> Result<(), serde_json::Error>| {
        let class = classes.iter().find(|class| class["name"] == name).unwrap();
        let first = releases.iter().position(|release| release == "orlando").unwrap();
        for release in &releases[first..] {
            let there = fields_by(release, class, &releases);
            let mut older = record.clone();
            older.as_object_mut().unwrap().retain(|field, _| there.contains(field));
            assert!(older.as_object().unwrap().len() >= 3, "{name} in {release}: {older}");
            read(&older).unwrap_or_else(|error| panic!("{name} in {release}: {error}"));
        }
    };
    check("VM", &recorded("snapshot/20_record_of_running_snapshot"), |record| read::<Vm>(record).map(drop));
    check("VBD", &recorded("snapshot/21_vbd_of_running_snapshot_0"), |record| read::<Vbd>(record).map(drop));
    check("VDI", &recorded("snapshot/22_vdi_of_running_snapshot_vbd0_Disk"), |record| read::<Vdi>(record).map(drop));
    check("SR", &recorded("reads/SR.get_record"), |record| read::<Sr>(record).map(drop));
    check("PBD", &first("reads/PBD.get_all_records"), |record| read::<Pbd>(record).map(drop));
    check("SM", &first("reads/SM.get_all_records"), |record| read::<Sm>(record).map(drop));
    check("host", &first("reads/host.get_all_records"), |record| read::<Host>(record).map(drop));
    check("host_metrics", &first("reads/host_metrics.get_all_records"), |record| read::<HostMetrics>(record).map(drop));
    check("pool", &first("reads/pool.get_all_records"), |record| read::<Pool>(record).map(drop));
    check("task", &recorded("async/cancel.3_record_final"), |record| read::<Task>(record).map(drop));
    check("session", &recorded("login/session_get_record"), |record| read::<Session>(record).map(drop));
    check("VM_guest_metrics", &first("reads/VM_guest_metrics.get_all_records"), |record| {
        read::<VmGuestMetrics>(record).map(drop)
    });
}

/// The names of the releases in the file's order, which is theirs.
fn in_order(releases: &str) -> Vec<String> {
    struct Names;
    impl<'de> serde::de::Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map by release")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some((name, serde::de::IgnoredAny)) = members.next_entry()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_str(releases), Names).unwrap()
}

fn batch(events: &Value) -> (Result<Answer<EventBatch>, wire::DecodeError>, Vec<Event>) {
    // Members in the order given: the text is built by hand where the order matters.
    events_of(&format!(r#"{{"events":{events},"token":"1,2"}}"#))
}

fn events_of(result: &str) -> (Result<Answer<EventBatch>, wire::DecodeError>, Vec<Event>) {
    let mut events = Vec::new();
    let answer = format!(r#"{{"jsonrpc":"2.0","result":{result},"id":1}}"#);
    let seed = EventBatchSeed::new(|event| events.push(event));
    let batch = wire::decode_seed(Wire::Json, answer.as_bytes(), Limits::default(), seed);
    (batch, events)
}

const PBD: &str =
    r#"{"uuid":"490a7975-a027-f3d1-0d13-c9fbdb92eace","host":"OpaqueRef:h","SR":"OpaqueRef:s","currently_attached":true}"#;

#[test]
fn an_event_reads_the_same_whatever_the_order_of_its_members() {
    let orders = [
        format!(r#"{{"class":"pbd","operation":"mod","ref":"OpaqueRef:p","snapshot":{PBD}}}"#),
        format!(r#"{{"snapshot":{PBD},"ref":"OpaqueRef:p","id":"1","operation":"mod","timestamp":"0.0","class":"pbd"}}"#),
        format!(r#"{{"operation":"mod","ref":"OpaqueRef:p","snapshot":{PBD},"class":"PBD"}}"#),
    ];
    let (batch, events) = events_of(&format!(r#"{{"token":"1,2","events":[{}]}}"#, orders.join(",")));
    assert!(matches!(batch, Ok(Answer::Value(EventBatch { events: 3, .. }))), "{batch:?}");
    let Some(Record::Pbd(pbd)) = &events[0].record else { panic!("{:?}", events[0]) };
    assert_eq!((&pbd.sr, pbd.currently_attached), (&Ref::new("OpaqueRef:s"), true));
    assert!(events.iter().all(|event| *event == events[0]), "{events:#?}");
}

#[test]
fn a_deletion_has_no_record_in_whatever_way_it_says_so() {
    let (batch, events) = batch(&json!([
        {"class": "vm", "operation": "del", "ref": "OpaqueRef:a"},
        {"class": "vm", "operation": "del", "ref": "OpaqueRef:a", "snapshot": null},
        {"class": "vm", "operation": "del", "ref": "OpaqueRef:a", "snapshot": ""},
    ]));
    assert!(batch.is_ok(), "{batch:?}");
    let expected =
        Event { class: EventClass::Vm, operation: EventOperation::Del, reference: Ref::new("OpaqueRef:a"), record: None };
    assert_eq!(events, [expected.clone(), expected.clone(), expected]);
}

#[test]
fn events_of_other_classes_are_passed_on_without_their_records() {
    let (batch, events) =
        batch(&json!([{"class": "network", "operation": "add", "ref": "OpaqueRef:n", "snapshot": {"MTU": 1500}}]));
    assert!(batch.is_ok(), "{batch:?}");
    assert_eq!((&events[0].class, &events[0].record), (&EventClass::Other("network".into()), &None));
}

#[rstest]
#[case::no_token(r#"{"events":[]}"#)]
#[case::no_class(r#"{"events":[{"operation":"del","ref":"x"}],"token":""}"#)]
#[case::no_operation(r#"{"events":[{"class":"vm","ref":"x"}],"token":""}"#)]
#[case::no_reference(r#"{"events":[{"class":"vm","operation":"del"}],"token":""}"#)]
#[case::half_a_record(r#"{"events":[{"class":"vm","operation":"add","ref":"x","snapshot":{"uuid":"u"}}],"token":""}"#)]
#[case::half_a_record_first(r#"{"events":[{"snapshot":{"uuid":"u"},"class":"vm","operation":"add","ref":"x"}],"token":""}"#)]
#[case::no_record_but_a_set(r#"{"events":[{"class":"vm","operation":"add","ref":"x","snapshot":[]}],"token":""}"#)]
fn an_answer_that_lacks_what_events_need_is_malformed(#[case] result: &str) {
    let (batch, _) = events_of(result);
    assert!(matches!(batch, Err(wire::DecodeError::Malformed(_))), "{batch:?}");
}

#[test]
fn counts_are_read_by_class() {
    let (batch, _) = events_of(r#"{"events":[],"valid_ref_counts":{"vm":35000,"network":"2"},"token":"1,2"}"#);
    let Ok(Answer::Value(batch)) = batch else { panic!("{batch:?}") };
    assert_eq!(batch.count(&EventClass::Vm), Some(35_000));
    assert_eq!(batch.count(&EventClass::from("network")), Some(2));
    assert_eq!(batch.count(&EventClass::Vdi), None);
    assert_eq!(batch.token, "1,2");
}

#[test]
fn a_bare_list_of_events_is_handed_on_too() {
    let mut events = Vec::new();
    let answer = format!(r#"{{"result":[{{"id":"1","class":"PBD","operation":"add","ref":"OpaqueRef:p","snapshot":{PBD}}}]}}"#);
    let seed = EventListSeed::new(|event: Event| events.push(event));
    let count = wire::decode_seed(Wire::Json, answer.as_bytes(), Limits::default(), seed).unwrap();
    assert_eq!((count, &events[0].class), (Answer::Value(1), &EventClass::Pbd));
}

#[test]
fn a_role_is_asked_by_method() {
    let mut session: Session = read(&recorded("login/session_get_record")).unwrap();
    assert!(session.allows("VM.snapshot"));
    session.is_local_superuser = Some(false);
    session.rbac_permissions = Some(["vm.destroy", "vm.get_all"].into_iter().collect());
    assert!(session.allows("VM.destroy") && !session.allows("VM.snapshot"));
}

#[test]
fn an_sr_tells_what_is_left_only_where_it_knows() {
    let mut sr: Sr = read(&recorded("reads/SR.get_record")).unwrap();
    (sr.physical_size, sr.physical_utilisation) = (100, 30);
    assert_eq!(sr.free(), Some(70));
    (sr.physical_size, sr.physical_utilisation) = (100, 130);
    assert_eq!(sr.free(), Some(0));
    sr.physical_size = -1;
    assert_eq!(sr.free(), None);
    assert!(!sr.garbage_collection_is_off());
    sr.other_config = [("gc", "false")].into_iter().collect();
    assert!(sr.garbage_collection_is_off());
}

#[test]
fn the_names_of_classes_are_those_of_the_data_model() {
    assert_eq!([Vm::NAME, Vdi::NAME, VmAppliance::NAME, Task::NAME, Pool::NAME], ["VM", "VDI", "VM_appliance", "task", "pool"]);
}
