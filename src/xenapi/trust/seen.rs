//! Which certificates servers have shown and we have accepted: so that somebody can say before the day comes that one is about to expire.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rustls_pki_types::CertificateDer;

use super::Fingerprint;

/// A certificate that a server has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The name or address that was asked for.
    pub server: String,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// It is pinned: its date decides nothing for us, but may for others.
    pub pinned: bool,
    /// When it ends; nothing if that cannot be read.
    pub not_after: Option<DateTime<Utc>>,
}

/// The newest of each server. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::xenapi) struct Seen(Arc<Mutex<BTreeMap<String, ServerCertificate>>>);

impl Seen {
    pub(super) fn note(&self, server: &str, certificate: &CertificateDer<'_>, pinned: bool) {
        let fingerprint = Fingerprint::of(certificate);
        let server = server.to_owned();
        let shown = ServerCertificate { server: server.clone(), fingerprint, pinned, not_after: end_of(certificate) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(server, shown);
    }

    /// All, by server.
    pub(in crate::xenapi) fn all(&self) -> Vec<ServerCertificate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<DateTime<Utc>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    DateTime::from_timestamp(parsed.validity().not_after.timestamp(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_and_nonsense_has_none() {
        let mut params = rcgen::CertificateParams::new(vec!["xen1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let seen = Seen::default();
        seen.note("xen1", made.der(), true);
        seen.note("xen2", &CertificateDer::from(vec![1, 2, 3]), false);
        let ends: Vec<_> = seen.all().into_iter().map(|shown| (shown.server, shown.pinned, shown.not_after)).collect();
        let end = "2031-05-17T00:00:00Z".parse().unwrap();
        assert_eq!(ends, [("xen1".to_owned(), true, Some(end)), ("xen2".to_owned(), false, None)]);
    }
}
