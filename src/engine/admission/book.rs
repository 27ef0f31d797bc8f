//! Who waits, who is next and who is at work, as a state machine without time: somebody arrives or leaves, and what follows is
//! answered as moves. Nothing else ever changes anybody's standing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::need::{Spot, needs_of};
use super::place::{Need, Place, PlaceId, Ticket};
use super::{Limits, Queue, Request};
use crate::domain::id::PolicyId;
use crate::domain::policy::Priority;

/// One operation. Later arrivals are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(u64);

/// Operations of one policy that need the same: when the first of them cannot go, neither can the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneId(u64);

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
    pub(super) policy: PolicyId,
    pub(super) priority: Priority,
    pub(super) needs: Arc<[Need]>,
    pub(super) standing: Standing,
    /// While it waits: that it was called and could not go. While it is staged: its number among those.
    pub(super) ticket: Option<Ticket>,
    /// How often others were let past since it has its ticket.
    pub(super) passed: u32,
}

impl Operation {
    /// The SRs, or the place of those that need none.
    pub(super) fn queues(&self) -> impl Iterator<Item = PlaceId> {
        self.needs.iter().filter(|need| need.queue).map(|need| need.place)
    }
}

type LaneKey = (Priority, PolicyId, Arc<[Need]>);

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) waiting: BTreeSet<Id>,
}

/// All operations of a pool.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    counter: u64,
    places: Vec<Place>,
    place_ids: HashMap<Spot, PlaceId>,
    pub(super) lanes: HashMap<LaneId, Lane>,
    lane_ids: HashMap<LaneKey, LaneId>,
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
        let needs: Arc<[Need]> = self.needs(request).into();
        let lane = self.lane((request.priority, request.policy.clone(), Arc::clone(&needs)));
        let operation = Operation {
            lane,
            policy: request.policy.clone(),
            priority: request.priority,
            needs,
            standing: Standing::Waiting,
            ticket: None,
            passed: 0,
        };
        if self.line_up(lane, id) {
            self.stirred.extend(operation.queues());
        }
        self.operations.insert(id, operation);
        (id, self.settle())
    }

    /// Somebody's work has ended, or it does not want its turn any more.
    pub(super) fn leave(&mut self, id: Id) -> Vec<Move> {
        let Some(operation) = self.operations.remove(&id) else { return Vec::new() };
        match operation.standing {
            Standing::Waiting => self.step_out(&operation, id),
            Standing::Staged => {
                operation.ticket.map(|ticket| self.staged.remove(&ticket));
                operation.needs.iter().for_each(|need| self.at_mut(need.place).staged -= 1);
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
        let waiting: usize = place.lanes.iter().map(|lane| self.lanes[lane].waiting.len()).sum();
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
        for need in operation.needs.iter() {
            let place = self.at_mut(need.place);
            place.staged += 1;
            place.serve(&operation.policy, now);
        }
        let ticket = Ticket { priority: std::cmp::Reverse(operation.priority), number: now, id };
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
        let needs = Arc::clone(&operation.needs);
        for need in needs.iter() {
            self.at_mut(need.place).begin(ticket.id);
        }
        self.stir(&needs);
    }

    /// Units of these became free: whoever waits for one of them is asked again.
    fn stir(&mut self, needs: &[Need]) {
        for need in needs {
            if need.queue {
                self.stirred.insert(need.place);
            }
            let called = self.places[need.place.0].tickets.iter().filter_map(|ticket| self.operations.get(&ticket.id));
            self.stirred.extend(called.flat_map(Operation::queues));
        }
    }

    fn needs(&mut self, request: &Request) -> Vec<Need> {
        let needs = needs_of(request, &self.limits).into_iter();
        needs.map(|(spot, limit)| Need { limit, queue: spot.has_queue(), place: self.place(spot) }).collect()
    }

    fn place(&mut self, spot: Spot) -> PlaceId {
        *self.place_ids.entry(spot).or_insert_with_key(|spot| {
            self.places.push(Place::new(spot.clone(), self.limits.per_sr.get()));
            PlaceId(self.places.len() - 1)
        })
    }

    fn lane(&mut self, key: LaneKey) -> LaneId {
        if let Some(lane) = self.lane_ids.get(&key) {
            return *lane;
        }
        let lane = LaneId(self.count());
        for need in key.2.iter().filter(|need| need.queue) {
            self.places[need.place.0].lanes.insert(lane);
        }
        self.lane_ids.insert(key.clone(), lane);
        self.lanes.insert(lane, Lane { key, waiting: BTreeSet::new() });
        lane
    }

    /// True if it is the first of its lane.
    fn line_up(&mut self, lane: LaneId, id: Id) -> bool {
        let Some(lane) = self.lanes.get_mut(&lane) else { return false };
        lane.waiting.insert(id);
        lane.waiting.len() == 1
    }

    /// Takes an operation out of the queue.
    fn step_out(&mut self, operation: &Operation, id: Id) {
        if let Some(ticket) = &operation.ticket {
            for need in operation.needs.iter() {
                self.at_mut(need.place).tickets.remove(ticket);
            }
        }
        let Some(lane) = self.lanes.get_mut(&operation.lane) else { return };
        lane.waiting.remove(&id);
        if lane.waiting.is_empty() {
            self.close(operation.lane);
        }
    }

    fn close(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        self.lane_ids.remove(&lane.key);
        for need in lane.key.2.iter().filter(|need| need.queue) {
            self.at_mut(need.place).lanes.remove(&id);
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
