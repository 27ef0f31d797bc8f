//! Certificates: pinned, signed, unknown; and ports that speak something else.

use std::io::Write;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::fake::Wrap;
use super::*;
use xensnap::xenapi::trust::Fingerprint;

struct Certificate {
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// What XenServer makes for itself: a name of its own and no authority.
fn self_signed() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["xen-host-of-another-name".to_owned()]).unwrap().self_signed(&key).unwrap();
    Certificate { der: certificate.der().clone(), key }
}

fn acceptor(certificate: &Certificate) -> Wrap {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der.clone()], key)
        .unwrap();
    Wrap::Tls(TlsAcceptor::from(Arc::new(config)))
}

fn tls_settings(host: &Host) -> Settings {
    let mut settings = settings(host);
    settings.addresses = vec![format!("https://127.0.0.1:{}", host.port).parse().unwrap()];
    settings.patience = Duration::ZERO;
    settings
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_whatever_name_it_carries() {
    let certificate = self_signed();
    let host = Host::start_wrapped(acceptor(&certificate), 0).await;
    let mut settings = tls_settings(&host);
    settings.trust.fingerprints = vec![Fingerprint::of(b"another member's"), Fingerprint::of(&certificate.der)];
    let pool = open(settings);
    pool.connected().await.unwrap();
    pool.logout().await;
    assert_eq!((host.connections(), host.open_sessions()), (1, 0));
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_with_the_line_that_would_accept_it() {
    let certificate = self_signed();
    let host = Host::start_wrapped(acceptor(&certificate), 0).await;
    let mut settings = tls_settings(&host);
    settings.patience = Duration::from_secs(60);
    let known = Fingerprint::of(b"another member's");
    for configured in [vec![], vec![known]] {
        settings.trust.fingerprints = configured.clone();
        let error = open(settings.clone()).connected().await.unwrap_err();
        let line = Fingerprint::configuration_line(&configured, Fingerprint::of(&certificate.der));
        assert!(error.to_string().contains(&line), "{error}");
        assert!(error.is_final() && error.kind() == Kind::Denied);
        let pasted: toml::Table = line.parse().unwrap();
        settings.trust.fingerprints =
            pasted["fingerprints"].as_array().unwrap().iter().map(|f| f.as_str().unwrap().parse().unwrap()).collect();
        open(settings.clone()).connected().await.unwrap();
    }
}

#[tokio::test]
async fn somebody_with_a_copy_of_the_pinned_certificate_but_not_its_key_is_refused() {
    let certificate = self_signed();
    let fingerprint = Fingerprint::of(&certificate.der);
    let forged = Certificate { der: certificate.der, key: KeyPair::generate().unwrap() };
    // rustls refuses to serve a certificate with a foreign key, unless the key is handed over unchecked.
    let provider = rustls::crypto::ring::default_provider();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(forged.key.serialize_der()));
    let signer = provider.key_provider.load_private_key(der).unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![forged.der.clone()], signer));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let host = Host::start_wrapped(Wrap::Tls(TlsAcceptor::from(Arc::new(config))), 0).await;
    let mut settings = tls_settings(&host);
    settings.trust.fingerprints = vec![fingerprint];
    let error = open(settings).connected().await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
    assert_eq!(host.calls().len(), 0);
}

#[tokio::test]
async fn a_certificate_signed_by_the_configured_authority_is_accepted_for_its_name_only() {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    for (name, accepted) in [("127.0.0.1", true), ("10.9.9.9", false)] {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let host = Host::start_wrapped(acceptor(&Certificate { der: leaf.der().clone(), key }), 0).await;
        let mut settings = tls_settings(&host);
        settings.trust.ca_file = Some(file.path().to_owned());
        let outcome = open(settings).connected().await;
        assert_eq!(outcome.is_ok(), accepted, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(error.to_string().contains("another name"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_port_without_tls_is_named_as_such() {
    let (host, _) = pool().await;
    let error = open(tls_settings(&host)).connected().await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert_eq!(host.calls().len(), 0);
}

#[tokio::test]
async fn plain_http_at_a_tls_port_is_no_xenserver() {
    let certificate = self_signed();
    let host = Host::start_wrapped(acceptor(&certificate), 0).await;
    let mut settings = settings(&host);
    settings.patience = Duration::ZERO;
    let error = open(settings).connected().await.unwrap_err();
    assert!(error.to_string().contains("https://"), "{error}");
}
