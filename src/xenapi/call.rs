//! One call, before it is sent: a method, its parameters without the session, and what may be done when its answer is lost.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::error::CallError;
use super::wire::Param;

/// What happens if a call is done twice. It decides whether a call whose answer was lost is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Safety {
    /// It changes nothing.
    Read,
    /// It changes something, but the second time changes nothing more (or nothing that matters).
    Idempotent,
    /// It must happen once. A lost answer is an error of kind `Ambiguous`.
    Mutating,
}

/// A call that returns an `R`.
///
/// `Debug` shows the method only: parameters may be secrets.
#[derive(Clone)]
pub struct Call<R> {
    pub(super) parts: Parts,
    result: PhantomData<fn() -> R>,
}

/// A call without the type of its result.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) method: String,
    pub(super) params: Vec<Param>,
    pub(super) safety: Safety,
    pub(super) tags: Vec<(String, String)>,
    /// The server may hold the answer back behind a lock.
    pub(super) blocks: bool,
    /// Until the answer begins, where the defaults do not fit.
    pub(super) answer_within: Option<Duration>,
    pub(super) patience: Option<Duration>,
    /// The call means something within this login only.
    pub(super) only_login: Option<u64>,
    /// The first parameter is the session itself.
    pub(super) of_session: bool,
    /// It passes whatever the pool's fence says.
    pub(super) unfenced: bool,
}

/// What request line and headers may have in all; the server's limit is 1024, and others need room too.
const HEADERS: usize = 600;

impl<R> Call<R> {
    /// A call that changes nothing.
    pub fn read(method: &str) -> Self {
        Self::new(method, Safety::Read)
    }

    /// A call that may be done twice.
    pub fn idempotent(method: &str) -> Self {
        Self::new(method, Safety::Idempotent)
    }

    /// A call that must be done once.
    pub fn mutating(method: &str) -> Self {
        Self::new(method, Safety::Mutating)
    }

    fn new(method: &str, safety: Safety) -> Self {
        let parts = Parts {
            method: method.to_owned(),
            params: Vec::new(),
            safety,
            tags: Vec::new(),
            blocks: false,
            answer_within: None,
            patience: None,
            only_login: None,
            of_session: false,
            unfenced: false,
        };
        Self { parts, result: PhantomData }
    }

    /// With one more parameter; the session is not one of them.
    #[must_use]
    pub fn with(mut self, param: impl Into<Param>) -> Self {
        self.parts.params.push(param.into());
        self
    }

    /// The server may hold this call back behind a lock, for up to two hours.
    #[must_use]
    pub fn that_blocks(mut self) -> Self {
        self.parts.blocks = true;
        self
    }

    /// Waits for a pool that is away for at most `patience` of the clock's time; zero tries once.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.parts.patience = Some(patience);
        self
    }

    /// The call is about who may change something, and so passes the [fence](super::Fence) itself.
    #[must_use]
    pub fn beside_the_fence(mut self) -> Self {
        self.parts.unfenced = true;
        self
    }

    /// The answer may take `bound` of real time to begin.
    #[must_use]
    pub fn answered_within(mut self, bound: Duration) -> Self {
        self.parts.answer_within = Some(bound);
        self
    }

    /// The call is about the session it is made in.
    #[must_use]
    pub(super) fn of_own_session(mut self) -> Self {
        self.parts.of_session = true;
        self
    }

    /// The call means something within the login of this number only, and is not made in another.
    #[must_use]
    pub fn only_in_login(mut self, number: Option<u64>) -> Self {
        self.parts.only_login = number;
        self
    }

    /// Marks the task that [`super::Pool::start`] makes of this call: `value` stands in the task's `other_config` under `http:KEY`
    /// from its first moment on, so that it is found again even if its reference never arrived (MEASURED 20a). Synchronous calls
    /// ignore it.
    ///
    /// `key` is lower case letters, digits, `-` and `_`; `value` visible ASCII.
    #[must_use]
    pub fn tagged(mut self, key: &str, value: &str) -> Self {
        self.parts.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The method's name.
    pub fn method(&self) -> &str {
        &self.parts.method
    }

    /// What happens if it is done twice.
    pub fn safety(&self) -> Safety {
        self.parts.safety
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.parts.method).finish_non_exhaustive()
    }
}

impl Parts {
    /// May be sent again though an earlier copy may have arrived.
    pub(super) fn may_be_repeated(&self) -> bool {
        self.safety != Safety::Mutating
    }

    /// Has to pass the fence.
    pub(super) fn is_fenced(&self) -> bool {
        self.safety != Safety::Read && !self.unfenced
    }

    /// The headers that tag the call's task.
    pub(super) fn headers(&self) -> Result<HeaderMap, CallError> {
        let mut headers = HeaderMap::new();
        let mut size = 0;
        for (key, value) in &self.tags {
            let (name, value) = tag(key, value).map_err(|reason| self.bad_tag(reason))?;
            size += name.as_str().len() + value.len() + 4;
            headers.append(name, value);
        }
        if size > HEADERS { Err(self.bad_tag("it is too long for a request's head")) } else { Ok(headers) }
    }

    fn bad_tag(&self, reason: &'static str) -> CallError {
        CallError::Tag { method: self.method.clone(), reason }
    }
}

fn tag(key: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if key.is_empty() || !key.bytes().all(plain) {
        return Err("its key may have lower case letters, digits, - and _ only");
    }
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its value must be visible ASCII");
    }
    let name = HeaderName::try_from(format!("x-http-other-config-{key}")).map_err(|_| "its key is no header name")?;
    Ok((name, HeaderValue::try_from(value).map_err(|_| "its value is no header value")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xenapi::types::Void;

    fn headers(key: &str, value: &str) -> Result<HeaderMap, CallError> {
        Call::<Void>::mutating("VM.snapshot").tagged(key, value).parts.headers()
    }

    #[test]
    fn a_tag_becomes_the_header_the_server_reads() {
        assert_eq!(headers("xensnap", "nonce-123").unwrap()["x-http-other-config-xensnap"], "nonce-123");
    }

    #[test]
    fn a_tag_that_would_arrive_changed_is_refused() {
        for (key, value) in [("", "v"), ("Key", "v"), ("k:", "v"), ("k", ""), ("k", "a b"), ("k", "ü"), ("k", "a\r\nx: y")] {
            assert!(headers(key, value).is_err(), "{key} {value}");
        }
        assert!(headers("k", &"v".repeat(700)).is_err());
    }

    #[test]
    fn parameters_are_not_shown_by_debug() {
        let call = Call::<Void>::read("session.login_with_password").with(Param::Str("hunter2".into()));
        assert!(!format!("{call:?}").contains("hunter2"));
    }
}
