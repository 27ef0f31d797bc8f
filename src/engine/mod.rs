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
//! | `run`, `errand`, `selecting` | a run from its slot to its end; what its jobs share; which VMs it is for |
//! | `job`, `around`, `attempt`, `marking` | one VM: when, hooks and halt around, the call under its nonce, the mark |
//! | `kind`, `offline`, `hooks` | which kind can be had; shut down and bring back; commands around snapshots |
//! | `alone` | one job at a time for each VM |
//! | `guards` | what is looked at before a job begins: chains, space; and before something is removed: clocks, numbers |
//! | `backlog` | what waits to be coalesced, and the removals that wait for it |
//! | `resolve`, `reconcile` | what became of a call; history and pool compared |
//! | `late`, `leftover`, `aftermath` | jobs that came late; what a failed attempt left; snapshots that nobody looks after any more |
//! | `orphans` | the reconciler: what is left although nobody works on it, put right or listed |
//! | `holdings`, `prune`, `consent` | what a policy holds of a VM; what retention says; what waits for a person's word |
//! | `uninstall`, `pins` | carrying out a removal; what stays |
//! | `admission`, `barrier`, `members` | whose turn it is on a storage repository; when the server will not forget any more; what its members may lack |
//! | `lease` | which of two daemons works with the pool; going on with what another began |
//! | `chains`, `checkup`, `others` | what each disk stands on; what somebody should be told about a pool; who else takes snapshots |
//! | `site`, `view`, `worker`, `error` | one pool with all that is needed; what the inventory shows; work the clock knows of |

pub mod admission;
pub mod aftermath;
pub mod alone;
pub mod around;
pub mod attempt;
pub mod backlog;
pub mod barrier;
pub mod chains;
pub mod checkup;
pub mod consent;
pub mod errand;
pub mod error;
pub mod guards;
pub mod holdings;
pub mod hooks;
pub mod job;
pub mod kind;
pub mod late;
pub mod lease;
pub mod leftover;
pub mod marking;
pub mod members;
pub mod offline;
pub mod orphans;
pub mod others;
pub mod pins;
pub mod prune;
pub mod reconcile;
pub mod resolve;
pub mod run;
pub mod selecting;
pub mod site;
pub mod uninstall;
pub mod view;
pub mod wishes;
pub mod worker;
