//! Heads and pages as the real server writes them: the order and the case of header names are part of it (`transcripts/transport`).

use super::head::Head;

/// A response's head.
#[derive(Debug, Clone)]
pub struct Response {
    text: String,
}

impl Response {
    /// `HTTP/1.x 200 OK` with a length, for the request `head`.
    pub fn ok(head: &Head, length: u64, headers: &[(&str, &str)]) -> Self {
        let connection = if head.close { "close" } else { "keep-alive" };
        let mut response = Self::start(version(head), "200", "OK")
            .header("content-length", &length.to_string())
            .header("connection", connection)
            .header("cache-control", "no-cache, no-store");
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response
    }

    /// A status line without headers.
    pub fn start(version: &str, code: &str, reason: &str) -> Self {
        Self { text: format!("HTTP/{version} {code} {reason}\r\n") }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        for part in [name, ": ", value, "\r\n"] {
            self.text.push_str(part);
        }
        self
    }

    /// The bytes, the blank line included.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.text.push_str("\r\n");
        self.text.into_bytes()
    }
}

/// The version that answers a request: that of the request, and 1.1 for whatever is not 1.0.
pub fn version(head: &Head) -> &'static str {
    if head.http10 { "1.0" } else { "1.1" }
}

/// A whole error answer: an HTML page, and the connection is closed.
pub fn page(head: Option<&Head>, code: &str, reason: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let version = head.map_or("1.1", version);
    let mut response = Response::start(version, code, reason)
        .header("content-length", &body.len().to_string())
        .header("content-type", "text/html")
        .header("connection", "close")
        .header("cache-control", "no-cache, no-store");
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let mut bytes = response.into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// HTTP 500 with the text of an exception.
pub fn internal_error(head: Option<&Head>, exception: &str) -> Vec<u8> {
    let body = format!(
        "<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred; please wait a while and try again. If \
         the problem persists, please contact your support representative.<h1> Additional information </h1>{exception}</body></html>"
    );
    page(head, "500", "Internal Error", &[], &body)
}

/// HTTP 403.
pub fn forbidden(head: Option<&Head>) -> Vec<u8> {
    let body = "<html><body><h1>HTTP 403 forbidden</h1>Access to the requested resource is forbidden.</body></html>";
    page(head, "403", "Forbidden", &[], body)
}

/// HTTP 401 with the realm of a handler.
pub fn unauthorised(head: Option<&Head>, realm: &str) -> Vec<u8> {
    let body = "<html><body><h1>HTTP 401 unauthorised</h1>Please check your credentials and retry.</body></html>";
    page(head, "401", "Unauthorised", &[("WWW-Authenticate", &format!("Basic realm=\"{realm}\""))], body)
}

/// HTTP 400.
pub fn bad_request(head: Option<&Head>) -> Vec<u8> {
    let body = "<html><body><h1>HTTP 400 bad request</h1>The HTTP request was malformed. Please correct and retry.</body></html>";
    page(head, "400", "Bad Request", &[], body)
}

/// HTTP 408.
pub fn request_timeout() -> Vec<u8> {
    let body = "<html><body><h1>HTTP 408 request timeout</h1>Timed out waiting for the request.</body></html>";
    page(None, "408", "Request Timeout", &[], body)
}

/// HTTP 431.
pub fn header_too_large() -> Vec<u8> {
    let body = "<html><body><h1>HTTP 431 request header fields too large</h1>Exceeded the maximum header size.</body></html>";
    page(None, "431", "Request Header Fields Too Large", &[], body)
}

/// HTTP 501 for a method the server does not know.
pub fn not_implemented(head: &Head) -> Vec<u8> {
    let known = matches!(&*head.method, "GET" | "POST" | "PUT" | "CONNECT" | "OPTIONS");
    let method = if known { head.method.clone() } else { format!("Unknown {}", head.method) };
    let body = format!("<html><body><h1>HTTP 501 Method Not Implemented</h1><p>{method} not supported.<br /></p></body></html>");
    page(Some(head), "501", "Method not implemented", &[], &body)
}

/// Text of an exception as it may stand in a page.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;").replace('"', "&quot;")
}
