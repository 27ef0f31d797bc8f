//! Waiting for a task. Three things can end a pause: an event, the time to look for oneself, and the deadline.

use std::sync::Arc;
use std::time::Duration;

use super::error::TaskError;
use super::hub::{Heard, Stream, Watched};
use crate::xenapi::calls;
use crate::xenapi::error::{CallError, Refusal};
use crate::xenapi::failure::Kind;
use crate::xenapi::pool::Pool;
use crate::xenapi::records::{Task, TaskStatus};
use crate::xenapi::types::Ref;

/// With events, the record is read this often all the same.
const LOOK: Duration = Duration::from_secs(20);
/// Without events, this often at first and at last.
const LOOK_SOON: Duration = Duration::from_secs(1);
const LOOK_LATER: Duration = Duration::from_secs(5);
/// How long a cancelled task may take to end.
const GRACE: Duration = Duration::from_secs(60);
/// How long the clean-up of a finished task may wait for a pool that went away.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Why the waiting ended before the task.
enum Early {
    /// The time given is over.
    Late,
    Error(TaskError),
}

/// Which tasks are destroyed once they have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaned {
    All,
    /// One that failed is left to who has to write that down first.
    Successes,
}

/// Waits for the end, cancels at the deadline, says when it is over, and destroys. A task that succeeded is returned.
pub(super) async fn ended(
    pool: &Pool,
    mut watched: Watched,
    method: String,
    deadline: Option<Duration>,
    cleaned: Cleaned,
    over: impl FnOnce(),
) -> Result<Arc<Task>, TaskError> {
    let mut cancelled_after = None;
    let ended = match wait(pool, &mut watched, &method, deadline).await {
        Err(Early::Late) => {
            let deadline = deadline.unwrap_or_default();
            cancelled_after = Some(deadline);
            stop(pool, &mut watched, &method, deadline).await
        }
        other => other,
    };
    over();
    let task = match ended {
        Ok(task) => task,
        Err(Early::Error(error)) => return Err(error),
        Err(Early::Late) => return Err(TaskError::StillRunning { method, deadline: deadline.unwrap_or_default() }),
    };
    if cleaned == Cleaned::All || task.failure().is_none() {
        destroy(pool, &watched.reference).await;
    }
    match (task.failure(), cancelled_after) {
        (None, _) => Ok(task),
        (Some(_), Some(deadline)) if task.status == TaskStatus::Cancelled => Err(TaskError::Deadline { method, deadline }),
        (Some(failure), _) => {
            pool.core.tallies.failed(&method, &failure.code);
            Err(TaskError::Failed(Refusal { method, failure: pool.core.clean(failure) }))
        }
    }
}

/// Cancels the task and waits for the end it then takes.
async fn stop(pool: &Pool, watched: &mut Watched, method: &str, deadline: Duration) -> Result<Arc<Task>, Early> {
    tracing::info!(pool = %pool.name(), %method, deadline = deadline.as_secs(), "not done in time: cancelling");
    if let Err(error) = cancel(pool, &watched.reference).await {
        tracing::warn!(pool = %pool.name(), %method, %error, "the task could not be cancelled");
    }
    wait(pool, watched, method, Some(GRACE)).await
}

async fn wait(pool: &Pool, watched: &mut Watched, method: &str, limit: Option<Duration>) -> Result<Arc<Task>, Early> {
    let clock = pool.clock();
    let ends = limit.map(|limit| clock.elapsed().saturating_add(limit));
    let left = || ends.map_or(Duration::MAX, |ends| ends.saturating_sub(clock.elapsed()));
    let mut looks = 0;
    loop {
        let heard = watched.heard.borrow_and_update().clone();
        let look_now = match heard {
            Heard::Ended(task) => return Ok(task),
            Heard::Missed => true,
            Heard::Of { .. } => false,
        };
        if left().is_zero() {
            return Err(Early::Late);
        }
        let pause = if look_now { Duration::ZERO } else { pause(watched.stream(), looks) };
        tokio::select! {
            biased;
            Ok(()) = watched.heard.changed(), if !look_now => continue,
            () = clock.sleep(pause.min(left())) => {}
        }
        if look_now || pause <= left() {
            looks += 1;
            if let Some(task) = look(pool, watched, method, left()).await? {
                return Ok(task);
            }
        }
    }
}

/// How long to rely on events before the next look.
fn pause(stream: Stream, looks: u32) -> Duration {
    match stream {
        Stream::Live => LOOK,
        Stream::Silent | Stream::Unsupported => LOOK_SOON.mul_f64(1.5_f64.powi(looks.min(10).cast_signed())).min(LOOK_LATER),
    }
}

/// Reads the task's record: its end, if it has come to one.
async fn look(pool: &Pool, watched: &mut Watched, method: &str, left: Duration) -> Result<Option<Arc<Task>>, Early> {
    watched.heard.mark_unchanged();
    let patience = left.min(pool.core.settings.patience);
    match pool.call(calls::record(&watched.reference).within(patience)).await {
        Ok(task) if task.has_ended() => Ok(Some(Arc::new(task))),
        Ok(_) => {
            watched.under_way();
            Ok(None)
        }
        Err(error) if error.kind() == Kind::NotFound => Err(Early::Error(TaskError::Vanished { method: method.to_owned() })),
        Err(error) if error.kind() == Kind::Transient && left != Duration::MAX => {
            tracing::debug!(pool = %pool.name(), %method, %error, "the task cannot be read now");
            Ok(None)
        }
        Err(source) => Err(Early::Error(TaskError::Unwatched { method: method.to_owned(), source })),
    }
}

pub(super) async fn cancel(pool: &Pool, reference: &Ref<Task>) -> Result<(), CallError> {
    pool.call(calls::task::cancel(reference)).await.map(|_| ())
}

/// Removes a finished task from the server, which would do so itself after an hour: failing at it matters to nobody.
pub(crate) async fn destroy(pool: &Pool, reference: &Ref<Task>) {
    let call = calls::task::destroy(reference).within(CLEAN_UP);
    match pool.call(call).await {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => tracing::debug!(pool = %pool.name(), %error, "a finished task was left to the server"),
    }
}
