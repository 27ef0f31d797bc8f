//! What is said about each thing in JSON: the same shape in every verb. Times are RFC 3339 in UTC, uuids as `xe` prints them, words
//! those of the database. What is not known is `null`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::super::lookup::Names;
use super::super::snapshots::Fate;
use crate::domain::retention::{Expiry, Reason, Verdict};
use crate::store::{Attempt, Cause, Disk, Event, Job, Part, Removal, Run, Slot, Snapshot, Vm};

/// Why something is as it is.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct CauseShape {
    code: String,
    text: String,
}

impl CauseShape {
    fn of(cause: Option<&Cause>) -> Option<Self> {
        cause.map(|cause| Self { code: cause.code.clone(), text: cause.text.clone() })
    }
}

/// A policy: its stable id, and its present name.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct PolicyShape {
    pub(in crate::cli) id: String,
    pub(in crate::cli) name: String,
}

/// A pool or VM: its uuid, and its name when last seen.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct NamedShape {
    pub(in crate::cli) uuid: Uuid,
    pub(in crate::cli) name: Option<String>,
}

impl NamedShape {
    /// A pool.
    pub(in crate::cli) fn pool(uuid: Uuid, names: &Names) -> Self {
        Self { uuid, name: names.pool_name(uuid).map(str::to_owned) }
    }

    /// A VM.
    pub(in crate::cli) fn vm(vm: &Vm) -> Self {
        Self { uuid: vm.uuid, name: Some(vm.name.clone()) }
    }
}

/// How many jobs of a run ended how. All zero while it goes on.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct CountsShape {
    total: u64,
    done: u64,
    failed: u64,
    skipped: u64,
}

/// A run.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct RunShape {
    run: i64,
    uuid: Uuid,
    policy: PolicyShape,
    pool: NamedShape,
    due_at: DateTime<Utc>,
    origin: &'static str,
    started_at: DateTime<Utc>,
    late_seconds: i64,
    finished_at: Option<DateTime<Utc>>,
    state: &'static str,
    outcome: Option<&'static str>,
    observe: bool,
    approval_needed: bool,
    jobs: CountsShape,
    removed: u64,
    cause: Option<CauseShape>,
}

impl RunShape {
    pub(in crate::cli) fn of(run: &Run, names: &Names) -> Self {
        Self {
            run: run.id.0,
            uuid: run.uuid,
            policy: PolicyShape { id: run.policy.clone(), name: run.policy_name.clone() },
            pool: NamedShape::pool(run.pool, names),
            due_at: run.due_at,
            origin: run.origin.as_str(),
            started_at: run.started_at,
            late_seconds: (run.started_at - run.due_at).num_seconds(),
            finished_at: run.finished_at,
            state: run.state.as_str(),
            outcome: run.outcome.map(crate::store::Outcome::as_str),
            observe: run.observe,
            approval_needed: run.approval_needed,
            jobs: CountsShape { total: run.jobs, done: run.done, failed: run.failed, skipped: run.skipped },
            removed: run.removed,
            cause: CauseShape::of(run.cause.as_ref()),
        }
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct JobShape {
    job: i64,
    run: i64,
    policy: PolicyShape,
    pool: NamedShape,
    vm: NamedShape,
    due_at: DateTime<Utc>,
    kind: &'static str,
    state: &'static str,
    attempts: u64,
    created_at: DateTime<Utc>,
    next_try_at: Option<DateTime<Utc>>,
    deadline_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    cause: Option<CauseShape>,
}

impl JobShape {
    pub(in crate::cli) fn of(job: &Job, names: &Names) -> Self {
        Self {
            job: job.id.0,
            run: job.run.0,
            policy: PolicyShape { id: job.policy.clone(), name: job.policy_name.clone() },
            pool: NamedShape::pool(job.pool, names),
            vm: NamedShape { uuid: job.vm_uuid, name: Some(job.vm_name.clone()) },
            due_at: job.due_at,
            kind: job.kind.as_str(),
            state: job.state.as_str(),
            attempts: job.attempts,
            created_at: job.created_at,
            next_try_at: (!job.state.is_final()).then_some(job.next_try),
            deadline_at: job.deadline,
            finished_at: job.finished_at,
            cause: CauseShape::of(job.cause.as_ref()),
        }
    }
}

/// A slot.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct SlotShape {
    policy: PolicyShape,
    pool: NamedShape,
    due_at: DateTime<Utc>,
    origin: &'static str,
    state: &'static str,
    reason: String,
    detail: String,
    decided_at: DateTime<Utc>,
    run: Option<i64>,
    outcome: Option<&'static str>,
}

impl SlotShape {
    pub(in crate::cli) fn of(slot: &Slot, names: &Names) -> Self {
        Self {
            policy: PolicyShape { id: slot.policy.clone(), name: slot.policy_name.clone() },
            pool: NamedShape::pool(slot.pool, names),
            due_at: slot.due_at,
            origin: slot.origin.as_str(),
            state: slot.state.as_str(),
            reason: slot.reason.clone(),
            detail: slot.detail.clone(),
            decided_at: slot.decided_at,
            run: slot.run.map(|run| run.0),
            outcome: slot.outcome.map(crate::store::Outcome::as_str),
        }
    }
}

/// A call of a job.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct AttemptShape {
    job: i64,
    number: u64,
    nonce: String,
    result: &'static str,
    task: Option<String>,
    intent_at: DateTime<Utc>,
    called_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    cause: Option<CauseShape>,
}

impl AttemptShape {
    pub(in crate::cli) fn of(attempt: &Attempt) -> Self {
        Self {
            job: attempt.job.0,
            number: attempt.number,
            nonce: attempt.nonce.clone(),
            result: attempt.state.as_str(),
            task: attempt.task.clone(),
            intent_at: attempt.intent_at,
            called_at: attempt.called_at,
            ended_at: attempt.ended_at,
            cause: CauseShape::of(attempt.cause.as_ref()),
        }
    }
}

/// A removal, with everything that goes.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct RemovalShape {
    snapshot: Uuid,
    run: Option<i64>,
    reason: String,
    state: &'static str,
    tries: u64,
    planned_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    settled_at: Option<DateTime<Utc>>,
    cause: Option<CauseShape>,
    parts: Vec<PartShape>,
}

/// A piece of a removal.
#[derive(Debug, Serialize)]
struct PartShape {
    uuid: Uuid,
    role: &'static str,
    state: &'static str,
    changed_at: DateTime<Utc>,
    cause: Option<CauseShape>,
}

impl RemovalShape {
    pub(in crate::cli) fn of(removal: &Removal) -> Self {
        let part = |part: &Part| PartShape {
            uuid: part.uuid,
            role: part.role.as_str(),
            state: part.state.as_str(),
            changed_at: part.changed_at,
            cause: CauseShape::of(part.cause.as_ref()),
        };
        Self {
            snapshot: removal.snapshot,
            run: removal.run.map(|run| run.0),
            reason: removal.reason.clone(),
            state: removal.state.as_str(),
            tries: removal.tries,
            planned_at: removal.planned_at,
            finished_at: removal.finished_at,
            settled_at: removal.settled_at,
            cause: CauseShape::of(removal.cause.as_ref()),
            parts: removal.parts.iter().map(part).collect(),
        }
    }
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct EventShape {
    at: DateTime<Utc>,
    severity: &'static str,
    kind: String,
    text: String,
    data: Value,
}

impl EventShape {
    pub(in crate::cli) fn of(event: &Event) -> Self {
        Self {
            at: event.at,
            severity: event.severity.as_str(),
            kind: event.kind.clone(),
            text: event.text.clone(),
            data: event.data.clone(),
        }
    }
}

/// A snapshot, with what it is made of and what becomes of it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct SnapshotShape {
    snapshot: Uuid,
    name: String,
    vm: NamedShape,
    pool: NamedShape,
    policy: PolicyShape,
    due_at: DateTime<Utc>,
    taken_at: DateTime<Utc>,
    kind: &'static str,
    state: &'static str,
    run: Option<i64>,
    marked_at: Option<DateTime<Utc>>,
    durable_at: Option<DateTime<Utc>>,
    adopted_at: Option<DateTime<Utc>>,
    released_at: Option<DateTime<Utc>>,
    vanished_at: Option<DateTime<Utc>>,
    ghost_at: Option<DateTime<Utc>>,
    removed_at: Option<DateTime<Utc>>,
    pinned_until: Option<DateTime<Utc>>,
    pin_reason: Option<String>,
    disks: Vec<Disk>,
    suspend_image: Option<Uuid>,
    fate: Option<FateShape>,
}

/// What retention makes of a snapshot; null when its policy is not in the configuration that was read.
#[derive(Debug, Serialize)]
struct FateShape {
    /// The rules that keep it, the strongest first.
    keep: Vec<&'static str>,
    /// Why it goes, if nothing keeps it.
    remove: Option<&'static str>,
    /// `next-run`, `at` or `stays`.
    goes: &'static str,
    goes_at: Option<DateTime<Utc>>,
}

impl FateShape {
    fn of(fate: &Fate) -> Self {
        let (keep, remove) = match fate.verdict {
            Verdict::Keep(reasons) => (reasons.iter().map(Reason::word).collect(), None),
            Verdict::Remove(removal) => (Vec::new(), Some(removal.word())),
        };
        let (goes, goes_at) = match fate.expiry {
            Expiry::NextPruning => ("next-run", None),
            Expiry::At(at) => ("at", Some(at)),
            Expiry::Stays => ("stays", None),
        };
        Self { keep, remove, goes, goes_at }
    }
}

impl SnapshotShape {
    pub(in crate::cli) fn of(snapshot: &Snapshot, fate: Option<&Fate>, names: &Names) -> Self {
        Self {
            snapshot: snapshot.uuid,
            name: snapshot.name.clone(),
            vm: NamedShape { uuid: snapshot.vm_uuid, name: Some(snapshot.vm_name.clone()) },
            pool: NamedShape::pool(snapshot.pool, names),
            policy: PolicyShape { id: snapshot.policy.clone(), name: snapshot.policy_name.clone() },
            due_at: snapshot.due_at,
            taken_at: snapshot.taken_at,
            kind: snapshot.kind.as_str(),
            state: snapshot.state.as_str(),
            run: snapshot.run.map(|run| run.0),
            marked_at: snapshot.marked_at,
            durable_at: snapshot.durable_at,
            adopted_at: snapshot.adopted_at,
            released_at: snapshot.released_at,
            vanished_at: snapshot.vanished_at,
            ghost_at: snapshot.ghost_at,
            removed_at: snapshot.removed_at,
            pinned_until: snapshot.pinned_until,
            pin_reason: snapshot.pin_reason.clone(),
            disks: snapshot.disks.clone(),
            suspend_image: snapshot.suspend_image,
            fate: fate.map(FateShape::of),
        }
    }
}
