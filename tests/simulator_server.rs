//! The simulated server over real sockets.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xensnap::clock::SystemClock;
use xensnap::simulator::model::Release;
use xensnap::simulator::value::Value;
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server};

fn small_pool() -> World {
    let mut world = World::new(Release::NEWEST, 7);
    let database = &mut world.database;
    database.create("host", "OpaqueRef:host", [("uuid", Value::str("u-host")), ("address", Value::str("127.0.0.1"))]);
    database.create("pool", "OpaqueRef:pool", [("uuid", Value::str("u-pool")), ("master", Value::str("OpaqueRef:host"))]);
    database.create("VM", "OpaqueRef:vm", [("uuid", Value::str("u-vm")), ("name_label", Value::str("web <1>"))]);
    world.master = "OpaqueRef:host".into();
    world
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::start(Options::default(), Arc::new(SystemClock::new()), small_pool(), listener).await.unwrap()
}

/// Sends a request and reads the answer to its end.
async fn post(server: &Server, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!("POST {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn json(server: &Server, method: &str, params: &str) -> String {
    let body = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params},\"id\":1}}");
    post(server, "/jsonrpc", &body).await
}

async fn login(server: &Server) -> String {
    let answer = json(server, "session.login_with_password", "[\"root\",\"xensnap\",\"1.0\",\"test\"]").await;
    let session = answer.strip_prefix("{\"jsonrpc\":\"2.0\",\"result\":\"").and_then(|rest| rest.strip_suffix("\",\"id\":1}"));
    session.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn a_client_logs_in_and_reads_over_both_wires() {
    let server = server().await;
    let session = login(&server).await;
    let name = json(&server, "VM.get_name_label", &format!("[\"{session}\",\"OpaqueRef:vm\"]")).await;
    assert_eq!(name, "{\"jsonrpc\":\"2.0\",\"result\":\"web <1>\",\"id\":1}");
    let call = format!(
        "<?xml version='1.0'?><methodCall><methodName>VM.get_by_uuid</methodName><params><param><value>{session}</value></param>\
         <param><value>u-vm</value></param></params></methodCall>"
    );
    let found = post(&server, "/", &call).await;
    assert!(found.contains("<name>Value</name><value>OpaqueRef:vm</value>"), "{found}");
    let records = json(&server, "VM.get_all_records", &format!("[\"{session}\"]")).await;
    assert!(records.starts_with("{\"jsonrpc\":\"2.0\",\"result\":{\"OpaqueRef:vm\":{\"uuid\":\"u-vm\","), "{records}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_session_ends_with_its_logout() {
    let server = server().await;
    let session = login(&server).await;
    let params = format!("[\"{session}\"]");
    assert_eq!(json(&server, "session.logout", &params).await, "{\"jsonrpc\":\"2.0\",\"result\":\"\",\"id\":1}");
    let refused = json(&server, "VM.get_all", &params).await;
    assert!(refused.contains("\"message\":\"SESSION_INVALID\""), "{refused}");
}
