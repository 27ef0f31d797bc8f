//! Sends recorded requests to a server and holds the answers against the recorded ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xensnap::clock::SystemClock;
use xensnap::simulator::options::User;
use xensnap::simulator::value::Text;
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server};

use crate::compare::{Bindings, Mask, difference};
use crate::transcript::Transcript;

/// How long an answer may take.
const BOUND: Duration = Duration::from_secs(20);
/// How long an answer is waited for that must not come.
const PATIENCE: Duration = Duration::from_millis(100);

/// A server in a recorded state, and what it was found to differ in.
pub struct Replay {
    pub server: Server,
    address: SocketAddr,
    pub bindings: Bindings,
    differences: Vec<String>,
    compared: usize,
}

/// An answer off the wire.
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Replay {
    /// Serves the world; the recorded user is `root` with the password `labpass`.
    pub async fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let users = vec![User { name: "root".into(), password: "labpass".into(), role: None }];
        let options = Options { users, refusal_takes: Duration::ZERO, ..Options::default() };
        let server = Server::start(options, Arc::new(SystemClock::new()), world, listener).await.unwrap();
        let address = server.address();
        Self { server, address, bindings: Bindings::default(), differences: Vec::new(), compared: 0 }
    }

    /// Serves the world and listens on a member's behalf.
    pub async fn start_on(world: World, member: &Text) -> Self {
        let mut replay = Self::start(world).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        replay.address = replay.server.listen(member, listener).unwrap();
        replay
    }

    /// Sends bytes on a connection of their own and reads one answer.
    pub async fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let answer = tokio::time::timeout(BOUND, read_answer(&mut stream, &mut Vec::new())).await;
        answer.unwrap_or_else(|_| Answer { head: "<no response within timeout>".to_owned(), body: Vec::new() })
    }

    /// Replays one exchange that was never answered.
    pub async fn hangs(&mut self, recorded: &Transcript) {
        self.compared += 1;
        let answer = tokio::time::timeout(PATIENCE, self.exchange(&recorded.request)).await;
        if let Ok(answer) = answer {
            self.differences.push(format!("{}: answered {}", recorded.name, String::from_utf8_lossy(&answer.body)));
        }
    }

    /// Replays one exchange.
    pub async fn check(&mut self, recorded: &Transcript, masks: &[Mask]) {
        let request = self.bindings.translate(&recorded.request);
        let answer = self.exchange(&request).await;
        self.compare(recorded, masks, &answer);
    }

    /// Replays many.
    pub async fn check_all(&mut self, recorded: &[Transcript], masks: &[Mask]) {
        for exchange in recorded {
            self.check(exchange, masks).await;
        }
    }

    /// Holds an answer against the recorded one.
    pub fn compare(&mut self, recorded: &Transcript, masks: &[Mask], answer: &Answer) {
        self.compared += 1;
        let cut_off = recorded.body.len() < recorded.length;
        let masked = masks.iter().any(|mask| matches!(mask, Mask::Field(_)));
        let head = |text: &str| {
            text.lines().filter(|line| !masked || !line.starts_with("content-length")).collect::<Vec<_>>().join("\n")
        };
        if head(&recorded.head) != head(&answer.head) {
            self.differences.push(format!("{}: head\n{}\n-- instead of --\n{}", recorded.name, answer.head, recorded.head));
        }
        if let Some(text) = difference(&mut self.bindings, masks, &recorded.body, &answer.body, cut_off) {
            self.differences.push(format!("{}:\n{text}", recorded.name));
        }
    }

    /// Ends the server and fails when anything differed.
    pub async fn finish(self) {
        self.server.shutdown().await;
        assert!(self.compared > 0, "nothing was compared");
        assert!(
            self.differences.is_empty(),
            "{} of {} differ:\n\n{}",
            self.differences.len(),
            self.compared,
            self.differences.join("\n\n")
        );
    }
}

/// Reads one answer off a connection; what came behind it stays in `bytes`.
pub async fn read_answer(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Answer {
    let mut end = None;
    loop {
        end = end.or_else(|| bytes.windows(4).position(|window| window == b"\r\n\r\n"));
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                return Answer { head, body };
            }
        }
        let mut piece = vec![0; 64 * 1024];
        let read = stream.read(&mut piece).await.unwrap();
        if read == 0 {
            return Answer { head: "<connection closed without response>".to_owned(), body: Vec::new() };
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}
