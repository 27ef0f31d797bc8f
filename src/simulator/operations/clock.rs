//! Times as the server writes them.

use crate::simulator::context::Context;
use crate::simulator::storage::ledger::Moment;
use crate::simulator::value::Value;

/// The date of what never happened.
pub fn epoch() -> Value {
    Value::Date("19700101T00:00:00Z".into())
}

/// Now, as a date.
pub fn now(context: &Context) -> Value {
    Value::date(context.shared.clock.now())
}

/// Now, for the storage.
pub fn moment(context: &Context) -> Moment {
    Moment { elapsed: context.shared.clock.elapsed(), date: now(context) }
}
