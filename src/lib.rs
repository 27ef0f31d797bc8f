//! xensnap: scheduled snapshots of virtual machines on XenServer, Citrix Hypervisor and XCP-ng pools.
//!
//! # Layout
//!
//! Imports point only downward; siblings on one floor do not import one another unless the table says so.
//! `tests/layers.rs` holds the code to it.
//!
//! | floor | module | what lives there | may import |
//! | --- | --- | --- | --- |
//! | 6 | [`cli`] | one file per verb, tables, exit codes | everything below |
//! | 5 | [`torture`] | the fault campaign: weeks of faults, and what must be true after them | `simulator`, `config`, `store`, `clock`, `domain` |
//! | 5 | [`daemon`] | the service: timekeeper, pools, runs, requests, control socket, alarms | `engine`, `store`, `xenapi`, `outward`, `telemetry`, `clock`, `domain` |
//! | 4 | [`engine`] | what is done about pools: runs, jobs, retention, recovery | `xenapi`, `store`, `telemetry`, `clock`, `domain` |
//! | 3 | [`xenapi`] | the client: the only module that knows JSON-RPC and XML-RPC | `domain`, `clock` |
//! | 3 | [`outward`] | mail, webhooks, pings: the only module that knows lettre | `domain` |
//! | 3 | [`store`] | the history: the only module that knows sqlx | `domain` |
//! | 3 | [`simulator`] | a XenAPI server with its own codecs | `clock`; nothing of `xenapi` |
//! | 3 | [`telemetry`] | one line per fact: journal, text, JSON | `domain` |
//! | 3 | [`clock`] | wall time, hand-moved time, fast time | nothing |
//! | 2 | [`config`] | TOML files to checked values | `domain` |
//! | 1 | [`domain`] | pure values: no I/O, no "now" | nothing |

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod outward;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod torture;
pub mod xenapi;
