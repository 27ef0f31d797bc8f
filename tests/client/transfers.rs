//! Streams whose task decides: short ones that look whole, early answers, other hosts, and both ends giving up.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::fake::{Heard, Reply, failure};
use super::feed::{Feed, task};
use super::*;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::transfer::{Compression, Download, TransferError, Upload};
use xensnap::xenapi::types::Ref;

const TASK: &str = "OpaqueRef:7a5c0000-0000-0000-0000-000000000002";
const HEAD: &str = "HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\ntask-id: x\r\n\r\n";
const INNER: &str = "HTTP/1.1 500 Internal Error\r\ncontent-length: 263\r\nconnection: close\r\n\r\n<html><body><h1>HTTP 500 internal server \
                     error</h1>An unexpected error occurred<h1> Additional information </h1>IMPORT_ERROR_PREMATURE_EOF: [  ]</body></html>";

struct Bench {
    host: Arc<Host>,
    feed: Arc<Feed>,
    pool: Pool,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Bench {
    /// A host that answers each transfer with `answer`, having set the task to `ends` before.
    async fn new(answer: Vec<u8>, ends: Option<serde_json::Value>) -> Bench {
        let (host, pool) = pool().await;
        let feed = Feed::on(&host);
        let made = Arc::clone(&feed);
        host.on("task.create", move |_| {
            made.put("task", TASK, task("pending", "", &[]));
            Reply::Value(json!(TASK))
        });
        let cancelled = Arc::clone(&feed);
        host.on("task.cancel", move |_| {
            cancelled.put("task", TASK, task("cancelled", "", &[]));
            Reply::Value(json!(""))
        });
        host.on("task.destroy", |_| Reply::Value(json!("")));
        let ended = ends.clone();
        host.on("task.get_record", move |_| Reply::Value(ended.clone().unwrap_or_else(|| task("pending", "", &[]))));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (note, set) = (Arc::clone(&heard), Arc::clone(&feed));
        host.on_http(move |request| {
            if request.verb == "POST" {
                return None;
            }
            note.lock().unwrap().push(request);
            if let Some(ends) = &ends {
                set.put("task", TASK, ends.clone());
            }
            Some(answer.clone())
        });
        Bench { host, feed, pool, heard }
    }

    async fn export(&self) -> (Result<u64, TransferError>, Vec<u8>) {
        let mut written = Vec::new();
        let what = Download::export(&Ref::new("OpaqueRef:vm"), Compression::Zstd);
        let outcome = self.pool.download(&what, &mut written).await.map(|done| done.bytes);
        (outcome, written)
    }

    async fn import(&self, bytes: &'static [u8], length: u64) -> Result<Vec<Ref<Vm>>, TransferError> {
        let done = self.pool.upload(&Upload::import(None, false, false), || Ok(bytes), length).await?;
        Ok(done.result().unwrap())
    }

    fn requests(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

fn success(result: &str) -> Option<serde_json::Value> {
    Some(task("success", result, &[]))
}

#[tokio::test]
async fn an_export_arrives_whole_with_the_session_in_a_cookie_only() {
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let bench = Bench::new([HEAD.as_bytes(), &data].concat(), success("")).await;
    let (outcome, written) = bench.export().await;
    assert_eq!(outcome.unwrap(), data.len() as u64);
    assert!(written == data);
    let request = bench.requests().remove(0);
    assert_eq!(request.target, format!("/export?ref=OpaqueRef:vm&use_compression=zstd&task_id={TASK}"));
    assert!(request.headers["cookie"].starts_with("session_id=OpaqueRef:session"), "{:?}", request.headers);
    assert!(request.head_size < 500);
    until("the task was destroyed", || bench.host.count("task.destroy") == 1).await;
    assert_eq!(bench.host.count("task.cancel"), 0);
}

#[tokio::test]
async fn a_short_clean_200_of_a_failed_export_is_a_failure() {
    let failed = task("failure", "", &["INTERNAL_ERROR", "Unix.Unix_error(Unix.ENOENT, \"open\")"]);
    let bench = Bench::new([HEAD.as_bytes(), b"the beginning"].concat(), Some(failed)).await;
    let error = bench.export().await.0.unwrap_err();
    assert!(matches!(&error, TransferError::Task(_)) && error.to_string().contains("ENOENT"), "{error}");
    assert_eq!(bench.host.count("task.destroy"), 1);
}

#[tokio::test]
async fn a_refused_export_is_told_in_the_servers_words() {
    let page = "<html><body><h1>HTTP 500</h1><h1> Additional information </h1>VM_BAD_POWER_STATE: [ OpaqueRef:vm; halted; running ]</body></html>";
    let answer = format!("HTTP/1.1 500 Internal Error\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}", page.len());
    for ends in [None, Some(task("failure", "", &["VM_BAD_POWER_STATE", "OpaqueRef:vm", "halted", "running"]))] {
        let bench = Bench::new(answer.clone().into_bytes(), ends).await;
        let (outcome, written) = bench.export().await;
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("VM_BAD_POWER_STATE") && written.is_empty(), "{error}");
        until("the task was destroyed", || bench.host.count("task.destroy") >= 1).await;
    }
}

#[tokio::test]
async fn a_role_that_may_not_export_is_told_so() {
    let page = "<html><body><h1>HTTP 403 forbidden</h1>Access to the requested resource is forbidden.</body></html>";
    let answer = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}", page.len());
    let bench = Bench::new(answer.into_bytes(), None).await;
    let error = bench.export().await.0.unwrap_err();
    assert!(error.kind() == Kind::Denied && error.to_string().contains("vm-admin"), "{error}");
}

#[tokio::test]
async fn a_cut_stream_is_broken_and_its_task_cancelled() {
    let head = HEAD.replace("\r\n\r\n", "\r\ncontent-length: 1000\r\n\r\n");
    let bench = Bench::new([head.as_bytes(), b"only this"].concat(), None).await;
    let error = bench.export().await.0.unwrap_err();
    assert!(matches!(error, TransferError::Broken { .. }) && error.kind() == Kind::Transient, "{error}");
    assert_eq!((bench.host.count("task.cancel"), bench.host.count("task.destroy")), (1, 1));
}

#[tokio::test]
async fn a_full_disk_on_our_side_cancels_the_export() {
    struct Full;
    impl AsyncWrite for Full {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let bench = Bench::new([HEAD.as_bytes(), b"data"].concat(), None).await;
    let error = bench.pool.download(&Download::pool_database(), &mut Full).await.unwrap_err();
    assert!(matches!(error, TransferError::Local { .. }), "{error}");
    until("cancelled", || bench.host.count("task.cancel") == 1 && bench.host.count("task.destroy") == 1).await;
}

#[tokio::test]
async fn whoever_gives_up_a_transfer_cancels_it_at_the_server() {
    let bench = Bench::new(HEAD.as_bytes().to_vec(), None).await;
    let waiting = tokio::time::timeout(Duration::from_millis(200), bench.export()).await;
    assert!(waiting.is_err(), "the task never ended");
    until("cancelled", || bench.host.count("task.cancel") == 1).await;
}

#[tokio::test]
async fn a_session_that_ended_is_renewed_with_a_task_of_its_own() {
    let bench = Bench::new(Vec::new(), None).await;
    let feed = Arc::clone(&bench.feed);
    let asked = Arc::clone(&bench.heard);
    let (host, made) = (Arc::clone(&bench.host), Arc::clone(&bench.feed));
    bench.host.on("task.create", move |_| {
        let reference = if host.count("task.create") == 1 { "OpaqueRef:first" } else { TASK };
        made.put("task", reference, task("pending", "", &[]));
        Reply::Value(json!(reference))
    });
    bench.host.on("task.cancel", |_| Reply::Value(json!("")));
    bench.host.on_http(move |request| {
        if request.verb == "POST" {
            return None;
        }
        asked.lock().unwrap().push(request);
        if asked.lock().unwrap().len() == 1 {
            return Some(b"HTTP/1.1 401 Unauthorised\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec());
        }
        feed.put("task", TASK, task("success", "", &[]));
        Some([HEAD.as_bytes(), b"data"].concat())
    });
    assert_eq!(bench.export().await.0.unwrap(), 4);
    assert_eq!((bench.host.opened_sessions(), bench.host.count("task.create")), (2, 2));
}

#[tokio::test]
async fn a_transfer_is_sent_on_to_hosts_of_the_pool_only() {
    for (target, allowed) in [("10.0.0.2", true), ("10.0.0.9", false), ("", false)] {
        let second = Host::start().await;
        let location = format!("https://{target}/export?ref=OpaqueRef:vm&session_id=OpaqueRef:stolen");
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let bench = Bench::new(answer.into_bytes(), None).await;
        bench.host.set_members(&["10.0.0.1", "10.0.0.2"]);
        let feed = Arc::clone(&bench.feed);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        second.on_http(move |request| {
            heard.lock().unwrap().push(request);
            feed.put("task", TASK, task("success", "", &[]));
            Some([HEAD.as_bytes(), b"data"].concat())
        });
        let mut settings = settings(&bench.host);
        settings.address_map.insert("10.0.0.1".to_owned(), bench.host.address().parse().unwrap());
        settings.address_map.insert("10.0.0.2".to_owned(), second.address().parse().unwrap());
        let bench = Bench { pool: open(settings), ..bench };
        let outcome = bench.export().await.0;
        assert_eq!(outcome.is_ok(), allowed, "{outcome:?}");
        assert_eq!(second.connections(), usize::from(allowed));
        if let Err(error) = outcome {
            assert!(error.to_string().contains("no known host") && !error.to_string().contains("stolen"), "{error}");
        } else {
            assert!(asked.lock().unwrap()[0].headers["cookie"].contains("session_id="));
        }
    }
}

#[tokio::test]
async fn a_host_is_backed_up_at_its_own_address() {
    let second = Host::start().await;
    let bench = Bench::new(Vec::new(), success("")).await;
    bench.host.set_members(&["10.0.0.1", "10.0.0.2"]);
    let feed = Arc::clone(&bench.feed);
    second.on_http(move |request| {
        assert!(request.target.starts_with("/host_backup?"));
        feed.put("task", TASK, task("success", "", &[]));
        Some([HEAD.as_bytes(), b"tar"].concat())
    });
    let mut settings = settings(&bench.host);
    settings.address_map.insert("10.0.0.2".to_owned(), second.address().parse().unwrap());
    let pool = open(settings);
    pool.connected().await.unwrap();
    let mut written = Vec::new();
    pool.download(&Download::host_backup(&Ref::new("OpaqueRef:host1")), &mut written).await.unwrap();
    assert_eq!(written, b"tar");
    let unknown = pool.download(&Download::host_backup(&Ref::new("OpaqueRef:host7")), &mut written).await;
    assert!(matches!(unknown, Err(TransferError::UnknownHost { .. })));
}

#[tokio::test]
async fn an_import_has_a_length_and_returns_the_vms() {
    let vms = "<value><array><data><value>OpaqueRef:5d27504d-7999-288f-29ed-de02b6c748f8</value></data></array></value>";
    let bench = Bench::new(HEAD.as_bytes().to_vec(), success(vms)).await;
    static DATA: [u8; 700_000] = [7; 700_000];
    let imported = bench.import(&DATA, DATA.len() as u64).await.unwrap();
    assert_eq!(imported, [Ref::new("OpaqueRef:5d27504d-7999-288f-29ed-de02b6c748f8")]);
    let request = bench.requests().remove(0);
    assert_eq!((request.verb.as_str(), request.headers["content-length"].as_str()), ("PUT", "700000"));
    assert!(!request.headers.contains_key("transfer-encoding") && !request.headers.contains_key("expect"));
    assert!(request.body == DATA);
}

#[tokio::test]
async fn an_error_inside_the_answer_to_an_import_is_a_failure() {
    for ends in [None, Some(task("failure", "", &["IMPORT_ERROR_PREMATURE_EOF"]))] {
        let bench = Bench::new([HEAD.as_bytes(), INNER.as_bytes()].concat(), ends).await;
        let error = bench.import(b"garbage", 7).await.unwrap_err();
        assert!(error.to_string().contains("IMPORT_ERROR_PREMATURE_EOF"), "{error}");
    }
}

#[tokio::test]
async fn a_source_that_ends_early_cuts_the_upload_and_cancels_its_task() {
    let bench = Bench::new(HEAD.as_bytes().to_vec(), None).await;
    let error = bench.import(b"short", 1000).await.unwrap_err();
    assert!(matches!(&error, TransferError::Local { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof), "{error:?}");
    until("cancelled", || bench.host.count("task.cancel") == 1).await;
    assert_eq!(bench.requests().len(), 0, "a whole request never arrived");
}

#[tokio::test]
async fn an_upload_is_held_back_by_a_server_that_does_not_read() {
    /// A source without an end that counts what was taken of it.
    struct Endless(Arc<std::sync::atomic::AtomicU64>);
    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let amount = buffer.remaining().min(65536);
            buffer.initialize_unfilled_to(amount);
            buffer.advance(amount);
            self.0.fetch_add(amount as u64, std::sync::atomic::Ordering::Relaxed);
            Poll::Ready(Ok(()))
        }
    }
    let bench = Bench::new(Vec::new(), None).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    bench.host.set_members(&["10.0.0.1"]);
    let mut settings = settings(&bench.host);
    settings.address_map.insert("10.0.0.1".to_owned(), format!("http://127.0.0.1:{port}").parse().unwrap());
    settings.timeouts.stream = Duration::from_millis(300);
    let pool = open(settings);
    pool.connected().await.unwrap();
    // It accepts the connection and reads nothing.
    let silent = tokio::spawn(async move {
        let connection = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(connection);
    });
    let taken = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let what = Upload::host_restore(&Ref::new("OpaqueRef:host0"));
    let error = pool.upload(&what, move || Ok(Endless(Arc::clone(&counted))), 1 << 40).await.unwrap_err();
    assert!(matches!(error, TransferError::Broken { .. }), "{error}");
    let taken = taken.load(std::sync::atomic::Ordering::Relaxed);
    assert!(taken < 32 << 20, "{taken} bytes were taken though nobody read");
    silent.abort();
}

#[tokio::test]
async fn a_server_that_answers_before_it_reads_still_gets_everything() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::new(Vec::new(), None).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    bench.host.set_members(&["10.0.0.1"]);
    let mut settings = settings(&bench.host);
    settings.address_map.insert("10.0.0.1".to_owned(), format!("http://127.0.0.1:{port}").parse().unwrap());
    let pool = open(settings);
    pool.connected().await.unwrap();
    let feed = Arc::clone(&bench.feed);
    let reading = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        connection.write_all(HEAD.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        (&mut connection).take(5_000_000).read_to_end(&mut rest).await.unwrap();
        feed.put("task", TASK, task("success", "", &[]));
        rest.len()
    });
    static DATA: [u8; 5_000_000] = [1; 5_000_000];
    let what = Upload::host_restore(&Ref::new("OpaqueRef:host0"));
    let done = pool.upload(&what, || Ok(&DATA[..]), DATA.len() as u64).await.unwrap();
    assert_eq!((done.bytes, reading.await.unwrap()), (5_000_000, 5_000_000));
}

#[tokio::test]
async fn a_task_that_cannot_be_made_is_said_so_before_anything_is_sent() {
    let bench = Bench::new(Vec::new(), None).await;
    bench.host.on("task.create", |_| failure(&["RBAC_PERMISSION_DENIED", "task.create", "no"]));
    let error = bench.export().await.0.unwrap_err();
    assert!(matches!(error, TransferError::Call(_)) && error.kind() == Kind::Denied, "{error}");
    assert_eq!(bench.requests().len(), 0);
}
