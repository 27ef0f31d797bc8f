//! Where a host answers. The scheme decides whether a password may travel unencrypted, so plain HTTP exists only where somebody
//! wrote `http://`; every address derived from another one keeps its scheme and port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Whether the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// TLS.
    Https,
    /// No encryption: everybody on the way reads the password.
    Http,
}

impl Scheme {
    /// The port used when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Https => 443,
            Scheme::Http => 80,
        }
    }

    /// As written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        }
    }
}

/// The address of one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    scheme: Scheme,
    /// Lower case, without brackets.
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not the address of a host ({reason}); write a name or an IP address, for example `xen1.example.org`, `https://10.0.0.5:443` or `https://[fd00::5]`"
)]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl Address {
    /// Whether the connection is encrypted.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same scheme and port on another host. `host` is a name or IP address as a server writes it: IPv6 with or without brackets;
    /// a port that it names (real servers name none) counts.
    ///
    /// # Errors
    /// When `host` is neither.
    pub fn on_host(&self, host: &str) -> Result<Address, AddressError> {
        let parts = split_port(host).and_then(|(host, port)| Ok((check_host(host)?, port)));
        let (host, port) = parts.map_err(|reason| AddressError { text: host.to_owned(), reason })?;
        Ok(Address { scheme: self.scheme, host, port: port.unwrap_or(self.port) })
    }

    /// The host as it stands in a URL, IPv6 in brackets.
    pub fn url_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The URL of a path (with its leading slash) on this host.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}:{}{path}", self.scheme.as_str(), self.url_host(), self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.url_host())?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `host`, `host:port`, `https://host[:port]` or `http://host[:port]`; a bare IPv6 address needs no brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).map_err(|reason| AddressError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err("a user name does not belong into it");
    }
    if rest.contains(['/', '?', '#']) {
        return Err("a path does not belong into it");
    }
    let (host, port) = split_port(rest)?;
    Ok(Address { scheme, host: check_host(host)?, port: port.unwrap_or(scheme.default_port()) })
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), &'static str> {
    match text.split_once("://") {
        None => Ok((Scheme::Https, text)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((Scheme::Https, rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((Scheme::Http, rest)),
        Some(_) => Err("only https:// and http:// are known"),
    }
}

fn split_port(rest: &str) -> Result<(&str, Option<u16>), &'static str> {
    if rest.parse::<Ipv6Addr>().is_ok() {
        return Ok((rest, None));
    }
    match rest.rsplit_once(':') {
        Some((_, port)) if port.ends_with(']') => Ok((rest, None)),
        Some((host, port)) => Ok((host, Some(check_port(port)?))),
        None => Ok((rest, None)),
    }
}

fn check_port(text: &str) -> Result<u16, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("the port is not a number from 1 to 65535"),
        Ok(port) => Ok(port),
    }
}

/// The canonical form of a host name or IP address.
fn check_host(host: &str) -> Result<String, &'static str> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(host).parse::<Ipv6Addr>() {
        return Ok(ip.to_string());
    }
    let named = bare.is_none() && !host.is_empty() && host.len() <= 253;
    if named && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        Ok(host.to_ascii_lowercase())
    } else {
        Err("the host is neither a name nor an IP address")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Address>().map_or_else(|error| error.reason.to_owned(), |address| address.to_string())
    }

    #[test]
    fn tls_is_used_unless_http_is_written_out() {
        assert_eq!(shown("xen1"), "https://xen1");
        assert_eq!(shown("XEN1.example.org:8443"), "https://xen1.example.org:8443");
        assert_eq!(shown("HTTPS://xen1/"), "https://xen1");
        assert_eq!(shown("xen1:80"), "https://xen1:80");
        assert_eq!(shown("http://xen1"), "http://xen1");
        assert_eq!(shown("http://10.0.0.5:8080"), "http://10.0.0.5:8080");
    }

    #[test]
    fn ipv6_is_taken_with_and_without_brackets() {
        for text in ["fd00::5", "[fd00::5]", "https://[FD00:0::5]", "https://fd00::5"] {
            assert_eq!(shown(text), "https://[fd00::5]", "{text}");
        }
        assert_eq!(shown("[fd00::5]:8443"), "https://[fd00::5]:8443");
        assert_eq!("[::1]:8".parse::<Address>().unwrap().url("/jsonrpc"), "https://[::1]:8/jsonrpc");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "https://", "ftp://a", "a/b", "u:p@a", "a:0", "a:99999", "a b", "[::1", "[xen1]", "a:b:c", "a\nb"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn another_host_keeps_scheme_and_port() {
        let http: Address = "http://xen1:8080".parse().unwrap();
        assert_eq!(http.on_host("10.0.0.6").unwrap().to_string(), "http://10.0.0.6:8080");
        let tls: Address = "xen1".parse().unwrap();
        assert_eq!(tls.on_host("fd00::6").unwrap().to_string(), "https://[fd00::6]");
        assert_eq!(tls.on_host("[fd00::6]:8444").unwrap().to_string(), "https://[fd00::6]:8444");
        assert!(tls.on_host("evil/path").is_err());
    }
}
