//! One HTTP exchange, and nothing of what it means. A request always carries its length and never its secrets into a message;
//! every wait for the other side has a bound; nothing is repeated and no redirect followed here.

mod answer;
mod classify;
mod probe;
mod resolver;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeSeed;

use super::fault::{Fault, TransportError};
use super::settings::{Settings, Timeouts};
use super::trust::{Seen, TrustError};
use super::wire::{Answer, EncodeError, Limits, Param, Wire, encode};
use crate::clock::SharedClock;
use crate::domain::address::Address;

pub(super) use answer::Body;
use answer::InFlight;
pub(super) use classify::classify;
pub(super) use probe::Probed;

/// What the server sees as our user agent.
const USER_AGENT: &str = concat!("xensnap/", env!("CARGO_PKG_VERSION"));
/// How long an idle connection is kept. Shorter than what a firewall on the way forgets connections after.
const IDLE_CONNECTION: Duration = Duration::from_secs(45);
/// After this much silence the kernel asks whether the other host still lives.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The HTTP client of one pool.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    clock: SharedClock,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
    pub(super) certificates: Seen,
    next_id: Arc<AtomicU64>,
}

/// A call on its way to one host.
pub(super) struct Request<'a> {
    pub(super) address: &'a Address,
    pub(super) wire: Wire,
    pub(super) method: &'a str,
    /// All parameters, the session included.
    pub(super) params: &'a [Param],
    pub(super) headers: HeaderMap,
    /// Until the answer begins.
    pub(super) answer_within: Duration,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Transport {
    /// # Errors
    /// When the CA file is unusable.
    pub(super) fn new(settings: &Settings, clock: SharedClock) -> Result<Self, TrustError> {
        let certificates = Seen::default();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(settings.trust.client_config(certificates.clone())?)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(USER_AGENT)
            .dns_resolver(resolver::Resolver)
            .connect_timeout(settings.timeouts.connect)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE / 4)
            .tcp_keepalive_retries(4)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| TrustError::Library(Box::new(error)))?;
        Ok(Self { http, clock, timeouts: settings.timeouts, limits: settings.limits, certificates, next_id: Arc::default() })
    }

    /// Sends one call and decodes its answer with `seed`.
    pub(super) async fn call<S>(&self, request: Request<'_>, seed: S) -> Result<Answer<S::Value>, ExchangeError>
    where
        S: DeserializeSeed<'static> + Send + 'static,
        S::Value: Send + 'static,
    {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let body = encode(request.wire, request.method, request.params, id)?;
        let post = self
            .http
            .post(request.address.url(request.wire.path()))
            .header(CONTENT_TYPE, request.wire.content_type())
            .headers(request.headers)
            .body(body);
        let at = |fault| TransportError { address: request.address.clone(), fault };
        let body = self.send(post, request.answer_within).await.and_then(checked).map_err(at)?;
        let answer = body.decode(request.wire, self.limits, seed).await.map_err(at)?;
        // The connection is free again only when its own task has run; else the next call would open another one.
        tokio::task::yield_now().await;
        Ok(answer)
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(&self, request: reqwest::RequestBuilder, within: Duration) -> Result<Body, Fault> {
        let in_flight = InFlight::new(self.clock.activity().request());
        // Connecting has a bound of its own, which must speak first: then nothing was sent.
        let bound = within.max(self.timeouts.connect.saturating_add(Duration::from_millis(200)));
        match tokio::time::timeout(bound, request.send()).await {
            Ok(Ok(response)) => Ok(Body::new(response, self.timeouts, in_flight)),
            Ok(Err(error)) => Err(classify(error, self.timeouts.connect)),
            Err(_) => Err(Fault::Silent(bound)),
        }
    }

    /// A request that is no call.
    pub(super) fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request whose answer is a stream: `idle` bounds the wait for its head, and that between two pieces.
    pub(super) async fn stream(&self, request: reqwest::RequestBuilder, idle: Duration) -> Result<Body, Fault> {
        Ok(self.send(request, idle).await?.into_stream(idle))
    }
}

/// Lets pass what may be the answer to a call.
fn checked(body: Body) -> Result<Body, Fault> {
    let status = body.status();
    if status == 200 && body.content_type().is_some_and(|kind| kind.contains("html")) {
        return Err(Fault::NotXenApi("it sends a web page".to_owned()));
    }
    match status {
        200 => Ok(body),
        404 => Err(Fault::NotXenApi("HTTP 404: it knows no XenAPI".to_owned())),
        300..=399 => Err(Fault::NotXenApi(format!("HTTP {status}: it sends elsewhere"))),
        _ => Err(Fault::Status(status)),
    }
}
