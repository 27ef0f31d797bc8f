//! What the history costs: intents per second when writers share commits, against one commit per intent; and the questions people and
//! the daemon ask, on a large history.
//!
//! `XENSNAP_BENCH_JOBS` sets how many jobs the large history has (200,000 unless told; 5,000,000 is what the claims are made for). It is
//! made once and kept under `target/tmp`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark says what failed by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;
use xensnap::store::{
    Claim, EventFilter, JobFilter, JobState, Keep, Kind, NewJob, NewRun, NewSlot, Options, Origin, Page, PolicySeen, RunFilter,
    SlotState, Store, VmId,
};

const POOL: Uuid = Uuid::from_u128(0xf00d);
const VMS: u128 = 5_000;
const POLICIES: usize = 10_000;

fn night() -> DateTime<Utc> {
    "2026-03-01T02:00:00Z".parse().unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

// Intents per second.

/// A history with an endless supply of jobs that wait.
struct Intents {
    _folder: TempDir,
    path: PathBuf,
    store: Store,
    used: i64,
}

impl Intents {
    async fn new() -> Self {
        // Beside the build, because /tmp may be memory, which syncs for free.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path().join("history.db");
        let store = Store::open(&path, &Options::default(), night()).await.unwrap().store;
        let policy = PolicySeen { id: "p".into(), name: "p".into(), fingerprint: "f".into(), enabled: true };
        store.see_policies(vec![policy], night()).await.unwrap();
        Self { _folder: folder, path, store, used: 0 }
    }

    async fn jobs(&mut self, count: u64) -> Vec<i64> {
        let mut jobs = Vec::new();
        while (jobs.len() as u64) < count {
            self.used += 1;
            let run = run(&self.store, "p", night() + TimeDelta::seconds(self.used)).await;
            let new = (0..1000.min(count - jobs.len() as u64)).map(|vm| job(u128::from(vm))).collect();
            jobs.extend(self.store.add_jobs(run, new, night()).await.unwrap().iter().map(|job| job.id.0));
        }
        jobs
    }
}

async fn run(store: &Store, policy: &str, due_at: DateTime<Utc>) -> xensnap::store::RunId {
    let Claim::Won(slot) = store.claim(slot(policy, due_at), due_at).await.unwrap() else { panic!("claimed twice") };
    store.start_run(NewRun { slot, uuid: Uuid::new_v4(), observe: false }, due_at).await.unwrap().id
}

fn slot(policy: &str, due_at: DateTime<Utc>) -> NewSlot {
    let (reason, detail) = ("on-time".to_owned(), String::new());
    NewSlot { policy: policy.into(), pool: POOL, due_at, origin: Origin::Schedule, state: SlotState::Claimed, reason, detail }
}

fn job(vm: u128) -> NewJob {
    let deadline = night() + TimeDelta::hours(1);
    let vm_name = format!("vm {vm}");
    NewJob { vm: Uuid::from_u128(vm), vm_name, kind: Kind::Disk, not_before: night(), deadline, skip: None }
}

/// `jobs` intents by so many writers side by side.
async fn shared(store: &Store, jobs: Vec<i64>, writers: usize) -> Duration {
    let jobs = Arc::new(Mutex::new(jobs));
    let begin = Instant::now();
    let tasks = (0..writers).map(|_| {
        let (store, jobs) = (store.clone(), Arc::clone(&jobs));
        tokio::spawn(async move {
            loop {
                let Some(job) = jobs.lock().unwrap().pop() else { return };
                store
                    .write_intent(xensnap::store::JobId(job), &Uuid::new_v4().simple().to_string(), "1.", night())
                    .await
                    .unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    begin.elapsed()
}

/// What it would be without sharing: the least an intent needs, each in a commit of its own.
async fn alone(path: &Path, jobs: Vec<i64>) -> Duration {
    let options =
        SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let begin = Instant::now();
    for job in jobs {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        let update = "UPDATE jobs SET state = 'intent', changed_at = 1 WHERE id = $1 AND state = 'queued'";
        sqlx::query(update).bind(job).execute(&mut connection).await.unwrap();
        sqlx::query("INSERT INTO attempts (job_id, number, nonce, state, intent_at) VALUES ($1, 1, $2, 'intent', 1)")
            .bind(job)
            .bind(Uuid::new_v4().simple().to_string())
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
    }
    let took = begin.elapsed();
    connection.close().await.unwrap();
    took
}

fn intents(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut intents = runtime.block_on(Intents::new());
    let mut rates: BTreeMap<usize, f64> = BTreeMap::new();
    let mut group = criterion.benchmark_group("intents");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(4));
    // Zero writers stand for the baseline.
    for writers in [0, 1, 8, 64] {
        let name = if writers == 0 { "one commit each".to_owned() } else { format!("{writers} writers") };
        let (mut count, mut time) = (0, Duration::ZERO);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let took = runtime.block_on(async {
                    let jobs = intents.jobs(iterations).await;
                    if writers == 0 { alone(&intents.path, jobs).await } else { shared(&intents.store, jobs, writers).await }
                });
                (count, time) = (count + iterations, time + took);
                took
            });
        });
        rates.insert(writers, count as f64 / time.as_secs_f64());
    }
    group.finish();
    let baseline = rates[&0];
    println!("intents per second: one commit each {baseline:.0}");
    for (writers, rate) in rates.into_iter().skip(1) {
        println!("  {writers:2} writers: {rate:6.0}, {:.1} times as many", rate / baseline);
    }
}

// A large history.

fn size() -> u64 {
    std::env::var("XENSNAP_BENCH_JOBS").map_or(200_000, |text| text.parse().expect("XENSNAP_BENCH_JOBS is a number"))
}

/// Makes the history, unless an earlier run did.
async fn large(jobs: u64) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{jobs}.db"));
    if path.exists() {
        return path;
    }
    let begin = Instant::now();
    let making = path.with_extension("making");
    for ending in ["", "-wal", "-shm", ".generation"] {
        let _ = std::fs::remove_file(format!("{}{ending}", making.display()));
    }
    let store = Store::open(&making, &Options::default(), night()).await.unwrap().store;
    let policy = |n| PolicySeen { id: format!("p{n}"), name: format!("policy {n}"), fingerprint: "f".into(), enabled: true };
    store.see_policies((0..POLICIES).map(policy).collect(), night()).await.unwrap();
    store.start_cursors(POOL, (0..POLICIES).map(|n| format!("p{n}")).collect(), night()).await.unwrap();
    let first = run(&store, "p0", night()).await;
    store.add_jobs(first, (0..VMS).map(job).collect(), night()).await.unwrap();
    store.close().await.unwrap();
    fill(&making, jobs).await;
    for ending in ["", ".generation"] {
        std::fs::rename(format!("{}{ending}", making.display()), format!("{}{ending}", path.display())).unwrap();
    }
    println!("made a history of {jobs} jobs in {:.0?}: {} MB", begin.elapsed(), std::fs::metadata(&path).unwrap().len() >> 20);
    path
}

/// Runs of 25 jobs, ten policies an hour, going back from now. One job in a hundred failed, one in fifty needed a second attempt.
async fn fill(path: &Path, jobs: u64) {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false).synchronous(SqliteSynchronous::Off);
    let mut connection = SqliteConnection::connect_with(&options.journal_mode(SqliteJournalMode::Off)).await.unwrap();
    let (runs, start) = (jobs / 25, night().timestamp_micros());
    let series = |count: u64| format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})");
    let uuid = "lower(printf('%08x-%04x-4%03x-8%03x-%012x', n, n % 65536, n % 4096, n % 4096, n))";
    let time = |n: &str| format!("({start} - ({runs} - {n}) * 360000000)");
    let statements = [
        format!(
            "{} INSERT INTO slots SELECT 100 + n, 1 + n % {POLICIES}, 1, {} + n, 'schedule', 'claimed', 'on-time', '', {} FROM n",
            series(runs),
            time("n"),
            time("n")
        ),
        format!(
            "{} INSERT INTO runs SELECT 100 + n, {uuid}, 100 + n, 1 + n % {POLICIES}, 1, 'done',
                 CASE n % 4 WHEN 0 THEN 'partial' ELSE 'succeeded' END, 0, 0, 25, 25, 0, 0, 0, NULL, NULL, {}, {} + 60000000 FROM n",
            series(runs),
            time("n"),
            time("n")
        ),
        format!(
            "{} INSERT INTO jobs SELECT 100000 + n, 100 + 1 + (n - 1) / 25, 1 + n * 7 % {VMS}, 1 + (1 + (n - 1) / 25) % {POLICIES},
                 'vm ' || (n * 7 % {VMS}), 'disk', CASE n % 100 WHEN 0 THEN 'failed' ELSE 'done' END, 0, 0, 0,
                 CASE n % 100 WHEN 0 THEN 'SR_BACKEND_FAILURE_44' END, CASE n % 100 WHEN 0 THEN 'There is insufficient space' END,
                 {time} + n, {time} + n, {time} + n FROM n",
            series(jobs),
            time = time("(1 + (n - 1) / 25)")
        ),
        format!(
            "{} INSERT INTO attempts SELECT 100000 + n, 100000 + n, 1, printf('%012x', n), CASE n % 50 WHEN 0 THEN 'refused' ELSE 'succeeded' END,
                 'OpaqueRef:' || {uuid}, '1772330000.', NULL, NULL, 0, 0, 0 FROM n",
            series(jobs)
        ),
        // The newest 30,000 exist, one in five of those before are remembered as removed.
        format!(
            "{} INSERT INTO snapshots SELECT n, 1, {uuid}, 1 + n * 7 % {VMS}, 1 + (1 + (n - 1) / 25) % {POLICIES}, {time}, 100000 + n, 'disk',
                 'nightly', CASE WHEN n > {jobs} - 30000 THEN 'durable' ELSE 'removed' END,
                 '[{{\"vdi\":\"00000000-0000-0000-0000-000000000001\",\"sr\":\"00000000-0000-0000-0000-000000000002\",\"position\":\"0\",'
                     || '\"name\":\"root\",\"virtual_size\":8589934592,\"of\":null}}]',
                 NULL, {time} + n, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {time} FROM n WHERE n > {jobs} - 30000 OR n % 5 = 0",
            series(jobs),
            time = time("(1 + (n - 1) / 25)")
        ),
        format!(
            "{} INSERT INTO events SELECT n, {}, 'job-ended', CASE n % 100 WHEN 0 THEN 'error' ELSE 'info' END, 1, 1 + n % {POLICIES}, 1 + n % {VMS},
                 NULL, NULL, 'a snapshot was taken', '{{}}' FROM n",
            series(jobs / 5),
            time("n / 5")
        ),
    ];
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn questions(criterion: &mut Criterion) {
    let runtime = runtime();
    let jobs = size();
    let path = runtime.block_on(large(jobs));
    let options = Options { check_below: 0, ..Options::default() };
    let begin = Instant::now();
    let store = runtime.block_on(Store::open(&path, &options, night())).unwrap().store;
    println!("opened a history of {jobs} jobs in {:.1?}", begin.elapsed());
    let mut group = criterion.benchmark_group(format!("{jobs} jobs"));
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    writes(&mut group, &runtime, &store);
    reads(&mut group, &runtime, &store);
    lists(&mut group, &runtime, &store);
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

fn writes(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, store: &Store) {
    // Later than anything an earlier run of this benchmark claimed in the same file.
    let mut due = night() + TimeDelta::microseconds((Uuid::new_v4().as_u128() % (1 << 50)) as i64);
    let mut next = || {
        due += TimeDelta::seconds(1);
        due
    };
    group.bench_function("claim", |bencher| {
        bencher.iter(|| {
            let due = next();
            runtime.block_on(store.claim(slot("p7", due), due)).unwrap()
        });
    });
    group.bench_function("claim, run, job and intent", |bencher| {
        bencher.iter(|| {
            let due = next();
            runtime.block_on(async {
                let run = run(store, "p8", due).await;
                let job = store.add_jobs(run, vec![job(77)], due).await.unwrap().remove(0);
                store.write_intent(job.id, &Uuid::new_v4().simple().to_string(), "1.", due).await.unwrap()
            })
        });
    });
    group.bench_function("forget up to 1000 jobs and as much else", |bencher| {
        let age = TimeDelta::days(300);
        let keep = Keep { runs: age, snapshots: age, events: age };
        bencher.iter(|| runtime.block_on(store.forget(keep, 1000, night())).unwrap());
    });
}

fn reads(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, store: &Store) {
    group.bench_function("next: how far 10,000 schedules have come", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.cursors()).unwrap()));
    });
    group.bench_function("the slot of a due time", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.slot("p7", POOL, night())).unwrap()));
    });
    group.bench_function("a VM by its name", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.find_vms("vm 77")).unwrap()));
    });
    group.bench_function("recovery: jobs, runs, calls and slots that have not ended", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                black_box(store.unfinished_jobs().await.unwrap().len() + store.unfinished_runs().await.unwrap().len());
                black_box(store.open_attempts().await.unwrap().len() + store.slots_without_run().await.unwrap().len());
                black_box(store.removals_due(night()).await.unwrap().len())
            })
        });
    });
    group.bench_function("the 30,000 snapshots of a pool", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.present_snapshots(POOL)).unwrap().len()));
    });
    group.bench_function("duplicates among 30,000 snapshots", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.duplicates(POOL)).unwrap().len()));
    });
}

fn lists(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, store: &Store) {
    let filters = [
        ("history --vm, 50 newest jobs", JobFilter { vm: Some(VmId(4321)), ..JobFilter::default() }),
        (
            "history --vm, 50 failed jobs",
            JobFilter { vm: Some(VmId(4321)), state: Some(JobState::Failed), ..JobFilter::default() },
        ),
        ("history --policy, 50 newest jobs", JobFilter { policy: Some("p77".into()), ..JobFilter::default() }),
        ("50 newest failed jobs", JobFilter { state: Some(JobState::Failed), ..JobFilter::default() }),
        ("50 jobs of a day in the past", JobFilter { until: Some(night() - TimeDelta::days(20)), ..JobFilter::default() }),
    ];
    for (name, filter) in filters {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(runtime.block_on(store.jobs(filter.clone(), Page::first(50))).unwrap().rows.len()));
        });
    }
    group.bench_function("50 newest runs", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.runs(RunFilter::default(), Page::first(50))).unwrap().rows.len()));
    });
    group.bench_function("50 newest events that are errors", |bencher| {
        let filter = EventFilter { at_least: Some(xensnap::store::Severity::Error), ..EventFilter::default() };
        bencher.iter(|| black_box(runtime.block_on(store.events(filter.clone(), Page::first(50))).unwrap().rows.len()));
    });
}

criterion_group!(benches, intents, questions);
criterion_main!(benches);
