//! Figures for Prometheus. Two kinds: what happens is counted while it happens, here; what is, is looked at when somebody asks, and
//! comes as a [`Scene`]. Both are values: nothing is global, and two services in one process do not see one another's.
//!
//! Every label has few values, or is bounded: pools and policies are configured, reasons beyond the first so many are `other`, and VMs
//! have series of their own up to a number that the configuration sets.

mod labels;
mod scene;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use labels::{AlarmTry, Job, Kind, Of, Run, Slot};
pub use scene::{Calls, PolicyScene, PoolScene, Scene, SrScene, VmScene};

/// So many reasons are told apart; there are fewer, unless a server invents some.
const REASONS: usize = 100;

/// Seconds: from a storage that takes a snapshot at once to one that takes hours.
const DURATIONS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0];

/// Seconds between a due time and its decision.
const LATENESS: [f64; 8] = [1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// What is counted. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: Family<Job, Counter>,
    runs: Family<Run, Counter>,
    slots: Family<Slot, Counter>,
    removed: Family<Of, Counter>,
    alarm_tries: Family<AlarmTry, Counter>,
    lateness: Family<Of, Histogram, fn() -> Histogram>,
    run_durations: Family<Of, Histogram, fn() -> Histogram>,
    snapshot_durations: Family<Kind, Histogram, fn() -> Histogram>,
    reasons: Mutex<BTreeSet<String>>,
    successes: Mutex<HashMap<(String, String), DateTime<Utc>>>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS);
        let shared = Shared {
            jobs: Family::default(),
            runs: Family::default(),
            slots: Family::default(),
            removed: Family::default(),
            alarm_tries: Family::default(),
            lateness: Family::new_with_constructor(|| Histogram::new(LATENESS)),
            run_durations: Family::new_with_constructor(durations),
            snapshot_durations: Family::new_with_constructor(durations),
            reasons: Mutex::default(),
            successes: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A VM's part of a run has ended; `reason` is the code of the cause.
    pub fn job_ended(&self, pool: &str, policy: &str, outcome: &'static str, reason: Option<&str>) {
        let reason = self.bounded(reason.unwrap_or("none"));
        self.shared.jobs.get_or_create(&Job { pool: pool.into(), policy: policy.into(), outcome: outcome.into(), reason }).inc();
    }

    /// A run has ended.
    pub fn run_ended(&self, pool: &str, policy: &str, outcome: &'static str, took: Duration) {
        self.shared.runs.get_or_create(&Run { pool: pool.into(), policy: policy.into(), outcome: outcome.into() }).inc();
        self.shared.run_durations.get_or_create(&Of { pool: pool.into() }).observe(took.as_secs_f64());
    }

    /// A run of a policy ended well at this time, in this life or an earlier one.
    pub fn succeeded(&self, pool: &str, policy: &str, at: DateTime<Utc>) {
        let mut known = lock(&self.shared.successes);
        let newest = known.entry((pool.to_owned(), policy.to_owned())).or_insert(at);
        *newest = at.max(*newest);
    }

    /// When a run of a policy last ended well.
    pub fn last_success(&self, pool: &str, policy: &str) -> Option<DateTime<Utc>> {
        lock(&self.shared.successes).get(&(pool.to_owned(), policy.to_owned())).copied()
    }

    /// A due time was decided; `late` is how long after it, if it runs.
    pub fn slot_decided(&self, pool: &str, verdict: &str, late: Option<Duration>) {
        self.shared.slots.get_or_create(&Slot { pool: pool.into(), verdict: verdict.into() }).inc();
        if let Some(late) = late {
            self.shared.lateness.get_or_create(&Of { pool: pool.into() }).observe(late.as_secs_f64());
        }
    }

    /// A snapshot was taken.
    pub fn snapshot_taken(&self, pool: &str, kind: &'static str, took: Duration) {
        self.shared.snapshot_durations.get_or_create(&Kind { pool: pool.into(), kind: kind.into() }).observe(took.as_secs_f64());
    }

    /// A snapshot was removed.
    pub fn snapshot_removed(&self, pool: &str) {
        self.shared.removed.get_or_create(&Of { pool: pool.into() }).inc();
    }

    /// A message about alarms was tried through a channel.
    pub fn alarm_tried(&self, channel: &str, outcome: &'static str) {
        self.shared.alarm_tries.get_or_create(&AlarmTry { channel: channel.into(), outcome: outcome.into() }).inc();
    }

    /// Everything, with what is now, in the text format of OpenMetrics.
    pub fn text(&self, scene: &Scene) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry())
            .and_then(|()| encode_registry(&mut text, &scene.registry()))
            .and_then(|()| encode_eof(&mut text));
        if let Err(error) = written {
            // A text in memory takes everything.
            tracing::debug!(%error, "the figures could not be written");
        }
        text
    }

    fn registry(&self) -> Registry {
        let (mut registry, shared) = (Registry::with_prefix("xensnap"), &self.shared);
        registry.register("jobs", "VMs of runs that ended, by outcome and reason", shared.jobs.clone());
        registry.register("runs", "Runs that ended, by outcome", shared.runs.clone());
        registry.register("slots", "Due times that were decided, by verdict", shared.slots.clone());
        registry.register("snapshots_removed", "Snapshots that were removed with their disks", shared.removed.clone());
        registry.register("alarm_deliveries", "Tries to deliver messages about alarms, by outcome", shared.alarm_tries.clone());
        registry.register("slot_lateness_seconds", "How long after their due times runs began", shared.lateness.clone());
        registry.register("run_duration_seconds", "How long runs took", shared.run_durations.clone());
        registry.register("snapshot_duration_seconds", "How long taking a snapshot took", shared.snapshot_durations.clone());
        registry
    }

    fn bounded(&self, reason: &str) -> String {
        let mut known = lock(&self.shared.reasons);
        if known.contains(reason) {
            return reason.to_owned();
        }
        if known.len() >= REASONS {
            return "other".to_owned();
        }
        known.insert(reason.to_owned());
        reason.to_owned()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_invents_reasons_does_not_make_series_without_end() {
        let metrics = Metrics::new();
        for n in 0..1000 {
            metrics.job_ended("tokyo", "nightly", "failed", Some(&format!("CODE_{n}")));
        }
        let text = metrics.text(&Scene::default());
        assert_eq!(text.lines().filter(|line| line.starts_with("xensnap_jobs_total{")).count(), REASONS + 1);
        assert!(text.contains("reason=\"other\"} 900"), "{text}");
    }

    #[test]
    fn a_name_with_quotes_and_line_ends_stays_within_its_label() {
        let vm = VmScene { uuid: uuid::Uuid::nil(), name: "a\"b\nc\\d".into(), policy: "nightly".into(), newest: None };
        let pool = PoolScene { name: "tokyo".into(), vms: vec![vm], ..PoolScene::default() };
        let text = Metrics::new().text(&Scene { pools: vec![pool], ..Scene::default() });
        let line = text.lines().find(|line| line.starts_with("xensnap_vm_newest_snapshot_timestamp_seconds{")).unwrap();
        assert!(line.contains(r#"vm="a\"b\nc\\d""#) && line.ends_with(" 0"), "{line}");
    }
}
