//! What a status says, member by member.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::troubles::Trouble;
use crate::daemon::reach::Phase;

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The time at which it was so.
    pub at: DateTime<Utc>,
    /// The service; nothing if none runs.
    pub service: Option<Service>,
    /// The configured pools.
    pub pools: Vec<PoolStatus>,
    /// What runs, oldest first.
    pub running: Vec<RunStatus>,
    /// What comes, soonest first.
    pub coming: Vec<Fires>,
    /// What is paused.
    pub paused: Vec<Paused>,
    /// What is wrong, the worst first.
    pub troubles: Vec<Trouble>,
}

/// The service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its version.
    pub xensnap: String,
    /// What the version control calls its source; empty where nobody knows.
    #[serde(default)]
    pub revision: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How many policies are in force.
    pub policies: usize,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The name that the configuration gives it.
    pub name: String,
    /// Its uuid, once it was reached.
    pub uuid: Option<Uuid>,
    /// How it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// What is in the way.
    pub problem: Option<String>,
    /// Its master.
    pub master: Option<Master>,
    /// Product and version of the master.
    pub release: Option<String>,
    /// How far the server's clock is ahead of ours, in seconds.
    pub clock_ahead_seconds: Option<f64>,
    /// How many VMs it has.
    pub vms: Option<usize>,
}

/// A master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// The host's name.
    pub name: String,
    /// Where it answers.
    pub address: String,
}

/// A policy's id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyName {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A run that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Its number.
    pub run: i64,
    /// Its policy.
    pub policy: PolicyName,
    /// Its pool's name.
    pub pool: String,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Where it is.
    pub state: String,
    /// How far it is.
    pub jobs: Jobs,
    /// What is worked on.
    pub work: Vec<Work>,
}

/// Jobs by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// In all.
    pub total: usize,
    /// Not begun.
    pub waiting: usize,
    /// Worked on: no snapshot yet, or not marked yet.
    pub working: usize,
    /// With a snapshot that is marked.
    pub taken: usize,
    /// Failed, or nobody knows.
    pub failed: usize,
    /// Skipped or cancelled.
    pub skipped: usize,
}

/// A job that is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The VM's name.
    pub vm: String,
    /// Where the job is.
    pub state: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A slot to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fires {
    /// Its policy.
    pub policy: PolicyName,
    /// Its pool's name.
    pub pool: String,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// True if it will be skipped because of a pause.
    pub paused: bool,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// What is paused.
    pub what: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when; until it is resumed if nothing is said.
    pub until: Option<DateTime<Utc>>,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}
