//! What goes around one attempt: the hooks of the VM, and for an offline snapshot the VM's halt. The rule: what was begun is ended
//! whatever happened in between; that a VM is halted is written down before it is, so that the next life brings it back.

use std::fmt::Display;

use chrono::TimeDelta;
use serde_json::json;

use super::attempt::Target;
use super::errand::Errand;
use super::error::Result;
use super::hooks::{self, HookContext};
use super::offline;
use super::view;
use super::worker::Worker;
use crate::domain::policy::{Phase, WantedKind};
use crate::domain::snapshot::Kind;
use crate::store::{Cause, EventKind, Job, NewEvent};
use crate::xenapi::records::{PowerState, Vm};

/// How long a guest is watched that was asked to shut down and did not: if it does after all, it is started again.
const WATCHED: TimeDelta = TimeDelta::hours(1);

/// The note under which a VM stands that we halted.
pub fn offline_note(pool: uuid::Uuid, vm: impl Display) -> String {
    format!("offline/{pool}/{vm}")
}

/// The note under which a running VM stands while a snapshot with memory is taken of it, which suspends it for a moment.
pub fn suspended_note(pool: uuid::Uuid, vm: impl Display) -> String {
    format!("suspended/{pool}/{vm}")
}

/// The note under which a job stands whose after-hook failed although its snapshot is fine.
pub fn after_note(job: crate::store::JobId) -> String {
    format!("after-hook/{job}")
}

/// Why no snapshot is to be taken.
pub enum Hindrance {
    /// It may be otherwise in a while.
    ForNow(Cause),
    /// It stays so.
    ForGood(Cause),
}

/// The frame of one attempt.
pub struct Around<'a> {
    errand: &'a Errand,
    job: &'a Job,
    target: &'a Target,
    halted: bool,
    /// It ran before a snapshot with memory.
    frozen: bool,
    /// It was asked to shut down, did not in time, and may still do so.
    late: bool,
}

impl<'a> Around<'a> {
    /// Nothing was begun yet.
    pub fn new(errand: &'a Errand, job: &'a Job, target: &'a Target) -> Self {
        Self { errand, job, target, halted: false, frozen: false, late: false }
    }

    /// Runs the hooks before, and halts the VM. The inner error says why no snapshot is to be taken.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub async fn before(&mut self, worker: &mut Worker) -> Result<std::result::Result<(), Hindrance>> {
        let context = self.errand.hook_context_of(self.job);
        if let Some(cause) = phase(worker, self.errand, Phase::BeforeVm, &context).await? {
            return Ok(Err(Hindrance::ForGood(cause)));
        }
        match self.target.kind {
            Kind::Offline => self.halt(worker).await,
            Kind::Memory => self.freeze().await.map(Ok),
            Kind::Disk | Kind::Quiesced => Ok(Ok(())),
        }
    }

    /// The server suspends a running VM for a snapshot with memory, and may fail to resume it.
    async fn freeze(&mut self) -> Result<()> {
        let site = &self.errand.site;
        let runs = |vm: &std::sync::Arc<Vm>| vm.power_state == PowerState::Running;
        if site.inventory.read().get(&self.target.vm).is_some_and(runs) {
            let why = json!({ "name": self.job.vm_name, "run": self.errand.run.uuid });
            site.store.keep(&suspended_note(site.uuid.0, self.job.vm_uuid), &why, site.now()).await?;
            self.frozen = true;
        }
        Ok(())
    }

    /// A note that is there already says that the VM was halted before and is not back: by an earlier try of this job, which this one
    /// makes good, or for another run, whose note stays for whoever brings the VM back.
    async fn halt(&mut self, worker: &mut Worker) -> Result<std::result::Result<(), Hindrance>> {
        let WantedKind::Offline { shutdown_timeout } = self.errand.policy.snapshot.kind else { return Ok(Ok(())) };
        let site = &self.errand.site;
        let note = offline_note(site.uuid.0, self.job.vm_uuid);
        let why = json!({ "name": self.job.vm_name, "run": self.errand.run.uuid });
        let before = site.store.kept(&note).await?;
        let own = before.as_ref().is_some_and(|before| before["run"] == why["run"]);
        if before.is_none() {
            site.store.keep(&note, &why, site.now()).await?;
        }
        let (pool, inventory) = (&site.pool, &site.inventory);
        match offline::shut_down(worker, pool, inventory, &self.target.vm, shutdown_timeout.0).await {
            Ok(offline::WasRunning::Yes) => {
                site.store.keep(&note, &why, site.now()).await?;
                self.halted = true;
                Ok(Ok(()))
            }
            Ok(offline::WasRunning::No) => {
                self.halted = own;
                if before.is_none() {
                    site.store.drop_note(&note).await?;
                }
                Ok(Ok(()))
            }
            Err(error) => {
                // A guest that was asked may still go down, and then it is ours to start; one that was not asked is somebody else's.
                self.late = error.may_still_go_down();
                self.halted = self.late;
                if !self.late && before.is_none() {
                    site.store.drop_note(&note).await?;
                }
                let cause = Cause::new("shutdown", crate::xenapi::error::chain(&error));
                Ok(Err(if error.may_pass() { Hindrance::ForNow(cause) } else { Hindrance::ForGood(cause) }))
            }
        }
    }

    /// Brings the VM back and runs the hooks after. Returns what went wrong with that, if it counts.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub async fn after(&mut self, worker: &mut Worker, outcome: &str, snapshot: Option<String>) -> Result<Option<Cause>> {
        let halted = if std::mem::take(&mut self.halted) { self.bring_back(worker).await? } else { None };
        let halted = if std::mem::take(&mut self.frozen) { self.wake(worker).await? } else { halted };
        let mut context = self.errand.hook_context_of(self.job);
        context.outcome = Some(outcome.to_owned());
        context.snapshot_uuid = snapshot;
        let failed = phase(worker, self.errand, Phase::AfterVm, &context).await?;
        let cause = halted.or(failed);
        if let Some(cause) = &cause {
            let value = json!({ "code": cause.code, "text": cause.text });
            self.errand.site.store.keep(&after_note(self.job.id), &value, self.errand.site.now()).await?;
        }
        Ok(cause)
    }

    async fn wake(&self, worker: &mut Worker) -> Result<Option<Cause>> {
        let site = &self.errand.site;
        match offline::wake(worker, &site.pool, &site.inventory, &self.target.vm).await {
            Ok(()) | Err(offline::OfflineError::Gone) => {
                site.store.drop_note(&suspended_note(site.uuid.0, self.job.vm_uuid)).await?;
                Ok(None)
            }
            // The snapshot may still be under way; whoever looks around next looks again.
            Err(offline::OfflineError::Busy(_) | offline::OfflineError::Unseen(_)) => Ok(None),
            Err(error) => {
                let text = format!(
                    "the snapshot left the VM {} suspended, and it could not be resumed: {}. Resume it by hand; it is tried again too",
                    self.job.vm_name,
                    crate::xenapi::error::chain(&error)
                );
                Ok(Some(Cause::new("left-suspended", text)))
            }
        }
    }

    async fn bring_back(&self, worker: &mut Worker) -> Result<Option<Cause>> {
        let site = &self.errand.site;
        match offline::bring_back(worker, &site.pool, &site.inventory, &self.target.vm).await {
            Ok(()) if self.late => {
                let until = (site.now() + WATCHED).to_rfc3339();
                let why = json!({ "name": self.job.vm_name, "run": self.errand.run.uuid, "until": until });
                site.store.keep(&offline_note(site.uuid.0, self.job.vm_uuid), &why, site.now()).await?;
                Ok(None)
            }
            Ok(()) | Err(offline::OfflineError::Gone) => {
                site.store.drop_note(&offline_note(site.uuid.0, self.job.vm_uuid)).await?;
                Ok(None)
            }
            Err(error) => {
                let text = format!(
                    "the VM {} was shut down for its snapshot and could not be started again: {}. Start it by hand; it is tried again too",
                    self.job.vm_name,
                    crate::xenapi::error::chain(&error)
                );
                Ok(Some(Cause::new("left-halted", text)))
            }
        }
    }
}

/// Brings back a VM that an earlier life halted for this job, and whose snapshot was found and not taken anew.
///
/// # Errors
/// When the history cannot be written.
pub async fn make_good(worker: &mut Worker, errand: &Errand, job: &Job) -> Result<()> {
    let WantedKind::Offline { .. } = errand.policy.snapshot.kind else { return Ok(()) };
    let site = &errand.site;
    let note = offline_note(site.uuid.0, job.vm_uuid);
    let is_ours = |value: &serde_json::Value| value["run"] == json!(errand.run.uuid) && value.get("until").is_none();
    if !site.store.kept(&note).await?.as_ref().is_some_and(is_ours) {
        return Ok(());
    }
    // Whoever has the VM leaves the note where it is; it is looked at again at each look around.
    let Some(_turn) = site.alone.if_free(job.vm_uuid) else { return Ok(()) };
    let Some(vm) = view::vm_of(&site.inventory.read(), job.vm_uuid) else { return Ok(()) };
    match offline::bring_back(worker, &site.pool, &site.inventory, &vm).await {
        Ok(()) | Err(offline::OfflineError::Gone) => Ok(site.store.drop_note(&note).await?),
        Err(error) => {
            let text = format!(
                "it was shut down for its snapshot and could not be started again: {}. Start it by hand; it is tried again too",
                crate::xenapi::error::chain(&error)
            );
            Ok(site.note_of_job(job, EventKind::LeftHalted, &Cause::new("left-halted", text)).await?)
        }
    }
}

/// Runs the hooks of a phase. Why it failed, if that counts.
///
/// # Errors
/// When the history cannot be written.
pub async fn phase(worker: &mut Worker, errand: &Errand, phase: Phase, context: &HookContext) -> Result<Option<Cause>> {
    let site = &errand.site;
    let reports = hooks::run_hooks(worker, &site.clock, errand.policy.hooks_of(phase), phase, context).await;
    for report in reports.iter().filter(|report| report.result.is_err()) {
        let text = format!(
            "policy {}: hook {}: {}",
            errand.policy.name,
            report.command,
            report.result.as_ref().err().map(ToString::to_string).unwrap_or_default()
        );
        let event = site.event(EventKind::HookFailed, text);
        let data = json!({ "output": report.output });
        let vm = context.vm.as_ref().and_then(|(uuid, _)| uuid.parse().ok());
        site.note(NewEvent { run: Some(errand.run.id), policy: Some(errand.policy.id.to_string()), vm, data, ..event }).await?;
    }
    Ok(hooks::verdict(&reports).map(|text| Cause::new("hook", text)))
}
