//! Both wires, from the outside of this module: what is sent byte for byte, and what odd, cut and hostile answers become.

mod answers;
mod properties;
mod requests;

use std::io::{BufReader, Read};

use serde::de::DeserializeOwned;

use super::{Answer, DecodeError, Limits, Wire, decode};

/// Decodes with the usual limits.
fn json<T: DeserializeOwned>(text: &str) -> Result<Answer<T>, DecodeError> {
    decode(Wire::Json, text.as_bytes(), Limits::default())
}

/// Decodes with the usual limits.
fn xml<T: DeserializeOwned>(text: &str) -> Result<Answer<T>, DecodeError> {
    decode(Wire::Xml, text.as_bytes(), Limits::default())
}

/// A value of a successful XML-RPC answer, as the server wraps it.
fn success(value: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member>\
         <member><name>Value</name>{value}</member></struct></value></param></params></methodResponse>"
    )
}

/// A reader that hands out at most `size` bytes at once.
fn in_pieces(bytes: &[u8], size: usize) -> BufReader<impl Read> {
    BufReader::with_capacity(size, bytes)
}
