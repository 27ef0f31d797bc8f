//! Tasks: the rows that stand for calls in progress, and what becomes of them.

use chrono::{DateTime, TimeDelta, Utc};

use super::codec::Emit;
use super::codec::xml::XmlEmit;
use super::error::{ApiError, ApiResult};
use super::value::{NULL, Ref, Text, Value};
use super::world::World;

/// Completed tasks older than this are destroyed.
const COMPLETED_KEPT: TimeDelta = TimeDelta::seconds(3900);
/// Pending tasks older than this are destroyed unless they get on.
const PENDING_KEPT: TimeDelta = TimeDelta::seconds(86_400);
/// More tasks than this, and completed ones go early.
const MAX_TASKS: usize = 200;

/// A task to be made.
#[derive(Debug, Clone)]
pub struct NewTask<'a> {
    /// The name, such as `Async.VM.snapshot`.
    pub label: &'a str,
    /// The description.
    pub description: &'a str,
    /// The session it belongs to.
    pub session: &'a str,
    /// The task it is part of.
    pub subtask_of: &'a str,
    /// What `other_config` starts with, in order.
    pub other_config: Vec<(Text, Text)>,
}

/// Makes a pending task.
pub fn create(world: &mut World, task: NewTask<'_>, now: DateTime<Utc>) -> Ref {
    let (uuid, reference) = (world.uuid(), world.reference());
    let parent = if super::value::is_null(task.subtask_of) || is_dummy(task.subtask_of) { NULL } else { task.subtask_of };
    world.task_sessions.insert(reference.clone(), task.session.into());
    let host = world.master.clone();
    world.database.create(
        "task",
        reference.clone(),
        [
            ("uuid", Value::Str(uuid)),
            ("name_label", Value::str(task.label)),
            ("name_description", Value::str(task.description)),
            ("created", Value::date(now)),
            ("status", Value::str("pending")),
            ("resident_on", Value::Str(host)),
            ("type", Value::str("<none/>")),
            ("other_config", Value::pairs(task.other_config)),
            ("subtask_of", Value::str(parent)),
            ("backtrace", Value::str("()")),
        ],
    );
    reference
}

/// The reference of a call that has no row.
pub fn dummy(world: &mut World, label: &str) -> Ref {
    format!("DummyRef:|{}|{label}", world.uuid()).into()
}

/// True for references that never had a row.
pub fn is_dummy(reference: &str) -> bool {
    reference.starts_with("DummyRef:")
}

/// Removes a task.
pub fn destroy(world: &mut World, task: &str) {
    world.task_sessions.remove(task);
    world.database.destroy("task", task);
}

/// A result as tasks keep it: an XML-RPC value, whatever wire the client speaks.
pub fn result_text(value: &Value) -> Text {
    let mut text = String::new();
    XmlEmit(&mut text).value(value);
    text.into()
}

/// Ends a task well. A task that is not pending any more stays as it is. The status is written last.
pub fn complete(world: &mut World, task: &str, result: Option<&Value>, now: DateTime<Utc>) {
    let mut fields =
        vec![("allowed_operations", Value::Set(Vec::new())), ("finished", Value::date(now)), ("progress", Value::Float(1.0))];
    fields.extend(result.map(|value| ("result", Value::Str(result_text(value)))));
    fields.push(("status", Value::str("success")));
    end(world, task, fields);
}

/// Ends a task with an error, TASK_CANCELLED included.
pub fn fail(world: &mut World, task: &str, error: &ApiError, now: DateTime<Utc>) {
    if error.code == "TASK_CANCELLED" {
        return cancelled(world, task, now);
    }
    let info = std::iter::once(&error.code).chain(&error.params).map(String::as_str);
    let fields = vec![
        ("progress", Value::Float(1.0)),
        ("error_info", Value::texts(info)),
        ("finished", Value::date(now)),
        ("allowed_operations", Value::Set(Vec::new())),
        ("status", Value::str("failure")),
    ];
    end(world, task, fields);
}

fn cancelled(world: &mut World, task: &str, now: DateTime<Utc>) {
    let fields = vec![
        ("progress", Value::Float(1.0)),
        ("finished", Value::date(now)),
        ("status", Value::str("cancelled")),
        ("allowed_operations", Value::Set(Vec::new())),
    ];
    end(world, task, fields);
}

fn end(world: &mut World, task: &str, fields: Vec<(&str, Value)>) {
    if &*world.database.text("task", task, "status") != "pending" {
        return;
    }
    for (field, value) in fields {
        // The row was there a line ago, and the world is locked.
        let _ = world.database.set("task", task, field, value);
    }
}

/// Whether `task.cancel` is allowed, as `allowed_operations` shows it.
pub fn set_cancellable(world: &mut World, task: &str, cancellable: bool) {
    let operations = if cancellable { Value::texts(["cancel"]) } else { Value::Set(Vec::new()) };
    // The row is absent for calls without a task.
    let _ = world.database.set("task", task, "allowed_operations", operations);
}

/// Fails unless the caller owns the task or may act on those of others.
///
/// # Errors
/// HANDLE_INVALID, RBAC_PERMISSION_DENIED.
pub fn check_owner(world: &World, caller: &super::world::Session, session: &str, task: &str) -> ApiResult<()> {
    let owner = world.task_sessions.get(task).map(|owner| &**owner);
    let user = |session: &str| world.sessions.get(session).map(|session| session.user.clone());
    let own = owner == Some(session) || owner.and_then(user).is_some_and(|user| user == caller.user);
    if own { Ok(()) } else { super::rbac::require(caller, "task.destroy.any", "pool-operator") }
}

/// Removes tasks that were to be destroyed and are over, that are old, and of too many the ones that ended first
/// (xapi: db_gc_util.ml, the miscounted limit included).
pub fn collect(world: &mut World, now: DateTime<Utc>) {
    let tasks: Vec<Look> = world.database.refs("task").into_iter().map(|task| look(world, task)).collect();
    let mut doomed: Vec<Ref> = Vec::new();
    let mut young: Vec<&Look> = Vec::new();
    let mut seen = std::collections::HashMap::new();
    for task in &tasks {
        let stale = !task.completed && now - task.created > PENDING_KEPT;
        if stale {
            seen.insert(task.reference.clone(), task.progress);
        }
        let stuck = stale && world.probation.get(&task.reference).is_some_and(|before| task.progress <= *before);
        let old = task.completed && now - task.finished > COMPLETED_KEPT;
        if (task.completed && task.to_be_destroyed) || old || stuck {
            doomed.push(task.reference.clone());
        } else {
            young.push(task);
        }
    }
    world.probation = seen;
    doomed.extend(too_many(young));
    for task in doomed {
        destroy(world, &task);
    }
}

fn too_many(young: Vec<&Look>) -> Vec<Ref> {
    if young.len() <= MAX_TASKS {
        return Vec::new();
    }
    let mut completed: Vec<&Look> = young.into_iter().filter(|task| task.completed).collect();
    completed.sort_by_key(|task| std::cmp::Reverse(task.finished));
    let kept = MAX_TASKS.saturating_sub(completed.len());
    completed.into_iter().skip(kept).map(|task| task.reference.clone()).collect()
}

struct Look {
    reference: Ref,
    completed: bool,
    to_be_destroyed: bool,
    created: DateTime<Utc>,
    finished: DateTime<Utc>,
    progress: f64,
}

fn look(world: &World, reference: Ref) -> Look {
    let database = &world.database;
    let date = |field| database.get("task", &reference, field).and_then(Value::as_date).unwrap_or_default();
    let operations = database.get("task", &reference, "current_operations").map_or(&[][..], Value::members);
    Look {
        completed: matches!(&*database.text("task", &reference, "status"), "success" | "failure" | "cancelled"),
        to_be_destroyed: operations.iter().any(|(_, operation)| *operation == Value::str("destroy")),
        created: date("created"),
        finished: date("finished"),
        progress: match database.get("task", &reference, "progress") {
            Some(Value::Float(progress)) => *progress,
            _ => 0.0,
        },
        reference,
    }
}
