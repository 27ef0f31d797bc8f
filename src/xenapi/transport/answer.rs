//! Reading an answer. Small ones are decoded where they are; large ones go piece by piece to a decoder on a thread of its own, which
//! holds the sender back, so that no answer is in memory as a whole.

use std::io::{self, BufRead, Cursor, Read};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use serde::de::DeserializeSeed;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;

use super::classify;
use crate::clock::{Hold, OnTheWire};
use crate::xenapi::fault::Fault;
use crate::xenapi::settings::Timeouts;
use crate::xenapi::wire::{Answer, DecodeError, Limits, Wire, decode_seed};

/// Answers up to this size are collected first.
const SMALL: usize = 256 * 1024;
/// Pieces between the connection and the decoder.
const IN_BETWEEN: usize = 8;

/// The answer to a request: its head, and a body still to be read. Drop it before waiting for anything else: once the body has
/// ended, it holds the clock.
#[derive(Debug)]
pub(crate) struct Body {
    response: reqwest::Response,
    timeouts: Timeouts,
    ends: Option<Instant>,
    in_flight: InFlight,
    /// Held from the end of the body on.
    at_work: Option<Hold>,
}

/// Our half of an exchange, as the clock has to know it. However it ends, the answer is off the wire then: the server's half, which
/// may end before or after, is counted by itself.
#[derive(Debug)]
pub(super) struct InFlight(Option<OnTheWire>);

impl InFlight {
    pub(super) fn new(on_the_wire: OnTheWire) -> Self {
        Self(Some(on_the_wire))
    }

    /// The answer has been read; the clock is held until the hold is dropped.
    fn end(&mut self) -> Option<Hold> {
        self.0.take().map(OnTheWire::answered)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl Body {
    pub(super) fn new(response: reqwest::Response, timeouts: Timeouts, in_flight: InFlight) -> Self {
        let ends = Some(Instant::now() + timeouts.whole);
        Self { response, timeouts, ends, in_flight, at_work: None }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn content_type(&self) -> Option<String> {
        self.header(&CONTENT_TYPE).map(str::to_ascii_lowercase)
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The body may take as long as it likes in all, and `idle` between two pieces.
    pub(crate) fn into_stream(mut self, idle: Duration) -> Self {
        self.ends = None;
        self.timeouts.idle = idle;
        self
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = self.next_piece().await;
        if !matches!(piece, Ok(Some(_))) {
            self.at_work = self.in_flight.end().or(self.at_work.take());
        }
        piece
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let left = self.ends.map_or(Duration::MAX, |ends| ends.saturating_duration_since(Instant::now()));
        // A body that is always there in time would never meet a time-out.
        if left.is_zero() {
            return Err(Fault::Endless(self.timeouts.whole));
        }
        let patience = self.timeouts.idle.min(left);
        match tokio::time::timeout(patience, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| classify(error, self.timeouts.connect)),
            Err(_) if left < self.timeouts.idle => Err(Fault::Endless(self.timeouts.whole)),
            Err(_) => Err(Fault::Silent(patience)),
        }
    }

    /// The first `limit` bytes; more are not read.
    pub(crate) async fn head_of_body(&mut self, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut collected = Vec::new();
        while collected.len() < limit {
            let Some(piece) = self.piece().await? else { break };
            collected.extend_from_slice(&piece);
        }
        collected.truncate(limit);
        Ok(collected)
    }

    /// Decodes the whole body.
    pub(crate) async fn decode<S>(mut self, wire: Wire, limits: Limits, seed: S) -> Result<Answer<S::Value>, Fault>
    where
        S: DeserializeSeed<'static> + Send + 'static,
        S::Value: Send + 'static,
    {
        match self.collect().await? {
            Collected::All(body) => decode_seed(wire, body.as_slice(), limits, seed).map_err(Fault::Decode),
            Collected::Start(start) => self.decode_aside(start, move |reader| decode_seed(wire, reader, limits, seed)).await,
        }
    }

    async fn collect(&mut self) -> Result<Collected, Fault> {
        let mut collected = Vec::new();
        while collected.len() <= SMALL {
            let Some(piece) = self.piece().await? else { return Ok(Collected::All(collected)) };
            collected.extend_from_slice(&piece);
        }
        Ok(Collected::Start(collected))
    }

    async fn decode_aside<T: Send + 'static>(
        mut self,
        start: Vec<u8>,
        decode: impl FnOnce(Pieces) -> Result<T, DecodeError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = mpsc::channel(IN_BETWEEN);
        let decoder = tokio::task::spawn_blocking(move || decode(Pieces { current: Cursor::new(start.into()), receiver }));
        let broken = self.pump(sender).await;
        let decoded = decoder.await.map_err(|error| Fault::Cut(Some(Box::new(error))))?;
        match broken {
            Some(fault) => Err(fault),
            None => decoded.map_err(Fault::Decode),
        }
    }

    /// Hands on piece after piece until the body or the decoder ends.
    async fn pump(&mut self, sender: mpsc::Sender<io::Result<Bytes>>) -> Option<Fault> {
        loop {
            let (piece, fault) = match self.piece().await {
                Ok(Some(piece)) => (Ok(piece), None),
                Ok(None) => return None,
                Err(fault) => (Err(io::ErrorKind::UnexpectedEof.into()), Some(fault)),
            };
            let accepted = sender.send(piece).await.is_ok();
            if fault.is_some() || !accepted {
                return fault;
            }
        }
    }
}

/// What fits into memory of an answer.
enum Collected {
    All(Vec<u8>),
    Start(Vec<u8>),
}

/// The body as the decoder's thread reads it.
struct Pieces {
    current: Cursor<Bytes>,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.position() >= self.current.get_ref().len() as u64 {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = Cursor::new(piece?),
                None => return Ok(&[]),
            }
        }
        self.current.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.current.consume(amount);
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let amount = available.read(buffer)?;
        self.consume(amount);
        Ok(amount)
    }
}
