//! The keys of both files as a table: what the JSON Schema and the manual are made from.
//!
//! The readers beside this module decide what is right; this table only tells. So that it cannot tell anything else,
//! `tests/config/schema.rs` asks the readers about every block, key, word, bound and default in it.

mod json;
mod main_file;
mod policy_file;

use serde_json::Value as Json;

pub use main_file::CONFIG;
pub use policy_file::POLICIES;

/// A table of a file.
#[derive(Debug)]
pub struct Block {
    /// What it is called where it is referred to.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its keys, in groups that other blocks may share.
    pub keys: &'static [&'static [Key]],
    /// Keys of which exactly one must be there; none: no such rule.
    pub one_of: &'static [&'static str],
}

impl Block {
    /// All keys, in the order in which they are told.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().flatten()
    }
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// Whether it must be there.
    pub need: Need,
    /// What counts without it, in TOML; empty: nothing does.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It may be left out.
    None,
    /// It must stand in its table.
    Always,
    /// A policy must have it, but may have it from a template.
    OrInherited,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Number(u32, u32),
    /// A text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text or a list of texts.
    Texts,
    /// The same, or a number.
    TextsOrNumber,
    /// A table with names of people's own and texts.
    Map,
    /// A table.
    Table(&'static Block),
    /// A list of tables.
    Tables(&'static Block),
    /// A table with names of people's own and such tables.
    Named(&'static Block),
}

impl Shape {
    /// What the value is, for people.
    pub fn told(self) -> String {
        match self {
            Shape::Flag => "true or false".to_owned(),
            Shape::Number(from, to) => format!("a number from {from} to {to}"),
            Shape::Text => "text".to_owned(),
            Shape::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
            Shape::Texts => "text, or a list of texts".to_owned(),
            Shape::TextsOrNumber => "text, a number, or a list of texts".to_owned(),
            Shape::Map => "a table of texts".to_owned(),
            Shape::Table(_) => "a table".to_owned(),
            Shape::Tables(_) => "a list of tables".to_owned(),
            Shape::Named(_) => "a table of tables".to_owned(),
        }
    }

    /// The block within.
    pub fn block(self) -> Option<&'static Block> {
        match self {
            Shape::Table(block) | Shape::Tables(block) | Shape::Named(block) => Some(block),
            _ => None,
        }
    }
}

/// The JSON Schema (draft 7, which editors know) of a file, one line after another and with an end of line.
pub fn json_schema(file: &'static Block) -> String {
    let schema: Json = json::schema(file);
    format!("{schema:#}\n")
}

/// A key that may be left out.
const fn may(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
    Key { name, shape, need: Need::None, default, about }
}

/// A key that must be there.
const fn must(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, need: Need::Always, default: "", about }
}

/// A key that must be there unless it is inherited.
const fn needed(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, need: Need::OrInherited, default: "", about }
}

/// A block without a rule about one of several keys.
const fn block(name: &'static str, about: &'static str, keys: &'static [&'static [Key]]) -> Block {
    Block { name, about, keys, one_of: &[] }
}
