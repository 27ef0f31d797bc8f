//! The rules on their own, and a pool in which everything that can be late or lost is: never do two act at once.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const TERM: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn claim(holder: u128, home: &str) -> Claim {
    let since = DateTime::UNIX_EPOCH;
    let holder = Uuid::from_u128(holder);
    Claim { holder, home: home.into(), host: "backup-1".into(), pid: 7, since, expires: 60, released: false }
}

fn lease(holder: u128, home: &str, floor: u64) -> Lease {
    Lease::new(claim(holder, home), Terms { expires: TERM }, floor)
}

fn keys(all: &[(u64, &Claim)]) -> Keys {
    all.iter().map(|(epoch, claim)| (*epoch, claim.encode())).collect()
}

/// One that holds the lease with the claim 1 that it sent at `sent`.
fn holder(sent: u64) -> Lease {
    let mut lease = lease(1, "a", 0);
    lease.read(&Keys::new(), at(sent), at(sent), 1);
    assert_eq!(lease.next(at(sent), 1), Next::Add(1));
    lease.added(1, Added::Won, at(sent), at(sent), 1);
    assert_eq!(lease.next(at(sent), 1), Next::Synchronise);
    lease.synchronised();
    assert!(!lease.holding(at(sent), 1), "nothing counts before it was read again");
    assert_eq!(lease.next(at(sent), 1), Next::Read);
    lease.read(&keys(&[(1, &claim(1, "a"))]), at(sent), at(sent), 1);
    lease
}

#[test]
fn a_key_has_installation_and_number_and_nothing_else_is_one() {
    let installation = "site-a".parse().unwrap();
    assert_eq!(key(&installation, 7), "xensnap-lease-site-a-7");
    assert_eq!(epoch_of(&installation, "xensnap-lease-site-a-7"), Some(7));
    for other in
        ["xensnap-lease-site-7", "xensnap-lease-site-a-b-7", "xensnap-lease-site-a-", "xensnap-lease-site-a-x", "lease-7"]
    {
        assert_eq!(epoch_of(&installation, other), None, "{other}");
    }
    assert_eq!(epoch_of(&installation, "xensnap-lease-site-a-18446744073709551615"), None, "nobody comes so far");
}

#[test]
fn a_value_is_read_as_it_was_written_and_others_are_nobody() {
    assert_eq!(Claim::decode(&claim(1, "a").encode()), Some(claim(1, "a")));
    assert_eq!(Claim::decode("host-a 20261122T17:00:00Z"), None);
    assert_eq!(Claim::decode(&"x".repeat(2000)), None);
}

#[test]
fn a_lone_process_holds_after_claim_synchronisation_and_reading_and_renews_in_time() {
    let mut lease = holder(100);
    assert!(lease.holding(at(144), 1) && !lease.holding(at(145), 1), "three quarters of the term from before it was sent");
    assert!(!lease.holding(at(110), 2), "not in another login");
    assert_eq!(lease.next(at(101), 1), Next::Sleep(at(120)));
    assert_eq!(lease.next(at(120), 1), Next::Add(2));
    lease.added(2, Added::Won, at(120), at(121), 1);
    assert!(lease.holding(at(164), 1));
    assert_eq!(lease.needless(), [] as [u64; 0], "the two highest stay");
    lease.added(3, Added::Won, at(140), at(141), 1);
    assert_eq!(lease.needless(), [1]);
}

#[test]
fn another_waits_the_whole_term_after_the_last_sign_of_life_and_takes_over() {
    let (one, two) = (claim(1, "a"), claim(2, "b"));
    let mut lease = lease(2, "b", 0);
    assert_eq!(lease.next(at(0), 1), Next::Read);
    lease.read(&keys(&[(1, &one)]), at(0), at(1), 1);
    assert_eq!(lease.stands(at(1)), Stands::Standby(Some(one.clone())));
    assert_eq!(lease.next(at(1), 1), Next::Sleep(at(61)));
    lease.look(&keys(&[(1, &one), (2, &one)]), at(21));
    assert_eq!(lease.next(at(61), 1), Next::Sleep(at(81)));
    assert_eq!(lease.last_alive(), Some(at(21)));
    assert_eq!(lease.next(at(81), 1), Next::Read, "what is shown may be old");
    lease.read(&keys(&[(1, &one), (2, &one)]), at(81), at(82), 1);
    assert_eq!(lease.next(at(82), 1), Next::Add(3));
    lease.added(3, Added::Won, at(82), at(83), 1);
    lease.synchronised();
    lease.read(&keys(&[(1, &one), (2, &one), (3, &two)]), at(84), at(85), 1);
    assert!(lease.holding(at(85), 1));
    assert_eq!(lease.before(), Some(&one));
    assert_eq!(lease.needless(), [1]);
}

#[test]
fn who_left_in_order_or_was_an_earlier_life_is_not_waited_for() {
    let mut left = claim(1, "a");
    left.released = true;
    let mut other = lease(2, "b", 0);
    other.read(&keys(&[(4, &claim(1, "a")), (5, &left)]), at(0), at(0), 1);
    assert_eq!(other.next(at(0), 1), Next::Add(6));
    let mut later = lease(3, "a", 0);
    later.read(&keys(&[(4, &claim(1, "a"))]), at(0), at(0), 1);
    assert_eq!(later.next(at(0), 1), Next::Add(5), "the history's lock is ours, so that life is over");
    later.added(5, Added::Won, at(0), at(0), 1);
    assert!(later.is_earlier_life(later.before().unwrap()));
    let mut homeless = lease(3, "", 0);
    homeless.read(&keys(&[(4, &claim(1, ""))]), at(0), at(0), 1);
    assert_eq!(homeless.next(at(0), 1), Next::Sleep(at(60)), "nothing is proven by two that do not know where they are");
}

/// It may have ended before it went on with what the other began.
#[test]
fn a_first_claim_of_an_earlier_life_does_not_hide_whom_it_followed() {
    let (other, earlier) = (claim(1, "a"), claim(2, "b"));
    for (below, follows) in [(&other, &other), (&claim(4, "b"), &earlier)] {
        let mut lease = lease(3, "b", 0);
        let both = keys(&[(7, below), (8, &earlier)]);
        lease.read(&both, at(0), at(0), 1);
        lease.read(&both, at(60), at(60), 1);
        assert_eq!(lease.next(at(60), 1), Next::Add(9));
        lease.added(9, Added::Won, at(60), at(60), 1);
        assert_eq!(lease.before(), Some(follows));
    }
}

#[test]
fn a_value_that_nobody_understands_is_waited_for_as_if_it_were_alive() {
    let mut lease = lease(2, "b", 0);
    lease.read(&Keys::from([(9, "nonsense".to_owned())]), at(0), at(0), 1);
    assert_eq!(lease.stands(at(0)), Stands::Standby(None));
    assert_eq!(lease.next(at(0), 1), Next::Sleep(at(60)));
}

#[test]
fn the_longer_of_two_terms_counts() {
    let patient = Claim { expires: 600, ..claim(1, "a") };
    let mut lease = lease(2, "b", 0);
    lease.read(&keys(&[(1, &patient)]), at(0), at(0), 1);
    assert_eq!(lease.next(at(0), 1), Next::Sleep(at(600)));
}

#[test]
fn a_higher_claim_of_another_ends_it_at_once_and_a_lower_one_does_not() {
    let mut lease = holder(100);
    lease.look(&keys(&[(0, &claim(2, "b")), (1, &claim(1, "a"))]), at(101));
    assert!(lease.holding(at(102), 1));
    lease.look(&keys(&[(1, &claim(1, "a")), (2, &claim(2, "b"))]), at(103));
    assert!(!lease.holding(at(103), 1));
    assert_eq!(lease.stands(at(103)), Stands::Standby(Some(claim(2, "b"))));
}

#[test]
fn a_number_that_is_taken_is_read_before_anything_else() {
    let mut lease = holder(100);
    lease.added(2, Added::Taken, at(120), at(121), 1);
    assert!(!lease.holding(at(121), 1));
    assert_eq!(lease.next(at(121), 1), Next::Read);
}

#[test]
fn a_renewal_that_was_answered_too_late_is_read_again() {
    let mut lease = holder(100);
    lease.added(2, Added::Won, at(140), at(146), 1);
    assert!(!lease.holding(at(146), 1));
    assert_eq!(lease.next(at(146), 1), Next::Read);
    lease.read(&keys(&[(1, &claim(1, "a")), (2, &claim(1, "a"))]), at(147), at(148), 1);
    assert!(lease.holding(at(184), 1) && !lease.holding(at(185), 1));
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_by_reading() {
    let mut lease = holder(100);
    lease.added(2, Added::Unclear, at(120), at(130), 1);
    assert!(lease.holding(at(131), 1), "the one before is valid still");
    lease.read(&keys(&[(1, &claim(1, "a")), (2, &claim(1, "a"))]), at(131), at(132), 1);
    assert_eq!(lease.epoch(), Some(2));
}

#[test]
fn yesterdays_claim_in_a_promoted_member_counts_for_nobody() {
    let mut lease = lease(1, "a", 40);
    lease.read(&keys(&[(40, &claim(1, "a"))]), at(0), at(0), 1);
    assert!(!lease.holding(at(0), 1), "this process did not write it, as far as it knows");
    let mut held = holder(100);
    held.added(2, Added::Won, at(120), at(120), 1);
    held.server_changed();
    assert!(!held.holding(at(121), 2));
    assert_eq!(held.next(at(121), 2), Next::Synchronise);
    held.synchronised();
    held.read(&keys(&[(1, &claim(1, "a"))]), at(122), at(122), 2);
    assert!(!held.holding(at(122), 2), "the claim 2 was forgotten");
    assert_eq!(held.next(at(122), 2), Next::Add(3), "above all that was ever seen");
}

#[test]
fn without_the_right_to_write_one_works_alone_unless_another_is_seen() {
    let mut lease = lease(1, "a", 0);
    lease.read(&Keys::new(), at(0), at(0), 1);
    lease.added(1, Added::Denied, at(0), at(0), 1);
    assert_eq!(lease.stands(at(0)), Stands::Alone);
    lease.look(&keys(&[(1, &claim(2, "b"))]), at(10));
    assert_eq!(lease.stands(at(10)), Stands::Standby(Some(claim(2, "b"))));
    assert_eq!(lease.stands(at(71)), Stands::Alone, "it is silent");
    lease.new_login();
    assert_eq!(lease.next(at(71), 2), Next::Read, "the role may be another");
}

/// A request on its way: executed and answered at times of the world, or never.
#[derive(Debug, Clone)]
struct Flight {
    next: Next,
    sent: f64,
    executes: f64,
    answers: f64,
    lost: bool,
    executed: Option<(Added, Keys)>,
}

struct Process {
    lease: Lease,
    home: String,
    rate: f64,
    login: u64,
    flight: Option<Flight>,
    asleep_until: f64,
}

struct World {
    now: f64,
    keys: Keys,
    old: Keys,
    login: u64,
    holders: u128,
    processes: Vec<Process>,
}

impl World {
    fn new(rates: &[f64]) -> Self {
        let mut world = Self { now: 0.0, keys: Keys::new(), old: Keys::new(), login: 1, holders: 0, processes: Vec::new() };
        for (n, rate) in rates.iter().enumerate() {
            let home = format!("home-{n}");
            world.holders += 1;
            let lease = lease(world.holders, &home, 0);
            world.processes.push(Process { lease, home, rate: *rate, login: 1, flight: None, asleep_until: 0.0 });
        }
        world
    }

    fn local(&self, process: usize, time: f64) -> Duration {
        Duration::from_secs_f64(time * self.processes[process].rate)
    }

    fn acting(&self) -> usize {
        let acts = |n: &usize| self.processes[*n].lease.holding(self.local(*n, self.now), self.login);
        (0..self.processes.len()).filter(acts).count()
    }

    /// The server does what was asked of it, if its time has come.
    fn execute(&mut self, n: usize) {
        let value = self.processes[n].lease.claim().encode();
        let needless = self.processes[n].lease.needless();
        let acts = self.processes[n].lease.holding(self.local(n, self.now), self.login);
        let (same, login) = (self.processes[n].login == self.login, self.login);
        let Some(flight) = &mut self.processes[n].flight else { return };
        if flight.executed.is_some() || flight.executes > self.now {
            return;
        }
        if !same {
            // The session is gone: nothing is done, and the answer says so.
            (flight.lost, flight.answers) = (true, self.now);
            self.processes[n].login = login;
            self.processes[n].lease.server_changed();
            self.processes[n].lease.new_login();
        }
        let flight = self.processes[n].flight.as_mut().unwrap();
        let added = match flight.next {
            Next::Add(epoch) if same => match self.keys.entry(epoch) {
                std::collections::btree_map::Entry::Occupied(_) => Added::Taken,
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(value);
                    if acts {
                        self.keys.retain(|epoch, _| !needless.contains(epoch));
                    }
                    Added::Won
                }
            },
            _ => Added::Unclear,
        };
        flight.executed = Some((added, self.keys.clone()));
    }

    fn answer(&mut self, n: usize) {
        let due = self.processes[n].flight.as_ref().is_some_and(|flight| flight.answers <= self.now && flight.executed.is_some());
        if !due {
            return;
        }
        let flight = self.processes[n].flight.take().unwrap();
        let (sent, now, login) = (self.local(n, flight.sent), self.local(n, self.now), self.processes[n].login);
        let lease = &mut self.processes[n].lease;
        let (added, keys) = flight.executed.unwrap();
        match flight.next {
            Next::Add(epoch) => lease.added(epoch, if flight.lost { Added::Unclear } else { added }, sent, now, login),
            _ if flight.lost => lease.failed(now),
            Next::Read => lease.read(&keys, sent, now, login),
            Next::Synchronise => lease.synchronised(),
            Next::Sleep(_) => {}
        }
    }

    fn ask(&mut self, n: usize, delays: (f64, f64), lost: bool) {
        let now = self.local(n, self.now);
        let process = &mut self.processes[n];
        if process.flight.is_some() || process.asleep_until > self.now {
            return;
        }
        let next = process.lease.next(now, process.login);
        if !matches!(next, Next::Sleep(_)) {
            let (sent, executes) = (self.now, self.now + delays.0);
            process.flight = Some(Flight { next, sent, executes, answers: executes + delays.1, lost, executed: None });
        }
    }

    /// A new life with the same history, which has the number of the last claim or an older one.
    fn restart(&mut self, n: usize, forgets: bool) {
        self.holders += 1;
        let floor = if forgets { 0 } else { self.processes[n].lease.floor() };
        let home = self.processes[n].home.clone();
        self.processes[n].lease = lease(self.holders, &home, floor);
        self.processes[n].flight = None;
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Step { process: usize, passes: f64, delays: (f64, f64), lost: bool },
    Shown { process: usize },
    Suspended { process: usize, seconds: f64 },
    Restarted { process: usize, forgets: bool },
    Kept,
    Forgotten,
}

fn happens() -> impl Strategy<Value = Happens> {
    let delay = prop_oneof![8 => 0.0..0.5, 1 => 0.0..20.0, 1 => 0.0..200.0];
    let step = (0..3_usize, prop_oneof![6 => 0.0..8.0, 1 => 0.0..90.0], (delay.clone(), delay), prop::bool::weighted(0.05));
    prop_oneof![
        60 => step.prop_map(|(process, passes, delays, lost)| Happens::Step { process, passes, delays, lost }),
        10 => (0..3_usize).prop_map(|process| Happens::Shown { process }),
        2 => (0..3_usize, 0.0..300.0).prop_map(|(process, seconds)| Happens::Suspended { process, seconds }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(process, forgets)| Happens::Restarted { process, forgets }),
        1 => Just(Happens::Kept),
        1 => Just(Happens::Forgotten),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_do_two_act_at_once(
        rates in prop::array::uniform3(0.88..1.12_f64),
        all in prop::collection::vec(happens(), 50..400),
    ) {
        let mut world = World::new(&rates);
        for happens in all {
            match happens {
                Happens::Step { process, passes, delays, lost } => {
                    let end = world.now + passes;
                    while world.now < end {
                        world.now = (world.now + 1.0).min(end);
                        (0..3).for_each(|n| { world.execute(n); world.answer(n); });
                        prop_assert!(world.acting() <= 1, "two at once at {}: {:?}", world.now, world.keys);
                    }
                    world.ask(process, delays, lost);
                    world.execute(process);
                    world.answer(process);
                }
                Happens::Shown { process } if world.processes[process].login == world.login => {
                    let now = world.local(process, world.now);
                    let keys = world.keys.clone();
                    world.processes[process].lease.notice(&keys, now);
                }
                Happens::Shown { .. } => {}
                Happens::Suspended { process, seconds } => world.processes[process].asleep_until = world.now + seconds,
                Happens::Restarted { process, forgets } => world.restart(process, forgets),
                Happens::Kept => world.old = world.keys.clone(),
                Happens::Forgotten => {
                    world.keys = world.old.clone();
                    world.login += 1;
                }
            }
            prop_assert!(world.acting() <= 1, "two at once at {}: {:?}", world.now, world.keys);
        }
    }
}

/// Without trouble somebody always holds it, and after the holder's death another does within the term and a little.
#[test]
fn a_dead_holder_is_followed_within_the_term_and_a_little() {
    let mut world = World::new(&[1.0, 1.0]);
    let run = |world: &mut World, alive: &[usize], seconds: f64| {
        let end = world.now + seconds;
        let mut held = None;
        while world.now < end {
            world.now += 0.25;
            for n in alive {
                let (keys, now) = (world.keys.clone(), world.local(*n, world.now));
                world.processes[*n].lease.notice(&keys, now);
                for _ in 0..5 {
                    world.ask(*n, (0.0, 0.0), false);
                    world.execute(*n);
                    world.answer(*n);
                }
            }
            if held.is_none() && alive.iter().any(|n| world.processes[*n].lease.holding(world.local(*n, world.now), world.login))
            {
                held = Some(world.now);
            }
        }
        held
    };
    assert!(run(&mut world, &[0], 10.0).unwrap() < 1.0);
    run(&mut world, &[0, 1], 200.0);
    assert!(world.processes[0].lease.holding(world.local(0, world.now), 1), "it is the first still");
    assert!(world.keys.len() <= 3, "{:?}", world.keys);
    let died = world.now;
    world.processes[0].asleep_until = f64::MAX;
    let held = BTreeMap::from([("took", run(&mut world, &[1], 100.0).unwrap() - died)]);
    assert!(held["took"] > 40.0 && held["took"] < 61.0, "{held:?}");
}
