//! How many bytes things occupy. The sizes of VHDs on LVM are those of the driver (sm: lvhdutil.py): whole extents of 4 MiB.

use super::driver::Allocation;
use super::volume::Volume;

const MIB: i64 = 1 << 20;
/// LVM's extent.
const EXTENT: i64 = 4 * MIB;
/// An empty VHD on LVM.
pub const EMPTY_VHD: i64 = 2 * EXTENT;
/// Each operation on LVM keeps a journal for its time.
pub const JOURNAL: i64 = EXTENT;
/// Headers of an empty VHD file, and what a snapshot of files needs at least.
const EMPTY_FILE: i64 = 64 << 10;

/// A fully allocated VHD of a size on LVM: 2 MiB blocks with a bitmap each, and the table.
pub fn full(virtual_size: i64) -> i64 {
    let blocks = pieces(virtual_size, 2 * MIB);
    extents(virtual_size + blocks * (512 + 4) + 2 * MIB)
}

/// A VHD on LVM that holds `data` bytes and no room for more.
pub fn deflated(data: i64) -> i64 {
    if data == 0 { EMPTY_VHD } else { extents(data + pieces(data, 2 * MIB) * (512 + 4) + 2 * MIB).max(EMPTY_VHD) }
}

fn extents(bytes: i64) -> i64 {
    pieces(bytes, EXTENT) * EXTENT
}

fn pieces(bytes: i64, piece: i64) -> i64 {
    (bytes + piece - 1) / piece
}

/// What a volume is to its SR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A disk that can be written: on LVM inflated to its whole size.
    Live,
    /// A snapshot's leaf, or a hidden parent: as small as its data.
    Deflated,
}

/// What a volume occupies.
pub fn allocated(volume: &Volume, allocation: Allocation, role: Role) -> i64 {
    match (allocation, role) {
        (Allocation::Thick, Role::Live) => full(volume.virtual_size),
        (Allocation::Thick, Role::Deflated) => deflated(volume.data()),
        (Allocation::Thin, _) => volume.data() + EMPTY_FILE,
        (Allocation::Plain, _) => volume.virtual_size,
    }
}

/// The free space that splitting a leaf takes.
///
/// `snapshot`: of a snapshot, attached nowhere; `clone`: the new leaf is to be written itself.
pub fn required(volume: &Volume, allocation: Allocation, snapshot: bool, clone: bool) -> i64 {
    match allocation {
        Allocation::Thick => {
            let old = if snapshot { EMPTY_VHD } else { full(volume.virtual_size) };
            let new = if clone { full(volume.virtual_size) } else { EMPTY_VHD };
            old + new + 2 * JOURNAL - (volume.allocated - deflated(volume.data()))
        }
        Allocation::Thin => 2 * EMPTY_FILE,
        Allocation::Plain => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    #[test]
    fn a_full_vhd_is_a_little_larger_than_its_disk_and_an_empty_one_is_two_extents() {
        assert!((GIB..GIB + 4 * EXTENT).contains(&full(GIB)));
        assert_eq!(full(GIB) % EXTENT, 0);
        assert_eq!(deflated(0), 8_388_608);
    }

    #[test]
    fn a_snapshot_of_a_thick_disk_needs_the_room_of_its_data() {
        let mut volume = Volume::filled(10 * GIB, 1, 0.5);
        volume.allocated = allocated(&volume, Allocation::Thick, Role::Live);
        let required = required(&volume, Allocation::Thick, false, false);
        assert!((5 * GIB..6 * GIB).contains(&required), "{required}");
    }

    #[test]
    fn a_clone_of_a_snapshot_on_lvm_needs_a_whole_disk() {
        let mut volume = Volume::empty(10 * GIB, 1);
        volume.allocated = allocated(&volume, Allocation::Thick, Role::Deflated);
        let required = required(&volume, Allocation::Thick, true, true);
        assert!((10 * GIB..11 * GIB).contains(&required), "{required}");
        assert!(super::required(&volume, Allocation::Thin, true, true) < MIB);
    }
}
