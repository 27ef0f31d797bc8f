//! Who of those that wait at a queue is next. They are called in order of rank; who is called and cannot go, because something else
//! that it needs is taken, gets a ticket and is let past [`PATIENCE`] times. After that what it needs is kept free for it, if it is
//! the first ticket wherever it waits: of two that stand in each other's way only the earlier one may keep others away.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::book::{Book, Id, Operation};
use super::need::Spot;
use super::place::{NO_TICKET, Need, PlaceId, Rank, Ticket};

/// How often somebody who was called is let past before what it needs is kept free.
const PATIENCE: u32 = 2;

impl Book {
    /// Who can be staged at a queue now; whoever was called before it and could not has its ticket.
    pub(super) fn next_at(&mut self, queue: PlaceId) -> Option<Id> {
        if self.at(queue).staged >= self.at(queue).stages {
            return None;
        }
        let mut ranks: BinaryHeap<_> = self.at(queue).ranks().map(Reverse).collect();
        while let Some(Reverse(rank)) = ranks.pop() {
            if !self.may_be_staged(rank.id) {
                self.give_ticket(rank.id);
            } else if !self.is_outranked(&rank, queue) {
                self.compensate(&rank);
                return Some(rank.id);
            }
        }
        None
    }

    /// Whether somebody of higher priority can be staged at another queue that this one would take a place of.
    fn is_outranked(&self, rank: &Rank, queue: PlaceId) -> bool {
        let others = self.operations[&rank.id].queues().filter(|other| *other != queue);
        others
            .flat_map(|other| self.at(other).lanes.values())
            .any(|front| front.priority < rank.priority && self.may_be_staged(front.id))
    }

    /// Whoever is staged by its ticket, or by its turn at another of its queues, may go before the one whose policy's turn it was:
    /// that one gets the next ticket.
    fn compensate(&mut self, chosen: &Rank) {
        let queues: Vec<_> = self.operations[&chosen.id].queues().collect();
        if chosen.ticket == NO_TICKET && queues.len() == 1 {
            return;
        }
        for queue in queues {
            let called = self.at(queue).ranks().filter(|rank| rank.ticket == NO_TICKET && rank.priority == chosen.priority).min();
            if let Some(called) = called.filter(|called| called.id != chosen.id) {
                self.give_ticket(called.id);
            }
        }
    }

    fn give_ticket(&mut self, id: Id) {
        let number = self.count();
        let Some(operation) = self.operations.get_mut(&id).filter(|operation| operation.ticket.is_none()) else { return };
        let ticket = Ticket { priority: Reverse(operation.priority), number, id };
        operation.ticket = Some(ticket);
        let (lane, needs) = (operation.lane, Arc::clone(&operation.needs));
        for need in needs.iter() {
            let tickets = &mut self.at_mut(need.place).tickets;
            tickets.insert(ticket);
            // Who was first there is not any more, and may keep nothing from anybody now.
            let displaced = tickets.iter().nth(1).copied().filter(|_| tickets.first() == Some(&ticket));
            let displaced = displaced.and_then(|other| self.operations.get(&other.id)).map(|other| Arc::clone(&other.needs));
            self.stir(&displaced.unwrap_or_default());
        }
        self.show(lane);
    }

    pub(super) fn may_be_staged(&self, id: Id) -> bool {
        let Some(operation) = self.operations.get(&id) else { return false };
        operation.needs.iter().all(|need| self.has_room(operation, need))
    }

    /// The places of which it need not have a unit of its own, because it takes over that of whom it follows.
    pub(super) fn taken_over(&self, operation: &Operation) -> Vec<PlaceId> {
        let places = operation.needs.iter().filter(|need| !need.queue).map(|need| need.place);
        places.filter(|place| self.follows(operation, *place)).collect()
    }

    /// Queues have room while not too many are staged; other places while a unit is free, or will be when the turn comes.
    fn has_room(&self, operation: &Operation, need: &Need) -> bool {
        let place = self.at(need.place);
        let kept = u32::from(self.is_kept_from(operation, need.place));
        if need.queue {
            return place.staged + kept < place.stages;
        }
        place.in_flight + place.staged + kept < need.limit || (kept == 0 && self.follows(operation, need.place))
    }

    /// Whether the operation could only begin when one ends that has a unit of `place`.
    fn follows(&self, operation: &Operation, place: PlaceId) -> bool {
        let has_it = |id: &Id| self.operations[id].needs.iter().any(|need| need.place == place);
        let srs = operation.needs.iter().filter(|need| need.queue).map(|need| (self.at(need.place), need.limit));
        srs.filter(|(sr, _)| matches!(sr.spot, Spot::Sr(_)))
            .any(|(sr, limit)| sr.in_flight >= limit && sr.working.iter().all(has_it))
    }

    /// Whether a unit of `place` is kept free for somebody who comes before `operation`.
    fn is_kept_from(&self, operation: &Operation, place: PlaceId) -> bool {
        let Some(first) = self.at(place).tickets.first() else { return false };
        comes_before(first, operation) && self.keeps(first)
    }

    fn keeps(&self, ticket: &Ticket) -> bool {
        let Some(operation) = self.operations.get(&ticket.id) else { return false };
        let first_everywhere = || operation.needs.iter().all(|need| self.at(need.place).tickets.first() == Some(ticket));
        operation.passed >= PATIENCE && first_everywhere()
    }

    /// `operation` is about to be staged: those it goes past note it.
    pub(super) fn note_passing(&mut self, operation: &Operation) {
        let tickets = operation.needs.iter().flat_map(|need| &self.at(need.place).tickets);
        let passed: BTreeSet<Id> = tickets.filter(|ticket| comes_before(ticket, operation)).map(|ticket| ticket.id).collect();
        for id in passed {
            if let Some(other) = self.operations.get_mut(&id) {
                other.passed += 1;
            }
        }
    }
}

/// Whether the holder of a ticket has a right to go before an operation.
fn comes_before(ticket: &Ticket, operation: &Operation) -> bool {
    match &operation.ticket {
        Some(own) => ticket < own,
        None => ticket.priority <= Reverse(operation.priority),
    }
}
