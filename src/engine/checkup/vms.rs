//! VMs: which nobody protects, and which cannot be snapshotted as their policies ask, with the missing prerequisite. What is in the way
//! is asked of the same rule by which a job decides (`engine::kind`), so doctor and run cannot disagree.

use super::creators::Creators;
use super::storage::names;
use super::{Covered, Pool, grouped};
use crate::domain::finding::{Code, Finding, Weight};
use crate::domain::policy::{Fallback, Policy, WantedKind};
use crate::domain::selection::{Judgement, Out};
use crate::engine::kind::{self, Choice, VmCondition};
use crate::engine::view;
use crate::xenapi::records::{PowerState, Vmpp, Vmss};

/// Tags and keys of VMs that another tool makes anew with each replication.
const REPLICA_TAGS: [&str; 2] = ["Continuous Replication", "Disaster Recovery"];
const REPLICA_KEYS: [&str; 2] = ["xo:copy_of", "xo:backup:sr"];

pub(super) fn judge(pool: &Pool<'_>, vms: &[Covered<'_>], creators: &Creators<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for vm in vms {
        let found = cannot(pool, vm).into_iter().chain(protection(pool, vm, creators)).chain(replica(vm));
        let about = |finding: Finding| finding.about("vm", Some(vm.view.uuid.0), vm.view.name);
        findings.extend(found.map(about));
    }
    findings
}

/// What is in the way of what is asked, once for all policies that meet the same.
fn cannot<'a>(pool: &Pool<'_>, vm: &Covered<'a>) -> Vec<Finding> {
    let Some(condition) = kind::condition_of(pool.tables, vm.reference) else { return Vec::new() };
    let met: Vec<(Obstacle, &'a str)> = if vm.policies.is_empty() {
        unasked(pool, vm, &condition).into_iter().map(|obstacle| (obstacle, "")).collect()
    } else {
        let meets = |policy: &'a Policy| {
            let left_out = view::left_out(pool.tables, vm.reference, &policy.snapshot.exclude_disks);
            let obstacle = obstacle(&policy.snapshot.kind, &condition.clone().without(&left_out), Weight::Problem)?;
            Some((obstacle, policy.name.as_str()))
        };
        vm.policies.iter().copied().filter_map(meets).collect()
    };
    let told = |(obstacle, policies): (Obstacle, Vec<&str>)| {
        let policies = names(policies.into_iter().filter(|name| !name.is_empty()));
        let asking = if policies.is_empty() { String::new() } else { format!(" (policy {policies})") };
        Finding::new(obstacle.code, obstacle.weight, format!("VM {}{asking}: {}", vm.label, obstacle.what), obstacle.todo)
    };
    grouped(met).into_iter().map(told).collect()
}

/// What is in the way of a kind of snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Obstacle {
    code: Code,
    weight: Weight,
    what: String,
    todo: String,
}

/// What nobody has asked for yet: a snapshot of the disks, and where no policies are known the others too, as far as the server has them.
fn unasked(pool: &Pool<'_>, vm: &Covered<'_>, condition: &VmCondition<'_>) -> Vec<Obstacle> {
    let disk = obstacle(&WantedKind::Disk, condition, Weight::Note).map(|found| Obstacle { weight: Weight::Note, ..found });
    if disk.is_some() || pool.policies.is_some() || vm.record.power_state != PowerState::Running {
        return disk.into_iter().collect();
    }
    let quiesced = (condition.release_quiesces && !condition.quiesce_withheld).then_some(WantedKind::Quiesced(Fallback::Disk));
    let memory = (!condition.memory_withheld).then_some(WantedKind::Memory(Fallback::Disk));
    let kinds = [quiesced, memory].into_iter().flatten();
    kinds
        .filter_map(|wanted| obstacle(&wanted, condition, Weight::Note))
        .map(|found| Obstacle { weight: Weight::Note, ..found })
        .collect()
}

/// What a run would say. Being busy is nothing to look at.
fn obstacle(wanted: &WantedKind, condition: &VmCondition<'_>, weight: Weight) -> Option<Obstacle> {
    match kind::choose(wanted, condition) {
        Choice::Take { note: None, .. } | Choice::Cannot { code: "OTHER_OPERATION_IN_PROGRESS", .. } => None,
        Choice::Take { note: Some(note), .. } => {
            // The code is that of the kind asked for.
            let strict = match wanted {
                WantedKind::Quiesced(_) => WantedKind::Quiesced(Fallback::Fail),
                WantedKind::Memory(_) => WantedKind::Memory(Fallback::Fail),
                other => *other,
            };
            let Choice::Cannot { code, .. } = kind::choose(&strict, condition) else { return None };
            Some(told(code, Weight::Warning, &note))
        }
        Choice::Cannot { code, text, for_now } => Some(told(code, if for_now { Weight::Warning } else { weight }, &text)),
    }
}

/// Obstacles say what is so, and after the last colon what to do.
fn told(code: &str, weight: Weight, text: &str) -> Obstacle {
    let (what, todo) = text.rsplit_once(": ").unwrap_or((text, ""));
    Obstacle { code: code_of(code), weight, what: what.to_owned(), todo: todo.to_owned() }
}

fn code_of(code: &str) -> Code {
    match code {
        "VM_HAS_VUSBS" => Code::VmUsb,
        "VM_HAS_PCI_ATTACHED" => Code::VmPci,
        "VM_HAS_VGPU" => Code::VmVgpu,
        "VDI_IS_SHARABLE" => Code::DiskSharable,
        "UNIMPLEMENTED_IN_SM_BACKEND" => Code::DiskRaw,
        "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION" => Code::DiskResets,
        "VDI_MISSING" => Code::DiskMissing,
        "SR_OPERATION_NOT_SUPPORTED" => Code::DiskNoSnapshots,
        "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED" => Code::GuestNotQuiesced,
        "VM_NON_SUSPENDABLE" => Code::GuestNotSuspended,
        "VM_LACKS_FEATURE" => Code::GuestLacksFeature,
        "MESSAGE_REMOVED" => Code::NoQuiesce,
        "LICENCE_RESTRICTION" => Code::Licence,
        "VM_BAD_POWER_STATE" => Code::VmPower,
        "OPERATION_BLOCKED" => Code::VmBlocked,
        "VM_NO_SUSPEND_SR" | "SR_SUSPEND_SPACE_INSUFFICIENT" => Code::VmImage,
        "NO_HOSTS_AVAILABLE" => Code::VmStorage,
        _ => Code::VmCannot,
    }
}

/// Who protects a VM that no policy covers.
fn protection(pool: &Pool<'_>, vm: &Covered<'_>, creators: &Creators<'_>) -> Option<Finding> {
    if !vm.policies.is_empty() {
        return None;
    }
    let name = &vm.label;
    if let Some(policies) = pool.policies
        && let Some(out) = policies.iter().find_map(|policy| on_purpose(policy, vm))
    {
        return Some(Finding::new(Code::VmLeftOut, Weight::Note, format!("VM {name} is {out}"), ""));
    }
    let others = others(pool, vm, creators);
    match (pool.policies.is_some(), others.is_empty()) {
        (true, true) => {
            let todo = "add it to a policy, or tag it xensnap:skip=REASON if that is meant so";
            Some(Finding::new(
                Code::VmUnprotected,
                Weight::Warning,
                format!("no policy covers VM {name}, and no other tool does"),
                todo,
            ))
        }
        (true, false) => {
            Some(Finding::new(Code::VmElsewhere, Weight::Note, format!("no policy covers VM {name}; {others} does"), ""))
        }
        (false, true) => {
            let what = format!("no tool protects VM {name}, as far as its snapshots and the server's schedules show");
            Some(Finding::new(Code::VmUnprotected, Weight::Note, what, "cover it by a policy"))
        }
        (false, false) => None,
    }
}

fn on_purpose(policy: &Policy, vm: &Covered<'_>) -> Option<String> {
    match policy.selection.judge(&vm.view) {
        out @ Judgement::Out(Out::Excluded(_)) => Some(format!("left out by policy {}: {out}", policy.name)),
        out @ Judgement::Out(Out::SkipTag(_)) => Some(format!("left out: {out}")),
        _ => None,
    }
}

/// The other tools that protect a VM.
pub(super) fn others(pool: &Pool<'_>, vm: &Covered<'_>, creators: &Creators<'_>) -> String {
    let mut tools: Vec<String> = schedule(pool, vm).into_iter().collect();
    let scheduled = !tools.is_empty();
    let makers = creators.of_vm(vm.reference).map(|made| &made.by).filter(|by| by.is_another_tool());
    tools.extend(makers.filter(|by| !scheduled || **by != super::creators::Creator::Schedule).map(ToString::to_string));
    names(tools.iter().map(String::as_str))
}

/// The server's own schedule that a VM is in, if it runs.
pub(super) fn schedule(pool: &Pool<'_>, vm: &Covered<'_>) -> Option<String> {
    let vmss = pool.tables.get::<Vmss>(&vm.record.snapshot_schedule).filter(|schedule| schedule.enabled);
    let vmpp = pool.tables.get::<Vmpp>(&vm.record.protection_policy).filter(|policy| policy.is_policy_enabled);
    let name = vmss.map(|schedule| &*schedule.name_label).or(vmpp.map(|policy| &*policy.name_label))?;
    Some(format!("the server's own schedule {name:?}"))
}

fn replica(vm: &Covered<'_>) -> Option<Finding> {
    let tagged = REPLICA_TAGS.iter().any(|tag| vm.record.tags.contains(tag));
    let keyed = REPLICA_KEYS.iter().any(|key| vm.record.other_config.contains_key(key));
    if vm.policies.is_empty() || !(tagged || keyed) {
        return None;
    }
    let policies = names(vm.policies.iter().map(|policy| policy.name.as_str()));
    let what = format!("VM {} is a replica that Xen Orchestra makes anew, and policy {policies} covers it", vm.label);
    Some(Finding::new(Code::VmReplica, Weight::Warning, what, "exclude it: its snapshots hinder the replication"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_after_the_last_colon() {
        let found = told("VM_HAS_VUSBS", Weight::Problem, "a: b (c): d");
        assert_eq!((found.code, found.what.as_str(), found.todo.as_str()), (Code::VmUsb, "a: b (c)", "d"));
        assert_eq!(told("SOMETHING_NEW", Weight::Problem, "a").code, Code::VmCannot);
    }
}
