//! What only all blocks together can show: names, ids, addresses and pools that two of them claim, and pools that do not exist.

use std::collections::HashMap;
use std::hash::Hash;

use super::fields::{Fields, one_of, shortened};
use super::findings::Findings;
use super::policy::ReadPolicy;
use super::pool::ReadPool;
use super::source::Place;
use super::tree::{Table, Value};

/// Reports every value that was there before.
struct Unique<T>(HashMap<T, Place>);

impl<T: Hash + Eq> Unique<T> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn claim(&mut self, value: T, place: Place, tell: impl FnOnce(Place)) {
        match self.0.get(&value) {
            Some(first) => tell(*first),
            None => drop(self.0.insert(value, place)),
        }
    }
}

/// Compares pools with one another.
pub(super) fn pools(pools: &[ReadPool], findings: &mut Findings) {
    let (mut names, mut addresses, mut uuids) = (Unique::new(), Unique::new(), Unique::new());
    for pool in pools {
        names.claim(pool.config.name.as_str(), pool.name, |first| {
            let message = format!("a second pool is called \"{}\"", pool.config.name);
            findings.conflict(pool.name, (first, "the first"), message, "choose another name");
        });
        for address in &pool.addresses {
            addresses.claim(&address.value, address.place, |first| {
                let help = "a pool stands here once, or its VMs would be snapshotted twice; list all its hosts in one block";
                findings.conflict(address.place, (first, "the first"), format!("{} stands here twice", address.value), help);
            });
        }
        if let Some(uuid) = &pool.pool_uuid {
            uuids.claim(uuid.value, uuid.place, |first| {
                let help = "a pool stands here once, or its VMs would be snapshotted twice";
                findings.conflict(uuid.place, (first, "the first"), "two pools have this uuid", help);
            });
        }
    }
}

/// Compares the tables of channels of alarms with one another: their names stand in the history and in `xensnap alarms`.
pub(super) fn channels<'t>(tables: impl Iterator<Item = &'t Table>, findings: &mut Findings) {
    let mut names = Unique::new();
    for table in tables {
        let mut fields = Fields::new(table);
        let Some(Value::Text(name)) = fields.node("name").map(|node| &node.value) else { continue };
        let place = fields.key("name").unwrap_or_else(|| fields.place());
        names.claim(name.text.as_str(), place, |first| {
            let message = format!("a second channel is called \"{}\"", name.text);
            findings.conflict(place, (first, "the first"), message, "give each mail and webhook a name of its own");
        });
    }
}

/// Compares policies with one another, and with the pools that there are; `known` is nothing where pools could not be read.
pub(super) fn policies(policies: &[ReadPolicy], known: Option<&[&str]>, findings: &mut Findings) {
    let (mut names, mut ids) = (Unique::new(), Unique::new());
    for read in policies {
        names.claim(read.policy.name.as_str(), read.name, |first| {
            let message = format!("a second policy is called \"{}\"", read.policy.name);
            findings.conflict(read.name, (first, "the first"), message, "choose another name");
        });
        let place = read.id.unwrap_or(read.name);
        ids.claim(&read.policy.id, place, |first| {
            let message = format!("a second policy has the id \"{}\"", read.policy.id);
            let help = match read.id {
                Some(_) => "choose another id",
                None => "the id follows from the name; write id = \"...\" with one of its own",
            };
            findings.conflict(place, (first, "the first"), message, help);
        });
        if let Some(known) = known {
            named_pools(read, known, findings);
        }
    }
}

fn named_pools(read: &ReadPolicy, known: &[&str], findings: &mut Findings) {
    let mut named = Unique::new();
    for pool in &read.pools {
        if findings.is_full() {
            return;
        }
        if !known.contains(&pool.value.as_str()) {
            let message = format!("no pool is called \"{}\"", shortened(&pool.value));
            let help = if known.is_empty() { "write a [[pool]] first".to_owned() } else { one_of(&pool.value, known) };
            findings.error(pool.place, message, help);
        }
        named.claim(&pool.value, pool.place, |first| {
            findings.conflict(pool.place, (first, "the first"), "this pool is named twice", "name it once");
        });
    }
}
