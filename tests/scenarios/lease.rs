//! Two daemons of one installation with one pool: one works, the other stands by and takes over within the term and a little. Whatever
//! happens to the first, no slot is doubled or lost, and never do two work at once.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use xensnap::clock::Clock as _;
use xensnap::domain::lease::{Terms, epoch_of};
use xensnap::domain::mark::KEY;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule, When};
use xensnap::simulator::ledger::Deed;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Ref;
use xensnap::store::{EventFilter, Options, Page, SlotState, Store};

use super::crash::life::{Death, Life, play};
use super::crash::{policy_for, with_disks, world};
use super::lab::{Lab, Running, folder, originator};
use super::look;

const TERM: Duration = Duration::from_secs(60);

/// Of scenarios of many hours, each of which has fewer renewals then.
const LONG: Duration = Duration::from_secs(600);

/// Beyond the term, a look at the pool and its comparison with the history: that begins with a scan of the storage and two seconds for its events.
const A_LITTLE: Duration = Duration::from_secs(6);

const START: &str = "2026-03-01T12:30:00Z";

/// A pool with an hourly policy for two VMs, a daemon that can be killed, and room for a second one.
struct Pair {
    lab: Lab,
    first: Life,
    history: TempDir,
    second: Option<Running>,
    due: DateTime<Utc>,
    foreign: Vec<Ref>,
}

impl Pair {
    async fn new(first: Life, term: Duration) -> Self {
        let world = world(Timings::instant());
        let policies = vec![policy_for("hourly", "0 * * * *", &with_disks(&world, 2, 2), 2)];
        let mut lab = Lab::with(START, world, policies).await;
        lab.lease = Some(Terms { expires: term });
        lab.answer = Some(Duration::from_millis(300));
        let due = "2026-03-01T13:00:00Z".parse().unwrap();
        let mut pair = Self { lab, first, history: folder(), second: None, due, foreign: Vec::new() };
        pair.foreign = pair.snapshots();
        pair
    }

    /// Both run: the first works, the second stands by.
    async fn both(first: Life) -> Self {
        Self::both_for(first, TERM).await
    }

    async fn both_for(first: Life, term: Duration) -> Self {
        let mut pair = Self::new(first, term).await;
        pair.first.start(&pair.lab).await;
        pair.stand_by().await;
        pair
    }

    async fn stand_by(&mut self) {
        let second = self.lab.standby(&self.history).await;
        self.lab.pass(5).await;
        assert!(second.handle.sites().borrow().is_empty(), "it stands by");
        self.second = Some(second);
    }

    fn second(&self) -> &Running {
        self.second.as_ref().unwrap()
    }

    async fn second_takes_over(&self) -> Duration {
        self.lab.until_works(self.second(), Duration::from_secs(900)).await.expect("somebody works with the pool")
    }

    /// The first one dies when a call of its is struck, if one is in five minutes; one that is dead is started before. Whether it died.
    async fn dies_at(&self, strike: Rule) -> bool {
        self.lab.simulation.set_faults(Plan::new(0).with(strike.originator(originator("lab"))));
        self.first.dies(Death::Struck(self.lab.simulation.faults().clone()));
        if self.first.is_dead() {
            self.first.start(&self.lab).await;
        }
        let died = self.first.until_dead(&self.lab, Duration::from_secs(300)).await;
        self.lab.simulation.set_faults(Plan::default());
        died
    }

    /// The next life of the first is on the other machine, with the history that is there.
    fn moves(&mut self) {
        std::mem::swap(&mut self.lab.folder, &mut self.history);
    }

    async fn before_slot(&self) {
        self.lab.clock.advance_to(self.due - TimeDelta::seconds(1)).await;
    }

    /// The hour of the next slot is over, and each VM has its snapshot and that of the hour before.
    async fn hour(&mut self, when: &str) {
        self.lab.clock.advance_to(self.due + TimeDelta::minutes(40)).await;
        self.check(when);
        self.due += TimeDelta::hours(1);
    }

    /// No slot is doubled or lost, and nothing is there without a mark.
    fn check(&self, when: &str) {
        let mut counted: BTreeMap<(String, DateTime<Utc>), usize> = BTreeMap::new();
        for found in self.lab.snapshots() {
            *counted.entry((found.vm, found.mark.due_at)).or_default() += 1;
        }
        assert!(counted.values().all(|count| *count == 1), "{when}: doubled: {counted:?}");
        let newest = counted.keys().filter(|(_, due)| *due == self.due).count();
        assert_eq!(newest, 2, "{when}: lost: {counted:?}");
        let unmarked =
            self.snapshots().into_iter().filter(|snapshot| !self.foreign.contains(snapshot) && !self.is_marked(snapshot));
        assert_eq!(unmarked.count(), 0, "{when}: without a mark");
    }

    fn snapshots(&self) -> Vec<Ref> {
        self.lab.step(|world| {
            let vms = world.database.refs("VM").into_iter();
            vms.filter(|vm| world.database.bool("VM", vm, "is_a_snapshot")).collect()
        })
    }

    fn is_marked(&self, snapshot: &Ref) -> bool {
        self.lab.step(|world| world.database.map_text("VM", snapshot, "other_config", KEY).is_some())
    }

    /// How many snapshots a daemon has taken so far.
    fn taken(&self, by: &str) -> usize {
        let ledger = self.lab.simulation.shared().unwrap().ledger();
        let mine = |actor: &xensnap::simulator::ledger::Actor| *actor.originator == *originator(by);
        ledger.iter().filter(|entry| entry.deed == Deed::Created && entry.class == "VM" && mine(&entry.actor)).count()
    }

    /// The numbers of the claims that stand in the pool.
    fn epochs(&self) -> Vec<u64> {
        let installation = self.lab.installation.parse().unwrap();
        self.lab.step(|world| {
            let pool = world.database.refs("pool").remove(0);
            let keys = world.database.get("pool", &pool, "other_config").unwrap().members();
            let mut epochs: Vec<u64> = keys.iter().filter_map(|(key, _)| epoch_of(&installation, key)).collect();
            epochs.sort_unstable();
            epochs
        })
    }

    async fn events(&self, running: &Running, kind: &str) -> usize {
        count(running.handle.store(), kind).await
    }

    /// The same of the first one, who may be dead.
    async fn events_of_the_dead(&self, kind: &str) -> usize {
        let path = self.lab.folder.path().join("history.sqlite");
        if !path.exists() {
            return 0;
        }
        let store = Store::open_read_only(path, &Options::default()).await.unwrap();
        let count = count(&store, kind).await;
        store.close().await.unwrap();
        count
    }
}

async fn count(store: &Store, kind: &str) -> usize {
    let filter = EventFilter { kind: Some(kind.into()), ..EventFilter::default() };
    store.events(filter, Page::first(1000)).await.unwrap().rows.len()
}

/// The first daemon dies after its first, second, third … call, each time in another hour; the other one ends what it began.
#[test]
fn a_leader_that_dies_at_any_call_of_a_run_is_followed_within_the_bound_and_no_slot_is_doubled_or_lost() {
    play(async |life: Life| {
        let mut pair = Pair::both_for(life, LONG).await;
        pair.hour("at first").await;
        let (mut calls, mut longest) = (0, Duration::ZERO);
        for nth in (1..).step_by(3) {
            pair.before_slot().await;
            let died = pair.dies_at(Rule::on("*", Action::Cut(When::After)).nth(nth)).await;
            if !died || nth > 40 {
                break;
            }
            // It is looked at every ten seconds whether it died.
            let took = pair.second_takes_over().await;
            longest = longest.max(took);
            assert!(took <= LONG + A_LITTLE, "{nth}: {took:?}");
            pair.hour(&format!("killed after call {nth}")).await;
            calls = nth;
            // And the other way round, in order.
            let second = pair.second.take().unwrap();
            pair.lab.end(second).await;
            pair.first.start(&pair.lab).await;
            pair.hour(&format!("the hour after call {nth}")).await;
            pair.stand_by().await;
        }
        println!("killed after every third of {calls} calls; the other one worked at most {longest:?} after that was seen");
        assert!(calls >= 20, "{calls}");
    });
}

/// The snapshot is there, its call is over, and nobody knows it but the nonce in its name.
#[test]
fn what_a_dead_leader_took_and_did_not_mark_is_found_and_marked() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        pair.before_slot().await;
        assert!(pair.dies_at(Rule::on("VM.add_to_other_config", Action::Cut(When::Before)).nth(1)).await);
        // Marks of several VMs are on their way at once.
        assert!(pair.lab.snapshots().len() < 4, "one at least is not marked");
        pair.second_takes_over().await;
        pair.hour("after it").await;
        let (first, second) = (pair.taken("lab") - 2, pair.taken("standby"));
        assert!(
            first >= 1 && first + second == 2,
            "what is there is not taken again: {first} by the first, {second} by the second"
        );
    });
}

/// The server works on a snapshot for longer than the term; its leader dies meanwhile.
#[test]
fn a_snapshot_that_the_server_still_takes_for_a_dead_leader_is_waited_for() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        pair.before_slot().await;
        pair.lab.step(|world| world.storage.timings.set("VDI.snapshot", Duration::from_secs(150)));
        pair.lab.pass(5).await;
        pair.first.kill();
        let took = pair.second_takes_over().await;
        assert!(took <= TERM + A_LITTLE, "{took:?}");
        pair.hour("after it").await;
        let (first, second) = (pair.taken("lab") - 2, pair.taken("standby"));
        assert!(first >= 1 && first + second == 2, "{first} by the first, {second} by the second");
    });
}

#[test]
fn a_leader_that_leaves_in_order_is_followed_within_seconds() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        pair.first.stop(&pair.lab).await;
        let took = pair.second_takes_over().await;
        assert!(took <= Duration::from_secs(5), "{took:?}");
        pair.hour("after the change").await;
        let store = pair.second().handle.store().clone();
        let verdicts = look::verdicts(&store, "hourly").await;
        let expected = [("03-01 13:00".to_owned(), SlotState::Covered), ("03-01 14:00".to_owned(), SlotState::Claimed)];
        assert_eq!(verdicts, expected, "what the other did is no slot that was missed");
        let (stood, taken) = (pair.events(pair.second(), "standing-by").await, pair.events(pair.second(), "lease-taken").await);
        assert_eq!((stood, taken), (1, 1));
        assert_eq!(pair.events(pair.second(), "slot-missed").await, 0);
    });
}

/// Retention counts what the other took: after some hours of each, there are two of each VM.
#[test]
fn what_the_other_took_counts_for_retention() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("the first").await;
        pair.hour("the first again").await;
        pair.first.kill();
        pair.second_takes_over().await;
        pair.hour("the second").await;
        assert!(pair.lab.held().values().all(|held| held.len() == 2), "{:?}", pair.lab.held());
    });
}

/// A daemon dies before the second of its two snapshots; the one that takes over dies at its first, second, third … call, and the life that
/// comes after may find its own lease. It goes on with what the first one began all the same.
#[test]
fn a_successor_that_dies_in_the_midst_of_the_takeover_is_followed_by_a_life_that_goes_on_with_it() {
    play(async |life: Life| {
        let mut pair = Pair::new(life, TERM).await;
        pair.first.start(&pair.lab).await;
        pair.hour("at first").await;
        let mut in_the_takeover = 0;
        for nth in (5..35).step_by(3) {
            let when = format!("the successor was killed after call {nth}");
            pair.before_slot().await;
            let before = pair.taken("lab");
            assert!(pair.dies_at(Rule::on("Async.VM.snapshot", Action::Cut(When::Before)).nth(2)).await, "{when}");
            pair.moves();
            let takeovers = pair.events_of_the_dead("lease-taken").await;
            assert!(pair.dies_at(Rule::on("*", Action::Cut(When::After)).nth(nth)).await, "{when}");
            in_the_takeover += usize::from(pair.events_of_the_dead("lease-taken").await > takeovers);
            pair.first.start(&pair.lab).await;
            pair.hour(&when).await;
            assert_eq!(pair.taken("lab") - before, 2, "{when}");
            assert_eq!(pair.events_of_the_dead("vanished").await, 0, "{when}: what the other removed, nobody need hear of");
        }
        assert!(in_the_takeover >= 5, "{in_the_takeover}");
    });
}

/// What a standby has heard of the pool is old when it takes over: its news were on their way for longer than the other needed to take its
/// snapshots and to leave.
#[test]
fn a_successor_decides_nothing_before_the_pool_shows_it_what_the_other_did() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        pair.lab.clock.advance_to(pair.due - TimeDelta::seconds(60)).await;
        let late = Rule::on("event.from", Action::Delay(Duration::from_secs(600))).originator(originator("standby"));
        pair.lab.simulation.set_faults(Plan::new(0).with(late));
        pair.lab.pass(100).await;
        pair.check("the first takes them");
        pair.first.stop(&pair.lab).await;
        pair.lab.pass(100).await;
        assert_eq!(pair.events(pair.second(), "lease-taken").await, 1);
        pair.hour("when the news are there").await;
        assert_eq!(pair.taken("standby"), 0);
    });
}

#[test]
fn a_life_that_follows_its_own_does_not_wait() {
    play(async |life: Life| {
        let mut pair = Pair::new(life, TERM).await;
        pair.first.start(&pair.lab).await;
        pair.hour("at first").await;
        let before = pair.epochs();
        pair.first.kill();
        let began = pair.lab.clock.elapsed();
        pair.first.start(&pair.lab).await;
        let took = pair.lab.clock.elapsed() - began;
        assert!(took <= Duration::from_secs(10), "{took:?}");
        assert!(pair.epochs().last() > before.last(), "{:?} after {before:?}", pair.epochs());
        assert!(pair.epochs().len() <= 2, "what nobody needs is removed: {:?}", pair.epochs());
        pair.hour("in the next life").await;
    });
}

#[test]
fn a_leader_whose_calls_hang_stops_to_act_before_the_other_begins() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        let before = pair.taken("lab");
        pair.lab.clock.advance_to(pair.due - TimeDelta::seconds(90)).await;
        let hang = Rule::on("pool.*", Action::Hang).originator(originator("lab"));
        pair.lab.simulation.set_faults(Plan::new(0).with(hang));
        // Its lease has lapsed when the slot comes due, and nobody knows yet that it is gone: its other calls would go through.
        pair.lab.clock.advance_to(pair.due + TimeDelta::seconds(60)).await;
        assert_eq!(pair.taken("lab"), before, "the first has done nothing");
        assert!(!pair.second().handle.sites().borrow().is_empty(), "the second works");
        pair.hour("while it hangs").await;
        pair.lab.simulation.set_faults(Plan::default());
        pair.hour("when it is back").await;
        assert_eq!((pair.taken("lab"), pair.taken("standby")), (before, 4));
    });
}

/// Time passes for both at once, as for machines that were suspended: whoever wakes first may not act by what it remembers.
#[test]
fn a_leader_that_was_suspended_proves_its_lease_again_before_it_acts() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        pair.before_slot().await;
        let now = pair.lab.clock.elapsed();
        pair.lab.clock.jump_to(now + Duration::from_secs(600));
        pair.hour("after ten minutes without anybody").await;
        pair.hour("the next hour").await;
    });
}

/// A machine that was paused does not see it by its monotonic clock; its wall clock is far ahead when somebody has corrected it.
#[test]
fn a_leader_whose_wall_clock_jumps_claims_anew_before_it_acts() {
    play(async |life: Life| {
        let mut pair = Pair::both_for(life, LONG).await;
        pair.hour("at first").await;
        let before = pair.epochs();
        pair.lab.clock.advance_to(pair.due - TimeDelta::seconds(400)).await;
        pair.lab.clock.step_wall_clock(TimeDelta::seconds(400));
        // Due times are looked at again when the next one was to come by the clock of before.
        pair.lab.pass(460).await;
        pair.check("after the jump");
        assert!(pair.epochs().last() > before.last(), "{:?} after {before:?}", pair.epochs());
        assert_eq!(pair.taken("standby"), 0, "it is the first still");
    });
}

#[test]
fn two_that_start_together_come_to_one() {
    play(async |life: Life| {
        let mut pair = Pair::new(life, TERM).await;
        // Both find no claim, and both add the first.
        let slow = Rule::on("pool.add_to_other_config", Action::Delay(Duration::from_secs(1))).times(2);
        pair.lab.simulation.set_faults(Plan::new(0).with(slow));
        let (one, two) = (folder(), folder());
        let (one, two) = (pair.lab.standby(&one).await, pair.lab.standby(&two).await);
        pair.lab.pass(30).await;
        let works = |running: &Running| !running.handle.sites().borrow().is_empty();
        assert!(works(&one) != works(&two), "{} {}", works(&one), works(&two));
        pair.hour("together").await;
        pair.lab.end(one).await;
        pair.lab.end(two).await;
    });
}

/// The role of the second one does not allow `pool.sync_database`, so that the members know only the lease of the first, which left.
#[test]
fn a_promoted_member_that_brings_back_yesterdays_lease_makes_nobody_act_by_it() {
    play(async |life: Life| {
        let mut pair = Pair::both(life).await;
        pair.hour("at first").await;
        let denied = ApiError::new("RBAC_PERMISSION_DENIED", ["pool.sync_database", "no"]);
        pair.lab.simulation.set_faults(Plan::new(0).with(Rule::on("pool.sync_database", Action::Refuse(denied))));
        pair.first.stop(&pair.lab).await;
        pair.second_takes_over().await;
        pair.hour("the second").await;
        let history = folder();
        let third = pair.lab.standby(&history).await;
        pair.lab.pass(30).await;
        let before = pair.epochs();
        pair.before_slot().await;
        pair.lab.simulation.promote(None, true).await.unwrap();
        assert!(pair.epochs().last() < before.last(), "yesterday's: {:?} after {before:?}", pair.epochs());
        pair.hour("after the promotion").await;
        let works = [pair.second(), &third].map(|running| !running.handle.sites().borrow().is_empty());
        assert!(works[0] != works[1], "{works:?}");
        assert!(pair.epochs().last() > before.last(), "above all that was ever seen: {:?}", pair.epochs());
        pair.lab.end(third).await;
    });
}

#[test]
fn without_the_right_to_write_it_works_alone_and_says_so_once() {
    play(async |life: Life| {
        let mut pair = Pair::new(life, TERM).await;
        let denied = ApiError::new("RBAC_PERMISSION_DENIED", ["pool.add_to_other_config", "no"]);
        pair.lab.simulation.set_faults(Plan::new(0).with(Rule::on("pool.add_to_other_config", Action::Refuse(denied))));
        let history = folder();
        let alone = pair.lab.standby(&history).await;
        assert!(pair.lab.until_works(&alone, Duration::from_secs(10)).await.is_some());
        pair.hour("alone").await;
        pair.hour("alone still").await;
        assert_eq!(pair.events(&alone, "lease-denied").await, 1);
        // One that may write comes, and works; the other sees that.
        pair.lab.simulation.set_faults(Plan::default());
        pair.first.start(&pair.lab).await;
        pair.lab.pass(30).await;
        assert!(alone.handle.sites().borrow().is_empty(), "it has stepped down");
        assert_eq!(pair.events(&alone, "lease-lost").await, 1);
        pair.hour("the one that may write").await;
        pair.lab.end(alone).await;
    });
}
