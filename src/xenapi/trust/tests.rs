//! Settings that cannot be used; handshakes are tried in `tests/client_tls.rs`.

use super::*;

#[test]
fn a_ca_file_without_a_certificate_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let trust = Trust { ca_file: Some(file.path().to_owned()), ..Trust::default() };
    let error = trust.client_config(Seen::default()).unwrap_err();
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
}
