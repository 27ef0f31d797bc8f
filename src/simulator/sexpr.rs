//! The server's text for values in its database: sets as `('a' 'b')`, maps as `(('key' 'value'))`, and a VM's whole row as the text
//! that a snapshot carries in `snapshot_metadata`.
//!
//! The rule: what the server wrote can be read, and what is written here is what the server would have written, byte for byte.
//! Scalars are bare text. Inside an atom a backslash stands before a quote and before itself; releases up to 8.0 put one before
//! a double quote too (seen in the databases of 5.5 to 6.1, not in those of 26.17). Nothing here recurses: nesting is bounded.

use super::database::{Database, Row};
use super::model::{Class, Model, Release, Type, release};
use super::pool_database::columns;
use super::value::{Text, Value};

/// The deepest nesting that is read; the server's own values need two.
const DEEPEST: usize = 32;

/// Text that is no s-expression, or not one of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at} of an s-expression")]
pub struct Malformed {
    /// What is wrong.
    pub reason: &'static str,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// An s-expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sexp {
    /// `'text'`, `"text"` or a bare word.
    Atom(String),
    /// `(... ...)`.
    List(Vec<Sexp>),
}

/// Which quotes get a backslash inside an atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// Single and double ones: releases up to 8.0.
    Both,
    /// Only single ones.
    Single,
}

impl Quotes {
    /// What a release does. Known for 5.5, 5.6, 6.1 (both) and 26.17 (single); the release in between where it changed is a guess.
    pub fn of(shown: Release) -> Self {
        if shown < release("quebec") { Quotes::Both } else { Quotes::Single }
    }
}

/// Reads one s-expression; white space around it is allowed, anything else is not.
///
/// # Errors
/// [`Malformed`].
pub fn parse(text: &str) -> Result<Sexp, Malformed> {
    let mut open = Vec::new();
    parse_into(text, &mut open)
}

/// Parses `text`; lists that were open when it failed are left in `open`, the outermost first.
fn parse_into(text: &str, open: &mut Vec<Vec<Sexp>>) -> Result<Sexp, Malformed> {
    let mut reader = Reader { text, at: 0 };
    loop {
        reader.skip_space();
        let done = match reader.peek() {
            None => return Err(reader.fail("the text ends too early")),
            Some('(') => {
                if open.len() == DEEPEST {
                    return Err(reader.fail("too many lists inside one another"));
                }
                reader.at += 1;
                open.push(Vec::new());
                continue;
            }
            Some(')') => {
                reader.at += 1;
                Sexp::List(open.pop().ok_or_else(|| reader.fail("a list ends that never began"))?)
            }
            Some(_) => Sexp::Atom(reader.atom()?),
        };
        match open.last_mut() {
            Some(list) => list.push(done),
            None => return reader.end().map(|()| done),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fail(&self, reason: &'static str) -> Malformed {
        Malformed { reason, at: self.at }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn end(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fail("something follows the end")) }
    }

    fn atom(&mut self) -> Result<String, Malformed> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => Ok(self.word()),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Malformed> {
        let mut out = String::new();
        let mut chars = self.text[self.at + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) => out.push(escaped),
                    None => break,
                },
                c if c == quote => {
                    self.at += 1 + offset + 1;
                    return Ok(out);
                }
                c => out.push(c),
            }
        }
        Err(self.fail("a quoted text never ends"))
    }

    fn word(&mut self) -> String {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| c.is_whitespace() || "()'\"".contains(c)).unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_owned()
    }
}

/// Writes an s-expression as the server does.
pub fn write(sexp: &Sexp, quotes: Quotes) -> String {
    let mut out = String::new();
    write_into(&mut out, sexp, quotes);
    out
}

fn write_into(out: &mut String, sexp: &Sexp, quotes: Quotes) {
    match sexp {
        Sexp::Atom(text) => write_atom(out, text, quotes),
        Sexp::List(items) => write_list(out, items, |out, item| write_into(out, item, quotes)),
    }
}

fn write_list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut one: impl FnMut(&mut String, T)) {
    out.push('(');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        one(out, item);
    }
    out.push(')');
}

fn write_atom(out: &mut String, text: &str, quotes: Quotes) {
    out.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') || (c == '"' && quotes == Quotes::Both) {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('\'');
}

/// The database's text for a value: scalars bare, sets and maps as s-expressions.
pub fn encode(value: &Value, quotes: Quotes) -> String {
    match value {
        Value::Str(text) | Value::Date(text) => text.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Int32(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Set(items) => {
            let mut out = String::new();
            write_list(&mut out, items, |out, item| write_atom(out, &encode(item, quotes), quotes));
            out
        }
        Value::Map(members) => {
            let mut out = String::new();
            write_list(&mut out, members, |out, (key, item)| {
                write_list(out, [&**key, &encode(item, quotes)], |out, text| write_atom(out, text, quotes));
            });
            out
        }
    }
}

/// The value of a type that the database's text stands for. The empty text is an empty set or map, as the server reads it.
///
/// # Errors
/// [`Malformed`], with the position inside `text`.
pub fn decode(kind: &Type, text: &str) -> Result<Value, Malformed> {
    let wrong = |reason| Malformed { reason, at: 0 };
    Ok(match kind {
        Type::Int => Value::Int(text.trim().parse().map_err(|_| wrong("an integer was expected"))?),
        Type::Float => Value::Float(text.trim().parse().map_err(|_| wrong("a number was expected"))?),
        Type::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(wrong("true or false was expected")),
        },
        Type::DateTime => Value::Date(text.into()),
        Type::Set(item) => Value::Set(list(text)?.iter().map(|one| decode(item, atom(one)?)).collect::<Result<_, _>>()?),
        Type::Map(_, item) => Value::Map(list(text)?.iter().map(|pair| member(item, pair)).collect::<Result<_, _>>()?),
        Type::String | Type::Void | Type::Enum(_) | Type::Ref(_) | Type::Record(_) | Type::Option(_) => Value::str(text),
    })
}

/// What can be read of a damaged text: the members of a set or map that are whole, nothing of anything else.
pub fn salvage(kind: &Type, text: &str) -> Value {
    let mut open = Vec::new();
    let whole = match parse_into(text, &mut open) {
        Ok(Sexp::List(items)) => items,
        _ => open.into_iter().next().unwrap_or_default(),
    };
    match kind {
        Type::Set(item) => Value::Set(whole.iter().filter_map(|one| decode(item, atom(one).ok()?).ok()).collect()),
        Type::Map(_, item) => Value::Map(whole.iter().filter_map(|pair| member(item, pair).ok()).collect()),
        _ => kind.zero(),
    }
}

fn list(text: &str) -> Result<Vec<Sexp>, Malformed> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    match parse(text)? {
        Sexp::List(items) => Ok(items),
        Sexp::Atom(_) => Err(Malformed { reason: "a list was expected", at: 0 }),
    }
}

fn atom(sexp: &Sexp) -> Result<&str, Malformed> {
    match sexp {
        Sexp::Atom(text) => Ok(text),
        Sexp::List(_) => Err(Malformed { reason: "a text was expected instead of a list", at: 0 }),
    }
}

fn member(kind: &Type, pair: &Sexp) -> Result<(Text, Value), Malformed> {
    match pair {
        Sexp::List(both) if both.len() == 2 => Ok((atom(&both[0])?.into(), decode(kind, atom(&both[1])?)?)),
        _ => Err(Malformed { reason: "a pair of key and value was expected", at: 0 }),
    }
}

/// The text that `VM.snapshot_metadata` carries: the VM's row with every column that `shown` has, in descending order of the
/// columns' names, as the server writes it (26.17 and 6.1 agree).
///
/// Empty when there is no such VM.
pub fn metadata(database: &Database, vm: &str, shown: Release) -> Text {
    let (Some(class), Ok(row)) = (Model::get().class("VM"), database.row("VM", vm)) else { return "".into() };
    let quotes = Quotes::of(shown);
    let mut cells = row_cells(class, vm, row, shown);
    cells.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut out = String::new();
    write_list(&mut out, cells, |out, (name, value)| {
        write_list(out, [name, encode(&value, quotes)], |out, text| write_atom(out, &text, quotes));
    });
    out.into()
}

fn row_cells(class: &Class, reference: &str, row: &Row, shown: Release) -> Vec<(String, Value)> {
    let fields = class.fields.iter().enumerate().filter(|(_, field)| columns::stored(field, shown));
    let known = fields.map(|(at, field)| (columns::name(&field.name), row.value(at).clone()));
    let hidden = columns::hidden(&class.name, shown).map(|(name, text)| (name.to_owned(), Value::str(text)));
    known.chain(hidden).chain([("_ref".to_owned(), Value::str(reference))]).collect()
}

/// The fields of a VM's row that a `snapshot_metadata` holds, by wire name; columns that this program does not know are left out.
///
/// # Errors
/// [`Malformed`]; the empty text, which snapshots made before 5.6 have, gives no fields.
pub fn parse_metadata(text: &str) -> Result<Vec<(&'static str, Value)>, Malformed> {
    let Some(class) = Model::get().class("VM") else { return Ok(Vec::new()) };
    let mut fields = Vec::new();
    for pair in list(text)? {
        let (column, value) = member(&Type::String, &pair)?;
        let field = class.field(&columns::field(&column));
        if let (Some(field), Some(text)) = (field, value.as_text()) {
            fields.push((field.name.as_str(), decode(&field.kind, text)?));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::value::NULL;
    use proptest::prelude::*;

    fn texts() -> Type {
        Type::Map(Box::new(Type::String), Box::new(Type::String))
    }

    #[test]
    fn a_map_is_written_as_the_server_writes_it() {
        let map = Value::pairs([("mac_seed", "58a1"), ("it's", "a \\ \"b\"")]);
        assert_eq!(encode(&map, Quotes::Single), r#"(('mac_seed' '58a1') ('it\'s' 'a \\ "b"'))"#);
        assert_eq!(encode(&map, Quotes::Both), r#"(('mac_seed' '58a1') ('it\'s' 'a \\ \"b\"'))"#);
        assert_eq!(encode(&Value::Set(vec![]), Quotes::Single), "()");
    }

    #[test]
    fn both_ways_of_quoting_are_read() {
        let expected = Value::pairs([("k", "a\"b")]);
        for text in [r#"(('k' 'a"b'))"#, r#"(('k' 'a\"b'))"#, r#"((k "a\"b"))"#] {
            assert_eq!(decode(&texts(), text).unwrap(), expected);
        }
    }

    #[test]
    fn malformed_text_is_an_error_that_names_the_place() {
        for text in ["(", ")", "('a'", "('a", "('a\\", "(('a'))", "('a' 'b') x", "('a')"] {
            assert!(decode(&texts(), text).is_err(), "{text}");
        }
        assert_eq!(parse("('a' 'b"), Err(Malformed { reason: "a quoted text never ends", at: 5 }));
        assert!(parse(&"(".repeat(1_000_000)).is_err());
    }

    #[test]
    fn whole_members_of_a_damaged_text_are_saved() {
        assert_eq!(salvage(&texts(), "(('a' 'b') ('c"), Value::pairs([("a", "b")]));
        assert_eq!(salvage(&Type::Set(Box::new(Type::String)), "('a' 'b' "), Value::texts(["a", "b"]));
        assert_eq!(salvage(&Type::Int, "('a'"), Value::Int(0));
    }

    #[test]
    fn metadata_holds_the_row_in_descending_order_and_reads_back() {
        let mut database = Database::new();
        let vm = [("name_label", Value::str("it's")), ("tags", Value::texts(["a b"])), ("memory_static_max", Value::Int(5))];
        database.create("VM", "OpaqueRef:vm", vm);
        let text = metadata(&database, "OpaqueRef:vm", Release::NEWEST);
        assert!(text.starts_with("(('xenstore_data' '()') ('version' '0')"), "{text}");
        assert!(text.contains(r"('tags' '(\'a b\')') ('suspend_VDI' 'OpaqueRef:NULL')"), "{text}");
        assert!(text.contains("('_ref' 'OpaqueRef:vm') ('VUSBs' '()')"), "{text}");
        let fields = parse_metadata(&text).unwrap();
        assert!(fields.contains(&("name_label", Value::str("it's"))));
        assert!(fields.contains(&("memory_static_max", Value::Int(5))));
        assert!(fields.contains(&("snapshot_of", Value::str(NULL))));
        assert!(!metadata(&database, "OpaqueRef:vm", release("6.1")).contains("is_vmss_snapshot"));
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back(members in proptest::collection::vec((".*", ".*"), 0..5)) {
            let map = Value::pairs(members);
            for quotes in [Quotes::Single, Quotes::Both] {
                prop_assert_eq!(decode(&texts(), &encode(&map, quotes)).unwrap(), map.clone());
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = decode(&texts(), &text);
            let _ = salvage(&texts(), &text);
            let _ = parse_metadata(&text);
        }
    }
}
