//! What is known of a removal and of each of its parts, and the lines along which that may change.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::closed::closed;
use crate::store::columns::{Cause, Columns};
use crate::store::error::Fault;
use crate::store::ids::{RemovalId, RunId, SnapshotId};
use crate::store::sqlite::Row;

closed! {
    /// Where a removal is.
    RemovalState {
        /// Written down; nothing was destroyed.
        Planned = "planned",
        /// Calls are under way, or were when the daemon died.
        Working = "working",
        /// The server refused for the moment; it is tried again.
        Waiting = "waiting",
        /// Something stays that cannot be removed: listed until a person, or a later try, removes it.
        Orphaned = "orphaned",
        /// All parts are gone, or were found not to be ours to destroy.
        Done = "done",
        /// An older copy of the history was restored: what it had planned counts no more.
        Dropped = "dropped",
        /// The plan changed before anything was destroyed.
        Withdrawn = "withdrawn",
    }
}

impl RemovalState {
    /// True if it is tried again by itself.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Planned | Self::Working | Self::Waiting)
    }

    /// True if a removal in this state may come to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use RemovalState::*;
        match self {
            Planned => matches!(next, Working | Waiting | Dropped | Withdrawn),
            Working => matches!(next, Waiting | Orphaned | Done | Dropped | Withdrawn),
            Waiting => matches!(next, Working | Orphaned | Done | Dropped | Withdrawn),
            Orphaned => matches!(next, Working | Done | Dropped),
            Done | Dropped | Withdrawn => false,
        }
    }
}

closed! {
    /// What a part is.
    Role {
        /// The snapshot's own record.
        Snapshot = "snapshot",
        /// One of its disks.
        Disk = "disk",
        /// Its suspend image.
        Suspend = "suspend",
    }
}

closed! {
    /// What is known of a part.
    PartState {
        /// It is there and is to go.
        There = "there",
        /// The call has left, or may have.
        Destroying = "destroying",
        /// Seen to be gone.
        Gone = "gone",
        /// Looked at again and not ours to destroy: used elsewhere, no snapshot any more.
        Spared = "spared",
        /// The server will not let it go.
        Stuck = "stuck",
    }
}

/// A removal to be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRemoval {
    /// The pool.
    pub pool: Uuid,
    /// The snapshot, which may have no row: leftovers of a failed one.
    pub snapshot: Uuid,
    /// The run whose plan it is.
    pub run: Option<RunId>,
    /// Why it is to go, as the plan says it.
    pub reason: String,
    /// Everything that will be destroyed.
    pub parts: Vec<(Role, Uuid)>,
}

/// A piece of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The object.
    pub uuid: Uuid,
    /// What it is.
    pub role: Role,
    /// What is known of it.
    pub state: PartState,
    /// Why, if that needs a reason.
    pub cause: Option<Cause>,
    /// Since when.
    pub changed_at: DateTime<Utc>,
}

/// A removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its row.
    pub id: RemovalId,
    /// The pool.
    pub pool: Uuid,
    /// The snapshot.
    pub snapshot: Uuid,
    /// The snapshot's row, if it has one.
    pub snapshot_row: Option<SnapshotId>,
    /// The run whose plan it was, while history has it.
    pub run: Option<RunId>,
    /// Why it is to go.
    pub reason: String,
    /// Where it is.
    pub state: RemovalState,
    /// How often it was tried.
    pub tries: u64,
    /// When to try again.
    pub next_try: DateTime<Utc>,
    /// What came in its way last.
    pub cause: Option<Cause>,
    /// When it was planned.
    pub planned_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When the pool's database was synchronised after it.
    pub settled_at: Option<DateTime<Utc>>,
    /// Its parts: the snapshot first, then disks, then the suspend image.
    pub parts: Vec<Part>,
}

macro_rules! select_removal {
    ($($rest:tt)+) => {
        concat!("SELECT m.*, o.uuid AS pool_uuid FROM removals m JOIN pools o ON o.id = m.pool_id ", $($rest)+)
    };
}
pub(in crate::store) use select_removal;

pub(in crate::store) fn read(row: &Row, parts: Vec<Part>) -> Result<Removal, Fault> {
    Ok(Removal {
        id: row.id("id")?,
        pool: row.uuid("pool_uuid")?,
        snapshot: row.uuid("snapshot_uuid")?,
        snapshot_row: row.maybe_id("snapshot_id")?,
        run: row.maybe_id("run_id")?,
        reason: row.text("reason")?,
        state: row.closed("state")?,
        tries: row.count("tries")?,
        next_try: row.time("next_try_at")?,
        cause: row.cause()?,
        planned_at: row.time("planned_at")?,
        finished_at: row.maybe_time("finished_at")?,
        settled_at: row.maybe_time("settled_at")?,
        parts,
    })
}

pub(in crate::store) fn read_part(row: &Row) -> Result<Part, Fault> {
    Ok(Part {
        uuid: row.uuid("uuid")?,
        role: row.closed("role")?,
        state: row.closed("state")?,
        cause: row.cause()?,
        changed_at: row.time("changed_at")?,
    })
}
