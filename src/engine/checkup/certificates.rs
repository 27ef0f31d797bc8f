//! Certificates that end soon: those that servers have shown us, and those that the pool knows. After its day a certificate that an
//! authority vouches for is refused; a pinned one is not, but its host may be given a new one by then, which is.

use chrono::{DateTime, TimeDelta, Utc};

use super::age;
use crate::domain::finding::{Code, Finding, Weight};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::Certificate;
use crate::xenapi::trust::ServerCertificate;

/// So long before its end a certificate is told.
const SOON: TimeDelta = TimeDelta::days(30);

/// What is said of the certificates. One that a server shows and the pool knows is told once.
pub fn judge<'a>(
    shown: &[ServerCertificate],
    known: impl Iterator<Item = &'a Certificate>,
    tables: &Tables,
    now: DateTime<Utc>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = shown.iter().filter_map(|shown| of_server(shown, now)).collect();
    let told: Vec<DateTime<Utc>> = shown.iter().filter_map(|shown| shown.not_after).collect();
    let others = known.filter(|certificate| !told.contains(&certificate.not_after.get()));
    findings.extend(others.filter_map(|certificate| of_pool(certificate, tables, now)));
    findings
}

fn of_server(shown: &ServerCertificate, now: DateTime<Utc>) -> Option<Finding> {
    let todo = if shown.pinned {
        "renew it on the host (xe host-refresh-server-certificate), and put its new fingerprint beside the old one (fingerprints) before"
    } else {
        "renew it on the host (xe host-server-certificate-install): from then on the connection is refused"
    };
    // A pinned certificate is accepted whatever its date.
    let over = if shown.pinned { Weight::Warning } else { Weight::Problem };
    ends(&format!("the certificate that {} shows", shown.server), shown.not_after?, now, over, todo, &shown.server)
}

fn of_pool(certificate: &Certificate, tables: &Tables, now: DateTime<Utc>) -> Option<Finding> {
    let host = tables.get(&certificate.host).map(|host| &*host.name_label);
    let (what, name) = match (certificate.kind.as_deref(), host) {
        (Some("host_internal"), Some(host)) => (format!("the certificate by which host {host} is known inside the pool"), host),
        (_, Some(host)) => (format!("the certificate of host {host}"), host),
        (_, None) => (format!("the certificate of the authority {:?}", certificate.name), &*certificate.name),
    };
    let todo = "renew it on the host (xe host-refresh-server-certificate), and put a new fingerprint into the pool's block";
    ends(&what, certificate.not_after.get(), now, Weight::Warning, todo, name)
}

fn ends(what: &str, end: DateTime<Utc>, now: DateTime<Utc>, over: Weight, todo: &str, name: &str) -> Option<Finding> {
    let left = end - now;
    if left > SOON {
        return None;
    }
    let date = end.format("%Y-%m-%d");
    let (weight, what) = if left <= TimeDelta::zero() {
        (over, format!("{what} has ended on {date}"))
    } else {
        (Weight::Warning, format!("{what} ends in {}, on {date}", age(left)))
    };
    Some(Finding::new(Code::CertificateEnds, weight, what, todo).about("certificate", None, name))
}
