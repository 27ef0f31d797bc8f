//! The binary, as a process that is killed: `xensnap daemon` with a real clock against a simulated pool in this process, SIGKILL right
//! after one of its calls had its effect, and a second start with the same files. (Every step, on a clock that is moved by hand:
//! `tests/scenarios/crash`.)
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xensnap::clock::{Clock as _, SharedClock, SystemClock};
use xensnap::domain::mark::{KEY, Mark};
use xensnap::simulator::Options;
use xensnap::simulator::faults::{Action, Plan, Rule, When};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::ledger::Deed;
use xensnap::simulator::simulation::{Seat, Simulation};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Value};
use xensnap::store::{Options as StoreOptions, Outcome, Page, RunFilter, SlotFilter, SlotState, Store};

/// How long the machine may take for anything; only a failure waits so long.
const BOUND: Duration = Duration::from_secs(120);

/// A pool, and the folder of a service that works on it.
struct Site {
    simulation: Simulation,
    folder: TempDir,
    vms: usize,
}

/// A process that ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }

    async fn ends(&mut self) -> std::process::ExitStatus {
        let end = Instant::now() + BOUND;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn main_file(folder: &Path, address: &str, lease: &str) {
    let text = format!(
        "installation = \"killed\"\npolicies = \"policies.d\"\n[daemon]\nlease = \"{lease}\"\nsync_interval = \"1s\"\nsocket = \"control.sock\"\n[store]\npath = \"history.sqlite\"\n\
         [[pool]]\nname = \"lab\"\naddresses = [\"http://{address}\"]\nusername = \"root\"\npassword = \"xensnap\"\n"
    );
    fs::write(folder.join("xensnap.toml"), text).unwrap();
    fs::set_permissions(folder.join("xensnap.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn policy_file(folder: &Path, text: &str) {
    fs::create_dir_all(folder.join("policies.d")).unwrap();
    fs::write(folder.join("policies.d/quick.toml"), text).unwrap();
}

/// One run when the service starts, and none by the clock.
const ON_START: &str = "[[policy]]\nname = \"Quick\"\nid = \"quick\"\n[policy.schedule]\nzone = \"UTC\"\ncron = \"0 0 1 1 *\"\nrun_on_start = true\n\
                        [policy.select]\ninclude = [{ name = \"*\" }]\n[policy.retention]\nlast = 1\n";

/// A run every few seconds.
const EVERY_FOUR_SECONDS: &str = "[[policy]]\nname = \"Quick\"\nid = \"quick\"\n[policy.schedule]\nzone = \"UTC\"\ncron = \"*/4 * * * * *\"\n\
                                  [policy.select]\ninclude = [{ name = \"*\" }]\n[policy.retention]\nlast = 1\n";

impl Site {
    async fn new(policy: &str) -> Self {
        let clock: SharedClock = Arc::new(SystemClock::new());
        let recipe = Recipe { hosts: 1, vms: 2, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
        let mut world = generate(&recipe, clock.now());
        world.storage.timings = Timings::default();
        let host = world.database.refs("host").remove(0);
        world.database.set("host", &host, "address", Value::str("127.0.0.1")).unwrap();
        let seat = Seat { host, listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap() };
        let simulation = Simulation::start(Options::default(), clock, world, vec![seat]).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        main_file(folder.path(), &simulation.addresses()[0].1.to_string(), "60s");
        policy_file(folder.path(), policy);
        Self { simulation, folder, vms: 2 }
    }

    fn start(&self) -> Service {
        self.start_in(self.folder.path())
    }

    fn start_in(&self, folder: &Path) -> Service {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xensnap"));
        command.args(["daemon", "--config"]).arg(folder.join("xensnap.toml"));
        let journal = fs::OpenOptions::new().create(true).append(true).open(folder.join("journal")).unwrap();
        Service(command.stdout(Stdio::null()).stderr(journal).spawn().unwrap())
    }

    /// True once a life has said this.
    fn said(&self, words: &str) -> bool {
        fs::read_to_string(self.folder.path().join("journal")).unwrap().contains(words)
    }

    async fn history(&self) -> Store {
        Store::open_read_only(self.folder.path().join("history.sqlite"), &StoreOptions::default()).await.unwrap()
    }

    /// The marks of our snapshots that are true of them.
    fn marks(&self) -> Vec<Mark> {
        self.simulation.shared().unwrap().step(|world| {
            let database = &world.database;
            let snapshots = database.refs("VM").into_iter().filter(|vm| database.bool("VM", vm, "is_a_snapshot"));
            let marks = snapshots.filter_map(|vm: Ref| {
                let mark = Mark::decode(&database.map_text("VM", &vm, "other_config", KEY)?).ok()?;
                (mark.snapshot.0.to_string() == *database.text("VM", &vm, "uuid")).then_some(mark)
            });
            marks.collect()
        })
    }

    fn done(&self, deed: Deed, class: &str, method: &str) -> usize {
        let ledger = self.simulation.shared().unwrap().ledger();
        ledger.iter().filter(|entry| entry.deed == deed && entry.class == class && *entry.actor.method == *method).count()
    }

    fn struck(&self) -> bool {
        self.simulation.faults().reports().iter().any(|report| report.struck > 0)
    }

    /// How the runs ended, newest first; nothing for one that has not.
    async fn outcomes(&self) -> Vec<Option<Outcome>> {
        if !self.folder.path().join("history.sqlite").exists() {
            return Vec::new();
        }
        let Ok(store) = Store::open_read_only(self.folder.path().join("history.sqlite"), &StoreOptions::default()).await else {
            return Vec::new();
        };
        let runs = store.runs(RunFilter::default(), Page::first(100)).await.unwrap().rows;
        store.close().await.unwrap();
        runs.iter().map(|run| run.outcome).collect()
    }

    async fn until_runs(&self, runs: usize) {
        let end = Instant::now() + BOUND;
        loop {
            let outcomes = self.outcomes().await;
            if outcomes.len() >= runs && outcomes.iter().all(|outcome| *outcome == Some(Outcome::Succeeded)) {
                return;
            }
            assert!(Instant::now() < end, "{outcomes:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether the journal of a folder has these words.
fn says(folder: &Path, words: &str) -> bool {
    fs::read_to_string(folder.join("journal")).is_ok_and(|said| said.contains(words))
}

/// A folder of a second service of the same installation.
fn second_folder(site: &Site, lease: &str) -> TempDir {
    let (folder, address) = (tempfile::tempdir().unwrap(), site.simulation.addresses()[0].1.to_string());
    main_file(folder.path(), &address, lease);
    main_file(site.folder.path(), &address, lease);
    policy_file(folder.path(), EVERY_FOUR_SECONDS);
    folder
}

/// Each VM has one snapshot of each slot that has any, and no slot between the first and the last has none.
fn no_slot_is_doubled_or_lost(site: &Site, longest: chrono::TimeDelta) {
    let ledger = site.simulation.shared().unwrap().ledger();
    let created =
        ledger.iter().filter(|entry| entry.deed == Deed::Created && entry.class == "VM" && *entry.actor.method == *"VM.snapshot");
    let taken = created.count();
    let mut due: Vec<_> = site.marks().iter().map(|mark| (mark.due_at, mark.vm)).collect();
    due.sort_unstable();
    let marks = due.len();
    due.dedup();
    assert_eq!((due.len(), taken), (marks, marks), "one of each slot and VM, and each is marked");
    let mut slots: Vec<_> = due.iter().map(|(due, _)| *due).collect();
    slots.dedup();
    assert_eq!(slots.len() * site.vms, marks, "each slot for each VM");
    let gaps = slots.windows(2).map(|pair| pair[1] - pair[0]);
    let gap = gaps.max().unwrap();
    assert!(gap <= longest, "{gap}");
}

/// `XENSNAP_LEASE` says the term, 3s if nothing is said; the figure of docs/LEASE.md is that of 60s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_followed_by_the_other_within_its_term() {
    let term = std::env::var("XENSNAP_LEASE").unwrap_or_else(|_| "3s".to_owned());
    let seconds: u64 = term.trim_end_matches('s').parse().unwrap();
    let site = Site::new(&EVERY_FOUR_SECONDS.replace("last = 1", "last = 100")).await;
    let folder = second_folder(&site, &term);
    policy_file(folder.path(), &EVERY_FOUR_SECONDS.replace("last = 1", "last = 100"));
    let mut first = site.start();
    until("the first works", || site.marks().len() >= 2 * site.vms).await;
    let second = site.start_in(folder.path());
    until("the second stands by", || says(folder.path(), "this one stands by")).await;
    let before = site.marks().len();
    until("the first works on", || site.marks().len() >= before + 2 * site.vms).await;
    first.0.kill().unwrap();
    first.ends().await;
    let killed = Instant::now();
    until("the second takes over", || says(folder.path(), "is taken over from")).await;
    let took = killed.elapsed();
    let before = site.marks().len();
    until("the second works", || site.marks().len() >= before + 2 * site.vms).await;
    println!(
        "lease = {term}: the other had the lease {:.1} s after kill -9, and its first new snapshots were marked after {:.1} s",
        took.as_secs_f64(),
        killed.elapsed().as_secs_f64()
    );
    second.signal("-TERM");
    let mut second = second;
    assert!(second.ends().await.success());
    assert!(took <= Duration::from_secs(seconds + 20), "{took:?}");
    // Of slots that nobody could keep the newest is made up for, as `catch_up` says.
    no_slot_is_doubled_or_lost(&site, chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap() + 40));
}

/// SIGSTOP for longer than the term, and SIGCONT: whoever wakes up finds that it is another's turn before it changes anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_for_longer_than_its_term_does_not_act_when_it_goes_on() {
    let site = Site::new(&EVERY_FOUR_SECONDS.replace("last = 1", "last = 100")).await;
    let folder = second_folder(&site, "3s");
    policy_file(folder.path(), &EVERY_FOUR_SECONDS.replace("last = 1", "last = 100"));
    let mut first = site.start();
    until("the first works", || site.marks().len() >= 2 * site.vms).await;
    let mut second = site.start_in(folder.path());
    until("the second stands by", || says(folder.path(), "this one stands by")).await;
    first.signal("-STOP");
    until("the second takes over", || says(folder.path(), "is taken over from")).await;
    let before = site.marks().len();
    until("the second works", || site.marks().len() >= before + 2 * site.vms).await;
    first.signal("-CONT");
    until("the first sees it", || site.said("another daemon of this installation works with the pool")).await;
    let before = site.marks().len();
    until("the second works on", || site.marks().len() >= before + 2 * site.vms).await;
    first.signal("-TERM");
    assert!(first.ends().await.success());
    second.signal("-TERM");
    assert!(second.ends().await.success());
    no_slot_is_doubled_or_lost(&site, chrono::TimeDelta::seconds(60));
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A life that begins within the second of the one before finds its extra slot claimed.
async fn another_second() {
    let second = || SystemClock::new().now().timestamp();
    let begun = second();
    until("the clock goes on", || second() != begun).await;
}

/// Killed at its `nth` such call, right after the effect. The first run has taken a snapshot of each VM, the second replaces them.
async fn killed_at(method: &str, nth: u64) {
    let site = Site::new(ON_START).await;
    let mut first = site.start();
    site.until_runs(1).await;
    first.signal("-TERM");
    assert!(first.ends().await.success());
    site.simulation.set_faults(Plan::new(0).with(Rule::on(method, Action::Cut(When::After)).nth(nth)));
    another_second().await;
    let mut second = site.start();
    until("the call is made", || site.struck()).await;
    second.0.kill().unwrap();
    second.ends().await;
    site.simulation.set_faults(Plan::default());
    // The third life finishes the run of the second; its own slot finds that at work, and says so.
    another_second().await;
    let third = site.start();
    site.until_runs(2).await;
    third.signal("-TERM");
    let marks = site.marks();
    assert_eq!(marks.len(), site.vms, "{method} {nth}: {marks:?}");
    let taken = site.done(Deed::Created, "VM", "VM.snapshot");
    let removed = site.done(Deed::Destroyed, "VM", "VM.destroy");
    assert_eq!((taken, removed), (2 * site.vms, site.vms), "{method} {nth}: each slot has one snapshot of each VM");
    let store = site.history().await;
    let pool = marks[0].pool.0;
    let skipped = store.slots(SlotFilter { state: Some(SlotState::Overlapped), ..SlotFilter::default() }, Page::first(5)).await;
    assert_eq!(skipped.unwrap().rows.len(), 1, "{method} {nth}");
    assert_eq!(store.unfinished_jobs().await.unwrap(), [], "{method} {nth}");
    assert_eq!(store.open_removals(pool).await.unwrap(), [], "{method} {nth}");
    assert_eq!(store.present_snapshots(pool).await.unwrap().len(), site.vms, "{method} {nth}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_after_any_of_its_calls_is_survived_by_the_next_start() {
    // Where a call was only intended the next life waits for half a minute before it believes that; these had all left.
    let moments =
        [("VM.snapshot", 2), ("VM.add_to_other_config", 2), ("pool.sync_database", 2), ("VM.destroy", 2), ("VDI.destroy", 2)];
    futures_util::future::join_all(moments.map(|(method, nth)| killed_at(method, nth))).await;
}

fn xensnap(site: &Site, words: &[&str]) -> (Option<i32>, String) {
    let main = site.folder.path().join("xensnap.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_xensnap")).args(words).arg("--config").arg(main).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_answered_with_what_changed_or_with_all_that_is_wrong() {
    let site = Site::new(ON_START).await;
    let mut service = site.start();
    site.until_runs(1).await;
    assert_eq!(xensnap(&site, &["reload"]), (Some(0), "nothing changed\n1 policy is in force\n".to_owned()));
    let other = ON_START.replace("0 0 1 1 *", "0 2 * * *").replace("last = 1", "last = 2");
    policy_file(site.folder.path(), &other);
    let (code, said) = xensnap(&site, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("policy quick changed: schedule, retention; next ") && said.contains(" 02:00 UTC\n"), "{said}");
    policy_file(site.folder.path(), &other.replace("last = 2", "last = 0").replace("zone = \"UTC\"", "zone = \"Mars\""));
    let (code, said) = xensnap(&site, &["reload"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("was not reloaded, 2 errors; what was in force stays so") && said.contains("Mars"), "{said}");
    let (code, said) = xensnap(&site, &["status", "--check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("XENSNAP WARNING - ") && said.contains("was not reloaded, 2 errors"), "{said}");
    policy_file(site.folder.path(), &other);
    assert_eq!(xensnap(&site, &["reload"]), (Some(0), "nothing changed\n1 policy is in force\n".to_owned()));
    assert_eq!(xensnap(&site, &["status", "--check"]).0, Some(0));
    service.signal("-TERM");
    assert!(service.ends().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_service_says_that_one_runs_and_a_killed_ones_socket_is_taken_over() {
    let site = Site::new(ON_START).await;
    let mut first = site.start();
    site.until_runs(1).await;
    let (code, said) = xensnap(&site, &["daemon"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another xensnap daemon answers at "), "{said}");
    first.0.kill().unwrap();
    first.ends().await;
    assert!(site.folder.path().join("control.sock").exists(), "it had no time to remove it");
    assert_eq!(xensnap(&site, &["status", "--check"]).0, Some(2));
    another_second().await;
    let mut second = site.start();
    site.until_runs(2).await;
    assert_eq!(xensnap(&site, &["status", "--check"]).0, Some(0));
    second.signal("-TERM");
    assert!(second.ends().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_at_sighup_leaves_the_old_policies_in_force_and_a_good_one_replaces_them() {
    let site = Site::new(EVERY_FOUR_SECONDS).await;
    let mut service = site.start();
    until("it has taken something", || site.done(Deed::Created, "VM", "VM.snapshot") >= site.vms).await;
    policy_file(site.folder.path(), &EVERY_FOUR_SECONDS.replace("last = 1", "last = \"many\""));
    service.signal("-HUP");
    until("it says so", || site.said("the configuration was not reloaded") && site.said("last = \"many\"")).await;
    let before = site.done(Deed::Created, "VM", "VM.snapshot");
    until("it goes on", || site.done(Deed::Created, "VM", "VM.snapshot") >= before + 2 * site.vms).await;
    policy_file(site.folder.path(), &EVERY_FOUR_SECONDS.replace("last = 1", "last = 3"));
    service.signal("-HUP");
    until("it keeps three", || site.marks().len() >= 3 * site.vms).await;
    service.signal("-TERM");
    assert!(service.ends().await.success());
    let sessions = site.simulation.shared().unwrap().step(|world| world.database.count("session"));
    assert_eq!(sessions, 0, "it logged out");
}
