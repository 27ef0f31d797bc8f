//! `[metrics]`: whether and where figures are offered to Prometheus. Without the table nothing listens; with it, the machine itself may
//! read, unless another address is written.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::fields::Fields;
use super::findings::Findings;
use super::password::PasswordSource;

/// How figures are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What whoever asks has to know.
    pub token: Option<PasswordSource>,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// So many VMs have series of their own.
    pub vms: u32,
}

/// The port that is listened at.
const PORT: u16 = 9755;

/// So many VMs.
const VMS: u32 = 5000;

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), token: None, tls: None, vms: VMS }
    }
}

/// Reads `[metrics]`; nothing if it is not there.
pub(super) fn metrics(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<MetricsConfig> {
    let mut fields = fields.table("metrics", findings)?;
    let mut metrics = MetricsConfig::default();
    let listen = fields.text("listen", findings);
    if let Some(listen) = listen {
        match listen.value.parse() {
            Ok(address) => metrics.listen = address,
            Err(_) => findings.error(
                listen.place,
                "this is no address to listen at",
                format!("write an address and a port, for example listen = \"127.0.0.1:{PORT}\" or \"[::]:{PORT}\""),
            ),
        }
    }
    metrics.token = token(&mut fields, base, findings);
    metrics.tls = tls(&mut fields, base, findings);
    if let Some(vms) = fields.number("vms", 0..=1_000_000, findings) {
        metrics.vms = vms.value;
    }
    if let Some(listen) = listen.filter(|_| !metrics.listen.ip().is_loopback() && metrics.token.is_none()) {
        findings.warning(
            listen.place,
            "everybody who reaches this address can read the names of VMs, pools and storage",
            "write token_file = \"/etc/xensnap/metrics.token\", with certificate and key; or listen at 127.0.0.1",
        );
    }
    fields.finish(findings);
    Some(metrics)
}

fn token(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<PasswordSource> {
    let file = fields.text("token_file", findings);
    let credential = fields.text("token_credential", findings);
    if let (Some(file), Some(credential)) = (file, credential) {
        findings.conflict(
            credential.place,
            (file.place, "one is here"),
            "there is more than one token",
            "keep one of token_file and token_credential",
        );
    }
    let file = file.map(|file| PasswordSource::File(base.join(file.value)));
    file.or_else(|| credential.map(|name| PasswordSource::Credential(name.value.to_owned())))
}

fn tls(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<(PathBuf, PathBuf)> {
    match (fields.text("certificate", findings), fields.text("key", findings)) {
        (Some(certificate), Some(key)) => Some((base.join(certificate.value), base.join(key.value))),
        (None, None) => None,
        (Some(one), None) => {
            findings.error(one.place, "there is a certificate without its key", "write key = \"/etc/xensnap/metrics-key.pem\"");
            None
        }
        (None, Some(one)) => {
            findings.error(
                one.place,
                "there is a key without its certificate",
                "write certificate = \"/etc/xensnap/metrics.pem\"",
            );
            None
        }
    }
}
