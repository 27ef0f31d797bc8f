//! The head of a request, read as leniently as the real server reads it (libs/http-lib: http_svr.ml, http.ml).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Request line and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method as it was sent.
    pub method: String,
    /// The path, percent-decoded, without the query.
    pub path: String,
    /// The query, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// True for `HTTP/1.0`.
    pub http10: bool,
    /// Whether the connection ends after the answer.
    pub close: bool,
    /// The body's length, when it was given.
    pub content_length: Option<u64>,
    /// Cookies, decoded.
    pub cookies: Vec<(String, String)>,
    /// What the `authorization` header says.
    pub authorization: Option<Authorization>,
    /// All headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
}

/// The `authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// `Basic`: name and password.
    Basic(String, String),
    /// Anything else; the handlers fail on it.
    Unknown(String),
}

/// Why a head cannot be used; the text goes into the HTTP 500 page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl Head {
    /// Reads the bytes up to and including the blank line.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split('\n');
        let mut head = Self::request_line(lines.next().unwrap_or_default())?;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            head.header(name.to_ascii_lowercase(), value.trim().to_owned())?;
        }
        Ok(head)
    }

    /// A header's value, by its name in lower case.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// A parameter of the query or, before that, a cookie.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.cookies.iter().chain(&self.query).find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    fn request_line(line: &str) -> Result<Self, Unreadable> {
        let not_http = || Unreadable("The HTTP headers could not be parsed.".to_owned());
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [method, target, version] = words[..] else { return Err(not_http()) };
        let Some(version) = version.get("HTTP/".len()..) else {
            return Err(Unreadable("Invalid_argument(&quot;String.sub / Bytes.sub&quot;)".to_owned()));
        };
        let target = without_origin(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Self {
            method: method.to_owned(),
            path: percent_decode(path, false),
            query: pairs(query, '&', true),
            http10: version == "1.0",
            close: version == "1.0",
            content_length: None,
            cookies: Vec::new(),
            authorization: None,
            headers: Vec::new(),
        })
    }

    fn header(&mut self, name: String, value: String) -> Result<(), Unreadable> {
        match &*name {
            "content-length" => {
                let length = value.parse().map_err(|_| Unreadable("Failure(&quot;Int64.of_string&quot;)".to_owned()))?;
                self.content_length = Some(length);
            }
            "cookie" => self.cookies = pairs(&value, if value.contains(';') { ';' } else { '&' }, false),
            "authorization" => self.authorization = Some(authorization(&value)),
            "connection" if value.eq_ignore_ascii_case("close") => self.close = true,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => self.close = false,
            _ => {}
        }
        self.headers.push((name, value));
        Ok(())
    }
}

/// Requests to a proxy name the whole address.
fn without_origin(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|(scheme, _)| !scheme.contains('/')) else { return target };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

fn pairs(text: &str, separator: char, plus_is_blank: bool) -> Vec<(String, String)> {
    let pieces = text.split(separator).filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (percent_decode(name.trim_start(), plus_is_blank), percent_decode(value, plus_is_blank))
        })
        .collect()
}

fn percent_decode(text: &str, plus_is_blank: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) if plus_is_blank => out.push(b' '),
            _ => out.push(byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn authorization(value: &str) -> Authorization {
    let decoded = value.strip_prefix("Basic ").and_then(|code| STANDARD.decode(code).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref().and_then(|text| text.split_once(':')) {
        Some((name, password)) => Authorization::Basic(name.to_owned(), password.to_owned()),
        None => Authorization::Unknown(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read() {
        let bytes = b"GET /export?uuid=a%20b+c&ref=OpaqueRef:x HTTP/1.0\r\nCookie: session_id=OpaqueRef%3ay; task_id=z\r\n\
                      Authorization: Basic cm9vdDp4OnNuYXA=\r\nConnection: Keep-Alive\r\n\r\n";
        let head = Head::parse(bytes).unwrap();
        assert_eq!((&*head.path, head.http10, head.close), ("/export", true, false));
        assert_eq!(head.query[0], ("uuid".to_owned(), "a b c".to_owned()));
        assert_eq!(head.param("session_id"), Some("OpaqueRef:y"));
        assert_eq!(head.param("task_id"), Some("z"));
        assert_eq!(head.authorization, Some(Authorization::Basic("root".to_owned(), "x:snap".to_owned())));
    }

    #[test]
    fn what_is_no_request_line_is_refused() {
        assert_eq!(Head::parse(b"HELLO\r\n\r\n").unwrap_err().0, "The HTTP headers could not be parsed.");
    }
}
