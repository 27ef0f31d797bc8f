//! Which servers are believed: those whose certificate an authority signed, of this machine or the configured one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why the certificates to trust cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read or is no PEM.
    #[error("the ca_file {path} cannot be read ({reason}); it must be a readable PEM file with at least one certificate")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is no authority in it.
    #[error("the ca_file {path} holds no usable certificate; put the PEM of the authority into it that signed the server's")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The library refused its settings.
    #[error("the TLS library refused its settings ({0}); this is a defect of xensnap, please report it")]
    Library(String),
}

/// The certificates of the authorities in a file; nothing without one.
pub(super) fn authorities(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let Some(path) = ca_file else { return Ok(rustls_native_certs::load_native_certs().certs) };
    let unreadable =
        |error: rustls_pki_types::pem::Error| TlsError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    let all: Vec<_> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if all.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(all) }
}

/// Settings for a connection to a server that one of the authorities vouches for. Whoever will not encrypt needs none.
pub(super) fn client(ca_file: Option<&Path>, encrypts: bool) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    if encrypts {
        roots.add_parsable_certificates(authorities(ca_file)?);
        if let Some(path) = ca_file.filter(|_| roots.is_empty()) {
            return Err(TlsError::Empty { path: path.to_owned() });
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Library(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
