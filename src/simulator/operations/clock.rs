//! Times as the server writes them.

use chrono::{DateTime, Utc};

use crate::simulator::context::Context;
use crate::simulator::storage::ledger::Moment;
use crate::simulator::value::Value;

/// A date as the server writes it, `20261122T15:54:34Z`.
pub fn date(time: DateTime<Utc>) -> Value {
    Value::Date(time.format("%Y%m%dT%H:%M:%SZ").to_string().into())
}

/// The date of what never happened.
pub fn epoch() -> Value {
    Value::Date("19700101T00:00:00Z".into())
}

/// Now, as a date.
pub fn now(context: &Context) -> Value {
    date(context.shared.clock.now())
}

/// Now, for the storage.
pub fn moment(context: &Context) -> Moment {
    Moment { elapsed: context.shared.clock.elapsed(), date: now(context) }
}
