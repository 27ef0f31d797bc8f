//! Two VMs with two disks each, an hourly policy that keeps one snapshot, and the check that everything is as it should be: one
//! snapshot per slot and VM, marked and durable, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use xensnap::domain::policy::Policy;
use xensnap::domain::selection::{Clause, Condition, Field, Selection};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::ledger::Deed;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Ref;
use xensnap::simulator::world::World;
use xensnap::store::{
    EventFilter, Job, JobFilter, JobState, Options, Outcome, Page, RunFilter, Severity, SlotFilter, SnapshotState, Store,
};

use super::life::Life;
use crate::lab::{Lab, at, policy};

const START: &str = "2026-03-01T12:30:00Z";

/// Marks in descriptions: how they begin.
const DESCRIBED: &str = "taken by xensnap for policy hourly";

pub struct Bench {
    pub lab: Lab,
    pub life: Life,
    /// The next slot.
    pub due: DateTime<Utc>,
    /// How many halves of snapshots failed attempts have left so far; each had one disk.
    pub leftovers: usize,
    /// How many of those earlier hours had.
    cleared: usize,
    hours: usize,
    foreign: BTreeSet<Ref>,
    counts: Option<[usize; 3]>,
}

/// A small pool with VMs of one, two and three disks, and snapshots of other tools.
pub fn world(timings: Timings) -> World {
    let recipe = Recipe { hosts: 2, vms: 5, snapshots: Some(2), seed: 0, disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, at(START));
    world.storage.timings = timings;
    world
}

/// The first VMs that have this many disks.
pub fn with_disks(world: &World, disks: usize, vms: usize) -> Vec<String> {
    let database = &world.database;
    let is_disk = |vbd: &Ref| &*database.text("VBD", vbd, "type") == "Disk";
    let plain =
        |vm: &Ref| !["is_a_template", "is_a_snapshot", "is_control_domain"].iter().any(|field| database.bool("VM", vm, field));
    let mut names: Vec<String> = database
        .refs("VM")
        .iter()
        .filter(|vm| plain(vm) && database.texts("VM", vm, "VBDs").iter().filter(|vbd| is_disk(vbd)).count() == disks)
        .map(|vm| database.text("VM", vm, "name_label").to_string())
        .collect();
    names.sort();
    names.truncate(vms);
    assert_eq!(names.len(), vms, "the generated pool has too few VMs with {disks} disks");
    names
}

/// A policy for just these VMs.
pub fn policy_for(id: &str, cron: &str, vms: &[String], last: u32) -> Policy {
    let names: Vec<&str> = vms.iter().map(String::as_str).collect();
    let include = vec![Clause(vec![Condition::parse(Field::Name, &names).unwrap()])];
    Policy { selection: Selection { include, ..Selection::default() }, ..policy(id, cron, "*", last) }
}

fn snapshots(world: &World) -> BTreeSet<Ref> {
    let database = &world.database;
    database.refs("VM").into_iter().filter(|vm| database.bool("VM", vm, "is_a_snapshot")).collect()
}

impl Bench {
    /// A pool whose work takes no time, and a first hour in which nothing goes wrong.
    pub async fn new(life: Life) -> Self {
        Self::with(life, Timings::instant()).await
    }

    pub async fn with(life: Life, timings: Timings) -> Self {
        let world = world(timings);
        let policies = vec![policy_for("hourly", "0 * * * *", &with_disks(&world, 2, 2), 1)];
        let foreign = snapshots(&world);
        assert!(!foreign.is_empty());
        let lab = Lab::with(START, world, policies).await;
        let due = at("2026-03-01T13:00:00Z");
        let mut bench = Self { lab, life, due, leftovers: 0, cleared: 0, hours: 0, foreign, counts: None };
        bench.life.start(&bench.lab).await;
        bench.pass_hour().await;
        bench
    }

    /// Lets time pass until shortly before the next slot.
    pub async fn before_slot(&self) {
        self.lab.clock.advance_to(self.due - TimeDelta::seconds(1)).await;
    }

    /// Lets the hour of the next slot pass and checks everything.
    pub async fn pass_hour(&mut self) {
        self.lab.clock.advance_to(self.due + TimeDelta::minutes(45)).await;
        self.check().await;
        self.due += TimeDelta::hours(1);
    }

    /// Dies as it is told in the next slot, starts again after `pause`, and the hour ends as if nothing had been. False: it did not
    /// die, because what was waited for does not come any more.
    pub async fn survive(&mut self, pause: Duration) -> bool {
        let died = self.dies().await;
        self.lab.simulation.set_faults(Default::default());
        self.goes_on(died, pause).await;
        died
    }

    /// Dies as it is told in the next slot. False: it did not.
    pub async fn dies(&self) -> bool {
        let died = self.life.until_dead(&self.lab, Duration::from_secs(900)).await;
        self.life.lives();
        died
    }

    /// Starts again after `pause` if it died, and the hour ends as if nothing had been.
    pub async fn goes_on(&mut self, died: bool, pause: Duration) {
        if died {
            self.lab.clock.advance(pause).await;
            self.life.start(&self.lab).await;
        }
        self.pass_hour().await;
    }

    pub async fn history(&self) -> Store {
        Store::open_read_only(self.lab.folder.path().join("history.sqlite"), &Options::default()).await.unwrap()
    }

    /// The jobs of the slot that is due, or was last.
    pub async fn jobs(&self, due: DateTime<Utc>) -> Vec<Job> {
        let store = self.history().await;
        let jobs = store.jobs(JobFilter::default(), Page::first(10)).await.unwrap().rows;
        store.close().await.unwrap();
        jobs.into_iter().filter(|job| job.due_at == due).collect()
    }

    async fn check(&mut self) {
        self.hours += 1;
        let store = self.history().await;
        self.check_events(&store).await;
        self.check_pool();
        self.check_history(&store).await;
        self.cleared = self.leftovers;
        store.close().await.unwrap();
    }

    fn check_pool(&mut self) {
        let found = self.lab.snapshots();
        assert_eq!(found.iter().map(|found| found.mark.due_at).collect::<Vec<_>>(), [self.due; 2], "{:?}", self.lab.held());
        assert_ne!(found[0].vm, found[1].vm);
        let shared = self.lab.simulation.shared().unwrap();
        let counts = shared.step(|world| {
            let database = &world.database;
            for found in &found {
                let (name, text) = ["name_label", "name_description"]
                    .map(|field| database.text("VM", &found.reference, field).to_string())
                    .into();
                assert!(found.mark.nonce.ends(&name), "{name}");
                assert!(text.starts_with(DESCRIBED), "{text}");
            }
            assert!(self.foreign.is_subset(&snapshots(world)), "a foreign snapshot is gone");
            let disks = database.refs("VDI").into_iter().filter(|vdi| database.bool("VDI", vdi, "is_a_snapshot"));
            [database.count("VM"), database.count("VBD"), disks.count()]
        });
        let before = *self.counts.get_or_insert(counts);
        assert_eq!(counts, before, "VMs, drives and disks of snapshots");
        self.check_ledger();
    }

    /// What really happened, from the beginning: every snapshot was taken once and removed once, and nothing else was.
    fn check_ledger(&self) {
        let ledger = self.lab.simulation.shared().unwrap().ledger();
        let count = |deed: Deed, class: &str, method: &str| {
            ledger.iter().filter(|entry| entry.deed == deed && entry.class == class && *entry.actor.method == *method).count()
        };
        let (taken, removed) = (2 * self.hours + self.leftovers, 2 * (self.hours - 1) + self.leftovers);
        assert_eq!(count(Deed::Created, "VM", "VM.snapshot"), taken, "snapshots taken");
        assert_eq!(count(Deed::Destroyed, "VM", "VM.destroy"), removed, "snapshots removed");
        assert_eq!(
            count(Deed::Destroyed, "VDI", "VDI.destroy"),
            4 * (self.hours - 1) + 2 * self.leftovers,
            "disks removed, one of each half by who left it"
        );
        let destroyed = |class: &str| ledger.iter().filter(|entry| entry.deed == Deed::Destroyed && entry.class == class).count();
        assert_eq!(destroyed("VM"), removed, "VMs that went");
    }

    async fn check_history(&self, store: &Store) {
        let runs = store.runs(RunFilter::default(), Page::first(1)).await.unwrap().rows;
        let run = &runs[0];
        let removed = if self.hours == 1 { 0 } else { 2 + (self.leftovers - self.cleared) as u64 };
        assert_eq!((run.due_at, run.outcome, run.done), (self.due, Some(Outcome::Succeeded), 2), "{run:?}");
        assert_eq!(run.removed, removed, "{run:?}");
        let slots = store.slots(SlotFilter::default(), Page::first(1000)).await.unwrap().rows;
        assert!(slots.len() == self.hours && slots.iter().all(|slot| slot.state.has_run()), "{slots:?}");
        let jobs = store.jobs_of(run.id).await.unwrap();
        assert!(jobs.iter().all(|job| job.state == JobState::Done), "{jobs:?}");
        let present = store.present_snapshots(run.pool).await.unwrap();
        assert_eq!(present.iter().map(|row| row.state).collect::<Vec<_>>(), [SnapshotState::Durable; 2], "{present:?}");
        assert_eq!(store.unfinished_runs().await.unwrap(), []);
        assert_eq!(store.unfinished_jobs().await.unwrap(), []);
        assert_eq!(store.open_attempts().await.unwrap(), []);
        assert_eq!(store.open_removals(run.pool).await.unwrap(), []);
        assert_eq!(store.orphans(run.pool).await.unwrap(), []);
        assert_eq!(store.removals_to_settle(run.pool).await.unwrap(), [], "the second synchronisation");
        assert!(store.slots_without_run().await.unwrap().is_empty());
    }

    /// Whatever went wrong is said first: the rest follows from it.
    async fn check_events(&self, store: &Store) {
        let bad = EventFilter { at_least: Some(Severity::Error), ..EventFilter::default() };
        assert_eq!(store.events(bad, Page::first(10)).await.unwrap().rows, []);
    }

    /// After a day the server has swept up what nobody can sweep up that was killed: tasks and sessions. It looks every few hours.
    pub async fn check_a_day_later(&mut self) {
        self.life.kill();
        self.lab.clock.advance(Duration::from_secs(36 * 3600)).await;
        assert_eq!((self.lab.count("task"), self.lab.count("session")), (0, 0));
    }
}
