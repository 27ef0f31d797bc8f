//! What is left at the pools that nobody works on, and what to do about it by hand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::daemon::Handle;
use crate::domain::orphans::Orphan;
use crate::engine::error::Result;
use crate::engine::orphans::look;
use crate::engine::worker::Worker;

/// Everything that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphansReport {
    /// The time at which it was so.
    pub at: DateTime<Utc>,
    /// By pool, kind and name.
    pub orphans: Vec<Leftover>,
    /// Names of configured pools that could not be looked at.
    pub unreached: Vec<String>,
}

/// Something that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// What it is: `vm`, `snapshot`, `disk` or `task`.
    pub what: String,
    /// Which.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The pool's name.
    pub pool: String,
    /// The VM it belonged to.
    pub vm: Option<Left>,
    /// The policy's id.
    pub policy: Option<String>,
    /// The name of the storage repository it is on.
    pub sr: Option<String>,
    /// The bytes that it takes there, as far as is known.
    pub bytes: Option<u64>,
    /// Since when it is left.
    pub since: Option<DateTime<Utc>>,
    /// When it goes by itself.
    pub goes_at: Option<DateTime<Utc>>,
    /// Why it is left, as a short code that stays the same over versions.
    pub code: String,
    /// The same in a sentence.
    pub why: String,
    /// What to do about it by hand.
    pub todo: String,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The VM.
    pub uuid: Uuid,
    /// Its name when last seen.
    pub name: String,
}

impl Leftover {
    /// True if nobody has to do anything.
    pub fn passes(&self) -> bool {
        self.goes_at.is_some()
    }
}

/// As the pools show it now.
pub(in crate::daemon) async fn orphans(worker: &mut Worker, handle: &Handle) -> Result<OrphansReport> {
    let (plan, sites) = (handle.plan(), handle.sites.borrow().clone());
    let mut report = OrphansReport { at: handle.clock.now(), orphans: Vec::new(), unreached: Vec::new() };
    for planned in &plan.pools {
        let name = &planned.settings.name;
        match sites.iter().find(|site| site.name() == name) {
            Some(site) => report.orphans.extend(look(worker, site).await?.into_iter().map(|orphan| leftover(name, orphan))),
            None => report.unreached.push(name.clone()),
        }
    }
    Ok(report)
}

fn leftover(pool: &str, orphan: Orphan) -> Leftover {
    let todo = orphan.todo();
    let (sr, bytes) = orphan.storage.unzip();
    Leftover {
        what: orphan.what.as_str().to_owned(),
        uuid: orphan.uuid,
        name: orphan.name,
        pool: pool.to_owned(),
        vm: orphan.vm.map(|(uuid, name)| Left { uuid, name }),
        policy: orphan.policy,
        sr,
        bytes,
        since: orphan.since,
        goes_at: orphan.goes_at,
        code: orphan.why.code().to_owned(),
        why: orphan.why.to_string(),
        todo,
    }
}
