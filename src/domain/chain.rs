//! Chains of disks: what a disk's data stands on, layer by layer. The server refuses a chain of more than thirty, a long one is slow,
//! and a layer goes away only when nothing but one other layer stands on it any more and the storage has coalesced the two. So who
//! keeps a layer there is as interesting as how many there are.
//!
//! A layer is a leaf (a VM's disk, a snapshot's) or hidden (what was frozen when a snapshot was taken: a "base copy"). Each knows its
//! parent. Storage without parents has no chains, and a disk without one has a depth of 1.

use std::collections::HashMap;
use std::hash::Hash;

/// The server refuses a snapshot of a disk whose chain has so many layers.
pub const LIMIT: usize = 30;

/// From this depth on somebody should look.
pub const LONG: usize = 20;

/// From this depth on another snapshot may be the one too many: what coalesces is not gone yet.
pub const FULL: usize = 28;

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// A disk that a VM may write, or that stands for itself.
    Live,
    /// Of a snapshot that is ours.
    Ours,
    /// Of anybody else's snapshot.
    Others,
    /// Kept by the storage only, because something stands on it.
    Hidden,
}

/// What a disk's chain consists of. The numbers below add up to the depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// Layers, the disk itself included.
    pub depth: usize,
    /// Hidden layers that a snapshot of ours stands on; where others stand on the same layer, it counts here.
    pub ours: usize,
    /// Hidden layers that somebody else's snapshot stands on, and none of ours.
    pub others: usize,
    /// Hidden layers that other disks share: clones, and VMs made from one template.
    pub shared: usize,
    /// Hidden layers on which nothing stands but the next: they wait to be coalesced.
    pub remains: usize,
}

/// How far a chain is from its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Length {
    /// Nobody needs to look.
    Fine,
    /// Somebody should.
    Long,
    /// Another snapshot may be refused.
    Full,
}

impl Chain {
    /// How long it is.
    pub fn length(&self) -> Length {
        match self.depth {
            FULL.. => Length::Full,
            LONG.. => Length::Long,
            _ => Length::Fine,
        }
    }
}

/// All layers of a pool, by id.
#[derive(Debug)]
pub struct Chains<Id> {
    layers: HashMap<Id, (Layer, Option<Id>)>,
    /// What stands directly on a hidden layer.
    on: HashMap<Id, On>,
}

/// What stands directly on a layer.
#[derive(Debug, Clone, Copy, Default)]
struct On {
    all: usize,
    ours: usize,
    others: usize,
}

impl<Id: Copy + Eq + Hash> Chains<Id> {
    /// From every layer with its parent. A parent that is not among them ends a chain.
    pub fn new(layers: impl IntoIterator<Item = (Id, Layer, Option<Id>)>) -> Self {
        let layers: HashMap<Id, (Layer, Option<Id>)> =
            layers.into_iter().map(|(id, layer, parent)| (id, (layer, parent))).collect();
        let mut on: HashMap<Id, On> = HashMap::new();
        for (layer, parent) in layers.values() {
            let Some(parent) = parent else { continue };
            let on = on.entry(*parent).or_default();
            on.all += 1;
            on.ours += usize::from(*layer == Layer::Ours);
            on.others += usize::from(*layer == Layer::Others);
        }
        Self { layers, on }
    }

    /// The layer that a layer stands on, if it is known.
    pub fn parent(&self, id: Id) -> Option<Id> {
        self.layers.get(&id)?.1.filter(|parent| self.layers.contains_key(parent))
    }

    /// The chain of a disk; nothing for one that is not known. A circle, which no storage has, ends.
    pub fn of(&self, disk: Id) -> Option<Chain> {
        self.layers.get(&disk)?;
        let mut chain = Chain { depth: 1, ..Chain::default() };
        let mut at = disk;
        while let Some(parent) = self.parent(at).filter(|parent| *parent != disk && chain.depth < self.layers.len()) {
            chain.depth += 1;
            let on = self.on.get(&parent).copied().unwrap_or_default();
            match on {
                On { ours: 1.., .. } => chain.ours += 1,
                On { others: 1.., .. } => chain.others += 1,
                On { all: 2.., .. } => chain.shared += 1,
                On { .. } => chain.remains += 1,
            }
            at = parent;
        }
        Some(chain)
    }
}

/// How many disks have chains of which depth, and the deepest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depths {
    /// The deepest chain; zero without disks.
    pub deepest: usize,
    counts: [u64; 5],
}

impl Depths {
    /// The classes of depths: their bounds are where a chain is long, and where it is full.
    pub const CLASSES: [&str; 5] = ["1", "2-9", "10-19", "20-27", "28+"];

    /// Of these chains.
    pub fn of<'a>(chains: impl IntoIterator<Item = &'a Chain>) -> Self {
        let mut depths = Self::default();
        for chain in chains {
            depths.deepest = depths.deepest.max(chain.depth);
            let class = match chain.depth {
                0..=1 => 0,
                2..=9 => 1,
                FULL.. => 4,
                LONG.. => 3,
                _ => 2,
            };
            depths.counts[class] += 1;
        }
        depths
    }

    /// How many disks each class has.
    pub fn classes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::CLASSES.into_iter().zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// `n` hidden layers 100, 101, … with the disk 1 on top, and these leaves on the layers named.
    fn chain(hidden: u32, leaves: &[(u32, Layer, u32)]) -> Chain {
        let layer = |n: u32| (100 + n, Layer::Hidden, n.checked_sub(1).map(|before| 100 + before));
        let disk = (1, Layer::Live, hidden.checked_sub(1).map(|top| 100 + top));
        let leaves = leaves.iter().map(|(id, layer, on)| (*id, *layer, Some(100 + on)));
        Chains::new((0..hidden).map(layer).chain([disk]).chain(leaves)).of(1).unwrap()
    }

    #[test]
    fn a_disk_without_a_parent_is_a_chain_of_one() {
        assert_eq!(chain(0, &[]), Chain { depth: 1, ..Chain::default() });
        assert_eq!(Chains::<u32>::new([]).of(1), None);
    }

    #[test]
    fn each_layer_below_counts_for_whoever_keeps_it() {
        let found = chain(5, &[(10, Layer::Others, 0), (11, Layer::Ours, 1), (12, Layer::Others, 1), (13, Layer::Live, 2)]);
        assert_eq!(found, Chain { depth: 6, ours: 1, others: 1, shared: 1, remains: 2 });
    }

    #[test]
    fn the_snapshot_of_a_disk_is_a_chain_of_its_own_beside_that_of_the_disk() {
        let layers = [(1, Layer::Live, Some(3)), (2, Layer::Ours, Some(3)), (3, Layer::Hidden, Some(4))];
        let chains = Chains::new(layers);
        assert_eq!(chains.of(2).unwrap().depth, 2, "4 is not known");
        assert_eq!((chains.parent(1), chains.parent(3)), (Some(3), None));
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(Chains::new([(1, Layer::Hidden, Some(2)), (2, Layer::Hidden, Some(1))]).of(1).unwrap().depth, 2);
        assert_eq!(Chains::new([(1, Layer::Hidden, Some(1))]).of(1).unwrap().depth, 1);
        let tail = [(1, Layer::Live, Some(2)), (2, Layer::Hidden, Some(3)), (3, Layer::Hidden, Some(2))];
        assert_eq!(Chains::new(tail).of(1).unwrap().depth, 3);
    }

    #[rstest]
    #[case(19, Length::Fine)]
    #[case(20, Length::Long)]
    #[case(27, Length::Long)]
    #[case(28, Length::Full)]
    #[case(31, Length::Full)]
    fn a_chain_is_long_before_it_is_full_and_full_before_the_server_refuses(#[case] depth: usize, #[case] length: Length) {
        assert_eq!(Chain { depth, ..Chain::default() }.length(), length);
        const { assert!(LONG < FULL && FULL < LIMIT) };
    }

    #[test]
    fn depths_are_counted_by_classes() {
        let chains = [1, 1, 2, 9, 10, 19, 20, 27, 28, 40].map(|depth| Chain { depth, ..Chain::default() });
        let depths = Depths::of(&chains);
        let counts: Vec<u64> = depths.classes().map(|(_, count)| count).collect();
        assert_eq!((depths.deepest, counts), (40, vec![2, 2, 2, 2, 2]));
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_depth(parents in prop::collection::vec(0usize..40, 1..40), kinds in prop::collection::vec(0u8..4, 40)) {
            let kind = |n: usize| [Layer::Live, Layer::Ours, Layer::Others, Layer::Hidden][usize::from(kinds[n])];
            let layers: Vec<_> = parents.iter().enumerate().map(|(n, parent)| (n, kind(n), Some(*parent))).collect();
            let chains = Chains::new(layers);
            for disk in 0..parents.len() {
                let chain = chains.of(disk).unwrap();
                prop_assert_eq!(chain.depth, 1 + chain.ours + chain.others + chain.shared + chain.remains);
                prop_assert!(chain.depth <= parents.len());
            }
        }
    }
}
