//! Errors of the storage layer, `SR_BACKEND_FAILURE_<n>`, by number. The rule: the texts in their parameters are never matched.
//! The numbers and what a client does about them are facts of the storage manager's table of error codes (contract, section 8.4).

use super::Kind::{self, Broken, Busy, NoSpace, NotFound, Transient, Unsupported};

/// What is known about one number.
pub(super) struct Row {
    number: u32,
    pub(super) kind: Kind,
    pub(super) advice: &'static str,
}

/// The advice for a number that is not in the table.
pub(super) const OTHER: &str = "The storage driver failed: look at /var/log/SMlog on the host that runs it";

const UNAVAILABLE: &str = "Storage is not reachable: check the SR's connections (xe pbd-list) and its back end";
const LVM: &str = "The storage driver could not work on its volumes: look at /var/log/SMlog on the pool master if this repeats";
const MOUNT: &str = "The share behind the SR cannot be mounted: check the file server and the network between";
const CBT: &str = "Changed block tracking of this disk is not usable: take a full copy, and enable it anew";
const BUSY: &str = "The storage is busy with this disk, often coalescing after a removal: it is tried again";

/// Sorted by number.
const ROWS: &[Row] = &[
    row(16, Busy, BUSY),
    row(24, Busy, BUSY),
    row(37, Busy, BUSY),
    row(38, Unsupported, "This kind of storage cannot do it: use another SR for the disk, or exclude the disk"),
    row(39, Broken, "The SR is not empty: look at what is still on it (xe vdi-list)"),
    row(40, Transient, "The SR could not be scanned: run xe sr-scan and look at /var/log/SMlog if this repeats"),
    row(43, Broken, "The storage already has a disk of that name: run xe sr-scan and look at the SR"),
    row(44, NoSpace, "The SR is full: remove snapshots or enlarge it, and wait for the garbage collector"),
    row(46, Busy, BUSY),
    row(47, Transient, UNAVAILABLE),
    row(50, Transient, LVM),
    row(51, Transient, LVM),
    row(52, Transient, LVM),
    row(53, Transient, LVM),
    row(54, Transient, LVM),
    row(55, Transient, LVM),
    row(56, Transient, LVM),
    row(57, Transient, LVM),
    row(58, Transient, LVM),
    row(59, Transient, LVM),
    row(60, Transient, LVM),
    row(64, Transient, "The disk could not be removed from the storage: it is tried again"),
    row(65, Broken, "The disk cannot be loaded by the storage driver: run xe sr-scan and look at /var/log/SMlog"),
    row(66, Broken, "The disk is of a type that the storage driver cannot work with: exclude it"),
    row(73, Broken, MOUNT),
    row(74, Broken, MOUNT),
    row(75, Broken, MOUNT),
    row(78, Broken, "The storage could not create a disk: look at /var/log/SMlog on the pool master"),
    row(79, Broken, "The storage does not take a disk of that size: look at the size of the disk"),
    row(80, Transient, "The disk could not be marked as removed: it is tried again"),
    row(81, Broken, "The storage could not clone the disk: look at /var/log/SMlog on the pool master"),
    row(82, Broken, "The storage could not snapshot the disk: look at /var/log/SMlog on the pool master"),
    row(
        109,
        Unsupported,
        "The disk's chain of snapshots is too long: remove snapshots and wait until the garbage collector caught up",
    ),
    row(110, Broken, "The storage could not resize the disk: look at /var/log/SMlog on the pool master"),
    row(111, Broken, MOUNT),
    row(112, Broken, MOUNT),
    row(113, Broken, MOUNT),
    row(144, NotFound, "The storage has lost the disk: run xe sr-scan, and look whether the SR is complete"),
    row(180, NoSpace, "The thinly provisioned volume group is full: add space to it"),
    row(181, Broken, "The SR's metadata cannot be read: an operator has to look at the SR before anything else is tried"),
    row(200, Broken, "The storage had an input or output error: check the hardware and the SR"),
    row(201, Transient, "The storage asked to try again: it is tried again"),
    row(202, Broken, OTHER),
    row(204, Broken, "Coalescing gave up on a disk: look at /var/log/SMlog; a disk that is written to less can be coalesced"),
    row(457, Broken, CBT),
    row(458, Broken, CBT),
    row(459, Broken, CBT),
    row(460, Broken, CBT),
    row(1200, Broken, OTHER),
];

const fn row(number: u32, kind: Kind, advice: &'static str) -> Row {
    Row { number, kind, advice }
}

/// The row of a number.
pub(super) fn row_of(number: u32) -> Option<&'static Row> {
    ROWS.binary_search_by_key(&number, |row| row.number).ok().map(|index| &ROWS[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_sorted_and_unique() {
        assert!(ROWS.windows(2).all(|pair| pair[0].number < pair[1].number));
    }
}
