//! What event.from answers, handed on event by event. The rule: no more than one record is in memory at a time, however long the
//! initial burst; and no order of an event's members is relied on (real servers put `class` before `snapshot`; if it comes after, that
//! one record is buffered, within a bound).

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::buffered::Buffered;
use super::{Host, HostMetrics, Message, Pbd, Pool, Sm, Sr, Task, Vbd, Vdi, Vm, VmAppliance, VmGuestMetrics, Vmpp, Vmss, Vtpm};
use crate::xenapi::types::{Any, Int64, Known, Ref, open_enum};

open_enum! {
    /// What happened to an object.
    EventOperation {
        Add = "add",
        Mod = "mod",
        Del = "del",
    }
}

/// Declares the classes whose records are kept, and their records as one type.
macro_rules! records {
    ($($record:ident = $class:literal,)*) => {
        open_enum! {
            /// The class of an event's object, in the server's lower-case spelling.
            EventClass { $($record = $class,)* }
        }

        /// A record of any class that is kept.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $(#[doc = concat!("Of the class `", $class, "`.")] $record(Box<$record>),)*
        }

        impl Record {
            /// Its class.
            pub fn class(&self) -> EventClass {
                match self {
                    $(Record::$record(_) => EventClass::$record,)*
                }
            }

            /// Decodes a record by its class; a class that is not kept is passed over.
            fn decode<'de, D: Deserializer<'de>>(class: &EventClass, deserializer: D) -> Result<Option<Self>, D::Error> {
                match class {
                    $(EventClass::$record => <Box<$record>>::deserialize(deserializer).map(|record| Some(Self::$record(record))),)*
                    EventClass::Other(_) => IgnoredAny::deserialize(deserializer).map(|_| None),
                }
            }
        }
    };
}

records! {
    Pool = "pool",
    Host = "host",
    HostMetrics = "host_metrics",
    Vm = "vm",
    VmGuestMetrics = "vm_guest_metrics",
    Vbd = "vbd",
    Vdi = "vdi",
    Sr = "sr",
    Pbd = "pbd",
    Sm = "sm",
    Vtpm = "vtpm",
    Vmss = "vmss",
    Vmpp = "vmpp",
    VmAppliance = "vm_appliance",
    Task = "task",
    Message = "message",
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The class of the object.
    pub class: EventClass,
    /// What happened. Treat `mod` of an unknown object as `add`, and `add` of a known one as `mod`.
    pub operation: EventOperation,
    /// The object; [`Ref::cast`] gives it its class.
    pub reference: Ref<Any>,
    /// The object as it was when the answer was made. Absent for `del`, and for classes that are not kept.
    pub record: Option<Record>,
}

/// What an answer of event.from says beside its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventBatch {
    /// What the next call has to send.
    pub token: String,
    /// How many events there were.
    pub events: u64,
    /// How many rows each table of the database has now, by lower-case class; empty where the server does not say. Deletions can be
    /// lost, and only this tells.
    pub valid_ref_counts: Vec<(EventClass, i64)>,
}

impl EventBatch {
    /// How many objects of a class there are. There is no count of messages.
    pub fn count(&self, class: &EventClass) -> Option<i64> {
        self.valid_ref_counts.iter().find(|(counted, _)| counted == class).map(|(_, count)| *count)
    }
}

/// Decodes an answer of event.from and gives each event to a sink, in the answer's order: messages, then adds, mods, dels.
pub struct EventBatchSeed<F>(F);

impl<F: FnMut(Event)> EventBatchSeed<F> {
    /// With a sink.
    pub fn new(sink: F) -> Self {
        Self(sink)
    }
}

impl<'de, F: FnMut(Event)> DeserializeSeed<'de> for EventBatchSeed<F> {
    type Value = EventBatch;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventBatch, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Event)> Visitor<'de> for EventBatchSeed<F> {
    type Value = EventBatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of event.from")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<EventBatch, A::Error> {
        let mut batch = EventBatch::default();
        let mut token = None;
        while let Some(name) = members.next_key::<BatchMember>()? {
            match name {
                BatchMember::Events => batch.events += members.next_value_seed(EventListSeed(&mut self.0))?,
                BatchMember::Token => token = Some(members.next_value()?),
                BatchMember::Counts => batch.valid_ref_counts = members.next_value::<Counts>()?.0,
                BatchMember::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        batch.token = token.ok_or_else(|| A::Error::missing_field("token"))?;
        Ok(batch)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum BatchMember {
    #[serde(rename = "events")]
    Events,
    #[serde(rename = "token")]
    Token,
    #[serde(rename = "valid_ref_counts")]
    Counts,
    #[serde(other)]
    Other,
}

/// More tables than any server has; what follows is dropped.
const MAX_TABLES: usize = 1024;

struct Counts(Vec<(EventClass, i64)>);

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of classes to counts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Counts, A::Error> {
                let mut counts = Vec::new();
                while let Some((class, Int64(count))) = members.next_entry()? {
                    if counts.len() < MAX_TABLES {
                        counts.push((class, count));
                    }
                }
                Ok(Counts(counts))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Decodes a bare array of events, as event.next of old servers answers, and gives each to a sink; the value is their number.
pub struct EventListSeed<F>(F);

impl<F: FnMut(Event)> EventListSeed<F> {
    /// With a sink.
    pub fn new(sink: F) -> Self {
        Self(sink)
    }
}

impl<'de, F: FnMut(Event)> DeserializeSeed<'de> for EventListSeed<F> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Event)> Visitor<'de> for EventListSeed<F> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while let Some(event) = items.next_element()? {
            (self.0)(event);
            count += 1;
        }
        Ok(count)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum EventMember {
    Class,
    Operation,
    Ref,
    Snapshot,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Event;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Event, A::Error> {
                event(members)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn event<'de, A: MapAccess<'de>>(mut members: A) -> Result<Event, A::Error> {
    let mut class = None;
    let mut operation = None;
    let mut reference = None;
    let mut record = None;
    let mut early = None;
    while let Some(name) = members.next_key()? {
        match name {
            EventMember::Class => class = Some(members.next_value_seed(ClassSeed)?),
            EventMember::Operation => operation = Some(members.next_value()?),
            EventMember::Ref => reference = Some(members.next_value()?),
            EventMember::Snapshot => match &class {
                Some(class) => record = members.next_value_seed(SnapshotSeed(class))?,
                None => early = Some(members.next_value::<Buffered>()?),
            },
            EventMember::Other => drop(members.next_value::<IgnoredAny>()?),
        }
    }
    let class = class.ok_or_else(|| A::Error::missing_field("class"))?;
    if let Some(early) = early {
        record = SnapshotSeed(&class).deserialize(early.into_deserializer()).map_err(A::Error::custom)?;
    }
    Ok(Event {
        operation: operation.ok_or_else(|| A::Error::missing_field("operation"))?,
        reference: reference.ok_or_else(|| A::Error::missing_field("ref"))?,
        class,
        record,
    })
}

/// The class in any case: event.next of old servers writes `VM`.
struct ClassSeed;

impl<'de> DeserializeSeed<'de> for ClassSeed {
    type Value = EventClass;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventClass, D::Error> {
        let class = EventClass::deserialize(deserializer)?;
        Ok(match &class {
            EventClass::Other(text) => EventClass::from_text(&text.to_ascii_lowercase()),
            _ => class,
        })
    }
}

/// The record of an event, or nothing: `del` events have none, or an empty one.
struct SnapshotSeed<'c>(&'c EventClass);

impl<'de> DeserializeSeed<'de> for SnapshotSeed<'_> {
    type Value = Option<Record>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SnapshotSeed<'_> {
    type Value = Option<Record>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        Record::decode(self.0, MapAccessDeserializer::new(members))
    }
}

/// Decodes what get_all_records answers, a map of references to records, and gives each pair to a sink; the value is their number.
pub struct RecordsSeed<T, F>(F, PhantomData<T>);

impl<T, F: FnMut(Ref<T>, Box<T>)> RecordsSeed<T, F> {
    /// With a sink.
    pub fn new(sink: F) -> Self {
        Self(sink, PhantomData)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(Ref<T>, Box<T>)> DeserializeSeed<'de> for RecordsSeed<T, F> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(Ref<T>, Box<T>)> Visitor<'de> for RecordsSeed<T, F> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of references to records")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while let Some((reference, record)) = members.next_entry()? {
            (self.0)(reference, record);
            count += 1;
        }
        Ok(count)
    }
}
