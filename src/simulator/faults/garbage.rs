//! Answers that are no answers.
//!
//! Each kind is a mistake that real servers, proxies and networks make. Nothing big is built in memory: a body may be sent repeatedly.

/// A way to spoil an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// The first half of the answer under its full length, then the connection ends.
    Truncated,
    /// The answer under a content type that is not its own.
    ContentType,
    /// A web page with status 200, as a proxy sends it.
    Html,
    /// A web page with status 502, as a proxy sends it whose server is gone.
    BadGateway,
    /// Nothing, with status 200.
    Empty,
    /// Bytes that are neither text nor anything else.
    Binary,
    /// Opening brackets without end, for parsers that recurse.
    Nested,
    /// One text of half a gigabyte.
    Huge,
    /// A body that goes on for ever, without a length.
    Endless,
}

/// Every kind with its name in a plan.
const NAMES: [(Garbage, &str); 9] = [
    (Garbage::Truncated, "truncated"),
    (Garbage::ContentType, "content-type"),
    (Garbage::Html, "html"),
    (Garbage::BadGateway, "bad-gateway"),
    (Garbage::Empty, "empty"),
    (Garbage::Binary, "binary"),
    (Garbage::Nested, "nested"),
    (Garbage::Huge, "huge"),
    (Garbage::Endless, "endless"),
];

const PAGE: &[u8] = b"<html><head><title>Welcome</title></head><body><h1>Please log in</h1></body></html>\n";
const PIECE: usize = 64 * 1024;
const HUGE: u64 = 512 * 1024 * 1024;

/// What to send instead of an answer. The connection is closed afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoilt {
    /// The HTTP status.
    pub status: u16,
    /// The content type.
    pub content_type: String,
    /// The length that the head claims; none: no length is sent.
    pub length: Option<u64>,
    /// What comes first.
    pub body: Vec<u8>,
    /// What follows, so many times; `u64::MAX` is for ever.
    pub then: (Vec<u8>, u64),
}

impl Garbage {
    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The names of all kinds, for error messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, name)| *name)
    }

    /// Spoils the answer `body`, which was to be sent as `content_type`.
    pub fn spoil(self, content_type: &str, body: &[u8]) -> Spoilt {
        let whole = |status, kind: &str, body: &[u8]| Spoilt {
            status,
            content_type: kind.to_owned(),
            length: Some(body.len() as u64),
            body: body.to_vec(),
            then: (Vec::new(), 0),
        };
        match self {
            Garbage::Truncated => Spoilt { length: Some(body.len() as u64), ..whole(200, content_type, &body[..body.len() / 2]) },
            Garbage::ContentType => whole(200, other_type(content_type), body),
            Garbage::Html => whole(200, "text/html", PAGE),
            Garbage::BadGateway => whole(502, "text/html", b"<html><body><h1>502 Bad Gateway</h1></body></html>\n"),
            Garbage::Empty => whole(200, content_type, b""),
            Garbage::Binary => whole(200, content_type, &binary()),
            Garbage::Nested => whole(200, content_type, &nested(content_type)),
            Garbage::Huge => huge(content_type),
            Garbage::Endless => Spoilt { length: None, then: (vec![b' '; PIECE], u64::MAX), ..whole(200, content_type, b"") },
        }
    }
}

impl std::fmt::Display for Garbage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAMES.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

fn other_type(content_type: &str) -> &'static str {
    if content_type.contains("json") { "text/xml" } else { "application/json" }
}

fn binary() -> Vec<u8> {
    (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn nested(content_type: &str) -> Vec<u8> {
    let open = if content_type.contains("json") { "[" } else { "<value><array><data>" };
    open.repeat(100_000).into_bytes()
}

fn huge(content_type: &str) -> Spoilt {
    let body: &[u8] = if content_type.contains("json") {
        br#"{"jsonrpc":"2.0","id":1,"result":""#
    } else {
        b"<?xml version=\"1.0\"?><methodResponse><params><param><value>"
    };
    Spoilt {
        status: 200,
        content_type: content_type.to_owned(),
        length: Some(body.len() as u64 + HUGE),
        body: body.to_vec(),
        then: (vec![b'x'; PIECE], HUGE / PIECE as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_that_reads_back() {
        for name in Garbage::names() {
            assert_eq!(Garbage::parse(name).map(|kind| kind.to_string()).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_truncated_answer_claims_its_full_length() {
        let spoilt = Garbage::Truncated.spoil("text/xml", b"0123456789");
        assert_eq!((spoilt.length, &*spoilt.body), (Some(10), &b"01234"[..]));
    }

    #[test]
    fn a_huge_answer_is_small_in_memory() {
        let spoilt = Garbage::Huge.spoil("application/json", b"");
        let sent = spoilt.body.len() as u64 + spoilt.then.0.len() as u64 * spoilt.then.1;
        assert_eq!(spoilt.length, Some(sent));
        assert!(sent > 500_000_000 && spoilt.then.0.len() < 100_000);
    }
}
