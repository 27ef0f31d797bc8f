//! One value of any shape, held until its type is known. The rule: it is bounded, because what is held came from outside.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most that is held, in bytes of text and a toll for each value. A record is some kB, its largest field some 100 kB.
const BUDGET: usize = 4 << 20;

/// What a value costs besides its text.
const TOLL: usize = 64;

/// A value that was read before its type was known.
#[derive(Debug)]
pub(super) struct Buffered(Value);

impl<'de> Deserialize<'de> for Buffered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut left = BUDGET;
        Within(&mut left).deserialize(deserializer).map(Self)
    }
}

impl IntoDeserializer<'_, serde_json::Error> for Buffered {
    type Deserializer = Value;

    fn into_deserializer(self) -> Value {
        self.0
    }
}

/// Reads a value within what is left of a budget.
struct Within<'b>(&'b mut usize);

impl Within<'_> {
    fn pay<E: Error>(&mut self, text: usize) -> Result<(), E> {
        *self.0 = self.0.checked_sub(text + TOLL).ok_or_else(|| E::custom("a record is too large to be held"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.pay(0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.pay(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Value, E> {
        self.pay(0)?;
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Value, E> {
        self.pay(0)?;
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        self.pay(0)?;
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Value, E> {
        self.pay(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.pay(0)?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Within(self.0))? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.pay(0)?;
        let mut all = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            self.pay(key.len())?;
            all.insert(key, members.next_value_seed(Within(self.0))?);
        }
        Ok(Value::Object(all))
    }
}
