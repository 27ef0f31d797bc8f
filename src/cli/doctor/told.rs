//! What doctor says as values: what `--json` prints (docs/JSON.md), and what pages are made from.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::finding::{Code, Finding, Weight};
use crate::engine::checkup::filling::Filling;

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Every pool that was meant.
    pub(super) pools: Vec<PoolReport>,
    /// What was found about the service and its configuration.
    pub(super) service: Vec<Finding>,
}

/// A pool.
#[derive(Debug, Serialize)]
pub(super) struct PoolReport {
    /// Its configured name, or its address.
    pub(super) name: String,
    /// What it is; nothing if it was not reached.
    pub(super) pool: Option<PoolFacts>,
    /// What was found, the worst first.
    pub(super) findings: Vec<Finding>,
    /// Who fills its storage.
    pub(super) filling: Vec<Filling>,
}

/// What a pool is.
#[derive(Debug, Serialize)]
pub(super) struct PoolFacts {
    pub(super) uuid: String,
    pub(super) master: String,
    pub(super) address: String,
    /// Product, version, and that of its toolstack.
    pub(super) release: String,
    pub(super) wire: &'static str,
    pub(super) clock_ahead_seconds: i64,
    pub(super) hosts: usize,
    pub(super) vms: usize,
    pub(super) running: usize,
    pub(super) snapshots: usize,
    pub(super) srs: usize,
    /// VMs that a policy covers; nothing where no policies are known.
    pub(super) covered: Option<usize>,
    pub(super) certificates: Vec<Shown>,
}

/// A certificate that a server showed.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) server: String,
    pub(super) fingerprint: String,
    pub(super) pinned: bool,
    pub(super) not_after: Option<DateTime<Utc>>,
}

impl Report {
    /// Of all pools and the service.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.pools.iter().flat_map(|pool| &pool.findings).chain(&self.service)
    }
}

impl PoolReport {
    /// A pool that cannot be worked with, and why: the text says what to do.
    pub(super) fn away(name: String, why: String) -> Self {
        let findings = vec![Finding::new(Code::Unreachable, Weight::Problem, why, "")];
        Self { name, pool: None, findings, filling: Vec::new() }
    }
}
