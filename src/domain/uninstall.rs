//! What goes with a snapshot. The server destroys only the record of a snapshot and would destroy almost any disk it is told to, so
//! this is decided here: the disks that provably belong to the snapshot and its suspend image, never a CD, never a disk that anything
//! else uses. One disk that does not fit stops the removal of the whole snapshot: something about it is not as it was.

use thiserror::Error;

use super::id::VdiUuid;

/// A disk that the snapshot names, or that was recorded when the snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFacts {
    /// The disk.
    pub vdi: VdiUuid,
    /// How the snapshot comes to it.
    pub link: Link,
    /// The disk is a snapshot itself.
    pub is_a_snapshot: bool,
    /// The storage lets clients manage it; internal nodes are not managed.
    pub managed: bool,
    /// Another VBD than the snapshot's own names it.
    pub used_elsewhere: bool,
}

/// How a snapshot comes to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// By a VBD of type Disk.
    Disk,
    /// By a VBD of another type: a CD belongs to a library, not to the snapshot.
    NoDisk,
    /// Only by our record of what was taken: its VBD is gone.
    Recorded,
}

/// The image of a snapshot with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFacts {
    /// The disk that holds it.
    pub vdi: VdiUuid,
    /// Its type is `suspend`.
    pub is_suspend_image: bool,
    /// Another VM or snapshot names it as well.
    pub used_elsewhere: bool,
}

/// What is destroyed with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Belongings {
    /// Its disks.
    pub disks: Vec<VdiUuid>,
    /// Its suspend image.
    pub image: Option<VdiUuid>,
}

/// Why a snapshot is not removed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A disk that is no snapshot: destroying it could be destroying somebody's data.
    #[error("its disk {0} is not a snapshot; see where it came from before the snapshot is removed by hand")]
    LiveDisk(VdiUuid),
    /// A disk in use by something else.
    #[error("its disk {0} is used by another VM; detach it there first")]
    SharedDisk(VdiUuid),
    /// An internal node of the storage.
    #[error("its disk {0} is not managed by the storage's clients; let the storage be scanned")]
    Unmanaged(VdiUuid),
    /// The suspend image is something else, or also another's.
    #[error("its suspend image {0} does not belong to it alone; see which VM uses it")]
    ForeignImage(VdiUuid),
}

/// What may be destroyed with a snapshot whose mark verified, by one look at its disks.
pub fn belongings(disks: &[DiskFacts], image: Option<ImageFacts>) -> Result<Belongings, Refusal> {
    let own = disks.iter().filter(|disk| disk.link != Link::NoDisk);
    let disks = own.map(own_disk).collect::<Result<_, _>>()?;
    Ok(Belongings { disks, image: image.map(own_image).transpose()? })
}

fn own_disk(disk: &DiskFacts) -> Result<VdiUuid, Refusal> {
    match disk {
        DiskFacts { used_elsewhere: true, vdi, .. } => Err(Refusal::SharedDisk(*vdi)),
        DiskFacts { is_a_snapshot: false, vdi, .. } => Err(Refusal::LiveDisk(*vdi)),
        DiskFacts { managed: false, vdi, .. } => Err(Refusal::Unmanaged(*vdi)),
        DiskFacts { vdi, .. } => Ok(*vdi),
    }
}

fn own_image(image: ImageFacts) -> Result<VdiUuid, Refusal> {
    let own = image.is_suspend_image && !image.used_elsewhere;
    if own { Ok(image.vdi) } else { Err(Refusal::ForeignImage(image.vdi)) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn vdi(n: u128) -> VdiUuid {
        VdiUuid(Uuid::from_u128(n))
    }

    fn disk(n: u128) -> DiskFacts {
        DiskFacts { vdi: vdi(n), link: Link::Disk, is_a_snapshot: true, managed: true, used_elsewhere: false }
    }

    #[test]
    fn disks_and_suspend_image_go_with_the_snapshot_and_a_cd_does_not() {
        let cd = DiskFacts { link: Link::NoDisk, is_a_snapshot: false, used_elsewhere: true, ..disk(3) };
        let recorded = DiskFacts { link: Link::Recorded, ..disk(2) };
        let image = ImageFacts { vdi: vdi(4), is_suspend_image: true, used_elsewhere: false };
        let expected = Belongings { disks: vec![vdi(1), vdi(2)], image: Some(vdi(4)) };
        assert_eq!(belongings(&[disk(1), recorded, cd], Some(image)), Ok(expected));
    }

    #[test]
    fn one_disk_that_does_not_fit_stops_the_whole_removal() {
        let refused = |odd: DiskFacts| belongings(&[disk(1), odd], None).unwrap_err();
        assert_eq!(refused(DiskFacts { is_a_snapshot: false, ..disk(2) }), Refusal::LiveDisk(vdi(2)));
        assert_eq!(refused(DiskFacts { used_elsewhere: true, ..disk(2) }), Refusal::SharedDisk(vdi(2)));
        assert_eq!(refused(DiskFacts { managed: false, ..disk(2) }), Refusal::Unmanaged(vdi(2)));
        assert_eq!(refused(DiskFacts { link: Link::Recorded, used_elsewhere: true, ..disk(2) }), Refusal::SharedDisk(vdi(2)));
    }

    #[test]
    fn a_suspend_image_that_another_vm_resumes_from_stops_it_too() {
        let image = ImageFacts { vdi: vdi(4), is_suspend_image: true, used_elsewhere: true };
        assert_eq!(belongings(&[], Some(image)), Err(Refusal::ForeignImage(vdi(4))));
        let disk = ImageFacts { is_suspend_image: false, used_elsewhere: false, ..image };
        assert_eq!(belongings(&[], Some(disk)), Err(Refusal::ForeignImage(vdi(4))));
    }
}
