//! Writing a stream to the pool, always with its length: servers refuse chunks, and wait for ever for what never comes. So a stream
//! that is shorter than announced cuts the connection and cancels the task.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, stream};
use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::bytes::{Bytes, BytesMut};

use super::Transferred;
use super::error::TransferError;
use super::page::is_inner_failure;
use super::request::{broken, outcome, refused, refused_with, request, sent_on};
use super::what::Upload;
use crate::xenapi::fault::Fault;
use crate::xenapi::pool::Pool;
use crate::xenapi::transport::Body;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// More of an answer's body is not read; a success has none.
const ANSWER: usize = 16 * 1024;
/// Longer than any wait.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How an upload's source fares, seen from outside of the request.
#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    failed: Mutex<Option<io::Error>>,
}

/// What came back for an upload.
enum Answered {
    /// A success, as far as HTTP knows, with the body.
    Done(Vec<u8>),
    /// Another status.
    Status(Box<Body>),
}

impl Pool {
    /// Writes exactly `length` bytes to the pool, read from what `open` opens; it is opened anew when the server sends us to another
    /// host, or the session had ended. Returns when the server's task says that it succeeded. Whoever drops the future cancels the
    /// transfer at the server.
    ///
    /// # Errors
    /// See [`TransferError`]. A source that ends early is an error of our end ([`TransferError::Local`]).
    pub async fn upload<R>(
        &self,
        what: &Upload,
        mut open: impl FnMut() -> io::Result<R>,
        length: u64,
    ) -> Result<Transferred, TransferError>
    where
        R: AsyncRead + Send + 'static,
    {
        let target = &what.0;
        let local = |source| TransferError::Local { label: target.label.clone(), source };
        let (mut sessions_lost, mut times) = (0, 0);
        let (mut link, mut asked) = self.ask_at(target).await?;
        loop {
            let source = open().map_err(local)?;
            let progress = Arc::new(Progress::default());
            let put = request(&self.core, &link, &asked, Method::PUT, target).header(CONTENT_LENGTH, length);
            let put = put.body(reqwest::Body::wrap_stream(pieces(source, length, Arc::clone(&progress))));
            let body = match self.put(put, &progress).await {
                Ok(Answered::Done(body)) if is_inner_failure(&body) => {
                    return Err(refused_with(self, target, asked, 500, &body).await);
                }
                Ok(Answered::Done(_)) => return outcome(self, target, asked, progress.sent.load(Ordering::Relaxed)).await,
                Ok(Answered::Status(body)) => *body,
                Err(fault) => {
                    return Err(match progress.failure() {
                        Some(source) => local(source),
                        None => broken(self, target, asked, fault).await,
                    });
                }
            };
            match body.status() {
                302 => sent_on(&self.core, target, &mut asked, &body, &mut times)?,
                401 if sessions_lost == 0 => {
                    sessions_lost += 1;
                    drop(body);
                    self.core.session_ended(&link);
                    (link, asked) = self.ask_at(target).await?;
                }
                _ => return Err(refused(self, target, asked, body).await),
            }
        }
    }

    /// One request, to the end of its answer.
    async fn put(&self, request: reqwest::RequestBuilder, progress: &Progress) -> Result<Answered, Fault> {
        let transport = &self.core.transport;
        let exchange = async {
            // The server answers before, while or after it reads; what bounds the wait is whether bytes still flow.
            let mut body = transport.stream(request, NEVER).await?;
            if body.status() != 200 {
                return Ok(Answered::Status(Box::new(body)));
            }
            Ok(Answered::Done(body.head_of_body(ANSWER).await?))
        };
        unless_stalled(exchange, &progress.sent, transport.timeouts.stream).await
    }
}

impl Progress {
    fn failure(&self) -> Option<io::Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes what broke our end; the request only has to know that it is over.
    fn fail(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        kind.into()
    }
}

/// The next `length` bytes of `source`, piece by piece as the connection takes them.
fn pieces<R>(source: R, length: u64, progress: Arc<Progress>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static
where
    R: AsyncRead + Send + 'static,
{
    let source = Box::pin(source);
    stream::try_unfold((source, length, progress), |(mut source, left, progress)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE.min(usize::try_from(left).unwrap_or(PIECE)));
        match (&mut source).take(left).read_buf(&mut piece).await {
            Ok(0) => Err(progress.fail(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                progress.sent.fetch_add(read as u64, Ordering::Relaxed);
                Ok(Some((piece.freeze(), (source, left - read as u64, progress))))
            }
            Err(error) => Err(progress.fail(error)),
        }
    })
}

/// Waits for `exchange` as long as `sent` grows within each `idle`.
async fn unless_stalled<T>(
    exchange: impl Future<Output = Result<T, Fault>>,
    sent: &AtomicU64,
    idle: Duration,
) -> Result<T, Fault> {
    let mut exchange = pin!(exchange);
    loop {
        let before = sent.load(Ordering::Relaxed);
        match tokio::time::timeout(idle, &mut exchange).await {
            Ok(outcome) => return outcome,
            Err(_) if sent.load(Ordering::Relaxed) > before => {}
            Err(_) => return Err(Fault::Silent(idle)),
        }
    }
}
