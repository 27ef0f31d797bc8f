//! The history: what was due, what was done about it, what exists because of it, and what is to be removed. The only module that
//! knows sqlx.
//!
//! # The rules it keeps
//!
//! - *Before the call, the row.* An intent, a removal plan, a claim is on disk when the function that writes it returns. A write that
//!   failed was not done at all.
//! - *A slot is claimed once, for ever.* The row of a slot is inserted and never changed; whoever inserts it has won.
//! - *States move along drawn lines.* A step that does not follow from where a thing is returns [`Error::Illegal`] and changes
//!   nothing. The same step a second time is no error and no second row.
//! - *One moment.* What changes several rows is one transaction, and what reads several rows reads the state of one moment.
//! - *Nothing is lost silently.* A file that is foreign, damaged, full, locked, read-only, newer or older than expected is said to be
//!   so, with what to do, and is not changed.
//!
//! # Where to look
//!
//! | file | idea |
//! | --- | --- |
//! | `open`, `migrate`, `lineage`, `log` | from a path to a [`Store`]: looks, copies, migrates, recognises older copies |
//! | `writer` | one connection writes; many writers share one commit |
//! | `sqlite` | what is SQLite's and not SQL's |
//! | `columns`, `closed`, `ids`, `page` | values to columns and back, lists by pages |
//! | `policies`, `pools`, `slots` | what is due |
//! | `runs`, `jobs`, `attempts` | what is done about it |
//! | `snapshots`, `removals` | what exists because of it, and what must go |
//! | `alarms` | what is wrong, who is to be told, which promise counts since when |
//! | `events`, `approvals`, `notes`, `installation` | what people should know and have decided, and small facts |
//! | `history`, `inspection`, `recovery` | questions: of people, about many things and about one; of a daemon that starts |
//! | `retention`, `backup` | history's own retention, and copies |
//!
//! Time is always an argument: the store asks nobody what time it is.

mod alarms;
mod approvals;
mod attempts;
mod backup;
mod closed;
mod columns;
mod error;
mod events;
mod figures;
mod history;
mod ids;
mod inspection;
mod installation;
mod jobs;
mod lineage;
mod log;
mod migrate;
mod notes;
mod open;
mod page;
mod policies;
mod pools;
mod recovery;
mod removals;
mod retention;
mod runs;
mod slots;
mod snapshots;
mod sqlite;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use alarms::{AlarmForm, Covering, Delivery, DeliveryState, Due, Tried};
pub use approvals::{Approval, ApprovalState, NewApproval};
pub use attempts::{Attempt, AttemptState, Ended};
pub use backup::Copied;
pub use columns::Cause;
pub use error::{Error, Result};
pub use events::{Event, EventFilter, EventKind, NewEvent, Severity};
pub use figures::Figures;
pub use history::{JobFilter, RunFilter, SlotFilter, SnapshotFilter};
pub use ids::{ApprovalId, AttemptId, DeliveryId, EventId, JobId, RemovalId, RunId, SlotId, SnapshotId, VmId};
pub use installation::Installation;
pub use jobs::{Job, JobState, Kind, NewJob};
pub use lineage::Lineage;
pub use open::{Migrated, Opened, Options};
pub use page::{After, Listed, NoPlace, Page, all};
pub use policies::{Changes, Cursor, Policy, PolicySeen};
pub use pools::{Member, Pool, PoolSeen, Vm};
pub use removals::{NewRemoval, Part, PartState, Removal, RemovalState, Role};
pub use retention::{Forgotten, Keep};
pub use runs::{NewRun, Outcome, Run, RunState};
pub use slots::{Claim, NewSlot, Origin, Slot, SlotState};
pub use snapshots::{Disk, NewSnapshot, Snapshot, SnapshotState};
pub use sqlite::Condition;

use error::Fault;
use sqlite::{Connection, Readers};
use writer::{Step, Writer};

/// An open history. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    busy: Duration,
    readers: Readers,
    writer: Option<Writer>,
}

impl Store {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Waits for what is being written, then closes the files. Later calls return [`Error::Closed`].
    ///
    /// # Errors
    /// When the log could not be folded into the database. Nothing that was acknowledged is lost: the next opening reads the log.
    pub async fn close(&self) -> Result<()> {
        self.inner.readers.close().await;
        match &self.inner.writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }

    /// One transaction that writes. Returns once it is on disk.
    async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Step<'c, T> + Send + 'static,
    {
        self.inner.writer.as_ref().ok_or(Error::OpenedForReading)?.write(operation, work).await
    }

    /// One transaction that reads the state of one moment.
    async fn read<T, F>(&self, operation: &'static str, work: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> Step<'c, T>,
    {
        self.read_moment(work).await.map_err(|fault| match fault {
            Fault::Sql(error) if matches!(*error, sqlx::Error::PoolClosed) => Error::Closed,
            fault => fault.during(operation, &self.inner.path),
        })
    }

    async fn read_moment<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> Step<'c, T>,
    {
        let mut moment = self.inner.readers.begin().await?;
        let value = work(&mut moment).await?;
        moment.rollback().await?;
        Ok(value)
    }
}
