//! Which snapshots stay and which go.
//!
//! A decision is a value with its reasons, made from what exists and what the policy says, and the same whoever asks: dry run,
//! journal and the real thing. The rules add up: whatever any of them keeps stays. Only durable good snapshots count; failed and
//! partial ones neither count nor stay; and what cannot be judged (detached, unresolved, dated in the future) stays untouched.
//!
//! Periods are counted by due time, in the policy's zone: a snapshot belongs to the night it was promised for, even when the queue
//! was long and it was taken after midnight.

mod bucket;
mod candidate;
mod decide;
mod everywhere;
mod forecast;
mod reason;
mod rules;

pub use candidate::{Candidate, Pin, State};
pub use decide::{Decision, Plan, Verdict, decide, decide_ahead};
pub use everywhere::sparing;
pub use forecast::{Expiry, forecast};
pub use reason::{Reason, Reasons, Removal};
pub use rules::{Order, Period, Rules, RulesError};
