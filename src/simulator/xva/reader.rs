//! Reads an archive that somebody sends: what comes in order is handed on as steps, everything else is an error.

use std::collections::HashMap;

use super::compress::Decoder;
use super::tar::{Piece, Untar};
use super::writer::Checksum;
use crate::simulator::error::ApiError;
use crate::simulator::value::Text;

/// The longest `ova.xml`; that of a pool of thousands of VMs has some ten megabytes.
const LONGEST_OVA: u64 = 256 << 20;
/// The longest chunk; the server writes 1 MiB.
const LONGEST_CHUNK: u64 = 16 << 20;
const LONGEST_CHECKSUM: u64 = 128;

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A header is damaged.
    #[error("a header of the archive is damaged")]
    Header,
    /// The compressed stream is damaged.
    #[error("the compressed stream is damaged")]
    Compression,
    /// It ends too early.
    #[error("the archive ends too early")]
    TooShort,
    /// `ova.xml` cannot be used.
    #[error("ova.xml cannot be read: {0}")]
    Ova(String),
    /// It was written by a newer server.
    #[error("the archive was written by a newer server")]
    TooNew,
    /// A file is not where it should be.
    #[error("{found} stands where {expected} was expected")]
    Unexpected {
        /// What should come.
        expected: String,
        /// What came.
        found: String,
    },
}

impl Broken {
    /// The error that an import's task ends with.
    pub fn into_api_error(self) -> ApiError {
        match self {
            Broken::Header | Broken::Compression | Broken::TooShort => ApiError::bare("IMPORT_ERROR_PREMATURE_EOF"),
            Broken::TooNew => ApiError::bare("IMPORT_INCOMPATIBLE_VERSION"),
            Broken::Ova(_) => ApiError::new("IMPORT_ERROR", [self.to_string()]),
            Broken::Unexpected { expected, found } => ApiError::new("IMPORT_ERROR_UNEXPECTED_FILE", [expected, found]),
        }
    }
}

/// What an archive brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The objects.
    Ova(Vec<u8>),
    /// Bytes of a disk at an offset.
    Chunk {
        /// The disk's name.
        disk: Text,
        /// Where the bytes belong.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether they have their checksum.
        right: bool,
    },
    /// Nothing more.
    End,
}

/// Reads an archive, piece by piece.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    content: Content,
}

impl Reader {
    /// A reader; without `zstd` it takes zstd for something else, as older servers do.
    pub fn new(zstd: bool) -> Self {
        Self { decoder: Decoder::new(zstd), content: Content::default() }
    }

    /// Takes bytes as they come and hands on what is complete.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn feed(&mut self, bytes: &[u8], steps: &mut impl FnMut(Step)) -> Result<(), Broken> {
        let content = &mut self.content;
        self.decoder.feed(bytes, &mut |plain| content.feed(plain, steps))
    }

    /// The sender is done.
    ///
    /// # Errors
    /// [`Broken::TooShort`] when something is missing.
    pub fn finish(self, steps: &mut impl FnMut(Step)) -> Result<(), Broken> {
        let Self { decoder, mut content } = self;
        decoder.finish(&mut |plain| content.feed(plain, steps))?;
        if content.untar.is_over() { Ok(()) } else { Err(Broken::TooShort) }
    }

    /// True once the archive is complete.
    pub fn is_over(&self) -> bool {
        self.content.untar.is_over()
    }
}

#[derive(Debug, Default)]
struct Content {
    untar: Untar,
    entry: Option<Entry>,
    has_ova: bool,
    disks: HashMap<Text, Progress>,
    unchecked: Option<Unchecked>,
}

/// How far a disk has come.
#[derive(Debug, Default)]
struct Progress {
    /// The number of the chunk before.
    number: Option<u64>,
    /// Where the chunk before ended, counted in whole chunks.
    next: u64,
    /// Bytes of a whole chunk: those of the first.
    whole: u64,
}

/// A chunk whose checksum is still to come.
#[derive(Debug)]
struct Unchecked {
    name: String,
    disk: Text,
    offset: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    bytes: Vec<u8>,
}

impl Content {
    fn feed(&mut self, mut plain: &[u8], steps: &mut impl FnMut(Step)) -> Result<(), Broken> {
        while let Some(piece) = self.untar.next(&mut plain)? {
            match piece {
                Piece::Entry(name, size) => self.begin(name, size)?,
                Piece::Data(data) => {
                    if let Some(entry) = &mut self.entry {
                        entry.bytes.extend_from_slice(data);
                    }
                }
                Piece::EndOfEntry => self.end(steps)?,
                Piece::End if self.has_ova && self.unchecked.is_none() => steps(Step::End),
                Piece::End => return Err(Broken::TooShort),
            }
        }
        Ok(())
    }

    fn begin(&mut self, name: String, size: u64) -> Result<(), Broken> {
        let longest = match (self.has_ova, name.contains('.')) {
            (false, _) if name == "ova.xml" => LONGEST_OVA,
            (false, _) => return Err(Broken::Unexpected { expected: "ova.xml".to_owned(), found: name }),
            (true, true) => LONGEST_CHECKSUM,
            (true, false) => LONGEST_CHUNK,
        };
        if size > longest {
            let expected = format!("a file of at most {longest} bytes");
            return Err(Broken::Unexpected { expected, found: format!("{name} with {size} bytes") });
        }
        self.entry = Some(Entry { name, bytes: Vec::new() });
        Ok(())
    }

    fn end(&mut self, steps: &mut impl FnMut(Step)) -> Result<(), Broken> {
        let Some(Entry { name, bytes }) = self.entry.take() else { return Ok(()) };
        if !self.has_ova {
            self.has_ova = true;
            steps(Step::Ova(bytes));
            return Ok(());
        }
        let (expected, is_checksum) = match &self.unchecked {
            Some(chunk) => (format!("the checksum of {}", chunk.name), true),
            None => ("the chunk of a disk".to_owned(), false),
        };
        let unexpected = || Broken::Unexpected { expected, found: name.clone() };
        let (disk, file) = name.split_once('/').ok_or_else(unexpected.clone())?;
        match file.split_once('.') {
            None if !is_checksum => {
                let number = file.parse().map_err(|_| unexpected())?;
                self.unchecked = Some(self.chunk(disk, &name, number, bytes)?);
            }
            Some((_, suffix)) if is_checksum => {
                let checksum = Checksum::by_suffix(suffix).ok_or_else(unexpected.clone())?;
                steps(self.checked(&name, checksum, &bytes).ok_or_else(unexpected)?);
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    /// A gap in the numbers is so many chunks of zeros; a chunk without bytes takes a number and no place.
    fn chunk(&mut self, disk: &str, name: &str, number: u64, bytes: Vec<u8>) -> Result<Unchecked, Broken> {
        let progress = self.disks.entry(disk.into()).or_default();
        let expected = progress.number.map_or(0, |before| before + 1);
        let place = number
            .checked_sub(expected)
            .and_then(|gap| progress.next.checked_add(gap))
            .ok_or_else(|| Broken::Unexpected { expected: format!("{disk}/{expected:08}"), found: name.to_owned() })?;
        if progress.whole == 0 {
            progress.whole = bytes.len() as u64;
        }
        let offset = place.checked_mul(progress.whole).ok_or(Broken::Header)?;
        progress.number = Some(number);
        progress.next = place + u64::from(!bytes.is_empty());
        Ok(Unchecked { name: name.to_owned(), disk: disk.into(), offset, bytes })
    }

    /// The chunk that a checksum belongs to.
    fn checked(&mut self, name: &str, checksum: Checksum, said: &[u8]) -> Option<Step> {
        let Unchecked { name: chunk, disk, offset, bytes } = self.unchecked.take()?;
        let said = str::from_utf8(said).ok()?.trim();
        let right = said.eq_ignore_ascii_case(&checksum.text(&bytes));
        name.strip_prefix(&*chunk).is_some_and(|rest| rest.starts_with('.')).then_some(Step::Chunk { disk, offset, bytes, right })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tar::{END, entry};
    use super::super::writer::Chunks;
    use super::*;

    fn read(archive: &[u8]) -> Result<Vec<Step>, Broken> {
        let (mut reader, mut steps) = (Reader::new(true), Vec::new());
        for piece in archive.chunks(1000) {
            reader.feed(piece, &mut |step| steps.push(step))?;
        }
        reader.finish(&mut |step| steps.push(step)).map(|()| steps)
    }

    fn archive(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        entry(&mut out, "ova.xml", b"<value/>", 0);
        write(&mut out);
        out.extend_from_slice(&END);
        out
    }

    #[test]
    fn gaps_and_signs_of_life_lead_to_the_right_places() {
        let archive = archive(|out| {
            let mut chunks = Chunks::new("Ref:1", Checksum::Xxhash, 10);
            chunks.write(out, 0, b"aaaa");
            chunks.keep_alive(out, 3);
            chunks.write(out, 5, b"bbbb");
            chunks.write(out, 6, b"cc");
        });
        let offsets: Vec<u64> = read(&archive)
            .unwrap()
            .into_iter()
            .filter_map(|step| match step {
                Step::Chunk { offset, bytes, right, .. } => {
                    assert!(right);
                    (!bytes.is_empty()).then_some(offset)
                }
                _ => None,
            })
            .collect();
        assert_eq!(offsets, [0, 20, 24]);
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        let archive = archive(|out| {
            entry(out, "Ref:1/00000000", b"x", 0);
            entry(out, "Ref:1/00000000.checksum", b"0000000000000000000000000000000000000000", 0);
        });
        let wrong = Step::Chunk { disk: "Ref:1".into(), offset: 0, bytes: b"x".to_vec(), right: false };
        assert!(read(&archive).unwrap().contains(&wrong));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let whole = archive(|out| Chunks::new("Ref:1", Checksum::Sha1, 1).write(out, 0, b"x"));
        for length in [0, 3, 511, 1024, 1600, whole.len() - 1025] {
            assert_eq!(read(&whole[..length]), Err(Broken::TooShort), "{length}");
        }
        assert_eq!(read(&[b'x'; 1700]), Err(Broken::Header));
        assert_eq!(read(&END), Err(Broken::TooShort));
        for (name, bytes) in
            [("Ref:1/7", &b""[..]), ("nonsense", b""), ("Ref:1/x", b""), ("Ref:1/0.sum", b""), ("Ref:1/0.xxhash", b"")]
        {
            let archive = archive(|out| {
                entry(out, name, bytes, 0);
                entry(out, "Ref:1/1", b"", 0);
            });
            assert!(matches!(read(&archive), Err(Broken::Unexpected { .. })), "{name}");
        }
        let mut other = Vec::new();
        entry(&mut other, "other.xml", b"", 0);
        assert!(matches!(read(&other), Err(Broken::Unexpected { .. })));
    }
}
