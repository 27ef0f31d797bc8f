//! From a call to its answer.
//!
//! The order of the checks is the real server's (idl: gen_server.ml): emergency mode, the number of parameters, their types, the
//! session, and inside the call's own task the role. Whatever fails before the task exists fails at once, for `Async.` too.

use std::sync::Arc;

use super::codec::{Answer, Call, Rpc};
use super::context::{Context, Shared};
use super::error::{ApiError, ApiResult};
use super::faults::Pace;
use super::front::{Front, Mode};
use super::generic::Generic;
use super::model::{Class, Message, Model, Param, Release};
use super::operations::{self, Args, Handler};
use super::sessions;
use super::tasks::{self, NewTask};
use super::types::typed;
use super::value::{Ref, Text, Value};
use super::world::Session;
use super::{builtin, rbac};
use crate::clock::Hold;

/// A call with what came along with it.
#[derive(Debug)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// The host that received it.
    pub front: Arc<Front>,
    /// `x-http-other-config-*` headers: what follows the prefix, and the value.
    pub other_config: Vec<(Text, Text)>,
    /// The `subtask-of` header.
    pub subtask_of: Option<Text>,
    /// The `task-id` header: a task that stands for this call already.
    pub task: Option<Text>,
    /// How the call's work goes, under faults.
    pub pace: Pace,
    /// What the call fails with instead of doing anything, under faults.
    pub refusal: Option<ApiError>,
}

impl Request {
    /// A call without headers.
    pub fn new(call: Call, front: Arc<Front>) -> Self {
        Self { call, front, other_config: Vec::new(), subtask_of: None, task: None, pace: Pace::default(), refusal: None }
    }
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Answered(ApiResult<Answer>),
    /// It failed before it was dispatched: the answer has another shape.
    Raised(ApiError),
    /// It is never answered.
    Hang,
}

/// Calls that work without a master and in emergency mode.
const EMERGENCY: [&str; 21] = [
    "pool.emergency_reset_master",
    "pool.emergency_transition_to_master",
    "pool.is_slave",
    "session.slave_local_login",
    "session.slave_local_login_with_password",
    "session.local_logout",
    "host.propose_new_master",
    "host.commit_new_master",
    "host.abort_new_master",
    "host.local_assert_healthy",
    "host.signal_networking_change",
    "host.local_management_reconfigure",
    "host.ha_xapi_healthcheck",
    "host.emergency_ha_disable",
    "host.management_disable",
    "host.get_system_status_capabilities",
    "host.is_in_emergency_mode",
    "host.shutdown_agent",
    "host.emergency_reset_server_certificate",
    "host.emergency_disable_tls_verification",
    "host.emergency_reenable_tls_verification",
];

/// Calls a call's message.
pub async fn dispatch(shared: &Arc<Shared>, request: Request, hold: Hold) -> Outcome {
    shared.count_call(&request.call.method);
    if let Mode::Emergency(error) = request.front.mode()
        && !EMERGENCY.contains(&&*request.call.method)
    {
        return Outcome::Raised(error);
    }
    match route(shared, &request) {
        Ok(Routed::Answer(answer)) => Outcome::Answered(Ok(answer)),
        Ok(Routed::Hang) => Outcome::Hang,
        Ok(Routed::Message(message)) => Outcome::Answered(run(shared, request, message, hold).await),
        Err(error) => Outcome::Answered(Err(error)),
    }
}

/// A message that may be called: its parameters fit and its session is valid.
struct Ready {
    class: &'static Class,
    message: &'static Message,
    mode: CallMode,
    session: Ref,
    caller: Session,
    args: Args,
}

enum Routed {
    Answer(Answer),
    Message(Box<Ready>),
    Hang,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallMode {
    Sync,
    Async,
}

fn route(shared: &Arc<Shared>, request: &Request) -> ApiResult<Routed> {
    let (mode, method) = split(&request.call.method);
    let params = &request.call.params;
    if let Some(answer) = system(shared, method, params) {
        return answer.map(Routed::Answer);
    }
    let release = shared.step(|world| world.release);
    let found = Model::get().message(method).filter(|(class, message)| class.since <= release && message.since <= release);
    let Some((class, message)) = found else {
        return unknown(shared, request, method, params);
    };
    let removed = message.removed.is_some_and(|removed| removed <= release);
    check_count(message, method, params, release)?;
    // A removed message looks at nothing but its session.
    let args = if removed { Args(Vec::new()) } else { arguments(message, params, release)? };
    let Some((session, caller)) = authenticate(shared, request, message, params)? else {
        return Ok(Routed::Hang);
    };
    if removed {
        return Err(ApiError::bare("MESSAGE_REMOVED"));
    }
    if message.internal {
        let text = format!("Internal API \"{method}\" call attempted with non-pool (external) session");
        return Err(ApiError::internal(text));
    }
    if mode == CallMode::Async && !message.asynchronous {
        let text = format!("No async mode for this operation (rpc: {method})");
        return Err(ApiError::new("Fault", [text]));
    }
    Ok(Routed::Message(Box::new(Ready { class, message, mode, session, caller, args })))
}

fn split(method: &str) -> (CallMode, &str) {
    let stripped = method.strip_prefix("Async.").or_else(|| method.strip_prefix("InternalAsync."));
    stripped.map_or((CallMode::Sync, method), |method| (CallMode::Async, method))
}

/// Messages of no class.
fn system(shared: &Shared, method: &str, params: &[Rpc]) -> Option<ApiResult<Answer>> {
    if method == "system.listMethods" {
        let release = shared.step(|world| world.release);
        return Some(Ok(Value::texts(super::methods::list(release)).into()));
    }
    let alive = method.strip_prefix("system.isAlive:").filter(|rest| !rest.is_empty())?;
    let echo = params.first().map_or_else(|| Value::str(alive), super::types::untyped);
    Some(Ok(echo.into()))
}

/// The server takes an unknown message for an extension, whose first parameter is a session.
fn unknown(shared: &Arc<Shared>, request: &Request, method: &str, params: &[Rpc]) -> ApiResult<Routed> {
    let error = ApiError::new("MESSAGE_METHOD_UNKNOWN", [method]);
    let Some(session) = params.first() else { return Err(error) };
    let session = typed(session, &super::model::Type::String)?;
    let session = session.as_text().cloned().unwrap_or_else(|| "".into());
    let Some((_, caller)) = check_session(shared, request, &session, method)? else { return Ok(Routed::Hang) };
    if let Some((_, extension)) = Model::get().message("host.call_extension") {
        rbac::check(&caller, "host.call_extension", extension, &[])?;
    }
    Err(error)
}

/// A message with defaults ignores surplus parameters; any other takes exactly its own.
fn check_count(message: &Message, method: &str, params: &[Rpc], release: Release) -> ApiResult<()> {
    let known: Vec<&Param> = message.params.iter().filter(|param| param.since <= release).collect();
    let needed = known.iter().filter(|param| param.default.is_none()).count();
    let optional = known.len() > needed;
    if params.len() < needed || (!optional && params.len() > needed) {
        let session = usize::from(message.takes_session());
        let received = params.len() as i64 - session as i64;
        let counts = [method.to_owned(), (needed - session).to_string(), received.to_string()];
        return Err(ApiError::new("MESSAGE_PARAMETER_COUNT_MISMATCH", counts));
    }
    Ok(())
}

/// The parameters without the session, those left out filled in.
fn arguments(message: &Message, params: &[Rpc], release: Release) -> ApiResult<Args> {
    let mut args = Vec::with_capacity(message.params.len());
    for (at, param) in message.params.iter().enumerate() {
        let given = params.get(at).filter(|_| param.since <= release);
        match (given, &param.default) {
            (Some(rpc), _) => args.push(typed(rpc, &param.kind)?),
            (None, Some(default)) => args.push(default.clone()),
            (None, None) => args.push(param.kind.zero()),
        }
    }
    if message.takes_session() {
        args.remove(0);
    }
    Ok(Args(args))
}

/// Who calls; none when nobody will ever know.
fn authenticate(shared: &Arc<Shared>, request: &Request, message: &Message, params: &[Rpc]) -> ApiResult<Option<(Ref, Session)>> {
    if !message.takes_session() {
        let nobody = Session { user: "".into(), originator: "".into(), role: None, scheduler: false };
        return Ok(Some(("".into(), nobody)));
    }
    let session = params.first().and_then(Rpc::text).unwrap_or_default();
    check_session(shared, request, &session.into(), &request.call.method)
}

fn check_session(shared: &Arc<Shared>, request: &Request, session: &Ref, _method: &str) -> ApiResult<Option<(Ref, Session)>> {
    let host = &request.front.host;
    let now = shared.clock.now();
    let limits = &shared.options.sessions;
    let (local, master) = shared.step(|world| (sessions::local(world, host, session), world.master.clone()));
    if let Some(local) = local {
        return Ok(Some((session.clone(), local)));
    }
    // A member asks the master, and waits for one that does not answer.
    let is_master = master == *host;
    if !is_master && shared.front(&master).is_some_and(|front| !front.is_up()) {
        return Ok(None);
    }
    let caller = shared.step(|world| {
        let caller = sessions::check(world, limits, now, session)?;
        sessions::refuse_on_member(world, &request.front)?;
        Ok(caller)
    })?;
    Ok(Some((session.clone(), caller)))
}

/// Classes whose calls are no tasks: their `Async.` form answers a reference that no object has.
const WITHOUT_TASKS: [&str; 2] = ["task", "event"];

async fn run(shared: &Arc<Shared>, request: Request, ready: Box<Ready>, hold: Hold) -> ApiResult<Answer> {
    let method: Text = format!("{}.{}", ready.class.name, ready.message.name).into();
    let task = make_task(shared, &request, &ready);
    let Ready { class, message, mode, session, caller, args } = *ready;
    let context = Context::new(Arc::clone(shared), task.clone(), session, caller, method).at_pace(request.pace);
    let context = Arc::new(context);
    drop(hold);
    let work = work(Arc::clone(&context), request, class, message, args);
    if mode == CallMode::Async {
        let context_of_end = Arc::clone(&context);
        drop(context);
        shared.spawn(async move {
            let result = work.await;
            finish(&context_of_end, &result);
        });
        return Ok(Value::Str(task).into());
    }
    let result = work.await;
    shared.step(|world| tasks::destroy(world, &task));
    result
}

/// A row for `Async.` calls and for synchronous calls of messages that have that form, nothing but a name otherwise.
fn make_task(shared: &Arc<Shared>, request: &Request, ready: &Ready) -> Ref {
    if let Some(task) = &request.task {
        return task.clone();
    }
    let label = &request.call.method;
    let in_database = ready.message.asynchronous && !WITHOUT_TASKS.contains(&&*ready.class.name);
    let task = NewTask {
        label,
        description: "",
        session: &ready.session,
        subtask_of: request.subtask_of.as_deref().unwrap_or_default(),
        other_config: request.other_config.iter().map(|(k, v)| (Text::from(format!("http:{k}")), v.clone())).collect(),
    };
    let now = shared.clock.now();
    shared.step(|world| if in_database { tasks::create(world, task, now) } else { tasks::dummy(world, label) })
}

async fn work(
    context: Arc<Context>,
    request: Request,
    class: &'static Class,
    message: &'static Message,
    args: Args,
) -> ApiResult<Answer> {
    rbac::check(&context.caller, &context.method, message, &args.0)?;
    if let Some(refusal) = request.refusal {
        return Err(refusal);
    }
    if let Some(handler) = operations::find(&context.method) {
        return call_handler(handler, context, args).await;
    }
    if let Some(work) = builtin::find(&context.method) {
        return work(context, request.front, args).await;
    }
    match Generic::find(class, &message.name) {
        Some(generic) => context.step(|world| generic.run(world, class, &args)),
        None => Err(ApiError::new("NOT_IMPLEMENTED", [&*context.method])),
    }
}

async fn call_handler(handler: Handler, context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    handler(context, args).await.map(Answer::from)
}

fn finish(context: &Context, result: &ApiResult<Answer>) {
    let now = context.shared.clock.now();
    context.step(|world| match result {
        Ok(answer) => tasks::complete(world, &context.task, Some(&answer.to_value()), now),
        Err(error) => tasks::fail(world, &context.task, error, now),
    });
}
