//! Tasks inside tasks: `Async.VDI.snapshot` and its like, which the server calls on itself for each disk of a VM.
//!
//! Such a task is removed when it succeeded and stays when it did not, as was seen on the real server.

use std::future::Future;
use std::sync::Arc;

use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::tasks::{self, NewTask};
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
    let inner = Arc::new(context.inner(task.clone(), label.trim_start_matches("Async.").into()));
    // The outer call must not hold the clock while the inner one lets time pass.
    let outcome = context.wait(work(Arc::clone(&inner))).await;
    drop(inner);
    match outcome {
        Ok(value) => {
            context.step(|world| tasks::destroy(world, &task));
            Ok(value)
        }
        Err(error) => Err(context.step(|world| close(world, context, &task, error))),
    }
}

fn create(world: &mut World, context: &Context, label: &str) -> Ref {
    let task = NewTask { label, description: "", session: &context.session, subtask_of: &context.task, other_config: Vec::new() };
    let task = tasks::create(world, task, context.shared.clock.now());
    tasks::set_cancellable(world, &task, true);
    task
}

/// Ends a task that failed, and says what that is to the outer one.
fn close(world: &mut World, context: &Context, task: &Ref, error: ApiError) -> ApiError {
    let cancelled = error.code == "TASK_CANCELLED";
    if cancelled {
        // The outer task cancelled it.
        let by = Value::pairs([(context.task.clone(), "cancel")]);
        let _ = world.database.set("task", task, "current_operations", by);
    }
    tasks::fail(world, task, &error, context.shared.clock.now());
    if cancelled { ApiError::new("TASK_CANCELLED", [&*context.task]) } else { error }
}
