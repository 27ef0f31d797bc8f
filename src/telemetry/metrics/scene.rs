//! What is now, as somebody asks: values without behaviour, gathered by whoever knows them, and the registry that they become.

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use uuid::Uuid;

use super::labels::{BuildInfo, Channel, Depth, Held, Method, MethodError, Of, Policy, Sr, Vm, Weight};
use crate::domain::build::Build;
use crate::domain::chain::Depths;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// What the program is.
    pub build: Build,
    /// Bytes of the history, its log included.
    pub history_bytes: u64,
    /// Runs at work.
    pub running: u64,
    /// Tasks of the runtime that are alive.
    pub tasks: u64,
    /// Alarms that are raised, by severity; nothing if nobody is told of any.
    pub alarms: Vec<(&'static str, u64)>,
    /// Messages about alarms that wait to be delivered, by channel.
    pub alarms_waiting: Vec<(String, u64)>,
    /// Every configured pool.
    pub pools: Vec<PoolScene>,
}

/// A pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolScene {
    /// Its configured name.
    pub name: String,
    /// It was reached.
    pub connected: bool,
    /// Another daemon of the installation works with it, and this one stands by.
    pub standing_by: bool,
    /// History and pool agree, so that snapshots may be removed.
    pub trusted: bool,
    /// The policies that apply to it.
    pub policies: Vec<PolicyScene>,
    /// VMs that policies cover, up to the bound.
    pub vms: Vec<VmScene>,
    /// VMs beyond the bound.
    pub vms_left_out: u64,
    /// Its storage.
    pub srs: Vec<SrScene>,
    /// Calls since the service came up.
    pub calls: Vec<Calls>,
    /// Removals that are planned or wait.
    pub removals_open: u64,
    /// Snapshots that cannot be removed.
    pub orphans: u64,
}

/// A policy on a pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyScene {
    /// Its id.
    pub id: String,
    /// Since when its present schedule counts.
    pub counts_from: Option<DateTime<Utc>>,
    /// When a run last ended well.
    pub last_success: Option<DateTime<Utc>>,
    /// The longest time between two due times.
    pub interval_seconds: Option<i64>,
    /// The next due time.
    pub next_due: Option<DateTime<Utc>>,
    /// It only looks, and takes nothing.
    pub observes: bool,
    /// VMs that it covers now.
    pub vms: u64,
    /// Its snapshots, by state.
    pub snapshots: Vec<(&'static str, u64)>,
}

/// A VM that a policy covers.
#[derive(Debug, Clone, PartialEq)]
pub struct VmScene {
    /// The VM.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The policy's id.
    pub policy: String,
    /// When its newest durable snapshot of the policy was taken.
    pub newest: Option<DateTime<Utc>>,
}

/// A storage repository.
#[derive(Debug, Clone, PartialEq)]
pub struct SrScene {
    /// The SR.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Bytes in all and taken, where the driver tells.
    pub space: Option<(i64, i64)>,
    /// Operations that have the turn.
    pub in_flight: u32,
    /// Operations that wait.
    pub waiting: u32,
    /// How deep the chains of VMs' disks are, where the driver tells.
    pub depths: Option<Depths>,
}

/// Calls of one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// The method.
    pub method: String,
    /// How many times it was called.
    pub calls: u64,
    /// How many times with which error.
    pub errors: Vec<(String, u64)>,
}

/// Families in the making.
struct Shelf(Registry);

impl Shelf {
    fn gauges<L>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, i64)>)
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::<L, Gauge>::default();
        values.into_iter().for_each(|(labels, value)| _ = family.get_or_create(&labels).set(value));
        self.0.register(name, help, family);
    }

    fn counters<L>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, u64)>)
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::<L, Counter>::default();
        values.into_iter().for_each(|(labels, value)| _ = family.get_or_create(&labels).inc_by(value));
        self.0.register(name, help, family);
    }
}

impl Scene {
    pub(super) fn registry(&self) -> Registry {
        let mut shelf = Shelf(Registry::with_prefix("xensnap"));
        let build = BuildInfo { version: self.build.version, revision: self.build.revision };
        shelf.gauges("build_info", "Always 1", [(build, 1)]);
        shelf.gauges(
            "history_bytes",
            "Bytes of the history, its log included",
            [(Vec::<(String, String)>::new(), whole(self.history_bytes))],
        );
        shelf.gauges("runs_at_work", "Runs that work now", [(Vec::<(String, String)>::new(), whole(self.running))]);
        shelf.gauges("tasks", "Tasks of the service that are alive", [(Vec::<(String, String)>::new(), whole(self.tasks))]);
        let alarms = self.alarms.iter().map(|(severity, count)| (Weight { severity: (*severity).to_owned() }, whole(*count)));
        shelf.gauges("alarms_raised", "Alarms that are raised, by severity", alarms);
        let waiting = self.alarms_waiting.iter().map(|(channel, count)| (Channel { channel: channel.clone() }, whole(*count)));
        shelf.gauges("alarm_messages_waiting", "Messages about alarms that wait to be delivered", waiting);
        self.pools(&mut shelf);
        self.policies(&mut shelf);
        self.vms(&mut shelf);
        self.storage(&mut shelf);
        self.calls(&mut shelf);
        shelf.0
    }

    fn pools(&self, shelf: &mut Shelf) {
        let of = |value: fn(&PoolScene) -> i64| self.pools.iter().map(move |pool| (Of { pool: pool.name.clone() }, value(pool)));
        shelf.gauges("pool_connected", "1 while the pool is reached", of(|pool| pool.connected.into()));
        shelf.gauges(
            "pool_standing_by",
            "1 while another daemon of the installation works with the pool, and this one stands by",
            of(|pool| pool.standing_by.into()),
        );
        shelf.gauges(
            "pool_trusted",
            "1 while history and pool agree; nothing is removed otherwise",
            of(|pool| pool.trusted.into()),
        );
        shelf.gauges("removals_open", "Removals that are planned or wait", of(|pool| whole(pool.removals_open)));
        shelf.gauges(
            "orphans",
            "Things that are left and need somebody, snapshots that cannot be removed among them",
            of(|pool| whole(pool.orphans)),
        );
        shelf.gauges("vm_series_left_out", "VMs beyond the bound, which have no series", of(|pool| whole(pool.vms_left_out)));
    }

    fn policies(&self, shelf: &mut Shelf) {
        let all = || self.pools.iter().flat_map(|pool| pool.policies.iter().map(move |policy| (pool, policy)));
        let of = |value: fn(&PolicyScene) -> Option<i64>| {
            all().filter_map(move |(pool, policy)| {
                Some((Policy { pool: pool.name.clone(), policy: policy.id.clone() }, value(policy)?))
            })
        };
        shelf.gauges(
            "policy_counts_from_timestamp_seconds",
            "Since when the policy's present schedule counts",
            of(|policy| policy.counts_from.map(|at| at.timestamp())),
        );
        shelf.gauges(
            "policy_last_success_timestamp_seconds",
            "When a run of the policy last ended well",
            of(|policy| policy.last_success.map(|at| at.timestamp())),
        );
        shelf.gauges(
            "policy_interval_seconds",
            "The longest time between two due times of the policy",
            of(|policy| policy.interval_seconds),
        );
        shelf.gauges(
            "policy_next_due_timestamp_seconds",
            "The policy's next due time",
            of(|policy| policy.next_due.map(|at| at.timestamp())),
        );
        shelf.gauges("policy_vms", "VMs that the policy covers now", of(|policy| Some(whole(policy.vms))));
        let held = all().flat_map(|(pool, policy)| {
            policy.snapshots.iter().map(move |(state, count)| {
                (Held { pool: pool.name.clone(), policy: policy.id.clone(), state: (*state).to_owned() }, whole(*count))
            })
        });
        shelf.gauges("snapshots", "Snapshots in the pool, by policy and state", held);
    }

    fn vms(&self, shelf: &mut Shelf) {
        let all = self.pools.iter().flat_map(|pool| pool.vms.iter().map(move |vm| (pool, vm)));
        let newest = all.map(|(pool, vm)| {
            let labels =
                Vm { pool: pool.name.clone(), policy: vm.policy.clone(), vm: vm.name.clone(), vm_uuid: vm.uuid.to_string() };
            (labels, vm.newest.map_or(0, |at| at.timestamp()))
        });
        let help = "When the newest durable snapshot of the VM by the policy was taken; 0: there is none";
        shelf.gauges("vm_newest_snapshot_timestamp_seconds", help, newest);
    }

    fn storage(&self, shelf: &mut Shelf) {
        let of = |value: fn(&SrScene) -> Option<i64>| {
            let all = self.pools.iter().flat_map(|pool| pool.srs.iter().map(move |sr| (pool, sr)));
            all.filter_map(move |(pool, sr)| {
                Some((Sr { pool: pool.name.clone(), sr: sr.name.clone(), sr_uuid: sr.uuid.to_string() }, value(sr)?))
            })
        };
        shelf.gauges("sr_size_bytes", "Bytes of the SR", of(|sr| sr.space.map(|(size, _)| size)));
        shelf.gauges(
            "sr_used_bytes",
            "Bytes of the SR that are taken, as of its last scan",
            of(|sr| sr.space.map(|(_, used)| used)),
        );
        shelf.gauges("sr_in_flight", "Storage operations of ours that the SR works on", of(|sr| Some(sr.in_flight.into())));
        shelf.gauges("sr_waiting", "Storage operations of ours that wait for the SR", of(|sr| Some(sr.waiting.into())));
        let deepest = |sr: &SrScene| sr.depths.map(|depths| whole(depths.deepest as u64));
        shelf.gauges(
            "chain_depth_max",
            "Layers of the deepest chain of a VM's disk; the server refuses more than 30",
            of(deepest),
        );
        let disks = self.pools.iter().flat_map(|pool| {
            let told = |sr: &SrScene, (depth, disks): (&'static str, u64)| {
                let (pool, sr, sr_uuid) = (pool.name.clone(), sr.name.clone(), sr.uuid.to_string());
                (Depth { pool, sr, sr_uuid, depth: depth.to_owned() }, whole(disks))
            };
            pool.srs.iter().flat_map(move |sr| sr.depths.iter().flat_map(Depths::classes).map(move |class| told(sr, class)))
        });
        shelf.gauges("chain_depth_disks", "Disks of VMs by the depth of their chains", disks);
    }

    fn calls(&self, shelf: &mut Shelf) {
        let all = || self.pools.iter().flat_map(|pool| pool.calls.iter().map(move |calls| (pool, calls)));
        let made = all().map(|(pool, calls)| (Method { pool: pool.name.clone(), method: calls.method.clone() }, calls.calls));
        shelf.counters("xenapi_calls", "Calls to the pool, by method", made);
        let errors = all().flat_map(|(pool, calls)| {
            calls.errors.iter().map(move |(code, count)| {
                (MethodError { pool: pool.name.clone(), method: calls.method.clone(), code: code.clone() }, *count)
            })
        });
        shelf.counters("xenapi_errors", "Calls to the pool that brought an error, by method and code", errors);
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
