//! Storage repositories: what keeps their disks from being snapshotted, and what keeps space from coming back.

use std::collections::{HashMap, HashSet};

use super::Pool;
use crate::domain::finding::{Code, Finding, Weight};
use crate::domain::size;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Host, Pbd, Sm, Sr, Vbd, Vdi, Vm};
use crate::xenapi::types::Ref;

/// So full, in percent, that somebody should look.
const FILLING: i64 = 90;

/// So full that the next snapshot may not fit.
const FULL: i64 = 97;

/// Drivers on LVM, whose repositories had another form before 5.5.
const LVM: [&str; 4] = ["lvm", "lvmoiscsi", "lvmohba", "lvmofcoe"];

pub(super) fn judge(pool: &Pool<'_>) -> Vec<Finding> {
    let used = used(pool);
    let mut findings = unplugged(pool);
    for (reference, sr) in pool.tables.all::<Sr>().filter(|(reference, _)| used.contains_key(reference)) {
        let disks = used.get(reference).copied().unwrap_or_default();
        let found =
            [no_snapshots(pool, sr, disks), not_upgraded(pool, reference, sr, disks), no_collection(pool, sr), full(pool, sr)];
        let about = |finding: Finding| finding.about("sr", Some(sr.uuid.get()), &*sr.name_label);
        findings.extend(found.into_iter().flatten().map(about));
    }
    findings
}

/// Repositories with disks of VMs, and how many each has.
fn used<'a>(pool: &Pool<'a>) -> HashMap<&'a Ref<Sr>, usize> {
    let mut used = HashMap::new();
    let plain = pool.tables.all::<Vm>().filter(|(_, vm)| vm.is_plain());
    let drives = plain.flat_map(|(_, vm)| vm.vbds.iter()).filter_map(|vbd| pool.tables.get::<Vbd>(vbd));
    for vdi in drives.filter(|vbd| vbd.has_disk()).filter_map(|vbd| pool.tables.get::<Vdi>(&vbd.vdi)) {
        *used.entry(&vdi.sr).or_default() += 1;
    }
    used
}

/// A repository that a host cannot reach keeps VMs with a disk, or only a disc, on it from being snapshotted.
fn unplugged(pool: &Pool<'_>) -> Vec<Finding> {
    let away = pool.tables.all::<Pbd>().filter(|(_, pbd)| !pbd.currently_attached).map(|(_, pbd)| (pbd.sr.clone(), &pbd.host));
    let told = |(sr, hosts): (Ref<Sr>, Vec<&Ref<Host>>)| {
        let sr = pool.tables.get(&sr)?;
        let mut names: Vec<&str> = hosts.iter().filter_map(|host| pool.tables.get(*host)).map(|host| &*host.name_label).collect();
        names.sort_unstable();
        let what = format!(
            "the SR {} is not attached to {}, so VMs with a disk or a disc on it cannot be snapshotted there",
            sr.name_label,
            names.join(", ")
        );
        let finding = Finding::new(Code::SrUnplugged, Weight::Problem, what, "plug it (xe pbd-plug)");
        Some(finding.about("sr", Some(sr.uuid.get()), &*sr.name_label))
    };
    super::grouped(away).into_iter().filter_map(told).collect()
}

fn no_snapshots(pool: &Pool<'_>, sr: &Sr, disks: usize) -> Option<Finding> {
    let (_, driver) = pool.tables.all::<Sm>().find(|(_, driver)| driver.kind == sr.kind)?;
    let silent = driver.capabilities.is_empty() && driver.features.as_ref().is_none_or(|features| features.0.is_empty());
    if silent || driver.can("VDI_SNAPSHOT") {
        return None;
    }
    let what =
        format!("the driver {} of the SR {} takes no snapshots, and {} on it", sr.kind, place_of(pool.tables, sr), are(disks));
    Some(Finding::new(Code::SrNoSnapshots, Weight::Warning, what, "move them to another SR, or exclude them (exclude_disks)"))
}

/// The old form has neither the sign of the new one nor any disk of it.
fn not_upgraded(pool: &Pool<'_>, reference: &Ref<Sr>, sr: &Sr, disks: usize) -> Option<Finding> {
    if !LVM.contains(&&*sr.kind) {
        return None;
    }
    let vhd = |vdi: &Vdi| vdi.sm_config.vhd_parent.is_some() || vdi.sm_config.form.as_ref().is_some_and(|form| &**form == "vhd");
    let new = sr.sm_config.get("use_vhd") == Some("true")
        || sr.sm_config.contains_key("allocation")
        || pool.tables.all::<Vdi>().any(|(_, vdi)| vdi.sr == *reference && vhd(vdi));
    if new {
        return None;
    }
    let what = format!(
        "the SR {} has the form of servers before 5.5, in which nothing can be snapshotted; {} on it",
        place_of(pool.tables, sr),
        are(disks)
    );
    Some(Finding::new(Code::SrNotUpgraded, Weight::Problem, what, "upgrade it in XenCenter, or move the disks to another SR"))
}

/// `1 disk of VMs is`, `3 disks of VMs are`.
fn are(disks: usize) -> String {
    if disks == 1 { "1 disk of VMs is".to_owned() } else { format!("{disks} disks of VMs are") }
}

fn no_collection(pool: &Pool<'_>, sr: &Sr) -> Option<Finding> {
    let off: Vec<&str> =
        ["gc", "coalesce", "leaf-coalesce"].into_iter().filter(|key| sr.other_config.get(key) == Some("false")).collect();
    if off.is_empty() {
        return None;
    }
    let off = off.join(", ");
    let what = format!(
        "the garbage collector of the SR {} is switched off ({off}), so what is removed never becomes free",
        place_of(pool.tables, sr)
    );
    let todo = format!("take {off} out of the SR's other_config (xe sr-param-remove)");
    Some(Finding::new(Code::SrNoCollection, Weight::Warning, what, todo))
}

fn full(pool: &Pool<'_>, sr: &Sr) -> Option<Finding> {
    let free = sr.free()?;
    let percent = sr.physical_size.saturating_sub(free).saturating_mul(100) / sr.physical_size;
    if percent < FILLING {
        return None;
    }
    let weight = if percent >= FULL { Weight::Problem } else { Weight::Warning };
    let what = format!("the SR {} is {percent} % full, {} left", place_of(pool.tables, sr), size::of(free));
    Some(Finding::new(Code::SrFull, weight, what, "free space on it or move disks; who fills it is listed below"))
}

/// The name of a repository; many hosts have one of the same name, so of a local one with its host.
pub(super) fn place_of(tables: &Tables, sr: &Sr) -> String {
    host_of(tables, sr).map_or_else(|| sr.name_label.to_string(), |host| format!("{} of {host}", sr.name_label))
}

/// The one host that a local repository is connected to.
pub(super) fn host_of<'a>(tables: &'a Tables, sr: &Sr) -> Option<&'a str> {
    let mut hosts = sr.pbds.iter().filter_map(|pbd| tables.get::<Pbd>(pbd)).filter_map(|pbd| tables.get::<Host>(&pbd.host));
    let only = hosts.next().filter(|_| !sr.shared)?;
    hosts.next().is_none().then_some(&*only.name_label)
}

/// Names of things, each once, in order.
pub(super) fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: HashSet<&str> = names.collect();
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.join(", ")
}
