//! A person's word about removals that a guard stopped: what waits for it, and a yes. Whoever says yes names the questions that were
//! shown to him; one that was replaced meanwhile was about other snapshots, and then nothing is agreed to.

use serde_json::{Value, json};

use super::super::Handle;
use super::{Ask, Reply, policies};
use crate::engine::consent::{self, FIRST_PRUNING, Whose};
use crate::engine::error::Result;
use crate::engine::guards::clocks;
use crate::engine::late;
use crate::engine::prune::Pruned;
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
use crate::store::{Approval, ApprovalState, RunId};

/// Whose questions are meant.
enum About {
    Run(RunId),
    Policy(String),
}

/// Tells what waits.
pub(super) async fn tell(handle: &Handle, policy: Option<&str>, run: Option<i64>, reply: &mut Reply) -> Result<()> {
    let questions = match (policy, run) {
        (None, None) => handle.store.approvals(ApprovalState::Pending).await?,
        _ => match about(handle, policy, run, reply) {
            Some(about) => waiting(handle, &about, reply).await?,
            None => return Ok(()),
        },
    };
    let mut told = Vec::with_capacity(questions.len());
    for question in &questions {
        told.push(shown(handle, question).await?);
    }
    reply.data(&json!({ "questions": told }));
    Ok(())
}

/// A question with the names of what it is about.
async fn shown(handle: &Handle, question: &Approval) -> Result<Value> {
    let plan = handle.plan();
    let policy = plan.policy(&question.policy).map_or(question.policy.as_str(), |policy| policy.name.as_str());
    let pools = handle.store.pools().await?;
    let pool = pools.iter().find(|pool| pool.uuid == question.pool).map_or("", |pool| pool.name.as_str());
    let vm = match question.vm {
        Some(vm) => handle.store.find_vms(&vm.to_string()).await?.into_iter().find(|row| row.pool == question.pool),
        None => None,
    };
    Ok(consent::as_data(question, pool, policy, vm.as_ref().map_or("", |vm| vm.name.as_str())))
}

fn about(handle: &Handle, policy: Option<&str>, run: Option<i64>, reply: &mut Reply) -> Option<About> {
    match (policy, run) {
        (None, Some(run)) => Some(About::Run(RunId(run))),
        (Some(policy), None) => {
            let plan = handle.plan();
            let found = plan.find(policy).map(|assigned| assigned.policy.id.to_string());
            if found.is_none() {
                reply.refuse("not-found", policies::unknown(&plan, policy));
            }
            found.map(About::Policy)
        }
        _ => {
            reply.refuse("usage", "say which: the number of a run, or a policy");
            None
        }
    }
}

/// The questions that wait; if there is none, why not is the answer.
async fn waiting(handle: &Handle, about: &About, reply: &mut Reply) -> Result<Vec<Approval>> {
    let open = handle.store.approvals(ApprovalState::Pending).await?;
    let meant = |question: &Approval| match about {
        About::Run(run) => question.run == Some(*run),
        About::Policy(policy) => question.policy == *policy,
    };
    let (mine, others): (Vec<_>, Vec<_>) = open.into_iter().partition(meant);
    if mine.is_empty() {
        reply.refuse("not-found", nothing(handle, about, &others).await?);
    }
    Ok(mine)
}

async fn nothing(handle: &Handle, about: &About, others: &[Approval]) -> Result<String> {
    let mut runs: Vec<RunId> = others.iter().filter_map(|question| question.run).collect();
    runs.sort_unstable();
    runs.dedup();
    let runs: Vec<String> = runs.iter().rev().take(5).map(ToString::to_string).collect();
    let hint =
        if runs.is_empty() { "nothing waits for a word".to_owned() } else { format!("runs that wait: {}", runs.join(", ")) };
    let text = match about {
        About::Policy(policy) => format!("no pruning of policy {policy} waits for a person's word"),
        About::Run(run) if handle.store.approvals_of(*run).await?.is_empty() => format!("run {run} waits for nobody's word"),
        About::Run(run) => format!("the questions of run {run} were answered, or a later run asks anew"),
    };
    Ok(format!("{text}; {hint}"))
}

/// Says yes to questions, and carries them out.
pub(super) async fn agree(
    worker: &mut Worker,
    handle: &Handle,
    sites: &[SharedSite],
    (ask, by): (&Ask, &str),
    reply: &mut Reply,
) -> Result<()> {
    let Ask::Approve { policy, run, questions } = ask else { return Ok(()) };
    let Some(about) = about(handle, policy.as_deref(), *run, reply) else { return Ok(()) };
    let mut mine = waiting(handle, &about, reply).await?;
    if !questions.is_empty() {
        let known = |id: &i64| mine.iter().any(|question| question.id.0 == *id);
        if !questions.iter().all(known) {
            reply.refuse("failed", "what waits now is not what was shown; nothing was agreed to, look again");
            return Ok(());
        }
        mine.retain(|question| questions.contains(&question.id.0));
    }
    for question in &mine {
        agree_to(worker, handle, sites, question, by, reply).await?;
    }
    Ok(())
}

async fn agree_to(
    worker: &mut Worker,
    handle: &Handle,
    sites: &[SharedSite],
    question: &Approval,
    by: &str,
    reply: &mut Reply,
) -> Result<()> {
    let plan = handle.plan();
    let Some(policy) = plan.policy(&question.policy) else {
        reply.fail(format!("policy {} is in no file any more, so that its snapshots stay", question.policy));
        return Ok(());
    };
    let Some(site) = sites.iter().find(|site| site.uuid.0 == question.pool) else {
        reply.fail(format!("the pool {} is not reached now; `xensnap doctor` says why", question.pool));
        return Ok(());
    };
    if let Some(why) = clocks::doubt(worker, site).await? {
        reply.fail(clocks::told(site, &why));
        return Ok(());
    }
    let granted = site.store.decide(question.id, ApprovalState::Granted, by, site.now()).await?;
    let whose = Whose { site, policy, run: None };
    let Pruned { removed, left, .. } = whose.carry_out(worker, &granted).await?;
    let name = question.vm.map_or_else(String::new, |vm| policies::name_of(site, vm));
    let kept = consent::listed(&granted).len().saturating_sub(removed + left.len());
    let stay = if kept == 0 { String::new() } else { format!(", {kept} stay by what is true now") };
    reply.say(format!("{}: {name}: {removed} snapshots of policy {} removed{stay}", site.name(), policy.name));
    left.into_iter().for_each(|why| reply.fail(format!("{name}: left: {why}")));
    settle(worker, site, question).await
}

/// What was removed is made durable; and once nobody has to agree to the first pruning any more, that is remembered.
async fn settle(worker: &mut Worker, site: &SharedSite, question: &Approval) -> Result<()> {
    let same = |open: &Approval| open.kind == FIRST_PRUNING && open.pool == question.pool && open.policy == question.policy;
    if same(question) && !site.store.approvals(ApprovalState::Pending).await?.iter().any(same) {
        site.store.drop_note(&consent::adopted_note(site.uuid.0, &question.policy)).await?;
    }
    late::secure_all(worker, site).await
}
