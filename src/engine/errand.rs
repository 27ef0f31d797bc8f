//! What all jobs of a run share: the slot they work for, the policy as it was when the run began, and the wish to stop.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::hooks::HookContext;
use super::site::SharedSite;
use super::worker::Worker;
use crate::domain::id::{PolicyId, RunId, VmUuid};
use crate::domain::naming::Subject;
use crate::domain::policy::Policy;
use crate::domain::schedule::{Admission, CatchUp, Claimed, Place};
use crate::domain::snapshot::Kind;
use crate::store::{self, EventKind, Job, Run};
use crate::telemetry::Fact;

/// A run and what is needed to work on it.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The pool.
    pub site: SharedSite,
    /// The policy.
    pub policy: Arc<Policy>,
    /// The run.
    pub run: Run,
    /// Set when the service stops: what has not begun is left to the next life.
    pub drain: CancellationToken,
}

impl Errand {
    /// The slot, as schedules see it. Hand-made runs are due now.
    pub fn claimed(&self) -> Claimed {
        Claimed { due_at: self.run.due_at, started_at: self.run.started_at }
    }

    /// Whether a job may begin now. A run that a person asked for knows neither spread nor windows.
    pub fn admission(&self, job: &Job) -> Admission {
        let now = self.site.now();
        if self.run.origin == store::Origin::Manual {
            return if now < job.deadline { Admission::Now } else { over(job.deadline) };
        }
        if self.is_remade(job) {
            return if now < self.remade_until(job) { Admission::Now } else { over(self.remade_until(job)) };
        }
        if job.deadline <= now {
            return over(job.deadline);
        }
        let place = Place::of(&self.site.installation, &self.policy.id, VmUuid(job.vm_uuid));
        self.policy.schedule.admission(&self.claimed(), place, now)
    }

    /// True for a job whose snapshot the pool forgot: the promise is kept anew, whatever the window.
    fn is_remade(&self, job: &Job) -> bool {
        job.cause.as_ref().is_some_and(|cause| cause.code == "forgotten")
    }

    /// As long as a missed slot would be caught up with, and an hour at least.
    fn remade_until(&self, job: &Job) -> DateTime<Utc> {
        let late = match self.policy.schedule.catch_up {
            CatchUp::One { max_age } => max_age.0,
            CatchUp::None => Duration::ZERO,
        };
        job.deadline.max(job.due_at + late).max(job.changed_at + Duration::from_secs(3600))
    }

    /// Who wants that the job ends before it is done.
    pub fn cancelled(&self, job: &Job) -> Option<String> {
        self.site.wishes.cancelled(self.run.id, job.vm_uuid)
    }

    /// Waits until somebody wants that.
    pub async fn cancellation(&self, job: &Job) {
        self.site.wishes.cancellation(self.run.id, job.vm_uuid).await;
    }

    /// Waits until no call of the job may leave any more. The wall clock may step, so no sleep is long.
    pub async fn closing(&self, job: &Job) {
        let until = if self.is_remade(job) { self.remade_until(job) } else { job.deadline };
        while let Ok(left) = (until - self.site.now()).to_std() {
            if left.is_zero() {
                break;
            }
            self.site.clock.sleep(left.min(Duration::from_secs(60))).await;
        }
    }

    /// Waits until `at`. False if the service stops before.
    pub async fn wait_until(&self, worker: &mut Worker, at: DateTime<Utc>) -> bool {
        self.wait(worker, at, None).await
    }

    /// The same, or until somebody cancels the job.
    pub async fn wait_with(&self, worker: &mut Worker, job: &Job, at: DateTime<Utc>) -> bool {
        self.wait(worker, at, Some(job)).await
    }

    async fn wait(&self, worker: &mut Worker, at: DateTime<Utc>, job: Option<&Job>) -> bool {
        while let Ok(left) = (at - self.site.now()).to_std() {
            if left.is_zero() || job.is_some_and(|job| self.cancelled(job).is_some()) {
                break;
            }
            // The wall clock may step, so no sleep is long.
            let sleep = self.site.clock.sleep(left.min(Duration::from_secs(60)));
            let cancelled = async {
                match job {
                    Some(job) => self.cancellation(job).await,
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                tokio::select! { () = self.drain.cancelled() => true, () = cancelled => false, () = sleep => false }
            };
            if worker.wait(stopped).await {
                return false;
            }
        }
        !self.drain.is_cancelled()
    }

    /// A line about the run.
    pub fn fact(&self, kind: EventKind) -> Fact<'_> {
        let fact = Fact::new(kind).pool(self.site.name()).named_policy(self.policy.id.as_str(), &self.policy.name);
        fact.run(self.run.id.0).slot(self.run.due_at)
    }

    /// What names and descriptions are filled with.
    pub fn subject<'a>(&'a self, job: &'a Job, kind: Kind) -> Subject<'a> {
        Subject {
            vm: &job.vm_name,
            policy: &self.policy.name,
            policy_id: &self.policy.id,
            due_at: job.due_at,
            zone: self.policy.schedule.zone(),
            run: RunId(self.run.uuid),
            kind,
        }
    }

    /// What hooks are told of the run.
    pub fn hook_context(&self) -> HookContext {
        HookContext {
            policy: self.policy.name.clone(),
            policy_id: self.policy.id.to_string(),
            pool: self.site.name().to_owned(),
            pool_uuid: self.site.uuid.to_string(),
            run: self.run.uuid.to_string(),
            due_at: self.run.due_at,
            vm: None,
            snapshot_uuid: None,
            outcome: None,
        }
    }

    /// What hooks are told of one VM.
    pub fn hook_context_of(&self, job: &Job) -> HookContext {
        HookContext { vm: Some((job.vm_uuid.to_string(), job.vm_name.clone())), ..self.hook_context() }
    }
}

fn over(at: DateTime<Utc>) -> Admission {
    Admission::Over(crate::domain::schedule::Over::Deadline(at))
}

/// The kind as the history writes it.
pub fn kind_row(kind: Kind) -> store::Kind {
    match kind {
        Kind::Disk => store::Kind::Disk,
        Kind::Quiesced => store::Kind::Quiesced,
        Kind::Memory => store::Kind::Memory,
        Kind::Offline => store::Kind::Offline,
    }
}

/// The kind as the history wrote it.
pub fn kind_of(kind: store::Kind) -> Kind {
    match kind {
        store::Kind::Disk => Kind::Disk,
        store::Kind::Quiesced => Kind::Quiesced,
        store::Kind::Memory => Kind::Memory,
        store::Kind::Offline => Kind::Offline,
    }
}

/// A policy id as the history wrote it; it was checked before it was written.
pub fn policy_id(text: &str) -> Option<PolicyId> {
    text.parse().ok()
}
