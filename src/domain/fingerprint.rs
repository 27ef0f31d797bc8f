//! The SHA-256 of a certificate: what people copy from elsewhere, and what decides whether a server is the one that was meant.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// Why a text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a SHA-256 fingerprint ({reason}); write its 64 hexadecimal digits, for example as printed by `openssl x509 -noout -fingerprint -sha256`"
)]
pub struct FingerprintError {
    text: String,
    reason: &'static str,
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// A line for the configuration that accepts `configured` and `new`.
    pub fn configuration_line(configured: &[Fingerprint], new: Fingerprint) -> String {
        let mut all: Vec<String> = configured.iter().filter(|known| **known != new).map(quoted).collect();
        all.push(quoted(&new));
        format!("fingerprints = [{}]", all.join(", "))
    }
}

fn quoted(fingerprint: &Fingerprint) -> String {
    format!("\"{fingerprint}\"")
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads `AA:BB:..` or plain hexadecimal digits in any case, with or without the prefix `sha256:` (also `SHA256=`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| FingerprintError { text: text.to_owned(), reason };
        let digits: String = without_prefix(text.trim()).chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        if digits.len() == 40 {
            return Err(error("it has 40 digits, so it is a SHA-1 fingerprint"));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(&digits, &mut bytes).map_err(|_| error("64 hexadecimal digits are expected"))?;
        Ok(Self(bytes))
    }
}

fn without_prefix(text: &str) -> &str {
    let Some((prefix, rest)) = text.split_once([':', '=']) else { return text };
    let name = prefix.to_ascii_lowercase().replace(['-', ' '], "");
    if matches!(name.as_str(), "sha256" | "sha256fingerprint") { rest } else { text }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256")?;
        self.0.iter().try_for_each(|byte| write!(f, ":{byte:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
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
}
