//! A serde deserializer for one XML-RPC value. The rule: the type that is asked for decides how text is read, so `i64` takes `5` from
//! a bare value, and whoever asks for "anything" gets a string for untagged text.

use std::io::BufRead;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::super::DecodeError;
use super::token::{Tag, Tokens};

/// What a value begins with. Scalars are read to the end of the value; their characters stand in [`Tokens::text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Text,
    Boolean,
    Int,
    Double,
    Nil,
    Array,
    Struct,
}

/// Reads one value, after its opening tag, to its end.
pub(super) struct ValueReader<'t, R> {
    tokens: &'t mut Tokens<R>,
    head: Option<Head>,
}

impl<'t, R: BufRead> ValueReader<'t, R> {
    pub(super) fn new(tokens: &'t mut Tokens<R>) -> Self {
        Self { tokens, head: None }
    }

    /// For a value whose beginning is read already.
    pub(super) fn with_head(tokens: &'t mut Tokens<R>, head: Head) -> Self {
        Self { tokens, head: Some(head) }
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        match self.head.take() {
            Some(head) => Ok(head),
            None => self.tokens.head(),
        }
    }

    /// Passes over the value.
    pub(super) fn skip(mut self) -> Result<(), DecodeError> {
        match self.head()? {
            Head::Array => skip_array(self.tokens),
            Head::Struct => skip_struct(self.tokens),
            _ => Ok(()),
        }
    }

    fn visit<'de, V: Visitor<'de>>(self, head: Head, visitor: V) -> Result<V::Value, DecodeError> {
        match head {
            Head::Text => visitor.visit_str(self.tokens.text()),
            Head::Boolean => visitor.visit_bool(boolean(self.tokens)?),
            Head::Int => visitor.visit_i64(parse(self.tokens, "an integer")?),
            Head::Double => visitor.visit_f64(parse(self.tokens, "a number")?),
            Head::Nil => visitor.visit_unit(),
            Head::Array => visit_array(self.tokens, visitor),
            Head::Struct => visit_struct(self.tokens, visitor),
        }
    }
}

fn parse<R: BufRead, T: std::str::FromStr>(tokens: &Tokens<R>, what: &str) -> Result<T, DecodeError> {
    tokens.text().trim().parse().map_err(|_| tokens.malformed(&format!("a value is not {what}")))
}

/// The server writes 1 and 0; others write words.
fn boolean<R: BufRead>(tokens: &Tokens<R>) -> Result<bool, DecodeError> {
    match tokens.text().trim() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(tokens.malformed("a value is not a boolean")),
    }
}

fn visit_array<'de, R: BufRead, V: Visitor<'de>>(tokens: &mut Tokens<R>, visitor: V) -> Result<V::Value, DecodeError> {
    tokens.enter()?;
    tokens.expect_open(Tag::Data)?;
    let mut items = Items { tokens, done: false };
    let value = visitor.visit_seq(&mut items)?;
    items.finish()?;
    Ok(value)
}

fn visit_struct<'de, R: BufRead, V: Visitor<'de>>(tokens: &mut Tokens<R>, visitor: V) -> Result<V::Value, DecodeError> {
    tokens.enter()?;
    let mut members = Members { tokens, open: false, done: false };
    let value = visitor.visit_map(&mut members)?;
    members.finish()?;
    Ok(value)
}

fn skip_array<R: BufRead>(tokens: &mut Tokens<R>) -> Result<(), DecodeError> {
    tokens.enter()?;
    tokens.expect_open(Tag::Data)?;
    while tokens.next_item()? {
        ValueReader::new(tokens).skip()?;
    }
    tokens.leave();
    tokens.expect_close(Tag::Value)
}

fn skip_struct<R: BufRead>(tokens: &mut Tokens<R>) -> Result<(), DecodeError> {
    tokens.enter()?;
    while tokens.next_member()? {
        ValueReader::new(tokens).skip()?;
        tokens.end_member()?;
    }
    tokens.leave();
    tokens.expect_close(Tag::Value)
}

/// Reads a number or a boolean from text, whatever its tag.
macro_rules! numbers {
    ($($method:ident, $visit:ident, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.head()? {
                Head::Text | Head::Int => visitor.$visit(parse(self.tokens, $what)?),
                head => self.visit(head, visitor),
            }
        }
    )*};
}

impl<'de, R: BufRead> Deserializer<'de> for ValueReader<'_, R> {
    type Error = DecodeError;

    numbers! {
        deserialize_i8, visit_i8, "an integer";
        deserialize_i16, visit_i16, "an integer";
        deserialize_i32, visit_i32, "an integer";
        deserialize_i64, visit_i64, "an integer";
        deserialize_u8, visit_u8, "an integer";
        deserialize_u16, visit_u16, "an integer";
        deserialize_u32, visit_u32, "an integer";
        deserialize_u64, visit_u64, "an integer";
        deserialize_f32, visit_f32, "a number";
        deserialize_f64, visit_f64, "a number";
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let head = self.head()?;
        self.visit(head, visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.head()? {
            Head::Text | Head::Int => visitor.visit_bool(boolean(self.tokens)?),
            head => self.visit(head, visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.head()? {
            Head::Text | Head::Int | Head::Double | Head::Boolean => visitor.visit_str(self.tokens.text()),
            head => self.visit(head, visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.head()? {
            Head::Nil => visitor.visit_none(),
            head => visitor.visit_some(ValueReader::with_head(self.tokens, head)),
        }
    }

    /// Void is an empty text.
    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.head()? {
            Head::Text if self.tokens.text().is_empty() => visitor.visit_unit(),
            head => self.visit(head, visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.head()? {
            Head::Text => {
                let variant: StrDeserializer<'_, DecodeError> = self.tokens.text().into_deserializer();
                visitor.visit_enum(variant)
            }
            _ => Err(self.tokens.malformed("a value is not the word it should be")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { bytes byte_buf seq tuple tuple_struct map struct }
}

/// The items of an array.
struct Items<'t, R> {
    tokens: &'t mut Tokens<R>,
    done: bool,
}

impl<R: BufRead> Items<'_, R> {
    fn advance(&mut self) -> Result<bool, DecodeError> {
        if !self.done {
            self.done = !self.tokens.next_item()?;
        }
        Ok(!self.done)
    }

    /// Passes over what the visitor left.
    fn finish(mut self) -> Result<(), DecodeError> {
        while self.advance()? {
            ValueReader::new(self.tokens).skip()?;
        }
        self.tokens.leave();
        self.tokens.expect_close(Tag::Value)
    }
}

impl<'de, R: BufRead> SeqAccess<'de> for &mut Items<'_, R> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.advance()? { seed.deserialize(ValueReader::new(self.tokens)).map(Some) } else { Ok(None) }
    }
}

/// The members of a struct.
struct Members<'t, R> {
    tokens: &'t mut Tokens<R>,
    /// A member's value is still to be read.
    open: bool,
    done: bool,
}

impl<R: BufRead> Members<'_, R> {
    fn advance(&mut self) -> Result<bool, DecodeError> {
        if self.open {
            self.open = false;
            ValueReader::new(self.tokens).skip()?;
            self.tokens.end_member()?;
        }
        if !self.done {
            self.open = self.tokens.next_member()?;
            self.done = !self.open;
        }
        Ok(self.open)
    }

    /// Passes over what the visitor left.
    fn finish(mut self) -> Result<(), DecodeError> {
        while self.advance()? {}
        self.tokens.leave();
        self.tokens.expect_close(Tag::Value)
    }
}

impl<'de, R: BufRead> MapAccess<'de> for &mut Members<'_, R> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if !self.advance()? {
            return Ok(None);
        }
        let name: StrDeserializer<'_, DecodeError> = self.tokens.key().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        if !std::mem::take(&mut self.open) {
            return Err(DecodeError::custom("a value was asked for before its name"));
        }
        let value = seed.deserialize(ValueReader::new(self.tokens))?;
        self.tokens.end_member()?;
        Ok(value)
    }
}
