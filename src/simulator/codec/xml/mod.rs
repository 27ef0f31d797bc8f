//! XML-RPC.

mod read;
mod write;

pub use read::parse;
pub use write::{XmlEmit, escape};
