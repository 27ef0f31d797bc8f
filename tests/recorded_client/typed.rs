//! Which type a method's answer decodes into.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::{DeserializeOwned, IgnoredAny};
use xensnap::xenapi::failure::Failure;
use xensnap::xenapi::records::{
    Event, EventBatchSeed, Host, HostMetrics, Message, Pbd, Pool, RecordsSeed, Session, Sm, Sr, Task, TaskStatus, Vbd, Vdi, Vm,
    VmGuestMetrics, VmOperation, Vmss, Vtpm,
};
use xensnap::xenapi::types::{Any, Date, EnumSet, Int64, Number, Ref, RefSet, StringMap, Void};
use xensnap::xenapi::wire::{self, Answer, DecodeError, Limits, Wire};

/// What an answer decoded to: its failure, or its value in the spelling of `Debug`, which shows every field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Failure(Failure),
    Value(String),
}

type Decoded = Result<Outcome, DecodeError>;

/// Decodes an answer into the type that the method returns.
///
/// # Panics
/// When the method is not known here: every recorded method must be.
pub(crate) fn decode(method: &str, wire: Wire, body: &[u8]) -> Decoded {
    let (class, name) = method.split_once('.').expect("a method has a class");
    match (class, name) {
        ("Async", _) => value::<Ref<Task>>(wire, body),
        ("event", "from") => events(wire, body),
        (_, "get_all_records" | "get_all_records_where" | "get_since") => records(class, wire, body),
        (_, "get_record") => record(class, wire, body),
        (_, "get_all" | "get_by_name_label") | ("VM", "get_snapshots") => value::<RefSet<Any>>(wire, body),
        (_, "get_by_uuid" | "create" | "get_this_user") => value::<Ref<Any>>(wire, body),
        (_, "get_other_config") => value::<StringMap>(wire, body),
        ("VM", "snapshot" | "checkpoint" | "clone" | "copy" | "snapshot_with_quiesce") => value::<Ref<Vm>>(wire, body),
        ("VDI", "snapshot" | "clone") => value::<Ref<Vdi>>(wire, body),
        ("session", "login_with_password" | "slave_local_login_with_password") => value::<Ref<Session>>(wire, body),
        ("VM", "get_allowed_operations") => value::<EnumSet<VmOperation>>(wire, body),
        ("VM", "get_is_a_template") => value::<bool>(wire, body),
        ("VM", "get_VCPUs_max") | ("event", "get_current_id") => value::<Int64>(wire, body),
        ("VM", "get_HVM_shadow_multiplier") => value::<Number>(wire, body),
        ("VM", "get_snapshot_time") | ("host", "get_servertime") => value::<Date>(wire, body),
        ("event", "inject") => value::<String>(wire, body),
        ("event", "next") => value::<Vec<Event>>(wire, body),
        ("system", "listMethods") | ("host", "list_methods") => value::<Vec<String>>(wire, body),
        ("task", "get_status") => value::<TaskStatus>(wire, body),
        ("task", "get_result") => task_result(wire, body),
        ("VMSS", "snapshot_now") => value::<String>(wire, body),
        // Recorded to see them refused.
        ("VM", "frobnicate" | "frob") | ("Nope", _) => value::<IgnoredAny>(wire, body),
        _ if is_void(name) => value::<Void>(wire, body),
        _ => panic!("{method} was recorded, and this test does not know what it returns"),
    }
}

fn is_void(name: &str) -> bool {
    const VOID: [&str; 15] = [
        "destroy",
        "revert",
        "start",
        "resume",
        "provision",
        "clean_shutdown",
        "hard_shutdown",
        "assert_operation_valid",
        "cancel",
        "logout",
        "register",
        "unregister",
        "resize",
        "data_destroy",
        "enable_cbt",
    ];
    VOID.contains(&name) || ["set_", "add_", "remove_"].iter().any(|prefix| name.starts_with(prefix))
}

fn outcome<T: Debug>(answer: Answer<T>) -> Outcome {
    match answer {
        Answer::Value(value) => Outcome::Value(format!("{value:#?}")),
        Answer::Failure(failure) => Outcome::Failure(failure),
    }
}

fn value<T: DeserializeOwned + Debug>(wire: Wire, body: &[u8]) -> Decoded {
    wire::decode::<T>(wire, body, Limits::default()).map(outcome)
}

fn task_result(wire: Wire, body: &[u8]) -> Decoded {
    match wire::decode::<String>(wire, body, Limits::default())? {
        Answer::Failure(failure) => Ok(Outcome::Failure(failure)),
        Answer::Value(text) => wire::task_result::<Ref<Any>>(&text).map(|reference| Outcome::Value(reference.to_string())),
    }
}

fn events(wire: Wire, body: &[u8]) -> Decoded {
    let mut events = Vec::new();
    let seed = EventBatchSeed::new(|event: Event| events.push(event));
    let answer = wire::decode_seed(wire, body, Limits::default(), seed)?;
    Ok(match answer {
        Answer::Failure(failure) => Outcome::Failure(failure),
        Answer::Value(mut batch) => {
            assert_eq!(batch.events, events.len() as u64);
            batch.valid_ref_counts.sort();
            Outcome::Value(format!("{batch:#?} {events:#?}"))
        }
    })
}

fn map<T: DeserializeOwned + Debug>(wire: Wire, body: &[u8]) -> Decoded {
    let mut records = BTreeMap::new();
    let seed = RecordsSeed::new(|reference: Ref<T>, record: Box<T>| drop(records.insert(reference, record)));
    let answer = wire::decode_seed(wire, body, Limits::default(), seed)?;
    Ok(match answer {
        Answer::Failure(failure) => Outcome::Failure(failure),
        Answer::Value(count) => {
            assert_eq!(count, records.len() as u64);
            Outcome::Value(format!("{records:#?}"))
        }
    })
}

macro_rules! by_class {
    ($function:ident, $class:expr, $wire:expr, $body:expr) => {
        match $class {
            "pool" => $function::<Pool>($wire, $body),
            "host" => $function::<Host>($wire, $body),
            "host_metrics" => $function::<HostMetrics>($wire, $body),
            "VM" => $function::<Vm>($wire, $body),
            "VM_guest_metrics" => $function::<VmGuestMetrics>($wire, $body),
            "VBD" => $function::<Vbd>($wire, $body),
            "VDI" => $function::<Vdi>($wire, $body),
            "SR" => $function::<Sr>($wire, $body),
            "PBD" => $function::<Pbd>($wire, $body),
            "SM" => $function::<Sm>($wire, $body),
            "VTPM" => $function::<Vtpm>($wire, $body),
            "VMSS" => $function::<Vmss>($wire, $body),
            "task" => $function::<Task>($wire, $body),
            "message" => $function::<Message>($wire, $body),
            "session" => $function::<Session>($wire, $body),
            // Classes whose records are not kept.
            "VIF" | "VM_metrics" | "network" | "pool_patch" | "subject" => value::<IgnoredAny>($wire, $body),
            class => panic!("records of {class} were recorded, and this test does not know them"),
        }
    };
}

fn record(class: &str, wire: Wire, body: &[u8]) -> Decoded {
    by_class!(value, class, wire, body)
}

fn records(class: &str, wire: Wire, body: &[u8]) -> Decoded {
    by_class!(map, class, wire, body)
}
