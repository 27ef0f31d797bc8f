//! Why a pool database cannot be loaded.

use crate::simulator::sexpr::Malformed;

/// A pool database that cannot be loaded. Positions are bytes from the start, because dumps are often one line.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the pool database cannot be read after byte {at}")]
    Unreadable {
        /// How far reading came.
        at: u64,
        /// Why.
        source: std::io::Error,
    },
    /// It is no XML, or not all of it.
    #[error("this is no complete XML at byte {at}: {reason}; dump the database again with xe pool-dump-database")]
    Xml {
        /// Where.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// It is XML, but no pool database.
    #[error("this is no pool database at byte {at}: {reason}; give a file that xe pool-dump-database wrote")]
    NoDatabase {
        /// Where.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The schema is not of a release that is known.
    #[error("the schema {major}.{minor} is of no release since 5.0; give --release to load it as another")]
    Schema {
        /// The major number.
        major: String,
        /// The minor number.
        minor: String,
    },
    /// What makes a pool is missing.
    #[error("the database has no {0}: it is incomplete; dump it again from the pool master")]
    Incomplete(&'static str),
}

/// A value that could not be read. The rest of the database is good, and dumping it again keeps the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, row {reference}, column {column} cannot be read: {source}")]
pub struct Damage {
    /// The table.
    pub table: String,
    /// The row.
    pub reference: String,
    /// The column.
    pub column: String,
    /// Why.
    pub source: Malformed,
}
