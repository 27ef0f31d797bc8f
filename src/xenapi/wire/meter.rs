//! Readers that enforce [`Limits`] while bytes pass through them. The rule: a bound is checked before memory is spent on what
//! passes it, so no parser behind a meter has to be trusted with its buffers.

use std::io::{self, BufRead, Read};

use super::{DecodeError, Limits};

/// The most that is handed to a parser at once, so that a parser that copies what it is given stays near its bounds.
const CHUNK: usize = 64 * 1024;

/// What markup may add to a text within one token of XML; the text itself is measured exactly where it is used.
const MARKUP: usize = 64;

/// A bound that was passed, carried through parsers inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Passed(String);

/// The error for a bound of `what` that was passed.
pub(super) fn passed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, Passed(what))
}

/// The error of a whole answer that is too long.
fn too_long(limits: Limits) -> io::Error {
    passed(format!("the whole is longer than {} bytes", limits.bytes))
}

/// The message for a string that is too long.
pub(super) fn long_text(limits: Limits) -> String {
    format!("a string is longer than {} bytes", limits.text)
}

/// The message for values nested too deep.
pub(super) fn deep(limits: Limits) -> String {
    format!("values are nested deeper than {}", limits.depth())
}

/// What an error of a metered reader means for the answer.
pub(super) fn io_error(error: io::Error) -> DecodeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Passed>()) {
        Some(Passed(what)) => DecodeError::TooLarge(what.clone()),
        None if error.kind() == io::ErrorKind::InvalidData => DecodeError::Malformed(error.to_string()),
        None => DecodeError::Io(error),
    }
}

/// A reader for the XML parser: counts the bytes of the whole answer and of the present token, and takes back bytes that were
/// read too far.
pub(super) struct TokenMeter<R> {
    inner: R,
    limits: Limits,
    total: u64,
    token: usize,
    /// Bytes given back, to be read before `inner`; `start..` is still unread.
    again: Vec<u8>,
    start: usize,
}

impl<R: BufRead> TokenMeter<R> {
    pub(super) fn new(inner: R, limits: Limits) -> Self {
        Self { inner, limits, total: 0, token: 0, again: Vec::new(), start: 0 }
    }

    /// A new token begins: its bytes are counted from nought.
    pub(super) fn begin_token(&mut self) {
        self.token = 0;
    }

    /// Bytes consumed so far.
    pub(super) fn position(&self) -> u64 {
        self.total
    }

    /// Gives bytes back that were just consumed; they are read again next.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_sub(bytes.len() as u64);
        self.token = self.token.saturating_sub(bytes.len());
        self.again.splice(..self.start, bytes.iter().copied());
        self.start = 0;
    }
}

impl<R: BufRead> Read for TokenMeter<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for TokenMeter<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.token > self.limits.text.saturating_add(MARKUP) {
            return Err(passed(long_text(self.limits)));
        }
        if self.total > self.limits.bytes {
            return Err(too_long(self.limits));
        }
        if self.start < self.again.len() {
            return Ok(&self.again[self.start..]);
        }
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(CHUNK)])
    }

    fn consume(&mut self, n: usize) {
        self.total += n as u64;
        self.token += n;
        if self.start < self.again.len() {
            self.start += n;
        } else {
            self.inner.consume(n);
        }
    }
}

/// A reader for the JSON parser: follows strings and nesting just far enough to count them.
pub(super) struct JsonMeter<R> {
    inner: R,
    limits: Limits,
    total: u64,
    depth: u32,
    text: usize,
    state: Lexical,
}

/// Where in a JSON text the meter stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lexical {
    Outside,
    Inside,
    Escaped,
}

impl<R: BufRead> JsonMeter<R> {
    pub(super) fn new(inner: R, limits: Limits) -> Self {
        Self { inner, limits, total: 0, depth: 0, text: 0, state: Lexical::Outside }
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len() as u64;
        if self.total > self.limits.bytes {
            return Err(too_long(self.limits));
        }
        let mut rest = bytes;
        while let [first, tail @ ..] = rest {
            rest = match self.state {
                Lexical::Outside => {
                    self.outside(*first)?;
                    tail
                }
                Lexical::Escaped => {
                    self.state = Lexical::Inside;
                    self.text += 1;
                    tail
                }
                Lexical::Inside => self.inside(rest)?,
            };
        }
        Ok(())
    }

    fn outside(&mut self, byte: u8) -> io::Result<()> {
        match byte {
            b'"' => (self.state, self.text) = (Lexical::Inside, 0),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > self.limits.depth() { Err(passed(deep(self.limits))) } else { Ok(()) }
    }

    /// Counts a run of string characters up to a quote or a backslash, and returns what follows it.
    fn inside<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let run = bytes.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(bytes.len());
        self.text += run;
        if self.text > self.limits.text {
            return Err(passed(long_text(self.limits)));
        }
        match bytes.get(run) {
            Some(b'"') => self.state = Lexical::Outside,
            Some(_) => self.state = Lexical::Escaped,
            None => return Ok(&[]),
        }
        Ok(&bytes[run + 1..])
    }
}

impl<R: BufRead> Read for JsonMeter<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.inner.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.inner.consume(n);
        self.count(&buf[..n])?;
        Ok(n)
    }
}
