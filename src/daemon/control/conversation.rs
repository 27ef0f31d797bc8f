//! One connection. A request is read, carried out, and answered to its end before the next is read. The time-outs here are the
//! machine's own time: they are about a peer that does not read or write, not about the plan.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::super::Handle;
use super::Rights;
use super::protocol::{Frame, Hello, LONGEST, PROTOCOL, Request};
use super::rights::Peer;
use crate::daemon::requests::Said;

/// A whole request has to be there within this time, from when one is waited for.
const IDLE: Duration = Duration::from_secs(120);

/// A line has to be taken within this time.
const SLOW: Duration = Duration::from_secs(10);

/// While nothing is said the other end is told so often that the answer goes on.
const ALIVE: Duration = Duration::from_secs(10);

/// How many characters of a person's name are kept.
const NAME: usize = 64;

/// Talks until the other end goes, falls silent, or breaks a rule.
pub(super) async fn hold(stream: UnixStream, handle: &Handle, peer: &Peer, has_place: bool) {
    let (reader, writer) = stream.into_split();
    let mut talk = Talk { reader: BufReader::new(reader), writer, handle, peer };
    // Who does not listen is left, and that is all that there is to do about it.
    let _ = talk.on(has_place).await;
}

/// The other end is gone, or as good as gone.
struct Left;

struct Talk<'a> {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    handle: &'a Handle,
    peer: &'a Peer,
}

enum Line {
    Request(Vec<u8>),
    TooLong,
    Over,
}

impl Talk<'_> {
    async fn on(&mut self, has_place: bool) -> Result<(), Left> {
        let Some(rights) = self.peer.rights else {
            return self.write(&Frame::error(Value::Null, "denied", self.peer.refusal.clone())).await;
        };
        if !has_place {
            let text = "too many connections at once; try again in a moment";
            return self.write(&Frame::error(Value::Null, "busy", text)).await;
        }
        let hello = Hello { xensnap: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL, rights };
        self.write(&hello).await?;
        loop {
            let stop = self.handle.stop.clone();
            let line = tokio::select! { () = stop.cancelled() => Line::Over, line = self.line() => line };
            match line {
                Line::Over => return Ok(()),
                Line::TooLong => {
                    let text = format!("a request has {LONGEST} bytes at most; ask for less at once");
                    return self.write(&Frame::error(Value::Null, "too-long", text)).await;
                }
                Line::Request(line) if line.trim_ascii().is_empty() => {}
                Line::Request(line) => match Request::read(&line) {
                    Ok(request) => self.answer(request, rights).await?,
                    Err(refusal) => self.write(&refusal).await?,
                },
            }
        }
    }

    async fn line(&mut self) -> Line {
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(LONGEST as u64 + 1);
        match tokio::time::timeout(IDLE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) if line.len() > LONGEST => Line::TooLong,
            // Half a line and the end: whoever wrote it did not mean it.
            Ok(Ok(1..)) if line.ends_with(b"\n") => Line::Request(line),
            _ => Line::Over,
        }
    }

    async fn answer(&mut self, request: Request, rights: Rights) -> Result<(), Left> {
        let Request { id, ask, by } = request;
        if rights == Rights::Read && !ask.only_reads() {
            return self.write(&Frame::error(id, "denied", self.peer.refusal.clone())).await;
        }
        let mut said = self.handle.ask(ask, self.who(by));
        loop {
            let piece = match tokio::time::timeout(ALIVE, said.recv()).await {
                Ok(Some(piece)) => piece,
                // It ended without a last word, which a panic does.
                Ok(None) => {
                    let text =
                        "the request was not brought to its end; this is a defect of xensnap, please report it with the journal";
                    return self.write(&Frame::error(id, "defect", text)).await;
                }
                Err(_) => Said::Alive {},
            };
            let last = matches!(piece, Said::End { .. } | Said::Error { .. });
            self.write(&Frame { id: id.clone(), said: piece }).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// The user that the kernel names, and the person behind it if that is said.
    fn who(&self, by: Option<String>) -> String {
        let by: String = by.unwrap_or_default().chars().filter(|c| !c.is_control()).take(NAME).collect();
        if by.is_empty() || by == self.peer.name { self.peer.name.clone() } else { format!("{by} as {}", self.peer.name) }
    }

    async fn write(&mut self, line: &impl Serialize) -> Result<(), Left> {
        let mut text = serde_json::to_vec(line).map_err(|_| Left)?;
        text.push(b'\n');
        match tokio::time::timeout(SLOW, self.writer.write_all(&text)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Left),
        }
    }
}
