//! What one process knows of the lease, and what it does next. It is told what was seen, what was asked and what was answered, each with
//! the time of its own monotonic clock, and decides; it does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Claim, Terms};

/// The claims of our installation as the pool has them, by number.
pub type Keys = BTreeMap<u64, String>;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read the keys from the pool itself.
    Read,
    /// Add the claim of this number.
    Add(u64),
    /// Have the pool's database written out, so that the claim is not forgotten.
    Synchronise,
    /// Nothing until then, or until something is seen.
    Sleep(Duration),
}

/// How an attempt to add a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there, and was not before.
    Won,
    /// Somebody has that number.
    Taken,
    /// Nobody knows.
    Unclear,
    /// The role does not allow it.
    Denied,
}

/// How we stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// Nobody knows yet.
    Unknown,
    /// Ours, until this time of our clock in this login.
    Holding {
        /// Until when.
        until: Duration,
        /// In which login it was proven.
        login: u64,
    },
    /// Another's; what it says of itself, if that can be read.
    Standby(Option<Claim>),
    /// There is none to be had, and nobody else has one.
    Alone,
}

/// A claim that is not ours.
#[derive(Debug, Clone)]
struct Other {
    claim: Option<Claim>,
    value: String,
    seen: Duration,
}

/// A claim of ours.
#[derive(Debug, Clone, Copy)]
struct Mine {
    epoch: u64,
    sent: Duration,
    synchronised: bool,
}

/// What the last reading showed.
#[derive(Debug, Clone, Copy)]
struct Reading {
    login: u64,
    sent: Duration,
    /// Until when another's claim may be alive; nothing if all of them are dead.
    obstacle: Option<Duration>,
}

/// The lease of one pool, as one process knows it.
#[derive(Debug, Clone)]
pub struct Lease {
    me: Claim,
    terms: Terms,
    /// The highest number that was ever seen.
    floor: u64,
    others: BTreeMap<u64, Other>,
    mine: Option<Mine>,
    /// The claims of this process that are there.
    own: BTreeSet<u64>,
    /// A claim of ours that was sent and may be there.
    tried: Option<(u64, Duration)>,
    highest_is_mine: bool,
    proof: Option<(u64, Duration)>,
    reading: Option<Reading>,
    denied: bool,
    /// Keys were seen before, so that a new one is a sign of life.
    looked: bool,
    /// When another was last seen to do something.
    alive: Option<Duration>,
    /// The claim above which ours was made.
    before: Option<Claim>,
    /// Not before then.
    pause: Duration,
}

impl Lease {
    /// Nothing is known but the highest number of earlier lives.
    pub fn new(me: Claim, terms: Terms, floor: u64) -> Self {
        Self {
            me,
            terms,
            floor,
            others: BTreeMap::new(),
            mine: None,
            own: BTreeSet::new(),
            tried: None,
            highest_is_mine: false,
            proof: None,
            reading: None,
            denied: false,
            looked: false,
            alive: None,
            before: None,
            pause: Duration::ZERO,
        }
    }

    /// What we write.
    pub fn claim(&self) -> &Claim {
        &self.me
    }

    /// How long a claim is good for.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// From now on it is since then that we hold it.
    pub fn holds_since(&mut self, since: chrono::DateTime<chrono::Utc>) {
        self.me.since = since;
    }

    /// The highest number that was ever seen.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of our newest claim.
    pub fn epoch(&self) -> Option<u64> {
        self.mine.map(|mine| mine.epoch)
    }

    /// When our newest claim was sent.
    pub fn sent(&self) -> Option<Duration> {
        self.mine.map(|mine| mine.sent)
    }

    /// The claim that ours follows, of whichever life; for whoever has to go on with what it began.
    pub fn before(&self) -> Option<&Claim> {
        self.before.as_ref()
    }

    /// When another was last seen to do something, by our clock.
    pub fn last_alive(&self) -> Option<Duration> {
        self.alive
    }

    /// Whether a claim of another is of an earlier life of ours.
    pub fn is_earlier_life(&self, claim: &Claim) -> bool {
        !self.me.home.is_empty() && claim.home == self.me.home && claim.holder != self.me.holder
    }

    /// The numbers that nobody needs any more: of all but the two highest. The second highest stays, so that a claim that was long on
    /// its way meets it.
    pub fn needless(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.others.keys().chain(&self.own).copied().collect();
        all.sort_unstable();
        all.truncate(all.len().saturating_sub(2));
        all
    }

    /// Such a number was removed.
    pub fn removed(&mut self, epoch: u64) {
        self.others.remove(&epoch);
        self.own.remove(&epoch);
    }

    /// Takes in what the inventory shows at `now`, which may be older than what was read: it tells of others only.
    pub fn notice(&mut self, keys: &Keys, now: Duration) {
        let highest = keys.last_key_value().map(|(epoch, _)| *epoch);
        let known = self.others.iter().filter(|(epoch, _)| Some(**epoch) > highest);
        let newer: Vec<(u64, String)> = known.map(|(epoch, other)| (*epoch, other.value.clone())).collect();
        let (own, highest_is_mine) = (self.own.clone(), self.highest_is_mine);
        let all: Keys = keys.iter().map(|(epoch, value)| (*epoch, value.clone())).chain(newer).collect();
        self.look(&all, now);
        (self.own, self.highest_is_mine) = (own, highest_is_mine);
    }

    /// Takes in what the pool shows, at `now`.
    pub fn look(&mut self, keys: &Keys, now: Duration) {
        self.others.retain(|epoch, other| keys.get(epoch) == Some(&other.value));
        self.own.clear();
        for (epoch, value) in keys {
            self.floor = self.floor.max(*epoch);
            let claim = Claim::decode(value);
            if claim.as_ref().is_some_and(|claim| claim.holder == self.me.holder) {
                self.own.insert(*epoch);
                continue;
            }
            if self.others.contains_key(epoch) {
                continue;
            }
            if self.looked {
                self.alive = Some(now);
            }
            self.others.insert(*epoch, Other { claim, value: value.clone(), seen: now });
            self.reading = None;
        }
        self.looked = true;
        let highest = keys.last_key_value().and_then(|(_, value)| Claim::decode(value));
        self.highest_is_mine = highest.is_some_and(|claim| claim.holder == self.me.holder);
        let above = self.mine.is_some_and(|mine| self.others.keys().any(|other| *other > mine.epoch));
        if above || self.denied && self.living(now).is_some() {
            self.proof = None;
        }
    }

    /// Takes in what a reading showed that was sent and answered then, in this login.
    pub fn read(&mut self, keys: &Keys, sent: Duration, answered: Duration, login: u64) {
        self.look(keys, answered);
        if let Some((epoch, at)) = self.tried.take()
            && self.mine.is_none_or(|mine| mine.epoch < epoch)
            && keys.get(&epoch).and_then(|value| Claim::decode(value)).is_some_and(|claim| claim.holder == self.me.holder)
        {
            self.mine = Some(Mine { epoch, sent: at, synchronised: false });
        }
        let obstacle = self.living(sent);
        self.reading = Some(Reading { login, sent, obstacle });
        // Ours is the newest of all, and exactly what we wrote last: nothing was forgotten.
        self.highest_is_mine &=
            self.mine.is_some_and(|mine| keys.last_key_value().is_some_and(|(epoch, _)| *epoch == mine.epoch));
        let proven = self.mine.filter(|mine| self.highest_is_mine && mine.synchronised && obstacle.is_none());
        self.proof = proven.map(|mine| (login, mine.sent + self.terms.hold()));
    }

    /// How adding the claim of this number went, which was sent and answered then.
    pub fn added(&mut self, epoch: u64, added: Added, sent: Duration, answered: Duration, login: u64) {
        let acting = self.holding(answered, login);
        match added {
            Added::Won => {
                let synchronised = acting || self.mine.is_some_and(|mine| mine.synchronised && self.highest_is_mine);
                if !acting && !self.highest_is_mine {
                    self.before = self.predecessor();
                }
                self.mine = Some(Mine { epoch, sent, synchronised });
                self.own.insert(epoch);
                self.floor = self.floor.max(epoch);
                if acting {
                    // Nobody can have thought it dead while it was answered.
                    self.proof = Some((login, sent + self.terms.hold()));
                    return;
                }
            }
            Added::Unclear => self.tried = Some((epoch, sent)),
            Added::Denied => self.denied = true,
            Added::Taken => self.floor = self.floor.max(epoch),
        }
        self.reading = None;
        if added == Added::Taken {
            // Somebody has the number after ours: who, is read.
            self.proof = None;
        }
    }

    /// The pool's database was written out, or the role does not allow to ask for it.
    pub fn synchronised(&mut self) {
        self.reading = None;
        if let Some(mine) = &mut self.mine {
            mine.synchronised = true;
        }
    }

    /// Another life of the server answers: what was synchronised before may be forgotten.
    pub fn server_changed(&mut self) {
        self.reading = None;
        self.proof = None;
        if let Some(mine) = &mut self.mine {
            mine.synchronised = false;
        }
    }

    /// There is a new login: the role may be another.
    pub fn new_login(&mut self) {
        self.denied = false;
        self.reading = None;
    }

    /// What we hold is to be proven again now: the machine may have stood still.
    pub fn doubted(&mut self) {
        self.proof = None;
        self.reading = None;
        if let Some(mine) = &mut self.mine {
            // How old it is cannot be told, so only a new one counts.
            mine.sent = mine.sent.saturating_sub(self.terms.hold());
        }
    }

    /// Something could not be asked: not again before a while has passed.
    pub fn failed(&mut self, now: Duration) {
        self.pause = now + self.terms.again();
    }

    /// Whether we may act now in this login.
    pub fn holding(&self, now: Duration, login: u64) -> bool {
        self.proof.is_some_and(|(proven, until)| proven == login && now < until)
    }

    /// How we stand at `now`.
    pub fn stands(&self, now: Duration) -> Stands {
        if let Some((login, until)) = self.proof {
            return Stands::Holding { until, login };
        }
        if self.living(now).is_some() {
            let newest = self.others.iter().rev().find(|(_, other)| self.end_of(other).is_some_and(|end| now < end));
            return Stands::Standby(newest.and_then(|(_, other)| other.claim.clone()));
        }
        if self.denied { Stands::Alone } else { Stands::Unknown }
    }

    /// What to do next in this login.
    pub fn next(&self, now: Duration, login: u64) -> Next {
        if now < self.pause {
            return Next::Sleep(self.pause);
        }
        if self.tried.is_some() {
            return Next::Read;
        }
        if let (true, Some(mine)) = (self.holding(now, login), self.mine) {
            let due = mine.sent + self.terms.renew();
            return if now >= due { Next::Add(self.floor.saturating_add(1)) } else { Next::Sleep(due) };
        }
        if self.denied {
            return Next::Sleep(self.living(now).unwrap_or(now + self.terms.expires));
        }
        if self.mine.is_some_and(|mine| mine.epoch == self.floor && !mine.synchronised) {
            return Next::Synchronise;
        }
        let Some(reading) = self.reading.filter(|reading| reading.login == login) else {
            // What is known to be alive need not be read before it may be dead.
            let known = self.living(now).filter(|_| self.looked && !self.highest_is_mine);
            return known.map_or(Next::Read, Next::Sleep);
        };
        if let Some(end) = reading.obstacle {
            return if now < end { Next::Sleep(end) } else { Next::Read };
        }
        // What is added above is what was read a moment ago.
        let old = now.saturating_sub(reading.sent) >= self.terms.again();
        if old { Next::Read } else { Next::Add(self.floor.saturating_add(1)) }
    }

    /// Until when some other's claim may be alive.
    fn living(&self, now: Duration) -> Option<Duration> {
        self.others.values().filter_map(|other| self.end_of(other)).filter(|end| now < *end).max()
    }

    /// Whose claim ours follows. An earlier life that has renewed its claim has removed what was below: where another's is still there, that
    /// life may have ended before it went on with anything.
    fn predecessor(&self) -> Option<Claim> {
        let mut claims = self.others.values().rev().map(|other| other.claim.as_ref());
        let newest = claims.next()?;
        let below = || claims.flatten().find(|claim| !self.is_earlier_life(claim));
        newest.map(|newest| if self.is_earlier_life(newest) { below().unwrap_or(newest) } else { newest }).cloned()
    }

    /// Whether whoever wrote it has said that it ended, there or above, or is known to have.
    fn is_over(&self, claim: &Claim) -> bool {
        let said = |other: &Other| other.claim.as_ref().is_some_and(|said| said.released && said.holder == claim.holder);
        self.is_earlier_life(claim) || self.others.values().any(said)
    }

    /// When a claim is dead at the latest; nothing for one that is dead already.
    fn end_of(&self, other: &Other) -> Option<Duration> {
        let dead = other.claim.as_ref().is_some_and(|claim| self.is_over(claim));
        let term = other.claim.as_ref().map_or(self.terms.expires, Claim::term).max(self.terms.expires);
        (!dead).then(|| other.seen + term)
    }
}
