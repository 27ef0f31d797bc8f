//! Numbers. The rule: an integer is 64 bits, as text or as a number, and never goes through a float.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// An int64: decimal text on XML, a number on JSON, and each server accepts and some send the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int64(pub i64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Integer;
        impl Visitor<'_> for Integer {
            type Value = Int64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Int64, E> {
                Ok(Int64(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Int64, E> {
                i64::try_from(value).map(Int64).map_err(|_| E::custom("an integer is larger than 64 bits"))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Int64, E> {
                text.trim().parse().map(Int64).map_err(|_| E::custom("a text is not an integer"))
            }
        }
        deserializer.deserialize_any(Integer)
    }
}

/// For fields: an [`Int64`] as `i64`.
pub(crate) fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Int64::deserialize(deserializer).map(|value| value.0)
}

/// A float, as a number (with or without a point) or as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Float;
        impl Visitor<'_> for Float {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "a progress or a multiplier, not a count")]
            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "a progress or a multiplier, not a count")]
            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.trim().parse().map(Number).map_err(|_| E::custom("a text is not a number"))
            }
        }
        deserializer.deserialize_any(Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(json: &str) -> Result<i64, serde_json::Error> {
        serde_json::from_str(json).map(|Int64(value)| value)
    }

    #[test]
    fn an_integer_is_read_from_a_number_and_from_text() {
        assert_eq!(int("9007199254740993").unwrap(), 9_007_199_254_740_993);
        assert_eq!(int(r#""9007199254740993""#).unwrap(), 9_007_199_254_740_993);
        assert_eq!(int(r#""-1""#).unwrap(), -1);
    }

    #[test]
    fn what_is_no_integer_is_refused() {
        for wrong in [r#""""#, r#""1.5""#, "1.5", "18446744073709551615", "true", "[]"] {
            assert!(int(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_float_is_read_with_and_without_a_point() {
        for (json, value) in [("0.5", 0.5), ("1", 1.0), (r#""0.25""#, 0.25), ("-1", -1.0)] {
            assert!((serde_json::from_str::<Number>(json).unwrap().0 - value).abs() < f64::EPSILON);
        }
    }
}
