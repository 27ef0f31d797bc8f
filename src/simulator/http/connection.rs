//! One connection's bytes: a buffer in front of a plain or encrypted socket.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::head::{Head, Unreadable};

/// A plain or encrypted socket.
pub trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// The shortest request there can be; the real server waits for as many bytes before it looks at them.
const SHORTEST: usize = "GET / HTTP/1.0\r\n\r\n".len();
const END: &[u8] = b"\r\n\r\n";
const PIECE: usize = 64 * 1024;

/// Limits on the head of a request.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes, the blank line included; none: no limit.
    pub length: Option<usize>,
    /// Real time until the next byte of a connection's first head.
    pub read: Option<Duration>,
    /// Real time until a connection's first head is complete.
    pub total: Option<Duration>,
}

/// Why there is no head.
#[derive(Debug)]
pub enum NoHead {
    /// The client has gone.
    Closed,
    /// Nothing came for too long.
    Timeout,
    /// The head is too long.
    TooLarge,
    /// The head cannot be read.
    Unreadable(Unreadable),
}

/// A client's connection.
pub struct Connection {
    socket: Box<dyn Socket>,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were used.
    used: usize,
    /// True when the client speaks TLS.
    pub tls: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("tls", &self.tls).field("buffered", &(self.buffer.len() - self.used)).finish()
    }
}

impl Connection {
    /// Takes over a socket.
    pub fn new(socket: Box<dyn Socket>, tls: bool) -> Self {
        Self { socket, buffer: Vec::new(), used: 0, tls }
    }

    /// Reads the head of the next request.
    ///
    /// # Errors
    /// [`NoHead`].
    pub async fn head(&mut self, limits: HeadLimits) -> Result<Head, NoHead> {
        let reading = self.read_head(limits);
        let length = match limits.total {
            Some(bound) => tokio::time::timeout(bound, reading).await.unwrap_or(Err(NoHead::Timeout))?,
            None => reading.await?,
        };
        let bytes = self.take(length);
        Head::parse(&bytes).map_err(NoHead::Unreadable)
    }

    /// Waits until the buffer holds a whole head and tells its length.
    async fn read_head(&mut self, limits: HeadLimits) -> Result<usize, NoHead> {
        loop {
            let unread = &self.buffer[self.used..];
            if unread.len() >= SHORTEST
                && let Some(length) = unread.windows(END.len()).position(|window| window == END)
            {
                let length = length + END.len();
                return if limits.length.is_some_and(|max| length > max) { Err(NoHead::TooLarge) } else { Ok(length) };
            }
            if limits.length.is_some_and(|max| unread.len() > max) {
                return Err(NoHead::TooLarge);
            }
            let read = self.fill();
            let read = match limits.read {
                Some(bound) => tokio::time::timeout(bound, read).await.map_err(|_| NoHead::Timeout)?,
                None => read.await,
            };
            if read.map_err(|_| NoHead::Closed)? == 0 {
                return Err(NoHead::Closed);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..std::mem::take(&mut self.used));
        let mut piece = [0; 4096];
        let read = self.socket.read(&mut piece).await?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let bytes = self.buffer[self.used..self.used + length].to_vec();
        self.used += length;
        bytes
    }

    /// Reads what comes next of a body: 0 bytes at the end of the stream.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let buffered = self.buffer.len() - self.used;
        if buffered == 0 {
            return self.socket.read(into).await;
        }
        let length = buffered.min(into.len());
        into[..length].copy_from_slice(&self.buffer[self.used..self.used + length]);
        self.used += length;
        Ok(length)
    }

    /// Reads a body of a known length.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the client sends less.
    pub async fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::with_capacity(length.min(PIECE));
        while body.len() < length {
            let mut piece = [0; 4096];
            let wanted = piece.len().min(length - body.len());
            match self.read(&mut piece[..wanted]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => body.extend_from_slice(&piece[..read]),
            }
        }
        Ok(body)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Sends what the layers below still hold.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().await
    }

    /// Ends the connection in order: says so, then reads what the client had already sent, because closing a socket with unread
    /// bytes would destroy the answer on its way.
    pub async fn close(mut self) {
        if self.socket.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            let mut piece = [0; 4096];
            while matches!(self.socket.read(&mut piece).await, Ok(read) if read > 0) {}
        };
        // A bound on real input: a client that never closes must not keep the socket.
        let _ = tokio::time::timeout(Duration::from_secs(2), drain).await;
    }
}
