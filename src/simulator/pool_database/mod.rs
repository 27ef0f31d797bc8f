//! The XML text of a pool's database, as `xe pool-dump-database` writes it and as the server keeps it on disk.
//!
//! The rule: what was loaded can be written again without loss. Tables and columns that the model does not know, and spellings that
//! this program would not choose, are kept beside the database ([`Kept`]) and come back in the same place as long as nobody changed
//! the value they stand for. Sessions and tasks are in no dump and are not loaded.

pub mod columns;
mod error;
mod load;
mod read;
mod schema;
mod spaces;
mod write;

use std::collections::HashMap;

pub use error::{Damage, LoadError};
pub use load::{Loaded, load};
pub use schema::{minor_of, release_of};
pub use spaces::Blanks;
pub use write::dump;

use super::value::{Ref, Text};

/// Tables whose rows are never written out (the server's `PersistNothing`).
pub const NOT_PERSISTENT: [&str; 2] = ["session", "task"];

/// What a loaded database held that has no place in the model.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The manifest's pairs in order.
    pub manifest: Vec<(String, String)>,
    /// The tables in order.
    tables: Vec<KeptTable>,
    /// What is special about single rows, by class and reference.
    rows: HashMap<(Text, Ref), KeptRow>,
    /// How blanks are written; none: as the release does.
    blanks: Option<Blanks>,
    /// The generation it was loaded at.
    generation: u64,
}

#[derive(Debug, Clone)]
struct KeptTable {
    name: Text,
    /// The columns in order of first appearance; empty when the table had no rows.
    columns: Vec<Text>,
    /// Rows of a table that the model does not know, attribute by attribute.
    strangers: Vec<Vec<(Text, String)>>,
}

#[derive(Debug, Clone, Default)]
struct KeptRow {
    /// Texts of columns that are unknown to the model, or spelled unusually.
    verbatim: Vec<(Text, String)>,
    /// Columns of the table that this row lacks.
    absent: Vec<Text>,
}

impl Kept {
    /// A value of the manifest.
    pub fn manifest_value(&self, key: &str) -> Option<&str> {
        self.manifest.iter().find(|(k, _)| k == key).map(|(_, value)| &**value)
    }

    /// The address in `pool_conf`, for a database that a pool member wrote; it is the address of its master.
    pub fn written_by_member_of(&self) -> Option<&str> {
        self.manifest_value("pool_conf")?.strip_prefix("slave:")
    }

    fn row(&self, class: &str, reference: &Ref) -> Option<&KeptRow> {
        // An empty map is asked once per row of a large pool: do not build keys for it.
        if self.rows.is_empty() { None } else { self.rows.get(&(Text::from(class), reference.clone())) }
    }
}

#[cfg(test)]
mod tests;
