//! A JSON-RPC answer of any shape: as an untyped value, as a record, passed over, and as the server's list of methods.
//! A value that decodes at all decodes the same in small pieces.

#![no_main]

use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::types::Void;
use xensnap::xenapi::wire::{Limits, Wire, decode};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { bytes: 1 << 20, depth: 16, text: 4096 };
    let whole = decode::<Value>(Wire::Json, bytes, limits);
    let pieces = decode::<Value>(Wire::Json, BufReader::with_capacity(3, bytes), limits);
    assert_eq!(whole.is_ok(), pieces.is_ok());
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert_eq!(whole, pieces);
    }
    let _ = decode::<Box<Vm>>(Wire::Json, bytes, limits);
    let _ = decode::<Void>(Wire::Json, bytes, limits);
    let _ = decode::<Vec<String>>(Wire::Json, bytes, limits);
});
