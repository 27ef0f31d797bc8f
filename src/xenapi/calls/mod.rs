//! The calls this program makes, by class: thin, typed, and each with its class of safety. A call that destroys something is
//! mutating although its second time would change nothing: whoever lost its answer has to look first.

pub mod host;
pub mod message;
mod param;
pub mod pool;
pub mod session;
pub mod sr;
pub mod task;
pub mod vbd;
pub mod vdi;
pub mod vm;

use std::collections::HashMap;

use super::call::Call;
use super::inventory::Kept;
use super::types::{Ref, Uuid};

/// All objects of a class. Large pools have many: prefer an [`super::Inventory`].
pub fn all<T: Kept>() -> Call<HashMap<Ref<T>, T>> {
    Call::read(&format!("{}.get_all_records", T::NAME))
}

/// One object.
pub fn record<T: Kept>(reference: &Ref<T>) -> Call<T> {
    Call::read(&format!("{}.get_record", T::NAME)).with(reference)
}

/// The reference of an object.
pub fn by_uuid<T: Kept>(uuid: &Uuid<T>) -> Call<Ref<T>> {
    Call::read(&format!("{}.get_by_uuid", T::NAME)).with(uuid.to_string())
}
