//! The labels of the series. Their names stay: dashboards and alert rules are written with them.

use prometheus_client::encoding::EncodeLabelSet;

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Of {
    pub pool: String,
}

/// Tries to deliver messages about alarms.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AlarmTry {
    pub channel: String,
    pub outcome: String,
}

/// A channel through which people are told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Channel {
    pub channel: String,
}

/// What matters so much.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Weight {
    pub severity: String,
}

/// Snapshots of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub pool: String,
    pub kind: String,
}

/// Decided due times.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Slot {
    pub pool: String,
    pub verdict: String,
}

/// Runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Run {
    pub pool: String,
    pub policy: String,
    pub outcome: String,
}

/// VMs of runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Job {
    pub pool: String,
    pub policy: String,
    pub outcome: String,
    pub reason: String,
}

/// A policy on a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Policy {
    pub pool: String,
    pub policy: String,
}

/// Snapshots of a policy in a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Held {
    pub pool: String,
    pub policy: String,
    pub state: String,
}

/// A VM that a policy covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Vm {
    pub pool: String,
    pub policy: String,
    pub vm: String,
    pub vm_uuid: String,
}

/// A storage repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Sr {
    pub pool: String,
    pub sr: String,
    pub sr_uuid: String,
}

/// Disks of an SR with chains of a class of depths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Depth {
    pub pool: String,
    pub sr: String,
    pub sr_uuid: String,
    pub depth: String,
}

/// Calls of a method.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Method {
    pub pool: String,
    pub method: String,
}

/// Calls of a method that brought an error.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MethodError {
    pub pool: String,
    pub method: String,
    pub code: String,
}

/// This program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BuildInfo {
    pub version: &'static str,
    pub revision: &'static str,
}
