//! Bulk data over HTTP: archives, metadata, databases, disks. The stream says nothing about success: the server answers 200 first and
//! ends a failed stream as cleanly as a good one. So every transfer has a task of ours, and only that task's end counts; and a
//! transfer that is given up takes its task with it. No more than a few pieces are in memory at a time.

mod error;
mod get;
mod page;
mod put;
mod request;
mod what;

pub use error::TransferError;
pub use what::{Compression, DiskFormat, Download, Upload};

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::calls;
use super::error::CallError;
use super::pool::Pool;
use super::records::Task;
use super::types::Ref;
use super::wire::{DecodeError, task_result};

/// A transfer that succeeded, as its task says.
#[derive(Debug, Clone, PartialEq)]
pub struct Transferred {
    /// Bytes of the body.
    pub bytes: u64,
    task: Arc<Task>,
}

impl Transferred {
    /// What the server made of it: the VMs of an import (`Vec<Ref<Vm>>`), the VDI of an imported disk; nothing for the rest.
    ///
    /// # Errors
    /// When the result is of another type.
    pub fn result<R: DeserializeOwned>(&self) -> Result<R, DecodeError> {
        task_result(&self.task.result)
    }
}

/// The task of a transfer. If it is dropped before the task's end was seen, the task is cancelled and left to the server.
struct Tracked {
    pool: Pool,
    reference: Ref<Task>,
    settled: bool,
}

impl Tracked {
    async fn create(pool: &Pool, label: &str) -> Result<Self, CallError> {
        // A second one would only lie there until the server clears it away.
        let reference = pool.call(calls::task::create(label, "")).await?;
        Ok(Self { pool: pool.clone(), reference, settled: false })
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.settled || self.pool.core.is_closed() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (pool, reference) = (self.pool.clone(), self.reference.clone());
        let running = self.pool.core.running.clone();
        running.spawn_on(async move { give_up(&pool, &reference).await }, &runtime);
    }
}

/// Ends a task nobody waits for; destroying a pending one makes the server clear it away when it has ended.
async fn give_up(pool: &Pool, reference: &Ref<Task>) {
    for call in [calls::task::cancel(reference), calls::task::destroy(reference)] {
        if let Err(error) = pool.call(call).await {
            tracing::debug!(pool = %pool.name(), %error, "the task of a transfer that was given up stays at the server");
        }
    }
}
