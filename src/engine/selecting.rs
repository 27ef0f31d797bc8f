//! Which VMs a run is for, by what the inventory shows when the slot fires: a VM that was made an hour ago is covered by itself.

use uuid::Uuid;

use super::site::Site;
use super::view;
use crate::domain::policy::Policy;
use crate::domain::selection::{Judgement, Unmatched, VmView};

/// A VM of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The VM.
    pub uuid: Uuid,
    /// Its name now.
    pub name: String,
}

/// What a selection gives now.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The VMs, by name.
    pub vms: Vec<Chosen>,
    /// Parts of the selection that fit nothing, with what may have been meant.
    pub unmatched: Vec<Unmatched>,
}

/// Shows each policy with each VM that it covers, policy by policy, the VMs by name. The pool is looked at once for all of them, and
/// nothing is kept: a thousand policies over five thousand VMs are five million pairs.
pub fn each(site: &Site, policies: &[&Policy], mut show: impl FnMut(&Policy, &VmView<'_>)) {
    let tables = site.inventory.read();
    let all: Vec<VmView<'_>> = view::vms(&tables, (site.uuid, site.name())).into_iter().map(|(_, view)| view).collect();
    for policy in policies {
        all.iter().filter(|vm| matches!(policy.selection.judge(vm), Judgement::In(_))).for_each(|vm| show(policy, vm));
    }
}

/// Chooses. `only` narrows to VMs that a person named; they must be selected all the same.
pub fn choose(site: &Site, policy: &Policy, only: Option<&[Uuid]>) -> Choice {
    let tables = site.inventory.read();
    let all: Vec<VmView<'_>> = view::vms(&tables, (site.uuid, site.name())).into_iter().map(|(_, view)| view).collect();
    let selected = all.iter().filter(|vm| matches!(policy.selection.judge(vm), Judgement::In(_)));
    let wanted = selected.filter(|vm| only.is_none_or(|only| only.contains(&vm.uuid.0)));
    let vms = wanted.map(|vm| Chosen { uuid: vm.uuid.0, name: vm.name.to_owned() }).collect();
    Choice { vms, unmatched: if only.is_some() { Vec::new() } else { policy.selection.unmatched(&all) } }
}
