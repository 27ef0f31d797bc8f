//! When a policy fires.
//!
//! Due times are instants; a zone only says how they follow from an expression. A fixed time fires once in every night, shifted out
//! of a gap and the first time in an overlap; an interval fires in every real interval. What happens to a slot that could not be
//! run at its time is decided here too, as a value with its reason, so that no slot ends in silence.

mod admission;
mod expression;
mod field;
mod plan;
mod slot;
mod spread;
mod walk;
mod window;

pub use admission::{Admission, Claimed, Over};
pub use expression::{CronExpression, ExpressionError, Pace};
pub use plan::{Agenda, CatchUp, MOST_SLOTS, Progress, Schedule, ScheduleError};
pub use slot::{Decision, Missed, ON_TIME, Skipped, Verdict};
pub use spread::Place;
pub use window::{Closure, TimeWindow, Windows};
