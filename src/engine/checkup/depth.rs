//! Chains of disks: which are long, which will be with what the policies keep, and which wait to be coalesced.

use super::storage::place_of;
use super::{Covered, Pool};
use crate::domain::chain::{Chain, FULL, LIMIT, Length};
use crate::domain::finding::{Code, Finding, Weight};
use crate::engine::chains;
use crate::xenapi::records::Sr;

/// So many layers that wait are worth a word.
const WAITING: usize = 3;

pub(super) fn judge(pool: &Pool<'_>, vms: &[Covered<'_>]) -> Vec<Finding> {
    let all = chains::of(pool.tables, (pool.installation, pool.pool.0));
    let mut findings = Vec::new();
    for vm in vms {
        for disk in pool.tables.disks_of(vm.reference) {
            let Some(chain) = all.of(disk.vdi.uuid.get()) else { continue };
            let sr = pool.tables.get::<Sr>(&disk.vdi.sr).map_or_else(|| "?".to_owned(), |sr| place_of(pool.tables, sr));
            let place = format!("VM {}, disk {} on SR {sr}", vm.label, disk.vbd.userdevice);
            findings
                .extend(found(&place, &chain, kept(vm)).map(|finding| finding.about("vm", Some(vm.view.uuid.0), vm.view.name)));
        }
    }
    findings
}

/// What the policies that cover a VM may keep of it at once.
fn kept(vm: &Covered<'_>) -> usize {
    let most = vm.policies.iter().filter(|policy| !policy.observe).map(|policy| policy.retention.rules.most_counted() as usize);
    most.sum()
}

/// The worst of what there is to say about a chain.
fn found(place: &str, chain: &Chain, kept: usize) -> Option<Finding> {
    let told = format!("{place}: its chain has {} layers of the {LIMIT} that the server allows{}", chain.depth, parts(chain));
    // Ours are replaced by those that are kept; the rest stays, with the one that is being taken.
    let later = chain.depth - chain.ours - chain.remains + kept;
    match chain.length() {
        Length::Full => Some(Finding::new(Code::ChainFull, Weight::Problem, told, advice(chain))),
        Length::Long => Some(Finding::new(Code::ChainLong, Weight::Warning, told, advice(chain))),
        Length::Fine if kept > 0 && later >= FULL => {
            let what = format!(
                "{place}: with what the policies keep, its chain will have {later} layers of the {LIMIT} that the server allows"
            );
            Some(Finding::new(Code::ChainGrows, Weight::Warning, what, "keep fewer snapshots (retention)"))
        }
        Length::Fine if chain.remains >= WAITING => {
            let what = format!("{place}: {} layers of its chain wait to be coalesced", chain.remains);
            let todo = "if it stays so, look at the SR's garbage collector (/var/log/SMlog on its host)";
            Some(Finding::new(Code::Coalescing, Weight::Note, what, todo))
        }
        Length::Fine => None,
    }
}

/// What it consists of, as far as there is something of it.
fn parts(chain: &Chain) -> String {
    let parts = [
        (chain.ours, "kept by our snapshots"),
        (chain.others, "by snapshots of others"),
        (chain.shared, "shared with other disks"),
        (chain.remains, "waiting to be coalesced"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// What would shorten it most.
fn advice(chain: &Chain) -> &'static str {
    let most = chain.ours.max(chain.others).max(chain.remains).max(chain.shared);
    if most == chain.remains {
        "see that the SR coalesces (xe sr-scan; /var/log/SMlog on its host says what is in the way), and remove nothing in a hurry meanwhile"
    } else if most == chain.others {
        "remove snapshots that others left and nobody needs (xe snapshot-uninstall)"
    } else if most == chain.ours {
        "keep fewer snapshots (retention)"
    } else {
        "copy the disk (xe vdi-copy), which gives it a chain of its own"
    }
}
