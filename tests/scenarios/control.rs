//! The control socket: verbs over it, and everything that a peer may do to it. Whatever that is, the service goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use xensnap::daemon::control::{Listening, PlaceError};
use xensnap::store::{Origin, Page, SlotFilter};

use super::lab::{Lab, SOCKET, policy};

/// How long anything may take on a busy machine; only a failure waits so long.
const BOUND: Duration = Duration::from_secs(60);

/// A peer of the service.
pub(super) struct Peer(BufReader<UnixStream>);

impl Peer {
    pub(super) async fn of(lab: &Lab) -> Self {
        let mut peer = Self::silent(lab).await;
        let hello = peer.line().await.unwrap();
        assert_eq!((&hello["protocol"], &hello["rights"]), (&json!(1), &json!("write")));
        peer
    }

    async fn silent(lab: &Lab) -> Self {
        Self(BufReader::new(UnixStream::connect(lab.folder.path().join(SOCKET)).await.unwrap()))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// The next line; nothing at the end of the connection.
    async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = tokio::time::timeout(BOUND, self.0.read_line(&mut line)).await.expect("the service answers");
        read.ok().filter(|read| *read > 0)?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Asks, and returns all pieces of the answer.
    pub(super) async fn ask(&mut self, ask: Value) -> Vec<Value> {
        self.send(format!("{}\n", json!({ "id": 1, "ask": ask })).as_bytes()).await;
        self.answer().await
    }

    /// The same in a person's name.
    pub(super) async fn ask_as(&mut self, by: &str, ask: Value) -> Vec<Value> {
        self.send(format!("{}\n", json!({ "ask": ask, "by": by })).as_bytes()).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Vec<Value> {
        let mut pieces = Vec::new();
        loop {
            let piece = self.line().await.expect("the answer has an end");
            let last = piece.get("end").is_some() || piece.get("error").is_some();
            pieces.push(piece);
            if last {
                return pieces;
            }
        }
    }
}

pub(super) fn said(pieces: &[Value]) -> Vec<&str> {
    pieces.iter().filter_map(|piece| piece["say"].as_str()).collect()
}

pub(super) fn code(pieces: &[Value]) -> &str {
    pieces.last().and_then(|piece| piece["error"]["code"].as_str()).unwrap_or_default()
}

async fn nightly() -> Lab {
    let mut lab = Lab::new(2, vec![policy("nightly", "0 2 * * *", "*", 2)]).await;
    lab.start().await;
    lab
}

#[tokio::test]
async fn a_run_is_on_disk_when_it_is_acknowledged_and_is_told_to_its_end() {
    let mut lab = nightly().await;
    let mut peer = Peer::of(&lab).await;
    peer.send(b"{\"ask\":{\"run\":{\"policy\":\"nightly\",\"wait\":true}},\"by\":\"alice\"}\n").await;
    let first = peer.line().await.unwrap();
    assert_eq!(first["say"], "lab: a run of policy nightly was started");
    let slots = lab.store().slots(SlotFilter::default(), Page::first(5)).await.unwrap().rows;
    assert_eq!((slots.len(), slots[0].origin), (1, Origin::Manual));
    assert!(slots[0].detail.starts_with("alice as "), "{}", slots[0].detail);
    let answer = tokio::join!(peer.answer(), lab.pass(300)).0;
    assert_eq!(said(&answer), ["run 1 succeeded: 2 taken, 0 failed, 0 skipped, 0 removed"]);
    let end = &answer.last().unwrap()["end"];
    assert_eq!((&end["failed"], end["slots"].as_array().unwrap().len()), (&json!(false), 1));
    lab.stop().await;
}

#[tokio::test]
async fn whoever_asked_may_go_and_the_run_goes_on() {
    let mut lab = nightly().await;
    let mut peer = Peer::of(&lab).await;
    peer.send(b"{\"ask\":{\"run\":{\"policy\":\"nightly\",\"wait\":true}}}\n").await;
    peer.line().await.unwrap();
    drop(peer);
    lab.pass(300).await;
    assert_eq!(lab.snapshots().len(), 2);
    lab.stop().await;
}

#[tokio::test]
async fn questions_are_answered_and_what_is_not_known_is_told_with_the_nearest() {
    let mut lab = nightly().await;
    let mut peer = Peer::of(&lab).await;
    let preview = peer.ask(json!({ "preview": { "policy": "nightly" } })).await;
    assert_eq!(said(&preview)[0], "lab: would take 2 snapshots (disk)");
    assert!(preview.iter().all(|piece| piece["id"] == 1));
    let unknown = peer.ask(json!({ "prune": { "policy": "nihgtly" } })).await;
    assert_eq!(unknown[0]["error"]["text"], "the service has no policy nihgtly; there is nightly. If it is new: xensnap reload");
    assert_eq!(code(&peer.ask(json!({ "run": { "policy": "nightly", "vms": ["no such VM"] } })).await), "not-found");
    assert_eq!(code(&peer.ask(json!({ "explain": { "subject": "no such VM" } })).await), "not-found");
    // Nobody reads files in a lab.
    assert_eq!(code(&peer.ask(json!({ "reload": {} })).await), "failed");
    assert!(lab.snapshots().is_empty());
    lab.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_goes_on() {
    let mut lab = nightly().await;
    let mut peer = Peer::of(&lab).await;
    let lines: [(&[u8], &str); 6] = [
        (b"run nightly\n", "not-json"),
        (b"\xff\xfe\x00\n", "not-json"),
        (b"{\"id\":5}\n", "bad-request"),
        (b"{\"ask\":{\"dance\":{}}}\n", "unknown-verb"),
        (b"{\"ask\":{\"run\":{\"policy\":\"nightly\",\"dry_run\":true}}}\n", "bad-request"),
        (b"\n\r\n  \n{\"ask\":{\"explain\":{\"subject\":\"nothing\"}}}\n", "not-found"),
    ];
    for (line, expected) in lines {
        peer.send(line).await;
        assert_eq!(code(&peer.answer().await), expected, "{}", String::from_utf8_lossy(line));
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_without_being_kept() {
    let mut lab = nightly().await;
    let mut peer = Peer::of(&lab).await;
    let (mut writer, chunk) = (0, [b'x'; 16 << 10]);
    // The service answers and goes; whoever still writes then is told by the system.
    while writer < 4 << 20 && peer.0.get_mut().write_all(&chunk).await.is_ok() {
        writer += chunk.len();
    }
    assert!(writer < 4 << 20, "it was all taken");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(BOUND, peer.0.read_to_end(&mut rest)).await.unwrap();
    let told = String::from_utf8_lossy(&rest);
    assert!(told.is_empty() || told.contains("too-long"), "{told}");
    assert_eq!(code(&Peer::of(&lab).await.ask(json!({ "explain": { "subject": "nothing" } })).await), "not-found");
    lab.stop().await;
}

#[tokio::test]
async fn half_a_line_and_the_end_is_no_request() {
    let mut lab = nightly().await;
    let mut peer = Peer::of(&lab).await;
    peer.send(b"{\"ask\":{\"run\":{\"policy\":\"nightly\"}}}").await;
    peer.0.get_mut().shutdown().await.unwrap();
    assert_eq!(peer.line().await, None);
    assert!(lab.store().slots(SlotFilter::default(), Page::first(5)).await.unwrap().rows.is_empty());
    // With its end it is one, also if nothing more is sent: the answer comes all the same.
    let mut peer = Peer::of(&lab).await;
    peer.send(b"{\"ask\":{\"run\":{\"policy\":\"nightly\"}}}\n").await;
    peer.0.get_mut().shutdown().await.unwrap();
    assert_eq!(said(&peer.answer().await), ["lab: a run of policy nightly was started"]);
    lab.stop().await;
}

#[tokio::test]
async fn more_connections_than_places_are_told_so_and_places_become_free() {
    let mut lab = nightly().await;
    let mut peers = Vec::new();
    for _ in 0..32 {
        peers.push(Peer::of(&lab).await);
    }
    let mut late = Peer::silent(&lab).await;
    assert_eq!(late.line().await.unwrap()["error"]["code"], "busy");
    assert_eq!(late.line().await, None);
    peers.clear();
    for _ in 0..1000 {
        if Peer::silent(&lab).await.line().await.unwrap().get("rights").is_some() {
            return lab.stop().await;
        }
    }
    panic!("no place became free");
}

#[tokio::test]
async fn a_peer_that_never_reads_holds_nobody_up() {
    let mut lab = nightly().await;
    let mut deaf = Peer::silent(&lab).await;
    // Questions without end, until the service does not take any more.
    let question = format!("{}\n", json!({ "ask": { "preview": { "policy": "nightly" } } })).repeat(200);
    while tokio::time::timeout(Duration::from_millis(300), deaf.0.get_mut().write_all(question.as_bytes())).await.is_ok() {}
    let answer = Peer::of(&lab).await.ask(json!({ "preview": { "policy": "nightly" } })).await;
    assert!(answer.last().unwrap().get("end").is_some());
    lab.until("2026-03-02T03:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 2, "the night passed as always");
    lab.stop().await;
}

#[tokio::test]
async fn a_second_service_at_the_same_socket_is_refused_and_a_dead_ones_socket_is_taken_over() {
    let mut lab = nightly().await;
    let path = lab.folder.path().join(SOCKET);
    assert!(matches!(Listening::at(&path, None).unwrap_err(), PlaceError::Live(_)));
    Peer::of(&lab).await;
    lab.stop().await;
    assert!(!path.exists(), "it goes with its service");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    lab.start().await;
    Peer::of(&lab).await;
    lab.stop().await;
}
