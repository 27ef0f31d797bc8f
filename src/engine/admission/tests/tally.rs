//! What the moves of a book add up to, counted without looking into it.

use std::collections::BTreeMap;

use super::super::book::{Book, Id, Standing};
use super::super::need::{Spot, needs_of};
use super::super::{Limits, Request};

pub(super) struct Tally {
    pub(super) book: Book,
    limits: Limits,
    pub(super) there: BTreeMap<Id, (Request, Standing)>,
    /// Who got the turn, in this order.
    pub(super) turns: Vec<Id>,
}

impl Tally {
    pub(super) fn new(limits: Limits) -> Self {
        Self { book: Book::new(limits), limits, there: BTreeMap::new(), turns: Vec::new() }
    }

    pub(super) fn arrive(&mut self, request: Request) -> Id {
        let (id, moves) = self.book.arrive(&request);
        self.there.insert(id, (request, Standing::Waiting));
        self.note(moves);
        id
    }

    pub(super) fn arrive_all(&mut self, requests: impl IntoIterator<Item = Request>) -> Vec<Id> {
        requests.into_iter().map(|request| self.arrive(request)).collect()
    }

    pub(super) fn leave(&mut self, id: Id) {
        self.there.remove(&id);
        let moves = self.book.leave(id);
        self.note(moves);
    }

    fn note(&mut self, moves: Vec<super::super::book::Move>) {
        for step in moves {
            let (_, standing) = self.there.get_mut(&step.id).expect("only who is there moves");
            assert!(
                matches!((*standing, step.to), (Standing::Waiting, Standing::Staged) | (Standing::Staged, Standing::Turn)),
                "{standing:?} to {:?}",
                step.to
            );
            *standing = step.to;
            if step.to == Standing::Turn {
                self.turns.push(step.id);
            }
        }
    }

    pub(super) fn standing(&self, id: Id) -> Standing {
        self.there[&id].1
    }

    pub(super) fn with(&self, standing: Standing) -> Vec<Id> {
        self.there.iter().filter(|(_, (_, other))| *other == standing).map(|(id, _)| *id).collect()
    }

    /// How many of a standing have a unit of a spot.
    fn at(&self, spot: &Spot, standing: Standing) -> u32 {
        let those = self.there.values().filter(|(_, other)| *other == standing);
        let needing = those.filter(|(request, _)| needs_of(request, &self.limits).iter().any(|(other, _)| other == spot));
        u32::try_from(needing.count()).unwrap()
    }

    fn stages(&self, spot: &Spot) -> u32 {
        if *spot == Spot::Diskless { 1 } else { self.limits.per_sr.get() }
    }

    /// No limit is exceeded.
    pub(super) fn check_limits(&self) {
        for (request, standing) in self.there.values().filter(|(_, standing)| *standing > Standing::Waiting) {
            for (spot, limit) in needs_of(request, &self.limits) {
                if *standing == Standing::Turn {
                    assert!(self.at(&spot, Standing::Turn) <= limit, "{spot:?} has more than {limit} in flight");
                } else if spot.has_queue() {
                    assert!(self.at(&spot, Standing::Staged) <= self.stages(&spot), "{spot:?} has too many staged");
                }
            }
        }
    }

    /// Nobody waits while all it needs is free, unless somebody else that shares some of it waits as well.
    pub(super) fn check_work_goes_on(&self) {
        for (id, (request, standing)) in &self.there {
            let needs = needs_of(request, &self.limits);
            let free = needs.iter().all(|(spot, limit)| self.is_free(spot, *limit, *standing));
            assert!(
                *standing == Standing::Turn || !free || self.is_contended(*id, &needs),
                "{id:?} waits for nothing: {request:?}"
            );
        }
    }

    fn is_free(&self, spot: &Spot, limit: u32, standing: Standing) -> bool {
        let in_flight = self.at(spot, Standing::Turn);
        match standing {
            Standing::Waiting => in_flight + self.at(spot, Standing::Staged) < limit.min(self.stages(spot)),
            _ => in_flight < limit,
        }
    }

    fn is_contended(&self, id: Id, needs: &[(Spot, u32)]) -> bool {
        let others = self.there.iter().filter(|(other, (_, standing))| **other != id && *standing < Standing::Turn);
        let shares =
            |request: &Request| needs_of(request, &self.limits).iter().any(|(spot, _)| needs.iter().any(|(s, _)| s == spot));
        others.map(|(_, (request, _))| request).any(shares)
    }

    /// Nobody was overlooked: whoever could be next is.
    pub(super) fn check_nobody_is_overlooked(&self) {
        for id in self.with(Standing::Waiting) {
            let first = self.book.lanes[&self.book.operations[&id].lane].waiting.first() == Some(&id);
            assert!(!first || !self.book.may_be_staged(id), "{id:?} could be staged");
        }
    }

    /// Ends whatever has the turn, the oldest first, until nobody is there.
    pub(super) fn drain(&mut self) {
        while !self.there.is_empty() {
            let oldest = *self.with(Standing::Turn).first().expect("somebody has the turn while anybody is there");
            self.leave(oldest);
        }
    }
}
