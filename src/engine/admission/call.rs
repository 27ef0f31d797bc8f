//! Who of those that wait at a queue is next. They are called in order of rank; who is called and cannot go, because something else
//! that it needs is taken, gets a ticket and is let past [`PATIENCE`] times. After that what it needs is kept free for it, if it is
//! the first ticket wherever it waits: of two that stand in each other's way only the earlier one may keep others away.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::book::{Book, Id, LaneId, Operation};
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
        let ranks = self.ranks(queue);
        for (at, rank) in ranks.iter().enumerate() {
            if self.may_be_staged(rank.id) {
                self.compensate(rank, &ranks[at + 1..]);
                return Some(rank.id);
            }
            self.give_ticket(rank.id);
        }
        None
    }

    /// The first of every lane, in the order in which they are called.
    fn ranks(&self, queue: PlaceId) -> Vec<Rank> {
        let mut ranks: Vec<_> = self.at(queue).lanes.iter().filter_map(|lane| self.rank(queue, *lane)).collect();
        ranks.sort_unstable();
        ranks
    }

    fn rank(&self, queue: PlaceId, lane: LaneId) -> Option<Rank> {
        let id = *self.lanes.get(&lane)?.waiting.first()?;
        let operation = self.operations.get(&id)?;
        let ticket = operation.ticket.map_or(NO_TICKET, |ticket| ticket.number);
        let served = self.at(queue).last_served(&operation.policy);
        Some(Rank { priority: Reverse(operation.priority), ticket, served, id })
    }

    /// A ticket goes before the turn of the policies; whose turn it was gets the next ticket.
    fn compensate(&mut self, chosen: &Rank, behind: &[Rank]) {
        if chosen.ticket == NO_TICKET {
            return;
        }
        let next = behind.iter().find(|rank| rank.ticket == NO_TICKET && rank.priority == chosen.priority);
        if let Some(next) = next {
            self.give_ticket(next.id);
        }
    }

    fn give_ticket(&mut self, id: Id) {
        let number = self.count();
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.ticket.is_some() {
            return;
        }
        let ticket = Ticket { priority: Reverse(operation.priority), number, id };
        operation.ticket = Some(ticket);
        let needs = std::sync::Arc::clone(&operation.needs);
        for need in needs.iter() {
            self.at_mut(need.place).tickets.insert(ticket);
        }
    }

    fn may_be_staged(&self, id: Id) -> bool {
        let Some(operation) = self.operations.get(&id) else { return false };
        operation.needs.iter().all(|need| self.has_room(operation, need))
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
