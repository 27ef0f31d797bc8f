//! The XVA format: a tar of `ova.xml` and the chunks of each disk with their checksums (05-operations 5.12).
//!
//! The rule: what is written is what the real server writes, byte for byte but for times; what is read may be written by anybody, so
//! every length is bounded and nothing is trusted. Both ends work piece by piece: memory does not grow with the size of a disk.

pub mod compress;
pub mod objects;
pub mod ova;
pub mod reader;
pub mod tar;
pub mod writer;

/// Bytes of a chunk.
pub const CHUNK: usize = 1 << 20;
