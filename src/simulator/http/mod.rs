//! A raw HTTP/1.x server that behaves as the real one does, its refusals and pages included.

pub mod auth;
pub mod connection;
pub mod handlers;
pub mod head;
pub mod response;
mod rpc;
mod serve;
pub mod tls;

pub use connection::Connection;
pub use head::Head;
pub use serve::{Listening, serve};
