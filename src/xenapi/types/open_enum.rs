//! Enumerations that a newer server may extend. The rule: a value this program does not know is kept as it came, so that it can be
//! shown, compared and never mistaken for another.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// An enumeration with numbered known values.
pub trait Known: Sized {
    /// The wire texts of the known values, at most 64.
    const TEXTS: &'static [&'static str];

    /// From the wire.
    fn from_text(text: &str) -> Self;

    /// To the wire.
    fn as_str(&self) -> &str;
}

/// Declares an enumeration whose last value, `Other`, keeps what is not known.
macro_rules! open_enum {
    ($(#[$attribute:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A value this program does not know, as the server spells it.
            Other(Box<str>),
        }

        impl $crate::xenapi::types::Known for $name {
            const TEXTS: &'static [&'static str] = &[$($text),*];

            fn from_text(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }

            fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl $name {
            /// The server's spelling.
            pub fn as_str(&self) -> &str {
                $crate::xenapi::types::Known::as_str(self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $crate::xenapi::types::Known::from_text(text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::xenapi::types::known(deserializer)
            }
        }
    };
}
pub(in crate::xenapi) use open_enum;

/// Decodes a value of an enumeration.
pub(in crate::xenapi) fn known<'de, D: Deserializer<'de>, T: Known>(deserializer: D) -> Result<T, D::Error> {
    super::text::text(deserializer, "a word", T::from_text)
}

/// A set of values of an enumeration: a bit for each known one.
pub struct EnumSet<T> {
    bits: u64,
    /// What is not known, sorted; boxed twice because it is nearly always empty.
    #[expect(clippy::box_collection, reason = "one pointer instead of three words in every record")]
    others: Option<Box<Vec<Box<str>>>>,
    class: PhantomData<fn() -> T>,
}

impl<T: Known> EnumSet<T> {
    /// Whether a value is in the set.
    pub fn contains(&self, value: &T) -> bool {
        self.contains_text(value.as_str())
    }

    /// Whether a value is in the set, by the server's spelling.
    pub fn contains_text(&self, text: &str) -> bool {
        match bit(T::TEXTS, text) {
            Some(bit) => self.bits & bit != 0,
            None => self.others.iter().flat_map(|others| others.iter()).any(|other| **other == *text),
        }
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.bits == 0 && self.others.is_none()
    }

    /// The server's spellings, known ones first.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let known = T::TEXTS.iter().enumerate().filter(|(index, _)| self.bits & (1 << index) != 0).map(|(_, text)| *text);
        known.chain(self.others.iter().flat_map(|others| others.iter().map(|other| &**other)))
    }

    /// Puts a value in; [`EnumSet::settle`] must follow.
    fn put(&mut self, text: &str) {
        match bit(T::TEXTS, text) {
            Some(bit) => self.bits |= bit,
            None => self.others.get_or_insert_default().push(text.into()),
        }
    }

    /// Sorts what is not known, once, however much there is.
    fn settle(mut self) -> Self {
        if let Some(others) = &mut self.others {
            others.sort_unstable();
            others.dedup();
            others.shrink_to_fit();
        }
        self
    }
}

fn bit(texts: &[&str], text: &str) -> Option<u64> {
    texts.iter().position(|known| *known == text).filter(|index| *index < 64).map(|index| 1 << index)
}

impl<T: Known> FromIterator<T> for EnumSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = Self::default();
        values.into_iter().for_each(|value| set.put(value.as_str()));
        set.settle()
    }
}

impl<T> Clone for EnumSet<T> {
    fn clone(&self) -> Self {
        Self { bits: self.bits, others: self.others.clone(), class: PhantomData }
    }
}

impl<T> Default for EnumSet<T> {
    fn default() -> Self {
        Self { bits: 0, others: None, class: PhantomData }
    }
}

impl<T> PartialEq for EnumSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits && self.others == other.others
    }
}

impl<T> Eq for EnumSet<T> {}

impl<T: Known> fmt::Debug for EnumSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.texts()).finish()
    }
}

impl<'de, T: Known> Deserialize<'de> for EnumSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<T>(PhantomData<T>);
        impl<'de, T: Known> Visitor<'de> for Words<T> {
            type Value = EnumSet<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set of words")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<EnumSet<T>, A::Error> {
                let mut set = EnumSet::default();
                while items.next_element_seed(Word(&mut set))?.is_some() {}
                Ok(set.settle())
            }
        }
        deserializer.deserialize_seq(Words(PhantomData))
    }
}

/// Puts one word into a set.
struct Word<'s, T>(&'s mut EnumSet<T>);

impl<'de, T: Known> serde::de::DeserializeSeed<'de> for Word<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        super::text::text(deserializer, "a word", |text| self.0.put(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use colour::Colour;

    #[expect(unreachable_pub, reason = "the macro declares what is public elsewhere")]
    mod colour {
        super::super::open_enum! {
            /// For the tests.
            Colour { Red = "red", Green = "green", }
        }
    }

    fn set(json: &str) -> EnumSet<Colour> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_unknown_value_is_kept_as_it_came() {
        let colour: Colour = serde_json::from_str(r#""Ultraviolet""#).unwrap();
        assert_eq!(colour, Colour::Other("Ultraviolet".into()));
        assert_eq!(colour.to_string(), "Ultraviolet");
        assert_ne!(Colour::from("RED"), Colour::Red);
    }

    #[test]
    fn a_set_holds_known_and_unknown_values() {
        let colours = set(r#"["green","blue","azure","green"]"#);
        assert!(colours.contains(&Colour::Green) && !colours.contains(&Colour::Red));
        assert!(colours.contains_text("blue") && !colours.contains_text("bl"));
        assert_eq!(colours, set(r#"["azure","green","blue"]"#));
        assert_eq!(colours.texts().collect::<Vec<_>>(), ["green", "azure", "blue"]);
    }

    #[test]
    fn a_set_of_known_values_takes_16_bytes() {
        assert_eq!(size_of::<EnumSet<Colour>>(), 16);
        assert!(set("[]").is_empty() && !set(r#"["x"]"#).is_empty());
    }
}
