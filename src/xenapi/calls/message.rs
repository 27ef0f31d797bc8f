//! Messages in the pool's own journal.

use crate::xenapi::call::Call;
use crate::xenapi::records::{Message, MessageClass};
use crate::xenapi::types::{Ref, Void};

/// A message about an object. `priority` is 1 (data loss at hand) to 5 (information); `uuid` is the object's.
pub fn create(name: &str, priority: i64, class: &MessageClass, uuid: &str, body: &str) -> Call<Ref<Message>> {
    Call::mutating("message.create").with(name).with(priority).with(class.as_str()).with(uuid).with(body)
}

/// Removes a message.
pub fn destroy(message: &Ref<Message>) -> Call<Void> {
    Call::idempotent("message.destroy").with(message)
}
