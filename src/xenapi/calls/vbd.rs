//! Drives.

use crate::xenapi::call::Call;
use crate::xenapi::records::{Vbd, VbdMode, VbdType, Vdi, Vm};
use crate::xenapi::types::{Ref, Void};
use crate::xenapi::wire::Param;

/// A new drive for a VM, with a disk in it. `userdevice` is its position, `autodetect` for the next free one.
pub fn create(vm: &Ref<Vm>, vdi: &Ref<Vdi>, userdevice: &str, kind: &VbdType, mode: &VbdMode, bootable: bool) -> Call<Ref<Vbd>> {
    let none = || Param::Map(Vec::new());
    let record = [
        ("VM", vm.into()),
        ("VDI", vdi.into()),
        ("userdevice", userdevice.into()),
        ("bootable", bootable.into()),
        ("mode", mode.as_str().into()),
        ("type", kind.as_str().into()),
        ("unpluggable", true.into()),
        ("empty", vdi.is_null().into()),
        ("other_config", none()),
        ("qos_algorithm_type", "".into()),
        ("qos_algorithm_params", none()),
    ];
    Call::mutating("VBD.create").with(record.into_iter().collect::<Param>())
}

/// Removes a drive; its disk stays.
pub fn destroy(vbd: &Ref<Vbd>) -> Call<Void> {
    Call::mutating("VBD.destroy").with(vbd).that_blocks()
}

/// Connects a drive to its running VM.
pub fn plug(vbd: &Ref<Vbd>) -> Call<Void> {
    Call::mutating("VBD.plug").with(vbd).that_blocks()
}

/// Disconnects a drive from its running VM.
pub fn unplug(vbd: &Ref<Vbd>) -> Call<Void> {
    Call::mutating("VBD.unplug").with(vbd).that_blocks()
}
