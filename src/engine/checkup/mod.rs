//! What somebody should be told about a pool. Everything is judged from one consistent state of the inventory and the policies: nothing
//! is asked of the server, nothing is changed, and a pool of thousands of VMs takes a moment.
//!
//! | file | idea |
//! | --- | --- |
//! | `storage` | repositories that cannot snapshot, are full, or never give anything back |
//! | `vms` | VMs that nobody protects, or that cannot be snapshotted as asked |
//! | `depth` | chains that are long, or will be |
//! | `creators`, `overlap` | who made a snapshot; who else protects the same VMs |
//! | `filling` | who fills which repository |
//! | `certificates` | what ends soon |

pub mod certificates;
mod creators;
mod depth;
pub mod filling;
mod overlap;
mod storage;
#[cfg(test)]
mod tests;
mod vms;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::view;
use crate::domain::finding::{self, Code, Finding, Weight};
use crate::domain::id::{InstallationId, PoolUuid};
use crate::domain::policy::Policy;
use crate::domain::selection::{Judgement, VmView};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{EventClass, Vm};
use crate::xenapi::types::Ref;

use creators::Creators;

/// What is read of a pool to judge it.
pub const CLASSES: [EventClass; 13] = [
    EventClass::Pool,
    EventClass::Host,
    EventClass::HostMetrics,
    EventClass::Vm,
    EventClass::VmGuestMetrics,
    EventClass::Vbd,
    EventClass::Vdi,
    EventClass::Sr,
    EventClass::Pbd,
    EventClass::Sm,
    EventClass::VmAppliance,
    EventClass::Vmss,
    EventClass::Vmpp,
];

/// A pool, and who looks at it.
#[derive(Clone, Copy)]
pub struct Pool<'a> {
    /// What is in it. Needs [`CLASSES`].
    pub tables: &'a Tables,
    /// Its uuid and configured name.
    pub pool: (PoolUuid, &'a str),
    /// Who we are; nothing if that is not known, and then nothing is ours.
    pub installation: Option<&'a InstallationId>,
    /// The policies that fire on it; nothing if they are not known.
    pub policies: Option<&'a [&'a Policy]>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Who fills which repository, the fullest first.
    pub filling: Vec<filling::Filling>,
}

/// A VM with the policies that cover it.
struct Covered<'a> {
    reference: &'a Ref<Vm>,
    /// Its name; where several VMs have it, with the beginning of its uuid.
    label: String,
    view: VmView<'a>,
    record: &'a Vm,
    policies: Vec<&'a Policy>,
}

/// Judges a pool.
pub fn examine(pool: &Pool<'_>) -> Checked {
    let creators = Creators::of(pool);
    let vms = covered(pool);
    let mut findings = storage::judge(pool);
    findings.extend(vms::judge(pool, &vms, &creators));
    findings.extend(empty(pool, &vms));
    findings.extend(overlap::judge(pool, &vms, &creators));
    findings.extend(depth::judge(pool, &vms));
    finding::sort(&mut findings);
    Checked { findings, filling: filling::of(pool, &creators) }
}

/// Tools that protect VMs which a policy covers too, by name, with the labels of those VMs. Needs the classes VM, VBD, VDI, SR, host
/// and VM_appliance only.
pub fn other_tools(pool: &Pool<'_>) -> std::collections::BTreeMap<String, Vec<String>> {
    overlap::at_work(pool, &covered(pool), &Creators::of(pool))
}

fn covered<'a>(pool: &Pool<'a>) -> Vec<Covered<'a>> {
    let policies = pool.policies.unwrap_or_default();
    let views = view::vms(pool.tables, pool.pool);
    let mut called: HashMap<&str, usize> = HashMap::new();
    views.iter().for_each(|(_, view)| *called.entry(view.name).or_default() += 1);
    let with = |(reference, view): (&'a Ref<Vm>, VmView<'a>)| {
        let record = &**pool.tables.get(reference)?;
        let alone = called.get(view.name) == Some(&1) && !view.name.is_empty();
        let label = if alone { view.name.to_owned() } else { format!("{} ({:.8})", view.name, view.uuid.to_string()) };
        let policies = policies.iter().copied().filter(|policy| matches!(policy.selection.judge(&view), Judgement::In(_)));
        Some(Covered { reference, label, policies: policies.collect(), view, record })
    };
    views.into_iter().filter_map(with).collect()
}

/// Policies that cover nothing.
fn empty(pool: &Pool<'_>, vms: &[Covered<'_>]) -> Vec<Finding> {
    let covers = |policy: &&&Policy| !vms.iter().any(|vm| vm.policies.iter().any(|covering| covering.id == policy.id));
    let told = |policy: &&Policy| {
        let what = format!("the policy {} covers no VM of this pool", policy.name);
        let todo = "look at its `select` (`xensnap explain VM` says why a VM is not covered), or name other `pools`";
        Finding::new(Code::PolicyEmpty, Weight::Warning, what, todo).about("policy", None, &policy.name)
    };
    pool.policies.unwrap_or_default().iter().filter(covers).map(told).collect()
}

/// `12 days`, or `5 hours` where that is more to the point.
fn age(length: TimeDelta) -> String {
    let (days, hours) = (length.num_days(), length.num_hours());
    let (number, unit) = if days > 0 { (days, "day") } else { (hours, "hour") };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// Things by a key, in the order in which keys come first.
fn grouped<K: std::hash::Hash + Eq + Clone, T>(things: impl IntoIterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, thing) in things {
        let place = *places.entry(key.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((key, Vec::new()));
        }
        groups[place].1.push(thing);
    }
    groups
}
