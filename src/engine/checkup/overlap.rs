//! Who else takes snapshots: tools that protect VMs which a policy covers too, and snapshots that somebody made and nobody looks after.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::creators::{Creator, Creators};
use super::storage::names;
use super::{Covered, Pool, age, vms};
use crate::domain::finding::{Code, Finding, Weight};
use crate::xenapi::records::Vm;

/// A tool that has taken no snapshot for so long is not at work any more.
const AT_WORK: TimeDelta = TimeDelta::days(35);

/// From this age on a snapshot that nobody looks after is told.
const OLD: TimeDelta = TimeDelta::days(90);

pub(super) fn judge(pool: &Pool<'_>, vms: &[Covered<'_>], creators: &Creators<'_>) -> Vec<Finding> {
    let mut findings = if pool.policies.is_some() { Vec::new() } else { tools(creators) };
    for vm in vms {
        let about = |finding: Finding| finding.about("vm", Some(vm.view.uuid.0), vm.view.name);
        findings.extend(twice(pool, vm, creators).map(about));
        findings.extend(old(pool, vm, creators).map(about));
    }
    findings
}

/// Tools that have taken snapshots lately of VMs for which a policy fires too, with those VMs.
pub(super) fn at_work(pool: &Pool<'_>, vms: &[Covered<'_>], creators: &Creators<'_>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for vm in vms.iter().filter(|vm| vm.policies.iter().any(|policy| !policy.observe)) {
        let recent = creators.of_vm(vm.reference).filter(|made| made.by.is_another_tool());
        for (by, (_, at)) in newest(recent.filter_map(|made| Some((&made.by, made.at?)))) {
            if pool.now - at <= AT_WORK {
                found.entry(by.to_string()).or_default().push(vm.label.clone());
            }
        }
    }
    found.values_mut().for_each(|vms| vms.sort_unstable());
    found
}

/// Other tools that protect a VM which a policy covers.
fn twice(pool: &Pool<'_>, vm: &Covered<'_>, creators: &Creators<'_>) -> Option<Finding> {
    let firing = names(vm.policies.iter().filter(|policy| !policy.observe).map(|policy| policy.name.as_str()));
    if firing.is_empty() {
        return None;
    }
    let scheduled = vms::schedule(pool, vm);
    let mut tools: Vec<String> = scheduled.iter().cloned().collect();
    let recent = creators.of_vm(vm.reference).filter(|made| made.by.is_another_tool());
    for (by, newest) in newest(recent.filter_map(|made| Some((&made.by, made.at?)))) {
        let known = scheduled.is_some() && *by == Creator::Schedule;
        if !known && pool.now - newest.1 <= AT_WORK {
            tools.push(format!("{by} (its newest snapshot is of {})", newest.1.format("%Y-%m-%d %H:%M UTC")));
        }
    }
    if tools.is_empty() {
        return None;
    }
    let what = format!("VM {} is protected by policy {} and by {}", vm.label, firing, tools.join(" and "));
    let todo = "let one of them do it: both fill the storage, and both lengthen the chains";
    Some(Finding::new(Code::ProtectedTwice, Weight::Warning, what, todo))
}

/// How many snapshots each maker has, and when the newest was taken.
fn newest<'c>(made: impl Iterator<Item = (&'c Creator, DateTime<Utc>)>) -> BTreeMap<&'c Creator, (usize, DateTime<Utc>)> {
    let mut newest = BTreeMap::new();
    for (by, at) in made {
        let known = newest.entry(by).or_insert((0, at));
        *known = (known.0 + 1, known.1.max(at));
    }
    newest
}

/// Every other tool of the pool, where no policies are known.
fn tools(creators: &Creators<'_>) -> Vec<Finding> {
    let made = creators.all().filter(|made| made.by.is_another_tool()).filter_map(|made| Some((&made.by, made.at?)));
    let told = |(by, (number, at)): (&Creator, (usize, DateTime<Utc>))| {
        let what = format!("{by} takes snapshots here ({number} now, the newest of {})", at.format("%Y-%m-%d %H:%M UTC"));
        Finding::new(Code::OtherTool, Weight::Note, what, "let one tool protect a VM")
    };
    newest(made).into_iter().map(told).collect()
}

/// Snapshots that a person made and left.
fn old(pool: &Pool<'_>, vm: &Covered<'_>, creators: &Creators<'_>) -> Option<Finding> {
    let left = creators.of_vm(vm.reference).filter(|made| made.by == Creator::Somebody);
    let mut old: Vec<(DateTime<Utc>, &Vm)> =
        left.filter_map(|made| Some((made.at.filter(|at| pool.now - *at > OLD)?, made.record))).collect();
    old.sort_by_key(|(at, record)| (*at, record.uuid));
    let (at, oldest) = old.first()?;
    let more = match old.len() - 1 {
        0 => String::new(),
        1 => format!(", and one more is older than {}", age(OLD)),
        more => format!(", and {more} more are older than {}", age(OLD)),
    };
    let what = format!("VM {}: its snapshot {:?} is {} old{more}", vm.label, oldest.name_label, age(pool.now - *at));
    Some(Finding::new(Code::SnapshotOld, Weight::Note, what, "remove it if nobody needs it (xe snapshot-uninstall)"))
}
