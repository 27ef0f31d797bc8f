//! Records: what the server keeps of an object, as far as this program needs it. The rules:
//!
//! - Only fields that are used are kept; the rest is passed over while it is read. A VM record is about 6 kB of JSON and a large pool
//!   has tens of thousands.
//! - A field that decides what may be snapshotted or destroyed must be there, in every release; without it the record is refused. A
//!   field that older releases lack is an `Option`, or has a value that means "not there" by itself (a null reference, an empty set).
//! - Order of sets and maps carries no meaning on the wire, so records decoded from either wire compare equal.
//!
//! Field names follow the data model in the spelling of Rust: `suspend_VDI` is `suspend_vdi`.

mod buffered;
mod disk;
mod event;
mod host;
mod misc;
mod pool;
mod schedule;
mod session;
mod sr;
mod task;
#[cfg(test)]
mod tests;
mod vm;

pub use disk::{OnBoot, SmConfig, Vbd, VbdMode, VbdType, Vdi, VdiOperation, VdiType};
pub use event::{Event, EventBatch, EventBatchSeed, EventClass, EventListSeed, EventOperation, Record, RecordsSeed};
pub use host::{Host, HostMetrics, HostOperation};
pub use misc::{ApplianceOperation, Certificate, Message, MessageClass, VmAppliance, Vtpm};
pub use pool::Pool;
pub use schedule::{Frequency, Vmpp, Vmss, VmssType};
pub use session::Session;
pub use sr::{Features, Pbd, Sm, Sr, SrOperation};
pub use task::{Task, TaskOperation, TaskStatus};
pub use vm::{GuestFeature, PowerState, Vm, VmGuestMetrics, VmOperation};

use super::types::{Class, Uuid};

/// Gives a record its class.
macro_rules! class {
    ($($record:ident $uuid:ident $name:literal;)*) => {$(
        impl Class for $record {
            const NAME: &'static str = $name;
        }

        #[doc = concat!("The uuid of a `", $name, "`.")]
        pub type $uuid = Uuid<$record>;
    )*};
}

class! {
    Pool PoolUuid "pool";
    Host HostUuid "host";
    HostMetrics HostMetricsUuid "host_metrics";
    Vm VmUuid "VM";
    VmGuestMetrics VmGuestMetricsUuid "VM_guest_metrics";
    Vbd VbdUuid "VBD";
    Vdi VdiUuid "VDI";
    Sr SrUuid "SR";
    Pbd PbdUuid "PBD";
    Sm SmUuid "SM";
    Vtpm VtpmUuid "VTPM";
    Vmss VmssUuid "VMSS";
    Vmpp VmppUuid "VMPP";
    VmAppliance VmApplianceUuid "VM_appliance";
    Task TaskUuid "task";
    Message MessageUuid "message";
    Session SessionUuid "session";
    Certificate CertificateUuid "Certificate";
}
