//! Uuids: the names of objects that outlive references. The rule: one type per class, 16 bytes, and no record is refused because its
//! uuid is not one (real databases hold a few).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::text::text;

/// The uuid of an object of class `T`.
pub struct Uuid<T> {
    bytes: [u8; 16],
    class: PhantomData<fn() -> T>,
}

/// The space that texts which are no uuids are mapped from.
const STRAY: uuid::Uuid = uuid::uuid!("b5b2f0a2-5b0b-4f0e-9b0c-2f3b0f6f5d11");

impl<T> Uuid<T> {
    /// From a uuid known otherwise.
    pub fn new(uuid: uuid::Uuid) -> Self {
        Self { bytes: uuid.into_bytes(), class: PhantomData }
    }

    /// The plain uuid.
    pub fn get(self) -> uuid::Uuid {
        uuid::Uuid::from_bytes(self.bytes)
    }

    /// From a server's text. The empty text is the nil uuid; a text that is no uuid gets one of its own, the same each time, which
    /// equals no real one: the object stays distinguishable, and cannot be looked up by it.
    pub(crate) fn lenient(text: &str) -> Self {
        let plain = || match uuid::Uuid::try_parse(text) {
            Ok(uuid) => uuid,
            Err(_) if text.is_empty() => uuid::Uuid::nil(),
            Err(_) => uuid::Uuid::new_v5(&STRAY, text.as_bytes()),
        };
        Self { bytes: pack(text).unwrap_or_else(|| plain().into_bytes()), class: PhantomData }
    }
}

/// The bytes of a uuid in its canonical spelling: lower case, hyphens, nothing else.
pub(super) fn pack(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    let mut at = 0;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = digit(text[at])? << 4 | digit(text[at + 1])?;
        at += 2;
    }
    Some(bytes)
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

/// The canonical spelling of [`pack`]'s bytes.
pub(super) fn unpack(bytes: &[u8; 16]) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*bytes)
}

impl<T> Clone for Uuid<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Uuid<T> {}

impl<T> PartialEq for Uuid<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Uuid<T> {}

impl<T> PartialOrd for Uuid<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Uuid<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl<T> Hash for Uuid<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl<T> fmt::Display for Uuid<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl<T> fmt::Debug for Uuid<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl<T> FromStr for Uuid<T> {
    type Err = uuid::Error;

    /// Strict, unlike decoding: for what people and files say.
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self::new)
    }
}

impl<'de, T> Deserialize<'de> for Uuid<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a uuid", Self::lenient)
    }
}

impl<T> Serialize for Uuid<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Any;
    use super::*;

    type AnyUuid = Uuid<Any>;

    #[test]
    fn a_uuid_in_any_case_is_the_same_uuid() {
        let small = AnyUuid::lenient("f0453980-e51a-ad48-cc7b-f83f3dc901f9");
        assert_eq!(small, AnyUuid::lenient("F0453980-E51A-AD48-CC7B-F83F3DC901F9"));
        assert_eq!(small.to_string(), "f0453980-e51a-ad48-cc7b-f83f3dc901f9");
    }

    #[test]
    fn what_is_no_uuid_stays_distinguishable() {
        assert_ne!(AnyUuid::lenient("bla"), AnyUuid::lenient("bla2"));
        assert_eq!(AnyUuid::lenient("bla"), AnyUuid::lenient("bla"));
        assert!(AnyUuid::lenient("").get().is_nil());
    }

    #[test]
    fn people_may_not_write_what_is_no_uuid() {
        assert!("bla".parse::<AnyUuid>().is_err());
    }
}
