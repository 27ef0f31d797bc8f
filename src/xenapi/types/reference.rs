//! References: the server's handles for objects, one type per class. The rule: a reference prints as the text it was made of, except
//! that the three spellings of the null reference are one.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::text::text;
use super::uuid::{pack, unpack};
use crate::xenapi::wire::Param;

/// A class of the data model.
pub trait Class {
    /// The name in the spelling of the data model, for example `VM`: the prefix of its methods and what HANDLE_INVALID names.
    const NAME: &'static str;
}

/// Stands for any class, where a reference's class is known only at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Any {}

/// A reference to an object of class `T`. It holds for as long as the object lives in this pool's database, and for no longer.
///
/// Nearly all are `OpaqueRef:` and a uuid, kept in 16 bytes; what else there is (`DummyRef:…` of tasks without a row, `task` as a key of
/// operations, the short forms of old databases) is kept as text.
pub struct Ref<T> {
    form: Form,
    class: PhantomData<fn() -> T>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Null,
    Uuid([u8; 16]),
    Other(Box<str>),
}

const PREFIX: &str = "OpaqueRef:";
const NULL: &str = "OpaqueRef:NULL";

impl<T> Ref<T> {
    /// The null reference.
    pub const NULL: Self = Self { form: Form::Null, class: PhantomData };

    /// From the server's text.
    pub fn new(text: &str) -> Self {
        let form = match text {
            "" | "NULL" | NULL => Form::Null,
            _ => match text.strip_prefix(PREFIX).and_then(pack) {
                Some(bytes) => Form::Uuid(bytes),
                None => Form::Other(text.into()),
            },
        };
        Self { form, class: PhantomData }
    }

    /// Whether it refers to nothing. A reference that is not null may still dangle.
    pub fn is_null(&self) -> bool {
        matches!(self.form, Form::Null)
    }

    /// Whether the server made it up for a task that has no row: no method may be called on it.
    pub fn is_dummy(&self) -> bool {
        matches!(&self.form, Form::Other(text) if text.starts_with("DummyRef:"))
    }

    /// The same reference as one of another class, for where the class is known from elsewhere.
    pub fn cast<U>(self) -> Ref<U> {
        Ref { form: self.form, class: PhantomData }
    }

    /// `None` for the null reference.
    pub fn not_null(&self) -> Option<&Self> {
        if self.is_null() { None } else { Some(self) }
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        Self { form: self.form.clone(), class: PhantomData }
    }
}

impl<T> Default for Ref<T> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl<T> Eq for Ref<T> {}

impl<T> PartialOrd for Ref<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ref<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.form.cmp(&other.form)
    }
}

impl<T> Hash for Ref<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.form.hash(state);
    }
}

impl<T> fmt::Display for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Null => f.write_str(NULL),
            Form::Uuid(bytes) => write!(f, "{PREFIX}{}", unpack(bytes)),
            Form::Other(text) => f.write_str(text),
        }
    }
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> From<&str> for Ref<T> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<T> From<&Ref<T>> for Param {
    fn from(reference: &Ref<T>) -> Self {
        Param::Str(reference.to_string())
    }
}

impl<'de, T> Deserialize<'de> for Ref<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a reference", Self::new)
    }
}

impl<T> Serialize for Ref<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A reference that is null in most records, and then costs a pointer only.
pub struct RareRef<T>(Option<Box<Ref<T>>>);

impl<T> RareRef<T> {
    /// Wraps a reference.
    pub fn new(reference: Ref<T>) -> Self {
        Self(if reference.is_null() { None } else { Some(Box::new(reference)) })
    }
}

impl<T> Deref for RareRef<T> {
    type Target = Ref<T>;

    fn deref(&self) -> &Ref<T> {
        match &self.0 {
            Some(reference) => reference,
            None => const { &Ref::NULL },
        }
    }
}

impl<T> Clone for RareRef<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for RareRef<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> PartialEq for RareRef<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T> Eq for RareRef<T> {}

impl<T> fmt::Debug for RareRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl<'de, T> Deserialize<'de> for RareRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ref::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type AnyRef = Ref<Any>;

    #[test]
    fn every_spelling_of_the_null_reference_is_null() {
        for text in ["", "NULL", "OpaqueRef:NULL"] {
            assert!(AnyRef::new(text).is_null(), "{text:?}");
            assert_eq!(AnyRef::new(text), AnyRef::NULL);
        }
        assert_eq!(AnyRef::NULL.to_string(), "OpaqueRef:NULL");
    }

    #[test]
    fn a_reference_made_up_for_a_task_is_kept_and_known() {
        let dummy = AnyRef::new("DummyRef:|7b0eb7ec|Async.task.cancel");
        assert!(dummy.is_dummy() && !dummy.is_null());
        assert_eq!(dummy.to_string(), "DummyRef:|7b0eb7ec|Async.task.cancel");
    }

    #[test]
    fn a_usual_reference_takes_24_bytes_and_a_rare_one_8() {
        assert_eq!(size_of::<AnyRef>(), 24);
        assert_eq!(size_of::<RareRef<Any>>(), 8);
        assert!(matches!(AnyRef::new("OpaqueRef:fc1a8f66-7d9b-a6aa-2371-a75a24254ce2").form, Form::Uuid(_)));
    }

    #[test]
    fn a_uuid_in_capitals_is_another_text_and_stays_one() {
        let text = "OpaqueRef:FC1A8F66-7d9b-a6aa-2371-a75a24254ce2";
        assert_eq!(AnyRef::new(text).to_string(), text);
    }

    #[test]
    fn a_rare_reference_reads_like_any_other() {
        assert!(RareRef::<Any>::default().is_null());
        assert_eq!(RareRef::new(AnyRef::new("OpaqueRef:x")).to_string(), "OpaqueRef:x");
    }

    proptest! {
        #[test]
        fn any_text_but_null_comes_back_as_it_was(text in "(OpaqueRef:)?[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.{1,60}") {
            prop_assume!(!AnyRef::new(&text).is_null());
            prop_assert_eq!(AnyRef::new(&text).to_string(), text);
        }
    }
}
