//! What must never be read by a person: passwords and session references. Servers may echo them, so every text that came from a
//! server is cleaned before it becomes part of an error.

use secrecy::{ExposeSecret, SecretString};

use super::failure::Failure;
use super::wire::Param;

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";

/// The reference of a session. Whoever has it is logged in.
#[derive(Debug, Clone)]
pub(super) struct SessionRef(SecretString);

impl SessionRef {
    pub(super) fn new(reference: String) -> Self {
        Self(reference.into())
    }

    pub(super) fn param(&self) -> Param {
        Param::Str(self.0.expose_secret().to_owned())
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.0.expose_secret() == text
    }

    /// `failure` without this session in its parameters.
    pub(super) fn clean(&self, failure: Failure) -> Failure {
        clean(failure, self.expose())
    }
}

/// `failure` without `secret`, however it is wrapped.
pub(super) fn clean(mut failure: Failure, secret: &str) -> Failure {
    for text in failure.params.iter_mut().chain([&mut failure.code]) {
        for form in forms(secret) {
            if text.contains(&form) {
                *text = text.replace(&form, HIDDEN);
            }
        }
    }
    failure
}

/// A secret as it is, and as JSON, XML, Rust-like quoting and URLs spell it, alone and one within the other.
fn forms(secret: &str) -> Vec<String> {
    let mut forms: Vec<String> = spellings(secret).iter().flat_map(|form| spellings(form)).collect();
    forms.retain(|form| !form.is_empty());
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    forms
}

fn spellings(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned();
    let xml = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = xml.replace('"', "&quot;").replace('\'', "&apos;");
    let url = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    vec![text.to_owned(), json, xml, quoted, url]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_not_shown_by_debug() {
        assert!(!format!("{:?}", SessionRef::new("OpaqueRef:1".into())).contains("OpaqueRef"));
    }

    #[test]
    fn an_echoed_secret_is_taken_out_in_every_spelling() {
        let password = "a\"b<c>&'d e";
        for echoed in [
            "a\"b<c>&'d e",
            r#"{"params":["root","a\"b<c>&'d e"]}"#,
            "<value>a\"b&lt;c&gt;&amp;'d e</value>",
            "a&quot;b&lt;c&gt;&amp;&apos;d e",
            "p=a%22b%3Cc%3E%26%27d+e",
        ] {
            let failure = Failure { code: "INTERNAL_ERROR".into(), params: vec![format!("<{echoed}>")] };
            let cleaned = clean(failure, password);
            assert!(cleaned.params[0].contains(HIDDEN), "{echoed} -> {:?}", cleaned.params);
            assert!(!cleaned.params[0].contains("d e") && !cleaned.params[0].contains("d+e"), "{:?}", cleaned.params);
        }
    }

    #[test]
    fn an_empty_secret_changes_nothing() {
        let failure = Failure { code: "X".into(), params: vec!["abc".into()] };
        assert_eq!(clean(failure.clone(), ""), failure);
    }
}
