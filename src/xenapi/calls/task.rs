//! Tasks. Waiting for one is [`crate::xenapi::Task`]'s.

use crate::xenapi::call::Call;
use crate::xenapi::records::Task;
use crate::xenapi::types::{Ref, Void};

/// A task of our own, for an HTTP transfer. The server clears it away after a day if nobody completes it.
pub fn create(label: &str, description: &str) -> Call<Ref<Task>> {
    Call::idempotent("task.create").with(label).with(description)
}

/// Asks for an end. It says nothing about whether and how the task ends.
pub fn cancel(task: &Ref<Task>) -> Call<Void> {
    Call::idempotent("task.cancel").with(task)
}

/// Removes a task. A pending one is removed when it has ended.
pub fn destroy(task: &Ref<Task>) -> Call<Void> {
    Call::idempotent("task.destroy").with(task)
}

/// Tags a task; `applies_to` with a VM's reference shows it under that VM in XenCenter.
pub fn add_to_other_config(task: &Ref<Task>, key: &str, value: &str) -> Call<Void> {
    Call::mutating("task.add_to_other_config").with(task).with(key).with(value)
}
