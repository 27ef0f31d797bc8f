//! Which server is believed to be the one that was meant: a pinned certificate, or one that a known authority signed for this name.
//! Nothing is trusted on first sight; a refusal carries the line that would have made it right.

mod seen;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub use crate::domain::fingerprint::Fingerprint;
pub(super) use seen::Seen;
pub use seen::ServerCertificate;
pub use verifier::UntrustedCertificate;
use verifier::{Authorities, Verifier};

/// Which certificates are accepted.
///
/// With fingerprints, exactly the certificates that have them are accepted, whatever name they carry and whoever signed them
/// (XenServer's are self-signed and often name no host); a CA file admits what it signed as well. With neither, the authorities of
/// this machine decide.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// SHA-256 of accepted certificates; pool members each have their own.
    pub fingerprints: Vec<Fingerprint>,
    /// A PEM file with the certificates of accepted authorities, instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Why the trust settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The CA file could not be read or is no PEM.
    #[error("the CA file {path} could not be read; it must be a readable PEM file with at least one certificate")]
    CaFile {
        /// The configured path.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The CA file holds no usable certificate.
    #[error(
        "the CA file {path} holds no usable CA certificate; put the PEM of the authority that signed the hosts' certificates into it"
    )]
    NoAuthority {
        /// The configured path.
        path: PathBuf,
    },
    /// The TLS library refused the settings.
    #[error("the TLS library refused its settings; this is a defect of xensnap, please report it")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Trust {
    /// The TLS settings that follow; what is accepted is noted in `seen`. Reads the CA file or the machine's authorities.
    ///
    /// # Errors
    /// When the CA file is unusable. A machine without authorities is no error: then only pinned certificates are accepted.
    pub(super) fn client_config(&self, seen: Seen) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(self.fingerprints.clone(), self.authorities(&provider)?, Arc::clone(&provider), seen);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Library(Box::new(error)))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }

    fn authorities(&self, provider: &Arc<CryptoProvider>) -> Result<Authorities, TrustError> {
        let provider = Arc::clone(provider);
        let given = self.ca_file.as_deref().map(read_authorities).transpose()?;
        let machine = given.is_none() && self.fingerprints.is_empty();
        Ok(Authorities::new(Box::new(move || {
            let roots = if machine { machine_authorities() } else { given? };
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
            // The builder refuses an empty set of authorities, and nothing else that can happen here.
            verifier.ok().map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        })))
    }
}

fn read_authorities(path: &std::path::Path) -> Result<RootCertStore, TrustError> {
    let broken = |source| TrustError::CaFile { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(broken)? {
        // One unusable certificate in a bundle must not make the rest useless.
        let _ = roots.add(certificate.map_err(broken)?);
    }
    if roots.is_empty() { Err(TrustError::NoAuthority { path: path.to_owned() }) } else { Ok(roots) }
}

fn machine_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "an authority of this machine could not be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests;
