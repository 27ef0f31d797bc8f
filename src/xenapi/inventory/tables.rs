//! The objects of a pool in memory: one table per class, records behind `Arc`, so that a reader keeps what it took while the tables
//! move on. Memory is in proportion to the fields that records keep.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::xenapi::records::{
    Event, EventClass, EventOperation, Host, HostMetrics, Message, Pbd, Pool, Record, Sm, Sr, Task, Vbd, Vdi, Vm, VmAppliance,
    VmGuestMetrics, Vmpp, Vmss, Vtpm,
};
use crate::xenapi::types::{Any, Class, Ref, Uuid};

/// The objects of one class.
#[derive(Debug)]
pub struct Table<T> {
    rows: HashMap<Ref<T>, Arc<T>>,
    /// Kept for classes whose objects are looked up by uuid in numbers.
    by_uuid: HashMap<Uuid<T>, Ref<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: HashMap::new(), by_uuid: HashMap::new() }
    }
}

impl<T: Kept> Table<T> {
    fn insert(&mut self, reference: Ref<T>, record: Arc<T>) {
        if T::INDEXED {
            self.forget_uuid(&reference);
            self.by_uuid.insert(record.uuid(), reference.clone());
        }
        self.rows.insert(reference, record);
    }

    fn remove(&mut self, reference: &Ref<T>) -> bool {
        self.forget_uuid(reference);
        self.rows.remove(reference).is_some()
    }

    /// A uuid may have gone over to another object, as in a revert that makes the VM anew.
    fn forget_uuid(&mut self, reference: &Ref<T>) {
        let Some(uuid) = self.rows.get(reference).map(|record| record.uuid()) else { return };
        if self.by_uuid.get(&uuid) == Some(reference) {
            self.by_uuid.remove(&uuid);
        }
    }

    fn by_uuid(&self, uuid: &Uuid<T>) -> Option<(&Ref<T>, &Arc<T>)> {
        if T::INDEXED {
            return self.rows.get_key_value(self.by_uuid.get(uuid)?);
        }
        self.rows.iter().find(|(_, record)| record.uuid() == *uuid)
    }
}

/// A class that the inventory can keep.
pub trait Kept: Class + PartialEq + DeserializeOwned + Send + Sync + 'static {
    /// True if objects are found by uuid without a search.
    const INDEXED: bool;

    /// The uuid of an object.
    fn uuid(&self) -> Uuid<Self>
    where
        Self: Sized;

    /// Its table.
    fn table(tables: &Tables) -> &Table<Self>
    where
        Self: Sized;

    /// Its table.
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>
    where
        Self: Sized;
}

macro_rules! tables {
    ($($field:ident: $record:ident $indexed:literal,)*) => {
        /// All objects of the chosen classes at one moment.
        #[derive(Debug, Default)]
        pub struct Tables {
            $($field: Table<$record>,)*
        }

        $(impl Kept for $record {
            const INDEXED: bool = $indexed;

            fn uuid(&self) -> Uuid<Self> {
                self.uuid
            }

            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
        })*

        impl Tables {
            /// Puts a record in place; a record that is equal to one in `earlier` shares its memory. True if `earlier` had no such record.
            pub(super) fn put(&mut self, reference: Ref<Any>, record: Record, earlier: Option<&Tables>) -> bool {
                match record {
                    $(Record::$record(record) => {
                        let reference: Ref<$record> = reference.cast();
                        let known = earlier.and_then(|earlier| earlier.$field.rows.get(&reference)).filter(|known| ***known == *record);
                        let new = known.is_none();
                        self.$field.insert(reference, known.cloned().unwrap_or_else(|| Arc::from(record)));
                        new
                    })*
                }
            }

            fn take(&mut self, class: &EventClass, reference: Ref<Any>) -> bool {
                match class {
                    $(EventClass::$record => self.$field.remove(&reference.cast()),)*
                    EventClass::Other(_) => false,
                }
            }

            /// How many objects of a class there are.
            pub fn count(&self, class: &EventClass) -> usize {
                match class {
                    $(EventClass::$record => self.$field.rows.len(),)*
                    EventClass::Other(_) => 0,
                }
            }

            /// Whether there is an object of this class and reference.
            pub fn contains(&self, class: &EventClass, reference: &Ref<Any>) -> bool {
                match class {
                    $(EventClass::$record => self.$field.rows.contains_key(&reference.clone().cast()),)*
                    EventClass::Other(_) => false,
                }
            }

            /// The references of a class.
            pub(super) fn references(&self, class: &EventClass) -> Vec<Ref<Any>> {
                match class {
                    $(EventClass::$record => self.$field.rows.keys().map(|reference| reference.clone().cast()).collect(),)*
                    EventClass::Other(_) => Vec::new(),
                }
            }
        }
    };
}

tables! {
    pools: Pool false,
    hosts: Host false,
    host_metrics: HostMetrics false,
    vms: Vm true,
    vm_guest_metrics: VmGuestMetrics false,
    vbds: Vbd false,
    vdis: Vdi true,
    srs: Sr false,
    pbds: Pbd false,
    sms: Sm false,
    vtpms: Vtpm false,
    vmss: Vmss false,
    vmpps: Vmpp false,
    appliances: VmAppliance false,
    tasks: Task false,
    messages: Message false,
}

impl Tables {
    /// The object of a reference.
    pub fn get<T: Kept>(&self, reference: &Ref<T>) -> Option<&Arc<T>> {
        T::table(self).rows.get(reference)
    }

    /// The object of a uuid, with its reference. Quick for VMs and VDIs, a search for others.
    pub fn by_uuid<T: Kept>(&self, uuid: &Uuid<T>) -> Option<(&Ref<T>, &Arc<T>)> {
        T::table(self).by_uuid(uuid)
    }

    /// All objects of a class, in no order.
    pub fn all<T: Kept>(&self) -> impl ExactSizeIterator<Item = (&Ref<T>, &Arc<T>)> {
        T::table(self).rows.iter()
    }

    /// Takes in one event. True if something changed. An event without a record that is no deletion changes nothing.
    pub(super) fn apply(&mut self, event: Event) -> bool {
        match (event.operation, event.record) {
            (EventOperation::Del, _) => self.take(&event.class, event.reference),
            (_, Some(record)) => {
                self.put(event.reference, record, None);
                true
            }
            (_, None) => false,
        }
    }
}

#[cfg(test)]
impl Tables {
    /// Of these records, for tests of what is judged by them.
    pub fn of(records: impl IntoIterator<Item = (&'static str, Record)>) -> Self {
        let mut tables = Self::default();
        for (reference, record) in records {
            tables.put(Ref::new(reference), record, None);
        }
        tables
    }
}
