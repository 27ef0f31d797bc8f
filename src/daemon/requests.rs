//! What people asked for while the service runs: verbs write a request into the history, the service answers there. The history is
//! what both have open anyway, and whoever may write it may ask. A request is answered once, also over a restart.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Handle;
use super::runs::{Start, only_note, only_value};
use crate::clock::SharedClock;
use crate::engine::error::Result;
use crate::engine::prune::{self, When};
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::engine::{holdings, late};
use crate::store::{self, Claim, NewSlot, Origin, SlotState, Store};

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
}

/// What the service answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Slots that were claimed: their runs can be followed in the history.
    pub slots: Vec<i64>,
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
    let Ok(request) = serde_json::from_value::<Request>(value.clone()) else {
        return Ok(refusal("the request was not understood; the service and the verb are of different versions".to_owned()));
    };
    let (Ask::Run { policy: id, .. } | Ask::Prune { policy: id }) = &request.ask;
    let plan = handle.plan();
    let Some(assigned) = plan.find(id) else { return Ok(refusal(format!("the running service has no policy {id}; reload it"))) };
    let sites: Vec<SharedSite> = handle.sites.borrow().iter().filter(|site| assigned.applies_to(site.name())).cloned().collect();
    if sites.is_empty() {
        return Ok(refusal("none of the policy's pools is reached now; `xensnap doctor` says why".to_owned()));
    }
    let mut reply = Reply::default();
    for site in sites {
        match &request.ask {
            Ask::Run { vms, .. } => run(handle, &site, assigned, vms, &mut reply).await?,
            Ask::Prune { .. } => prune_now(worker, &site, assigned, &mut reply).await?,
        }
    }
    Ok(reply)
}

fn refusal(line: String) -> Reply {
    Reply { lines: vec![line], failed: true, ..Reply::default() }
}

async fn run(handle: &Handle, site: &SharedSite, assigned: &super::Assigned, vms: &[Uuid], reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    if let Some(running) = handle.runs.running(&policy.id, site.uuid.0) {
        reply.failed = true;
        reply
            .lines
            .push(format!("{}: the run of slot {running} of this policy still works; ask again when it has ended", site.name()));
        return Ok(());
    }
    let due_at = handle.clock.now().trunc_subsecs(6);
    if !vms.is_empty() {
        handle.store.keep(&only_note(policy.id.as_str(), site.uuid.0, due_at), &only_value(vms), due_at).await?;
    }
    let slot = NewSlot {
        policy: policy.id.to_string(),
        pool: site.uuid.0,
        due_at,
        origin: Origin::Manual,
        state: SlotState::Claimed,
        reason: "manual".to_owned(),
        detail: "a person asked for it".to_owned(),
    };
    if let Claim::Won(slot) = handle.store.claim(slot, due_at).await? {
        handle.runs.start(site, policy, due_at, Start::Slot(slot));
        reply.slots.push(slot.0);
        reply.lines.push(format!("{}: a run was started", site.name()));
    }
    Ok(())
}

async fn prune_now(worker: &mut Worker, site: &SharedSite, assigned: &super::Assigned, reply: &mut Reply) -> Result<()> {
    let policy = &assigned.policy;
    late::secure_all(worker, site).await?;
    for vm in holdings::vms_of(site, &policy.id) {
        let pruned = prune::prune(worker, site, policy, None, vm.0, When::Now).await?;
        if pruned != prune::Pruned::default() {
            reply.lines.push(format!("{}: VM {vm}: {} removed", site.name(), pruned.removed));
        }
        reply.lines.extend(pruned.left);
        if pruned.awaits_approval {
            reply.lines.push(format!("VM {vm}: a person has to agree first (`xensnap prune {} --approve`)", policy.id));
        }
    }
    late::secure_all(worker, site).await
}
