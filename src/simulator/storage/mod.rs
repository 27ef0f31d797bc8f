//! What stands behind the SRs: volumes with content, VHD chains, space, the garbage collector, and how long all of it takes.
//!
//! The rule: the database is what clients see and this is what is there. Rows of VDIs are made and removed by operations; this module
//! keeps the volume behind each row, keyed by the VDI's uuid, and adopts rows that it never saw (a loaded database) when they are
//! first touched. The two can differ after a restart with an older database, as on the real server.

pub mod backoff;
pub mod collector;
pub mod content;
pub mod driver;
pub mod layout;
pub mod ledger;
pub mod timings;
pub mod volume;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::faults::Faults;
use super::value::Text;
use backoff::Waiters;
use collector::Collector;
use content::Interned;
pub use timings::Timings;
use volume::Volume;

/// The longest chain of VHDs, leaf included, that a driver takes a snapshot of (sm: vhdutil.py).
pub const LONGEST_CHAIN: usize = 30;

/// The storage of one pool.
#[derive(Debug)]
pub struct Storage {
    /// How long things take.
    pub timings: Timings,
    /// Those who wait for a lock.
    pub waiters: Waiters,
    /// The garbage collector's settings.
    pub collector: Collector,
    /// The longest chain that can still be snapshotted; [`LONGEST_CHAIN`] unless a test wants to meet it sooner.
    pub longest_chain: usize,
    /// Which share of a disk its guest writes per day while the VM runs.
    pub written_per_day: f64,
    /// Which share of a disk holds data when nothing else is known.
    pub filled: f64,
    /// Blocks that are known by their hash, so that an import of what this pool exported costs no memory.
    pub interned: Interned,
    /// Faults that leave an SR less room than it has; none before a server serves the pool.
    pub faults: Option<Arc<Faults>>,
    /// The seed of all generated content.
    pub seed: u64,
    volumes: HashMap<Text, Volume>,
    /// Which volumes stand on one, by its uuid.
    children: HashMap<Text, Vec<Text>>,
}

impl Storage {
    /// Empty storage.
    pub fn new(seed: u64) -> Self {
        Self {
            timings: Timings::default(),
            waiters: Waiters::default(),
            collector: Collector::default(),
            longest_chain: LONGEST_CHAIN,
            written_per_day: 0.02,
            filled: 0.25,
            interned: Interned::default(),
            faults: None,
            seed,
            volumes: HashMap::new(),
            children: HashMap::new(),
        }
    }

    /// The volume behind a VDI's uuid, if it was ever touched.
    pub fn volume(&self, uuid: &str) -> Option<&Volume> {
        self.volumes.get(uuid)
    }

    /// The same, to change it.
    pub fn volume_mut(&mut self, uuid: &str) -> Option<&mut Volume> {
        self.volumes.get_mut(uuid)
    }

    /// Puts a volume that stands on nothing behind a VDI's uuid.
    pub fn insert(&mut self, uuid: impl Into<Text>, volume: Volume) {
        self.volumes.insert(uuid.into(), volume);
    }

    /// Makes a volume stand on another, or on nothing.
    pub fn stand_on(&mut self, uuid: &str, parent: Option<Text>) {
        let Some(volume) = self.volumes.get_mut(uuid) else { return };
        let old = std::mem::replace(&mut volume.parent, parent.clone());
        if let Some(siblings) = old.and_then(|old| self.children.get_mut(&old)) {
            siblings.retain(|child| **child != *uuid);
        }
        if let Some(parent) = parent {
            self.children.entry(parent).or_default().push(uuid.into());
        }
    }

    /// The volumes that stand on one.
    pub fn children(&self, uuid: &str) -> &[Text] {
        self.children.get(uuid).map_or(&[], Vec::as_slice)
    }

    /// How many volumes there are from one down to the bottom, itself included.
    pub fn depth(&self, uuid: &str) -> usize {
        let parent = |volume: &&Volume| volume.parent.as_ref().and_then(|parent| self.volumes.get(parent));
        std::iter::successors(self.volumes.get(uuid), parent).take(1_000).count()
    }

    /// Takes a volume away and says what it stood on. Its children, if any, keep naming it.
    pub fn remove(&mut self, uuid: &str) -> Option<Volume> {
        let parent = self.volumes.get(uuid)?.parent.clone();
        self.stand_on(uuid, None);
        let volume = self.volumes.remove(uuid)?;
        Some(Volume { parent, ..volume })
    }

    /// How many guests' worth of writing happened in `time`, as the share of blocks of a disk that were hit at least once.
    pub fn share_written(&self, time: Duration) -> f64 {
        share_of(self.written_per_day * time.as_secs_f64() / 86_400.0)
    }
}

/// The share of blocks that are hit at least once when `volume` times the size of the disk is written at random.
fn share_of(volume: f64) -> f64 {
    1.0 - (-volume).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_written_for_long_is_written_all_over_but_never_beyond() {
        let storage = Storage::new(1);
        let day = storage.share_written(Duration::from_secs(86_400));
        assert!((0.015..0.02).contains(&day), "{day}");
        assert!(storage.share_written(Duration::from_secs(86_400 * 3650)) <= 1.0);
        assert!(storage.share_written(Duration::ZERO).abs() < f64::EPSILON);
    }
}
