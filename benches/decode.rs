//! Decoding the initial burst of event.from for 10,000 VM records, on both wires: MB/s, bytes kept per VM, and both beside a baseline
//! that is measured in the same run (a whole document in memory: `serde_json::Value`, and a tree of elements over quick-xml).
//!
//! Run with `cargo bench --bench decode`.
#![allow(unsafe_code, reason = "a counting allocator is an unsafe trait; it only counts and passes on")]
#![allow(missing_docs, reason = "what criterion's macros declare")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quick_xml::events::Event as Markup;
use serde_json::{Map, Value};
use xensnap::xenapi::records::{Event, EventBatchSeed, Record, Vm};
use xensnap::xenapi::types::{Any, Ref};
use xensnap::xenapi::wire::{self, Answer, Limits, Wire};

/// How many VM records the burst has: one VM in six, the rest snapshots.
const RECORDS: usize = 10_000;

/// A snapshot as a real server (xapi 26.17) answered it: the shape of all that are made up here.
const RECORDED: &str = include_str!("../tests/fixtures/recorded/snapshot/20_record_of_running_snapshot.json.txt");

struct Counting;

static COUNT: AtomicBool = AtomicBool::new(false);
static KEPT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNT.load(Ordering::Relaxed) {
            KEPT.fetch_add(block(layout.size()), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNT.load(Ordering::Relaxed) {
            KEPT.fetch_sub(block(layout.size()), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What the system's allocator spends on a block: a header of 8 bytes, multiples of 16, at least 32.
fn block(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A uuid that is the same in each run.
fn uuid(kind: u32, number: usize) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::nil(), format!("{kind}/{number}").as_bytes()).to_string()
}

fn reference(kind: u32, number: usize) -> Value {
    Value::from(format!("OpaqueRef:{}", uuid(kind, number)))
}

fn recorded() -> Map<String, Value> {
    let line = RECORDED.lines().rfind(|line| line.starts_with("{\"jsonrpc\":\"2.0\",\"result\"")).expect("an answer");
    match serde_json::from_str::<Value>(line).expect("JSON")["result"].take() {
        Value::Object(record) => record,
        other => panic!("no record: {other}"),
    }
}

/// The recorded snapshot with everything that is an object's own made anew.
fn vm(template: &Map<String, Value>, number: usize) -> Value {
    let mut record = template.clone();
    let owner = number / 6 * 6;
    let is_snapshot = number != owner;
    let mut set = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
    set("uuid", Value::from(uuid(1, number)));
    set("name_label", Value::from(format!("vm-{owner:05} 2026-11-{:02} 02:00 nightly", number % 28 + 1)));
    set("snapshot_of", if is_snapshot { reference(0, owner) } else { Value::from("OpaqueRef:NULL") });
    set("parent", if is_snapshot && number > owner + 1 { reference(0, number - 1) } else { Value::from("OpaqueRef:NULL") });
    set("VBDs", Value::from_iter([reference(2, number), reference(3, number)]));
    set("VIFs", Value::from_iter([reference(4, number)]));
    set("metrics", reference(5, number));
    set("guest_metrics", reference(6, number));
    set("other_config", other_config(number, owner));
    if !is_snapshot {
        set("is_a_template", Value::from(false));
        set("is_a_snapshot", Value::from(false));
        set("power_state", Value::from("Running"));
        set("resident_on", reference(7, number % 16));
        set("snapshots", (number + 1..number + 6).map(|snapshot| reference(0, snapshot)).collect());
        set("snapshot_metadata", Value::from(""));
        set("snapshot_info", Value::Object(Map::new()));
        set("children", Value::Array(Vec::new()));
    } else {
        set("children", Value::from_iter([reference(0, owner)]));
    }
    Value::Object(record)
}

fn other_config(number: usize, owner: usize) -> Value {
    serde_json::json!({
        "mac_seed": uuid(8, owner),
        "base_template_name": "Debian Bookworm 12",
        "folder": "/prod/web",
        "xensnap": format!("1 {} {} {}", uuid(9, 0), uuid(1, number), uuid(1, owner)),
    })
}

fn burst() -> Value {
    let template = recorded();
    let event = |number: usize| {
        serde_json::json!({
            "id": (20_000 + number).to_string(), "timestamp": "0.0", "class": "vm", "operation": "add",
            "ref": reference(0, number), "snapshot": vm(&template, number),
        })
    };
    serde_json::json!({ "events": (0..RECORDS).map(event).collect::<Vec<_>>(), "valid_ref_counts": {"vm": RECORDS}, "token": "1,2" })
}

fn as_json(burst: &Value) -> String {
    // The server writes `class` before `snapshot`; sorted keys happen to do so too.
    format!("{{\"jsonrpc\":\"2.0\",\"result\":{burst},\"id\":1}}")
}

fn as_xml(burst: &Value) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member>\
         <member><name>Value</name>",
    );
    write_xml(&mut out, "", burst);
    out.push_str("</member></struct></value></param></params></methodResponse>");
    out
}

/// As the server writes: strings and integers untagged, counts as `<i4>`.
fn write_xml(out: &mut String, name: &str, value: &Value) {
    out.push_str("<value>");
    match value {
        Value::Null => {}
        Value::Bool(value) => drop(write!(out, "<boolean>{}</boolean>", u8::from(*value))),
        Value::Number(number) if number.is_f64() => drop(write!(out, "<double>{number}</double>")),
        Value::Number(number) => drop(write!(out, "{number}")),
        Value::String(text) if name == "snapshot_time" => drop(write!(out, "<dateTime.iso8601>{text}</dateTime.iso8601>")),
        Value::String(text) => {
            out.push_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"));
        }
        Value::Array(items) => {
            out.push_str("<array><data>");
            items.iter().for_each(|item| write_xml(out, "", item));
            out.push_str("</data></array>");
        }
        Value::Object(members) => {
            out.push_str("<struct>");
            for (key, value) in members {
                let _ = write!(out, "<member><name>{key}</name>");
                write_xml(out, key, value);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
    }
    out.push_str("</value>");
}

type Kept = Vec<(Ref<Any>, Box<Vm>)>;

fn decode(wire: Wire, answer: &str) -> Kept {
    let mut kept: Kept = Vec::with_capacity(RECORDS);
    let seed = EventBatchSeed::new(|event: Event| {
        if let Some(Record::Vm(vm)) = event.record {
            kept.push((event.reference, vm));
        }
    });
    let stream = BufReader::new(answer.as_bytes());
    let answer = wire::decode_seed(wire, stream, Limits::default(), seed).expect("an answer");
    assert!(matches!(answer, Answer::Value(batch) if batch.events == RECORDS as u64));
    kept
}

/// The baseline for JSON: the whole document, from the same stream, without limits.
fn json_document(answer: &str) -> Value {
    serde_json::from_reader(BufReader::new(answer.as_bytes())).expect("JSON")
}

/// The baseline for XML: an element with its text and its children.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

fn xml_document(answer: &str) -> Element {
    let mut reader = quick_xml::Reader::from_reader(BufReader::new(answer.as_bytes()));
    let mut open = vec![Element::default()];
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).expect("XML") {
            Markup::Start(start) => open.push(Element { name: start.name().0.to_owned(), ..Element::default() }),
            Markup::Text(text) => open.last_mut().expect("an element").text.push_str(&text.into_inner()),
            Markup::GeneralRef(name) => {
                open.last_mut().expect("an element").text.push_str(if &*name == "quot" { "\"" } else { "?" });
            }
            Markup::End(_) => {
                let closed = open.pop().expect("an element");
                open.last_mut().expect("an element").children.push(closed);
            }
            Markup::Eof => return open.pop().expect("the root"),
            _ => {}
        }
    }
}

/// Runs once and tells the bytes that stay allocated per record, and the time.
fn measure<T>(run: impl FnOnce() -> T) -> (usize, Duration) {
    let start = Instant::now();
    KEPT.store(0, Ordering::Relaxed);
    COUNT.store(true, Ordering::Relaxed);
    let value = run();
    COUNT.store(false, Ordering::Relaxed);
    let kept = KEPT.load(Ordering::Relaxed) / RECORDS;
    let time = start.elapsed();
    drop(black_box(value));
    (kept, time)
}

fn report(name: &str, bytes: usize, ours: (usize, Duration), baseline: (usize, Duration)) {
    let speed = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{name}: {} bytes per record on the wire; kept per VM {} bytes, document {} bytes ({:.1} %); {:.0} MB/s, document {:.0} MB/s ({:.2} times)",
        bytes / RECORDS,
        ours.0,
        baseline.0,
        100.0 * ours.0 as f64 / baseline.0 as f64,
        speed(ours.1),
        speed(baseline.1),
        baseline.1.as_secs_f64() / ours.1.as_secs_f64(),
    );
}

fn decoding(criterion: &mut Criterion) {
    let burst = burst();
    let (json, xml) = (as_json(&burst), as_xml(&burst));
    drop(burst);
    let ours = measure(|| decode(Wire::Json, &json));
    report("JSON", json.len(), ours, measure(|| json_document(&json)));
    let ours = measure(|| decode(Wire::Xml, &xml));
    report("XML", xml.len(), ours, measure(|| xml_document(&xml)));

    let mut group = criterion.benchmark_group("event.from with 10,000 VM records");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("JSON records", |b| b.iter_with_large_drop(|| decode(Wire::Json, black_box(&json))));
    group.bench_function("JSON document", |b| b.iter_with_large_drop(|| json_document(black_box(&json))));
    group.throughput(Throughput::Bytes(xml.len() as u64));
    group.bench_function("XML records", |b| b.iter_with_large_drop(|| decode(Wire::Xml, black_box(&xml))));
    group.bench_function("XML document", |b| b.iter_with_large_drop(|| xml_document(black_box(&xml)).name.len()));
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
