//! Where alarms go: addresses as people write them, checked before anything is sent. An address on the web may be a secret by itself (many
//! receivers know their senders by nothing else), so that it is shown without its path.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The address of a person's mailbox, such as `ops@example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox(String);

/// Why a text is no mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no mail address ({reason}); write it plain, as in \"ops@example.org\"")]
pub struct MailboxError {
    reason: &'static str,
}

/// The longest address that mail knows.
const LONGEST: usize = 254;

impl FromStr for Mailbox {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Self, MailboxError> {
        let refuse = |reason| Err(MailboxError { reason });
        let Some((local, domain)) = text.rsplit_once('@') else { return refuse("it has no @") };
        let odd = |c: char| !c.is_ascii_graphic() || "<>()[]\\,;:\"".contains(c);
        if text.contains(odd) || local.contains('@') {
            return refuse("it has a character that does not belong there");
        }
        let dots = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.contains("..");
        if dots(local) || dots(domain) || text.len() > LONGEST {
            return refuse("a part of it is empty, or it is too long");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Mailbox {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address on the web. `Debug` and `Display` show where it leads, and not the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct WebAddress(Url);

/// Why a text is no address on the web. It does not quote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no address on the web ({reason}); write it whole, as in \"https://alarms.example.org/xensnap\"")]
pub struct WebAddressError {
    reason: &'static str,
}

impl FromStr for WebAddress {
    type Err = WebAddressError;

    fn from_str(text: &str) -> Result<Self, WebAddressError> {
        let refuse = |reason| Err(WebAddressError { reason });
        let Ok(url) = Url::parse(text) else { return refuse("it cannot be read") };
        if !matches!(url.scheme(), "https" | "http") {
            return refuse("it begins with neither https:// nor http://");
        }
        if url.host().is_none() {
            return refuse("it names no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a user and a password do not belong into it");
        }
        Ok(Self(url))
    }
}

impl WebAddress {
    /// As it is asked for, its secrets included.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether what is sent there can be read by nobody on the way.
    pub fn is_private(&self) -> bool {
        self.0.scheme() == "https" || self.0.host().is_some_and(|host| is_this_machine(&host))
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port().map_or_else(String::new, |port| format!(":{port}"));
        write!(f, "{}://{}{port}/...", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebAddress({self})")
    }
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_loopback(name),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether a host's name or IP address is this machine's own.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_plain() {
        assert!(["ops@example.org", "a+b.c@x", "root@localhost"].iter().all(|text| text.parse::<Mailbox>().is_ok()));
        for text in ["ops", "@x", "a@", "a b@x", "<a@x>", "a@x,b@y", "a@x\r\nBcc: b@y", "a@b@c", ".a@x", "a..b@x", "é@x"] {
            assert!(text.parse::<Mailbox>().is_err(), "{text:?}");
        }
        assert!(format!("a@{}", "x".repeat(300)).parse::<Mailbox>().is_err());
    }

    #[test]
    fn an_address_on_the_web_is_shown_without_what_may_be_a_secret() {
        let address: WebAddress = "https://hooks.example.org:8443/services/T0/hunter2?key=hunter2".parse().unwrap();
        assert_eq!(address.to_string(), "https://hooks.example.org:8443/...");
        assert_eq!(format!("{address:?}"), "WebAddress(https://hooks.example.org:8443/...)");
        assert!(address.as_str().ends_with("/services/T0/hunter2?key=hunter2"));
    }

    #[test]
    fn what_is_no_address_on_the_web_is_refused_without_quoting_it() {
        for text in ["hunter2", "ftp://x/hunter2", "https://", "file:///hunter2", "https://user:hunter2@x/", "mailto:a@b"] {
            let error = text.parse::<WebAddress>().unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains("; write it whole"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_may_be_told_in_the_clear() {
        let private = |text: &str| text.parse::<WebAddress>().unwrap().is_private();
        assert!(
            private("https://x/") && private("http://localhost:1/") && private("http://127.0.0.1/") && private("http://[::1]/")
        );
        assert!(!private("http://x/") && !private("http://10.0.0.1/"));
        assert!(is_loopback("LOCALHOST") && is_loopback("::1") && !is_loopback("mail.example.org"));
    }
}
