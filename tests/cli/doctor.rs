//! What `xensnap doctor` says to somebody who cannot get at a pool: one line each, with what to do next.

use std::sync::Arc;

use snapbox::cmd::Command;
use snapbox::str;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use xensnap::clock::{Clock as _, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::http::tls::Identity;
use xensnap::simulator::options::User;
use xensnap::simulator::{Options, Server};

use crate::world::xensnap;

async fn pool(options: Options) -> Server {
    let clock = Arc::new(SystemClock::new());
    let world = generate(&Recipe { hosts: 1, vms: 3, snapshots: Some(2), ..Recipe::default() }, clock.now());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { refusal_takes: std::time::Duration::ZERO, ..options };
    Server::start(options, clock, world, listener).await.unwrap()
}

fn doctor(address: &str) -> Command {
    xensnap(100).env("XENSNAP_PASSWORD", "xensnap").args(["doctor", address])
}

/// What is printed, with the port of the day taken out.
fn says(command: Command, code: i32, port: u16, expected: impl snapbox::IntoData) {
    let output = command.assert().code(code);
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(!printed.contains("hunter2"), "{printed}");
    snapbox::assert_data_eq!(printed.replace(&format!(":{port}"), ":PORT"), expected);
}

/// A port where nobody listens: it was free a moment ago.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A server that answers every connection with these bytes.
async fn other_server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                // Closing before everything was read would reset the connection, and take the answer along.
                while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut request).await, Ok(read) if read > 0) {}
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_can_be_worked_with_is_described() {
    let server = pool(Options::default()).await;
    let port = server.address().port();
    let expected = str![[r#"
pool http://127.0.0.1:PORT
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      6b732d0d-d33f-4c47-ba61-e5796afb77bf (to pin it: pool_uuid = "6b732d0d-d33f-4c47-ba61-e5796afb77bf")
  hosts     1
  clock     the server's clock agrees with ours
  rights    everything that snapshots need
  contents  3 VMs (2 running), 2 snapshots, 6 SRs

"#]];
    says(doctor(&format!("http://127.0.0.1:{port}")), 0, port, expected);
    server.shutdown().await;
}

#[test]
fn a_name_that_does_not_exist() {
    says(
        doctor("https://xen1.invalid"),
        1,
        0,
        str![[r#"
pool https://xen1.invalid
  PROBLEM   https://xen1.invalid: the name cannot be resolved; check the pool's `addresses` and this machine's name server[..]

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection() {
    let port = free_port().await;
    says(
        doctor(&format!("https://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool https://127.0.0.1:PORT
  PROBLEM   https://127.0.0.1:PORT: the connection is refused; check host and port in the pool's `addresses`, and that the host's toolstack runs

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_certificate() {
    let identity = Identity::self_signed(&["127.0.0.1"]).unwrap();
    let fingerprint = identity.fingerprint();
    let server = pool(Options { tls: Some(identity), ..Options::default() }).await;
    let port = server.address().port();
    let address = format!("https://127.0.0.1:{port}");
    let output = doctor(&address).assert().code(1);
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let printed = printed.replace(&format!(":{port}"), ":PORT").replace(&fingerprint, "AB:CD");
    snapbox::assert_data_eq!(
        printed,
        str![[r#"
pool https://127.0.0.1:PORT
  PROBLEM   https://127.0.0.1:PORT: its certificate is not trusted (it is signed by an unknown authority, or by itself). If it has this fingerprint on the host's own console too, put this line into the pool's block: fingerprints = ["sha256:AB:CD"]

"#]]
    );
    doctor(&address).args(["--fingerprint", &format!("sha256:{fingerprint}")]).assert().code(0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let server = pool(Options::default()).await;
    let port = server.address().port();
    let command = doctor(&format!("http://127.0.0.1:{port}")).env("XENSNAP_PASSWORD", "hunter2");
    says(
        command,
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT refuses user `root` with this password; check `username` and the password

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_to_snapshot() {
    let user = |name: &str, role| User { name: name.into(), password: "xensnap".into(), role };
    let users = vec![user("root", None), user("reader", Some("read-only".into()))];
    let server = pool(Options { users, ..Options::default() }).await;
    let port = server.address().port();
    let command = doctor(&format!("http://127.0.0.1:{port}")).args(["--username", "reader"]);
    says(
        command,
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      6b732d0d-d33f-4c47-ba61-e5796afb77bf (to pin it: pool_uuid = "6b732d0d-d33f-4c47-ba61-e5796afb77bf")
  hosts     1
  clock     the server's clock agrees with ours
  PROBLEM   the user may not call VM.snapshot, VM.checkpoint, VM.destroy, VDI.destroy, VM.add_to_other_config, pool.sync_database; give it the role pool-operator (`xe subject-role-add`)
  contents  3 VMs (2 running), 2 snapshots, 6 SRs

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_that_is_no_xenserver() {
    let port = other_server(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 9\r\n\r\nnot here\n",
    )
    .await;
    says(
        doctor(&format!("http://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT: what answers there is no XenServer (HTTP 404); check host and port in the pool's `addresses`

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_web_server() {
    let port = other_server("SSH-2.0-OpenSSH_9.6\r\n").await;
    says(
        doctor(&format!("http://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT: what answers there is no web server, so no XenServer; check host and port (and `https://` against `http://`)

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_where_tls_is_spoken_and_the_other_way_round() {
    let identity = Identity::self_signed(&["127.0.0.1"]).unwrap();
    let server = pool(Options { tls: Some(identity), ..Options::default() }).await;
    let port = server.address().port();
    says(
        doctor(&format!("http://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT: the connection ended before the answer was complete; if it stays so, look at the host, the network in between, and whether its port speaks TLS (`https://`)[..]

"#]],
    );
    server.shutdown().await;
    let port = other_server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    says(
        doctor(&format!("https://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool https://127.0.0.1:PORT
  PROBLEM   https://127.0.0.1:PORT: this port does not speak TLS; use the port that does (443 by default), or write `http://` in front of the address if everybody on the way may read the password

"#]],
    );
}

#[test]
fn no_password_at_all() {
    let command = xensnap(100).env_remove("XENSNAP_PASSWORD").args(["doctor", "https://xen1.example.com"]);
    command.assert().code(1).stderr_eq(str![[r#"
xensnap: no password; give --password-file, or set XENSNAP_PASSWORD

"#]]);
}
