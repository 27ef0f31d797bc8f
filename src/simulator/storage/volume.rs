//! A volume: the layers of data that were written to it, and the parent that it stands on.
//!
//! The rule: what was written stays what it was. A snapshot hands the layers to a hidden parent and both leaves start empty, so the
//! content of a snapshot never changes, however much its disk goes on being written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::content::{self, Block};
use crate::simulator::value::Text;

/// What was written in one stretch of time.
#[derive(Debug, Clone)]
pub enum Layer {
    /// Generated blocks: a block belongs to the layer when its number hashes below `share`.
    Generated {
        /// What the content is generated from.
        seed: u64,
        /// The share of all blocks that were written, 0 to 1.
        share: f64,
    },
    /// Blocks that were stored as they came (imports).
    Stored(Arc<BTreeMap<u64, Block>>),
}

impl Layer {
    /// The block, if this layer wrote it.
    pub fn block(&self, number: u64) -> Option<Block> {
        match self {
            Layer::Generated { seed, share } => content::generated(*seed, *share, number),
            Layer::Stored(blocks) => blocks.get(&number).cloned(),
        }
    }

    fn share(&self, blocks: u64) -> f64 {
        match self {
            Layer::Generated { share, .. } => *share,
            Layer::Stored(stored) => stored.len() as f64 / blocks.max(1) as f64,
        }
    }
}

/// One node of a chain.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The uuid of the VDI this one stands on; changed by [`super::Storage::stand_on`].
    pub(super) parent: Option<Text>,
    /// What was written, newest first.
    pub layers: Vec<Layer>,
    /// Bytes that the guest sees.
    pub virtual_size: i64,
    /// Bytes that it occupies in its SR, as last accounted.
    pub allocated: i64,
    /// Since when a running guest writes to it, on the monotonic clock.
    pub writing_since: Option<Duration>,
    /// The seed of the next generated layer.
    pub(super) next_seed: u64,
    /// Whether the newest layer is still being written; if so, more writing extends it.
    pub(super) open: bool,
}

impl Volume {
    /// An empty volume.
    pub fn empty(virtual_size: i64, seed: u64) -> Self {
        Self { parent: None, layers: Vec::new(), virtual_size, allocated: 0, writing_since: None, next_seed: seed, open: false }
    }

    /// A volume whose share `filled` holds generated data.
    pub fn filled(virtual_size: i64, seed: u64, filled: f64) -> Self {
        let mut volume = Self::empty(virtual_size, content::mix(seed, 1));
        if filled > 0.0 {
            volume.layers.push(Layer::Generated { seed, share: filled });
        }
        volume
    }

    /// How many blocks of 1 MiB it has, the last one perhaps shorter.
    pub fn blocks(&self) -> u64 {
        content::blocks(self.virtual_size)
    }

    /// The share of its blocks that it holds itself.
    pub fn share(&self) -> f64 {
        let blocks = self.blocks();
        1.0 - self.layers.iter().map(|layer| 1.0 - layer.share(blocks).clamp(0.0, 1.0)).product::<f64>()
    }

    /// Bytes of data that it holds itself.
    pub fn data(&self) -> i64 {
        ((self.share() * self.blocks() as f64).round() as i64) << 20
    }

    /// A block that this volume holds itself.
    pub fn own_block(&self, number: u64) -> Option<Block> {
        self.layers.iter().find_map(|layer| layer.block(number))
    }

    /// The uuid of the VDI this one stands on.
    pub fn parent(&self) -> Option<&Text> {
        self.parent.as_ref()
    }

    /// Writes a layer on top.
    pub fn write(&mut self, layer: Layer) {
        self.layers.insert(0, layer);
        self.open = false;
    }

    /// Lets a guest write to `share` of the disk, at random.
    pub fn write_generated(&mut self, share: f64) {
        match self.layers.first_mut() {
            Some(Layer::Generated { share: so_far, .. }) if self.open => *so_far = 1.0 - (1.0 - *so_far) * (1.0 - share),
            _ if share > 0.0 => {
                let seed = self.next_seed;
                self.next_seed = content::mix(seed, 1);
                self.write(Layer::Generated { seed, share });
                self.open = true;
            }
            _ => {}
        }
    }

    /// Hands over everything that was written; the volume is empty then.
    pub fn hand_over(&mut self) -> Vec<Layer> {
        self.open = false;
        std::mem::take(&mut self.layers)
    }
}
