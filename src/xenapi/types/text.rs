//! Decoding what travels as text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Visitor};

/// Decodes a text and makes something of it, without a copy in between.
pub(super) fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    what: &'static str,
    make: impl FnOnce(&str) -> T,
) -> Result<T, D::Error> {
    struct Text<T, F>(&'static str, F, PhantomData<T>);

    impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Text<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E>(self, text: &str) -> Result<T, E> {
            Ok((self.1)(text))
        }
    }

    deserializer.deserialize_str(Text(what, make, PhantomData))
}
