//! The fault campaign: weeks of simulated time in which everything goes wrong that the simulator can let go wrong, and after which what
//! really happened is held against what was promised.
//!
//! The rules it keeps:
//!
//! - *The service is a process of its own*, this very binary as `xensnap daemon`, and a crash of it is a SIGKILL. Simulator, ledger and
//!   time are here, out of its reach; its clock follows ours ([`crate::clock::Leader`]).
//! - *One number tells everything.* Pool, policies and faults are drawn from the seed; a plan is a small file that can be shortened and
//!   kept ([`plan`]).
//! - *The ledger is believed, not the service.* Who destroyed or changed what is seen where it happens ([`witness`]); the service's own
//!   history is asked only for what it must contain.
//! - *An invariant is a function with a name* ([`invariants`]) from evidence, a plain value, to what is wrong with it.
//! - *A fault counts when it was seen to have had an effect* ([`tally`]).
//!
//! | file | idea |
//! | --- | --- |
//! | `plan`, `draw` | what goes wrong when, as a file, and drawn from a seed |
//! | `stage` | the pool, the policies, and the files of the service |
//! | `service` | the process that is killed |
//! | `strike` | a step of the plan as a fault of the simulator |
//! | `neighbour` | somebody else who works with the pool |
//! | `play` | one seed from the beginning to the verdict |
//! | `play/lives` | the two services in it: who runs, who acts, who is killed |
//! | `witness` | what really happened |
//! | `gather` | the evidence, once everything is over |
//! | `shrink` | a shorter plan that fails as well |

mod draw;
mod gather;
pub mod invariants;
mod neighbour;
pub mod plan;
mod play;
mod service;
pub mod shrink;
mod stage;
mod strike;
pub mod tally;
pub mod witness;

pub use play::{Outcome, Trouble, play};
