//! Reading a stream from the pool. The reader of the stream sets the pace: no piece is asked for before the last one was written.

use reqwest::Method;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::TransferError;
use super::request::{Asked, broken, outcome, refused, refused_with, request, sent_on};
use super::what::Download;
use super::{Transferred, page};
use crate::xenapi::fault::Fault;
use crate::xenapi::pool::Pool;
use crate::xenapi::transport::Body;

/// Why copying stopped early.
enum Stopped {
    Stream(Fault),
    Writer(std::io::Error),
    /// An error page came instead of data.
    Page(Vec<u8>),
}

/// More of an error page is not read.
const PAGE: usize = 16 * 1024;

impl Pool {
    /// Reads `what` and writes it to `to`. Returns when the stream has ended, everything is written and flushed, and the server's
    /// task says that it succeeded. Whoever drops the future cancels the transfer at the server.
    ///
    /// # Errors
    /// See [`TransferError`]; what was written before is worthless then.
    pub async fn download(&self, what: &Download, to: &mut (impl AsyncWrite + Unpin)) -> Result<Transferred, TransferError> {
        let target = &what.0;
        let (asked, mut body) = self.open_download(what).await?;
        let copied = copy(&mut body, to).await;
        drop(body);
        match copied {
            Ok(bytes) => outcome(self, target, asked, bytes).await,
            Err(Stopped::Page(page)) => Err(refused_with(self, target, asked, 500, &page).await),
            Err(Stopped::Stream(fault)) => Err(broken(self, target, asked, fault).await),
            Err(Stopped::Writer(source)) => Err(TransferError::Local { label: target.label.clone(), source }),
        }
    }

    /// Up to the head of a success.
    async fn open_download(&self, what: &Download) -> Result<(Asked, Body), TransferError> {
        let target = &what.0;
        let mut sessions_lost = 0;
        let mut times = 0;
        let (mut link, mut asked) = self.ask_at(target).await?;
        loop {
            let transport = &self.core.transport;
            let get = request(&self.core, &link, &asked, Method::GET, target);
            let sent = transport.stream(get, transport.timeouts.stream).await;
            let body = match sent {
                Ok(body) => body,
                Err(fault) => return Err(broken(self, target, asked, fault).await),
            };
            match body.status() {
                200 => return Ok((asked, body)),
                302 => sent_on(&self.core, target, &mut asked, &body, &mut times)?,
                // The session ended. The task was failed for it, so another one is made.
                401 if sessions_lost == 0 => {
                    sessions_lost += 1;
                    self.core.session_ended(&link);
                    (link, asked) = self.ask_at(target).await?;
                }
                _ => return Err(refused(self, target, asked, body).await),
            }
        }
    }
}

async fn copy(body: &mut Body, to: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Stopped> {
    let mut bytes = 0;
    while let Some(piece) = body.piece().await.map_err(Stopped::Stream)? {
        if bytes == 0 && page::is_inner_failure(&piece) {
            let rest = body.head_of_body(PAGE).await.unwrap_or_default();
            return Err(Stopped::Page([&piece[..], &rest[..]].concat()));
        }
        to.write_all(&piece).await.map_err(Stopped::Writer)?;
        bytes += piece.len() as u64;
    }
    to.flush().await.map_err(Stopped::Writer)?;
    Ok(bytes)
}
