//! The client: everything this program asks of a pool goes through here, and nothing outside knows which wire is in use.

pub mod address;
pub mod failure;
pub mod types;
pub mod fault;
pub mod settings;
mod transport;
pub mod trust;
pub mod wire;
