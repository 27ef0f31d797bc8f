//! A long call, from its start to its end. Only the task's status says that it has ended; events say so first, and reading the
//! record says so in the end, because an event can be missed. Whoever waited to the end destroys the task, unless a failure has to be
//! written down first; whoever goes away earlier leaves it at the server, where it can be picked up again.

mod error;
mod hub;
mod wait;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

pub use error::TaskError;
pub(super) use hub::Hub;
use hub::Watched;
use wait::Cleaned;
pub(super) use wait::destroy;

use super::call::Call;
use super::calls;
use super::error::CallError;
use super::pool::Pool;
use super::records;
use super::types::Ref;
use super::wire::task_result;

/// A task at the server that will bring an `R`.
///
/// Dropping it leaves the task alone: it runs on and can be picked up by its reference.
pub struct Task<R> {
    pool: Pool,
    watched: Watched,
    /// The method, for messages.
    name: String,
    cleaned: Cleaned,
    result: PhantomData<fn() -> R>,
}

/// A task found by a tag.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundTask {
    /// Its reference, for [`Pool::pick_up`].
    pub reference: Ref<records::Task>,
    /// The task as it was when it was found.
    pub task: records::Task,
}

impl Pool {
    /// Starts the asynchronous form of `call`.
    ///
    /// The answer is only the task's reference. If it is lost, a mutating call fails with an error of kind `Ambiguous`; a call that was
    /// [tagged](Call::tagged) is then found with [`Pool::find_by_tag`].
    ///
    /// # Errors
    /// As [`Pool::call`]; wrong arguments show up later, as the task's failure.
    pub async fn start<R: DeserializeOwned + Send + 'static>(&self, call: Call<R>) -> Result<Task<R>, CallError> {
        let mut parts = call.parts;
        let name = parts.method.clone();
        parts.method = format!("Async.{name}");
        parts.blocks = false;
        let reference = self.core.run(&parts, || PhantomData::<Ref<records::Task>>).await?;
        Ok(self.watch(reference, name))
    }

    /// Takes up a task again whose reference is known, from this or an earlier life of this program. It may be gone by now, which
    /// [`Task::finish`] will say.
    pub fn pick_up<R: DeserializeOwned + Send + 'static>(&self, reference: Ref<records::Task>) -> Task<R> {
        let name = reference.to_string();
        self.watch(reference, name)
    }

    fn watch<R>(&self, reference: Ref<records::Task>, name: String) -> Task<R> {
        let watched = self.core.tasks.watch(&self.core, reference);
        Task { pool: self.clone(), watched, name, cleaned: Cleaned::All, result: PhantomData }
    }

    /// Removes a task that has ended from the server; what nobody removes the server removes by itself, an hour later or so.
    pub async fn forget(&self, task: &Ref<records::Task>) {
        destroy(self, task).await;
    }

    /// The values of the tag `key` of all tasks at the server that have it, oldest first.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn tagged(&self, key: &str) -> Result<Vec<String>, CallError> {
        let key = format!("http:{key}");
        let all = self.call(calls::all::<records::Task>()).await?;
        let value = |task: &records::Task| Some((task.created, task.other_config.get(&key)?.to_owned()));
        let mut tagged: Vec<_> = all.values().filter_map(value).collect();
        tagged.sort();
        Ok(tagged.into_iter().map(|(_, value)| value).collect())
    }

    /// The tasks that were started with the tag `key` and `value` (see [`Call::tagged`]) and are still at the server: pending ones,
    /// and finished ones that nobody destroyed yet. Sorted by age, oldest first.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn find_by_tag(&self, key: &str, value: &str) -> Result<Vec<FoundTask>, CallError> {
        let key = format!("http:{key}");
        let all = self.call(calls::all::<records::Task>()).await?;
        let tagged = all.into_iter().filter(|(_, task)| task.other_config.get(&key) == Some(value));
        let mut found: Vec<FoundTask> = tagged.map(|(reference, task)| FoundTask { reference, task }).collect();
        found.sort_by_key(|found| found.task.created);
        Ok(found)
    }
}

impl<R: DeserializeOwned + Send + 'static> Task<R> {
    /// The task's reference. It names the task as long as the server's toolstack runs.
    pub fn reference(&self) -> &Ref<records::Task> {
        &self.watched.reference
    }

    /// How far it is, from 0 to 1, as far as was heard. It says nothing about an end: a failed task shows 1 as well.
    pub fn progress(&self) -> f64 {
        self.watched.progress()
    }

    /// Waits for the end, and destroys the task then. The result is decoded into `R`.
    ///
    /// After `deadline`, counted on the clock from now, the task is cancelled; if it ends all the same within a grace time, that end
    /// counts, success included.
    ///
    /// # Errors
    /// See [`TaskError`]. With [`TaskError::Vanished`], [`TaskError::StillRunning`] and [`TaskError::Unwatched`] nobody knows what
    /// became of it: look at the pool.
    pub async fn finish(self, deadline: Option<Duration>) -> Result<R, TaskError> {
        self.finish_then(deadline, || ()).await
    }

    /// As [`Task::finish`]; `over` is called the moment the end is known, before the task is cleaned away at the server: whoever waits
    /// for this call's turn need not wait for that.
    ///
    /// # Errors
    /// As [`Task::finish`].
    pub async fn finish_then(self, deadline: Option<Duration>, over: impl FnOnce() + Send) -> Result<R, TaskError> {
        let name = self.name.clone();
        let task = wait::ended(&self.pool, self.watched, self.name, deadline, self.cleaned, over).await?;
        task_result(&task.result).map_err(|source| TaskError::Unreadable { method: name, source })
    }

    /// As [`Task::finish`], for a result of any type.
    pub(super) async fn ended(self, deadline: Option<Duration>) -> Result<Arc<records::Task>, TaskError> {
        wait::ended(&self.pool, self.watched, self.name, deadline, self.cleaned, || ()).await
    }

    /// Leaves the task at the server if it fails: whoever dies before he has written the failure down finds it again. Then it is for
    /// the caller to [forget](Pool::forget) it.
    #[must_use]
    pub fn leaving_failures(mut self) -> Self {
        self.cleaned = Cleaned::Successes;
        self
    }

    /// With another name for messages.
    pub(super) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Asks the server to end the task. It ends as it can, perhaps with success; [`Task::finish`] tells.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn cancel(&self) -> Result<(), CallError> {
        wait::cancel(&self.pool, &self.watched.reference).await
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).field("reference", &self.watched.reference).finish_non_exhaustive()
    }
}
