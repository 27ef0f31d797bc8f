//! What faults do to a call on its way in and out.

use std::io;
use std::sync::Arc;

use super::handlers::{Exchange, Next};
use crate::clock::Exchange as Busy;
use crate::simulator::codec::{Answer, Call};
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::faults::{self, Instead, Now, Pace, Spoil, Strikes, When};
use crate::simulator::handlers::spoil;
use crate::simulator::types::untyped;
use crate::simulator::value::{Ref, Text, Value};

/// What becomes of a call before it is looked at.
pub(super) enum Fate {
    /// It takes its way, at this pace, and perhaps fails in the end.
    Goes(Pace, Option<ApiError>),
    /// Its connection is cut.
    Cut,
}

/// Asks the faults about a call.
pub(super) fn meet(exchange: &Exchange<'_>, call: &Call) -> Strikes {
    let shared = exchange.shared;
    if shared.options.faults.is_empty() {
        return Strikes::default();
    }
    let args: Vec<Value> = call.params.iter().skip(1).map(untyped).collect();
    let first = call.params.first().and_then(|first| first.text()).map(Ref::from).unwrap_or_default();
    let now = Now::of(&*shared.clock);
    shared.step(|world| {
        let session = world.sessions.get(&first);
        // Whoever logs in has no session yet, and names himself instead.
        let (originator, user) = session
            .map_or_else(|| (Text::default(), first.clone()), |session| (session.originator.clone(), session.user.clone()));
        let call = faults::Call { method: &call.method, args: &args, originator: &originator, user: &user };
        shared.options.faults.on_call(world, call, now)
    })
}

/// Lets happen what comes before the call.
pub(super) async fn before(exchange: &Exchange<'_>, busy: &mut Busy, strikes: &Strikes) -> Fate {
    let shared = exchange.shared;
    // A session that was ended may have somebody waiting in event.from.
    shared.nudge();
    if !strikes.delay.is_zero() {
        busy.while_waiting(shared.clock.sleep(strikes.delay)).await;
    }
    shared.options.faults.give_orders(strikes, false);
    let dies = strikes.orders.iter().any(|(when, ..)| *when == When::Before);
    match strikes.instead.clone() {
        Some(Instead::Cut) => Fate::Cut,
        Some(Instead::Hang) => busy.while_waiting(std::future::pending()).await,
        // The server is about to die, and takes the connection with it.
        _ if dies => busy.while_waiting(std::future::pending()).await,
        Some(Instead::Refuse(error)) => Fate::Goes(strikes.pace, Some(error)),
        None => Fate::Goes(strikes.pace, None),
    }
}

/// Lets happen what comes after the call. None: the answer goes its way.
pub(super) async fn after(
    exchange: &mut Exchange<'_>,
    busy: &mut Busy,
    strikes: &Strikes,
    result: &ApiResult<Answer>,
    answer: impl FnOnce() -> (&'static str, String),
) -> Option<io::Result<Next>> {
    let faults = Arc::clone(&exchange.shared.options.faults);
    let ending = result.as_ref().map(|_| Value::void()).map_err(ApiError::clone);
    faults.over(strikes, &ending);
    faults.give_orders(strikes, true);
    if strikes.orders.iter().any(|(when, ..)| *when == When::After) {
        return busy.while_waiting(std::future::pending()).await;
    }
    match strikes.answer.as_ref()? {
        Spoil::Cut => Some(Ok(Next::Cut)),
        Spoil::Mute => busy.while_waiting(std::future::pending()).await,
        Spoil::Garbage(kind) => {
            let (content_type, body) = answer();
            let spoilt = kind.spoil(content_type, body.as_bytes());
            Some(spoil::send(exchange.connection, &spoilt).await.map(|()| Next::Cut))
        }
    }
}
