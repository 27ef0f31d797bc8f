//! The XML text of a pool's database, as `xe pool-dump-database` writes it and as the server keeps it on disk.

pub mod columns;
