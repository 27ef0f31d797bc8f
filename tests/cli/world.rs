//! A week of history, and the binary that reads it. Everything that is made up is the same in every run, so that it can be printed.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use snapbox::cmd::Command;
use tempfile::TempDir;
use uuid::Uuid;
use xensnap::store::{
    Cause, Claim, Disk, Ended, EventKind, JobState, Kind, Member, NewEvent, NewJob, NewRemoval, NewRun, NewSlot, NewSnapshot,
    Options, Origin, Outcome, PartState, PolicySeen, PoolSeen, Role, Run, RunState, SlotState, SnapshotId, Store,
};

pub(crate) const TOKYO: Uuid = Uuid::from_u128(0x0007_0c10_0000_4000_8000_0000_0000_0001);
/// When the verbs think it is.
pub(crate) const NOW: &str = "2026-03-07T12:00:00Z";

const SERVER_START: &str = "1772330000.";
const WEB: (u128, &str) = (0xa1, "web-01");
const ACCOUNTS: (u128, &str) = (0xa2, "database-server-of-the-accounting-department");
const FILES: (u128, &str) = (0xa3, "ファイルサーバ");

const MAIN: &str = r#"
installation = "site-a"
[store]
path = "history.db"
[[pool]]
name = "tokyo"
addresses = ["https://xen1.example.org"]
username = "root"
password = "secret"
[[pool]]
name = "osaka"
addresses = ["https://xen2.example.org"]
username = "root"
password = "secret"
"#;

/// The policies of the week, a new one, and one that is switched off.
const POLICIES: &str = r#"
[[policy]]
name = "nightly"
pools = ["tokyo"]
schedule = { cron = "30 2 * * *", zone = "Europe/Berlin", blackout = ["2026-03-08"] }
select = { include = [{ tag = "backup" }] }
retention = { last = 2, daily = 7, monthly = 3 }

[[policy]]
id = "h-1"
name = "hourly"
observe = true
schedule = { cron = "30 * * * *", zone = "Europe/Berlin" }
select = { include = [{ name = "web-*" }] }
retention = { hourly = 12 }

[[policy]]
name = "weekly-archive-of-the-tokyo-office"
schedule = { cron = "15 9 * * sun", zone = "Asia/Tokyo" }
select = { include = [{ tag = "archive" }] }
retention = { weekly = 10 }

[[policy]]
name = "old"
enabled = false
schedule = { cron = "@daily", zone = "UTC" }
select = { include = [{ tag = "old" }] }
retention = { last = 1 }
"#;

/// The night `n` nights after the first of March, at half past two in Berlin.
pub(crate) fn night(n: i64) -> DateTime<Utc> {
    "2026-03-01T01:30:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(n)
}

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// A uuid that can be told from others by its beginning.
fn uuid(kind: u8, n: u128) -> Uuid {
    Uuid::from_u128((u128::from(kind) << 120) | (n << 96) | (0x4000_8000 << 48) | n)
}

/// A history in a folder of its own.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    made: u128,
}

impl World {
    /// A history in which nothing has happened.
    pub(crate) async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("history.db"), &Options::default(), night(0)).await.unwrap().store;
        Self { folder, store, made: 0 }
    }

    /// Six nights of three VMs: one that went well, one that failed in part, one missed, one skipped, and what retention did about them.
    pub(crate) async fn week() -> Self {
        let mut world = Self::empty().await;
        let store = world.store.clone();
        let policy = |id: &str, name: &str| PolicySeen {
            id: id.into(),
            name: name.into(),
            fingerprint: "30 2 * * *".into(),
            enabled: true,
        };
        store.belong_to("site-a").await.unwrap();
        store.see_policies(vec![policy("nightly", "nightly"), policy("h-1", "hourly")], night(0)).await.unwrap();
        store.see_pool(pool(TOKYO, "tokyo"), night(0)).await.unwrap();
        store.start_cursors(TOKYO, vec!["nightly".into(), "h-1".into()], night(0) - TimeDelta::days(1)).await.unwrap();
        let first = world.good_night(0, &[]).await;
        world.bad_night(1).await;
        world.not_run("nightly", night(2), SlotState::Missed, "found 14h late, the policy catches up for 12h").await;
        world.not_run("nightly", night(3), SlotState::Skipped, "in the blackout \"2026-03-04\"").await;
        let fifth = world.good_night(4, &first).await;
        world.observed(night(4) + TimeDelta::hours(1)).await;
        store.pin(fifth[0], night(40), "before the migration").await.unwrap();
        world.still_going(night(6)).await;
        world
    }

    /// Two pools, each with a VM that is called the same.
    pub(crate) async fn twins() -> Self {
        let mut world = Self::week().await;
        let osaka = Uuid::from_u128(0x0000_5a4a_0000_4000_8000_0000_0000_0002);
        world.store.see_pool(pool(osaka, "osaka"), night(5)).await.unwrap();
        world.made += 1;
        let disks = vec![disk(world.made, 0, "system", 20 << 30)];
        let (due_at, taken_at, policy) = (night(5), night(5), "nightly".to_owned());
        let (uuid, vm, vm_name) = (uuid(0x99, world.made), uuid(0xf2, 1), WEB.1.to_owned());
        let new = NewSnapshot {
            pool: osaka,
            uuid,
            vm,
            vm_name,
            policy,
            due_at,
            kind: Kind::Disk,
            name: "web-01".into(),
            disks,
            suspend_image: None,
            taken_at,
        };
        world.store.adopt(new, night(5)).await.unwrap();
        world
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("history.db")
    }

    /// The binary with these words and a configuration that names this history.
    pub(crate) fn configured(&self, width: u16, words: &str) -> Command {
        let main = self.folder.path().join("xensnap.toml");
        std::fs::write(&main, MAIN).unwrap();
        std::fs::set_permissions(&main, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let policies = self.folder.path().join("policies.d");
        std::fs::create_dir_all(&policies).unwrap();
        std::fs::write(policies.join("all.toml"), POLICIES).unwrap();
        xensnap(width).args(words.split_whitespace()).arg("--config").arg(main).args(["--now", NOW])
    }

    /// The binary with these words, on this history, on a screen so wide, in Berlin.
    pub(crate) fn run(&self, width: u16, words: &str) -> Command {
        xensnap(width).args(words.split_whitespace()).arg("--database").arg(self.path()).args(["--now", NOW])
    }

    async fn slot(&self, policy: &str, due_at: DateTime<Utc>, state: SlotState, detail: &str) -> Claim {
        let new = NewSlot {
            policy: policy.into(),
            pool: TOKYO,
            due_at,
            origin: Origin::Schedule,
            state,
            reason: state.as_str().into(),
            detail: detail.into(),
        };
        self.store.claim(new, due_at + seconds(2)).await.unwrap()
    }

    async fn not_run(&self, policy: &str, due_at: DateTime<Utc>, state: SlotState, why: &str) {
        assert!(matches!(self.slot(policy, due_at, state, why).await, Claim::Won(_)));
    }

    async fn start(&mut self, policy: &str, due_at: DateTime<Utc>, observe: bool) -> Run {
        let Claim::Won(slot) = self.slot(policy, due_at, SlotState::Claimed, "on time").await else { panic!("claimed before") };
        self.made += 1;
        let new = NewRun { slot, uuid: uuid(0x4e, self.made), observe };
        self.store.start_run(new, due_at + seconds(2)).await.unwrap()
    }

    /// A night on which all went well, except that of what was to go afterwards not all did.
    async fn good_night(&mut self, n: i64, unwanted: &[SnapshotId]) -> Vec<SnapshotId> {
        let due = night(n);
        let run = self.start("nightly", due, false).await;
        let vms = [WEB, ACCOUNTS, FILES].map(|vm| job(vm, due));
        let jobs = self.store.add_jobs(run.id, vms.to_vec(), due + seconds(2)).await.unwrap();
        let mut taken = Vec::new();
        for (at, job) in jobs.iter().enumerate() {
            let begin = due + seconds(3 + 20 * at as i64);
            taken.push(self.taken(job, n, begin).await);
        }
        self.store.snapshots_durable(taken.clone(), due + seconds(70)).await.unwrap();
        for job in &jobs {
            self.store.end_job(job.id, JobState::Done, None, due + seconds(75)).await.unwrap();
        }
        self.store.advance_run(run.id, RunState::Removing).await.unwrap();
        self.removed(unwanted, &run).await;
        self.store.finish_run(run.id, Outcome::Succeeded, None, due + seconds(86)).await.unwrap();
        taken
    }

    /// A job's call, its snapshot and its mark.
    async fn taken(&mut self, job: &xensnap::store::Job, n: i64, begin: DateTime<Utc>) -> SnapshotId {
        self.made += 1;
        let nonce = format!("k7m2x{:03}", self.made);
        let attempt = self.store.write_intent(job.id, &nonce, SERVER_START, begin).await.unwrap();
        let task = format!("OpaqueRef:{}", uuid(0x7a, self.made));
        self.store.call_answered(attempt.id, &task, SERVER_START, begin + seconds(1)).await.unwrap();
        let new = NewSnapshot {
            pool: TOKYO,
            uuid: uuid(0x5a + n as u8, self.made),
            vm: job.vm_uuid,
            vm_name: job.vm_name.clone(),
            policy: job.policy.clone(),
            due_at: job.due_at,
            kind: job.kind,
            name: format!("{} nightly 2026-03-{:02} 02:30 #{nonce}", job.vm_name, n + 1),
            disks: vec![disk(self.made, 0, "system", 20 << 30), disk(self.made, 1, "data", 1_650 << 30)],
            suspend_image: None,
            taken_at: begin + seconds(12),
        };
        let id = self.store.snapshot_taken(attempt.id, new, begin + seconds(14)).await.unwrap();
        self.store.snapshot_marked(id, begin + seconds(15)).await.unwrap();
        id
    }

    /// A night on which one VM went well, one failed twice and one was skipped.
    async fn bad_night(&mut self, n: i64) {
        let due = night(n);
        let run = self.start("nightly", due, false).await;
        let guard = Cause::new("no-guest-tools", "the guest has no tools, so it cannot be quiesced");
        let quiesced = NewJob { kind: Kind::Quiesced, skip: Some(guard), ..job(FILES, due) };
        let jobs =
            self.store.add_jobs(run.id, vec![job(WEB, due), job(ACCOUNTS, due), quiesced], due + seconds(2)).await.unwrap();
        let taken = self.taken(&jobs[0], n, due + seconds(3)).await;
        let full = Cause::new("SR_BACKEND_FAILURE_44", "There is insufficient space [opterr=VDI size 1650 GiB]");
        for (nonce, after) in [("p3q8r101", 20), ("p3q8r102", 320)] {
            let attempt = self.store.write_intent(jobs[1].id, nonce, SERVER_START, due + seconds(after)).await.unwrap();
            let end = due + seconds(after + 9);
            self.store.call_ended(attempt.id, Ended::Refused, full.clone(), end + seconds(300), end).await.unwrap();
        }
        self.store.end_job(jobs[1].id, JobState::Failed, Some(full), due + seconds(600)).await.unwrap();
        self.store.snapshots_durable(vec![taken], due + seconds(620)).await.unwrap();
        self.store.end_job(jobs[0].id, JobState::Done, None, due + seconds(621)).await.unwrap();
        let cause = Cause::new("", "1 of 3 VMs failed: there is no space on SR \"san-2\"");
        self.store.finish_run(run.id, Outcome::Partial, Some(cause), due + seconds(625)).await.unwrap();
        let text = "SR \"san-2\" has no space left for a snapshot of database-server-of-the-accounting-department; free 1.7 TiB, or move the VM";
        let event = NewEvent::new(due + seconds(329), EventKind::JobFailed, text);
        let event = NewEvent { run: Some(run.id), pool: Some(TOKYO), vm: Some(vm_uuid(ACCOUNTS)), ..event };
        self.store.note_event(event).await.unwrap();
    }

    async fn observed(&mut self, due: DateTime<Utc>) {
        let run = self.start("h-1", due, true).await;
        let jobs = self.store.add_jobs(run.id, vec![job(WEB, due)], due + seconds(2)).await.unwrap();
        self.store.end_job(jobs[0].id, JobState::Observed, None, due + seconds(3)).await.unwrap();
        self.store.finish_run(run.id, Outcome::Observed, None, due + seconds(3)).await.unwrap();
    }

    /// Of the first night's snapshots the first goes, a disk of the second is stuck, and the third waits.
    async fn removed(&mut self, unwanted: &[SnapshotId], by: &Run) {
        let begin = night(4) + seconds(80);
        for (at, id) in unwanted.iter().enumerate() {
            let snapshot = self.store.snapshot(*id).await.unwrap();
            let mut parts = vec![(Role::Snapshot, snapshot.uuid)];
            parts.extend(snapshot.disks.iter().map(|disk| (Role::Disk, disk.vdi)));
            let reason = "no rule keeps it".to_owned();
            let new = NewRemoval { pool: TOKYO, snapshot: snapshot.uuid, run: Some(by.id), reason, parts: parts.clone() };
            let removal = self.store.plan_removal(new, begin).await.unwrap();
            self.store.begin_removal(removal.id, begin).await.unwrap();
            let busy = Cause::new("VDI_IN_USE", "the disk is attached to the control domain");
            for (n, (_, part)) in parts.iter().enumerate() {
                let (state, cause) = match (at, n) {
                    (1, 2) => (PartState::Stuck, Some(busy.clone())),
                    (2, 1..) => continue,
                    _ => (PartState::Gone, None),
                };
                self.store.removal_part(removal.id, *part, state, cause, begin + seconds(n as i64)).await.unwrap();
            }
            match at {
                0 => self.store.finish_removal(removal.id, begin + seconds(5)).await.unwrap(),
                1 => self.store.orphan_removal(removal.id, busy, begin + seconds(5)).await.unwrap(),
                _ => self.store.postpone_removal(removal.id, begin + TimeDelta::days(3), busy).await.unwrap(),
            }
        }
    }

    /// A run that is under way now.
    async fn still_going(&mut self, due: DateTime<Utc>) {
        let run = self.start("nightly", due, false).await;
        let jobs = self.store.add_jobs(run.id, vec![job(WEB, due), job(FILES, due)], due + seconds(2)).await.unwrap();
        self.taken(&jobs[0], 6, due + seconds(3)).await;
    }
}

fn vm_uuid((number, _): (u128, &str)) -> Uuid {
    uuid(0xf1, number)
}

fn job(vm: (u128, &str), due: DateTime<Utc>) -> NewJob {
    let deadline = due + TimeDelta::hours(4);
    NewJob { vm: vm_uuid(vm), vm_name: vm.1.into(), kind: Kind::Disk, not_before: due, deadline, skip: None }
}

fn disk(of: u128, position: u128, name: &str, virtual_size: u64) -> Disk {
    Disk {
        vdi: uuid(0xd0, of * 16 + position),
        sr: uuid(0x5e, 2),
        position: position.to_string(),
        name: name.into(),
        virtual_size,
        of: Some(uuid(0xda, position)),
    }
}

/// A pool with one host.
pub(crate) fn pool(uuid: Uuid, name: &str) -> PoolSeen {
    let host = Uuid::from_u128(uuid.as_u128() ^ 0xff);
    let members = vec![Member { uuid: host, name: "xen1".into(), address: "192.0.2.1".into() }];
    PoolSeen { uuid, name: name.into(), members, master: host, server_start: SERVER_START.into() }
}

/// The binary, on a screen so wide, in Berlin.
pub(crate) fn xensnap(width: u16) -> Command {
    Command::new(env!("CARGO_BIN_EXE_xensnap"))
        .env("TZ", "Europe/Berlin")
        .env("COLUMNS", width.to_string())
        .env_remove("XENSNAP_LOG")
        .with_assert(snapbox::Assert::new().action_env("SNAPSHOTS").normalize_paths(false))
}
