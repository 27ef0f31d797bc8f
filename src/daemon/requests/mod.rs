//! What people asked for while the service runs: verbs write a request into the history, the service answers there. The history is
//! what both have open anyway, and whoever may write it may ask. A request is answered once, also over a restart.

mod explain;
mod policies;
mod snapshots;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Handle;
use crate::clock::SharedClock;
use crate::engine::error::Result;
use crate::engine::worker::Worker;
use crate::store::{self, Store};

const ASKED: &str = "request/";
const ANSWERED: &str = "reply/";

/// Something a person asks of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What.
    pub ask: Ask,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// A run of a policy now, on every pool it applies to.
    Run {
        /// The policy's id.
        policy: String,
        /// Only these VMs; empty for all that it selects.
        vms: Vec<Uuid>,
    },
    /// Retention of a policy now.
    Prune {
        /// The policy's id.
        policy: String,
    },
    /// What a run of a policy would take and remove; nothing is done.
    Preview {
        /// The policy's id.
        policy: String,
        /// Only these VMs; empty for all that it selects.
        vms: Vec<Uuid>,
        /// Only what retention would remove now.
        prune: bool,
    },
    /// Agree to the pruning that a policy waits for.
    Approve {
        /// The policy's id.
        policy: String,
        /// Who agrees.
        by: String,
    },
    /// Why a VM or snapshot is treated as it is.
    Explain {
        /// A uuid, or the name of a VM.
        subject: String,
    },
    /// A snapshot stays until then.
    Pin {
        /// The snapshot.
        snapshot: Uuid,
        /// Until when.
        until: DateTime<Utc>,
        /// Why.
        reason: String,
    },
    /// Retention decides about a snapshot again.
    Unpin {
        /// The snapshot.
        snapshot: Uuid,
    },
    /// Snapshots of others become a policy's.
    Adopt {
        /// The policy's id.
        policy: String,
        /// The snapshots.
        snapshots: Vec<Uuid>,
    },
    /// Snapshots of ours become somebody else's.
    Release {
        /// The snapshots.
        snapshots: Vec<Uuid>,
        /// The installation that gets them; nobody if there is none.
        to: Option<String>,
    },
}

/// What the service answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Slots that were claimed, by policy, pool and due time: their runs can be followed in the history.
    pub slots: Vec<(String, Uuid, DateTime<Utc>)>,
    /// One sentence for each thing that was or was not done.
    pub lines: Vec<String>,
    /// True if something could not be done.
    pub failed: bool,
}

/// Asks, and waits for the answer for at most `patience`. `None`: nobody answered, so no service runs.
///
/// # Errors
/// When the history cannot be written.
pub async fn submit(store: &Store, clock: &SharedClock, ask: Ask, patience: Duration) -> store::Result<Option<Reply>> {
    let id = Uuid::new_v4();
    let request = serde_json::to_value(Request { ask, at: clock.now() }).unwrap_or_default();
    store.keep(&format!("{ASKED}{id}"), &request, clock.now()).await?;
    let end = clock.elapsed() + patience;
    while clock.elapsed() < end {
        if let Some(reply) = store.kept(&format!("{ANSWERED}{id}")).await? {
            store.drop_note(&format!("{ANSWERED}{id}")).await?;
            return Ok(serde_json::from_value(reply).ok());
        }
        clock.sleep(Duration::from_millis(200)).await;
    }
    store.drop_note(&format!("{ASKED}{id}")).await?;
    Ok(None)
}

/// Answers requests until the service stops.
pub(super) async fn serve(handle: Handle) -> Result<()> {
    let mut worker = Worker::new(&handle.clock);
    loop {
        for (note, value) in handle.store.kept_under(ASKED).await? {
            let reply = answer(&mut worker, &handle, &value).await?;
            let id = note.trim_start_matches(ASKED);
            let reply = serde_json::to_value(reply).unwrap_or_default();
            handle.store.keep(&format!("{ANSWERED}{id}"), &reply, handle.clock.now()).await?;
            handle.store.drop_note(&note).await?;
        }
        let every = handle.plan.borrow().times.requests_every;
        let sleep = handle.clock.sleep(every);
        let stopped = async {
            tokio::select! { () = handle.stop.cancelled() => true, () = sleep => false }
        };
        if worker.wait(stopped).await {
            return Ok(());
        }
    }
}

async fn answer(worker: &mut Worker, handle: &Handle, value: &Value) -> Result<Reply> {
    let Ok(Request { ask, .. }) = serde_json::from_value::<Request>(value.clone()) else {
        return Ok(refusal("the request was not understood; the service and the verb are of different versions"));
    };
    let sites = handle.sites.borrow().clone();
    if sites.is_empty() {
        return Ok(refusal("no pool is reached now; `xensnap doctor` says why"));
    }
    match &ask {
        Ask::Run { policy, .. }
        | Ask::Prune { policy }
        | Ask::Preview { policy, .. }
        | Ask::Approve { policy, .. }
        | Ask::Adopt { policy, .. } => policies::answer(worker, handle, &sites, policy, &ask).await,
        Ask::Explain { subject } => explain::answer(handle, &sites, subject).await,
        Ask::Pin { snapshot, .. } | Ask::Unpin { snapshot } => snapshots::pinned(worker, &sites, *snapshot, &ask).await,
        Ask::Release { snapshots, to } => snapshots::release(worker, &sites, snapshots, to.as_deref()).await,
    }
}

fn refusal(line: impl Into<String>) -> Reply {
    Reply { lines: vec![line.into()], failed: true, ..Reply::default() }
}
