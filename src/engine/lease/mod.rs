//! The lease of one pool, kept by a task of its own for as long as the service lives: nobody who works has to think of it, because what
//! changes something in the pool passes a fence ([`crate::xenapi::Fence`]) that this task alone opens. What it means is told in
//! `domain::lease`, what people see of it in docs/LEASE.md.
//!
//! | file | idea |
//! | --- | --- |
//! | `home` | who we are, and where our history lies |
//! | `tenure` | the task: reads, claims, renews, gives up, leaves |
//! | `succession` | going on with what another daemon began |

mod home;
mod succession;
mod tenure;

pub use home::Home;
pub use succession::{Reconsidered, Succession, begun_by_another, is_done, slots_to_reconsider};
pub use tenure::{Follows, Standing, Tenure, TenureSettings};
