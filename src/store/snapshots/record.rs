//! What is known of a snapshot, and the lines along which that may change.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::closed::closed;
use crate::store::columns::Columns;
use crate::store::error::Fault;
use crate::store::ids::{AttemptId, JobId, RunId, SnapshotId, VmId};
use crate::store::jobs::Kind;
use crate::store::sqlite::Row;

closed! {
    /// What is known of a snapshot.
    SnapshotState {
        /// It exists and has no mark yet.
        Taken = "taken",
        /// It has its mark; the server may still forget it.
        Marked = "marked",
        /// The pool's database was synchronised after the mark: it justifies the removal of an older one.
        Durable = "durable",
        /// A removal is planned or under way.
        Removing = "removing",
        /// Its record is gone from the pool, by our doing.
        Removed = "removed",
        /// The pool does not know it any more, by nobody's doing: the server forgot, or somebody removed it.
        Vanished = "vanished",
        /// It was removed and is back: the record of something whose disks are gone. Counts for nothing.
        Ghost = "ghost",
        /// It was turned into a VM, lost its VM, or its disks are used elsewhere. Counts for nothing, is never removed.
        Detached = "detached",
        /// It was given away on purpose.
        Released = "released",
    }
}

impl SnapshotState {
    /// True if the pool should have its record.
    pub fn is_present(self) -> bool {
        matches!(self, Self::Taken | Self::Marked | Self::Durable | Self::Removing | Self::Ghost | Self::Detached)
    }

    /// True if a snapshot in this state may come to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use SnapshotState::*;
        match self {
            Taken => matches!(next, Marked | Removing | Vanished | Detached),
            Marked => matches!(next, Durable | Removing | Vanished | Detached | Released),
            Durable => matches!(next, Removing | Vanished | Detached | Released),
            Removing => matches!(next, Removed | Vanished | Detached | Taken | Marked | Durable | Ghost),
            Removed => next == Ghost,
            Vanished => matches!(next, Marked | Removed),
            Ghost => matches!(next, Removing | Removed | Vanished),
            Detached => matches!(next, Marked | Vanished | Removed | Released),
            Released => next == Marked,
        }
    }
}

/// A disk of a snapshot, as it was recorded when the snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The snapshot's VDI.
    pub vdi: Uuid,
    /// The SR it is on.
    pub sr: Uuid,
    /// Its position (`userdevice`).
    pub position: String,
    /// Its name.
    pub name: String,
    /// Its virtual size in bytes.
    pub virtual_size: u64,
    /// The VM's disk it was taken of, where the server says so.
    pub of: Option<Uuid>,
}

/// A snapshot to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The pool.
    pub pool: Uuid,
    /// The snapshot.
    pub uuid: Uuid,
    /// The VM it was taken of.
    pub vm: Uuid,
    /// That VM's name.
    pub vm_name: String,
    /// The policy's id.
    pub policy: String,
    /// When its slot was due.
    pub due_at: DateTime<Utc>,
    /// What kind.
    pub kind: Kind,
    /// The snapshot's name.
    pub name: String,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its suspend image, which no VBD names.
    pub suspend_image: Option<Uuid>,
    /// When the server took it.
    pub taken_at: DateTime<Utc>,
}

/// A snapshot as history knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its row.
    pub id: SnapshotId,
    /// The pool.
    pub pool: Uuid,
    /// The snapshot.
    pub uuid: Uuid,
    /// The VM's row.
    pub vm: VmId,
    /// The VM it was taken of.
    pub vm_uuid: Uuid,
    /// That VM's name when last seen.
    pub vm_name: String,
    /// The policy's id.
    pub policy: String,
    /// The policy's present name.
    pub policy_name: String,
    /// When its slot was due.
    pub due_at: DateTime<Utc>,
    /// The run that took it, while history has it.
    pub run: Option<RunId>,
    /// The job that took it, while history has it.
    pub job: Option<JobId>,
    /// The attempt that took it, while history has it.
    pub attempt: Option<AttemptId>,
    /// What kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub state: SnapshotState,
    /// The disks that were recorded: nothing else is ever destroyed with it.
    pub disks: Vec<Disk>,
    /// Its suspend image.
    pub suspend_image: Option<Uuid>,
    /// When the server took it.
    pub taken_at: DateTime<Utc>,
    /// When its mark was written.
    pub marked_at: Option<DateTime<Utc>>,
    /// When it became durable.
    pub durable_at: Option<DateTime<Utc>>,
    /// When it was adopted.
    pub adopted_at: Option<DateTime<Utc>>,
    /// When it was given away.
    pub released_at: Option<DateTime<Utc>>,
    /// When the pool was found not to know it.
    pub vanished_at: Option<DateTime<Utc>>,
    /// When it was found to be back.
    pub ghost_at: Option<DateTime<Utc>>,
    /// When its record went.
    pub removed_at: Option<DateTime<Utc>>,
    /// It stays until then, whatever retention says.
    pub pinned_until: Option<DateTime<Utc>>,
    /// Why it was pinned.
    pub pin_reason: Option<String>,
}

macro_rules! select_snapshot {
    ($($rest:tt)+) => {
        concat!(
            "SELECT n.*, o.uuid AS pool_uuid, v.uuid AS vm_uuid, v.name AS vm_name, p.key AS policy_key, p.name AS policy_name,
                 a.job_id AS job_id, j.run_id AS run_id
             FROM snapshots n JOIN pools o ON o.id = n.pool_id JOIN vms v ON v.id = n.vm_id JOIN policies p ON p.id = n.policy_id
                 LEFT JOIN attempts a ON a.id = n.attempt_id LEFT JOIN jobs j ON j.id = a.job_id ",
            $($rest)+
        )
    };
}
pub(in crate::store) use select_snapshot;

pub(in crate::store) fn read(row: &Row) -> Result<Snapshot, Fault> {
    Ok(Snapshot {
        id: row.id("id")?,
        pool: row.uuid("pool_uuid")?,
        uuid: row.uuid("uuid")?,
        vm: row.id("vm_id")?,
        vm_uuid: row.uuid("vm_uuid")?,
        vm_name: row.text("vm_name")?,
        policy: row.text("policy_key")?,
        policy_name: row.text("policy_name")?,
        due_at: row.time("due_at")?,
        run: row.maybe_id("run_id")?,
        job: row.maybe_id("job_id")?,
        attempt: row.maybe_id("attempt_id")?,
        kind: row.closed("kind")?,
        name: row.text("name")?,
        state: row.closed("state")?,
        disks: row.json("disks")?,
        suspend_image: row.maybe_uuid("suspend_image")?,
        taken_at: row.time("taken_at")?,
        marked_at: row.maybe_time("marked_at")?,
        durable_at: row.maybe_time("durable_at")?,
        adopted_at: row.maybe_time("adopted_at")?,
        released_at: row.maybe_time("released_at")?,
        vanished_at: row.maybe_time("vanished_at")?,
        ghost_at: row.maybe_time("ghost_at")?,
        removed_at: row.maybe_time("removed_at")?,
        pinned_until: row.maybe_time("pinned_until")?,
        pin_reason: row.maybe_text("pin_reason")?,
    })
}
