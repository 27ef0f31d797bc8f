//! What a hostile server can make the client spend. Endless, huge, deep and cut answers end in a clear error, within a stated bound of
//! memory (measured with a counting allocator) and without reading on.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]
#![allow(unsafe_code, reason = "a counting allocator is an unsafe trait; it only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufReader, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_json::Value;
use xensnap::xenapi::records::{EventBatchSeed, RecordsSeed, Vm};
use xensnap::xenapi::types::{Any, Ref, StringMap, Void};
use xensnap::xenapi::wire::{self, Answer, DecodeError, Limits, Wire};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn grow(bytes: usize) {
        let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it came; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Counted as if both blocks were held for a moment, as they may be.
        Self::grow(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The measured tests run one at a time: they share the counter.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Small limits, so that passing them is quick.
const LIMITS: Limits = Limits { bytes: 4 << 20, depth: 32, text: 256 << 10 };

/// What decoding costs beside the strings it holds: read buffers, the cache of shared texts, and the test's own.
const OVERHEAD: usize = 1 << 20;

/// A string is held at most four times over: its buffer doubles while the old one is still there, and once in the value made of it.
const STRINGS: usize = 4 * LIMITS.text;

/// An answer that begins and then goes on for ever.
struct Endless<'a> {
    head: &'a [u8],
    unit: &'a [u8],
    at: usize,
    read: &'a AtomicU64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        for slot in buf.iter_mut() {
            *slot = match self.head.get(self.at) {
                Some(byte) => *byte,
                None => self.unit[(self.at - self.head.len()) % self.unit.len()],
            };
            self.at += 1;
        }
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(buf.len())
    }
}

/// Decodes an endless answer: the error it ends in, the memory it took at most, and the bytes that were read.
fn endless<'de, S: DeserializeSeed<'de>>(wire: Wire, head: &str, unit: &str, seed: S) -> (DecodeError, usize, u64) {
    let read = AtomicU64::new(0);
    let stream = Endless { head: head.as_bytes(), unit: unit.as_bytes(), at: 0, read: &read };
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = wire::decode_seed(wire, BufReader::new(stream), LIMITS, seed);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    match result {
        Err(error) => (error, peak, read.into_inner()),
        Ok(_) => panic!("an endless answer decoded: {head}"),
    }
}

fn as_type<T>() -> std::marker::PhantomData<T> {
    std::marker::PhantomData
}

/// Asserts that an endless answer is too large, within a bound of memory, and that no more is read than its limit and some buffers.
#[track_caller]
fn too_large<'de, S: DeserializeSeed<'de>>(wire: Wire, head: &str, unit: &str, seed: S, bytes_read: u64, memory: usize) {
    let (error, peak, read) = endless(wire, head, unit, seed);
    assert!(matches!(error, DecodeError::TooLarge(_)), "{wire:?} {head}{unit}…: {error:?}");
    assert!(peak <= memory, "{wire:?} {head}{unit}…: {peak} bytes of memory, more than {memory}");
    assert!(read <= bytes_read + (128 << 10), "{wire:?} {head}{unit}…: {read} bytes were read, more than {bytes_read}");
}

const XML: &str = "<methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member>\
    <member><name>Value</name>";

#[test]
fn an_endless_text_costs_no_more_than_four_times_its_limit() {
    let _turn = turn();
    let text = LIMITS.text as u64;
    let memory = STRINGS + OVERHEAD;
    for (wire, head, unit) in [
        (Wire::Json, "{\"result\":\"".to_owned(), "a"),
        (Wire::Json, "{\"result\":\"".to_owned(), "\\u00fc"),
        (Wire::Json, "{\"result\":{\"".to_owned(), "a"),
        (Wire::Json, "{\"error\":[\"".to_owned(), "a"),
        (Wire::Json, "{\"".to_owned(), "a"),
        (Wire::Xml, format!("{XML}<value>"), "a"),
        (Wire::Xml, format!("{XML}<value><string>"), "a"),
        (Wire::Xml, format!("{XML}<value>"), " "),
        (Wire::Xml, format!("{XML}<value><![CDATA["), "a"),
        (Wire::Xml, format!("{XML}<value>&"), "a"),
        (Wire::Xml, format!("{XML}<value><!--"), "a"),
        (Wire::Xml, format!("{XML}<value><?"), "a"),
        (Wire::Xml, format!("{XML}<"), "a"),
        (Wire::Xml, format!("{XML}<value "), "a='b' "),
        (Wire::Xml, format!("{XML}<value><struct><member><name>"), "a"),
        (Wire::Xml, format!("{XML}<value><struct><member><name>"), "<"),
        (Wire::Xml, format!("{XML}<value><struct><member><name>"), "</name>"),
        (Wire::Xml, format!("{XML}<value><struct><member><name></name>"), " "),
        (Wire::Xml, String::new(), " "),
        (Wire::Xml, String::new(), "a"),
        (Wire::Xml, "<!DOCTYPE".to_owned(), " a"),
    ] {
        // Escapes of six bytes are one character of text.
        too_large(wire, &head, unit, as_type::<Value>(), 7 * text, memory);
        too_large(wire, &head, unit, as_type::<Void>(), 7 * text, memory);
    }
}

#[test]
fn a_text_in_endless_small_parts_costs_no_more_than_one() {
    let _turn = turn();
    for unit in ["&amp;", "a<!---->", "<![CDATA[a]]>", "a<?b?>"] {
        too_large(Wire::Xml, &format!("{XML}<value>"), unit, as_type::<Value>(), LIMITS.bytes, STRINGS + OVERHEAD);
    }
}

#[test]
fn endless_nesting_costs_next_to_nothing() {
    let _turn = turn();
    for (wire, head, unit) in [
        (Wire::Json, "{\"result\":".to_owned(), "["),
        (Wire::Json, "{\"result\":".to_owned(), "{\"a\":"),
        (Wire::Json, "{\"error\":".to_owned(), "["),
        (Wire::Json, String::new(), "["),
        (Wire::Xml, XML.to_owned(), "<value><array><data>"),
        (Wire::Xml, XML.to_owned(), "<value><struct><member><name>a</name>"),
    ] {
        let (error, peak, read) = endless(wire, &head, unit, as_type::<Value>());
        assert!(matches!(error, DecodeError::TooLarge(_) | DecodeError::Malformed(_)), "{error:?}");
        assert!(peak <= OVERHEAD && read <= 128 << 10, "{wire:?} {head}{unit}…: {peak} bytes of memory, {read} read");
        if !head.is_empty() {
            too_large(wire, &head, unit, as_type::<Void>(), 0, OVERHEAD);
        }
    }
}

#[test]
fn what_is_passed_over_costs_nothing_however_long() {
    let _turn = turn();
    for (wire, head, unit) in [
        (Wire::Json, "{\"unknown\":[".to_owned(), "{\"name\":\"value\",\"n\":[1,2,3]},"),
        (Wire::Json, "{\"result\":[".to_owned(), "\"\","),
        (Wire::Json, "{\"result\":{".to_owned(), "\"a\":\"b\","),
        (Wire::Xml, XML.replace("Value</name>", "unknown</name>") + "<value><array><data>", "<value>text</value>"),
        (Wire::Xml, format!("{XML}<value><struct>"), "<member><name>k<&></name><value><i4>1</i4></value></member>"),
        (Wire::Json, String::new(), " "),
    ] {
        too_large(wire, &head, unit, as_type::<Void>(), LIMITS.bytes, OVERHEAD);
    }
}

#[test]
fn endless_events_and_records_that_are_handed_on_cost_nothing() {
    let _turn = turn();
    let json = r#"{"class":"pbd","operation":"add","ref":"OpaqueRef:1","snapshot":{"uuid":"","host":"","SR":"","currently_attached":true}},"#;
    let mut events = 0_u64;
    let seed = EventBatchSeed::new(|_| events += 1);
    too_large(Wire::Json, "{\"result\":{\"events\":[", json, seed, LIMITS.bytes, OVERHEAD);
    assert!(events > 25_000, "{events}");

    let member = |name: &str, value: &str| format!("<member><name>{name}</name><value>{value}</value></member>");
    let record =
        ["uuid", "host", "SR"].map(|name| member(name, "x")).concat() + &member("currently_attached", "<boolean>1</boolean>");
    let event = member("class", "pbd")
        + &member("operation", "mod")
        + &member("ref", "OpaqueRef:1")
        + &member("snapshot", &format!("<struct>{record}</struct>"));
    let mut events = 0_u64;
    let seed = EventBatchSeed::new(|_| events += 1);
    let head = format!("{XML}<value><struct><member><name>events</name><value><array><data>");
    too_large(Wire::Xml, &head, &format!("<value><struct>{event}</struct></value>"), seed, LIMITS.bytes, OVERHEAD);
    assert!(events > 5_000, "{events}");

    let seed = RecordsSeed::new(|_: Ref<Vm>, _: Box<Vm>| ());
    let vm = r#""OpaqueRef:1":{"uuid":"","name_label":"","power_state":"Halted","is_a_template":true,"is_control_domain":false,
        "is_a_snapshot":true,"snapshot_of":"","VBDs":[],"memory_static_max":0,"other_config":{"a":"b"},"allowed_operations":["x"]},"#;
    too_large(Wire::Json, "{\"result\":{", vm, seed, LIMITS.bytes, OVERHEAD);
}

/// The smallest items take 3 bytes on JSON and 8 on XML, a reference 24 bytes of memory, and a vector that grows is there twice with room
/// to spare: so a set of references costs at most 8 times 4 of the answer's limit. Who collects must choose that limit.
#[test]
fn what_is_collected_is_bounded_by_the_limit_of_the_answer() {
    let _turn = turn();
    let bound = 32 * usize::try_from(LIMITS.bytes).unwrap();
    too_large(Wire::Json, "{\"result\":[", "\"\",", as_type::<Vec<Ref<Any>>>(), LIMITS.bytes, bound);
    too_large(Wire::Xml, &format!("{XML}<value><array><data>"), "<value/>", as_type::<Vec<Ref<Any>>>(), LIMITS.bytes, bound);
    too_large(Wire::Json, "{\"result\":{", "\"\":\"\",", as_type::<StringMap>(), LIMITS.bytes, bound);
}

#[test]
fn an_endless_error_costs_no_more_than_its_words() {
    let _turn = turn();
    too_large(Wire::Json, "{\"error\":[", "\"word\",", as_type::<Void>(), LIMITS.bytes, OVERHEAD);
    too_large(Wire::Json, "{\"error\":{\"data\":[", "\"word\",", as_type::<Void>(), LIMITS.bytes, OVERHEAD);
    let head = XML.replace("Value</name>", "ErrorDescription</name>") + "<value><array><data>";
    too_large(Wire::Xml, &head, "<value>word</value>", as_type::<Void>(), LIMITS.bytes, OVERHEAD);
}

#[test]
fn endless_counts_of_a_batch_are_bounded() {
    let _turn = turn();
    let seed = EventBatchSeed::new(drop);
    too_large(Wire::Json, "{\"result\":{\"valid_ref_counts\":{", "\"vm\":1,", seed, LIMITS.bytes, OVERHEAD);
}

/// The record is buffered up to 4 MiB, and its smallest values cost a toll of 64 bytes: at most 3 times that in memory while it grows.
#[test]
fn a_record_that_comes_before_its_class_is_held_within_a_bound() {
    let _turn = turn();
    for (wire, head, unit) in [
        (Wire::Json, "{\"result\":{\"events\":[{\"snapshot\":{\"a\":[".to_owned(), "0,"),
        (Wire::Json, "{\"result\":{\"events\":[{\"snapshot\":[".to_owned(), "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","),
        (
            Wire::Xml,
            format!(
                "{XML}<value><struct><member><name>events</name><value><array><data><value><struct><member><name>snapshot</name>\
                 <value><array><data>"
            ),
            "<value>aaaa</value>",
        ),
    ] {
        let (error, peak, _) = endless(wire, &head, unit, EventBatchSeed::new(drop));
        assert!(matches!(&error, DecodeError::Malformed(what) if what.contains("too large to be held")), "{error:?}");
        assert!(peak <= (12 << 20) + OVERHEAD, "{wire:?} {head}: {peak}");
    }
}

#[test]
fn an_answer_that_ends_early_costs_no_more_than_what_came() {
    fn check<T: DeserializeOwned>(wire: Wire, text: &str) {
        for end in 0..text.len() {
            let before = NOW.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let result = wire::decode::<T>(wire, &text.as_bytes()[..end], LIMITS);
            assert!(matches!(result, Err(DecodeError::Malformed(_))), "{wire:?} at {end}");
            let peak = PEAK.load(Ordering::Relaxed) - before;
            assert!(peak <= OVERHEAD, "{wire:?} at {end}: {peak} bytes");
        }
        assert!(matches!(wire::decode::<T>(wire, text.as_bytes(), LIMITS), Ok(Answer::Value(_))));
    }
    let _turn = turn();
    check::<Value>(
        Wire::Json,
        r#"{"jsonrpc":"2.0","result":{"events":[{"a":"\u00fcx","b":[1,-2.5e3,true,null]}],"token":"1,2"},"id":1}"#,
    );
    let xml = format!(
        "<?xml version=\"1.0\"?><!-- x -->{XML}<value><struct><member><name>k<&></name><value>&lt;ü<![CDATA[<]]></value></member>\
         <member><name>n</name><value><array><data><value><i4>5</i4></value><value/></data></array></value></member></struct></value>\
         </member></struct></value></param></params></methodResponse>"
    );
    check::<Value>(Wire::Xml, &xml);
}
