//! What a hostile or broken server can do to the client over a connection: nothing but a clear error, within a bound of time and
//! memory. The servers here are raw sockets on loopback.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]
#![allow(unsafe_code, reason = "a counting allocator is an unsafe trait; it only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xensnap::clock::SystemClock;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::settings::Settings;
use xensnap::xenapi::types::Void;
use xensnap::xenapi::{Call, CallError, Pool};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn grow(bytes: usize) {
        let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it came; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::grow(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: they share the counter, and their times are measured.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// No answer may take longer than this to become an error; the bounds that are set below are shorter.
const IN_TIME: Duration = Duration::from_secs(20);
/// What a connection may cost beside what its answer is allowed to hold: the HTTP library's buffers, and the test's own.
const OVERHEAD: usize = 8 << 20;

/// What a server does with a connection on which it has read a request.
#[derive(Clone)]
enum Act {
    /// Sends this and closes.
    Say(Vec<u8>),
    /// Sends this and keeps the connection for the next request.
    Answer(Vec<u8>),
    /// Sends the first, and then the second again and again until nobody listens.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends this byte by byte, each after a pause, and then nothing.
    Drip(Vec<u8>, Duration),
    /// Says nothing, ever.
    Silence,
}

type Script = Arc<dyn Fn(usize, &str) -> Act + Send + Sync>;

/// A server that does what `script` says about the n-th request, given the request's text. Returns its port.
async fn server(script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script: Script = Arc::new(script);
    let requests = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&requests)));
        }
    });
    port
}

async fn serve(mut socket: TcpStream, script: Script, requests: Arc<AtomicUsize>) -> Option<()> {
    loop {
        let request = read_request(&mut socket).await?;
        match script(requests.fetch_add(1, Ordering::SeqCst), &request) {
            Act::Say(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                return socket.shutdown().await.ok();
            }
            Act::Answer(bytes) => socket.write_all(&bytes).await.ok()?,
            Act::Endless(head, unit) => {
                socket.write_all(&head).await.ok()?;
                let block = unit.repeat(65536_usize.div_ceil(unit.len()));
                loop {
                    socket.write_all(&block).await.ok()?;
                }
            }
            Act::Drip(bytes, pause) => {
                for byte in bytes {
                    socket.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(pause).await;
                }
                std::future::pending::<()>().await;
            }
            Act::Silence => std::future::pending::<()>().await,
        }
    }
}

/// A request, or whatever came until the other side waits.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match tokio::time::timeout(Duration::from_millis(300), socket.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(read)) => bytes.extend_from_slice(&piece[..read]),
            Err(_) if bytes.is_empty() => {}
            Err(_) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|length| length.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

fn settings(scheme: &str, port: u16) -> Settings {
    let mut settings = Settings::new("lab", format!("{scheme}://127.0.0.1:{port}").parse().unwrap(), "root", "hunter2".into());
    settings.patience = Duration::ZERO;
    settings.timeouts.connect = Duration::from_secs(3);
    settings.timeouts.login = Duration::from_secs(2);
    settings.timeouts.answer = Duration::from_secs(2);
    settings.timeouts.idle = Duration::from_secs(1);
    settings.timeouts.whole = Duration::from_secs(3);
    settings.timeouts.logout = Duration::from_secs(1);
    settings.limits.bytes = 8 << 20;
    settings.limits.text = 1 << 20;
    settings
}

/// What connecting comes to: kind and text of the error, with all causes. Fails if it takes too long or costs too much memory.
async fn connecting(settings: Settings) -> (Kind, String) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let pool = Pool::open(settings, Arc::new(SystemClock::new())).unwrap();
    let outcome = tokio::time::timeout(IN_TIME, pool.connected()).await.expect("an end in time");
    let error = outcome.expect_err("a hostile server is no pool");
    let peak = PEAK.load(Ordering::Relaxed) - before;
    assert!(peak < OVERHEAD + (8 << 20), "{peak} bytes for {error}");
    let text = xensnap::xenapi::error::chain(&error);
    assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{text}");
    (error.kind(), text)
}

fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: {kind}\r\n\r\n{body}", body.len()).into_bytes()
}

fn result(value: &Value, request: &str) -> Vec<u8> {
    let id = request.rsplit_once("\"id\":").and_then(|(_, id)| id.trim_end_matches('}').parse::<u64>().ok()).unwrap_or(0);
    http("200 OK", "application/json", &json!({"jsonrpc": "2.0", "result": value, "id": id}).to_string())
}

/// The answers of a decent server up to the end of a login.
fn decent(request: &str) -> Option<Vec<u8>> {
    let value = if request.contains("\"session.login_with_password\"") {
        json!("OpaqueRef:the-session")
    } else if request.contains("\"pool.get_all_records\"") {
        json!({"OpaqueRef:pool": {"uuid": "u", "master": "OpaqueRef:host"}})
    } else if request.contains("\"host.get_all_records\"") {
        json!({"OpaqueRef:host": {"uuid": "h", "address": "127.0.0.1", "other_config": {}}})
    } else if request.contains("\"pool.get_all\"") || request.contains("\"session.logout\"") {
        json!([])
    } else {
        return None;
    };
    Some(result(&value, request))
}

/// A pool on a server that is decent until `VM.*` is called.
async fn logged_in(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Pool {
    let port = server(move |_, request| decent(request).map_or_else(|| act(request), Act::Answer)).await;
    let pool = Pool::open(settings("http", port), Arc::new(SystemClock::new())).unwrap();
    pool.connected().await.unwrap();
    pool
}

async fn called<R: serde::de::DeserializeOwned + Send + 'static>(pool: &Pool, call: Call<R>) -> Result<R, CallError> {
    tokio::time::timeout(IN_TIME, pool.call(call)).await.expect("an end in time")
}

fn read() -> Call<Vec<String>> {
    Call::read("VM.get_all")
}

fn mutate() -> Call<String> {
    Call::mutating("VM.snapshot")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_xenserver_is_told_apart() {
    let _turn = TURN.lock().await;
    let page = http("200 OK", "text/html", "<html><title>Welcome to nginx!</title></html>");
    let cases: [(&str, Act, Kind, &str); 9] = [
        ("an ssh server", Act::Say(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()), Kind::Broken, "no web server"),
        ("a web page", Act::Answer(page), Kind::Broken, "no XenServer"),
        ("a 404", Act::Answer(http("404 Not Found", "text/html", "<html>")), Kind::Broken, "no XenServer (HTTP 404"),
        ("other JSON", Act::Answer(http("200 OK", "application/json", "{\"hello\":1}")), Kind::Broken, "no XenServer"),
        ("a gateway", Act::Answer(http("503 Service Unavailable", "text/html", "")), Kind::Transient, "503"),
        (
            "a redirect",
            Act::Say(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()),
            Kind::Broken,
            "302",
        ),
        ("a closed door", Act::Say(Vec::new()), Kind::Transient, "connection ended"),
        ("silence", Act::Silence, Kind::Transient, "no answer"),
        ("noise", Act::Say((0..=255).cycle().take(5000).collect()), Kind::Broken, "no web server"),
    ];
    for (what, act, kind, part) in cases {
        let port = server(move |_, _| act.clone()).await;
        let (found, text) = connecting(settings("http", port)).await;
        assert!(found == kind && text.contains(part), "{what}: {found:?} {text}");
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_no_tls_is_told_apart() {
    let _turn = TURN.lock().await;
    for (act, kind, part) in [
        (Act::Say(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()), Kind::Broken, "does not speak TLS"),
        (Act::Say(http("400 Bad Request", "text/html", "")), Kind::Broken, "does not speak TLS"),
        (Act::Say(Vec::new()), Kind::Transient, "TLS greeting"),
        (Act::Silence, Kind::Transient, "no connection within 3 s"),
    ] {
        let port = server(move |_, _| act.clone()).await;
        let (found, text) = connecting(settings("https", port)).await;
        assert!(found == kind && text.contains(part), "{found:?} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_end_and_slow_heads_end_in_an_error() {
    let _turn = TURN.lock().await;
    let huge = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 4 << 20], b"\r\n\r\n".to_vec()].concat();
    for act in [
        Act::Say(huge),
        Act::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-header: value\r\n".to_vec()),
        Act::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), b"a".to_vec()),
        Act::Drip(b"HTTP/1.1 200 OK\r\n".repeat(100), Duration::from_millis(50)),
    ] {
        let port = server(move |_, _| act.clone()).await;
        connecting(settings("http", port)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_end_in_an_error() {
    let _turn = TURN.lock().await;
    for head in [
        "content-length: 99999999999999999999\r\n",
        "content-length: -1\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 1000000\r\n",
        "transfer-encoding: chunked\r\n",
        "content-encoding: gzip\r\ncontent-length: 4\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n{{}}zz");
        let port = server(move |_, _| Act::Say(answer.clone().into_bytes())).await;
        connecting(settings("http", port)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_anywhere_is_an_error_and_never_a_half_truth() {
    let _turn = TURN.lock().await;
    for stage in ["\"pool.get_all\"", "session.login_with_password", "pool.get_all_records", "host.get_all_records"] {
        for kept in [0, 1, 15, 16, 40, 70, 75, 90, 110, 130] {
            let port = server(move |_, request| {
                let answer = decent(request).unwrap();
                if request.contains(stage) {
                    Act::Say(answer[..kept.min(answer.len() - 1)].to_vec())
                } else {
                    Act::Answer(answer)
                }
            })
            .await;
            let (kind, text) = connecting(settings("http", port)).await;
            assert!(matches!(kind, Kind::Transient | Kind::Broken), "{stage} {kept}: {text}");
            assert!(!text.contains("the-session"), "{text}");
        }
    }
    for kept in [0, 1, 16, 60, 75, 100] {
        let pool = logged_in(move |request| Act::Say(result(&json!("OpaqueRef:made"), request)[..kept].to_vec())).await;
        assert_eq!(called(&pool, mutate()).await.unwrap_err().kind(), Kind::Ambiguous, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_end_cost_no_more_than_their_limit() {
    let _turn = TURN.lock().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"jsonrpc\":\"2.0\",";
    for (start, unit) in [
        ("\"result\":[", "\"OpaqueRef:x\","),
        ("\"result\":\"", "aaaaaaaa"),
        ("\"other\":[", "[],"),
        ("\"result\":", "   \n"),
        ("\"result\":", "[[[["),
        ("\"error\":{\"code\":1,\"message\":\"X\",\"data\":[", "\"p\","),
    ] {
        let begin = format!("{head}{start}").into_bytes();
        let pool = logged_in(move |_| Act::Endless(begin.clone(), unit.as_bytes().to_vec())).await;
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let error = called(&pool, read()).await.unwrap_err();
        let peak = PEAK.load(Ordering::Relaxed) - before;
        // A set of short texts takes several times its bytes on the wire.
        assert!(peak < OVERHEAD + 8 * (8 << 20), "{start}: {peak} bytes");
        assert_eq!(error.kind(), Kind::Broken, "{start}: {error}");
        assert!(matches!(error, CallError::Unreadable { .. }), "{start}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_ignored_is_not_kept() {
    let _turn = TURN.lock().await;
    let value = json!([{"name": "x".repeat(60), "more": [1, 2, 3]}]).to_string();
    let body = format!("{{\"jsonrpc\":\"2.0\",\"result\":[{}0],\"id\":1}}", format!("{value},").repeat(70_000));
    let answer = http("200 OK", "application/json", &body);
    let size = answer.len();
    let pool = logged_in(move |_| Act::Answer(answer.clone())).await;
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    called(&pool, Call::<Void>::read("VM.get_all")).await.unwrap();
    // The server's own copy of the answer is one of them; the rest is on its way between reading and decoding, which on a busy machine is
    // the bound of that: eight pieces that wait, one at each end, two with hyper, each as large as hyper lets them grow.
    const UNDER_WAY: usize = 12 * (8192 + 100 * 4096);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    assert!(peak < size + UNDER_WAY, "{peak} bytes for an answer of {size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_ends_when_its_time_is_over() {
    let _turn = TURN.lock().await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec();
    let slow = [head, b"{\"jsonrpc\":\"2.0\",\"result\":[".to_vec(), b" ".repeat(1000)].concat();
    let pool = logged_in(move |_| Act::Drip(slow.clone(), Duration::from_millis(30))).await;
    let started = tokio::time::Instant::now();
    let error = called(&pool, mutate()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Ambiguous);
    let text = xensnap::xenapi::error::chain(&error);
    assert!(text.contains("did not end within 3 s"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_answer_to_a_mutating_call_leaves_it_open_what_happened() {
    let _turn = TURN.lock().await;
    for body in ["", "null", "{}", "[]", "<html>", "{\"jsonrpc\":\"2.0\",\"result\":{\"a\":1},\"id\":1}", "\u{0}\u{1}"] {
        let pool = logged_in(move |_| Act::Answer(http("200 OK", "application/json", body))).await;
        assert_eq!(called(&pool, mutate()).await.unwrap_err().kind(), Kind::Ambiguous, "{body}");
        assert!(called(&pool, read()).await.is_err(), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_answered_with_anything_but_a_session_is_refused_without_telling_it() {
    let _turn = TURN.lock().await;
    for value in [json!(""), json!(["OpaqueRef:the-session"]), json!({"session": "OpaqueRef:the-session"}), json!(7)] {
        let port = server(move |_, request| {
            let login = request.contains("session.login_with_password");
            Act::Answer(if login { result(&value, request) } else { decent(request).unwrap() })
        })
        .await;
        let (kind, text) = connecting(settings("http", port)).await;
        assert!(kind == Kind::Broken && !text.contains("the-session"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_no_reference_does_not_break_out_of_its_place() {
    let _turn = TURN.lock().await;
    let evil = "OpaqueRef:x\r\nx-evil: 1\"},{";
    let port = server(move |_, request| {
        if request.contains("session.login_with_password") {
            return Act::Answer(result(&json!(evil), request));
        }
        assert!(!request.contains("\r\nx-evil"), "{request}");
        Act::Answer(decent(request).unwrap_or_else(|| result(&json!("OpaqueRef:task"), request)))
    })
    .await;
    let pool = Pool::open(settings("http", port), Arc::new(SystemClock::new())).unwrap();
    let _ = tokio::time::timeout(IN_TIME, pool.connected()).await.unwrap();
    let what = xensnap::xenapi::transfer::Download::pool_database();
    let outcome = tokio::time::timeout(IN_TIME, pool.download(&what, &mut Vec::new())).await.unwrap();
    assert!(outcome.is_err());
}
