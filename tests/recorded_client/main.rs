//! Every answer that was recorded from a real server (xapi 26.17) decodes into the type that the method returns, or into a failure, and
//! the two wires tell the same. A selection of the recordings goes with the package; the whole set is used where it is at hand.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod transcript;
mod typed;

use std::collections::BTreeMap;
use std::path::PathBuf;

use transcript::Exchange;
use typed::Outcome;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::records::EventBatchSeed;
use xensnap::xenapi::wire::{self, DecodeError, Limits, Wire};

fn roots() -> Vec<PathBuf> {
    std::iter::once(transcript::fixtures()).chain(transcript::all()).collect()
}

fn exchanges() -> impl Iterator<Item = Exchange> {
    roots().into_iter().flat_map(|root| transcript::exchanges(&root))
}

/// An answer that was recorded whole.
struct Whole {
    name: String,
    method: String,
    wire: Wire,
    body: Vec<u8>,
}

impl Whole {
    fn decode(&self) -> Result<Outcome, DecodeError> {
        typed::decode(&self.method, self.wire, &self.body)
    }
}

fn answers() -> Vec<Whole> {
    let whole = |exchange: Exchange| {
        let Exchange { name, method, wire, body, .. } = exchange;
        Some(Whole { name, method, wire: wire?, body: body? })
    };
    exchanges().filter_map(whole).collect()
}

#[test]
fn every_recorded_answer_decodes_into_its_type_or_a_failure() {
    let answers = answers();
    assert!(answers.len() >= 40, "only {} recordings were found", answers.len());
    for answer in &answers {
        match answer.decode() {
            Ok(Outcome::Failure(failure)) => assert!(!failure.advice().is_empty(), "{}", answer.name),
            Ok(Outcome::Value(_)) => {}
            Err(error) => panic!("{} ({}): {error}", answer.name, answer.method),
        }
    }
}

#[test]
fn both_wires_tell_the_same() {
    let mut stems: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    // The clock runs between two calls of get_servertime.
    let reads = |answer: &Whole| answer.name.starts_with("reads/") && answer.method != "host.get_servertime";
    for answer in answers().into_iter().filter(reads) {
        let stem = answer.name.replace(".json.txt", "").replace(".xml.txt", "");
        let outcome = answer.decode().unwrap_or_else(|error| panic!("{}: {error}", answer.name));
        stems.entry(stem).or_default().push(outcome);
    }
    let compared = stems.iter().filter(|(_, outcomes)| outcomes.len() > 1);
    assert!(compared.clone().count() >= 8, "too few reads were recorded on both wires");
    for (stem, outcomes) in compared {
        for other in &outcomes[1..] {
            assert!(outcomes[0] == *other, "{stem}:\n{}", difference(&outcomes[0], other));
        }
    }
}

/// The first lines in which two outcomes differ.
fn difference(a: &Outcome, b: &Outcome) -> String {
    let (a, b) = (format!("{a:#?}").replace("\\n", "\n"), format!("{b:#?}").replace("\\n", "\n"));
    let differing = a.lines().zip(b.lines()).filter(|(a, b)| a != b).take(5);
    differing.map(|(a, b)| format!("{a}\n{b}\n")).collect()
}

#[test]
fn a_page_instead_of_an_answer_is_malformed_on_either_wire() {
    let page = b"<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred</body></html>";
    for wire in [Wire::Json, Wire::Xml] {
        let error = wire::decode::<String>(wire, &page[..], Limits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    }
}

#[test]
fn an_answer_on_the_other_wire_is_malformed() {
    for Whole { name, method, wire, body } in answers() {
        let other = if wire == Wire::Json { Wire::Xml } else { Wire::Json };
        let error = typed::decode(&method, other, &body).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{name}: {error}");
    }
}

#[test]
fn an_answer_that_was_cut_short_never_decodes() {
    for Whole { name, method, wire, body } in answers() {
        let error = typed::decode(&method, wire, &body[..body.trim_ascii_end().len() - 1]).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{name}: {error}");
    }
    for Exchange { name, method, wire, cut, .. } in exchanges() {
        if let (Some(wire), Some(cut)) = (wire, cut) {
            let error = typed::decode(&method, wire, &cut).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed(_)), "{name}: {error}");
        }
    }
}

#[test]
fn the_events_before_a_cut_are_handed_on() {
    let all = transcript::all().into_iter().flat_map(|root| transcript::exchanges(&root));
    for Exchange { name, method, wire, cut, .. } in all.filter(|exchange| exchange.method == "event.from") {
        if let (Some(wire), Some(cut)) = (wire, cut) {
            let mut events = Vec::new();
            let seed = EventBatchSeed::new(|event| events.push(event));
            wire::decode_seed(wire, &cut[..], Limits::default(), seed).unwrap_err();
            assert!(events.iter().filter(|event| event.record.is_some()).count() >= 5, "{name} ({method}): {}", events.len());
        }
    }
}

#[test]
fn recorded_failures_are_of_the_kinds_that_decide_rightly() {
    let expected: BTreeMap<&str, Kind> = BTreeMap::from([
        ("HANDLE_INVALID", Kind::NotFound),
        ("UUID_INVALID", Kind::NotFound),
        ("SESSION_INVALID", Kind::Transient),
        ("SESSION_AUTHENTICATION_FAILED", Kind::Denied),
        ("HOST_IS_SLAVE", Kind::Transient),
        ("SESSION_NOT_REGISTERED", Kind::Transient),
        ("EVENT_FROM_TOKEN_PARSE_FAILURE", Kind::Transient),
        ("OTHER_OPERATION_IN_PROGRESS", Kind::Busy),
        ("VDI_IN_USE", Kind::Busy),
        ("OPERATION_BLOCKED", Kind::Denied),
        ("SR_BACKEND_FAILURE_44", Kind::NoSpace),
        ("VM_BAD_POWER_STATE", Kind::Unsupported),
        ("VM_IS_SNAPSHOT", Kind::Unsupported),
        ("VM_IS_TEMPLATE", Kind::Unsupported),
        ("SR_OPERATION_NOT_SUPPORTED", Kind::Unsupported),
        ("VDI_NOT_MANAGED", Kind::Unsupported),
        ("MESSAGE_METHOD_UNKNOWN", Kind::Unsupported),
        ("MESSAGE_REMOVED", Kind::Unsupported),
        ("MESSAGE_PARAMETER_COUNT_MISMATCH", Kind::Unsupported),
        ("NOT_IMPLEMENTED", Kind::Unsupported),
        ("OPERATION_NOT_ALLOWED", Kind::Unsupported),
        ("INTERNAL_ERROR", Kind::Broken),
        ("INVALID_VALUE", Kind::Broken),
        ("MAP_DUPLICATE_KEY", Kind::Broken),
        ("XENAPI_MISSING_PLUGIN", Kind::Broken),
    ]);
    let mut seen = 0;
    for answer in answers() {
        if let Ok(Outcome::Failure(failure)) = answer.decode() {
            let kind = expected.get(failure.code.as_str()).unwrap_or_else(|| panic!("{} is new", failure.code));
            assert_eq!(failure.kind(), *kind, "{}", answer.name);
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} failures were recorded");
}
