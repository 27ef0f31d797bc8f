//! A simulated pool: a XenAPI server that a client cannot tell from a small XenServer.
//!
//! It answers as the recordings of a real server do, and shares no encoder or decoder with this program's client: a mistake made on
//! both sides would be invisible. Time comes from a [`Clock`](crate::clock::Clock), chance from a seed.

pub mod context;
pub mod database;
pub mod error;
pub mod faults;
pub mod model;
pub mod operations;
pub mod pool_database;
pub mod sexpr;
pub mod storage;
pub mod value;
pub mod world;
