//! Pins and their messages; handshakes are tried in `tests/client_tls.rs`.

use super::*;

const SAMPLE: &str = "37:54:F7:CF:A9:1A:67:4F:84:4E:4C:18:8F:D9:5A:8C:83:D3:85:00:64:95:32:A5:30:78:0E:E7:5E:DB:51:79";

#[test]
fn a_fingerprint_is_read_in_every_spelling_people_have() {
    let expected: Fingerprint = SAMPLE.parse().unwrap();
    let plain = SAMPLE.replace(':', "");
    for text in [
        plain.to_lowercase(),
        plain.clone(),
        SAMPLE.to_lowercase(),
        format!("sha256:{SAMPLE}"),
        format!("SHA256:{}", plain.to_lowercase()),
        format!("sha256 Fingerprint={SAMPLE}"),
        format!("  {SAMPLE} "),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    assert_eq!(expected.to_string(), format!("sha256:{SAMPLE}"));
}

#[test]
fn what_is_no_sha256_is_refused_with_the_reason() {
    let sha1 = &SAMPLE[..59];
    assert!(sha1.parse::<Fingerprint>().unwrap_err().to_string().contains("SHA-1"));
    for text in ["", "sha256:", "zz", &SAMPLE[..92], &format!("{SAMPLE}:00"), &format!("sha1:{SAMPLE}")] {
        assert!(text.parse::<Fingerprint>().is_err(), "{text}");
    }
}

#[test]
fn the_configuration_line_keeps_the_fingerprints_already_there() {
    let first = Fingerprint::of(b"one");
    let second = Fingerprint::of(b"two");
    let line = Fingerprint::configuration_line(&[first], second);
    assert_eq!(line, format!("fingerprints = [\"{first}\", \"{second}\"]"));
    let parsed: toml::Table = line.parse().unwrap();
    assert_eq!(parsed["fingerprints"].as_array().map(Vec::len), Some(2));
    assert_eq!(Fingerprint::configuration_line(&[first], first), format!("fingerprints = [\"{first}\"]"));
}

#[test]
fn a_ca_file_without_a_certificate_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let trust = Trust { ca_file: Some(file.path().to_owned()), ..Trust::default() };
    let error = trust.client_config().unwrap_err();
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
}
