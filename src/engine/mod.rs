//! What is done about pools: a run is driven from its claim to its end, and everything that was begun is brought to an end after a
//! crash by the same code.
//!
//! # The rules it keeps
//!
//! - *Decide purely, then act.* What to do comes from `domain`, as a plan with reasons; here it is carried out, or only shown.
//! - *The row before the call.* Nothing is asked of a server that could not be found again in the history.
//! - *Look before acting.* After any doubt the pool is looked at first; what cannot be decided is `unresolved`, never repeated.
//! - *Only what is durable justifies a removal*, and nothing is destroyed that was not proven to be ours in the same breath.
//!
//! # Where to look
//!
//! | file | idea |
//! | --- | --- |
//! | `site`, `worker` | one pool with all that is needed to work on it; work that the clock knows of |
//! | `view` | what the inventory shows, as values of `domain` |
//! | `admission`, `barrier` | whose turn it is on a storage repository; when the server will not forget any more |
//! | `kind`, `offline` | which kind of snapshot a VM admits; a VM that is shut down for its snapshot comes back |
//! | `hooks` | commands of the administrator, around runs and snapshots |

pub mod admission;
pub mod barrier;
pub mod hooks;
pub mod kind;
pub mod offline;
pub mod site;
pub mod worker;
