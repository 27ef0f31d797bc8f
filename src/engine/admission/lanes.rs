//! Lanes: operations that need the same, in the order of their arrival. At each queue only the first of a lane is looked at, because
//! when it cannot go the others cannot either; so a thousand that wait cost no more than one.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Request;
use super::book::{Book, Id, Operation};
use super::need::{Spot, needs_of};
use super::place::{Front, NO_TICKET, Need, Place, PlaceId};
use crate::domain::id::PolicyId;
use crate::domain::policy::Priority;

/// Operations of one policy that need the same: when the first of them cannot go, neither can the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneId(u64);

/// A policy, for as long as the book is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PolicyNumber(usize);

/// What those of one lane have in common.
pub(super) type LaneKey = (Priority, PolicyNumber, Arc<[Need]>);

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) waiting: BTreeSet<Id>,
}

impl Book {
    pub(super) fn needs(&mut self, request: &Request) -> Vec<Need> {
        let needs = needs_of(request, &self.limits).into_iter();
        needs.map(|(spot, limit)| Need { limit, queue: spot.has_queue(), place: self.place(spot) }).collect()
    }

    fn place(&mut self, spot: Spot) -> PlaceId {
        *self.place_ids.entry(spot).or_insert_with_key(|spot| {
            self.places.push(Place::new(spot.clone(), self.limits.per_sr.get()));
            PlaceId(self.places.len() - 1)
        })
    }

    pub(super) fn lane(&mut self, key: LaneKey) -> LaneId {
        if let Some(lane) = self.lane_ids.get(&key) {
            return *lane;
        }
        let lane = LaneId(self.count());
        self.lane_ids.insert(key.clone(), lane);
        self.lanes.insert(lane, Lane { key, waiting: BTreeSet::new() });
        lane
    }

    pub(super) fn policy(&mut self, policy: &PolicyId) -> PolicyNumber {
        let next = PolicyNumber(self.policies.len());
        *self.policies.entry(policy.clone()).or_insert(next)
    }

    /// True if it is the first of its lane.
    pub(super) fn line_up(&mut self, lane: LaneId, id: Id) -> bool {
        let Some(lane) = self.lanes.get_mut(&lane) else { return false };
        lane.waiting.insert(id);
        lane.waiting.len() == 1
    }

    /// Takes an operation out of the queue.
    pub(super) fn step_out(&mut self, operation: &Operation, id: Id) {
        if let Some(ticket) = &operation.ticket {
            for need in operation.needs.iter() {
                self.at_mut(need.place).tickets.remove(ticket);
            }
        }
        let Some(lane) = self.lanes.get_mut(&operation.lane) else { return };
        lane.waiting.remove(&id);
        self.show(operation.lane);
    }

    /// Puts the first of a lane where it is looked for; closes the lane if there is none.
    pub(super) fn show(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let (key, first) = (lane.key.clone(), lane.waiting.first().copied());
        let front = first.map(|id| self.front(id, &key));
        for need in key.2.iter().filter(|need| need.queue) {
            let lanes = &mut self.at_mut(need.place).lanes;
            match front {
                Some(front) => lanes.insert(id, front),
                None => lanes.remove(&id),
            };
        }
        if front.is_none() {
            self.lanes.remove(&id);
            self.lane_ids.remove(&key);
        }
    }

    fn front(&self, id: Id, key: &LaneKey) -> Front {
        let ticket = self.operations.get(&id).and_then(|operation| operation.ticket);
        let ticket = ticket.map_or(NO_TICKET, |ticket| ticket.number);
        Front { id, priority: Reverse(key.0), ticket, policy: key.1 }
    }
}
