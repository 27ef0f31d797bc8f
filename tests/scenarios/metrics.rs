//! Figures, read over HTTP as Prometheus reads them, of a service that works; and what is made of them: alert rules and a dashboard
//! that name nothing that is not there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xensnap::daemon::{Alarms, Door, DoorError, Exporter};
use xensnap::domain::lease::Terms;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};

use super::alarms::told;
use super::lab::{Lab, folder, policy};
use super::receiver::{Answer, Receiver};

fn door() -> Door {
    Door { listen: "127.0.0.1:0".parse().unwrap(), token: None, tls: None }
}

/// One request on a stream, with these header lines; the whole answer.
async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: metrics\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Whoever ends a TLS stream without a goodbye is no concern of this test.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn page(address: SocketAddr, path: &str, headers: &str) -> String {
    asked(TcpStream::connect(address).await.unwrap(), path, headers).await
}

/// The value of the one series of this name whose labels contain all of these.
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let series = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    let found: Vec<&str> = series.collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?} in {page}");
    found[0].rsplit(' ').next().unwrap().parse().unwrap()
}

/// A lab that offers figures, with series for so many VMs.
async fn exporting(vms: usize, series: usize, door: Door) -> (Lab, SocketAddr) {
    exporting_with(vms, series, door, None).await
}

/// The same for a service that tells of alarms.
async fn exporting_with(vms: usize, series: usize, door: Door, alarms: Option<Alarms>) -> (Lab, SocketAddr) {
    let mut watching = policy("watching", "0 4 * * *", "*", 1);
    watching.observe = true;
    let mut lab = Lab::new(vms, vec![policy("nightly", "0 2 * * *", "*", 1), watching]).await;
    let exporter = Exporter::open(&door).await.unwrap();
    let address = exporter.address().unwrap();
    lab.export = Some((exporter, series));
    lab.alarms = alarms.map(Arc::new);
    lab.start().await;
    (lab, address)
}

#[tokio::test]
async fn what_happened_and_what_is_can_be_read_by_prometheus() {
    let (mut lab, address) = exporting(3, 5000, door()).await;
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space"]);
    lab.simulation.set_faults(Plan::new(1).with(Rule::on("VM.snapshot", Action::Refuse(full)).times(1)));
    lab.until("2026-03-02T03:00:00Z").await;
    let first = page(address, "/metrics", "").await;
    assert!(first.starts_with("HTTP/1.1 200") && first.contains("application/openmetrics-text") && first.ends_with("# EOF\n"));
    assert_eq!(value(&first, "xensnap_jobs_total", &["outcome=\"done\""]), 2.0);
    assert_eq!(value(&first, "xensnap_jobs_total", &["outcome=\"failed\"", "reason=\"SR_BACKEND_FAILURE_44\""]), 1.0);
    assert_eq!(value(&first, "xensnap_xenapi_errors_total", &["method=\"VM.snapshot\"", "code=\"SR_BACKEND_FAILURE_44\""]), 1.0);
    assert_eq!(value(&first, "xensnap_runs_total", &["policy=\"nightly\"", "outcome=\"partial\""]), 1.0);
    assert!(!first.contains("xensnap_policy_last_success_timestamp_seconds{pool=\"lab\",policy=\"nightly\"}"), "{first}");
    let newest = first.lines().filter(|line| line.starts_with("xensnap_vm_newest_snapshot_timestamp_seconds{"));
    let newest: Vec<&str> = newest.collect();
    assert_eq!((newest.len(), newest.iter().filter(|line| line.ends_with(" 0")).count()), (3, 1), "{newest:?}");

    lab.until("2026-03-03T05:00:00Z").await;
    let second = page(address, "/metrics", "").await;
    let at = super::lab::at("2026-03-03T02:00:00Z").timestamp() as f64;
    let success = value(&second, "xensnap_policy_last_success_timestamp_seconds", &["policy=\"nightly\""]);
    assert!((at..at + 3600.0).contains(&success), "{success}");
    assert_eq!(value(&second, "xensnap_policy_interval_seconds", &["policy=\"nightly\""]), 86_400.0);
    let next = super::lab::at("2026-03-04T02:00:00Z").timestamp() as f64;
    assert_eq!(value(&second, "xensnap_policy_next_due_timestamp_seconds", &["policy=\"nightly\""]), next);
    assert_eq!(value(&second, "xensnap_snapshots", &["policy=\"nightly\"", "state=\"durable\""]), 3.0);
    assert_eq!(value(&second, "xensnap_snapshots_removed_total", &["pool=\"lab\""]), 2.0);
    assert_eq!(value(&second, "xensnap_snapshot_duration_seconds_count", &["kind=\"disk\""]), 5.0);
    assert_eq!(value(&second, "xensnap_policy_vms", &["policy=\"watching\""]), 3.0);
    assert_eq!(value(&second, "xensnap_pool_connected", &[]) + value(&second, "xensnap_pool_trusted", &[]), 2.0);
    assert!(value(&second, "xensnap_history_bytes", &[]) > 4096.0);
    // A snapshot is kept of each VM, and the layer that it froze.
    let of = |name: &str| {
        second
            .lines()
            .filter(|line| line.starts_with(name))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect::<Vec<f64>>()
    };
    assert!(of("xensnap_chain_depth_max{").contains(&2.0), "{second}");
    assert!(of("xensnap_chain_depth_disks{").iter().sum::<f64>() >= 3.0, "{second}");
    lab.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn alarms_are_counted_by_severity_and_what_waits_to_be_told_by_channel() {
    let receiver = Receiver::new(&[Answer::Status(500); 100]).await;
    let (mut lab, address) = exporting_with(1, 1, door(), Some(told(&receiver))).await;
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space"]);
    lab.simulation.set_faults(Plan::new(1).with(Rule::on("VM.snapshot", Action::Refuse(full))));
    lab.until("2026-03-02T03:00:00Z").await;
    receiver.has(2).await;
    let page = page(address, "/metrics", "").await;
    assert_eq!(value(&page, "xensnap_alarms_raised", &["severity=\"error\""]), 1.0);
    assert_eq!(value(&page, "xensnap_alarm_messages_waiting", &["channel=\"chat\""]), 1.0);
    assert!(value(&page, "xensnap_alarm_deliveries_total", &["channel=\"chat\"", "outcome=\"failed\""]) >= 1.0);
    assert!(!page.contains("outcome=\"delivered\""), "{page}");
    lab.stop().await;
}

#[tokio::test]
async fn vms_beyond_the_bound_are_counted_and_have_no_series() {
    let (mut lab, address) = exporting(6, 4, door()).await;
    let page = page(address, "/metrics", "").await;
    assert_eq!(page.matches("xensnap_vm_newest_snapshot_timestamp_seconds{").count(), 4);
    assert_eq!(value(&page, "xensnap_vm_series_left_out", &[]), 2.0);
    lab.stop().await;
}

#[tokio::test]
async fn who_does_not_know_the_token_reads_nothing() {
    let (mut lab, address) = exporting(1, 1, Door { token: Some("s3cret".into()), ..door() }).await;
    for headers in ["", "Authorization: Bearer\r\n", "Authorization: Bearer s3cre\r\n", "Authorization: Basic s3cret\r\n"] {
        let refused = page(address, "/metrics", headers).await;
        assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("xensnap_"), "{headers:?}: {refused}");
    }
    assert!(page(address, "/metrics", "Authorization: Bearer s3cret\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(page(address, "/", "Authorization: Bearer s3cret\r\n").await.starts_with("HTTP/1.1 404"));
    lab.stop().await;
}

#[tokio::test]
async fn with_a_certificate_the_figures_are_encrypted() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem().into_bytes();
    let tls = Some((pem.clone(), key.serialize_pem().into_bytes()));
    let (mut lab, address) = exporting(1, 1, Door { tls, ..door() }).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    assert!(asked(stream, "/metrics", "").await.starts_with("HTTP/1.1 200"));
    assert!(!page(address, "/metrics", "").await.contains("xensnap_"), "in clear text there is nothing");
    lab.stop().await;
    let wrong = Door { tls: Some((b"no certificate".to_vec(), b"no key".to_vec())), ..door() };
    assert!(matches!(Exporter::open(&wrong).await, Err(DoorError::Certificate(_))));
}

fn monitoring(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring").join(name)
}

/// Names of series in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("xensnap_")).map(str::to_owned).collect()
}

/// The figures that there are, as series and as families.
async fn offered() -> BTreeSet<String> {
    let receiver = Receiver::new(&[]).await;
    let (mut lab, address) = exporting_with(1, 1, door(), Some(told(&receiver))).await;
    lab.until("2026-03-03T05:00:00Z").await;
    let page = page(address, "/metrics", "").await;
    lab.stop().await;
    names(&page)
}

#[tokio::test]
async fn rules_dashboard_and_manual_name_what_is_offered_and_the_manual_all_of_it() {
    let offered = offered().await;
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let manual = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md"));
    let dashboard = read(monitoring("dashboard.json"));
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    for (what, text) in [("alerts.yml", &read(monitoring("alerts.yml"))), ("dashboard.json", &dashboard)] {
        let unknown: Vec<String> = names(text).difference(&offered).cloned().collect();
        // What a service without errors and without messages does not show.
        let silent = ["xensnap_xenapi_errors_total", "xensnap_alarm_deliveries_total"];
        let unknown: Vec<String> = unknown.into_iter().filter(|name| !silent.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{what} names {unknown:?}, which is not offered");
    }
    let told = names(&manual);
    assert!(["xensnap_xenapi_errors_total", "xensnap_alarm_deliveries_total"].iter().all(|name| told.contains(*name)));
    let untold: Vec<&String> = offered
        .iter()
        .filter(|name| !told.contains(*name) && !["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)))
        .filter(|name| !told.contains(&format!("{name}_total")))
        .collect();
    assert!(untold.is_empty(), "docs/METRICS.md does not explain {untold:?}");
}

#[test]
fn the_alert_rules_fire_when_they_should() {
    for arguments in [&["check", "rules", "alerts.yml"][..], &["test", "rules", "alerts.test.yml"]] {
        let checked = Command::new("promtool").args(arguments).current_dir(monitoring("")).output();
        let Ok(checked) = checked else {
            eprintln!("skipped: promtool is not installed (apt-get install prometheus)");
            return;
        };
        assert!(
            checked.status.success(),
            "{}{}",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

/// Whoever stands by says so, and that the pool is not worked with is no news; policies are told of by the other.
#[tokio::test]
async fn who_stands_by_says_so_and_leaves_the_policies_to_the_other() {
    let mut lab = Lab::new(1, vec![policy("nightly", "0 2 * * *", "*", 1)]).await;
    lab.lease = Some(Terms { expires: Duration::from_secs(60) });
    lab.start().await;
    let exporter = Exporter::open(&door()).await.unwrap();
    let (address, history) = (exporter.address().unwrap(), folder());
    let _second = lab.standby_that_tells(&history, Some((exporter, 100))).await;
    lab.pass(5).await;
    let second = page(address, "/metrics", "").await;
    assert_eq!(value(&second, "xensnap_pool_standing_by", &["pool=\"lab\""]), 1.0);
    assert!(!second.contains("policy=\"nightly\""), "{second}");
    lab.stop().await;
    lab.pass(60).await;
    let second = page(address, "/metrics", "").await;
    assert_eq!(value(&second, "xensnap_pool_standing_by", &["pool=\"lab\""]), 0.0);
    assert_eq!(value(&second, "xensnap_policy_vms", &["policy=\"nightly\""]), 1.0);
}
