//! An answer of event.from: the first byte chooses the wire, the rest is the answer.
//! As many events reach the sink as the batch says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xensnap::xenapi::records::{Event, EventBatchSeed};
use xensnap::xenapi::wire::{Answer, Limits, Wire, decode_seed};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, answer)) = bytes.split_first() else { return };
    let wire = if *first == b'{' { Wire::Json } else { Wire::Xml };
    let answer = if wire == Wire::Json { bytes } else { answer };
    let mut events: Vec<Event> = Vec::new();
    let limits = Limits { bytes: 1 << 20, depth: 16, text: 4096 };
    let batch = decode_seed(wire, answer, limits, EventBatchSeed::new(|event| events.push(event)));
    if let Ok(Answer::Value(batch)) = batch {
        assert_eq!(batch.events, events.len() as u64);
    }
    for event in events {
        assert!(event.record.is_none_or(|record| record.class() == event.class));
    }
});
