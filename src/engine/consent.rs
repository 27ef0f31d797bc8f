//! A person's word about removals: what a guard stops is written down as a question with exactly the snapshots that would have gone, and
//! waits. Whoever agrees agrees to those and to no others, once. What has changed since then counts more than the agreement: a snapshot
//! that retention keeps by now stays, and every other look before a removal is taken all the same.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::Result;
use super::guards::allowances::{self, Purse};
use super::guards::clocks;
use super::holdings::Held;
use super::prune::{self, Pruned, Verdicts, When};
use super::site::Site;
use super::worker::Worker;
use crate::domain::policy::Policy;
use crate::store::{Approval, ApprovalState, EventKind, NewApproval, NewEvent, RunId};

/// More would go than passes without a word.
pub const TOO_MANY: &str = "too-many";

/// Snapshots would go for the first time since they were adopted.
pub const FIRST_PRUNING: &str = "first-pruning";

/// Who closes questions that nobody has answered.
const SERVICE: &str = "xensnap";

/// A snapshot that would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The snapshot.
    pub snapshot: Uuid,
    /// The slot it was taken for.
    pub due_at: DateTime<Utc>,
    /// Why it would go.
    pub reason: String,
}

/// The note that says that a policy has adopted snapshots and that nobody has agreed to its first pruning yet.
pub fn adopted_note(pool: Uuid, policy: &str) -> String {
    format!("adopted/{pool}/{policy}")
}

/// What is asked about, as it was written down.
pub fn listed(question: &Approval) -> Vec<Listed> {
    serde_json::from_value(question.plan["listed"].clone()).unwrap_or_default()
}

/// Why it is asked, in a sentence.
pub fn why(question: &Approval) -> &str {
    question.plan["why"].as_str().unwrap_or(&question.kind)
}

/// Whose questions are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The pool.
    pub site: &'a Site,
    /// The policy.
    pub policy: &'a Policy,
    /// The run that would remove, if it is one.
    pub run: Option<RunId>,
}

impl Whose<'_> {
    fn is_about(&self, question: &Approval, vm: Uuid) -> bool {
        let mine = question.pool == self.site.uuid.0 && question.policy == self.policy.id.as_str();
        mine && question.vm == Some(vm)
    }

    /// The questions about these VMs that are in a state.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn questions(&self, vms: &[Uuid], state: ApprovalState) -> Result<Vec<Approval>> {
        let all = self.site.store.approvals(state).await?;
        Ok(all.into_iter().filter(|question| vms.iter().any(|vm| self.is_about(question, *vm))).collect())
    }

    /// Whether what would go of a VM may go now; else it is asked, and none of it goes.
    ///
    /// # Errors
    /// When the history cannot be kept.
    pub async fn may(&self, purse: &Purse<'_>, verdicts: &Verdicts, when: When) -> Result<bool> {
        let doomed = verdicts.removals();
        let stopped = if doomed.is_empty() {
            None
        } else if self.is_first(&doomed).await? {
            Some((FIRST_PRUNING, "adopted snapshots would go for the first time".to_owned()))
        } else {
            purse.take(verdicts.vm, doomed.len()).err().map(|excess| (TOO_MANY, excess.to_string()))
        };
        match stopped {
            Some((kind, why)) => self.ask(kind, why, verdicts.vm, &doomed).await.map(|()| false),
            None => {
                if when == When::Now {
                    self.close(verdicts.vm).await?;
                }
                Ok(true)
            }
        }
    }

    /// The first pruning after snapshots were adopted needs a person's yes, for each VM of which it would remove something.
    async fn is_first(&self, doomed: &[(&Held, String)]) -> Result<bool> {
        let adopted = doomed.iter().any(|(held, _)| held.row.adopted_at.is_some());
        let note = adopted_note(self.site.uuid.0, self.policy.id.as_str());
        Ok(adopted && self.site.store.kept(&note).await?.is_some())
    }

    /// Writes a question down in the place of an older one about the same VM; the same question is asked once.
    async fn ask(&self, kind: &str, why: String, vm: Uuid, doomed: &[(&Held, String)]) -> Result<()> {
        let listed: Vec<Listed> = doomed.iter().map(|(held, reason)| entry(held, reason)).collect();
        let before = self.questions(&[vm], ApprovalState::Pending).await?;
        if before.iter().any(|question| self.is_asked(question, kind, &listed)) {
            return Ok(());
        }
        self.close(vm).await?;
        let Self { site, policy, run } = *self;
        let plan = json!({ "why": why, "listed": listed });
        let (id, now) = (policy.id.to_string(), site.now());
        let question = NewApproval { kind: kind.to_owned(), pool: site.uuid.0, policy: id.clone(), vm: Some(vm), run, plan };
        site.store.ask(question, now).await?;
        let text = format!("policy {}: {why}; none of that VM goes before somebody agrees: {}", policy.name, agree(&id, run));
        let event = NewEvent { policy: Some(id), vm: Some(vm), run, ..site.event(EventKind::ApprovalNeeded, text) };
        Ok(site.note(event).await?)
    }

    /// Whether a question that waits is the same, so that it need not be asked again.
    fn is_asked(&self, question: &Approval, kind: &str, doomed: &[Listed]) -> bool {
        let same_run = self.run.is_none() || question.run == self.run;
        question.kind == kind && same_run && listed(question) == doomed
    }

    /// Questions about a VM that do not arise any more.
    async fn close(&self, vm: Uuid) -> Result<()> {
        for question in self.questions(&[vm], ApprovalState::Pending).await? {
            self.site.store.decide(question.id, ApprovalState::Expired, SERVICE, self.site.now()).await?;
        }
        Ok(())
    }

    /// Carries out what was agreed to and not begun, because an earlier life ended in between; not while the clock is in doubt, because
    /// an agreement is used up by it.
    ///
    /// # Errors
    /// When the history cannot be kept.
    pub async fn catch_up(&self, worker: &mut Worker, vms: &[Uuid]) -> Result<()> {
        let granted = self.questions(vms, ApprovalState::Granted).await?;
        if granted.is_empty() || clocks::doubt(worker, self.site).await?.is_some() {
            return Ok(());
        }
        for granted in granted {
            self.carry_out(worker, &granted).await?;
        }
        Ok(())
    }

    /// Removes what somebody agreed to and retention does not keep now. The agreement is used up first: whatever comes in between, it
    /// covers no second pruning.
    ///
    /// # Errors
    /// When the history cannot be kept.
    pub async fn carry_out(&self, worker: &mut Worker, granted: &Approval) -> Result<Pruned> {
        let Self { site, policy, .. } = *self;
        site.trust(worker).await;
        site.store.decide(granted.id, ApprovalState::Used, SERVICE, site.now()).await?;
        let Some(vm) = granted.vm else { return Ok(Pruned::default()) };
        let mut verdicts = prune::decide(site, policy, vm, When::Now).await?;
        let agreed: Vec<Uuid> = listed(granted).into_iter().map(|listed| listed.snapshot).collect();
        verdicts.plan.decisions.retain(|decision| agreed.contains(&decision.snapshot.0));
        let mut pruned = Pruned::default();
        prune::remove(worker, site, policy, granted.run, &verdicts, &mut pruned).await?;
        Ok(pruned)
    }
}

fn entry(held: &Held, reason: &str) -> Listed {
    Listed { snapshot: held.mark.snapshot.0, due_at: held.mark.due_at, reason: reason.to_owned() }
}

/// What somebody types who agrees.
pub fn agree(policy: &str, run: Option<RunId>) -> String {
    match run {
        Some(run) => format!("`xensnap prune --approve {run}` shows what would go, and asks"),
        None => format!("`xensnap prune {policy} --approve` shows what would go, and asks"),
    }
}

/// What would be said of a VM's pruning: that it would wait for a person.
pub fn outlook(site: &Site, policy: &Policy, verdicts: &Verdicts) -> Option<String> {
    let (count, most) = (verdicts.removals().len(), allowances::bounds(site, policy, 1).per_vm);
    (count > most as usize).then(|| format!("would wait for a person: {count} snapshots, and max_removals_per_vm is {most}"))
}

/// Questions as programs read them.
pub fn as_data(question: &Approval, pool: &str, policy: &str, vm: &str) -> Value {
    json!({
        "question": question.id.0,
        "kind": question.kind,
        "why": why(question),
        "pool": pool,
        "policy": { "id": question.policy, "name": policy },
        "vm": { "uuid": question.vm, "name": vm },
        "run": question.run.map(|run| run.0),
        "asked_at": question.asked_at,
        "snapshots": listed(question),
    })
}
