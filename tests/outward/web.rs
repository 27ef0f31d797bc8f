//! Receivers on the web, good and hostile.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;
use xensnap::outward::{OutwardError, WebRoute, signature};

use crate::server::{Authority, serve};

fn route(url: String) -> WebRoute {
    WebRoute { url: url.parse().unwrap(), secret: Some("hunter2".into()), ca_file: None, timeout: Duration::from_secs(20) }
}

async fn post(route: &WebRoute) -> Result<(), OutwardError> {
    route.post(b"{}".to_vec(), Uuid::nil(), "2026-03-01T12:00:00Z".parse().unwrap()).await
}

#[tokio::test]
async fn a_message_is_signed_over_tls_and_only_a_server_that_is_vouched_for_gets_it() {
    let authority = Authority::new("localhost");
    let heard: Arc<Mutex<String>> = Arc::default();
    let (acceptor, told) = (authority.acceptor.clone(), heard.clone());
    let port = serve(move |stream| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut bytes = [0; 8192];
            while !told.lock().unwrap().ends_with("{}") {
                let Ok(read) = stream.read(&mut bytes).await else { return };
                told.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let error = post(&route(format!("https://localhost:{port}/hunter2"))).await.unwrap_err();
    assert!(matches!(error, OutwardError::Unprotected { .. }), "{error:?}");
    assert!(!error.to_string().contains("hunter2") && error.to_string().contains("; set ca_file"), "{error}");
    assert_eq!(*heard.lock().unwrap(), "");
    let trusted = WebRoute { ca_file: Some(authority.ca_file.clone()), ..route(format!("https://localhost:{port}/hunter2")) };
    post(&trusted).await.unwrap();
    let heard = heard.lock().unwrap().clone();
    let signed = signature("hunter2", 1_772_366_400, b"{}");
    assert!(
        heard.contains("x-xensnap-timestamp: 1772366400\r\n") && heard.contains(&format!("x-xensnap-signature: {signed}\r\n")),
        "{heard}"
    );
    assert!(heard.starts_with("POST /hunter2 HTTP/1.1\r\n") && heard.contains("content-type: application/json\r\n"));
}

/// Answers each request with this, again and again.
async fn answering(text: &'static [u8], times: usize) -> u16 {
    serve(move |mut stream: TcpStream| async move {
        let mut request = [0; 8192];
        let _ = stream.read(&mut request).await;
        for _ in 0..times {
            if stream.write_all(text).await.is_err() {
                return;
            }
        }
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

#[tokio::test]
async fn whatever_a_receiver_does_a_delivery_has_an_end() {
    const ENDLESS: usize = 1 << 30;
    let receivers: [(&str, u16); 6] = [
        ("never answers", answering(b"", 0).await),
        ("a head without end", answering(&[b'a'; 4096], ENDLESS).await),
        ("headers without end", answering(b"HTTP/1.1 200 OK\r\nX: y\r\n", ENDLESS).await),
        ("a refusal without end", answering(b"HTTP/1.1 500 no\r\nContent-Length: 999999999999\r\n\r\nno\n", ENDLESS).await),
        ("no HTTP", answering(b"220 here\r\n", 1).await),
        ("bytes of zero", answering(&[0, 0, 0], 1).await),
    ];
    for (what, port) in receivers {
        for scheme in ["http", "https"] {
            let begun = Instant::now();
            let bounded = WebRoute { timeout: Duration::from_secs(2), ..route(format!("{scheme}://localhost:{port}/hunter2")) };
            let error = post(&bounded).await.unwrap_err().to_string();
            assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {error}");
            assert!(
                error.contains("; ") && error.len() < 800 && !error.contains(['\n', '\0']) && !error.contains("hunter2"),
                "{what}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_answered_beyond_a_success_does_not_matter() {
    let port = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nyes", 1).await;
    post(&route(format!("http://localhost:{port}/"))).await.unwrap();
}

#[tokio::test]
async fn a_message_goes_where_somebody_wrote_that_it_goes_or_nowhere() {
    let port = answering(b"HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/hunter2\r\nContent-Length: 0\r\n\r\n", 1).await;
    let error = post(&route(format!("http://localhost:{port}/"))).await.unwrap_err();
    assert!(matches!(error, OutwardError::Redirected { status: 307, .. }) && !error.to_string().contains("hunter2"), "{error}");
}
