//! An XML-RPC request. What cannot be read is refused in the words of the real server's parser, where a recording shows them.

use super::super::{Call, MAX_DEPTH, Malformed, Rpc};

/// Reads a request.
///
/// # Errors
/// [`Malformed`], with the text that the real server's exception shows.
pub fn parse(body: &[u8]) -> Result<Call, Malformed> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Malformed::Unreadable("Xmlm.Error(1:1, \"malformed character stream\")".to_owned()))?;
    let mut reader = Reader { text, at: 0, open: Vec::new(), pending: None, ends_at_once: false };
    reader.prolog()?;
    reader.tag("methodCall", |reader| {
        let method = reader.tag("methodName", Reader::data)?;
        let params = reader.tag("params", |reader| reader.until_end(|reader| reader.tag("param", |reader| reader.value(0))))?;
        Ok(Call { method, params })
    })
}

/// A piece of the document.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Start(String),
    End,
    Data(String),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<String>,
    /// A token that was looked at.
    pending: Option<Token>,
    /// The end of an empty element comes next.
    ends_at_once: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The XML declaration, comments and a document type, before the root element.
    fn prolog(&mut self) -> Result<(), Malformed> {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            if self.rest().starts_with("<?") {
                self.skip_past("?>")?;
            } else if self.rest().starts_with("<!--") {
                self.skip_past("-->")?;
            } else if self.rest().starts_with("<!") {
                self.skip_past(">")?;
            } else {
                break;
            }
        }
        if self.rest().is_empty() {
            return Err(self.error("unexpected end of input"));
        }
        if !self.rest().starts_with('<') {
            return Err(self.error("expected root element"));
        }
        Ok(())
    }

    fn skip_past(&mut self, end: &str) -> Result<(), Malformed> {
        match self.rest().find(end) {
            Some(found) => {
                self.at += found + end.len();
                Ok(())
            }
            None => {
                self.at = self.text.len();
                Err(self.error("unexpected end of input"))
            }
        }
    }

    fn peek(&mut self) -> Result<&Token, Malformed> {
        let token = match self.pending.take() {
            Some(token) => token,
            None => self.read()?,
        };
        Ok(self.pending.insert(token))
    }

    fn next(&mut self) -> Result<Token, Malformed> {
        match self.pending.take() {
            Some(token) => Ok(token),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Token, Malformed> {
        if std::mem::take(&mut self.ends_at_once) {
            return Ok(Token::End);
        }
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Err(self.error("unexpected end of input"));
            }
            if rest.starts_with("<!--") {
                self.skip_past("-->")?;
            } else if rest.starts_with("<?") {
                self.skip_past("?>")?;
            } else if rest.starts_with("</") {
                return self.end_tag();
            } else if rest.starts_with('<') && !rest.starts_with("<![CDATA[") {
                return self.start_tag();
            } else {
                return self.characters().map(Token::Data);
            }
        }
    }

    fn start_tag(&mut self) -> Result<Token, Malformed> {
        let Some(length) = self.rest().find('>') else { return Err(self.cut_short()) };
        let inner = self.rest()[1..length].to_owned();
        let (inner, empty) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner.as_str(), false),
        };
        let name = inner.split_whitespace().next().unwrap_or_default().to_owned();
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(self.error("character sequence illegal here (\"<\")"));
        }
        self.at += length + 1;
        self.ends_at_once = empty;
        if !empty {
            self.open.push(name.clone());
        }
        Ok(Token::Start(name))
    }

    fn end_tag(&mut self) -> Result<Token, Malformed> {
        let Some(length) = self.rest().find('>') else { return Err(self.cut_short()) };
        let name = self.rest()[2..length].trim_end().to_owned();
        let expected = self.open.pop();
        if expected.as_deref() != Some(&*name) {
            let expected = expected.unwrap_or_default();
            return Err(self.error(&format!("found \"{name}\" expected \"{expected}\"")));
        }
        self.at += length + 1;
        Ok(Token::End)
    }

    fn cut_short(&mut self) -> Malformed {
        self.at = self.text.len();
        self.error("unexpected end of input")
    }

    fn characters(&mut self) -> Result<String, Malformed> {
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            if let Some(data) = rest.strip_prefix("<![CDATA[") {
                let Some(length) = data.find("]]>") else { return Err(self.cut_short()) };
                out.push_str(&data[..length]);
                self.at += "<![CDATA[".len() + length + "]]>".len();
                continue;
            }
            let plain = rest.find(['<', '&']).unwrap_or(rest.len());
            push_with_plain_newlines(&mut out, &rest[..plain]);
            self.at += plain;
            match self.rest().bytes().next() {
                Some(b'&') => self.entity(&mut out)?,
                None => return Err(self.error("unexpected end of input")),
                Some(_) if self.rest().starts_with("<![CDATA[") => {}
                Some(_) => return Ok(out),
            }
        }
    }

    fn entity(&mut self, out: &mut String) -> Result<(), Malformed> {
        let Some(length) = self.rest().find(';') else { return Err(self.cut_short()) };
        let name = &self.rest()[1..length];
        let character = match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => numeric(name),
        };
        let Some(character) = character else { return Err(self.error(&format!("unknown entity reference ({name})"))) };
        out.push(character);
        self.at += length + 1;
        Ok(())
    }

    /// Reads an element of this name.
    fn tag<T>(&mut self, name: &str, content: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<T, Malformed> {
        let found = self.open_tag()?;
        if found != name {
            return Err(unexpected(&format!("open_tag({found})"), &format!("open_tag({name})")));
        }
        let result = content(self)?;
        self.close_tag(name)?;
        Ok(result)
    }

    fn open_tag(&mut self) -> Result<String, Malformed> {
        loop {
            match self.next()? {
                Token::Start(name) => return Ok(name),
                Token::Data(data) if is_blank(&data) => {}
                Token::Data(data) => return Err(unexpected(&format!("data({data})"), "open_tag")),
                Token::End => return Err(unexpected("close_tag", "open_tag")),
            }
        }
    }

    fn close_tag(&mut self, name: &str) -> Result<(), Malformed> {
        loop {
            match self.next()? {
                Token::End => return Ok(()),
                Token::Data(data) if is_blank(&data) => {}
                Token::Data(data) => return Err(unexpected(&format!("data({data})"), &format!("close_tag({name})"))),
                Token::Start(found) => return Err(unexpected(&format!("open_tag({found})"), &format!("close_tag({name})"))),
            }
        }
    }

    fn data(&mut self) -> Result<String, Malformed> {
        match self.peek()? {
            Token::End => Ok(String::new()),
            Token::Start(name) => Err(unexpected(&format!("open_tag({name})"), "data")),
            Token::Data(data) => {
                let data = data.clone();
                self.pending = None;
                Ok(data)
            }
        }
    }

    /// Reads elements until the enclosing one ends.
    fn until_end<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let mut elements = Vec::new();
        loop {
            match self.peek()? {
                Token::End => return Ok(elements),
                Token::Data(data) if is_blank(data) => self.pending = None,
                _ => elements.push(element(self)?),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Rpc, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Unreadable("Stack_overflow".to_owned()));
        }
        self.tag("value", |reader| match reader.peek()?.clone() {
            Token::End => Ok(Rpc::String(String::new())),
            Token::Start(_) => reader.typed(depth),
            Token::Data(data) => {
                reader.pending = None;
                let element_follows = is_blank(&data) && matches!(reader.peek()?, Token::Start(_));
                if element_follows { reader.typed(depth) } else { Ok(Rpc::String(data)) }
            }
        })
    }

    fn typed(&mut self, depth: usize) -> Result<Rpc, Malformed> {
        let name = self.open_tag()?;
        let value = if *self.peek()? == Token::End { empty(&name)? } else { self.content(&name, depth)? };
        self.close_tag(&name)?;
        Ok(value)
    }

    fn content(&mut self, name: &str, depth: usize) -> Result<Rpc, Malformed> {
        Ok(match name {
            "int" | "i4" | "i8" => Rpc::Int(parse_number(&self.data()?, "Int64.of_string")?),
            "double" => Rpc::Float(parse_number(&self.data()?, "float_of_string")?),
            // Only the text 1 is true.
            "boolean" => Rpc::Bool(self.data()? == "1"),
            "string" => Rpc::String(self.data()?),
            "dateTime.iso8601" => Rpc::Date(self.data()?),
            "base64" => Rpc::Base64(self.data()?),
            "nil" => Rpc::Null,
            "array" => Rpc::List(self.tag("data", |reader| reader.until_end(|reader| reader.value(depth + 1)))?),
            "struct" => Rpc::Dict(self.until_end(|reader| reader.tag("member", |reader| reader.member(depth)))?),
            _ => {
                let expected = "open_tag(int/i8/i4/boolean/double/string/dateTime.iso8601/array/struct/nil)";
                return Err(unexpected(&format!("open_tag({name})"), expected));
            }
        })
    }

    fn member(&mut self, depth: usize) -> Result<(String, Rpc), Malformed> {
        let name = self.tag("name", Self::data)?;
        Ok((name, self.value(depth + 1)?))
    }

    /// The parser's complaint with its position: line and column in characters, from one.
    fn error(&self, text: &str) -> Malformed {
        let read = &self.text[..self.at];
        let line = read.matches('\n').count() + 1;
        let column = read.rsplit('\n').next().unwrap_or(read).chars().count() + 1;
        Malformed::Unreadable(format!("Xmlm.Error({line}:{column}, \"{text}\")"))
    }
}

fn push_with_plain_newlines(out: &mut String, text: &str) {
    if text.contains('\r') {
        out.push_str(&text.replace("\r\n", "\n").replace('\r', "\n"));
    } else {
        out.push_str(text);
    }
}

fn numeric(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let code = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code)
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n'))
}

fn empty(name: &str) -> Result<Rpc, Malformed> {
    match name {
        "string" => Ok(Rpc::String(String::new())),
        "array" => Ok(Rpc::List(Vec::new())),
        "struct" => Ok(Rpc::Dict(Vec::new())),
        "nil" => Ok(Rpc::Null),
        _ => Err(unexpected(&format!("empty_{name}"), name)),
    }
}

fn parse_number<T: std::str::FromStr>(text: &str, function: &str) -> Result<T, Malformed> {
    text.trim().parse().map_err(|_| Malformed::Unreadable(format!("Failure(\"{function}\")")))
}

fn unexpected(got: &str, expected: &str) -> Malformed {
    Malformed::Unreadable(format!("Xmlrpc.Parse_error(\"{got}\", \"{expected}\", _)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: &str) -> Result<Call, Malformed> {
        parse(
            format!(
                "<?xml version='1.0'?>\n<methodCall>\n<methodName>m</methodName>\n<params>{params}</params>\n</methodCall>\n"
            )
            .as_bytes(),
        )
    }

    fn one(value: &str) -> Rpc {
        call(&format!("<param>\n{value}\n</param>")).unwrap().params.remove(0)
    }

    #[test]
    fn every_type_is_read() {
        assert_eq!(one("<value>plain</value>"), Rpc::String("plain".to_owned()));
        assert_eq!(one("<value/>"), Rpc::String(String::new()));
        assert_eq!(one("<value><string>a &amp; &#233;</string></value>"), Rpc::String("a & é".to_owned()));
        assert_eq!(one("<value><i4>-5</i4></value>"), Rpc::Int(-5));
        assert_eq!(one("<value> <double>1.5</double> </value>"), Rpc::Float(1.5));
        assert_eq!(one("<value><boolean>true</boolean></value>"), Rpc::Bool(false));
        assert_eq!(one("<value><nil/></value>"), Rpc::Null);
        assert_eq!(one("<value><array><data/></array></value>"), Rpc::List(Vec::new()));
        let member = "<member><name>k</name><value>v</value></member>";
        assert_eq!(
            one(&format!("<value><struct>\n{member}\n</struct></value>")),
            Rpc::Dict(vec![("k".to_owned(), Rpc::String("v".to_owned()))])
        );
    }

    #[test]
    fn complaints_are_those_of_the_real_parser() {
        let complaint = |body: &str| match parse(body.as_bytes()) {
            Err(Malformed::Unreadable(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(complaint(""), "Xmlm.Error(1:1, \"unexpected end of input\")");
        assert_eq!(complaint("{\"a\":1}"), "Xmlm.Error(1:1, \"expected root element\")");
        assert_eq!(complaint("<methodCall><methodName>x"), "Xmlm.Error(1:26, \"unexpected end of input\")");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "<value><array><data>".repeat(10_000);
        let refused = Malformed::Unreadable("Stack_overflow".to_owned());
        assert_eq!(call(&format!("<param>{deep}</param>")), Err(refused));
    }
}
