//! The chunks of a disk: which are written, what they are called, and their checksums.

use sha1::{Digest, Sha1};
use xxhash_rust::xxh64::xxh64;

use super::tar;
use crate::simulator::model::{Release, release};

/// How chunks are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// `.checksum`: 40 digits of SHA-1.
    Sha1,
    /// `.xxhash`: 16 digits of XXH64, in capitals (8.1 and later).
    Xxhash,
}

impl Checksum {
    /// What a release writes.
    pub fn of(shown: Release) -> Self {
        if shown < release("quebec") { Checksum::Sha1 } else { Checksum::Xxhash }
    }

    /// The checksum that a file name's ending stands for.
    pub fn by_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "checksum" => Some(Checksum::Sha1),
            "xxhash" => Some(Checksum::Xxhash),
            _ => None,
        }
    }

    /// The ending of the file with the checksum.
    pub fn suffix(self) -> &'static str {
        match self {
            Checksum::Sha1 => "checksum",
            Checksum::Xxhash => "xxhash",
        }
    }

    /// The checksum's text.
    pub fn text(self, bytes: &[u8]) -> String {
        match self {
            Checksum::Sha1 => hex::encode(Sha1::digest(bytes)),
            Checksum::Xxhash => format!("{:016X}", xxh64(bytes, 0)),
        }
    }
}

/// Numbers the chunks of one disk. The first and the last are always written, others only when they hold anything but zeros.
#[derive(Debug)]
pub struct Chunks<'a> {
    disk: &'a str,
    checksum: Checksum,
    last: u64,
    /// How many numbers were spent on chunks without bytes.
    kept_alive: u64,
}

impl<'a> Chunks<'a> {
    /// The chunks of a disk that has `count` of them.
    pub fn new(disk: &'a str, checksum: Checksum, count: u64) -> Self {
        Self { disk, checksum, last: count.saturating_sub(1), kept_alive: 0 }
    }

    /// Whether the chunk at this place is written.
    pub fn is_written(&self, place: u64, zero: bool) -> bool {
        !zero || place == 0 || place == self.last
    }

    /// Adds a chunk and its checksum to a buffer.
    pub fn write(&self, out: &mut Vec<u8>, place: u64, bytes: &[u8]) {
        self.entries(out, place + self.kept_alive, bytes);
    }

    /// Adds a chunk without bytes, which tells a client that the server is still at it. It takes a number and no place.
    pub fn keep_alive(&mut self, out: &mut Vec<u8>, place: u64) {
        self.entries(out, place + self.kept_alive, b"");
        self.kept_alive += 1;
    }

    fn entries(&self, out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
        let name = format!("{}/{number:08}", self.disk);
        tar::entry(out, &name, bytes, 0);
        tar::entry(out, &format!("{name}.{}", self.checksum.suffix()), self.checksum.text(bytes).as_bytes(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_format() {
        assert_eq!(Checksum::Xxhash.text(b""), "EF46DB3751D8E999");
        assert_eq!(Checksum::Sha1.text(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn the_first_and_the_last_chunk_are_always_written() {
        let chunks = Chunks::new("Ref:1", Checksum::Xxhash, 4);
        assert_eq!([0, 1, 2, 3].map(|place| chunks.is_written(place, true)), [true, false, false, true]);
        assert!(chunks.is_written(1, false));
    }

    #[test]
    fn a_sign_of_life_takes_a_number_and_no_place() {
        let mut chunks = Chunks::new("Ref:1", Checksum::Sha1, 9);
        let mut out = Vec::new();
        chunks.keep_alive(&mut out, 3);
        chunks.write(&mut out, 3, b"x");
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.contains("Ref:1/00000003.checksum") && text.contains("Ref:1/00000004.checksum"));
    }
}
