//! Compression around an archive: written as it was asked for, read as its first bytes say.

use std::io::{self, Write};

use flate2::write::{GzEncoder, MultiGzDecoder};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::reader::Broken;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Compresses what is written to it.
pub enum Encoder {
    /// Passes on.
    None(Vec<u8>),
    /// gzip.
    Gzip(GzEncoder<Vec<u8>>),
    /// Zstandard.
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encoder::None(_) => "Encoder::None",
            Encoder::Gzip(_) => "Encoder::Gzip",
            Encoder::Zstd(_) => "Encoder::Zstd",
        })
    }
}

/// gzip's number for Unix, which the server's headers carry.
const UNIX: u8 = 3;

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// When zstd cannot be set up.
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Encoder::None(Vec::new()),
            Compression::Gzip => {
                let builder = flate2::GzBuilder::new().operating_system(UNIX);
                Encoder::Gzip(builder.write(Vec::new(), flate2::Compression::default()))
            }
            Compression::Zstd => Encoder::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), 0)?)),
        })
    }

    /// Compresses bytes and takes out what is ready to be sent.
    ///
    /// # Errors
    /// None that is known.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Encoder::None(out) => {
                out.extend_from_slice(bytes);
                Ok(std::mem::take(out))
            }
            Encoder::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Encoder::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// None that is known.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::None(out) => Ok(out),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// The most bytes of gzip that are unpacked at once: at its best gzip makes a thousand times as much of them.
const GZIP_STEP: usize = 512;
/// The most bytes that zstd unpacks at once.
const ZSTD_STEP: usize = 256 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Unpacks what is fed to it, a bounded piece at a time.
pub struct Decoder {
    kind: Kind,
    /// Whether this server knows zstd.
    zstd: bool,
}

enum Kind {
    Unknown(Vec<u8>),
    None,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd(ZstdDecoder<'static>),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("zstd", &self.zstd).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder; without `zstd` it takes zstd for something else, as older servers do.
    pub fn new(zstd: bool) -> Self {
        Self { kind: Kind::Unknown(Vec::new()), zstd }
    }

    /// Unpacks bytes and hands them on.
    ///
    /// # Errors
    /// [`Broken::Compression`], and what `sink` fails with.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        if let Kind::Unknown(start) = &mut self.kind {
            start.extend_from_slice(bytes);
            if start.len() < ZSTD_MAGIC.len() {
                return Ok(());
            }
            let start = std::mem::take(start);
            self.kind = self.recognise(&start)?;
            return self.unpack(&start, sink);
        }
        self.unpack(bytes, sink)
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn finish(mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        match &mut self.kind {
            Kind::Unknown(start) => sink(&std::mem::take(start)),
            Kind::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| Broken::Compression)?;
                sink(&std::mem::take(decoder.get_mut()))
            }
            Kind::None | Kind::Zstd(_) => Ok(()),
        }
    }

    fn recognise(&self, start: &[u8]) -> Result<Kind, Broken> {
        if start.starts_with(&GZIP_MAGIC) {
            return Ok(Kind::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))));
        }
        if self.zstd && start.starts_with(&ZSTD_MAGIC) {
            return ZstdDecoder::new().map(Kind::Zstd).map_err(|_| Broken::Compression);
        }
        Ok(Kind::None)
    }

    fn unpack(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        match &mut self.kind {
            Kind::Unknown(_) => Ok(()),
            Kind::None => sink(bytes),
            Kind::Gzip(decoder) => {
                for piece in bytes.chunks(GZIP_STEP) {
                    decoder.write_all(piece).map_err(|_| Broken::Compression)?;
                    sink(&std::mem::take(decoder.get_mut()))?;
                }
                Ok(())
            }
            Kind::Zstd(decoder) => unpack_zstd(decoder, bytes, sink),
        }
    }
}

fn unpack_zstd(
    decoder: &mut ZstdDecoder<'static>,
    bytes: &[u8],
    sink: &mut impl FnMut(&[u8]) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut space = vec![0; ZSTD_STEP];
    let mut input = InBuffer::around(bytes);
    loop {
        let mut output = OutBuffer::around(&mut space[..]);
        decoder.run(&mut input, &mut output).map_err(|_| Broken::Compression)?;
        let made = output.pos();
        sink(&space[..made])?;
        if input.pos() == bytes.len() && made < ZSTD_STEP {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8], step: usize, zstd: bool) -> Result<Vec<u8>, Broken> {
        let (mut decoder, mut out, mut most) = (Decoder::new(zstd), Vec::new(), 0);
        let mut sink = |piece: &[u8]| {
            most = most.max(piece.len());
            out.extend_from_slice(piece);
            Ok(())
        };
        for piece in bytes.chunks(step) {
            decoder.feed(piece, &mut sink)?;
        }
        decoder.finish(&mut sink)?;
        assert!(most <= 1 << 20 || bytes.len() >= most, "{most} bytes at once");
        Ok(out)
    }

    #[test]
    fn what_is_packed_is_unpacked_whatever_the_pieces() {
        let zeros = vec![0; 8 << 20];
        let noise: Vec<u8> = (0..70_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for plain in [&b"x"[..], b"abc", &zeros, &noise] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let mut encoder = Encoder::new(compression).unwrap();
                let mut packed = encoder.write(plain).unwrap();
                packed.extend(encoder.finish().unwrap());
                for step in [3, 4096, 1 << 24] {
                    assert_eq!(unpacked(&packed, step, true).unwrap(), plain, "{compression:?}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_stream_is_refused() {
        assert_eq!(unpacked(b"\x1f\x8b\x08\x00not gzip at all, though it begins so", 4, true), Err(Broken::Compression));
        assert_eq!(unpacked(b"\x28\xb5\x2f\xfdnot zstd at all, though it begins so", 4, true), Err(Broken::Compression));
        assert_eq!(unpacked(b"\x28\xb5\x2f\xfdolder", 4, false).unwrap(), b"\x28\xb5\x2f\xfdolder");
    }
}
