//! The check of a server's certificate. The signature of the handshake is verified whatever the certificate: a pin accepts a
//! certificate, not somebody who copied it.

use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Fingerprint, Seen};

/// A certificate that nobody vouched for. Its text says what to write into the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntrustedCertificate {
    /// Of the certificate that was presented.
    pub fingerprint: Fingerprint,
    /// Those that are accepted already.
    pub configured: Vec<Fingerprint>,
    /// Why the authorities did not vouch for it.
    pub reason: String,
}

impl UntrustedCertificate {
    /// The exact line for the `[[pool]]` block that would accept this certificate besides those accepted so far.
    pub fn configuration_line(&self) -> String {
        Fingerprint::configuration_line(&self.configured, self.fingerprint)
    }
}

impl fmt::Display for UntrustedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "its certificate is not trusted ({}). If it has this fingerprint on the host's own console too, put this line into the pool's block: {}",
            self.reason,
            self.configuration_line()
        )
    }
}

impl std::error::Error for UntrustedCertificate {}

/// Who vouches for certificates; found out when the first one is to be judged, because reading a machine's authorities takes time.
pub(super) type Authorities =
    LazyLock<Option<Arc<dyn ServerCertVerifier>>, Box<dyn FnOnce() -> Option<Arc<dyn ServerCertVerifier>> + Send>>;

/// Accepts pinned certificates by their bytes, others by what the authorities say.
pub(super) struct Verifier {
    pinned: Vec<Fingerprint>,
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("pinned", &self.pinned).finish_non_exhaustive()
    }
}

impl Verifier {
    pub(super) fn new(pinned: Vec<Fingerprint>, authorities: Authorities, provider: Arc<CryptoProvider>, seen: Seen) -> Self {
        Self { pinned, authorities, provider, seen }
    }

    fn refusal(&self, fingerprint: Fingerprint, reason: String) -> Error {
        let refusal = UntrustedCertificate { fingerprint, configured: self.pinned.clone(), reason };
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }

    fn without_authorities(&self) -> String {
        if self.pinned.is_empty() { "this machine knows no certificate authority" } else { "it is none of the pinned ones" }
            .to_owned()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = Fingerprint::of(end_entity);
        if self.pinned.contains(&fingerprint) {
            self.seen.note(&server_name.to_str(), end_entity, true);
            return Ok(ServerCertVerified::assertion());
        }
        let Some(authorities) = &*self.authorities else {
            return Err(self.refusal(fingerprint, self.without_authorities()));
        };
        authorities
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .inspect(|_| self.seen.note(&server_name.to_str(), end_entity, false))
            .map_err(|error| self.refusal(fingerprint, reason(&error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The authorities' refusal in words an administrator knows.
fn reason(error: &Error) -> String {
    let Error::InvalidCertificate(refusal) = error else { return error.to_string() };
    match refusal {
        CertificateError::UnknownIssuer => "it is signed by an unknown authority, or by itself".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; compare the clocks".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is issued for another name than the configured address".to_owned()
        }
        CertificateError::Other(other) => format!("the authorities say: {other}"),
        other => format!("the authorities say: {other:?}"),
    }
}
