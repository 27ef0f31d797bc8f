//! Space: whether a snapshot would go into what is to stay free on a storage repository. What a snapshot may need is an upper bound
//! where the driver allocates at once, and a forecast from what was written lately where it does not; what others under way may need
//! counts as taken.

use std::fmt;

use super::Reserve;
use crate::domain::size;

/// Of a disk that has no snapshots yet, as much as one in so many bytes is taken to be written while a snapshot exists.
pub const SHARE_OF_UNKNOWN: u64 = 50;

/// A driver that allocates at once needs this much besides for each disk: two empty leaves, the extents that its journal takes, and
/// room for rounding.
const BESIDE: u64 = 32 << 20;

/// A repository's figures, as they are known, and what a snapshot needs on it. All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The repository's name.
    pub sr: &'a str,
    /// Its size, where the driver tells.
    pub size: Option<u64>,
    /// What is free of it, where the driver tells.
    pub free: Option<u64>,
    /// What snapshots under way may need, beside this one.
    pub promised: u64,
    /// What this one may need.
    pub needed: u64,
}

/// Why there is too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    sr: String,
    free: u64,
    reserve: u64,
    promised: u64,
    needed: u64,
}

/// What is missing on a repository; nothing where there is enough, or where the figures are not known.
pub fn shortage(reserve: Reserve, demand: &Demand<'_>) -> Option<Shortage> {
    let (size, free) = (demand.size?, demand.free?);
    let reserve = reserve.of(size);
    let taken = demand.promised.saturating_add(demand.needed).saturating_add(reserve);
    let Demand { sr, promised, needed, .. } = *demand;
    (needed > 0 && free < taken).then(|| Shortage { sr: sr.to_owned(), free, reserve, promised, needed })
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sr, free, reserve, promised, needed } = self;
        write!(f, "SR {sr} has {} free", size::told(*free))?;
        if *reserve > 0 {
            write!(f, ", keeps {} in reserve", size::told(*reserve))?;
        }
        if *promised > 0 {
            write!(f, ", and promised {} to snapshots under way", size::told(*promised))?;
        }
        write!(f, ": the snapshot needs up to {}", size::told(*needed))
    }
}

/// What a snapshot of a disk may need where the driver allocates at once: the disk's whole size once more.
pub fn of_thick(virtual_size: u64) -> u64 {
    // Block allocation tables and bitmaps take less than a thousandth.
    virtual_size.saturating_add(virtual_size / 1000).saturating_add(BESIDE)
}

/// What a snapshot of a disk may need where space is taken as it is written: as much as was written between earlier ones, at most
/// the whole disk once more.
pub fn of_thin(virtual_size: u64, written: impl IntoIterator<Item = u64>) -> u64 {
    written.into_iter().max().unwrap_or(virtual_size / SHARE_OF_UNKNOWN).min(virtual_size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn demand(free: u64, promised: u64, needed: u64) -> Demand<'static> {
        Demand { sr: "nfs-1", size: Some(100 * GIB), free: Some(free), promised, needed }
    }

    #[test]
    fn a_shortage_is_told_with_all_figures() {
        let found = shortage(Reserve::Percent(10), &demand(12 * GIB, 0, 40 * GIB)).unwrap();
        assert_eq!(found.to_string(), "SR nfs-1 has 12 GiB free, keeps 10 GiB in reserve: the snapshot needs up to 40 GiB");
        let found = shortage(Reserve::Bytes(0), &demand(12 * GIB, 10 * GIB, 4 * GIB)).unwrap();
        assert_eq!(
            found.to_string(),
            "SR nfs-1 has 12 GiB free, and promised 10 GiB to snapshots under way: the snapshot needs up to 4 GiB"
        );
    }

    #[test]
    fn what_fits_exactly_fits_and_a_byte_more_does_not() {
        assert_eq!(shortage(Reserve::Percent(10), &demand(20 * GIB, 5 * GIB, 5 * GIB)), None);
        assert!(shortage(Reserve::Percent(10), &demand(20 * GIB, 5 * GIB, 5 * GIB + 1)).is_some());
    }

    #[test]
    fn figures_that_are_not_known_are_not_held_against_anybody() {
        let unknown = Demand { size: None, free: None, ..demand(0, 0, GIB) };
        assert_eq!(shortage(Reserve::Percent(10), &unknown), None);
        assert_eq!(shortage(Reserve::Percent(10), &demand(0, 0, 0)), None, "who needs nothing may go on");
    }

    #[test]
    fn a_thin_disk_needs_what_was_written_lately_and_a_fiftieth_where_nothing_is_known() {
        assert_eq!(of_thin(100 * GIB, [3 * GIB, 7 * GIB, GIB]), 7 * GIB);
        assert_eq!(of_thin(100 * GIB, []), 2 * GIB);
        assert_eq!(of_thin(GIB, [5 * GIB]), GIB);
        assert!(of_thick(100 * GIB) > 100 * GIB && of_thick(100 * GIB) < 101 * GIB);
    }

    proptest! {
        /// Whatever is admitted one after another leaves the reserve alone.
        #[test]
        fn all_that_is_admitted_together_leaves_the_reserve(free in 0..200u64, needs in prop::collection::vec(0..60u64, 0..20)) {
            let mut promised = 0;
            for needed in needs {
                let demand = Demand { free: Some(free), size: Some(200), ..demand(free, promised, needed) };
                if shortage(Reserve::Bytes(20), &demand).is_none() {
                    promised += needed;
                }
            }
            prop_assert!(promised == 0 || promised + 20 <= free);
        }
    }
}
