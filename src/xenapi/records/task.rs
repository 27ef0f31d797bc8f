//! Tasks: long calls and what became of them. The rule: only `status` tells that a task has ended; progress is 1 after failure and
//! cancel too, and the status is written last.

use serde::Deserialize;

use super::{Host, TaskUuid};
use crate::xenapi::failure::Failure;
use crate::xenapi::types::{Date, EnumSet, Number, Operations, Ref, RefSet, StringMap, open_enum};

open_enum! {
    /// Where a task stands.
    TaskStatus {
        Pending = "pending",
        Success = "success",
        Failure = "failure",
        Cancelling = "cancelling",
        Cancelled = "cancelled",
    }
}

open_enum! {
    /// What can be done to a task.
    TaskOperation {
        Cancel = "cancel",
        Destroy = "destroy",
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Task {
    /// Its uuid.
    pub uuid: TaskUuid,
    /// The call, for example `Async.VM.snapshot`, or what its creator named it.
    pub name_label: Box<str>,
    /// What its creator wrote about it.
    #[serde(default)]
    pub name_description: Box<str>,
    /// Where it stands.
    pub status: TaskStatus,
    /// From 0 to 1; HTTP clients may put -1 for "not started".
    #[serde(default)]
    pub progress: Number,
    /// An XML-RPC value on both wires; [`crate::xenapi::wire::task_result`] reads it. Empty until success.
    #[serde(default)]
    pub result: Box<str>,
    /// Code and parameters of a failure; may be empty after a cancel.
    #[serde(default)]
    pub error_info: Vec<String>,
    /// When it began.
    #[serde(default)]
    pub created: Date,
    /// When it ended.
    #[serde(default)]
    pub finished: Date,
    /// The host that works on it.
    #[serde(default)]
    pub resident_on: Ref<Host>,
    /// Tags of its creator; request headers stand here as `http:KEY`.
    #[serde(default)]
    pub other_config: StringMap,
    /// The task it is a part of; from 5.0.
    #[serde(default)]
    pub subtask_of: Ref<Task>,
    /// Its parts; from 5.0.
    #[serde(default)]
    pub subtasks: RefSet<Task>,
    /// `cancel` while it can be cancelled.
    #[serde(default)]
    pub allowed_operations: EnumSet<TaskOperation>,
    /// `cancel` once that was asked for.
    #[serde(default)]
    pub current_operations: Operations<TaskOperation>,
}

impl Task {
    /// Whether it has ended, in whatever way.
    pub fn has_ended(&self) -> bool {
        matches!(self.status, TaskStatus::Success | TaskStatus::Failure | TaskStatus::Cancelled)
    }

    /// Why it failed; a cancelled task without a reason reads as `TASK_CANCELLED`.
    pub fn failure(&self) -> Option<Failure> {
        let code = match self.status {
            TaskStatus::Failure => "INTERNAL_ERROR",
            TaskStatus::Cancelled => "TASK_CANCELLED",
            _ => return None,
        };
        let mut words = self.error_info.iter().cloned();
        let code = words.next().filter(|first| !first.is_empty()).unwrap_or_else(|| code.to_owned());
        Some(Failure { code, params: words.collect() })
    }
}
