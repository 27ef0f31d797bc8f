//! What all transfers have in common: who asks, the task, faults, and how it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::pages::Failure;
use super::spoil;
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::faults::{Call, Instead, Now, Spoil, Strikes};
use crate::simulator::http::auth::{self, Caller};
use crate::simulator::http::handlers::{Exchange, Next};
use crate::simulator::tasks::{self, NewTask};
use crate::simulator::value::{Ref, Value};

/// What a handler is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The realm of its 401, such as `get_export`.
    pub(super) realm: &'static str,
    /// The least role.
    pub(super) role: &'static str,
    /// The name of its task.
    pub(super) label: &'static str,
}

/// A transfer that was let in.
pub(super) struct Transfer<'a> {
    pub(super) exchange: Exchange<'a>,
    pub(super) context: Arc<Context>,
    caller: Caller,
    /// The task was made for this transfer and goes with it.
    own_task: bool,
    head_sent: bool,
    /// Bytes of the request's body that are still to come; none: until the client closes.
    left: Option<u64>,
    strikes: Strikes,
}

/// Real time that the simulated clock waits for a client that uploads.
const UPLOAD_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of an upload that are taken at once.
const PIECE: u64 = 64 << 10;

/// How a transfer ended, seen from its body.
pub(super) enum End {
    /// Well, with the task's result.
    Done(Option<Value>),
    /// With an error, which is told in a page: as the answer, or inside the body if that was begun.
    Failed(Failure),
    /// The task has failed, the answer is complete.
    Refused(ApiError),
    /// Another host does it; a task of the client's is left to that one.
    Elsewhere,
    /// The client is gone, or must believe that the server is.
    Gone,
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        End::Failed(error.into())
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        End::Failed(failure)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Gone
    }
}

/// Runs a transfer: lets the client in, does `work`, and ends the task.
///
/// # Errors
/// Those of the socket.
pub(super) async fn run(
    exchange: Exchange<'_>,
    kind: Kind,
    work: impl AsyncFnOnce(&mut Transfer<'_>) -> End,
) -> io::Result<Next> {
    let mut busy = exchange.shared.clock.activity().accept();
    let mut transfer = match open(exchange, kind).await {
        Ok(transfer) => transfer,
        Err(next) => return next,
    };
    // From here on the context holds the clock, and lets go of it while it waits.
    let next = busy
        .while_waiting(async {
            if let Some(next) = transfer.struck().await {
                return next;
            }
            let end = work(&mut transfer).await;
            transfer.end(end).await
        })
        .await;
    drop(transfer);
    Ok(next)
}

async fn open(exchange: Exchange<'_>, kind: Kind) -> Result<Transfer<'_>, io::Result<Next>> {
    let shared = exchange.shared;
    let method = format!("{} {}", exchange.head.method, exchange.head.path);
    shared.count_call(&method);
    let args: Vec<Value> = exchange.head.query.iter().map(|(_, value)| Value::str(&**value)).collect();
    let session = exchange.head.param("session_id").map(Ref::from);
    let now = Now::of(&*shared.clock);
    let strikes = shared.step(|world| {
        let session = session.and_then(|session| world.sessions.get(&session));
        let (originator, user) = session.map(|session| (session.originator.clone(), session.user.clone())).unwrap_or_default();
        let call = Call { method: &method, args: &args, originator: &originator, user: &user };
        shared.options.faults.on_call(world, call, now)
    });
    let caller = match auth::caller(&exchange, kind.realm, kind.role).await {
        Ok(caller) => caller,
        Err(page) => return Err(exchange.connection.write(&page).await.map(|()| Next::Close)),
    };
    let (task, own_task) = task(&exchange, kind.label, &caller);
    let context = Context::new(Arc::clone(shared), task, caller.session.clone(), caller.who.clone(), method.as_str().into());
    let left = exchange.head.content_length;
    Ok(Transfer { left, context: Arc::new(context.at_pace(strikes.pace)), exchange, caller, own_task, head_sent: false, strikes })
}

/// The client's task, which now belongs to the transfer, or a fresh one.
fn task(exchange: &Exchange<'_>, label: &str, caller: &Caller) -> (Ref, bool) {
    let now = exchange.shared.clock.now();
    let given = exchange.head.param("task_id");
    let subtask_of = exchange.head.param("subtask_of").unwrap_or_default();
    exchange.shared.step(|world| {
        if let Some(task) = given.filter(|task| world.database.exists("task", task)) {
            return (task.into(), false);
        }
        let new = NewTask { label, description: "", session: &caller.session, subtask_of, other_config: Vec::new() };
        let task = tasks::create(world, new, now);
        (task, true)
    })
}

impl Transfer<'_> {
    /// A parameter of the query.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.exchange.head.param(name)
    }

    /// A boolean parameter of the query.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.param(name).map_or(default, |value| value == "true")
    }

    /// Takes the task over and sends the head; whatever fails afterwards cannot be told by status any more.
    pub(super) async fn send_head(&mut self, head: &[u8]) -> Result<(), End> {
        self.head_sent = true;
        self.context.progress(0.0);
        self.context.step(|world| tasks::set_cancellable(world, &self.context.task, true));
        Ok(self.exchange.connection.write(head).await?)
    }

    /// Sends a part of the body.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.context.check_cancelled()?;
        if self.strikes.answer.is_some() {
            return self.send_spoilt(bytes).await;
        }
        Ok(self.exchange.connection.write(bytes).await?)
    }

    /// The next piece of the request's body; none at its end.
    pub(super) async fn receive(&mut self) -> Result<Option<Vec<u8>>, End> {
        self.context.check_cancelled()?;
        let wanted = self.left.unwrap_or(PIECE).min(PIECE);
        if wanted == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; wanted as usize];
        let read = {
            let read = self.exchange.connection.read(&mut piece);
            tokio::pin!(read);
            // An upload takes no simulated time, but one that stalls must not stop the clock.
            match tokio::time::timeout(UPLOAD_PAUSE, &mut read).await {
                Ok(read) => read?,
                Err(_) => self.context.wait(read).await?,
            }
        };
        piece.truncate(read);
        self.left = self.left.map(|left| left - read as u64);
        Ok((read > 0).then_some(piece))
    }

    /// Half of the first piece, then what the fault says.
    async fn send_spoilt(&mut self, bytes: &[u8]) -> Result<(), End> {
        if let Some(Spoil::Garbage(kind)) = self.strikes.answer {
            spoil::send(self.exchange.connection, &kind.spoil("application/octet-stream", bytes)).await?;
        } else {
            self.exchange.connection.write(&bytes[..bytes.len() / 2]).await?;
        }
        Err(End::Gone)
    }

    /// Ends the task here and answers with a response that is complete.
    pub(super) async fn refuse(&mut self, response: &[u8], error: ApiError) -> End {
        self.head_sent = true;
        match self.exchange.connection.write(response).await {
            Ok(()) => End::Refused(error),
            Err(_) => End::Gone,
        }
    }

    /// What a fault does to the transfer before it begins.
    async fn struck(&mut self) -> Option<Next> {
        if !self.strikes.delay.is_zero() {
            self.context.wait(self.context.shared.clock.sleep(self.strikes.delay)).await;
        }
        self.context.shared.options.faults.give_orders(&self.strikes, false);
        match self.strikes.instead.clone()? {
            Instead::Refuse(error) => Some(self.end(error.into()).await),
            Instead::Hang => self.context.wait(std::future::pending()).await,
            Instead::Cut => Some(self.end(End::Gone).await),
        }
    }

    async fn end(&mut self, end: End) -> Next {
        let (result, next): (ApiResult, Next) = match end {
            End::Done(result) => (Ok(result.unwrap_or_else(Value::void)), self.last()),
            End::Refused(error) => (Err(error), Next::Close),
            End::Elsewhere => return self.leave(),
            End::Gone => (Err(Failure::client_gone().error), Next::Cut),
            End::Failed(failure) => {
                let error = failure.error.clone();
                let page = failure.into_page((!self.head_sent).then_some(self.exchange.head));
                let sent = self.exchange.connection.write(&page).await;
                (Err(error), if sent.is_ok() { Next::Close } else { Next::Cut })
            }
        };
        let faults = &self.context.shared.options.faults;
        faults.over(&self.strikes, &result);
        faults.give_orders(&self.strikes, true);
        self.end_task(result);
        auth::release(&self.exchange, &self.caller);
        next
    }

    /// Leaves a task of the client's as it is.
    fn leave(&self) -> Next {
        if self.own_task {
            self.context.step(|world| tasks::destroy(world, &self.context.task));
        }
        auth::release(&self.exchange, &self.caller);
        Next::Close
    }

    /// A cut after the effect also cuts answers without a body.
    fn last(&self) -> Next {
        if self.strikes.answer == Some(Spoil::Cut) { Next::Cut } else { Next::Close }
    }

    fn end_task(&self, result: ApiResult) {
        let now = self.context.shared.clock.now();
        let task = &self.context.task;
        self.context.step(|world| {
            match &result {
                // The result of an export is empty, not an empty value.
                Ok(Value::Str(text)) if text.is_empty() => tasks::complete(world, task, None, now),
                Ok(value) => tasks::complete(world, task, Some(value), now),
                Err(error) => tasks::fail(world, task, error, now),
            }
            if self.own_task {
                tasks::destroy(world, task);
            }
        });
    }
}
