//! Values as the server's database holds them: untyped but for what the wire must tell apart, in the order they were written.
//!
//! References and enums are text here; the model knows which is which. Text is shared, because records repeat it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Shared text; cheap to clone.
pub type Text = Arc<str>;

/// A reference, `OpaqueRef:...`.
pub type Ref = Text;

/// The reference to nothing.
pub const NULL: &str = "OpaqueRef:NULL";

/// One value of a field, a parameter or a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, reference or enum; also the void result, which is the empty text.
    Str(Text),
    /// int64.
    Int(i64),
    /// An Int32, which XML-RPC tags `<i4>` (`valid_ref_counts`).
    Int32(i32),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A date in the server's spelling, `20261122T15:54:34Z`.
    Date(Text),
    /// A set, in the server's order.
    Set(Vec<Value>),
    /// A map or a record, in the server's order.
    Map(Vec<(Text, Value)>),
}

impl Value {
    /// Text.
    pub fn str(text: impl Into<Text>) -> Self {
        Value::Str(text.into())
    }

    /// The void result.
    pub fn void() -> Self {
        Value::str("")
    }

    /// The reference to nothing.
    pub fn null() -> Self {
        Value::str(NULL)
    }

    /// A date as the server writes it: whole seconds, UTC.
    pub fn date(at: DateTime<Utc>) -> Self {
        Value::Date(at.format("%Y%m%dT%H:%M:%SZ").to_string().into())
    }

    /// The date in it.
    pub fn as_date(&self) -> Option<DateTime<Utc>> {
        let text = self.as_text()?;
        let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H:%M:%SZ").ok()?;
        Some(naive.and_utc())
    }

    /// A set of texts.
    pub fn texts<T: Into<Text>>(items: impl IntoIterator<Item = T>) -> Self {
        Value::Set(items.into_iter().map(Value::str).collect())
    }

    /// A map of texts.
    pub fn pairs<K: Into<Text>, V: Into<Text>>(items: impl IntoIterator<Item = (K, V)>) -> Self {
        Value::Map(items.into_iter().map(|(k, v)| (k.into(), Value::str(v))).collect())
    }

    /// The text, reference, enum or date in it.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::Str(text) | Value::Date(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a set; empty for anything else.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Set(items) => items,
            _ => &[],
        }
    }

    /// The members of a map; empty for anything else.
    pub fn members(&self) -> &[(Text, Value)] {
        match self {
            Value::Map(members) => members,
            _ => &[],
        }
    }

    /// The value under `key` of a map.
    pub fn member(&self, key: &str) -> Option<&Value> {
        self.members().iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }
}

/// True for every spelling of the reference to nothing.
pub fn is_null(reference: &str) -> bool {
    matches!(reference, "" | "NULL" | NULL)
}
