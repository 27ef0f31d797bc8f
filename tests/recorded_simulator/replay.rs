//! Sends recorded requests to a server and holds the answers against the recorded ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xensnap::clock::SystemClock;
use xensnap::simulator::options::User;
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server};

use crate::compare::{Bindings, Mask, difference};
use crate::transcript::Transcript;

/// A server in a recorded state, and what it was found to differ in.
pub struct Replay {
    pub server: Server,
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
        Self { server, bindings: Bindings::default(), differences: Vec::new(), compared: 0 }
    }

    /// Replays one exchange.
    pub async fn check(&mut self, recorded: &Transcript, masks: &[Mask]) {
        let request = self.bindings.translate(&recorded.request);
        let answer = exchange(&self.server, &request).await;
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

/// Sends bytes on a connection of their own and reads one answer.
pub async fn exchange(server: &Server, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_answer(&mut stream).await
}

/// Reads one answer off a connection.
pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map(|length| length.parse::<usize>().unwrap());
            let length = length.unwrap_or_default();
            while bytes.len() < end + 4 + length {
                let read = stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "the answer ended early: {head}");
                bytes.extend_from_slice(&piece[..read]);
            }
            return Answer { head, body: bytes[end + 4..end + 4 + length].to_vec() };
        }
        let read = stream.read(&mut piece).await.unwrap();
        if read == 0 {
            return Answer { head: "<connection closed without response>".to_owned(), body: Vec::new() };
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}
