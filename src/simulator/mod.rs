//! A simulated pool: a XenAPI server that a client cannot tell from a small XenServer.
//!
//! It answers as the recordings of a real server do, and shares no encoder or decoder with this program's client: a mistake made on
//! both sides would be invisible. Time comes from a [`Clock`](crate::clock::Clock), chance from a seed.

mod builtin;
pub mod codec;
pub mod context;
pub mod database;
pub mod dispatch;
pub mod durability;
pub mod error;
pub mod events;
pub mod faults;
pub mod filter;
pub mod front;
pub mod generate;
pub mod generic;
mod handlers;
pub mod http;
pub mod ledger;
pub mod messages;
pub mod methods;
pub mod model;
pub mod operations;
pub mod options;
pub mod pool_database;
pub mod rbac;
pub mod revive;
pub mod server;
pub mod sessions;
pub mod sexpr;
pub mod simulation;
pub mod storage;
pub mod tasks;
mod types;
pub mod value;
pub mod world;
pub mod xva;

pub use options::Options;
pub use server::Server;
pub use simulation::Simulation;

/// The routes of export, import and the like.
fn transfer_routes() -> &'static [http::handlers::Route] {
    &handlers::ROUTES
}
