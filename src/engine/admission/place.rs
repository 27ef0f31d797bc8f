//! A place with a limit: who is at it, who waits there, and in which order those that wait are asked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::book::Id;
use super::lanes::{LaneId, PolicyNumber};
use super::need::Spot;
use crate::domain::policy::Priority;

/// A place in [`super::book::Book`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PlaceId(pub(super) usize);

/// A unit of a place that an operation needs, while no more than `limit` are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Need {
    pub(super) place: PlaceId,
    pub(super) limit: u32,
    /// It is a queue, not only a count.
    pub(super) queue: bool,
}

/// The order among those that were called but could not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub(super) priority: Reverse<Priority>,
    pub(super) number: u64,
    pub(super) id: Id,
}

/// The order in which those that wait at a queue are asked whether they can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<Priority>,
    /// The number of its ticket; those without one come after all others.
    pub(super) ticket: u64,
    /// When its policy was last served here.
    pub(super) served: u64,
    pub(super) id: Id,
}

/// Who is the first of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) id: Id,
    pub(super) priority: Reverse<Priority>,
    /// The number of its ticket, or [`NO_TICKET`].
    pub(super) ticket: u64,
    pub(super) policy: PolicyNumber,
}

/// The ticket of those that have none.
pub(super) const NO_TICKET: u64 = u64::MAX;

/// A place with what is at it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) spot: Spot,
    /// So many may be staged here.
    pub(super) stages: u32,
    pub(super) in_flight: u32,
    /// How many are staged; those that will take over another's unit are not counted.
    pub(super) staged: u32,
    /// Who was called and could not go.
    pub(super) tickets: BTreeSet<Ticket>,
    /// Who is in flight; kept for SRs only.
    pub(super) working: Vec<Id>,
    /// Who waits; kept for queues only.
    pub(super) lanes: BTreeMap<LaneId, Front>,
    /// When each policy was last served here.
    served: HashMap<PolicyNumber, u64>,
}

impl Place {
    pub(super) fn new(spot: Spot, per_sr: u32) -> Self {
        let stages = match spot {
            Spot::Sr(_) => per_sr,
            Spot::Diskless => 1,
            _ => u32::MAX,
        };
        Self {
            spot,
            stages,
            in_flight: 0,
            staged: 0,
            tickets: BTreeSet::new(),
            working: Vec::new(),
            lanes: BTreeMap::new(),
            served: HashMap::new(),
        }
    }

    /// Where the first of a lane stands among all that wait here.
    pub(super) fn rank(&self, front: &Front) -> Rank {
        let served = self.served.get(&front.policy).copied().unwrap_or(0);
        Rank { priority: front.priority, ticket: front.ticket, served, id: front.id }
    }

    /// All that wait here, in no order.
    pub(super) fn ranks(&self) -> impl Iterator<Item = Rank> {
        self.lanes.values().map(|front| self.rank(front))
    }

    /// A policy was served here.
    pub(super) fn serve(&mut self, policy: PolicyNumber, now: u64) {
        self.served.insert(policy, now);
    }

    /// One more is in flight.
    pub(super) fn begin(&mut self, id: Id) {
        self.in_flight += 1;
        if matches!(self.spot, Spot::Sr(_)) {
            self.working.push(id);
        }
    }

    /// One less is in flight.
    pub(super) fn end(&mut self, id: Id) {
        self.in_flight -= 1;
        self.working.retain(|other| *other != id);
    }
}
