//! The few elements of XML-RPC as tokens, over quick-xml. The rule: a token's memory is bounded by the meter below, and the name of
//! a member is taken as raw bytes, because the server writes map keys without escaping them.
//!
//! A key such as `k<&>` stands as `<name>k<&></name>` in the answer of a real server, so the key ends at the first `</name>` that a
//! `<value` follows. Keys are therefore literal: `&amp;` in a name is five characters of the key, exactly as the JSON wire shows it.
//! A key that itself contains `</name><value` cannot be told from the end of a name; only the JSON wire carries such a pool truly.

use std::io::{BufRead, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::super::meter::{self, TokenMeter};
use super::super::{DecodeError, Limits};
use super::value::Head;

/// The end of a member's name, and the beginning of its value.
const NAME_END: &[u8] = b"</name>";
const VALUE_START: &[u8] = b"<value";

/// An element of XML-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    MethodResponse,
    Params,
    Param,
    Fault,
    Value,
    Array,
    Data,
    Struct,
    Member,
    Name,
    Nil,
    Boolean,
    Int,
    Double,
    /// `string`, `dateTime.iso8601` and `base64`: text whatever the tag.
    Text,
}

impl Tag {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "value" => Tag::Value,
            "member" => Tag::Member,
            "name" => Tag::Name,
            "string" | "dateTime.iso8601" | "base64" => Tag::Text,
            "boolean" => Tag::Boolean,
            "struct" => Tag::Struct,
            "array" => Tag::Array,
            "data" => Tag::Data,
            "int" | "i4" | "i8" => Tag::Int,
            "double" => Tag::Double,
            "nil" => Tag::Nil,
            "methodResponse" => Tag::MethodResponse,
            "params" => Tag::Params,
            "param" => Tag::Param,
            "fault" => Tag::Fault,
            _ => return None,
        })
    }
}

/// A piece of markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Open(Tag),
    Close(Tag),
    End,
}

/// The stream of tokens of one answer.
pub(super) struct Tokens<R> {
    reader: Reader<TokenMeter<R>>,
    limits: Limits,
    /// The bytes of the present token.
    event: Vec<u8>,
    /// The character data before the token last read.
    text: String,
    /// The name of the present member.
    key: Vec<u8>,
    /// The second half of an empty element.
    pending: Option<Tag>,
    depth: u32,
}

impl<R: BufRead> Tokens<R> {
    pub(super) fn new(reader: R, limits: Limits) -> Self {
        Self {
            reader: Reader::from_reader(TokenMeter::new(reader, limits)),
            limits,
            event: Vec::new(),
            text: String::new(),
            key: Vec::new(),
            pending: None,
            depth: 0,
        }
    }

    /// The error for what is not XenAPI, with the place.
    pub(super) fn malformed(&self, what: &str) -> DecodeError {
        DecodeError::Malformed(format!("{what} (before byte {})", self.reader.get_ref().position()))
    }

    pub(super) fn unexpected(&self, found: Token, wanted: &str) -> DecodeError {
        self.malformed(&match found {
            Token::Open(tag) => format!("element {tag:?} where {wanted} belongs"),
            Token::Close(tag) => format!("the end of {tag:?} where {wanted} belongs"),
            Token::End => format!("the end of the answer where {wanted} belongs"),
        })
    }

    /// The character data before the token last read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The name of the present member.
    pub(super) fn key(&self) -> &str {
        // Checked when it was read.
        std::str::from_utf8(&self.key).unwrap_or_default()
    }

    /// One nesting level further in.
    pub(super) fn enter(&mut self) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > self.limits.depth() { Err(DecodeError::TooLarge(meter::deep(self.limits))) } else { Ok(()) }
    }

    /// One nesting level out.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The next markup, with the character data before it left in [`Tokens::text`].
    pub(super) fn next(&mut self) -> Result<Token, DecodeError> {
        self.text.clear();
        if let Some(tag) = self.pending.take() {
            return Ok(Token::Close(tag));
        }
        loop {
            self.event.clear();
            self.reader.get_mut().begin_token();
            let event = self.reader.read_event_into(&mut self.event).map_err(xml_error)?;
            match event {
                Event::Text(text) => self.text.push_str(&text.into_inner()),
                Event::CData(text) => self.text.push_str(&text.into_inner()),
                Event::GeneralRef(reference) => self.text.push(character(&reference)?),
                Event::Start(start) => return Tag::of(start.name().0).map(Token::Open).ok_or_else(|| unknown(start.name().0)),
                Event::Empty(start) => {
                    let tag = Tag::of(start.name().0).ok_or_else(|| unknown(start.name().0))?;
                    self.pending = Some(tag);
                    return Ok(Token::Open(tag));
                }
                Event::End(end) => return Tag::of(end.name().0).map(Token::Close).ok_or_else(|| unknown(end.name().0)),
                Event::Eof => return Ok(Token::End),
                Event::DocType(_) => return Err(DecodeError::Malformed("a document type".to_owned())),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            }
            if self.text.len() > self.limits.text {
                return Err(DecodeError::TooLarge(meter::long_text(self.limits)));
            }
        }
    }

    /// The next markup, where no character data may stand.
    pub(super) fn markup(&mut self) -> Result<Token, DecodeError> {
        let token = self.next()?;
        if self.text_is_blank() { Ok(token) } else { Err(self.malformed("text where an element belongs")) }
    }

    pub(super) fn text_is_blank(&self) -> bool {
        self.text.bytes().all(|b| b.is_ascii_whitespace())
    }

    pub(super) fn expect_open(&mut self, tag: Tag) -> Result<(), DecodeError> {
        match self.markup()? {
            Token::Open(found) if found == tag => Ok(()),
            token => Err(self.unexpected(token, &format!("element {tag:?}"))),
        }
    }

    pub(super) fn expect_close(&mut self, tag: Tag) -> Result<(), DecodeError> {
        match self.markup()? {
            Token::Close(found) if found == tag => Ok(()),
            token => Err(self.unexpected(token, &format!("the end of {tag:?}"))),
        }
    }

    pub(super) fn expect_end(&mut self) -> Result<(), DecodeError> {
        match self.markup()? {
            Token::End => Ok(()),
            token => Err(self.unexpected(token, "the end of the answer")),
        }
    }

    /// What a value begins with, after its opening tag; a bare text is read to the end of the value.
    pub(super) fn head(&mut self) -> Result<Head, DecodeError> {
        match self.next()? {
            Token::Close(Tag::Value) => Ok(Head::Text),
            Token::Open(tag) if self.text_is_blank() => match tag {
                Tag::Struct => Ok(Head::Struct),
                Tag::Array => Ok(Head::Array),
                Tag::Text | Tag::Boolean | Tag::Int | Tag::Double | Tag::Nil => self.scalar(tag),
                tag => Err(self.unexpected(Token::Open(tag), "a value")),
            },
            token => Err(self.unexpected(token, "the end of a value")),
        }
    }

    /// A tagged scalar to the end of its value; its characters are left in [`Tokens::text`].
    fn scalar(&mut self, tag: Tag) -> Result<Head, DecodeError> {
        match self.next()? {
            Token::Close(found) if found == tag => {}
            token => return Err(self.unexpected(token, &format!("the end of {tag:?}"))),
        }
        let text = std::mem::take(&mut self.text);
        self.expect_close(Tag::Value)?;
        self.text = text;
        Ok(match tag {
            Tag::Boolean => Head::Boolean,
            Tag::Int => Head::Int,
            Tag::Double => Head::Double,
            Tag::Nil => Head::Nil,
            _ => Head::Text,
        })
    }

    /// In an array, after `<data>`: whether another value begins. At the end, everything up to the end of the value is read.
    pub(super) fn next_item(&mut self) -> Result<bool, DecodeError> {
        match self.markup()? {
            Token::Open(Tag::Value) => Ok(true),
            Token::Close(Tag::Data) => {
                self.expect_close(Tag::Array)?;
                Ok(false)
            }
            token => Err(self.unexpected(token, "a value")),
        }
    }

    /// In a struct: whether another member begins. Its name is then in [`Tokens::key`] and its value is opened.
    pub(super) fn next_member(&mut self) -> Result<bool, DecodeError> {
        match self.markup()? {
            Token::Open(Tag::Member) => {
                self.expect_open(Tag::Name)?;
                self.name()?;
                self.expect_open(Tag::Value)?;
                Ok(true)
            }
            Token::Close(Tag::Struct) => Ok(false),
            token => Err(self.unexpected(token, "a member")),
        }
    }

    pub(super) fn end_member(&mut self) -> Result<(), DecodeError> {
        self.expect_close(Tag::Member)
    }

    /// Reads the name of a member up to and with its closing tag, as raw bytes.
    pub(super) fn name(&mut self) -> Result<(), DecodeError> {
        self.key.clear();
        if self.pending != Some(Tag::Name) {
            self.reader.get_mut().begin_token();
            self.raw_name()?;
            if self.key.len() > self.limits.text {
                return Err(DecodeError::TooLarge(meter::long_text(self.limits)));
            }
            if std::str::from_utf8(&self.key).is_err() {
                return Err(self.malformed("the name of a member is not UTF-8"));
            }
        }
        self.expect_close(Tag::Name)
    }

    /// Collects the name, and leaves the reader before `</name>`.
    fn raw_name(&mut self) -> Result<(), DecodeError> {
        let mut stream = self.reader.stream();
        loop {
            let available = stream.fill_buf().map_err(meter::io_error)?;
            if available.is_empty() {
                return Err(DecodeError::Malformed("the answer ends within the name of a member".to_owned()));
            }
            let run = available.iter().position(|b| *b == b'<').unwrap_or(available.len());
            self.key.extend_from_slice(&available[..run]);
            if run == available.len() {
                stream.consume(run);
                continue;
            }
            let plain = available[run..].strip_prefix(NAME_END).is_some_and(|rest| rest.starts_with(VALUE_START));
            stream.consume(run);
            if plain || ends_name(stream.get_mut())? {
                return Ok(());
            }
            // A `<` of the key itself.
            self.key.push(b'<');
            stream.consume(1);
        }
    }
}

/// Whether the name ends at the `<` that comes next: looks at the bytes from there on, across the ends of buffers, and gives them
/// back. Blanks may stand between the end of the name and the value.
fn ends_name<R: BufRead>(meter: &mut TokenMeter<R>) -> Result<bool, DecodeError> {
    let mut seen: Vec<u8> = Vec::new();
    let mut matched = 0;
    let wanted: Vec<u8> = [NAME_END, VALUE_START].concat();
    while matched < wanted.len() {
        let mut byte = [0];
        if meter.read(&mut byte).map_err(meter::io_error)? == 0 {
            break;
        }
        seen.push(byte[0]);
        if byte[0] == wanted[matched] {
            matched += 1;
        } else if matched != NAME_END.len() || !byte[0].is_ascii_whitespace() {
            break;
        }
    }
    meter.give_back(&seen);
    Ok(matched == wanted.len())
}

/// The character that a reference stands for: one of the five of XML, or a number.
fn character(reference: &BytesRef<'_>) -> Result<char, DecodeError> {
    if let Some(c) = reference.resolve_char_ref().map_err(xml_error)? {
        return Ok(c);
    }
    Ok(match &*reference.borrow().into_inner() {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        name => return Err(DecodeError::Malformed(format!("the entity {}", excerpt(name)))),
    })
}

fn unknown(name: &str) -> DecodeError {
    DecodeError::Malformed(format!("element {} is not XML-RPC", excerpt(name)))
}

/// The beginning of a text from outside, for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

fn xml_error(error: quick_xml::Error) -> DecodeError {
    match error {
        quick_xml::Error::Io(error) => meter::io_error(
            std::sync::Arc::try_unwrap(error).unwrap_or_else(|shared| std::io::Error::new(shared.kind(), shared.to_string())),
        ),
        other => DecodeError::Malformed(excerpt(&other.to_string())),
    }
}
