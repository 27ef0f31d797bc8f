//! A call with all that keeps it alive: the session is renewed, the master followed, a pool that is away waited for. The one rule
//! above all: a mutating call that may have reached the server is never sent again.

use std::sync::Arc;

use reqwest::header::HeaderMap;
use serde::de::DeserializeSeed;

use super::call::{Parts, Safety};
use super::connection::{Core, Link};
use super::error::{CallError, Problem, Refusal};
use super::failure::{Failure, Kind};
use super::fault::{Fault, TransportError};
use super::fence::Barred;
use super::patience::Patience;
use super::transport::{ExchangeError, Request};
use super::wire::{Answer, DecodeError};

/// What follows from an attempt that brought no result.
enum Verdict {
    /// The call had no effect, or may have it twice: once more, or this error.
    Again(CallError),
    /// That was it.
    End(CallError),
}

/// What has been tried so far.
#[derive(Default)]
struct Tries {
    failed: u32,
    sessions_lost: u32,
}

impl Core {
    /// Makes a call; `seed` decodes each answer to it.
    pub(super) async fn run<S>(self: &Arc<Self>, parts: &Parts, seed: impl Fn() -> S) -> Result<S::Value, CallError>
    where
        S: DeserializeSeed<'static> + Send + 'static,
        S::Value: Send + 'static,
    {
        let headers = parts.headers()?;
        let patience = Patience::new(&self.clock, parts.patience.unwrap_or(self.settings.patience));
        let mut tries = Tries::default();
        loop {
            let link = self.link(&patience).await.map_err(CallError::NotConnected)?;
            if parts.only_login.is_some_and(|number| number != link.incarnation.number) {
                return Err(CallError::LoginOver { method: parts.method.clone() });
            }
            if parts.is_fenced() {
                match self.fence.pass(&self.clock, link.incarnation.number, &patience).await {
                    Ok(()) => {}
                    Err(Barred::LoginChanged) => continue,
                    Err(barred) => return Err(fenced(parts, barred)),
                }
            }
            let answer = self.once(&link, parts, headers.clone(), seed()).await;
            self.tallies.answered(&parts.method, error_code(&answer));
            let verdict = match answer {
                Ok(Answer::Value(value)) => return Ok(value),
                Ok(Answer::Failure(failure)) => self.after_refusal(&link, parts, failure, &mut tries),
                Err(ExchangeError::Transport(error)) => self.after_fault(&link, parts, error),
                Err(ExchangeError::Encode(error)) => return Err(error.into()),
            };
            match verdict {
                Verdict::End(error) => return Err(error),
                Verdict::Again(error) if !self.pause_before_repeating(&patience, &mut tries).await => return Err(error),
                Verdict::Again(error) => tracing::debug!(pool = %self.settings.name, %error, "trying again"),
            }
        }
    }

    async fn once<S>(&self, link: &Link, parts: &Parts, headers: HeaderMap, seed: S) -> Result<Answer<S::Value>, ExchangeError>
    where
        S: DeserializeSeed<'static> + Send + 'static,
        S::Value: Send + 'static,
    {
        let mut params = Vec::with_capacity(parts.params.len() + 2);
        params.push(link.session.param());
        params.extend(parts.of_session.then(|| link.session.param()));
        params.extend_from_slice(&parts.params);
        let timeouts = &self.transport.timeouts;
        let usual = if parts.blocks { timeouts.blocking } else { timeouts.answer };
        let answer_within = parts.answer_within.unwrap_or(usual);
        let (address, wire, method) = (&link.address, link.wire, parts.method.as_str());
        self.transport.call(Request { address, wire, method, params: &params, headers, answer_within }, seed).await
    }

    /// The first repetition is made at once, later ones with growing pauses.
    async fn pause_before_repeating(&self, patience: &Patience, tries: &mut Tries) -> bool {
        tries.failed += 1;
        tries.failed == 1 || patience.pause(self.settings.backoff.pause(tries.failed - 1)).await
    }

    fn after_refusal(&self, link: &Arc<Link>, parts: &Parts, failure: Failure, tries: &mut Tries) -> Verdict {
        if failure.is_session_invalid() {
            return self.after_session_loss(link, parts, failure, tries);
        }
        if let Some(master) = failure.master_address() {
            self.master_moved(link, master);
            return Verdict::Again(refused(link, parts, failure));
        }
        if failure.is_emergency() {
            self.suspect(link);
            let problem = Problem::NotReady { address: link.address.clone(), failure: link.session.clean(failure) };
            return Verdict::Again(CallError::NotConnected(Arc::new(self.error(problem))));
        }
        Verdict::End(refused(link, parts, failure))
    }

    /// Our own session is checked before a call runs, so the call had no effect. Another session's end (a member's, in the middle
    /// of a forwarded call) says nothing of the kind.
    fn after_session_loss(&self, link: &Arc<Link>, parts: &Parts, failure: Failure, tries: &mut Tries) -> Verdict {
        let ours = failure.params.is_empty() || failure.params.iter().any(|param| link.session.is(param));
        if !ours && parts.safety == Safety::Mutating {
            return Verdict::End(CallError::Unclear(refusal(link, parts, failure)));
        }
        self.session_ended(link);
        tries.sessions_lost += 1;
        let error = refused(link, parts, failure);
        if tries.sessions_lost == 1 { Verdict::Again(error) } else { Verdict::End(error) }
    }

    fn after_fault(&self, link: &Arc<Link>, parts: &Parts, error: TransportError) -> Verdict {
        let method = parts.method.clone();
        let unreadable = matches!(error.fault, Fault::Decode(DecodeError::Malformed(_) | DecodeError::TooLarge(_)));
        if !unreadable {
            self.suspect(link);
        }
        if !error.fault.may_have_been_sent() {
            let passes = error.fault.kind() == Kind::Transient;
            let error = CallError::NotConnected(Arc::new(self.error(Problem::Transport(error))));
            return if passes { Verdict::Again(error) } else { Verdict::End(error) };
        }
        match (parts.may_be_repeated(), unreadable) {
            (false, _) => Verdict::End(CallError::Lost { method, source: error }),
            (true, true) => Verdict::End(CallError::Unreadable { method, source: error }),
            (true, false) => Verdict::Again(CallError::Unanswered { method, source: error }),
        }
    }
}

/// The server's code, or a word for what kept its answer away.
fn error_code<T>(answer: &Result<Answer<T>, ExchangeError>) -> Option<&str> {
    match answer {
        Ok(Answer::Value(_)) => None,
        Ok(Answer::Failure(failure)) => Some(&failure.code),
        Err(ExchangeError::Transport(_)) => Some("transport"),
        Err(ExchangeError::Encode(_)) => Some("encoding"),
    }
}

fn fenced(parts: &Parts, barred: Barred) -> CallError {
    let reason = match barred {
        Barred::Lost => "another daemon of this installation works with the pool now; see `xensnap status` there",
        _ => "it is not known at the moment which daemon of this installation works with the pool; `xensnap status` says more",
    };
    CallError::Fenced { method: parts.method.clone(), reason }
}

fn refusal(link: &Link, parts: &Parts, failure: Failure) -> Refusal {
    Refusal { method: parts.method.clone(), failure: link.session.clean(failure) }
}

fn refused(link: &Link, parts: &Parts, failure: Failure) -> CallError {
    CallError::Refused(refusal(link, parts, failure))
}
