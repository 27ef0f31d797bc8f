//! JSON-RPC answers. The rule: all shapes a XenAPI server has ever sent are understood (2.0; 1.0 of 6.5 to 7.2; the bare-array error
//! raised before dispatch), and neither `jsonrpc` nor `id` is insisted on, because older servers send neither truthfully.

use std::fmt;
use std::io::{self, BufRead, BufReader};

use serde::de::value::UnitDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::meter::{self, JsonMeter};
use super::words::{Loose, Words, failure_of};
use super::{Answer, DecodeError, Limits};
use crate::xenapi::failure::Failure;

/// Between the meter and the parser, which takes bytes one by one.
const BUFFER: usize = 32 * 1024;

pub(super) fn decode<'de, S: DeserializeSeed<'de>>(
    reader: impl BufRead,
    limits: Limits,
    seed: S,
) -> Result<Answer<S::Value>, DecodeError> {
    let metered = BufReader::with_capacity(BUFFER, JsonMeter::new(reader, limits));
    let mut json = serde_json::Deserializer::from_reader(metered);
    let answer = json.deserialize_map(Envelope(seed)).map_err(decode_error)?;
    json.end().map_err(decode_error)?;
    Ok(answer)
}

fn decode_error(error: serde_json::Error) -> DecodeError {
    if error.is_io() {
        return meter::io_error(io::Error::from(error));
    }
    DecodeError::Malformed(error.to_string())
}

/// The object around an answer.
struct Envelope<S>(S);

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Envelope<S> {
    type Value = Answer<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut seed = Some(self.0);
        let mut value = None;
        let mut failure = None;
        let mut void = false;
        while let Some(name) = members.next_key::<Member>()? {
            match name {
                Member::Result if value.is_some() => return Err(A::Error::duplicate_field("result")),
                Member::Result => match members.next_value_seed(Nullable(&mut seed))? {
                    Some(decoded) => value = Some(decoded),
                    None => void = true,
                },
                Member::Error => failure = members.next_value_seed(FailureSeed)?.or(failure),
                Member::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        match (failure, value, seed) {
            (Some(failure), _, _) => Ok(Answer::Failure(failure)),
            (None, Some(value), _) => Ok(Answer::Value(value)),
            (None, None, Some(seed)) if void => seed.deserialize(UnitDeserializer::new()).map(Answer::Value),
            _ => Err(A::Error::custom("the answer has neither a result nor an error")),
        }
    }
}

enum Member {
    Result,
    Error,
    Other,
}

impl<'de> serde::Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E>(self, name: &str) -> Result<Member, E> {
                Ok(match name {
                    "result" => Member::Result,
                    "error" => Member::Error,
                    _ => Member::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// Runs the seed unless the value is null: the 1.0 shape of an error has a null result beside it, and a void result may be null.
struct Nullable<'s, S>(&'s mut Option<S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nullable<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Nullable<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a result")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let seed = self.0.take().ok_or_else(|| D::Error::duplicate_field("result"))?;
        seed.deserialize(deserializer).map(Some)
    }
}

/// The `error` member: null, an object, or a bare array with the code first.
struct FailureSeed;

impl<'de> DeserializeSeed<'de> for FailureSeed {
    type Value = Option<Failure>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FailureSeed {
    type Value = Option<Failure>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error object, an array of strings, or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        failure_of(Words::collect(items)?.0).map(Some).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut code = Loose::default();
        let mut params = Words::default();
        while let Some(name) = members.next_key::<Box<str>>()? {
            match &*name {
                "message" => code = members.next_value()?,
                "data" => params = members.next_value()?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        params.0.insert(0, code.0);
        failure_of(params.0).map(Some).map_err(A::Error::custom)
    }
}
