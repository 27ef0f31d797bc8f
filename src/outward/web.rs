//! A message to an address on the web, signed so that whoever gets it knows that it is ours and new; and a ping.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use uuid::Uuid;

use super::{OutwardError, causes, root, tls};
use crate::domain::alarm::{WebAddress, plain};

/// What receivers see as our user agent.
const USER_AGENT: &str = concat!("xensnap/", env!("CARGO_PKG_VERSION"));

/// So much of a refusal is read and told.
const TOLD: usize = 200;

/// An address on the web. `Debug` shows neither the secret nor the path.
#[derive(Debug, Clone)]
pub struct WebRoute {
    /// Where.
    pub url: WebAddress,
    /// What messages are signed with.
    pub secret: Option<SecretString>,
    /// The authority to trust, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How long a delivery may take.
    pub timeout: Duration,
}

impl fmt::Display for WebRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)
    }
}

/// The signature of a message: HMAC-SHA256 over the timestamp, a dot and the body, in hexadecimal, behind `v1=`.
pub fn signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    // Any length of key is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

impl WebRoute {
    /// Sends a message as JSON; `message` is the same however often it is sent.
    ///
    /// # Errors
    /// When the answer is not one of success. The receiver may have taken it all the same.
    pub async fn post(&self, body: Vec<u8>, message: Uuid, at: DateTime<Utc>) -> Result<(), OutwardError> {
        let mut headers = HeaderMap::new();
        let timestamp = at.timestamp();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-xensnap-timestamp", HeaderValue::from(timestamp));
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        put("x-xensnap-message", &message.to_string());
        if let Some(secret) = &self.secret {
            put("x-xensnap-signature", &signature(secret.expose_secret(), timestamp, &body));
        }
        self.ask(|http| http.post(self.url.as_str()).headers(headers).body(body)).await
    }

    /// Says that all is well.
    ///
    /// # Errors
    /// When the answer is not one of success.
    pub async fn ping(&self) -> Result<(), OutwardError> {
        self.ask(|http| http.get(self.url.as_str())).await
    }

    async fn ask(&self, request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Result<(), OutwardError> {
        let http = self.client()?;
        let asked = tokio::time::timeout(self.timeout, self.answer(request(&http))).await;
        asked.unwrap_or_else(|_| Err(OutwardError::Late { to: self.to_string(), seconds: self.timeout.as_secs() }))
    }

    fn client(&self) -> Result<reqwest::Client, OutwardError> {
        let encrypts = self.url.as_str().starts_with("https:");
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(self.ca_file.as_deref(), encrypts)?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(USER_AGENT)
            .pool_max_idle_per_host(0);
        if self.url.is_private() && !encrypts {
            // Nobody's proxy leads to this machine.
            client = client.no_proxy();
        }
        Ok(client.build().map_err(|error| tls::TlsError::Library(error.to_string()))?)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<(), OutwardError> {
        let response = request.send().await.map_err(|error| self.failed(error))?;
        let (status, to) = (response.status(), self.to_string());
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(OutwardError::Redirected { to, status: status.as_u16() });
        }
        let said = beginning(response).await;
        let reason = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
        Err(OutwardError::Refused { to, reason })
    }

    fn failed(&self, error: reqwest::Error) -> OutwardError {
        // The address may be a secret.
        let error = error.without_url();
        let (to, reason) = (self.to_string(), causes(&error));
        if reason.contains("certificate") || reason.contains("TLS") || reason.contains("InvalidMessage") {
            OutwardError::Unprotected { to, reason }
        } else if error.is_connect() {
            OutwardError::Unreachable { to, reason: root(&error) }
        } else {
            OutwardError::Strange { to, reason }
        }
    }
}

/// The beginning of what a refusal says, without waiting for its end.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut said = Vec::new();
    while said.len() < 4 * TOLD
        && let Ok(Some(piece)) = response.chunk().await
    {
        said.extend_from_slice(&piece[..piece.len().min(4 * TOLD)]);
    }
    plain(&String::from_utf8_lossy(&said), TOLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // python3 -c 'import hmac; print(hmac.new(b"secret", b"1772330400.{}", "sha256").hexdigest())'
        let expected = "v1=fb4ab63ad1931cc9bf27aa8adfffe1fc2b85fdedd67b73139513dca70e86c536";
        assert_eq!(signature("secret", 1_772_330_400, b"{}"), expected);
    }

    #[test]
    fn a_route_shows_no_secret() {
        let route = WebRoute {
            url: "https://hooks.example.org/hunter2".parse().unwrap(),
            secret: Some("hunter2".into()),
            ca_file: None,
            timeout: Duration::from_secs(1),
        };
        assert!(!format!("{route:?} {route}").contains("hunter2"));
    }
}
