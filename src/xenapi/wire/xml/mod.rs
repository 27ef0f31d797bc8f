//! XML-RPC answers. The rule: values are read by the type that is asked for, never by the tag, because the server tags neither
//! strings nor integers; and no document type, no entity but the five of XML, no processing instruction is acted on.

mod token;
mod value;

use std::io::BufRead;
use std::marker::PhantomData;

use serde::de::DeserializeSeed;

use self::token::{Tag, Token, Tokens};
use self::value::{Head, ValueReader};
use super::words::{Loose, Words, failure_of};
use super::{Answer, DecodeError, Limits};
use crate::xenapi::failure::Failure;

pub(super) fn decode<'de, S: DeserializeSeed<'de>>(
    reader: impl BufRead,
    limits: Limits,
    seed: S,
) -> Result<Answer<S::Value>, DecodeError> {
    let mut tokens = Tokens::new(reader, limits);
    tokens.expect_open(Tag::MethodResponse)?;
    let answer = match tokens.markup()? {
        Token::Open(Tag::Params) => success(&mut tokens, seed)?,
        Token::Open(Tag::Fault) => Answer::Failure(fault(&mut tokens)?),
        token => return Err(tokens.unexpected(token, "params or fault")),
    };
    tokens.expect_close(Tag::MethodResponse)?;
    tokens.expect_end()?;
    Ok(answer)
}

/// A lone value, as in the result of a task.
pub(super) fn decode_value<'de, S: DeserializeSeed<'de>>(
    reader: impl BufRead,
    limits: Limits,
    seed: S,
) -> Result<S::Value, DecodeError> {
    let mut tokens = Tokens::new(reader, limits);
    tokens.expect_open(Tag::Value)?;
    let value = seed.deserialize(ValueReader::new(&mut tokens))?;
    tokens.expect_end()?;
    Ok(value)
}

fn success<'de, R: BufRead, S: DeserializeSeed<'de>>(tokens: &mut Tokens<R>, seed: S) -> Result<Answer<S::Value>, DecodeError> {
    tokens.expect_open(Tag::Param)?;
    tokens.expect_open(Tag::Value)?;
    let answer = match tokens.head()? {
        Head::Struct => status(tokens, seed)?,
        // Only system.listMethods: its answer has no envelope.
        Head::Array => Answer::Value(seed.deserialize(ValueReader::with_head(tokens, Head::Array))?),
        _ => return Err(tokens.malformed("the answer has no Status")),
    };
    tokens.expect_close(Tag::Param)?;
    tokens.expect_close(Tag::Params)?;
    Ok(answer)
}

/// The struct of `Status` and either `Value` or `ErrorDescription`, in any order.
fn status<'de, R: BufRead, S: DeserializeSeed<'de>>(tokens: &mut Tokens<R>, seed: S) -> Result<Answer<S::Value>, DecodeError> {
    let mut seed = Some(seed);
    let mut value = None;
    let mut status = String::new();
    let mut description = None;
    tokens.enter()?;
    while tokens.next_member()? {
        let name = Member::of(tokens.key());
        let reader = ValueReader::new(tokens);
        match (name, seed.take()) {
            (Member::Value, Some(seed)) => value = Some(seed.deserialize(reader)?),
            (Member::Value, None) => return Err(tokens.malformed("the answer has two values")),
            (name, kept) => {
                seed = kept;
                match name {
                    Member::Status => status = one::<_, Loose>(reader)?.0,
                    Member::ErrorDescription => description = Some(one::<_, Words>(reader)?.0),
                    _ => reader.skip()?,
                }
            }
        }
        tokens.end_member()?;
    }
    tokens.leave();
    tokens.expect_close(Tag::Value)?;
    match (status.as_str(), value, description) {
        ("Success", Some(value), _) => Ok(Answer::Value(value)),
        ("Failure", _, Some(words)) => failure_of(words).map(Answer::Failure).map_err(|what| tokens.malformed(what)),
        ("Success" | "Failure", _, _) => Err(tokens.malformed("the answer has a Status and nothing else")),
        _ => Err(tokens.malformed("the answer has no Status")),
    }
}

enum Member {
    Status,
    Value,
    ErrorDescription,
    Other,
}

impl Member {
    fn of(name: &str) -> Self {
        match name {
            "Status" => Member::Status,
            "Value" => Member::Value,
            "ErrorDescription" => Member::ErrorDescription,
            _ => Member::Other,
        }
    }
}

fn one<'de, R: BufRead, T: serde::Deserialize<'de>>(reader: ValueReader<'_, R>) -> Result<T, DecodeError> {
    PhantomData::<T>.deserialize(reader)
}

/// A fault says that the call was not even dispatched; the contract treats it as INTERNAL_ERROR.
fn fault<R: BufRead>(tokens: &mut Tokens<R>) -> Result<Failure, DecodeError> {
    #[derive(serde::Deserialize)]
    struct Fault {
        #[serde(rename = "faultString")]
        text: Loose,
    }
    tokens.expect_open(Tag::Value)?;
    let fault: Fault = one(ValueReader::new(tokens))?;
    tokens.expect_close(Tag::Fault)?;
    Ok(Failure { code: "INTERNAL_ERROR".to_owned(), params: vec![fault.text.0] })
}
