//! JSON-RPC 1.0 and 2.0.

mod read;
mod write;

pub use read::{Envelope, Id, Version, parse, parse_value};
pub use write::{JsonEmit, quote};
