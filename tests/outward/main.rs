//! Mail and web as they leave: to servers that do it right, over TLS and with a login, and to servers that do whatever they like. Whatever
//! that is, a delivery has an end, little is read, nothing is followed, and the error says what to do.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod mail;
mod server;
mod web;
