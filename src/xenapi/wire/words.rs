//! Error descriptions: a list of strings, code first. The rule: however odd the list, it is understood as far as it goes, and a
//! server cannot fill memory with it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::xenapi::failure::Failure;

/// More parameters than any error has; what follows is dropped.
const MAX_WORDS: usize = 256;

/// More bytes than any error has (a backtrace of the storage layer is some kB); the words beyond are dropped.
const MAX_BYTES: usize = 256 * 1024;

/// A failure from its description.
pub(super) fn failure_of(words: Vec<String>) -> Result<Failure, &'static str> {
    let mut words = words.into_iter();
    match words.next() {
        Some(code) if !code.is_empty() => Ok(Failure { code, params: words.collect() }),
        _ => Err("an error without a code"),
    }
}

/// A list of strings; a lone value is a list of one, null and an object are an empty list.
#[derive(Default)]
pub(super) struct Words(pub(super) Vec<String>);

impl Words {
    pub(super) fn collect<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        let mut bytes = 0;
        while let Some(Loose(text)) = items.next_element()? {
            bytes += text.len();
            if all.len() < MAX_WORDS && bytes <= MAX_BYTES {
                all.push(text);
            }
        }
        Ok(Self(all))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_unit<E>(self) -> Result<Words, E> {
                Ok(Words::default())
            }

            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Words, A::Error> {
                Words::collect(items)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Words, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Words::default())
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// A string, or what a string could have been meant by.
#[derive(Default)]
pub(super) struct Loose(pub(super) String);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::default())
            }

            fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Loose, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose::default())
            }
        }
        deserializer.deserialize_any(Shape)
    }
}
