//! What stands on the disks: blocks of 1 MiB that are generated from a seed when they are read, so that a disk of any size costs no
//! memory, and the same disk has the same bytes in every run.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use xxhash_rust::xxh64::xxh64;

use super::Storage;

/// Bytes of a block; the size of an XVA's chunks.
pub const BLOCK: usize = 1 << 20;

/// One block of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Nothing was ever written, or only zeros.
    Zero,
    /// Generated from a seed.
    Seeded(u64),
    /// Stored as it came; may be shorter than a block at the end of a disk.
    Stored(Arc<[u8]>),
}

impl Block {
    /// Its bytes, `length` of them.
    pub fn bytes(&self, length: usize) -> Cow<'_, [u8]> {
        match self {
            Block::Zero => Cow::Owned(vec![0; length]),
            Block::Seeded(seed) => Cow::Owned(generate(*seed, length)),
            Block::Stored(bytes) if bytes.len() == length => Cow::Borrowed(bytes),
            Block::Stored(bytes) => {
                let mut copy = bytes[..bytes.len().min(length)].to_vec();
                copy.resize(length, 0);
                Cow::Owned(copy)
            }
        }
    }
}

/// Blocks that are known by the hash of their bytes.
#[derive(Debug, Default)]
pub struct Interned {
    seeds: HashMap<u64, u64>,
}

impl Interned {
    /// Remembers what a generated block hashes to (XXH64 of its bytes), so that it need not be stored when it comes back.
    pub fn remember(&mut self, hash: u64, seed: u64) {
        self.seeds.insert(hash, seed);
    }

    /// The block that these bytes are: zero, one that is known, or stored.
    pub fn block(&self, bytes: &[u8]) -> Block {
        if bytes.iter().all(|byte| *byte == 0) {
            return Block::Zero;
        }
        match self.seeds.get(&xxh64(bytes, 0)) {
            Some(seed) if generate(*seed, bytes.len()) == bytes => Block::Seeded(*seed),
            _ => Block::Stored(bytes.into()),
        }
    }
}

impl Storage {
    /// A block of the disk behind a VDI's uuid, looked for down the whole chain.
    pub fn read_block(&self, uuid: &str, number: u64) -> Block {
        let mut at = self.volume(uuid);
        // A chain that bites its own tail can only come from a broken database; it reads as zero.
        for _ in 0..1_000 {
            let Some(volume) = at else { return Block::Zero };
            if let Some(block) = volume.own_block(number) {
                return block;
            }
            at = volume.parent.as_ref().and_then(|parent| self.volume(parent));
        }
        Block::Zero
    }

    /// The length of a block: 1 MiB but for the last one.
    pub fn block_length(&self, uuid: &str, number: u64) -> usize {
        let size = self.volume(uuid).map_or(0, |volume| volume.virtual_size.max(0) as u64);
        usize::try_from(size.saturating_sub(number.saturating_mul(BLOCK as u64))).unwrap_or(usize::MAX).min(BLOCK)
    }
}

/// How many blocks a disk of `bytes` has.
pub fn blocks(bytes: i64) -> u64 {
    (bytes.max(0) as u64).div_ceil(BLOCK as u64)
}

/// The block `number` of a generated layer, if the layer covers it.
pub fn generated(seed: u64, share: f64, number: u64) -> Option<Block> {
    let hash = mix(seed, number);
    let place = (hash >> 11) as f64 / (1u64 << 53) as f64;
    (place < share).then(|| Block::Seeded(mix(hash, 0x5eed)))
}

/// The bytes that a seed stands for: random ones with runs of repetition, so that they compress about as files do.
fn generate(seed: u64, length: usize) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; length];
    for piece in bytes.chunks_mut(4096) {
        let half = piece.len() / 2;
        random.fill_bytes(&mut piece[..half]);
        let (first, second) = piece.split_at_mut(half);
        second.iter_mut().zip(first.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
    // Never all zero, whatever the seed.
    if let Some(first) = bytes.first_mut() {
        *first |= 1;
    }
    bytes
}

/// Two numbers to one that looks unrelated (splitmix64).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::volume::Volume;
    use super::*;

    #[test]
    fn a_generated_layer_covers_its_share_and_grows_without_changing() {
        let covered = |share| (0..10_000).filter(|n| generated(7, share, *n).is_some()).collect::<Vec<_>>();
        let (small, large) = (covered(0.1), covered(0.3));
        assert!((900..1100).contains(&small.len()), "{}", small.len());
        assert!(small.iter().all(|n| large.contains(n)));
        assert!(small.iter().all(|n| generated(7, 0.1, *n) == generated(7, 0.3, *n)));
    }

    #[test]
    fn the_same_disk_has_the_same_bytes_and_another_has_others() {
        assert_eq!(generate(3, BLOCK), generate(3, BLOCK));
        assert_ne!(generate(3, BLOCK), generate(4, BLOCK));
        assert_eq!(generate(3, BLOCK)[..100], generate(3, 200)[..100].to_vec());
    }

    #[test]
    fn a_block_is_looked_for_down_the_chain() {
        let mut storage = Storage::new(1);
        let mut base = Volume::empty(4 << 20, 1);
        base.write(super::super::volume::Layer::Generated { seed: 9, share: 1.0 });
        storage.insert("base", base);
        let mut leaf = Volume::empty((4 << 20) - 5, 2);
        leaf.parent = Some("base".into());
        storage.insert("leaf", leaf);
        assert_eq!(storage.read_block("leaf", 2), storage.read_block("base", 2));
        assert_ne!(storage.read_block("leaf", 2), Block::Zero);
        assert_eq!(storage.block_length("leaf", 3), BLOCK - 5);
        assert_eq!(storage.block_length("leaf", 4), 0);
        assert_eq!(storage.read_block("nobody", 0), Block::Zero);
    }

    #[test]
    fn what_was_exported_need_not_be_stored_when_it_comes_back() {
        let mut interned = Interned::default();
        let bytes = generate(11, BLOCK);
        assert!(matches!(interned.block(&bytes), Block::Stored(_)));
        interned.remember(xxh64(&bytes, 0), 11);
        assert_eq!(interned.block(&bytes), Block::Seeded(11));
        assert_eq!(interned.block(&[0; 100]), Block::Zero);
    }
}
