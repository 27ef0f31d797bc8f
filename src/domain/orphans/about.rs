//! What a person is told of something that is left: what it is, why it stays, and what to do about it by hand.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A VM that our work left halted or suspended.
    Vm,
    /// A snapshot.
    Snapshot,
    /// A disk without a VM.
    Disk,
    /// A task at the server.
    Task,
}

impl What {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Vm => "vm",
            What::Snapshot => "snapshot",
            What::Disk => "disk",
            What::Task => "task",
        }
    }
}

/// Why it is not put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The disk goes by itself, later.
    Waits,
    /// The disk has another name than was recorded.
    Renamed,
    /// The disk's snapshot was pinned.
    Pinned,
    /// A removal let the disk be.
    Spared,
    /// Somebody else removed the disk's snapshot.
    ByOthers,
    /// Only the snapshot's name is like ours.
    NameOnly,
    /// The snapshot is ours and no plain snapshot of its VM any more.
    Detached(String),
    /// The snapshot's mark is of a newer program.
    TooNew,
    /// The snapshot cannot be removed.
    Stuck(String),
    /// The snapshot cannot be marked or removed now.
    Unmended(String),
    /// The VM that was shut down for its snapshot does not start.
    Halted,
    /// The VM that a snapshot with memory suspended does not resume.
    Suspended,
    /// The task goes on although it was told to end.
    EndsNot,
}

impl Why {
    /// A short code that stays the same over versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Why::Waits => "waits",
            Why::Renamed => "renamed",
            Why::Pinned => "pinned",
            Why::Spared => "spared",
            Why::ByOthers => "removed-by-others",
            Why::NameOnly => "name-only",
            Why::Detached(_) => "detached",
            Why::TooNew => "too-new",
            Why::Stuck(_) => "stuck",
            Why::Unmended(_) => "unmended",
            Why::Halted => "halted",
            Why::Suspended => "suspended",
            Why::EndsNot => "ends-not",
        }
    }

    /// Every code, for documents.
    pub const CODES: &'static [&'static str] = &[
        "waits",
        "renamed",
        "pinned",
        "spared",
        "removed-by-others",
        "name-only",
        "detached",
        "too-new",
        "stuck",
        "unmended",
        "halted",
        "suspended",
        "ends-not",
    ];

    /// True if nobody has to do anything.
    pub fn passes(&self) -> bool {
        matches!(self, Why::Waits)
    }

    /// What to do about it by hand.
    pub fn todo(&self, uuid: Uuid) -> String {
        match self {
            Why::Waits => "nothing; to keep it, give the disk a name of yours, or attach it".to_owned(),
            Why::Renamed | Why::Spared | Why::ByOthers => format!("if nobody wants it: xe vdi-destroy uuid={uuid}"),
            Why::Pinned => format!("attach the disk to save what is on it, or: xe vdi-destroy uuid={uuid}"),
            Why::NameOnly => {
                format!("xensnap adopt --policy POLICY {uuid} makes it a policy's; xe snapshot-uninstall uuid={uuid} removes it")
            }
            Why::Detached(_) => format!("use it, or: xe snapshot-uninstall uuid={uuid}"),
            Why::TooNew => "update xensnap, or find out which installation wrote it".to_owned(),
            Why::Stuck(_) | Why::Unmended(_) => {
                format!("xensnap show {uuid} lists its parts; mend what is in the way, it is tried again by itself")
            }
            Why::Halted => format!("xe vm-start uuid={uuid}"),
            Why::Suspended => format!("xe vm-resume uuid={uuid}"),
            Why::EndsNot => {
                format!(
                    "xe task-list uuid={uuid} says what it is; a restart of the master's toolstack (xe-toolstack-restart) ends it"
                )
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Waits => "the server forgot its snapshot; it goes by itself",
            Why::Renamed => "its snapshot is gone, and somebody gave the disk another name",
            Why::Pinned => "its snapshot is gone, and had been pinned",
            Why::Spared => "its snapshot was removed, and the disk was let be because it was used then",
            Why::ByOthers => "somebody else removed its snapshot and left the disk",
            Why::NameOnly => "its name ends as ours do, and the history knows nothing of it",
            Why::Detached(why) => return write!(f, "it was ours and counts for no policy any more: {why}"),
            Why::TooNew => "its mark was written by a newer version",
            Why::Stuck(why) => return write!(f, "it cannot be removed: {why}"),
            Why::Unmended(why) => return write!(f, "it is ours and cannot be put right now: {why}"),
            Why::Halted => "it was shut down for its snapshot and does not start",
            Why::Suspended => "a snapshot with memory left it suspended, and it does not resume",
            Why::EndsNot => "nobody waits for it any more, and it goes on although it was told to end",
        })
    }
}

/// Something that is left and is not put right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// What it is.
    pub what: What,
    /// Which.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The VM it belonged to.
    pub vm: Option<(Uuid, String)>,
    /// The policy's id.
    pub policy: Option<String>,
    /// The storage repository, and the bytes that it takes there as far as is known.
    pub storage: Option<(String, u64)>,
    /// Since when it is left.
    pub since: Option<DateTime<Utc>>,
    /// When it goes by itself.
    pub goes_at: Option<DateTime<Utc>>,
    /// Why it is left.
    pub why: Why,
}

impl Orphan {
    /// What to do about it by hand.
    pub fn todo(&self) -> String {
        self.why.todo(self.uuid)
    }
}
