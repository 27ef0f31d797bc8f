//! The pool object.

use crate::xenapi::call::Call;
use crate::xenapi::records::Pool;
use crate::xenapi::types::{Ref, StringMap, Void};

/// Writes the database to disk and to all members, now. Until then a success can be forgotten by a server that dies.
pub fn sync_database() -> Call<Void> {
    Call::idempotent("pool.sync_database").that_blocks()
}

/// The pool's free-form map.
pub fn get_other_config(pool: &Ref<Pool>) -> Call<StringMap> {
    Call::read("pool.get_other_config").with(pool)
}

/// Adds a key; `MAP_DUPLICATE_KEY` if it is there: an atomic claim. After a lost answer read who has it.
pub fn add_to_other_config(pool: &Ref<Pool>, key: &str, value: &str) -> Call<Void> {
    Call::mutating("pool.add_to_other_config").with(pool).with(key).with(value)
}

/// Removes a key, whatever its value; one that is not there is no error.
pub fn remove_from_other_config(pool: &Ref<Pool>, key: &str) -> Call<Void> {
    Call::idempotent("pool.remove_from_other_config").with(pool).with(key)
}
