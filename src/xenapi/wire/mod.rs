//! The two encodings of the XenAPI. Callers give parameters and a type to decode into; which wire carries them is a value.

//!
//! The rule of this module: a hostile or broken server can make a call fail, but not make this program panic, grow without bound or
//! read for ever. Whatever passes a bound of [`Limits`] is a [`DecodeError::TooLarge`], whatever is not XenAPI a
//! [`DecodeError::Malformed`]. Answers are decoded while they are read; nothing here ever holds a whole answer.

mod encode;
mod json;
mod meter;
mod task_result;
#[cfg(test)]
mod tests;
mod words;
mod xml;

use std::io::BufRead;

use serde::de::{DeserializeOwned, DeserializeSeed};

use super::failure::Failure;

pub use task_result::task_result;

/// How calls are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// JSON-RPC 2.0 on `/jsonrpc` (XenServer 7.3 and newer).
    Json,
    /// XML-RPC on `/` (every release).
    Xml,
}

impl Wire {
    /// The path that calls are posted to.
    pub fn path(self) -> &'static str {
        match self {
            Wire::Json => "/jsonrpc",
            Wire::Xml => "/",
        }
    }

    /// The content type of requests.
    pub fn content_type(self) -> &'static str {
        match self {
            Wire::Json => "application/json",
            Wire::Xml => "text/xml",
        }
    }
}

/// A parameter of a call. References, enums and dates travel as text.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// Text, reference, enum or date.
    Str(String),
    /// int64; decimal text on XML, a number on JSON.
    Int(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A set.
    Set(Vec<Param>),
    /// A map or a record, in the given order.
    Map(Vec<(String, Param)>),
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Param::Str(text.to_owned())
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Param::Str(text)
    }
}

impl From<bool> for Param {
    fn from(value: bool) -> Self {
        Param::Bool(value)
    }
}

impl From<i64> for Param {
    fn from(value: i64) -> Self {
        Param::Int(value)
    }
}

/// The largest request a server takes (xapi: `http_limit_max_rpc_size`).
pub const MAX_REQUEST: usize = 300 * 1024;

/// Bounds on what a server may make us read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one answer.
    pub bytes: u64,
    /// Nesting of values in one answer, its envelope included. More than 100 counts as 100, to spare the stack.
    pub depth: u32,
    /// Bytes of one string in an answer.
    pub text: usize,
}

impl Limits {
    /// For answers that are collected and not handed on: what is decoded can take some thirty times the bytes of the answer (the smallest
    /// item is 3 bytes, a reference takes 24, and a vector that grows is there twice), so this keeps a hostile answer below 2 GiB, and
    /// an honest one is far below it.
    pub const COLLECTED: Self = Self { bytes: 64 << 20, depth: 32, text: 16 << 20 };

    /// The nesting that is allowed.
    fn depth(self) -> u32 {
        self.depth.min(100)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 30, depth: 32, text: 16 << 20 }
    }
}

/// A server's answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    /// The call succeeded.
    Value(T),
    /// The server refused it.
    Failure(Failure),
}

/// Why a request could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The server would close the connection on it.
    #[error("the request {method} has {bytes} bytes, more than the {MAX_REQUEST} a server takes")]
    TooLarge {
        /// The method called.
        method: String,
        /// The size of the encoded request.
        bytes: usize,
    },
    /// A parameter holds what no server stores: a control character, a character outside XML, or a float that is no number.
    #[error("the request {method} cannot be sent: {what}; take that out of the value")]
    Unrepresentable {
        /// The method called.
        method: String,
        /// What cannot be sent, and in which parameter (counted from 1, the session included).
        what: String,
    },
}

/// Why an answer could not be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The stream broke off or failed.
    #[error("the answer could not be read")]
    Io(#[source] std::io::Error),
    /// The bytes are not what a XenAPI server sends.
    #[error("the answer is not XenAPI: {0}")]
    Malformed(String),
    /// A bound of [`Limits`] was passed.
    #[error("the answer is larger than this client accepts: {0}")]
    TooLarge(String),
}

impl serde::de::Error for DecodeError {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        DecodeError::Malformed(message.to_string())
    }
}

/// Encodes one call. `id` is used by JSON-RPC only, and the server insists on it.
///
/// # Errors
/// When the request is larger than a server accepts, or holds what a server cannot store.
pub fn encode(wire: Wire, method: &str, params: &[Param], id: u64) -> Result<Vec<u8>, EncodeError> {
    encode::check(method, params)?;
    let body = match wire {
        Wire::Json => encode::json(method, params, id),
        Wire::Xml => encode::xml(method, params),
    };
    if body.len() > MAX_REQUEST {
        return Err(EncodeError::TooLarge { method: method.to_owned(), bytes: body.len() });
    }
    Ok(body)
}

/// Decodes a whole answer from a stream, keeping no more of it in memory than `T` does.
///
/// # Errors
/// When the bytes are not an answer of a XenAPI server, or pass one of the limits.
pub fn decode<T: DeserializeOwned>(wire: Wire, reader: impl BufRead, limits: Limits) -> Result<Answer<T>, DecodeError> {
    decode_seed(wire, reader, limits, std::marker::PhantomData::<T>)
}

/// As [`decode`], with a seed: an initial burst of events is handed on record by record instead of being collected.
///
/// # Errors
/// As [`decode`].
pub fn decode_seed<'de, S: DeserializeSeed<'de>>(
    wire: Wire,
    reader: impl BufRead,
    limits: Limits,
    seed: S,
) -> Result<Answer<S::Value>, DecodeError> {
    match wire {
        Wire::Json => json::decode(reader, limits, seed),
        Wire::Xml => xml::decode(reader, limits, seed),
    }
}
