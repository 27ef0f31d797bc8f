//! A JSON-RPC request. The messages of what cannot be read are those of the real server's parser, which stand in its HTTP 500 pages.

use super::super::{Call, MAX_DEPTH, Malformed, Rpc};

/// Which JSON-RPC a request speaks; the answer takes its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// No `jsonrpc` member.
    V1,
    /// `"jsonrpc":"2.0"`.
    V2,
}

/// A request's `id`, which its answer repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// A number.
    Int(i64),
    /// Text.
    Text(String),
}

/// A whole request.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The shape of request and answer.
    pub version: Version,
    /// To be repeated in the answer.
    pub id: Id,
    /// The call.
    pub call: Call,
}

/// Reads a request.
///
/// # Errors
/// [`Malformed`], with the text that the real server's exception shows.
pub fn parse(body: &[u8]) -> Result<Envelope, Malformed> {
    envelope(parse_value(body)?)
}

/// Reads any JSON; members keep their order.
///
/// # Errors
/// [`Malformed`], with the text that the real server's exception shows.
pub fn parse_value(body: &[u8]) -> Result<Rpc, Malformed> {
    let mut parser = Parser { bytes: body, at: 0, line: 1, line_start: 0 };
    parser.space()?;
    if parser.at == body.len() {
        return Err(json_error("Blank input data"));
    }
    let value = parser.value(0)?;
    parser.space()?;
    if parser.at < body.len() {
        return Err(parser.unexpected("Junk after end of JSON value:"));
    }
    Ok(value)
}

fn envelope(value: Rpc) -> Result<Envelope, Malformed> {
    let Rpc::Dict(mut members) = value else { return Err(request_error("Invalid request body")) };
    let mut take = |name: &str| {
        let at = members.iter().position(|(key, _)| key == name)?;
        Some(std::mem::replace(&mut members[at].1, Rpc::Null))
    };
    let method = match take("method") {
        Some(Rpc::String(method)) => method,
        Some(_) => return Err(invalid_field("method")),
        None => return Err(missing_field("method")),
    };
    let version = match take("jsonrpc") {
        None => Version::V1,
        Some(Rpc::String(version)) if version == "2.0" => Version::V2,
        Some(_) => return Err(invalid_field("jsonrpc")),
    };
    let params = params(version, take("params"))?;
    let id = match take("id") {
        Some(Rpc::Int(id)) => Id::Int(id),
        Some(Rpc::String(id)) => Id::Text(id),
        _ => return Err(invalid_field("id")),
    };
    Ok(Envelope { version, id, call: Call { method, params } })
}

fn params(version: Version, params: Option<Rpc>) -> Result<Vec<Rpc>, Malformed> {
    match (version, params) {
        (_, Some(Rpc::List(params))) => Ok(params),
        (Version::V1, None) => Err(missing_field("params")),
        (Version::V2, None | Some(Rpc::Null)) => Ok(Vec::new()),
        // Named parameters arrive as one dictionary; the call then fails on its type.
        (Version::V2, Some(named @ Rpc::Dict(_))) => Ok(vec![named]),
        _ => Err(invalid_field("params")),
    }
}

fn json_error(text: &str) -> Malformed {
    Malformed::Unreadable(format!("Yojson__Common.Json_error({})", literal(text.as_bytes())))
}

fn request_error(text: &str) -> Malformed {
    Malformed::Unreadable(format!("Jsonrpc.Malformed_method_request({})", literal(text.as_bytes())))
}

fn invalid_field(name: &str) -> Malformed {
    request_error(&format!("Invalid field '{name}' in request body"))
}

fn missing_field(name: &str) -> Malformed {
    request_error(&format!("Required field {name} is missing"))
}

/// Text as OCaml prints it in an exception: bytes that are not printable as three decimal digits.
fn literal(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            0x08 => out.push_str("\\b"),
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    out.push('"');
    out
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    line_start: usize,
}

/// How much of the unexpected text a complaint quotes after its first character.
const QUOTED: usize = 32;

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        self.bytes[self.at..].starts_with(text.as_bytes())
    }

    /// Skips blanks and the comments that the real parser tolerates.
    fn space(&mut self) -> Result<(), Malformed> {
        loop {
            match self.peek() {
                Some(b'\n') => self.newline(),
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'/') if self.starts_with("//") => {
                    while !matches!(self.peek(), None | Some(b'\n')) {
                        self.at += 1;
                    }
                }
                Some(b'/') if self.starts_with("/*") => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn comment(&mut self) -> Result<(), Malformed> {
        while !self.starts_with("*/") {
            match self.peek() {
                None => return Err(self.unexpected("Unterminated comment")),
                Some(b'\n') => self.newline(),
                Some(_) => self.at += 1,
            }
        }
        self.at += 2;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Rpc, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Unreadable("Stack_overflow".to_owned()));
        }
        let Some(byte) = self.peek() else { return Err(self.end_of_input()) };
        match byte {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Rpc::String),
            b'-' | b'0'..=b'9' => self.number(),
            b'<' => self.variant(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Rpc, Malformed> {
        let words = [
            ("true", Rpc::Bool(true)),
            ("false", Rpc::Bool(false)),
            ("null", Rpc::Null),
            ("NaN", Rpc::Float(f64::NAN)),
            ("Infinity", Rpc::Float(f64::INFINITY)),
        ];
        for (word, value) in words {
            if self.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("Invalid token"))
    }

    fn object(&mut self, depth: usize) -> Result<Rpc, Malformed> {
        self.at += 1;
        let mut members = Vec::new();
        self.space()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Rpc::Dict(members));
        }
        loop {
            let key = self.key()?;
            self.space()?;
            self.expect(b':', "Expected ':' but found")?;
            self.space()?;
            members.push((key, self.value(depth + 1)?));
            self.space()?;
            if self.separator(b'}', "Expected ',' or '}' but found")? {
                return Ok(Rpc::Dict(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Rpc, Malformed> {
        self.at += 1;
        let mut items = Vec::new();
        self.space()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Rpc::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space()?;
            if self.separator(b']', "Expected ',' or ']' but found")? {
                return Ok(Rpc::List(items));
            }
        }
    }

    /// True at the closing bracket, false after a comma.
    fn separator(&mut self, close: u8, complaint: &str) -> Result<bool, Malformed> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') => {
                self.at += 1;
                self.space()?;
                Ok(false)
            }
            None => Err(self.end_of_input()),
            Some(_) => Err(self.unexpected(complaint)),
        }
    }

    fn expect(&mut self, byte: u8, complaint: &str) -> Result<(), Malformed> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            None => Err(self.end_of_input()),
            Some(_) => Err(self.unexpected(complaint)),
        }
    }

    /// A member's name; the real parser takes bare words too.
    fn key(&mut self) -> Result<String, Malformed> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {
                let start = self.at;
                while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    self.at += 1;
                }
                Ok(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned())
            }
            None => Err(self.end_of_input()),
            Some(_) => Err(self.unexpected("Expected string or identifier but found")),
        }
    }

    /// Yojson's own variants, which no request can use.
    fn variant(&mut self) -> Result<Rpc, Malformed> {
        self.at += 1;
        self.space()?;
        let name = self.key()?;
        Err(request_error(&format!("Unable to parse <\"{name}\">")))
    }

    fn number(&mut self) -> Result<Rpc, Malformed> {
        if self.starts_with("-Infinity") {
            self.at += "-Infinity".len();
            return Ok(Rpc::Float(f64::NEG_INFINITY));
        }
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if !self.integer_part() {
            self.at = start;
            return Err(self.unexpected("Invalid token"));
        }
        let fraction = self.fraction() | self.exponent();
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        let value = if fraction { text.parse().map(Rpc::Float).ok() } else { text.parse().map(Rpc::Int).ok() };
        value.ok_or_else(|| Malformed::Unreadable("Failure(\"Int64.of_string\")".to_owned()))
    }

    fn integer_part(&mut self) -> bool {
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => drop(self.digits()),
            _ => return false,
        }
        true
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    fn fraction(&mut self) -> bool {
        self.optional(|parser| parser.peek() == Some(b'.') && parser.step() && parser.digits())
    }

    fn exponent(&mut self) -> bool {
        self.optional(|parser| {
            matches!(parser.peek(), Some(b'e' | b'E')) && parser.step() && {
                parser.at += usize::from(matches!(parser.peek(), Some(b'+' | b'-')));
                parser.digits()
            }
        })
    }

    fn optional(&mut self, read: impl FnOnce(&mut Self) -> bool) -> bool {
        let start = self.at;
        let found = read(self);
        if !found {
            self.at = start;
        }
        found
    }

    fn step(&mut self) -> bool {
        self.at += 1;
        true
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                None => return Err(self.end_of_input()),
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(text).map_err(|bad| invalid_utf8(&bad.into_bytes()));
                }
                Some(_) => self.escape(&mut text)?,
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Malformed> {
        self.at += 1;
        let byte = self.peek().ok_or_else(|| self.end_of_input())?;
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode(text),
            _ => return Err(self.unexpected("Invalid escape sequence")),
        };
        self.at += 1;
        text.push(plain);
        Ok(())
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut code = self.hex()?;
        if (0xd800..0xdc00).contains(&code) {
            if !self.starts_with("\\u") {
                return Err(self.unexpected("Missing escape sequence representing low surrogate for code point beyond U+FFFF"));
            }
            self.at += 1;
            let low = self.hex()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.unexpected("Invalid low surrogate for code point beyond U+FFFF"));
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        let Some(character) = char::from_u32(code) else { return Err(invalid_utf8(text)) };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The four digits after `u`, on which the parser stands.
    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.ok_or_else(|| self.unexpected("Invalid escape sequence"))?;
        self.at += 5;
        Ok(code)
    }

    fn end_of_input(&self) -> Malformed {
        self.complain("Unexpected end of input".as_bytes(), self.at, self.at)
    }

    /// A complaint that quotes what was found. The positions are those the real parser shows: counted from the start of the line,
    /// from one before the second quoted character to one behind the last.
    fn unexpected(&self, complaint: &str) -> Malformed {
        let end = self.bytes.len().min(self.at + 1 + QUOTED);
        let quote = &self.bytes[self.at.min(end)..end];
        let text = [complaint.as_bytes(), b" '", quote, b"'"].concat();
        self.complain(&text, (self.at + 1).min(self.bytes.len()), self.bytes.len().min(end + 1))
    }

    fn complain(&self, complaint: &[u8], start: usize, end: usize) -> Malformed {
        let first = start as i64 - self.line_start as i64 - 1;
        let last = end as i64 - self.line_start as i64;
        let place = format!("Line {}, bytes {first}-{last}:\n", self.line);
        Malformed::Unreadable(format!("Yojson__Common.Json_error({})", literal(&[place.as_bytes(), complaint].concat())))
    }
}

fn invalid_utf8(bytes: &[u8]) -> Malformed {
    Malformed::NotUtf8(format!("S({})", String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(body: &str) -> String {
        match parse(body.as_bytes()) {
            Err(Malformed::Unreadable(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_keeps_its_id_and_version() {
        let request = parse(br#"{"jsonrpc":"2.0","method":"VM.get_all","params":["s",1,2.5,{"a":null}],"id":"abc"}"#).unwrap();
        assert_eq!(request.version, Version::V2);
        assert_eq!(request.id, Id::Text("abc".to_owned()));
        let dict = Rpc::Dict(vec![("a".to_owned(), Rpc::Null)]);
        assert_eq!(request.call.params, [Rpc::String("s".to_owned()), Rpc::Int(1), Rpc::Float(2.5), dict]);
    }

    #[test]
    fn complaints_are_those_of_the_real_parser() {
        assert_eq!(complaint(""), "Yojson__Common.Json_error(\"Blank input data\")");
        assert_eq!(complaint("{\"jsonrpc\":"), "Yojson__Common.Json_error(\"Line 1, bytes 10-11:\\nUnexpected end of input\")");
        assert_eq!(
            complaint("<?xml version='1.0'?>\n<methodCall>\n"),
            "Yojson__Common.Json_error(\"Line 1, bytes 1-35:\\n\
             Expected string or identifier but found '?xml version='1.0'?>\\n<methodCall>'\")"
        );
        assert_eq!(complaint("[]"), "Jsonrpc.Malformed_method_request(\"Invalid request body\")");
        assert_eq!(
            complaint("{\"method\":\"x\",\"params\":[]}"),
            "Jsonrpc.Malformed_method_request(\"Invalid field 'id' in request body\")"
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert_eq!(complaint(&"[".repeat(100_000)), "Stack_overflow");
    }

    #[test]
    fn escapes_are_read() {
        let request = parse(br#"{"method":"\u00e9\ud83d\ude00\n","params":[],"id":1}"#).unwrap();
        assert_eq!(request.call.method, "\u{e9}\u{1f600}\n");
    }
}
