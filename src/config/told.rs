//! What errors of the domain say, taken apart: where in the text, what is wrong, what to write instead.

use std::ops::Range;

use crate::domain::address::AddressError;
use crate::domain::alarm::{MailboxError, WebAddressError};
use crate::domain::fingerprint::FingerprintError;
use crate::domain::id::{NameError, UuidError};
use crate::domain::naming::TemplateError;
use crate::domain::schedule::ExpressionError;
use crate::domain::selection::PatternError;
use crate::domain::span::SpanError;
use crate::domain::zone::ZoneError;

/// What an error of the domain says: where in the text, what is wrong, what to write instead.
pub(super) struct Told {
    pub at: Option<Range<usize>>,
    pub message: String,
    pub help: String,
}

impl Told {
    /// Messages of the domain name the mistake first and the remedy after a semicolon.
    pub fn from_message(message: &str) -> Self {
        let (message, help) = message.split_once("; ").unwrap_or((message, ""));
        Self { at: None, message: message.to_owned(), help: help.to_owned() }
    }

    /// A remedy, where the domain has none.
    fn or_help(mut self, help: &str) -> Self {
        if self.help.is_empty() {
            self.help = help.to_owned();
        }
        self
    }
}

macro_rules! told_as_shown {
    ($($error:ty),+) => {$(
        impl From<$error> for Told {
            fn from(error: $error) -> Self {
                Self::from_message(&error.to_string())
            }
        }
    )+};
}

told_as_shown!(AddressError, FingerprintError, MailboxError, NameError, UuidError, WebAddressError, ZoneError);

impl From<PatternError> for Told {
    fn from(error: PatternError) -> Self {
        Self::from_message(&error.to_string()).or_help("correct it; a backslash before a character takes it as it is")
    }
}

impl From<SpanError> for Told {
    fn from(error: SpanError) -> Self {
        Self::from_message(&error.to_string()).or_help("write for example \"30d\"")
    }
}

impl From<ExpressionError> for Told {
    fn from(ExpressionError { at, message, help }: ExpressionError) -> Self {
        Self { at: Some(at), message, help }
    }
}

impl From<TemplateError> for Told {
    fn from(TemplateError { at, message, help }: TemplateError) -> Self {
        Self { at: Some(at), message, help }
    }
}
