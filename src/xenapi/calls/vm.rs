//! VMs, templates and snapshots. What may wait for locks or takes long is meant for [`crate::xenapi::Pool::start`].

use crate::xenapi::call::Call;
use crate::xenapi::records::{Sr, Vdi, Vm, VmOperation};
use crate::xenapi::types::{Ref, Void};
use crate::xenapi::wire::Param;

/// A snapshot of the disks. Any power state; not of templates.
pub fn snapshot(vm: &Ref<Vm>, name: &str) -> Call<Ref<Vm>> {
    Call::mutating("VM.snapshot").with(vm).with(name).that_blocks()
}

/// A snapshot without some disks. Servers before 21.4 refuse the call (`MESSAGE_PARAMETER_COUNT_MISMATCH`), and a revert to such a
/// snapshot loses the disks it lacks.
pub fn snapshot_without(vm: &Ref<Vm>, name: &str, ignored: &[Ref<Vdi>]) -> Call<Ref<Vm>> {
    snapshot(vm, name).with(ignored.iter().map(Param::from).collect::<Param>())
}

/// A snapshot for which the guest comes to rest. Only up to 8.0; newer servers say `MESSAGE_REMOVED`.
pub fn snapshot_with_quiesce(vm: &Ref<Vm>, name: &str) -> Call<Ref<Vm>> {
    Call::mutating("VM.snapshot_with_quiesce").with(vm).with(name).that_blocks()
}

/// A snapshot with memory. Not of halted VMs; from 5.6.
pub fn checkpoint(vm: &Ref<Vm>, name: &str) -> Call<Ref<Vm>> {
    Call::mutating("VM.checkpoint").with(vm).with(name).that_blocks()
}

/// Takes a VM back to a snapshot. It ends halted or suspended, never running, and its disks may be new ones.
pub fn revert(snapshot: &Ref<Vm>) -> Call<Void> {
    Call::mutating("VM.revert").with(snapshot).that_blocks()
}

/// Removes the record. **The disks stay**: read drives and memory image first.
pub fn destroy(vm: &Ref<Vm>) -> Call<Void> {
    Call::mutating("VM.destroy").with(vm).that_blocks()
}

/// A copy that shares its disks' blocks with the original. Of a snapshot it is a template.
pub fn clone(vm: &Ref<Vm>, name: &str) -> Call<Ref<Vm>> {
    Call::mutating("VM.clone").with(vm).with(name).that_blocks()
}

/// A full copy, into another SR if one is given. Of a snapshot it is a template, without memory.
pub fn copy(vm: &Ref<Vm>, name: &str, sr: Option<&Ref<Sr>>) -> Call<Ref<Vm>> {
    Call::mutating("VM.copy").with(vm).with(name).with(sr.unwrap_or(&Ref::NULL)).that_blocks()
}

/// Makes a VM of a template that was cloned.
pub fn provision(vm: &Ref<Vm>) -> Call<Void> {
    Call::mutating("VM.provision").with(vm).that_blocks()
}

/// Turns a template into a VM, or back. A snapshot stays one all the same, and cannot be turned back.
pub fn set_is_a_template(vm: &Ref<Vm>, value: bool) -> Call<Void> {
    Call::idempotent("VM.set_is_a_template").with(vm).with(value)
}

/// Renames.
pub fn set_name_label(vm: &Ref<Vm>, name: &str) -> Call<Void> {
    Call::idempotent("VM.set_name_label").with(vm).with(name)
}

/// Describes.
pub fn set_name_description(vm: &Ref<Vm>, text: &str) -> Call<Void> {
    Call::idempotent("VM.set_name_description").with(vm).with(text)
}

/// Adds a key; `MAP_DUPLICATE_KEY` if it is there, which after a lost answer may be our own.
pub fn add_to_other_config(vm: &Ref<Vm>, key: &str, value: &str) -> Call<Void> {
    Call::mutating("VM.add_to_other_config").with(vm).with(key).with(value)
}

/// Removes a key; one that is not there is no error.
pub fn remove_from_other_config(vm: &Ref<Vm>, key: &str) -> Call<Void> {
    Call::idempotent("VM.remove_from_other_config").with(vm).with(key)
}

/// Forbids an operation at the server, with a reason for whoever tries it.
pub fn add_to_blocked_operations(vm: &Ref<Vm>, operation: &VmOperation, reason: &str) -> Call<Void> {
    Call::mutating("VM.add_to_blocked_operations").with(vm).with(operation.as_str()).with(reason)
}

/// Allows an operation again; one that is not forbidden is no error.
pub fn remove_from_blocked_operations(vm: &Ref<Vm>, operation: &VmOperation) -> Call<Void> {
    Call::idempotent("VM.remove_from_blocked_operations").with(vm).with(operation.as_str())
}

/// Asks whether an operation is possible now; the refusal says why not.
pub fn assert_operation_valid(vm: &Ref<Vm>, operation: &VmOperation) -> Call<Void> {
    Call::read("VM.assert_operation_valid").with(vm).with(operation.as_str())
}

/// Starts a halted VM, on whatever host has room.
pub fn start(vm: &Ref<Vm>, paused: bool, force: bool) -> Call<Void> {
    Call::mutating("VM.start").with(vm).with(paused).with(force).that_blocks()
}

/// Writes the memory to disk and stops the VM. Needs the guest's tools.
pub fn suspend(vm: &Ref<Vm>) -> Call<Void> {
    Call::mutating("VM.suspend").with(vm).that_blocks()
}

/// Continues a suspended VM; its memory image is used up.
pub fn resume(vm: &Ref<Vm>, paused: bool, force: bool) -> Call<Void> {
    Call::mutating("VM.resume").with(vm).with(paused).with(force).that_blocks()
}

/// Asks the guest to shut down. Needs the guest's tools.
pub fn clean_shutdown(vm: &Ref<Vm>) -> Call<Void> {
    Call::mutating("VM.clean_shutdown").with(vm).that_blocks()
}

/// Pulls the plug. **A suspended VM, or a snapshot with memory, loses its memory image.**
pub fn hard_shutdown(vm: &Ref<Vm>) -> Call<Void> {
    Call::mutating("VM.hard_shutdown").with(vm).that_blocks()
}
