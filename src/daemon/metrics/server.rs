//! The HTTP side: one page, `/metrics`, in clear text on the machine itself, or with a certificate and for those who know the token.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::store;

/// So many ask at once; others wait.
const TOGETHER: usize = 8;

/// Real time for a greeting, a request's head, and an answer: whoever is slower is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the page is reached.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who knows it may read.
    pub token: Option<SecretString>,
    /// Certificate chain and key, both PEM.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why the page cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The certificate or its key cannot be used.
    #[error("the certificate of [metrics] and its key cannot be used; both have to be PEM, and belong together")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address is taken, or not this machine's.
    #[error("{listen} of [metrics] cannot be listened at; write another address or port")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Door {
    /// TLS with this certificate.
    ///
    /// # Errors
    /// When certificate and key cannot be used.
    fn acceptor(&self) -> Result<Option<TlsAcceptor>, DoorError> {
        let Some((chain, key)) = &self.tls else { return Ok(None) };
        let bad = |error: Box<dyn std::error::Error + Send + Sync>| DoorError::Certificate(error);
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|error| bad(error.into()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(error.into()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| bad(error.into()))?.with_no_client_auth();
        let config = builder.with_single_cert(chain, key).map_err(|error| bad(error.into()))?;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

/// A page that is offered.
pub struct Exporter {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    token: Option<SecretString>,
}

impl Exporter {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the certificate cannot be used, or the address cannot be listened at.
    pub async fn open(door: &Door) -> Result<Self, DoorError> {
        let acceptor = door.acceptor()?;
        let failed = |source| DoorError::Listen { listen: door.listen, source };
        let listener = TcpListener::bind(door.listen).await.map_err(failed)?;
        Ok(Self { listener, acceptor, token: door.token.clone() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the operating system.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers with `text` until it is stopped.
    pub(super) async fn serve<T, F>(self, text: T, stop: CancellationToken)
    where
        T: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = store::Result<String>> + Send + 'static,
    {
        let (places, token, acceptor) = (Arc::new(Semaphore::new(TOGETHER)), self.token.map(Arc::new), self.acceptor);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! { () = stop.cancelled() => return, accepted = self.listener.accept() => accepted };
            let Ok((stream, _)) = accepted else {
                // Out of files: the others have to end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (text, token, acceptor) = (text.clone(), token.clone(), acceptor.clone());
            let answered = async move {
                let _place = place;
                match acceptor {
                    None => converse(stream, text, token).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            converse(stream, text, token).await;
                        }
                    }
                }
            };
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! { () = stop.cancelled() => (), _ = tokio::time::timeout(PATIENCE, answered) => () }
            });
        }
    }
}

/// One request, one answer.
async fn converse<S, T, F>(stream: S, text: T, token: Option<Arc<SecretString>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = store::Result<String>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let (text, token) = (text.clone(), token.clone());
        async move { Ok::<_, Infallible>(answer(&request, text, token.as_deref()).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "somebody who asked for metrics left");
    }
}

async fn answer<T, F>(request: &Request<Incoming>, text: T, token: Option<&SecretString>) -> Response<Full<Bytes>>
where
    T: Fn() -> F,
    F: Future<Output = store::Result<String>>,
{
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the figures are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "the figures can be read only\n");
    }
    if token.is_some_and(|token| !knows(request, token)) {
        let mut refused = plain(StatusCode::UNAUTHORIZED, "the token of [metrics] is needed: Authorization: Bearer ...\n");
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    match text().await {
        Ok(text) => {
            let mut found = plain(StatusCode::OK, text);
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            found.headers_mut().insert(CONTENT_TYPE, kind);
            found
        }
        Err(error) => {
            tracing::warn!(error = %crate::xenapi::error::chain(&error), "the figures could not be gathered");
            plain(StatusCode::SERVICE_UNAVAILABLE, "the history cannot be read; the journal says why\n")
        }
    }
}

fn knows(request: &Request<Incoming>, token: &SecretString) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| value.strip_prefix(b"Bearer "));
    given.is_some_and(|given| given.ct_eq(token.expose_secret().as_bytes()).into())
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
