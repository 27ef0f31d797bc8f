//! Messages of the server itself: sessions, tasks, events, alerts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::codec::Answer;
use super::context::Context;
use super::error::{ApiError, ApiResult};
use super::events::{self, Subscription};
use super::front::Front;
use super::messages::{self, NewMessage};
use super::operations::Args;
use super::sessions::{self, Login};
use super::tasks::{self, NewTask};
use super::value::{Text, Value};

/// A message at work.
pub type Running = Pin<Box<dyn Future<Output = ApiResult<Answer>> + Send>>;

/// What a message does.
pub type Builtin = fn(Arc<Context>, Arc<Front>, Args) -> Running;

/// The message of this name.
pub fn find(method: &str) -> Option<Builtin> {
    Some(match method {
        "session.login_with_password" => |context, front, args| Box::pin(login(context, front, args)),
        "session.slave_local_login_with_password" => |context, front, args| Box::pin(local_login(context, front, args)),
        "session.logout" | "session.local_logout" => |context, _, _| Box::pin(logout(context)),
        "event.from" => |context, _, args| Box::pin(event_from(context, args)),
        "event.inject" => |context, _, args| Box::pin(event_inject(context, args)),
        "event.register" => |context, _, args| Box::pin(event_register(context, args)),
        "event.unregister" => |context, _, args| Box::pin(event_unregister(context, args)),
        "event.next" => |context, _, _| Box::pin(async move { events::next(&context).await.map(Answer::from) }),
        "event.get_current_id" => {
            |context, _, _| Box::pin(async move { Ok(Value::Int(context.step(|world| events::current_id(world))).into()) })
        }
        "task.create" => |context, _, args| Box::pin(task_create(context, args)),
        "task.destroy" => |context, _, args| Box::pin(task_destroy(context, args)),
        "task.cancel" => |context, _, args| Box::pin(task_cancel(context, args)),
        "task.set_status" => |context, _, args| Box::pin(task_set(context, args, "status")),
        "task.set_progress" => |context, _, args| Box::pin(task_set(context, args, "progress")),
        "task.set_result" => |context, _, args| Box::pin(task_set(context, args, "result")),
        "task.set_error_info" => |context, _, args| Box::pin(task_set(context, args, "error_info")),
        "message.create" => |context, _, args| Box::pin(message_create(context, args)),
        "message.destroy" => |context, _, args| Box::pin(message_destroy(context, args)),
        "message.destroy_many" => |context, _, args| Box::pin(message_destroy_many(context, args)),
        "message.get" => |context, _, args| Box::pin(message_get(context, args)),
        "message.get_since" => |context, _, args| Box::pin(message_get_since(context, args)),
        "message.get_all" => |context, _, _| Box::pin(message_get_all(context)),
        "message.get_all_records" => |context, _, _| Box::pin(message_get_all_records(context)),
        "message.get_record" => |context, _, args| Box::pin(message_get_record(context, args)),
        "message.get_by_uuid" => |context, _, args| Box::pin(message_get_by_uuid(context, args)),
        "host.list_methods" => |_, _, _| Box::pin(async { Err(ApiError::new("NOT_IMPLEMENTED", ["list_method"])) }),
        _ => return None,
    })
}

fn void() -> ApiResult<Answer> {
    Ok(Value::void().into())
}

fn asked_login(args: &Args) -> ApiResult<Login> {
    let originator = if args.0.len() > 3 { args.text(3)? } else { "".into() };
    Ok(Login { user: args.text(0)?, password: args.text(1)?, originator })
}

async fn login(context: Arc<Context>, front: Arc<Front>, args: Args) -> ApiResult<Answer> {
    context.step(|world| sessions::refuse_on_member(world, &front))?;
    let login = asked_login(&args)?;
    let result = sessions::login(&context.shared, &front.host, &login).await;
    pause(&context, result.is_ok()).await;
    result.map(|session| Value::Str(session).into())
}

async fn local_login(context: Arc<Context>, front: Arc<Front>, args: Args) -> ApiResult<Answer> {
    let login = asked_login(&args)?;
    let result = sessions::login_locally(&context.shared, &front.host, &login).await;
    pause(&context, result.is_ok()).await;
    result.map(|session| Value::Str(session).into())
}

async fn pause(context: &Context, succeeded: bool) {
    let release = context.step(|world| world.release);
    let time = sessions::login_takes(&context.shared.options, release, succeeded);
    if !time.is_zero() {
        context.work(time).await;
    }
}

async fn logout(context: Arc<Context>) -> ApiResult<Answer> {
    context.step(|world| sessions::end(world, &context.session));
    context.shared.nudge();
    void()
}

async fn event_from(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let classes: Vec<Text> = args.0[0].items().iter().filter_map(Value::as_text).cloned().collect();
    let timeout = match args.0[2] {
        Value::Float(timeout) => timeout,
        _ => 0.0,
    };
    events::from(&context, &classes, &args.text(1)?, timeout).await
}

async fn event_inject(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let (class, reference) = (args.text(0)?, args.reference(1)?);
    context.step(|world| events::inject(world, &class, &reference)).map(Answer::from)
}

fn subscriptions(args: &Args) -> ApiResult<Vec<Subscription>> {
    args.0[0].items().iter().filter_map(Value::as_text).map(|class| Subscription::parse(class)).collect()
}

async fn event_register(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let wanted = subscriptions(&args)?;
    context.step(|world| events::register(world, &context.session, wanted));
    void()
}

async fn event_unregister(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let unwanted = subscriptions(&args)?;
    context.step(|world| events::unregister(world, &context.session, &unwanted));
    void()
}

async fn task_create(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let (label, description) = (args.text(0)?, args.text(1)?);
    let now = context.shared.clock.now();
    let task = context.step(|world| {
        let session = context.session.clone();
        let task =
            NewTask { label: &label, description: &description, session: &session, subtask_of: "", other_config: Vec::new() };
        tasks::create(world, task, now)
    });
    Ok(Value::Str(task).into())
}

/// A task that is not over is only marked; the garbage collector destroys it when it is.
async fn task_destroy(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let task = args.reference(0)?;
    context.step(|world| {
        world.database.check("task", &task)?;
        tasks::check_owner(world, &context.caller, &context.session, &task)?;
        let over = matches!(&*world.database.text("task", &task, "status"), "success" | "failure" | "cancelled");
        if over {
            tasks::destroy(world, &task);
            return Ok(());
        }
        world.database.put("task", &task, "current_operations", "task", Value::str("destroy"))
    })?;
    void()
}

/// Marks the task; the operation looks when it can.
async fn task_cancel(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let task = args.reference(0)?;
    context.step(|world| {
        world.database.check("task", &task)?;
        tasks::check_owner(world, &context.caller, &context.session, &task)?;
        let mark = Value::pairs([(context.task.clone(), Text::from("cancel"))]);
        world.database.set("task", &task, "current_operations", mark)
    })?;
    void()
}

async fn task_set(context: Arc<Context>, args: Args, field: &'static str) -> ApiResult<Answer> {
    let task = args.reference(0)?;
    let value = args.0[1].clone();
    context.step(|world| {
        world.database.check("task", &task)?;
        tasks::check_owner(world, &context.caller, &context.session, &task)?;
        world.database.set("task", &task, field, value)
    })?;
    void()
}

async fn message_create(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let (name, priority, cls, obj_uuid, body) = (args.text(0)?, args.int(1)?, args.text(2)?, args.text(3)?, args.text(4)?);
    let now = context.shared.clock.now();
    let message = NewMessage { name: &name, priority, cls: &cls, obj_uuid: &obj_uuid, body: &body };
    context.step(|world| messages::create(world, message, now)).map(|reference| Value::Str(reference).into())
}

async fn message_destroy(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let reference = args.reference(0)?;
    context.step(|world| messages::destroy(world, &reference))?;
    void()
}

async fn message_destroy_many(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let references: Vec<Text> = args.0[0].items().iter().filter_map(Value::as_text).cloned().collect();
    context.step(|world| references.iter().try_for_each(|reference| messages::destroy(world, reference)))?;
    void()
}

async fn message_get(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let (cls, obj_uuid) = (args.text(0)?, args.text(1)?);
    let since = args.0[2].as_date().unwrap_or_default();
    context.step(|world| messages::about(world, &cls, &obj_uuid, since)).map(Answer::from)
}

async fn message_get_since(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let since = args.0[0].as_date().unwrap_or_default();
    Ok(context.step(|world| messages::records(world.messages.iter().filter(|m| m.timestamp > since))).into())
}

async fn message_get_all(context: Arc<Context>) -> ApiResult<Answer> {
    let all = context.step(|world| world.messages.iter().map(|message| message.reference.clone()).collect::<Vec<_>>());
    Ok(Value::texts(all).into())
}

async fn message_get_all_records(context: Arc<Context>) -> ApiResult<Answer> {
    Ok(context.step(|world| messages::records(world.messages.iter())).into())
}

async fn message_get_record(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let reference = args.reference(0)?;
    let found = context.step(|world| world.messages.get(&reference).map(messages::Message::record));
    found.map(Answer::from).ok_or_else(|| ApiError::handle_invalid("message", &reference))
}

async fn message_get_by_uuid(context: Arc<Context>, args: Args) -> ApiResult<Answer> {
    let uuid = args.text(0)?;
    let found = context.step(|world| world.messages.by_uuid(&uuid).map(|message| message.reference.clone()));
    found.map(|found| Value::Str(found).into()).ok_or_else(|| ApiError::new("UUID_INVALID", ["message", &*uuid]))
}
