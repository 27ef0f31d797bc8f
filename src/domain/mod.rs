//! The pure heart: values and decisions. Nothing here waits, reads a file, talks to a server or asks what time it is; time is an
//! argument. So every rule about which snapshot is taken, kept or removed can be shown with a table or a law.

pub mod address;
pub mod alarm;
pub mod build;
pub mod chain;
pub mod event;
pub mod finding;
pub mod fingerprint;
pub mod guard;
pub mod id;
pub mod mark;
pub mod naming;
pub mod nearest;
pub mod nonce;
pub mod orphans;
pub mod pause;
pub mod policy;
pub mod retention;
pub mod run;
pub mod sandbox;
pub mod schedule;
pub mod selection;
pub mod size;
pub mod snapshot;
pub mod span;
pub mod uninstall;
pub mod zone;
