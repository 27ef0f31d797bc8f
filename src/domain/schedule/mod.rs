//! When a policy fires.
//!
//! Due times are instants; a zone only says how they follow from an expression. A fixed time fires once in every night, shifted out
//! of a gap and the first time in an overlap; an interval fires in every real interval. What happens to a slot that could not be
//! run at its time is decided here too, as a value with its reason, so that no slot ends in silence.

mod expression;
mod field;
mod walk;

pub use expression::{CronExpression, ExpressionError, Pace};
