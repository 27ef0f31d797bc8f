//! Values to columns and back. Times are microseconds since 1970 UTC, UUIDs hyphenated text, closed sets words, lists JSON.
//!
//! Text from a server or a guest may hold anything and be of any length. What people read is clipped, what identifies is refused
//! when it is too long: a clipped identity would be another's.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use uuid::Uuid;

use super::closed::Closed;
use super::error::{Error, Fault};
use super::sqlite::Row;

/// The longest name that is kept, in bytes.
const NAME: usize = 1024;
/// The longest explanation that is kept, in bytes.
const PROSE: usize = 16 * 1024;
/// The longest list that is kept, in bytes.
const LIST: usize = 4 * 1024 * 1024;

/// A time as it is stored. What is finer than a microsecond is dropped.
pub(super) fn at(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// So many rows are written with one statement: databases allow a bounded number of values in one.
pub(super) const ROWS_AT_ONCE: usize = 100;

/// The bounds of a list: not before, and before.
pub(super) fn between(from: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> (i64, i64) {
    (from.map_or(i64::MIN, at), until.map_or(i64::MAX, at))
}

/// A UUID as it is stored.
pub(super) fn key(uuid: Uuid) -> String {
    uuid.hyphenated().to_string()
}

/// A name, clipped.
pub(super) fn name(text: &str) -> Cow<'_, str> {
    clip(text, NAME)
}

/// An explanation, clipped.
pub(super) fn prose(text: &str) -> Cow<'_, str> {
    clip(text, PROSE)
}

fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let kept = &text[..text.floor_char_boundary(limit)];
    Cow::Owned(format!("{kept}… ({} more bytes)", text.len() - kept.len()))
}

/// A text that is compared later and must be whole.
pub(super) fn whole<'a>(field: &'static str, text: &'a str) -> Result<&'a str, Error> {
    fits(field, text.len(), NAME).map(|()| text)
}

/// A value as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(field: &'static str, value: &T) -> Result<String, Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Unreadable { column: field, detail: error.to_string() })?;
    fits(field, text.len(), LIST).map(|()| text)
}

fn fits(field: &'static str, length: usize, limit: usize) -> Result<(), Error> {
    if length > limit { Err(Error::TooLong { field, length, limit }) } else { Ok(()) }
}

/// A cause: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cause {
    /// Short and stable, for example a XenAPI error's code.
    pub code: String,
    /// What happened, in full.
    pub text: String,
}

impl Cause {
    /// A cause.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }

    pub(super) fn columns(cause: Option<&Self>) -> (Option<String>, Option<String>) {
        (cause.map(|cause| name(&cause.code).into_owned()), cause.map(|cause| prose(&cause.text).into_owned()))
    }
}

/// Reads typed values out of a row. Whatever is not what this program writes is an error, never a default.
pub(super) trait Columns {
    fn int(&self, column: &'static str) -> Result<i64, Fault>;
    fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, Fault>;
    fn text(&self, column: &'static str) -> Result<String, Fault>;
    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, Fault>;

    fn id<T: From<i64>>(&self, column: &'static str) -> Result<T, Fault> {
        self.int(column).map(T::from)
    }

    fn maybe_id<T: From<i64>>(&self, column: &'static str) -> Result<Option<T>, Fault> {
        Ok(self.maybe_int(column)?.map(T::from))
    }

    fn flag(&self, column: &'static str) -> Result<bool, Fault> {
        self.int(column).map(|value| value != 0)
    }

    fn count(&self, column: &'static str) -> Result<u64, Fault> {
        let value = self.int(column)?;
        u64::try_from(value).map_err(|_| unreadable(column, &value.to_string()))
    }

    fn time(&self, column: &'static str) -> Result<DateTime<Utc>, Fault> {
        read_time(column, self.int(column)?)
    }

    fn maybe_time(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, Fault> {
        self.maybe_int(column)?.map(|micros| read_time(column, micros)).transpose()
    }

    fn uuid(&self, column: &'static str) -> Result<Uuid, Fault> {
        read_uuid(column, &self.text(column)?)
    }

    fn maybe_uuid(&self, column: &'static str) -> Result<Option<Uuid>, Fault> {
        self.maybe_text(column)?.map(|text| read_uuid(column, &text)).transpose()
    }

    fn closed<T: Closed>(&self, column: &'static str) -> Result<T, Fault> {
        let word = self.text(column)?;
        T::of_word(&word).ok_or_else(|| unreadable(column, &word))
    }

    fn maybe_closed<T: Closed>(&self, column: &'static str) -> Result<Option<T>, Fault> {
        let Some(word) = self.maybe_text(column)? else { return Ok(None) };
        T::of_word(&word).map(Some).ok_or_else(|| unreadable(column, &word))
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, Fault> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|error| unreadable(column, &error.to_string()))
    }

    fn cause(&self) -> Result<Option<Cause>, Fault> {
        let Some(code) = self.maybe_text("cause_code")? else { return Ok(None) };
        Ok(Some(Cause { code, text: self.maybe_text("cause_text")?.unwrap_or_default() }))
    }
}

impl Columns for Row {
    fn int(&self, column: &'static str) -> Result<i64, Fault> {
        self.try_get(column).map_err(|error| decoding(column, error))
    }

    fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, Fault> {
        self.try_get(column).map_err(|error| decoding(column, error))
    }

    fn text(&self, column: &'static str) -> Result<String, Fault> {
        self.try_get(column).map_err(|error| decoding(column, error))
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, Fault> {
        self.try_get(column).map_err(|error| decoding(column, error))
    }
}

fn decoding(column: &'static str, error: sqlx::Error) -> Fault {
    match error {
        sqlx::Error::ColumnDecode { source, .. } => unreadable(column, &source.to_string()),
        other => other.into(),
    }
}

fn read_time(column: &'static str, micros: i64) -> Result<DateTime<Utc>, Fault> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| unreadable(column, &micros.to_string()))
}

fn read_uuid(column: &'static str, text: &str) -> Result<Uuid, Fault> {
    Uuid::try_parse(text).map_err(|_| unreadable(column, text))
}

fn unreadable(column: &'static str, value: &str) -> Fault {
    Error::Unreadable { column, detail: format!("{:?}", clip(value, 80)) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clipped_text_ends_between_characters_and_says_what_is_missing() {
        let text = "é".repeat(1000);
        let clipped = name(&text);
        assert!(clipped.ends_with("… (976 more bytes)"), "{clipped}");
        assert!(clipped.starts_with("éé"));
        assert_eq!(name("short"), "short");
    }

    #[test]
    fn an_identity_is_never_clipped() {
        assert!(matches!(whole("nonce", &"x".repeat(1025)), Err(Error::TooLong { length: 1025, .. })));
        assert_eq!(whole("nonce", "abc").unwrap(), "abc");
    }
}
