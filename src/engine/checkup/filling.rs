//! Who fills which repository: by VM, by policy, by maker. What a snapshot froze lies in a hidden layer below its own, empty one, and is
//! charged to it; the first layer of a chain, without which the VM's disk would be nothing, is charged to the VM. So the sums say what
//! is there for whose sake, not what would become free if it went: layers that are shared stay until the last user has gone.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::Pool;
use super::creators::{Creator, Creators};
use crate::domain::finding::Thing;
use crate::engine::chains;
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Sr, Vbd, Vdi, Vm};
use crate::xenapi::types::Ref;

/// What a repository is filled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filling {
    /// The repository.
    pub sr: Thing,
    /// The host, if it is a local one.
    pub host: Option<String>,
    /// Its driver.
    pub driver: String,
    /// Bytes in all, where the driver tells.
    pub size: Option<i64>,
    /// Bytes taken, as of its last scan.
    pub used: i64,
    /// By whom, the greatest first.
    pub shares: Vec<Share>,
}

/// A part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// `vm` (its disks as they are now), `snapshots`, `waiting` (layers to be coalesced), `template`, or `nobody` (no VM has the disk).
    pub what: &'static str,
    /// Who made the snapshots.
    pub creator: Option<String>,
    /// For which policy of ours, by its id.
    pub policy: Option<String>,
    /// Of which VM; nothing if it is gone.
    pub vm: Option<Thing>,
    /// How many snapshots.
    pub snapshots: usize,
    /// Bytes.
    pub bytes: i64,
}

/// For whose sake something is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sake {
    Vm(Uuid),
    Snapshots(Creator, Option<Uuid>),
    Waiting,
    Template(Uuid),
    Nobody,
}

/// All repositories with disks, the fullest first.
pub(super) fn of(pool: &Pool<'_>, creators: &Creators<'_>) -> Vec<Filling> {
    let mut sums: HashMap<&Ref<Sr>, BTreeMap<Sake, (usize, i64)>> = HashMap::new();
    for (sr, sake, snapshot, bytes) in Charges::of(pool, creators).all() {
        let sum = sums.entry(sr).or_default().entry(sake).or_default();
        *sum = (sum.0 + usize::from(snapshot), sum.1 + bytes.max(0));
    }
    let mut filling: Vec<Filling> = sums.into_iter().filter_map(|(sr, sums)| told(pool, sr, sums)).collect();
    filling.sort_by(|one, other| (other.used, &one.sr).cmp(&(one.used, &other.sr)));
    filling
}

fn told(pool: &Pool<'_>, sr: &Ref<Sr>, sums: BTreeMap<Sake, (usize, i64)>) -> Option<Filling> {
    let sr = pool.tables.get(sr).filter(|sr| &*sr.content_type != "iso" && sr.is_tools_sr != Some(true))?;
    let mut shares: Vec<Share> = sums.into_iter().map(|(sake, sum)| share(pool.tables, sake, sum)).collect();
    shares.sort_by(|one, other| (other.bytes, one.what, &one.vm).cmp(&(one.bytes, other.what, &other.vm)));
    Some(Filling {
        sr: Thing { kind: "sr", uuid: Some(sr.uuid.get()), name: sr.name_label.to_string() },
        host: super::storage::host_of(pool.tables, sr).map(str::to_owned),
        driver: sr.kind.to_string(),
        size: (sr.physical_size > 0).then_some(sr.physical_size),
        used: sr.physical_utilisation.max(0),
        shares,
    })
}

fn share(tables: &Tables, sake: Sake, (snapshots, bytes): (usize, i64)) -> Share {
    let thing = |kind, uuid: Uuid| {
        let (_, vm) = tables.by_uuid::<Vm>(&crate::xenapi::types::Uuid::new(uuid))?;
        Some(Thing { kind, uuid: Some(uuid), name: vm.name_label.to_string() })
    };
    let bare = Share { what: "nobody", creator: None, policy: None, vm: None, snapshots, bytes };
    match sake {
        Sake::Vm(vm) => Share { what: "vm", vm: thing("vm", vm), snapshots: 0, ..bare },
        Sake::Template(vm) => Share { what: "template", vm: thing("template", vm), snapshots: 0, ..bare },
        Sake::Waiting => Share { what: "waiting", snapshots: 0, ..bare },
        Sake::Nobody => Share { snapshots: 0, ..bare },
        Sake::Snapshots(by, vm) => Share {
            what: "snapshots",
            creator: Some(by.to_string()),
            policy: if let Creator::Ours(policy) = by { Some(policy) } else { None },
            vm: vm.and_then(|vm| thing("vm", vm)),
            ..bare
        },
    }
}

/// For whose sake each disk is there.
struct Charges<'a> {
    pool: Pool<'a>,
    /// Leaves, by uuid; with the reference of the snapshot that one belongs to.
    leaves: HashMap<Uuid, (Sake, Option<&'a Ref<Vm>>)>,
    /// For the sake of which leaf a hidden layer is there.
    hidden: HashMap<Uuid, Uuid>,
}

impl<'a> Charges<'a> {
    fn of(pool: &Pool<'a>, creators: &Creators<'_>) -> Self {
        let mut charges = Self { pool: *pool, leaves: HashMap::new(), hidden: HashMap::new() };
        charges.charge_leaves(creators);
        charges.charge_layers();
        charges
    }

    fn charge_leaves(&mut self, creators: &Creators<'_>) {
        let tables = self.pool.tables;
        for (reference, vm) in tables.all::<Vm>() {
            let sake = match vm {
                vm if vm.is_a_snapshot => {
                    let by = creators.made(reference).map_or(Creator::Somebody, |made| made.by.clone());
                    Sake::Snapshots(by, tables.get(&vm.snapshot_of).map(|vm| vm.uuid.get()))
                }
                vm if vm.is_a_template => Sake::Template(vm.uuid.get()),
                vm => Sake::Vm(vm.uuid.get()),
            };
            let drives = vm.vbds.iter().filter_map(|vbd| tables.get::<Vbd>(vbd)).filter(|vbd| vbd.has_disk());
            let disks = drives.map(|vbd| &vbd.vdi).chain([&*vm.suspend_vdi]).filter_map(|vdi| tables.get::<Vdi>(vdi));
            for vdi in disks {
                // A disk of a VM may stand in a drive of a snapshot too: the VM comes first.
                let known = self.leaves.entry(vdi.uuid.get()).or_insert_with(|| (sake.clone(), Some(reference)));
                if sake < known.0 {
                    *known = (sake.clone(), Some(reference));
                }
            }
        }
    }

    fn charge_layers(&mut self) {
        let tables = self.pool.tables;
        let chains = chains::of(tables, (None, self.pool.pool.0));
        let mut vdis: Vec<&Vdi> = tables.all::<Vdi>().map(|(_, vdi)| &**vdi).filter(|vdi| vdi.managed).collect();
        // The oldest snapshot on a layer is the one that froze it.
        vdis.sort_by_key(|vdi| (!vdi.is_a_snapshot, vdi.snapshot_time, vdi.uuid));
        for vdi in vdis {
            let leaf = vdi.uuid.get();
            if vdi.is_a_snapshot {
                chains.parent(leaf).map(|parent| self.hidden.entry(parent).or_insert(leaf));
            } else {
                self.charge_first(&chains, leaf);
            }
        }
    }

    /// The first layer below a VM's disk is there for its sake, whoever else stands on it.
    fn charge_first(&mut self, chains: &crate::domain::chain::Chains<Uuid>, leaf: Uuid) {
        let mut first = leaf;
        let mut steps = chains.of(leaf).map_or(0, |chain| chain.depth);
        while let Some(parent) = chains.parent(first).filter(|_| steps > 1) {
            (first, steps) = (parent, steps - 1);
        }
        if first != leaf {
            self.hidden.insert(first, leaf);
        }
    }

    /// Every disk: where, for whose sake, whether a snapshot begins with it, and its bytes.
    fn all(&self) -> impl Iterator<Item = (&'a Ref<Sr>, Sake, bool, i64)> {
        let mut counted = std::collections::HashSet::new();
        let tables = self.pool.tables;
        tables.all::<Vdi>().map(move |(_, vdi)| {
            let uuid = vdi.uuid.get();
            if vdi.managed {
                let (sake, owner) = self.leaves.get(&uuid).cloned().unwrap_or((Sake::Nobody, None));
                let begins = matches!(sake, Sake::Snapshots(..)) && owner.is_some_and(|owner| counted.insert((owner, &vdi.sr)));
                return (&vdi.sr, sake, begins, vdi.physical_utilisation);
            }
            let leaf = self.hidden.get(&uuid).and_then(|leaf| self.leaves.get(leaf));
            (&vdi.sr, leaf.map_or(Sake::Waiting, |(sake, _)| sake.clone()), false, vdi.physical_utilisation)
        })
    }
}
