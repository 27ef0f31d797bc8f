//! Mail servers, good and hostile. A real one takes our mail in `tests/peers/`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use uuid::Uuid;
use xensnap::domain::alarm::Letter;
use xensnap::outward::{MailRoute, OutwardError, Protection};

use crate::server::{Authority, serve};

/// What a server was told.
type Heard = Arc<Mutex<Vec<String>>>;

fn route(port: u16, protection: Protection) -> MailRoute {
    MailRoute {
        host: "localhost".into(),
        port,
        protection,
        login: None,
        from: "xensnap@example.org".parse().unwrap(),
        from_name: "xensnap backup-1".into(),
        to: vec!["ops@example.org".parse().unwrap(), "boss@example.org".parse().unwrap()],
        ca_file: None,
        timeout: Duration::from_secs(20),
    }
}

fn letter() -> Letter {
    Letter { subject: "[xensnap] VM Müller\r\nBcc: all@example.org".replace("\r\n", "  "), text: "VM 東京\n.\nQUIT\n".into() }
}

async fn send(route: &MailRoute) -> Result<(), OutwardError> {
    route.send(&letter(), Uuid::nil(), "2026-03-01T12:00:00Z".parse().unwrap()).await
}

/// A server that does it right, from here on. True if it is asked to encrypt.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, heard: &Heard, offers: &str) -> bool {
    let mut data = false;
    let mut line = String::new();
    while {
        line.clear();
        stream.read_line(&mut line).await.is_ok_and(|read| read > 0)
    } {
        let text = line.trim_end().to_owned();
        heard.lock().unwrap().push(text.clone());
        let answer = match text.split(' ').next().unwrap() {
            "." if data => {
                data = false;
                "250 taken\r\n".to_owned()
            }
            _ if data => continue,
            "EHLO" => format!("250-here\r\n{offers}250 8BITMIME\r\n"),
            "STARTTLS" => {
                stream.get_mut().write_all(b"220 go\r\n").await.unwrap();
                return true;
            }
            "AUTH" if text.ends_with("AHhlbnNuYXAAaHVudGVyMg==") => "235 welcome\r\n".to_owned(),
            "AUTH" => "535 who are you\r\n".to_owned(),
            "DATA" => {
                data = true;
                "354 go on\r\n".to_owned()
            }
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "250 yes\r\n".to_owned(),
        };
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    false
}

/// A server that offers STARTTLS, and a login behind it.
async fn polite(authority: &Authority, heard: &Heard) -> u16 {
    let (acceptor, heard) = (authority.acceptor.clone(), heard.clone());
    serve(move |mut stream: TcpStream| {
        let (acceptor, heard) = (acceptor.clone(), heard.clone());
        async move {
            stream.write_all(b"220 here\r\n").await.unwrap();
            let mut clear = BufReader::new(stream);
            if talk(&mut clear, &heard, "250-STARTTLS\r\n").await {
                let Ok(encrypted) = acceptor.accept(clear.into_inner()).await else { return };
                heard.lock().unwrap().push("(encrypted)".into());
                talk(&mut BufReader::new(encrypted), &heard, "250-AUTH PLAIN LOGIN\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_mail_goes_encrypted_with_a_login_to_all_recipients_and_stays_one_mail() {
    let (authority, heard) = (Authority::new("localhost"), Heard::default());
    let port = polite(&authority, &heard).await;
    let login = Some(("xensnap".to_owned(), "hunter2".into()));
    send(&MailRoute { ca_file: Some(authority.ca_file.clone()), login, ..route(port, Protection::Starttls) }).await.unwrap();
    let heard = heard.lock().unwrap().clone();
    let secret = heard.iter().position(|line| line == "(encrypted)").unwrap();
    assert!(heard[..secret].iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{heard:?}");
    assert_eq!(heard.iter().filter(|line| line.starts_with("RCPT TO:<")).count(), 2);
    let has = |text: &str| heard.iter().any(|line| line.starts_with(text));
    assert!(has("Message-ID: <00000000-0000-0000-0000-000000000000@example.org>") && has("Auto-Submitted: auto-generated"));
    assert!(has("Date: Sun, 01 Mar 2026 12:00:00") && has("To: ops@example.org, boss@example.org") && has("Subject: "));
    // Neither a name nor a lonely dot in the text is a command or a header.
    assert!(!has("Bcc") && heard.iter().filter(|line| *line == "QUIT").count() <= 2, "{heard:?}");
    assert_eq!(heard.iter().filter(|line| *line == ".").count(), 1);
}

#[tokio::test]
async fn a_connection_can_be_encrypted_from_the_first_byte() {
    let (authority, heard) = (Authority::new("localhost"), Heard::default());
    let (acceptor, told) = (authority.acceptor.clone(), heard.clone());
    let port = serve(move |stream| {
        let (acceptor, heard) = (acceptor.clone(), told.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            stream.write_all(b"220 here\r\n").await.unwrap();
            talk(&mut BufReader::new(stream), &heard, "").await;
        }
    })
    .await;
    send(&MailRoute { ca_file: Some(authority.ca_file.clone()), ..route(port, Protection::Tls) }).await.unwrap();
    assert!(heard.lock().unwrap().iter().any(|line| line == "DATA"));
    // Nobody vouches for it, and it is not who was meant.
    let error = send(&route(port, Protection::Tls)).await.unwrap_err();
    assert!(matches!(error, OutwardError::Unprotected { .. }) && error.to_string().contains("; set ca_file"), "{error}");
    let other = Authority::new("other.example.org");
    let error = send(&MailRoute { ca_file: Some(other.ca_file.clone()), ..route(port, Protection::Tls) }).await.unwrap_err();
    assert!(matches!(error, OutwardError::Unprotected { .. }), "{error}");
}

#[tokio::test]
async fn a_server_without_encryption_is_told_nothing_and_a_wrong_password_is_named() {
    let heard = Heard::default();
    let told = heard.clone();
    let plain = serve(move |mut stream: TcpStream| {
        let heard = told.clone();
        async move {
            stream.write_all(b"220 here\r\n").await.unwrap();
            talk(&mut BufReader::new(stream), &heard, "250-AUTH PLAIN\r\n").await;
        }
    })
    .await;
    let login = Some(("xensnap".to_owned(), "hunter3".into()));
    let error = send(&MailRoute { login: login.clone(), ..route(plain, Protection::Starttls) }).await.unwrap_err();
    assert!(error.to_string().contains("does not offer STARTTLS"), "{error}");
    assert!(heard.lock().unwrap().iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{heard:?}");
    let error = send(&MailRoute { login, ..route(plain, Protection::None) }).await.unwrap_err();
    assert!(matches!(error, OutwardError::Login { .. }) && error.to_string().contains("who are you"), "{error}");
    assert!(!error.to_string().contains("hunter3"));
}

#[tokio::test]
async fn nobody_there_is_said_to_be_so() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = send(&route(port, Protection::None)).await.unwrap_err();
    assert!(
        matches!(error, OutwardError::Unreachable { .. }) && error.to_string().contains("check the name and the port"),
        "{error}"
    );
}

/// What a server says as soon as somebody is there, again and again.
async fn shouting(text: &'static [u8], times: usize) -> u16 {
    serve(move |mut stream: TcpStream| async move {
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
async fn whatever_a_server_does_a_delivery_has_an_end() {
    const ENDLESS: usize = 1 << 30;
    let silent = shouting(b"", 0).await;
    let servers: [(&str, u16); 6] = [
        ("never answers", silent),
        ("a line without end", shouting(&[b'2'; 4096], ENDLESS).await),
        ("lines without end", shouting(b"220-here\r\n", ENDLESS).await),
        ("no SMTP", shouting(b"HTTP/1.1 200 OK\r\n\r\n<html>", 1).await),
        ("bytes of zero", shouting(&[0, 13, 10], 9).await),
        ("busy", shouting(b"421 too many\r\n", 1).await),
    ];
    for (what, port) in servers {
        for protection in [Protection::Starttls, Protection::Tls, Protection::None] {
            let begun = Instant::now();
            let bounded = MailRoute { timeout: Duration::from_secs(2), ..route(port, protection) };
            let error = send(&bounded).await.unwrap_err().to_string();
            assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {error}");
            assert!(error.contains("; ") && error.len() < 600 && !error.contains('\n'), "{what}: {error}");
        }
    }
}
