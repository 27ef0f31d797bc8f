//! Storage repositories.

use crate::xenapi::call::Call;
use crate::xenapi::records::Sr;
use crate::xenapi::types::{Ref, Void};

/// Compares the database with the storage: disks that are gone lose their records, sizes are brought up to date, and the garbage
/// collector starts.
pub fn scan(sr: &Ref<Sr>) -> Call<Void> {
    Call::idempotent("SR.scan").with(sr).that_blocks()
}

/// Brings the SR's sizes up to date.
pub fn update(sr: &Ref<Sr>) -> Call<Void> {
    Call::idempotent("SR.update").with(sr).that_blocks()
}
