//! The server's certificate: self-signed, as XenServer's is by default.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    certificate: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate that could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate could not be made.
    #[error("cannot make a self-signed certificate for {0}: choose another host name")]
    Certificate(String, #[source] rcgen::Error),
    /// The certificate and its key do not fit.
    #[error("cannot use the certificate: give a certificate and the key that belongs to it")]
    Config(#[source] rustls::Error),
}

impl Identity {
    /// A fresh self-signed certificate for these names and addresses; the first is the subject.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn self_signed(names: &[&str]) -> Result<Self, TlsError> {
        let subject = names.first().copied().unwrap_or("localhost");
        let failed = |error| TlsError::Certificate(subject.to_owned(), error);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, subject);
        for name in names {
            let name = match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().map_err(failed)?),
            };
            params.subject_alt_names.push(name);
        }
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Self::new(certificate.der().to_vec(), key.serialize_der())
    }

    /// A certificate and its PKCS#8 key, both in DER.
    ///
    /// # Errors
    /// [`TlsError::Config`].
    pub fn new(certificate: Vec<u8>, key: Vec<u8>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let chain = vec![CertificateDer::from(certificate.clone())];
        let config = builder.map_err(TlsError::Config)?.with_no_client_auth().with_single_cert(chain, key);
        Ok(Self { certificate, config: Arc::new(config.map_err(TlsError::Config)?) })
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate's SHA-256 fingerprint: pairs of capital hex digits with colons between them.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.certificate);
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        tokio_rustls::TlsAcceptor::from(Arc::clone(&self.config))
    }
}
