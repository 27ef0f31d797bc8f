//! The garbage collector of the storage driver: some time after a deletion it merges hidden VHDs that only one other stands on, one
//! at a time in each SR, until chains are as short as they can be. It needs time in proportion to the data it moves, and can be stuck.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::ledger;
use crate::simulator::context::Shared;
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::World;

/// The collector's settings, and where it runs.
#[derive(Debug, Clone)]
pub struct Collector {
    /// How long after a deletion or a scan it begins. Not stretched by the scale of timings.
    pub delay: Duration,
    /// How fast it moves data.
    pub bytes_per_second: f64,
    /// SRs in which it does nothing, by reference.
    pub stuck: HashSet<Ref>,
    /// True when it does nothing anywhere.
    pub off: bool,
    running: HashSet<Ref>,
    /// Volumes that lost one of those that stood on them, by SR, in the order in which they will be looked at.
    suspects: HashMap<Ref, VecDeque<Text>>,
}

impl Collector {
    /// Remembers a volume that may be ready to be merged.
    pub fn suspect(&mut self, sr: &str, uuid: Text) {
        let suspects = self.suspects.entry(sr.into()).or_default();
        if !suspects.contains(&uuid) {
            suspects.push_back(uuid);
        }
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(30),
            bytes_per_second: 50e6,
            stuck: HashSet::new(),
            off: false,
            running: HashSet::new(),
            suspects: HashMap::new(),
        }
    }
}

/// Starts the collector in an SR unless it runs there already.
pub fn kick(shared: &Arc<Shared>, sr: &Ref) {
    let start = shared.step(|world| world.storage.collector.running.insert(sr.clone()));
    if start {
        shared.spawn(collect(Arc::downgrade(shared), sr.clone()));
    }
}

async fn collect(shared: Weak<Shared>, sr: Ref) {
    let mut wait = shared.upgrade().map_or(Duration::ZERO, |shared| shared.step(|world| world.storage.collector.delay));
    let mut found: Option<Ref> = None;
    loop {
        // The server may be dropped while its collector sleeps.
        let Some(clock) = shared.upgrade().map(|shared| Arc::clone(&shared.clock)) else { return };
        clock.sleep(wait).await;
        let Some(shared) = shared.upgrade() else { return };
        let next = shared.step(|world| {
            if let Some(done) = found.take() {
                merge(world, &done, clock.elapsed());
            }
            let next = candidate(world, &sr, clock.elapsed());
            if next.is_none() {
                world.storage.collector.running.remove(&sr);
            }
            next
        });
        let Some((hidden, bytes)) = next else { return };
        wait = shared.step(|world| Duration::from_secs_f64(bytes as f64 / world.storage.collector.bytes_per_second.max(1.0)));
        found = Some(hidden);
    }
}

/// Suspects every hidden VDI of an SR, as a scan does.
pub fn suspect_all(world: &mut World, sr: &str) {
    for vdi in world.database.texts("SR", sr, "VDIs") {
        if let Some(uuid) = hidden(world, &vdi) {
            world.storage.collector.suspect(sr, uuid);
        }
    }
}

/// A hidden VDI of the SR that can be merged with the only one that stands on it, or removed; and how many bytes that moves.
fn candidate(world: &mut World, sr: &str, now: Duration) -> Option<(Ref, i64)> {
    if !may_run(world, sr) {
        return None;
    }
    while let Some(uuid) = world.storage.collector.suspects.get_mut(sr).and_then(VecDeque::pop_front) {
        let row = world.database.by_uuid("VDI", &uuid).cloned().filter(|row| hidden(world, row).is_some());
        if let Some(found) = row.and_then(|row| mergeable(world, sr, row, &uuid, now)) {
            return Some(found);
        }
    }
    None
}

fn mergeable(world: &mut World, sr: &str, row: Ref, uuid: &str, now: Duration) -> Option<(Ref, i64)> {
    ledger::adopt(world, &row, now);
    ledger::adopt_children(world, sr, uuid, now);
    match world.storage.children(uuid) {
        [] => Some((row, 0)),
        [child] => {
            let inner = world.database.by_uuid("VDI", child).is_some_and(|row| hidden(world, row).is_some());
            let allowed = inner || !is_off(world, sr, "leaf-coalesce");
            allowed.then(|| (row, world.storage.volume(child).map_or(0, super::volume::Volume::data)))
        }
        _ => None,
    }
}

fn hidden(world: &World, vdi: &str) -> Option<Text> {
    let hidden = world.database.exists("VDI", vdi) && !world.database.bool("VDI", vdi, "managed");
    hidden.then(|| world.database.text("VDI", vdi, "uuid"))
}

fn may_run(world: &World, sr: &str) -> bool {
    let collector = &world.storage.collector;
    !collector.off && !collector.stuck.contains(sr) && !is_off(world, sr, "gc") && !is_off(world, sr, "coalesce")
}

fn is_off(world: &World, sr: &str, knob: &str) -> bool {
    world.database.map_text("SR", sr, "other_config", knob).is_some_and(|value| &*value == "false")
}

/// Merges a hidden VDI with the only one that stands on it, if that is still so.
fn merge(world: &mut World, hidden_vdi: &str, now: Duration) {
    let Some(uuid) = hidden(world, hidden_vdi) else { return };
    match world.storage.children(&uuid).to_vec().as_slice() {
        [] => ledger::delete(world, hidden_vdi, now),
        [child] => {
            let Some(row) = world.database.by_uuid("VDI", child).cloned() else { return };
            ledger::settle(world, &row, now);
            swallow(world, hidden_vdi, &uuid, &row, child, now);
        }
        _ => {}
    }
}

/// The child takes its hidden parent's data and place; so the chain is one shorter, and whatever stands on the child is not moved.
fn swallow(world: &mut World, hidden_vdi: &str, uuid: &Text, child_row: &str, child: &Text, now: Duration) {
    let below = world.storage.volume(uuid).and_then(|volume| volume.parent().cloned());
    let layers = world.storage.volume_mut(uuid).map(super::volume::Volume::hand_over).unwrap_or_default();
    if let Some(volume) = world.storage.volume_mut(child) {
        volume.layers.extend(layers);
    }
    world.storage.stand_on(child, below.clone());
    ledger::name_parent(world, child_row, below.as_ref());
    ledger::delete(world, hidden_vdi, now);
    ledger::account(world, child_row);
}
