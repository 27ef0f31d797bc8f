//! Tasks inside tasks: `Async.VDI.snapshot` and its like, which the server calls on itself for each disk of a VM.
//!
//! Such a task is removed when it succeeded and stays when it did not, as was seen on the real server.

use std::future::Future;
use std::sync::Arc;

use super::clock::{date, epoch, now};
use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Ref, Value};
use crate::simulator::world::World;

/// Runs `work` as a task of its own called `label`, inside the task of `context`.
///
/// # Errors
/// What `work` fails with; when it was cancelled, TASK_CANCELLED of the outer task.
pub async fn run<F, T>(context: &Context, label: &str, work: impl FnOnce(Arc<Context>) -> F) -> ApiResult<T>
where
    F: Future<Output = ApiResult<T>>,
{
    let task = context.step(|world| create(world, context, label));
    let inner = Context::new(
        Arc::clone(&context.shared),
        task.clone(),
        context.session.clone(),
        context.caller.clone(),
        label.trim_start_matches("Async.").into(),
    );
    let inner = Arc::new(inner);
    // The outer call must not hold the clock while the inner one lets time pass.
    let outcome = context.wait(work(Arc::clone(&inner))).await;
    drop(inner);
    match outcome {
        Ok(value) => {
            context.step(|world| world.database.destroy("task", &task));
            Ok(value)
        }
        Err(error) => Err(context.step(|world| close(world, context, &task, error))),
    }
}

fn create(world: &mut World, context: &Context, label: &str) -> Ref {
    let (reference, uuid) = (world.reference(), world.uuid());
    let resident = world.master.clone();
    let fields = [
        ("uuid", Value::str(uuid)),
        ("name_label", Value::str(label)),
        ("created", now(context)),
        ("finished", epoch()),
        ("status", Value::str("pending")),
        ("allowed_operations", Value::texts(["cancel"])),
        ("resident_on", Value::str(resident)),
        ("type", Value::str("<none/>")),
        ("subtask_of", Value::str(context.task.clone())),
        ("backtrace", Value::str("()")),
    ];
    world.database.create("task", reference, fields)
}

/// Ends a task that failed, and says what that is to the outer one.
fn close(world: &mut World, context: &Context, task: &Ref, error: ApiError) -> ApiError {
    let cancelled = error.code == "TASK_CANCELLED";
    let info = Value::texts(std::iter::once(error.code.clone()).chain(error.params.iter().cloned()));
    let mut set = |field, value| drop(world.database.set("task", task, field, value));
    if cancelled {
        set("current_operations", Value::pairs([(context.task.clone(), "cancel")]));
    } else {
        set("error_info", info);
    }
    set("progress", Value::Float(1.0));
    set("finished", date(context.shared.clock.now()));
    set("allowed_operations", Value::Set(Vec::new()));
    set("status", Value::str(if cancelled { "cancelled" } else { "failure" }));
    if cancelled { ApiError::new("TASK_CANCELLED", [&*context.task]) } else { error }
}
