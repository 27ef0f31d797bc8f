//! Somebody on the web who takes messages, as a script says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xensnap::domain::alarm::WebAddress;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// Not at all, until the other side goes.
    Never,
    /// The connection is cut.
    Cut,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }

    /// The message.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// What is told, as edge and code.
    pub fn told(&self) -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        self.json()["alarms"].as_array().unwrap().iter().map(|told| (word(&told["edge"]), word(&told["code"]))).collect()
    }
}

/// Takes requests until it is dropped.
#[derive(Clone)]
pub struct Receiver {
    pub address: WebAddress,
    seen: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Receiver {
    pub async fn new(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/alarms/hunter2", listener.local_addr().unwrap()).parse().unwrap();
        let receiver = Self { address, seen: Arc::default(), answers: Arc::new(Mutex::new(answers.iter().copied().collect())) };
        let taking = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taking = taking.clone();
                tokio::spawn(async move { taking.take(stream).await });
            }
        });
        receiver
    }

    async fn take(&self, mut stream: TcpStream) -> Option<()> {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        let (head, begin) = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), end + 4);
            }
            let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&piece[..read]);
        };
        let request = Request { head, body: Vec::new() };
        let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < begin + length {
            let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&piece[..read]);
        }
        self.seen.lock().unwrap().push(Request { body: bytes[begin..].to_vec(), ..request });
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(204));
        match answer {
            Answer::Status(status) => {
                let text = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: 3\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\nno\n"
                );
                stream.write_all(text.as_bytes()).await.ok()?;
            }
            Answer::Never => while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {},
            Answer::Cut => {}
        }
        Some(())
    }

    /// What was received so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so much was received.
    pub async fn has(&self, count: usize) -> Vec<Request> {
        for _ in 0..6000 {
            if self.seen().len() >= count {
                return self.seen();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {count} messages came", self.seen().len());
    }
}
