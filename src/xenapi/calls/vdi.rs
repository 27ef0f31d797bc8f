//! Disks.

use crate::xenapi::call::Call;
use crate::xenapi::records::{Sr, Vdi};
use crate::xenapi::types::{Ref, Void};

/// Removes a disk and its data. The server asks nothing: a disk whose snapshot is still there goes, an ISO that others use goes. A
/// second destroy waits for the first and then says `HANDLE_INVALID`.
pub fn destroy(vdi: &Ref<Vdi>) -> Call<Void> {
    Call::mutating("VDI.destroy").with(vdi).that_blocks()
}

/// A snapshot of one disk.
pub fn snapshot(vdi: &Ref<Vdi>) -> Call<Ref<Vdi>> {
    Call::mutating("VDI.snapshot").with(vdi).that_blocks()
}

/// A full copy in another SR.
pub fn copy(vdi: &Ref<Vdi>, sr: &Ref<Sr>) -> Call<Ref<Vdi>> {
    Call::mutating("VDI.copy").with(vdi).with(sr).that_blocks()
}

/// Renames.
pub fn set_name_label(vdi: &Ref<Vdi>, name: &str) -> Call<Void> {
    Call::idempotent("VDI.set_name_label").with(vdi).with(name)
}

/// Describes.
pub fn set_name_description(vdi: &Ref<Vdi>, text: &str) -> Call<Void> {
    Call::idempotent("VDI.set_name_description").with(vdi).with(text)
}

/// Adds a key; `MAP_DUPLICATE_KEY` if it is there.
pub fn add_to_other_config(vdi: &Ref<Vdi>, key: &str, value: &str) -> Call<Void> {
    Call::mutating("VDI.add_to_other_config").with(vdi).with(key).with(value)
}

/// Removes a key; one that is not there is no error.
pub fn remove_from_other_config(vdi: &Ref<Vdi>, key: &str) -> Call<Void> {
    Call::idempotent("VDI.remove_from_other_config").with(vdi).with(key)
}
