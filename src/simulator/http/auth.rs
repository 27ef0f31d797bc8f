//! Who asks a handler: a session in the query or a cookie, or a name and password.

use super::handlers::Exchange;
use super::head::Authorization;
use super::response;
use crate::simulator::error::ApiError;
use crate::simulator::rbac;
use crate::simulator::sessions::{self, Login};
use crate::simulator::tasks;
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::Session;

/// Somebody who may use a handler.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The session's reference.
    pub session: Ref,
    /// Who it is.
    pub who: Session,
    /// True when the session was made for this request and must be ended after it.
    pub temporary: bool,
}

/// Finds out who asks and whether the role suffices; otherwise answers with the page to send, after which the connection is closed.
/// A task named in the query then fails for the same reason.
///
/// `realm` is the handler's name (`get_export`), `role` the least role.
///
/// # Errors
/// The whole response: 401 for nobody, 403 for somebody without the role.
pub async fn caller(exchange: &Exchange<'_>, realm: &str, role: &str) -> Result<Caller, Vec<u8>> {
    let unauthorised = || response::unauthorised(Some(exchange.head), realm);
    let caller = match identify(exchange).await {
        Ok(Some(caller)) => caller,
        Ok(None) => return Err(unauthorised()),
        Err(error) => {
            fail_task(exchange, &error);
            return Err(unauthorised());
        }
    };
    let permission = format!("http/{realm}");
    if let Err(denied) = rbac::require(&caller.who, &permission, role) {
        fail_task(exchange, &denied);
        release(exchange, &caller);
        return Err(response::forbidden(Some(exchange.head)));
    }
    Ok(caller)
}

/// Ends the session again if it was made for this request.
pub fn release(exchange: &Exchange<'_>, caller: &Caller) {
    if caller.temporary {
        exchange.shared.step(|world| sessions::end(world, &caller.session));
    }
}

async fn identify(exchange: &Exchange<'_>) -> Result<Option<Caller>, ApiError> {
    await_master(exchange).await;
    if let Some(session) = exchange.head.param("session_id") {
        let session: Ref = session.into();
        let now = exchange.shared.clock.now();
        let limits = &exchange.shared.options.sessions;
        let who = exchange.shared.step(|world| sessions::check(world, limits, now, &session)).ok();
        return Ok(who.map(|who| Caller { session, who, temporary: false }));
    }
    let Some(Authorization::Basic(name, password)) = &exchange.head.authorization else { return Ok(None) };
    let login =
        Login { user: name.as_str().into(), password: password.as_str().into(), originator: Text::from("HTTP using Basic auth") };
    let session = sessions::login(exchange.shared, &exchange.front.host, &login).await?;
    let who = exchange.shared.step(|world| world.sessions.get(&session).cloned());
    Ok(who.map(|who| Caller { session, who, temporary: true }))
}

/// A member asks the master who it is, and waits for one that does not answer.
async fn await_master(exchange: &Exchange<'_>) {
    let master = exchange.shared.step(|world| world.master.clone());
    let asks =
        master != exchange.front.host && (exchange.head.param("session_id").is_some() || exchange.head.authorization.is_some());
    if asks && exchange.shared.front(&master).is_some_and(|front| !front.is_up()) {
        std::future::pending::<()>().await;
    }
}

fn fail_task(exchange: &Exchange<'_>, error: &ApiError) {
    let Some(task) = exchange.head.param("task_id") else { return };
    let now = exchange.shared.clock.now();
    exchange.shared.step(|world| tasks::fail(world, task, error, now));
}
