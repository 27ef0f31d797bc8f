//! A pool that never was: hosts, storage, templates, guests and what other tools left behind, all from a seed.
//!
//! The rule: the same recipe gives the same pool, object by object, and a pool looks as the release of the recipe would show it. Rows
//! are put into the database as a dump would restore them, so that a pool of thirty thousand snapshots is there in seconds.

mod guests;
mod hosts;
mod maker;
mod names;
mod product;
mod schedules;
mod snapshots;
mod storage;
mod templates;

use chrono::{DateTime, Utc};

use super::model::Release;
use super::value::Text;
use super::world::World;
use maker::Maker;

/// What a generated pool is made of.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// How many hosts; at least one. The first is the master.
    pub hosts: usize,
    /// How many VMs, templates and control domains aside.
    pub vms: usize,
    /// How many snapshots were there before; none: a few, by different tools.
    pub snapshots: Option<usize>,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// The release that the pool runs.
    pub release: Release,
    /// The pool's name.
    pub name: Text,
    /// The hosts' addresses; those that are missing are made up.
    pub addresses: Vec<Text>,
    /// The size of every disk in bytes, for tests that move data; none: sizes as they are found in real pools.
    pub disk_size: Option<i64>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            hosts: 3,
            vms: 40,
            snapshots: None,
            seed: 7,
            release: Release::NEWEST,
            name: "simulated".into(),
            addresses: Vec::new(),
            disk_size: None,
        }
    }
}

/// Makes a pool that has been running for a while at `now`.
pub fn generate(recipe: &Recipe, now: DateTime<Utc>) -> World {
    let mut maker = Maker::new(recipe, now);
    let hosts = hosts::make(&mut maker);
    let storage = storage::make(&mut maker, &hosts);
    hosts::make_pool(&mut maker, &hosts, &storage);
    templates::make(&mut maker, &storage, &hosts);
    let schedules = schedules::make(&mut maker);
    for number in 0..recipe.vms {
        let guest = guests::plan(&mut maker, number, &hosts, &storage);
        let snapshots = snapshots::plan(&mut maker, number, &guest);
        let guest = guests::make(&mut maker, guest, &schedules, &snapshots);
        snapshots::make(&mut maker, &guest, &snapshots);
    }
    storage::account(&mut maker, &storage);
    maker.finish(&hosts[0].reference)
}

#[cfg(test)]
mod tests;
