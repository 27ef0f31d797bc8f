//! Finding the master. One round asks every known host at most once and follows each host's word about its master at most once;
//! rounds are spaced by the caller's back-off. So a pool without a master costs little, and members that keep naming a dead one
//! cannot send us in circles.

use std::collections::VecDeque;
use std::sync::Arc;

use super::connection::{Core, Link};
use super::error::{ConnectError, Problem};
use super::login::Missed;
use super::members::{Origin, resolve};
use crate::domain::address::Address;

/// Hosts one round follows on other hosts' word; a pool has 64 members at most.
const NAMED_AT_MOST: usize = 64;

/// One round: who is still to be asked, and what was heard.
struct Round {
    ahead: VecDeque<(Address, Origin)>,
    asked: Vec<Address>,
    followed: usize,
    /// What a person has to correct, from a host that counts.
    lasting: Option<Problem>,
    /// What may pass by itself.
    passing: Option<Problem>,
    /// What hosts said that were only learnt.
    aside: Option<Problem>,
}

impl Core {
    /// Asks around until somebody is the master. `asked` has been tried already.
    pub(super) async fn find_master(
        self: &Arc<Self>,
        hint: Option<Address>,
        asked: Option<Address>,
    ) -> Result<Link, ConnectError> {
        let mut round = Round::new(self.members.candidates(&self.settings, hint), asked);
        while let Some((address, origin)) = round.next() {
            if self.is_closed() {
                return Err(self.error(Problem::Closed));
            }
            match self.login(&address).await {
                Ok(link) => return Ok(link),
                Err(Missed::Member(master)) => round.follow(&address, &master, resolve(&self.settings, &address, &master).ok()),
                Err(Missed::Problem(problem)) => {
                    tracing::debug!(pool = %self.settings.name, %address, %problem, "not the master");
                    // The password is the same everywhere: trying it on would only lock the account.
                    let ends = matches!(problem, Problem::Password { .. } | Problem::NoRole { .. }) && origin != Origin::Learnt;
                    round.note(problem, origin);
                    if ends {
                        break;
                    }
                }
            }
        }
        Err(self.error(round.outcome()))
    }

    /// `problem` with this pool's name.
    pub(super) fn error(&self, problem: Problem) -> ConnectError {
        ConnectError { pool: self.settings.name.clone(), problem }
    }
}

impl Round {
    fn new(candidates: Vec<(Address, Origin)>, asked: Option<Address>) -> Self {
        Self {
            ahead: candidates.into(),
            asked: asked.into_iter().collect(),
            followed: 0,
            lasting: None,
            passing: None,
            aside: None,
        }
    }

    fn next(&mut self) -> Option<(Address, Origin)> {
        while let Some((address, origin)) = self.ahead.pop_front() {
            if !self.asked.contains(&address) {
                self.asked.push(address.clone());
                return Some((address, origin));
            }
        }
        None
    }

    /// `member` says that `named`, reached at `master`, is the master.
    fn follow(&mut self, member: &Address, named: &str, master: Option<Address>) {
        let new = master.filter(|address| !self.asked.contains(address) && self.followed < NAMED_AT_MOST);
        self.note(Problem::NoMaster { member: member.clone(), master: named.to_owned() }, Origin::Named);
        if let Some(address) = new {
            self.followed += 1;
            self.ahead.push_front((address, Origin::Named));
        }
    }

    fn note(&mut self, problem: Problem, origin: Origin) {
        let lasting = ConnectError { pool: String::new(), problem };
        let place = match (lasting.is_final(), origin) {
            (true, Origin::Learnt) => &mut self.aside,
            (true, _) => &mut self.lasting,
            (false, _) => &mut self.passing,
        };
        // The last word about what may pass, the first about what will not.
        if place.is_none() || !lasting.is_final() {
            *place = Some(lasting.problem);
        }
    }

    fn outcome(self) -> Problem {
        let nobody = || Problem::Internal("no address was left to try".to_owned());
        self.lasting.or(self.passing).or(self.aside).unwrap_or_else(nobody)
    }
}
