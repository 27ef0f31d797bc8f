//! What the tests share: a history in a temporary folder, and the shortest way to a slot, a run, a job, a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use uuid::Uuid;
use xensnap::store::{
    Attempt, Claim, Disk, Job, Kind, NewJob, NewRun, NewSlot, NewSnapshot, Opened, Options, Origin, PolicySeen, Run, SlotId,
    SlotState, SnapshotId, Store,
};

/// A time of the form `2026-03-01T02:00:00Z`.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The hour `n` hours after the night the tests live in.
pub(crate) fn hour(n: i64) -> DateTime<Utc> {
    at("2026-03-01T02:00:00Z") + chrono::TimeDelta::hours(n)
}

pub(crate) const POOL: Uuid = Uuid::from_u128(0xf00d);
pub(crate) const MASTER_START: &str = "1772330000.";

/// Options that do not wait long for locks.
pub(crate) fn options() -> Options {
    Options { busy_timeout: Duration::from_millis(300), ..Options::default() }
}

/// Options for many processes that fight for the same file.
pub(crate) fn patient() -> Options {
    Options { busy_timeout: Duration::from_secs(60), ..Options::default() }
}

/// A history in a folder of its own, with policies `nightly` and `hourly`.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("history.db")).await.store;
        store.see_policies(vec![policy("nightly"), policy("hourly")], hour(0)).await.unwrap();
        store.start_cursors(POOL, vec!["nightly".into(), "hourly".into()], hour(0)).await.unwrap();
        Self { folder, store }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("history.db")
    }

    pub(crate) async fn claimed(&self, policy: &str, due: DateTime<Utc>) -> SlotId {
        match self.store.claim(slot(policy, due, SlotState::Claimed), due).await.unwrap() {
            Claim::Won(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn run(&self, policy: &str, due: DateTime<Utc>) -> Run {
        let slot = self.claimed(policy, due).await;
        self.store.start_run(NewRun { slot, uuid: Uuid::new_v4(), observe: false }, due).await.unwrap()
    }

    /// A run with one job for VM `vm`.
    pub(crate) async fn job(&self, policy: &str, due: DateTime<Utc>, vm: u128) -> Job {
        let run = self.run(policy, due).await;
        self.store.add_jobs(run.id, vec![job(vm, due)], due).await.unwrap().remove(0)
    }

    pub(crate) async fn intent(&self, job: &Job) -> Attempt {
        self.store.write_intent(job.id, &nonce(), MASTER_START, job.created_at).await.unwrap()
    }

    /// A job whose snapshot exists.
    pub(crate) async fn taken(&self, policy: &str, due: DateTime<Utc>, vm: u128) -> (Job, SnapshotId) {
        let job = self.job(policy, due, vm).await;
        let attempt = self.intent(&job).await;
        let id = self.store.snapshot_taken(attempt.id, snapshot(Uuid::new_v4(), vm, policy, due), due).await.unwrap();
        (job, id)
    }

    /// A job whose snapshot is marked and durable.
    pub(crate) async fn durable(&self, policy: &str, due: DateTime<Utc>, vm: u128) -> (Job, SnapshotId) {
        let (job, id) = self.taken(policy, due, vm).await;
        self.store.snapshot_marked(id, due).await.unwrap();
        assert_eq!(self.store.snapshots_durable(vec![id], due).await.unwrap(), [id]);
        (job, id)
    }
}

pub(crate) async fn open(path: &std::path::Path) -> Opened {
    Store::open(path, &options(), hour(0)).await.unwrap()
}

/// Unlike any other in this run.
pub(crate) fn nonce() -> String {
    Uuid::new_v4().simple().to_string()[..12].to_owned()
}

pub(crate) fn policy(id: &str) -> PolicySeen {
    PolicySeen { id: id.into(), name: id.into(), fingerprint: "0 2 * * *".into(), enabled: true }
}

pub(crate) fn slot(policy: &str, due_at: DateTime<Utc>, state: SlotState) -> NewSlot {
    let reason = if state == SlotState::Claimed { "on-time" } else { "late" };
    NewSlot {
        policy: policy.into(),
        pool: POOL,
        due_at,
        origin: Origin::Schedule,
        state,
        reason: reason.into(),
        detail: String::new(),
    }
}

pub(crate) fn job(vm: u128, due: DateTime<Utc>) -> NewJob {
    let deadline = due + chrono::TimeDelta::hours(1);
    NewJob { vm: Uuid::from_u128(vm), vm_name: format!("vm {vm}"), kind: Kind::Disk, not_before: due, deadline, skip: None }
}

pub(crate) fn snapshot(uuid: Uuid, vm: u128, policy: &str, due_at: DateTime<Utc>) -> NewSnapshot {
    let disk = |n: u128| Disk {
        vdi: Uuid::from_u128(uuid.as_u128() ^ n),
        sr: Uuid::from_u128(0x5e),
        position: n.to_string(),
        name: format!("disk {n}"),
        virtual_size: 8 << 30,
        of: Some(Uuid::from_u128(n)),
    };
    NewSnapshot {
        pool: POOL,
        uuid,
        vm: Uuid::from_u128(vm),
        vm_name: format!("vm {vm}"),
        policy: policy.into(),
        due_at,
        kind: Kind::Disk,
        name: format!("{policy} of vm {vm}"),
        disks: vec![disk(1), disk(2)],
        suspend_image: None,
        taken_at: due_at,
    }
}

/// The history that a child process works on, which other tests start this program as; none in an ordinary run, where a child has
/// nothing to do.
pub fn history_of_the_parent() -> Option<PathBuf> {
    std::env::var_os("XENSNAP_TEST_HISTORY").map(PathBuf::from)
}
