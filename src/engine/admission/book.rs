//! Who waits, who is next and who is at work, as a state machine without time: somebody arrives or leaves, and what follows is
//! answered as moves. Nothing else ever changes anybody's standing.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::lanes::{Lane, LaneId, LaneKey, PolicyNumber};
use super::need::Spot;
use super::place::{Need, Place, PlaceId, Ticket};
use super::{Limits, Queue, Request};
use crate::domain::id::PolicyId;
use crate::domain::policy::Priority;

/// One operation. Later arrivals are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(u64);

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is in the queue.
    Waiting,
    /// It is next.
    Staged,
    /// It is in flight.
    Turn,
}

/// A change of standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) id: Id,
    pub(super) to: Standing,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) lane: LaneId,
    pub(super) policy: PolicyNumber,
    pub(super) priority: Priority,
    pub(super) needs: Arc<[Need]>,
    pub(super) standing: Standing,
    /// While it waits: that it was called and could not go. While it is staged: its number among those.
    pub(super) ticket: Option<Ticket>,
    /// How often others were let past since it has its ticket.
    pub(super) passed: u32,
    /// While it is staged: the places of which it will take over the unit of another.
    takes_over: Vec<PlaceId>,
}

impl Operation {
    /// The SRs, or the place of those that need none.
    pub(super) fn queues(&self) -> impl Iterator<Item = PlaceId> {
        self.needs.iter().filter(|need| need.queue).map(|need| need.place)
    }

    /// The places of which it has a unit while it is staged.
    fn units(&self) -> impl Iterator<Item = PlaceId> {
        self.needs.iter().map(|need| need.place).filter(|place| !self.takes_over.contains(place))
    }
}

/// All operations of a pool.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) limits: Limits,
    counter: u64,
    pub(super) places: Vec<Place>,
    pub(super) place_ids: HashMap<Spot, PlaceId>,
    pub(super) policies: HashMap<PolicyId, PolicyNumber>,
    pub(super) lanes: HashMap<LaneId, Lane>,
    pub(super) lane_ids: HashMap<LaneKey, LaneId>,
    pub(super) operations: HashMap<Id, Operation>,
    /// In the order in which they get the turn.
    staged: BTreeSet<Ticket>,
    /// Queues at which somebody may be able to go.
    stirred: BTreeSet<PlaceId>,
}

impl Book {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            counter: 0,
            places: Vec::new(),
            place_ids: HashMap::new(),
            policies: HashMap::new(),
            lanes: HashMap::new(),
            lane_ids: HashMap::new(),
            operations: HashMap::new(),
            staged: BTreeSet::new(),
            stirred: BTreeSet::new(),
        }
    }

    /// Somebody wants a turn.
    pub(super) fn arrive(&mut self, request: &Request) -> (Id, Vec<Move>) {
        let id = Id(self.count());
        let (needs, policy): (Arc<[Need]>, _) = (self.needs(request).into(), self.policy(&request.policy));
        let lane = self.lane((request.priority, policy, Arc::clone(&needs)));
        let operation = Operation {
            lane,
            policy,
            priority: request.priority,
            needs,
            standing: Standing::Waiting,
            ticket: None,
            passed: 0,
            takes_over: Vec::new(),
        };
        let queues: Vec<_> = operation.queues().collect();
        self.operations.insert(id, operation);
        // Behind others of its lane it cannot go, because they cannot.
        if self.line_up(lane, id) {
            self.show(lane);
            self.stirred.extend(queues);
        }
        (id, self.settle())
    }

    /// Somebody's work has ended, or it does not want its turn any more.
    pub(super) fn leave(&mut self, id: Id) -> Vec<Move> {
        let Some(operation) = self.operations.remove(&id) else { return Vec::new() };
        match operation.standing {
            Standing::Waiting => self.step_out(&operation, id),
            Standing::Staged => {
                operation.ticket.map(|ticket| self.staged.remove(&ticket));
                operation.units().for_each(|place| self.at_mut(place).staged -= 1);
            }
            Standing::Turn => operation.needs.iter().for_each(|need| self.at_mut(need.place).end(id)),
        }
        self.stir(&operation.needs);
        self.settle()
    }

    /// What goes on at each SR, in the order of their uuids.
    pub(super) fn queues(&self) -> Vec<Queue> {
        let mut queues: Vec<_> = self.places.iter().filter_map(|place| self.queue(place)).collect();
        queues.sort_unstable_by_key(|queue| queue.sr);
        queues
    }

    fn queue(&self, place: &Place) -> Option<Queue> {
        let Spot::Sr(sr) = place.spot else { return None };
        let waiting: usize = place.lanes.keys().map(|lane| self.lanes[lane].waiting.len()).sum();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let queue = Queue { sr, in_flight: place.in_flight, staged: place.staged, waiting };
        (queue.in_flight + queue.staged + queue.waiting > 0).then_some(queue)
    }

    /// Carries out everything that is possible now.
    fn settle(&mut self) -> Vec<Move> {
        let mut moves = Vec::new();
        loop {
            self.give_turns(&mut moves);
            let Some(queue) = self.stirred.pop_first() else { return moves };
            while let Some(id) = self.next_at(queue) {
                self.stage(id);
                moves.push(Move { id, to: Standing::Staged });
            }
        }
    }

    fn stage(&mut self, id: Id) {
        let now = self.count();
        let Some(mut operation) = self.operations.remove(&id) else { return };
        self.note_passing(&operation);
        self.step_out(&operation, id);
        operation.takes_over = self.taken_over(&operation);
        operation.units().for_each(|place| self.at_mut(place).staged += 1);
        operation.queues().for_each(|queue| self.at_mut(queue).serve(operation.policy, now));
        // What was kept for it is free for others, as far as it takes over what another has.
        if operation.ticket.is_some() {
            self.stir(&operation.needs);
        }
        let ticket = Ticket { priority: Reverse(operation.priority), number: now, id };
        self.staged.insert(ticket);
        (operation.standing, operation.ticket) = (Standing::Staged, Some(ticket));
        self.operations.insert(id, operation);
    }

    /// Gives the turn to whoever is staged and free to go. Who is not keeps its SRs from those behind it, and once it has all of
    /// them the rest as well: so its time comes.
    fn give_turns(&mut self, moves: &mut Vec<Move>) {
        let mut kept: HashMap<PlaceId, u32> = HashMap::new();
        let mut going = Vec::new();
        for ticket in &self.staged {
            let Some(operation) = self.operations.get(&ticket.id) else { continue };
            let full = |need: &&Need| self.at(need.place).in_flight + kept.get(&need.place).copied().unwrap_or(0) >= need.limit;
            let waits_for_an_sr = operation.needs.iter().filter(full).any(|need| need.queue);
            if operation.needs.iter().find(full).is_none() {
                going.push(*ticket);
            }
            for need in operation.needs.iter().filter(|need| need.queue || !waits_for_an_sr) {
                *kept.entry(need.place).or_default() += 1;
            }
        }
        for ticket in going {
            self.begin(ticket);
            moves.push(Move { id: ticket.id, to: Standing::Turn });
        }
    }

    fn begin(&mut self, ticket: Ticket) {
        self.staged.remove(&ticket);
        let Some(operation) = self.operations.get_mut(&ticket.id) else { return };
        (operation.standing, operation.ticket) = (Standing::Turn, None);
        let (needs, units): (_, Vec<_>) = (Arc::clone(&operation.needs), operation.units().collect());
        units.into_iter().for_each(|place| self.at_mut(place).staged -= 1);
        needs.iter().for_each(|need| self.at_mut(need.place).begin(ticket.id));
        self.stir(&needs);
    }

    /// Units of these became free: whoever waits for one of them is asked again.
    pub(super) fn stir(&mut self, needs: &[Need]) {
        for need in needs {
            if need.queue {
                self.stirred.insert(need.place);
            }
            let called = self.places[need.place.0].tickets.iter().filter_map(|ticket| self.operations.get(&ticket.id));
            self.stirred.extend(called.flat_map(Operation::queues));
        }
    }

    pub(super) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn at(&self, place: PlaceId) -> &Place {
        &self.places[place.0]
    }

    pub(super) fn at_mut(&mut self, place: PlaceId) -> &mut Place {
        &mut self.places[place.0]
    }
}
