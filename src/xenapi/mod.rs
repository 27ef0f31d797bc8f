//! The client: everything this program asks of a pool goes through here, and nothing outside knows which wire is in use.

pub mod failure;
pub mod records;
pub mod types;
pub mod wire;
