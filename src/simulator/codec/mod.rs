//! The simulator's own encoder and decoder of both wires.
//!
//! They share nothing with this program's client: a mistake made on both sides would be invisible. What a request says is kept as
//! the wire says it ([`Rpc`]); types come in later, from the model, because the server's complaints quote the wire.

pub mod answer;
mod emit;
pub mod json;
mod number;
mod rpc;
pub mod xml;

pub use answer::Answer;
pub use emit::Emit;
pub use rpc::Rpc;

/// The deepest nesting a request may have; the real server's stack is larger, but no call needs more than four.
pub(crate) const MAX_DEPTH: usize = 200;

/// A request that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The text of the real server's exception, which stands in its HTTP 500 page.
    Unreadable(String),
    /// A parameter is not UTF-8; the real parser lets it through and the dispatcher answers INVALID_VALUE.
    NotUtf8(String),
}

/// A call as it stood on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The message, such as `Async.VM.snapshot`.
    pub method: String,
    /// The parameters in order, the session first.
    pub params: Vec<Rpc>,
}
