//! A simulated pool and the simplest client that can talk to it, for tests of the simulator itself.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xensnap::clock::{SharedClock, SystemClock};
use xensnap::simulator::Options;
use xensnap::simulator::context::Shared;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::model::Release;
use xensnap::simulator::operations::vm_disks;
use xensnap::simulator::simulation::{Seat, Simulation};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;

/// A pool that runs, and somebody who is logged in.
pub struct Pool {
    pub simulation: Simulation,
    pub session: String,
}

/// An error of the XenAPI: code and parameters.
pub type Failure = Vec<String>;

/// A file of the shared folder; none, with a word about it, where the folder does not exist.
pub fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("XENSNAP_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
    }
    path.exists().then_some(path)
}

/// A small pool of small disks, as a release would show it.
pub fn recipe(release: &str) -> Recipe {
    Recipe { hosts: 2, vms: 8, release: Release::parse(release).unwrap(), disk_size: Some(5 << 20), ..Recipe::default() }
}

/// The world of a recipe, in which nothing takes time.
pub fn world(recipe: &Recipe) -> World {
    let mut world = generate(recipe, "2026-11-22T12:00:00Z".parse().unwrap());
    world.storage.timings = Timings::instant();
    world
}

/// Settings under which nobody waits.
pub fn at_once() -> Options {
    Options { login_takes: Duration::ZERO, refusal_takes: Duration::ZERO, ..Options::default() }
}

/// A socket for every host of a world.
pub fn seats(world: &mut World) -> Vec<Seat> {
    let seat = |host: Ref| Seat { host, listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap() };
    world.database.refs("host").into_iter().map(seat).collect()
}

impl Pool {
    /// Starts a pool on the machine's clock and logs in.
    pub async fn start(world: World) -> Self {
        Self::start_on(Arc::new(SystemClock::new()), world, at_once()).await
    }

    /// Starts a pool and logs in.
    pub async fn start_on(clock: SharedClock, mut world: World, options: Options) -> Self {
        let seats = seats(&mut world);
        let simulation = Simulation::start(options, clock, world, seats).await.unwrap();
        let mut pool = Self { simulation, session: String::new() };
        pool.login().await;
        pool
    }

    /// Logs in, again.
    pub async fn login(&mut self) {
        let session = self.raw_call("session.login_with_password", json!(["root", "xensnap", "1.0", "test"])).await.unwrap();
        self.session = session.as_str().unwrap().to_owned();
    }

    pub fn shared(&self) -> Arc<Shared> {
        self.simulation.shared().expect("the server is up")
    }

    pub fn master(&self) -> SocketAddr {
        let master = self.shared().step(|world| world.master.clone());
        self.simulation.address_of(&master).unwrap()
    }

    /// Calls a message with the session.
    pub async fn call(&self, method: &str, params: Json) -> Result<Json, Failure> {
        let mut all = vec![json!(self.session)];
        all.extend(params.as_array().unwrap().iter().cloned());
        self.raw_call(method, Json::Array(all)).await
    }

    /// Calls a message without a session.
    pub async fn raw_call(&self, method: &str, params: Json) -> Result<Json, Failure> {
        let answer = try_call(self.master(), method, params).await.unwrap_or_else(|| panic!("{method} was not answered"));
        decode(&answer)
    }

    /// Waits until a task is over, and answers its record.
    pub async fn task(&self, task: &Json) -> Json {
        loop {
            let record = self.call("task.get_record", json!([task])).await.unwrap();
            if record["status"] != "pending" {
                return record;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The reference of an object by a condition on its record.
    pub fn find(&self, class: &str, wanted: impl Fn(&World, &Ref) -> bool) -> Ref {
        self.shared().step(|world| world.database.refs(class).into_iter().find(|r| wanted(world, r))).expect("no such object")
    }

    pub fn text(&self, class: &str, reference: &str, field: &str) -> String {
        self.shared().step(|world| world.database.text(class, reference, field).to_string())
    }

    pub fn count(&self, class: &str) -> usize {
        self.shared().step(|world| world.database.count(class))
    }

    /// GET with the session.
    pub async fn get(&self, target: &str) -> (String, Vec<u8>) {
        let target = with_session(target, &self.session);
        http(self.master(), &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), b"").await
    }

    /// PUT with the session.
    pub async fn put(&self, target: &str, body: &[u8]) -> (String, Vec<u8>) {
        let target = with_session(target, &self.session);
        http(self.master(), &format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()), body).await
    }

    /// A halted VM that is no template, with at least one disk, which the master can see.
    pub fn halted(&self) -> Ref {
        self.find("VM", |world, vm| {
            let halted =
                &*world.database.text("VM", vm, "power_state") == "Halted" && !world.database.bool("VM", vm, "is_a_template");
            let srs = vm_disks::required_srs(world, vm);
            halted && !srs.is_empty() && srs.iter().all(|sr| vm_disks::is_plugged_on(world, sr, &world.master))
        })
    }

    /// A running guest.
    pub fn running(&self) -> Ref {
        self.find("VM", |world, vm| {
            let guest = !world.database.bool("VM", vm, "is_control_domain");
            guest && &*world.database.text("VM", vm, "power_state") == "Running"
        })
    }
}

fn with_session(target: &str, session: &str) -> String {
    let joint = if target.contains('?') { '&' } else { '?' };
    format!("{target}{joint}session_id={session}")
}

/// Calls a message on a host; none when the connection ended without an answer.
pub async fn try_call(address: SocketAddr, method: &str, params: Json) -> Option<Vec<u8>> {
    let body = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).to_string();
    let head = format!("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = try_http(address, &head, body.as_bytes()).await?;
    (!answer.1.is_empty()).then_some(answer.1)
}

/// The result or error of a JSON-RPC 2.0 answer.
pub fn decode(answer: &[u8]) -> Result<Json, Failure> {
    let answer: Json = serde_json::from_slice(answer).unwrap();
    if let Some(error) = answer.get("error") {
        let mut failure = vec![error["message"].as_str().unwrap().to_owned()];
        failure.extend(error["data"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()));
        return Err(failure);
    }
    Ok(answer["result"].clone())
}

/// Sends a request and reads to the end of the connection: head and body.
pub async fn http(address: SocketAddr, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    try_http(address, head, body).await.expect("the connection was cut")
}

/// The same; none when there was no head.
pub async fn try_http(address: SocketAddr, head: &str, body: &[u8]) -> Option<(String, Vec<u8>)> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut reading, mut writing) = stream.into_split();
    let request = [head.as_bytes(), body].concat();
    // The server may answer and close before it has read everything.
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(&request).await;
        writing
    });
    let mut answer = Vec::new();
    let _ = reading.read_to_end(&mut answer).await;
    sending.abort();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let body = answer.split_off(end);
    Some((String::from_utf8_lossy(&answer).into_owned(), body))
}

/// A text value.
pub fn text(text: &str) -> Value {
    Value::str(text)
}
