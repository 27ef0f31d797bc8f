//! Why things are as they are: which policies cover a VM and which do not, and what each of its snapshots is, why it stays, and when it
//! will go. The same functions that decide are asked, so that an explanation cannot differ from what is done.

use std::sync::Arc;

use uuid::Uuid;

use super::super::Handle;
use super::Reply;
use crate::domain::mark::{self, Ownership};
use crate::domain::policy::Policy;
use crate::domain::retention::{Verdict, forecast};
use crate::domain::selection::{Judgement, Out, VmView};
use crate::engine::consent::{self, Whose};
use crate::engine::error::Result;
use crate::engine::guards::{self, Promises, clocks};
use crate::engine::prune::{self, Verdicts, When};
use crate::engine::site::SharedSite;
use crate::engine::view;
use crate::store::{Approval, ApprovalState};
use crate::xenapi::records::Vm;

/// Explains a VM or a snapshot.
pub(super) async fn answer(handle: &Handle, sites: &[SharedSite], subject: &str, reply: &mut Reply) -> Result<()> {
    let mut found = false;
    for site in sites {
        for vm in find(site, subject) {
            found = true;
            if is_snapshot(site, vm) {
                explain_snapshot(handle, site, vm, reply).await?;
            } else {
                explain_vm(handle, site, vm, reply).await?;
            }
        }
    }
    if !found {
        nothing(sites, subject, reply);
    }
    Ok(())
}

fn nothing(sites: &[SharedSite], subject: &str, reply: &mut Reply) {
    let mut names = Vec::new();
    for site in sites {
        let tables = site.inventory.read();
        names.extend(tables.all::<Vm>().filter(|(_, vm)| vm.is_plain()).map(|(_, vm)| vm.name_label.to_string()));
    }
    let near = crate::domain::nearest::nearest_few(subject, names.iter().map(String::as_str), 3).join(", ");
    let hint = if near.is_empty() { String::new() } else { format!("; there is {near}") };
    reply.refuse("not-found", format!("no VM or snapshot in the pools is {subject}{hint}"));
}

fn find(site: &SharedSite, subject: &str) -> Vec<Uuid> {
    let tables = site.inventory.read();
    let uuid = subject.parse::<Uuid>().ok();
    let fits = |vm: &Vm| uuid == Some(vm.uuid.get()) || vm.is_plain() && *vm.name_label == *subject;
    tables.all::<Vm>().filter(|(_, vm)| fits(vm)).map(|(_, vm)| vm.uuid.get()).collect()
}

fn is_snapshot(site: &SharedSite, vm: Uuid) -> bool {
    let tables = site.inventory.read();
    view::vm_of(&tables, vm).and_then(|vm| tables.get(&vm).map(|vm| vm.is_a_snapshot)).unwrap_or_default()
}

async fn explain_vm(handle: &Handle, site: &SharedSite, vm: Uuid, reply: &mut Reply) -> Result<()> {
    let plan = handle.plan();
    let judged = {
        let tables = site.inventory.read();
        let views = view::vms(&tables, (site.uuid, site.name()));
        let Some((_, view)) = views.iter().find(|(_, view)| view.uuid.0 == vm) else {
            reply.say(format!("{vm} is a template or a control domain: never selected"));
            return Ok(());
        };
        reply.say(format!("VM {} ({vm}), pool {}", view.name, site.name()));
        let applying = plan.policies.iter().filter(|assigned| assigned.applies_to(site.name()));
        let covered = |policy: &Policy| matches!(policy.selection.judge(view), Judgement::In(_));
        let judged = |policy: &Arc<Policy>| (Arc::clone(policy), covered(policy), why(policy, view));
        applying.map(|assigned| judged(&assigned.policy)).collect::<Vec<_>>()
    };
    for (policy, covered, lines) in judged {
        lines.into_iter().for_each(|line| reply.say(line));
        if covered {
            let lines = guards::outlook(site, &policy, vm, &Promises::default());
            lines.into_iter().for_each(|line| reply.say(format!("    now: {line}")));
        }
        explain_held(site, &policy, vm, None, reply).await?;
    }
    Ok(())
}

fn why(policy: &Policy, vm: &VmView<'_>) -> Vec<String> {
    let judgement = policy.selection.judge(vm);
    let off = if policy.enabled { "" } else { " (the policy is disabled)" };
    let mut lines = vec![format!("  policy {}: {judgement}{off}", policy.name)];
    if judgement == Judgement::Out(Out::NotIncluded) {
        lines.extend(policy.selection.why_not_included(vm).into_iter().map(|line| format!("    {line}")));
    }
    lines
}

/// The snapshots that a policy holds of a VM, or one of them.
async fn explain_held(site: &SharedSite, policy: &Policy, vm: Uuid, only: Option<Uuid>, reply: &mut Reply) -> Result<()> {
    let verdicts = prune::decide(site, policy, vm, When::Now).await?;
    let candidates: Vec<_> = verdicts.held.iter().map(|held| held.candidate).collect();
    let zone = policy.schedule.zone();
    let next = |after| policy.schedule.next_open_after(after).filter(|_| policy.enabled);
    let expiries = forecast(&policy.retention.rules, zone, &candidates, site.now(), next);
    if only.is_none() {
        held(site, policy, &verdicts).await?.into_iter().for_each(|line| reply.say(format!("    {line}")));
    }
    for decision in &verdicts.plan.decisions {
        if only.is_some_and(|only| only != decision.snapshot.0) {
            continue;
        }
        let due = zone.civil(decision.due_at).format("%Y-%m-%d %H:%M");
        let expiry = expiries.iter().find(|(snapshot, _)| *snapshot == decision.snapshot).map(|(_, expiry)| expiry.to_string());
        let verdict = match decision.verdict {
            Verdict::Keep(reasons) => format!("stays ({reasons}); goes: {}", expiry.unwrap_or_else(|| "unknown".to_owned())),
            Verdict::Remove(removal) => format!("goes with the next pruning: {removal}"),
        };
        reply.say(format!("    {due}  {}  {verdict}", decision.snapshot));
    }
    Ok(())
}

/// What keeps the VM's snapshots from going although they should, and what to do about it.
async fn held(site: &SharedSite, policy: &Policy, verdicts: &Verdicts) -> Result<Vec<String>> {
    let mut lines: Vec<String> = site.clocks.doubt().map(|why| clocks::told(site, &why)).into_iter().collect();
    let whose = Whose { site, policy, run: None };
    let waiting = whose.questions(&[verdicts.vm], ApprovalState::Pending).await?;
    let told = |question: &Approval| {
        let agree = consent::agree(policy.id.as_str(), question.run);
        format!("nothing of it is removed: {}; {agree}", consent::why(question))
    };
    lines.extend(waiting.iter().map(told));
    if waiting.is_empty() {
        lines.extend(consent::outlook(site, policy, verdicts).map(|line| format!("its next pruning {line}")));
    }
    Ok(lines)
}

async fn explain_snapshot(handle: &Handle, site: &SharedSite, snapshot: Uuid, reply: &mut Reply) -> Result<()> {
    let (name, ownership) = {
        let tables = site.inventory.read();
        let Some(record) = view::vm_of(&tables, snapshot).and_then(|vm| tables.get(&vm).cloned()) else { return Ok(()) };
        (record.name_label.to_string(), mark::verify(&site.installation, &view::facts(&tables, site.uuid, &record)))
    };
    reply.say(format!("snapshot {snapshot} \"{name}\", pool {}: {ownership}", site.name()));
    let Ownership::Ours(mark) = ownership else { return Ok(()) };
    match handle.plan().policy(mark.policy.as_str()) {
        Some(policy) => explain_held(site, policy, mark.vm.0, Some(snapshot), reply).await,
        None => {
            reply.say(format!("    policy {} is in no file any more: it stays until somebody removes it", mark.policy));
            Ok(())
        }
    }
}
