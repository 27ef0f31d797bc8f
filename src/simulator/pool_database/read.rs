//! The database's XML to rows, one at a time: memory is bounded by the largest row.

use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::error::LoadError;
use super::spaces;

/// The longest run of text without a new element; a VM's row takes some 10 kB.
const LONGEST_ELEMENT: usize = 64 << 20;
/// The most attributes that an element may have; the VM table has about a hundred columns.
const MOST_ATTRIBUTES: usize = 1_000;

/// What was read.
#[derive(Debug)]
pub(super) enum Piece {
    /// A pair of the manifest.
    Pair(String, String),
    /// A table begins.
    Table(String),
    /// A row of the current table: its attributes in order.
    Row(Vec<(String, String)>),
}

/// Where in the document the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Database,
    Manifest,
    Table,
    /// Inside a `pair` or `row` that was not written as an empty element.
    Leaf,
    After,
}

/// Reads a dump, piece by piece.
pub(super) struct Pieces<R: BufRead> {
    reader: Reader<Guarded<R>>,
    buffer: Vec<u8>,
    place: Place,
    above: Place,
}

impl<R: BufRead> Pieces<R> {
    pub(super) fn new(from: R) -> Self {
        let mut reader = Reader::from_reader(Guarded { inner: from, run: 0 });
        reader.config_mut().trim_text(true);
        Self { reader, buffer: Vec::new(), place: Place::Outside, above: Place::Outside }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> u64 {
        self.reader.buffer_position()
    }

    /// The next piece; none at the end of a complete document.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, LoadError> {
        loop {
            self.buffer.clear();
            let mut buffer = std::mem::take(&mut self.buffer);
            let event = self.reader.read_event_into(&mut buffer);
            let piece = match event {
                Ok(Event::Start(element)) => self.opened(&element, false)?,
                Ok(Event::Empty(element)) => self.opened(&element, true)?,
                Ok(Event::End(_)) => self.closed(),
                Ok(Event::Eof) if self.place == Place::After => return Ok(None),
                Ok(Event::Eof) => return Err(self.xml("the document ends too early")),
                Ok(Event::Text(text)) if !text.trim().is_empty() => {
                    return Err(self.no_database("text outside of an attribute"));
                }
                Ok(Event::CData(_) | Event::GeneralRef(_) | Event::DocType(_)) => {
                    return Err(self.no_database("text outside of an attribute"));
                }
                Ok(_) => None,
                Err(quick_xml::Error::Io(source)) => return Err(self.io(&source)),
                Err(error) => return Err(self.xml(error.to_string())),
            };
            self.buffer = buffer;
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }

    fn opened(&mut self, element: &BytesStart<'_>, empty: bool) -> Result<Option<Piece>, LoadError> {
        let (inside, piece) = match (self.place, element.name().as_ref()) {
            (Place::Outside, "database") => (Place::Database, None),
            (Place::Database, "manifest") => (Place::Manifest, None),
            (Place::Manifest, "pair") => (Place::Leaf, Some(self.pair(element)?)),
            (Place::Database, "table") => (Place::Table, Some(self.table(element)?)),
            (Place::Table, "row") => (Place::Leaf, Some(Piece::Row(self.attributes(element)?))),
            (_, name) => {
                let name: String = name.chars().take(40).collect();
                return Err(self.no_database(format!("an unexpected element <{name}>")));
            }
        };
        let above = std::mem::replace(&mut self.place, inside);
        if inside == Place::Leaf {
            self.above = above;
        }
        if empty {
            self.closed();
        }
        Ok(piece)
    }

    /// The end of an element; the parser has already checked that it is the right one.
    fn closed(&mut self) -> Option<Piece> {
        self.place = match self.place {
            Place::Leaf => self.above,
            Place::Manifest | Place::Table => Place::Database,
            Place::Database | Place::Outside | Place::After => Place::After,
        };
        None
    }

    fn pair(&self, element: &BytesStart<'_>) -> Result<Piece, LoadError> {
        let mut attributes = self.attributes(element)?;
        let mut take = |name: &str| attributes.iter_mut().find(|(n, _)| n == name).map(|(_, value)| std::mem::take(value));
        match (take("key"), take("value")) {
            (Some(key), Some(value)) => Ok(Piece::Pair(key, value)),
            _ => Err(self.no_database("a pair of the manifest without key and value")),
        }
    }

    fn table(&self, element: &BytesStart<'_>) -> Result<Piece, LoadError> {
        let name = self.attributes(element)?.into_iter().find(|(name, _)| name == "name");
        name.map(|(_, name)| Piece::Table(name)).ok_or_else(|| self.no_database("a table without a name"))
    }

    fn attributes(&self, element: &BytesStart<'_>) -> Result<Vec<(String, String)>, LoadError> {
        let mut attributes = Vec::new();
        for attribute in element.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.xml(error.to_string()))?;
            if attributes.len() == MOST_ATTRIBUTES {
                return Err(self.no_database("an element with too many attributes"));
            }
            let text = quick_xml::escape::unescape(&attribute.value).map_err(|error| self.xml(error.to_string()))?;
            attributes.push((attribute.key.as_ref().to_owned(), text.into_owned()));
        }
        Ok(attributes)
    }

    fn xml(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Xml { at: self.at(), reason: reason.into() }
    }

    fn no_database(&self, reason: impl Into<String>) -> LoadError {
        LoadError::NoDatabase { at: self.at(), reason: reason.into() }
    }

    fn io(&self, source: &io::Error) -> LoadError {
        if source.kind() == io::ErrorKind::FileTooLarge {
            return self.no_database("an element that is too long");
        }
        LoadError::Unreadable { at: self.at(), source: io::Error::new(source.kind(), source.to_string()) }
    }
}

/// Shows the white space of an attribute; the caller decides where, because how it was hidden is worth knowing.
pub(super) fn shown(text: &str) -> String {
    spaces::unprotect(text).into_owned()
}

/// Stops a parser that would buffer an endless element.
struct Guarded<R> {
    inner: R,
    run: usize,
}

impl<R: BufRead> Read for Guarded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Guarded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.run > LONGEST_ELEMENT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = self.inner.fill_buf()?;
        Ok(bytes)
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(bytes) = self.inner.fill_buf() {
            let used = &bytes[..amount.min(bytes.len())];
            self.run = match used.iter().rposition(|byte| *byte == b'<') {
                Some(last) => used.len() - last,
                None => self.run + used.len(),
            };
        }
        self.inner.consume(amount);
    }
}
