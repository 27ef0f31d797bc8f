//! What clients want to hear of.

use crate::simulator::error::ApiResult;

/// What a client wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// Everything.
    All,
    /// A class, by its name in lower case.
    Class(String),
    /// One object.
    Object(String, String),
}

impl Subscription {
    /// Reads an entry of `classes`: `*`, `VM`, `vm/OpaqueRef:...`.
    ///
    /// # Errors
    /// EVENT_SUBSCRIPTION_PARSE_FAILURE, which no text provokes in practice.
    pub fn parse(text: &str) -> ApiResult<Self> {
        Ok(match text.split_once('/') {
            None if text == "*" => Subscription::All,
            None => Subscription::Class(text.to_lowercase()),
            Some((class, object)) => Subscription::Object(class.to_lowercase(), object.to_owned()),
        })
    }

    /// The class it is limited to, in lower case.
    pub fn class(&self) -> Option<&str> {
        match self {
            Subscription::All => None,
            Subscription::Class(class) | Subscription::Object(class, _) => Some(class),
        }
    }

    /// Whether an object is meant; `class` in lower case.
    pub fn matches(&self, class: &str, reference: &str) -> bool {
        match self {
            Subscription::All => true,
            Subscription::Class(name) => name == class,
            Subscription::Object(name, object) => name == class && object == reference,
        }
    }
}
