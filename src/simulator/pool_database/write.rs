//! A database to XML, row by row.

use std::io::{self, Write};

use super::{Blanks, Kept, KeptRow, KeptTable, NOT_PERSISTENT, columns, schema, spaces};
use crate::simulator::database::{Database, Row};
use crate::simulator::model::{Class, Model, Release, release};
use crate::simulator::sexpr::{self, Quotes};
use crate::simulator::value::{Ref, Text};

/// Writes the database as `shown` does. What was loaded keeps its tables, columns and manifest.
///
/// # Errors
/// Those of `to`.
pub fn dump(database: &Database, kept: &Kept, shown: Release, to: &mut impl Write) -> io::Result<()> {
    let quotes = Quotes::of(shown);
    let usual = if quotes == Quotes::Both { Blanks::Pairs } else { Blanks::Each };
    let mut writer = Writer { database, kept, shown, quotes, blanks: kept.blanks.unwrap_or(usual), to };
    writer.whole()
}

struct Writer<'a, W> {
    database: &'a Database,
    kept: &'a Kept,
    shown: Release,
    quotes: Quotes,
    blanks: Blanks,
    to: &'a mut W,
}

/// A column and where its text comes from.
struct Column {
    name: Text,
    source: Source,
}

enum Source {
    Reference,
    Born,
    Changed,
    Field(usize),
    /// A text that is the same in every row that does not keep its own.
    Constant(&'static str),
}

impl<W: Write> Writer<'_, W> {
    fn whole(&mut self) -> io::Result<()> {
        if self.quotes == Quotes::Single {
            self.to.write_all(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")?;
        }
        self.to.write_all(b"<database>")?;
        self.manifest()?;
        for table in self.tables() {
            self.table(&table)?;
        }
        self.to.write_all(b"</database>")
    }

    fn manifest(&mut self) -> io::Result<()> {
        let generation = self.database.generation().to_string();
        let mut pairs = self.kept.manifest.clone();
        if pairs.is_empty() {
            pairs.push(("schema_major_vsn".to_owned(), schema::MAJOR.to_string()));
            pairs.push(("schema_minor_vsn".to_owned(), schema::minor_of(self.shown).to_string()));
            pairs.push(("generation_count".to_owned(), String::new()));
        }
        self.to.write_all(b"<manifest>")?;
        for (key, value) in &pairs {
            // A generation of 0 was never written by anybody; one that was read so is left.
            let is_count = key == "generation_count" && !(value == "0" && generation == "1");
            let value = if is_count { &generation } else { value };
            self.to.write_all(b"<pair")?;
            self.attribute("key", key, None)?;
            self.attribute("value", value, None)?;
            self.to.write_all(b"/>")?;
        }
        self.to.write_all(b"</manifest>")
    }

    /// The tables to write: those that were loaded, else those of the release, by name.
    fn tables(&self) -> Vec<KeptTable> {
        let mut tables = self.kept.tables.clone();
        let known = |name: &str| self.kept.tables.iter().any(|table| &*table.name == name);
        let missing = Model::get().classes().iter().filter(|class| class.since <= self.shown && !known(&class.name));
        let missing = missing.filter(|class| tables.is_empty() || self.database.count(&class.name) > 0);
        let mut missing: Vec<Text> = missing.filter(|class| is_table(class)).map(|class| class.name.as_str().into()).collect();
        missing.sort();
        tables.extend(missing.into_iter().map(|name| KeptTable { name, columns: Vec::new(), strangers: Vec::new() }));
        tables
    }

    fn table(&mut self, table: &KeptTable) -> io::Result<()> {
        self.to.write_all(b"<table")?;
        self.attribute("name", &table.name, None)?;
        let class = Model::get().class(&table.name).filter(|class| !NOT_PERSISTENT.contains(&&*class.name));
        let rows = class.map_or(0, |class| self.database.count(&class.name)) + table.strangers.len();
        if rows == 0 {
            return self.to.write_all(b"/>");
        }
        self.to.write_all(b">")?;
        for cells in &table.strangers {
            self.stranger(cells)?;
        }
        if let Some(class) = class {
            let columns = self.columns(class, table);
            for (reference, row) in self.database.rows(&class.name) {
                self.row(class, &columns, reference, row)?;
            }
        }
        self.to.write_all(b"</table>")
    }

    fn columns(&self, class: &Class, table: &KeptTable) -> Vec<Column> {
        let mut names = table.columns.clone();
        if names.is_empty() {
            let stored = class.fields.iter().filter(|field| columns::stored(field, self.shown));
            names.extend(stored.map(|field| columns::name(&field.name).into()));
            names.extend(columns::hidden(&class.name, self.shown).map(|(name, _)| name.into()));
            names.extend(["ref".into(), "_ref".into()]);
            // Generations of rows are in dumps since 6.1, and not in those of 5.6 FP1.
            if self.shown >= release("boston") {
                names.extend(["__ctime".into(), "__mtime".into()]);
            }
        }
        names.sort_by_key(|name| (&**name != "ref", !name.starts_with("__"), name.clone()));
        names.into_iter().map(|name| Column { source: source(class, &name), name }).collect()
    }

    fn stranger(&mut self, cells: &[(Text, String)]) -> io::Result<()> {
        self.to.write_all(b"<row")?;
        for (name, text) in cells {
            self.attribute(name, text, Some(self.blanks))?;
        }
        self.to.write_all(b"/>")
    }

    fn row(&mut self, class: &Class, columns: &[Column], reference: &Ref, row: &Row) -> io::Result<()> {
        let kept = self.kept.row(&class.name, reference);
        self.to.write_all(b"<row")?;
        for column in columns {
            if kept.is_some_and(|kept| kept.absent.contains(&column.name)) {
                continue;
            }
            let text = self.cell(class, column, reference, row, kept);
            self.attribute(&column.name, &text, Some(self.blanks))?;
        }
        self.to.write_all(b"/>")
    }

    fn cell(&self, class: &Class, column: &Column, reference: &Ref, row: &Row, kept: Option<&KeptRow>) -> String {
        let verbatim = kept.and_then(|kept| kept.verbatim.iter().find(|(name, _)| *name == column.name));
        match column.source {
            Source::Reference => reference.to_string(),
            Source::Born => verbatim.map_or_else(|| row.created.to_string(), |(_, text)| text.clone()),
            Source::Changed => {
                let still = verbatim.filter(|_| row.modified <= self.kept.generation);
                still.map_or_else(|| row.modified.to_string(), |(_, text)| text.clone())
            }
            Source::Constant(usual) => verbatim.map_or(usual, |(_, text)| text).to_owned(),
            Source::Field(at) => {
                let value = row.value(at);
                let kind = &class.fields[at].kind;
                let stands_for = |text| sexpr::decode(kind, text).unwrap_or_else(|_| sexpr::salvage(kind, text));
                let still = verbatim.filter(|(_, text)| stands_for(text) == *value);
                still.map_or_else(|| sexpr::encode(value, self.quotes), |(_, text)| text.clone())
            }
        }
    }

    fn attribute(&mut self, name: &str, text: &str, blanks: Option<Blanks>) -> io::Result<()> {
        let text = blanks.map_or(text.into(), |blanks| spaces::protect(text, blanks));
        write!(self.to, " {name}=\"")?;
        let mut rest = &*text;
        while let Some(at) = rest.find(['&', '<', '>', '"']) {
            self.to.write_all(&rest.as_bytes()[..at])?;
            self.to.write_all(match rest.as_bytes()[at] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                _ => b"&quot;",
            })?;
            rest = &rest[at + 1..];
        }
        self.to.write_all(rest.as_bytes())?;
        self.to.write_all(b"\"")
    }
}

fn source(class: &Class, name: &str) -> Source {
    match name {
        "ref" | "_ref" => Source::Reference,
        "__ctime" => Source::Born,
        "__mtime" => Source::Changed,
        _ => match class.column(&columns::field(name)) {
            Some(at) => Source::Field(at),
            None => {
                let hidden = columns::hidden(&class.name, Release::NEWEST).find(|(hidden, _)| *hidden == name);
                Source::Constant(hidden.map_or("", |(_, usual)| usual))
            }
        },
    }
}

/// Classes without objects of their own (`auth`, `event`, `message`) have no table.
fn is_table(class: &Class) -> bool {
    !class.fields.is_empty() && !matches!(&*class.name, "message" | "event")
}
