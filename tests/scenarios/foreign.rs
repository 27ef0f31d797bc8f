//! What is not the service's own, remembered in every field, and who destroyed what by the pool's own ledger.
#![allow(dead_code, reason = "each scenario uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use xensnap::simulator::ledger::{Actor, Deed};
use xensnap::simulator::model::Model;
use xensnap::simulator::value::{Ref, Value, is_null};
use xensnap::simulator::world::World;

use super::lab::Lab;

/// Fields that the server moves by itself when something else comes or goes: what can be done now, and where things stand in trees.
const SERVERS_OWN: [&str; 8] = [
    "allowed_operations",
    "current_operations",
    "children",
    "parent",
    "snapshots",
    "sm_config",
    "physical_utilisation",
    "parent_VDI",
];

/// Objects with their drives and disks, as they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    rows: BTreeMap<(&'static str, Ref), BTreeMap<&'static str, Value>>,
}

impl Foreign {
    /// VMs, templates or snapshots with all that belongs to them.
    pub fn of<'a>(lab: &Lab, vms: impl IntoIterator<Item = &'a Ref>) -> Self {
        let vms: Vec<Ref> = vms.into_iter().cloned().collect();
        lab.step(|world| {
            let mut rows = BTreeMap::new();
            for vm in &vms {
                rows.insert(("VM", vm.clone()), row(world, "VM", vm));
                for vbd in world.database.texts("VM", vm, "VBDs") {
                    let disk = world.database.text("VBD", &vbd, "VDI");
                    // The disc in a CD drive belongs to a library, and whoever else names it changes its record.
                    if !is_null(&disk) && &*world.database.text("VBD", &vbd, "type") == "Disk" {
                        rows.insert(("VDI", disk.clone()), row(world, "VDI", &disk));
                    }
                    rows.insert(("VBD", vbd.clone()), row(world, "VBD", &vbd));
                }
                let image = world.database.text("VM", vm, "suspend_VDI");
                if !is_null(&image) {
                    rows.insert(("VDI", image.clone()), row(world, "VDI", &image));
                }
            }
            Self { rows }
        })
    }

    /// Every snapshot and template that is there now.
    pub fn all_snapshots(lab: &Lab) -> Self {
        let snapshots = lab.step(|world| {
            let snapshots = world.database.refs("VM").into_iter();
            snapshots.filter(|vm| world.database.bool("VM", vm, "is_a_snapshot")).collect::<Vec<_>>()
        });
        Self::of(lab, &snapshots)
    }

    pub fn snapshots(&self) -> usize {
        self.rows.keys().filter(|(class, _)| *class == "VM").count()
    }

    pub fn disks(&self) -> Vec<Ref> {
        self.rows.keys().filter(|(class, _)| *class == "VDI").map(|(_, disk)| disk.clone()).collect()
    }

    /// Nobody has changed or destroyed any of it.
    pub fn assert_untouched(&self, lab: &Lab) {
        for ((class, reference), before) in &self.rows {
            assert!(lab.step(|world| world.database.exists(class, reference)), "the {class} {reference} is gone: {before:?}");
            let after = lab.step(|world| row(world, class, reference));
            for (field, value) in before {
                assert_eq!(value, &after[field], "{field} of the {class} {reference} was changed");
            }
        }
    }
}

fn row(world: &World, class: &'static str, reference: &Ref) -> BTreeMap<&'static str, Value> {
    let facts = Model::get().class(class).expect("a class of the model");
    let Ok(row) = world.database.row(class, reference) else { return BTreeMap::new() };
    let fields = facts.fields.iter().enumerate().filter(|(_, field)| !SERVERS_OWN.contains(&&*field.name));
    fields.map(|(column, field)| (&*field.name, row.value(column).clone())).collect()
}

/// A service destroyed nothing but what its own snapshots had made. How many VMs it made and destroyed.
pub fn assert_destroyed_only_its_own(lab: &Lab, originator: &str) -> (usize, usize) {
    made_and_destroyed(lab, |actor| &*actor.originator == originator)
}

/// The same of everybody who is logged in, where nobody but the service is: before 6.2 the server does not learn who calls.
pub fn assert_nobody_destroyed_what_was_there(lab: &Lab) -> (usize, usize) {
    made_and_destroyed(lab, |actor| !actor.method.is_empty())
}

fn made_and_destroyed(lab: &Lab, counts: impl Fn(&Actor) -> bool) -> (usize, usize) {
    let ledger = lab.simulation.shared().expect("the server is up").ledger();
    let mut made: BTreeSet<(&str, Ref)> = BTreeSet::new();
    let (mut taken, mut removed) = (0, 0);
    for entry in ledger.iter().filter(|entry| counts(&entry.actor)) {
        let key = (entry.class, entry.reference.clone());
        match entry.deed {
            Deed::Created => {
                taken += usize::from(entry.class == "VM");
                made.insert(key);
            }
            Deed::Destroyed => {
                removed += usize::from(entry.class == "VM");
                assert!(made.contains(&key), "destroyed without having made it: {entry:?}");
            }
            Deed::Changed(_) => unreachable!("only witnesses hear of changes"),
        }
    }
    (taken, removed)
}
