//! Tar as the real server writes it: the oldest form of headers, without a magic.

use super::reader::Broken;

/// Bytes of a block.
pub const BLOCK: usize = 512;
/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
const NAME: usize = 100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const LINK: usize = 156;

/// A header. Chunks of disks carry no time, that of `ova.xml` is when the export began.
pub fn header(name: &str, size: u64, modified: i64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let name = &name.as_bytes()[..name.len().min(NAME)];
    block[..name.len()].copy_from_slice(name);
    let fields = [
        (100, "0000400".to_owned()),
        (108, "0000000".to_owned()),
        (116, "0000000".to_owned()),
        (SIZE.start, format!("{size:011o}")),
        (136, format!("{:011o}", modified.max(0))),
    ];
    for (at, text) in fields {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum = format!("{:07o}", checksum(&block));
    block[CHECKSUM.start..CHECKSUM.start + sum.len()].copy_from_slice(sum.as_bytes());
    block
}

/// How many zeros follow an entry of this size.
pub fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// Adds an entry to a buffer.
pub fn entry(out: &mut Vec<u8>, name: &str, bytes: &[u8], modified: i64) {
    out.extend_from_slice(&header(name, bytes.len() as u64, modified));
    out.extend_from_slice(bytes);
    out.resize(out.len() + padding(bytes.len() as u64), 0);
}

fn checksum(block: &[u8; BLOCK]) -> u64 {
    block.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { 32 } else { u64::from(*byte) }).sum()
}

/// What a tar consists of.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// An entry begins: name and size.
    Entry(String, u64),
    /// Bytes of the entry.
    Data(&'a [u8]),
    /// The entry is over.
    EndOfEntry,
    /// The archive is over; whatever follows does not belong to it.
    End,
}

/// Reads a tar, piece by piece.
#[derive(Debug, Default)]
pub struct Untar {
    header: Vec<u8>,
    /// Bytes left of the entry, and of the zeros behind it.
    left: u64,
    padding: usize,
    inside: bool,
    over: bool,
}

impl Untar {
    /// The next piece, taken from the front of `input`; none when more input is needed.
    ///
    /// # Errors
    /// [`Broken`] when a header cannot be read.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Broken> {
        if self.over {
            *input = &[];
            return Ok(None);
        }
        if self.inside {
            return Ok(self.content(input));
        }
        let skipped = self.padding.min(input.len());
        self.padding -= skipped;
        let wanted = (BLOCK - self.header.len()).min(input.len() - skipped);
        let (_, rest) = input.split_at(skipped);
        let (taken, rest) = rest.split_at(wanted);
        self.header.extend_from_slice(taken);
        *input = rest;
        if self.header.len() < BLOCK { Ok(None) } else { self.begin().map(Some) }
    }

    /// True when everything that was begun is complete.
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn content<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        if self.left == 0 {
            self.inside = false;
            return Some(Piece::EndOfEntry);
        }
        if input.is_empty() {
            return None;
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(length);
        *input = rest;
        self.left -= length as u64;
        Some(Piece::Data(data))
    }

    fn begin<'a>(&mut self) -> Result<Piece<'a>, Broken> {
        let block: [u8; BLOCK] = std::mem::take(&mut self.header).try_into().map_err(|_| Broken::Header)?;
        if block.iter().all(|byte| *byte == 0) {
            self.over = true;
            return Ok(Piece::End);
        }
        let sum = octal(&block[CHECKSUM]).ok_or(Broken::Header)?;
        let size = octal(&block[SIZE]).ok_or(Broken::Header)?;
        if sum != checksum(&block) || !matches!(block[LINK], 0 | b'0') {
            return Err(Broken::Header);
        }
        let name = block[..NAME].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = str::from_utf8(name).map_err(|_| Broken::Header)?;
        (self.left, self.padding, self.inside) = (size, padding(size), true);
        Ok(Piece::Entry(name.to_owned(), size))
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = str::from_utf8(field).ok()?.trim_matches(|c: char| c == '\0' || c == ' ');
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(archive: &[u8], step: usize) -> Result<Vec<String>, Broken> {
        let (mut untar, mut seen) = (Untar::default(), Vec::new());
        for part in archive.chunks(step) {
            let mut input = part;
            while let Some(piece) = untar.next(&mut input)? {
                seen.push(match piece {
                    Piece::Entry(name, size) => format!("{name} {size}"),
                    Piece::Data(data) => String::from_utf8_lossy(data).into_owned(),
                    Piece::EndOfEntry => ".".to_owned(),
                    Piece::End => "end".to_owned(),
                });
            }
        }
        Ok(seen)
    }

    fn archive() -> Vec<u8> {
        let mut out = Vec::new();
        entry(&mut out, "ova.xml", b"<ova/>", 5);
        entry(&mut out, "Ref:1/00000000", b"", 0);
        out.extend_from_slice(&END);
        out
    }

    #[test]
    fn a_header_is_the_one_that_the_server_writes() {
        let block = header("ova.xml", 0o36513, 0o15300617564);
        assert_eq!(&block[100..136], b"0000400\x000000000\x000000000\x0000000036513\0");
        assert_eq!(&block[136..158], b"15300617564\x000006021\0\0\0");
    }

    #[test]
    fn an_archive_is_read_in_pieces_of_any_size() {
        let expected = ["ova.xml 6", "<ova/>", ".", "Ref:1/00000000 0", ".", "end"];
        assert_eq!(pieces(&archive(), 10_000).unwrap(), expected);
        let joined = |step| pieces(&archive(), step).unwrap().concat();
        assert_eq!(joined(1), expected.concat());
        assert_eq!(joined(513), expected.concat());
    }

    #[test]
    fn a_damaged_header_is_refused() {
        for at in [0, 100, 124, 148] {
            let mut archive = archive();
            archive[at] ^= 0x55;
            assert_eq!(pieces(&archive, 512), Err(Broken::Header), "{at}");
        }
    }
}
