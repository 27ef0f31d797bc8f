//! Calls per second over one connection, beside the least that a call can cost: the same bytes written to and read from a socket by
//! hand, against the same server in the same run.
//!
//! Run with `cargo bench --bench calls`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use xensnap::clock::{Clock, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::{Options, Server};
use xensnap::xenapi::wire::Wire;
use xensnap::xenapi::{Call, Pool, Settings};

/// How many calls the printed ratio is taken over.
const CALLS: u32 = 4000;

fn server(runtime: &Runtime) -> Server {
    let clock = Arc::new(SystemClock::new());
    let world = generate(&Recipe { vms: 20, ..Recipe::default() }, clock.now());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    runtime.block_on(Server::start(Options::default(), clock, world, listener)).expect("a server")
}

fn client(runtime: &Runtime, address: SocketAddr, wire: Wire) -> Pool {
    let address = format!("http://{address}").parse().expect("an address");
    let settings = Settings { wire: Some(wire), ..Settings::new("bench", address, "root", "xensnap".into()) };
    runtime.block_on(Pool::connect(settings, Arc::new(SystemClock::new()))).expect("a connection")
}

async fn call(pool: &Pool) {
    let pools: Vec<String> = pool.call(Call::read("pool.get_all")).await.expect("an answer");
    assert_eq!(pools.len(), 1);
}

/// One call by hand, on a connection that is kept.
struct ByHand {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl ByHand {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut this = Self { stream, request: Vec::new(), buffer: vec![0; 64 * 1024] };
        let login =
            this.exchange(r#"{"jsonrpc":"2.0","method":"session.login_with_password","params":["root","xensnap"],"id":1}"#);
        let at = login.find("OpaqueRef:").expect("a session");
        let session = &login[at..at + 46];
        let body = format!(r#"{{"jsonrpc":"2.0","method":"pool.get_all","params":["{session}"],"id":2}}"#);
        this.request = request(&body);
        this
    }

    fn exchange(&mut self, body: &str) -> String {
        self.request = request(body);
        self.call();
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    fn call(&mut self) {
        self.stream.write_all(&self.request).expect("sent");
        let mut have = 0;
        while !whole(&self.buffer[..have]) {
            have += self.stream.read(&mut self.buffer[have..]).expect("received");
        }
    }
}

fn request(body: &str) -> Vec<u8> {
    format!("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// Whether the answer is complete, by its content-length.
fn whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::trim).map(str::to_owned));
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let server = server(&runtime);
    let json = client(&runtime, server.address(), Wire::Json);
    let xml = client(&runtime, server.address(), Wire::Xml);
    let mut by_hand = ByHand::new(server.address());
    let mut group = criterion.benchmark_group("one call after the other");
    group.throughput(Throughput::Elements(1));
    group.bench_function("by hand", |bencher| bencher.iter(|| by_hand.call()));
    group.bench_function("json", |bencher| bencher.to_async(&runtime).iter(|| call(&json)));
    group.bench_function("xml", |bencher| bencher.to_async(&runtime).iter(|| call(&xml)));
    group.finish();
    let baseline = time(|| by_hand.call());
    for (name, pool) in [("JSON", &json), ("XML", &xml)] {
        let spent = runtime.block_on(async {
            let begin = Instant::now();
            for _ in 0..CALLS {
                call(pool).await;
            }
            begin.elapsed() / CALLS
        });
        let ratio = spent.as_secs_f64() / baseline.as_secs_f64();
        println!(
            "{name}: {:.0} calls/s, {spent:?} each; {ratio:.2} times a call by hand ({baseline:?})",
            1.0 / spent.as_secs_f64()
        );
    }
    runtime.block_on(async {
        json.logout().await;
        xml.logout().await;
        server.shutdown().await;
    });
}

fn time(mut work: impl FnMut()) -> std::time::Duration {
    let begin = Instant::now();
    (0..CALLS).for_each(|_| work());
    begin.elapsed() / CALLS
}

criterion_group!(benches, calls);
criterion_main!(benches);
