//! Servers that forget. A master that dies forgets up to five minutes of what it acknowledged, a member that takes over in an emergency
//! up to a day. The promise is kept again, what is back although it was removed counts for nothing and goes again, nothing real is
//! removed because of it, and nothing at all while history and pool have not been compared.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Order, Plan, Rule, When};
use xensnap::simulator::storage::timings::Timings;
use xensnap::store::{Attempt, AttemptState, EventFilter, JobFilter, Outcome, Page, RunFilter, SnapshotState};

use super::crash::{policy_for, with_disks, world};
use super::lab::{Lab, at};

/// A pool and a policy for two VMs that keeps two.
struct Nights {
    lab: Lab,
    due: DateTime<Utc>,
    every: TimeDelta,
    foreign: usize,
}

impl Nights {
    /// Short nights, one every other hour; two have passed.
    async fn short(timings: Timings) -> Self {
        Self::new(timings, "0 */2 * * *", "2026-03-01T14:00:00Z", TimeDelta::hours(2)).await
    }

    async fn new(timings: Timings, cron: &str, due: &str, every: TimeDelta) -> Self {
        let world = world(timings);
        let policy = policy_for("nightly", cron, &with_disks(&world, 2, 2), 2);
        let mut lab = Lab::with("2026-03-01T12:30:00Z", world, vec![policy]).await;
        let foreign = lab.count("VM");
        lab.start().await;
        let mut nights = Self { lab, due: at(due), every, foreign };
        nights.until_morning().await;
        nights.until_morning().await;
        nights.check("at first").await;
        nights
    }

    async fn before_slot(&self) {
        self.lab.clock.advance_to(self.due - TimeDelta::seconds(1)).await;
    }

    async fn until_morning(&mut self) {
        self.lab.clock.advance_to(self.due + self.every / 3).await;
        self.due += self.every;
    }

    /// Each VM has the snapshots of the last two nights with all their disks, the history says the same, and nothing else is there.
    async fn check(&self, when: &str) {
        let expected: Vec<String> =
            [2, 1].map(|nights| (self.due - self.every * nights).format("%m-%d %H:%M").to_string()).into();
        let held = self.lab.held();
        assert!(held.len() == 2 && held.values().all(|due| *due == expected), "{when}: {held:?}, not {expected:?}");
        assert_eq!(self.lab.count("VM"), self.foreign + 4, "{when}: unmarked leftovers, or something foreign is gone");
        let found = self.lab.snapshots();
        let store = self.lab.store();
        let pool = found[0].mark.pool.0;
        let rows = store.present_snapshots(pool).await.unwrap();
        let uuids: BTreeSet<_> = found.iter().map(|found| found.uuid).collect();
        assert_eq!(rows.iter().map(|row| row.uuid).collect::<BTreeSet<_>>(), uuids, "{when}");
        assert!(rows.iter().all(|row| row.state == SnapshotState::Durable), "{when}: {rows:?}");
        self.lab.simulation.shared().unwrap().step(|world| {
            let disks = rows.iter().flat_map(|row| &row.disks);
            for disk in disks {
                let uuid = disk.vdi.to_string();
                assert!(world.database.by_uuid("VDI", &uuid).is_some(), "{when}: the disk {uuid} has no record");
                assert!(!world.durable.is_missing(&uuid), "{when}: the disk {uuid} has a record only");
            }
        });
        assert_eq!(store.unfinished_jobs().await.unwrap(), [], "{when}");
        assert_eq!(store.open_removals(pool).await.unwrap(), [], "{when}");
        let run = store.runs(RunFilter::default(), Page::first(1)).await.unwrap().rows.remove(0);
        assert_eq!(run.outcome, Some(Outcome::Succeeded), "{when}: {run:?}");
    }

    async fn events(&self, kind: &str) -> usize {
        let filter = EventFilter { kind: Some(kind.into()), ..EventFilter::default() };
        self.lab.store().events(filter, Page::first(1000)).await.unwrap().rows.len()
    }

    /// The attempts of the last night, by VM.
    async fn attempts(&self) -> Vec<Vec<Attempt>> {
        let store = self.lab.store();
        let mut all = Vec::new();
        for job in store.jobs(JobFilter::default(), Page::first(2)).await.unwrap().rows {
            all.push(store.attempts(job.id).await.unwrap());
        }
        all
    }
}

fn kill(after: Duration) -> Action {
    let order = Order::Kill { down: Some(Duration::from_secs(30)) };
    Action::Server { order, when: When::During, delay: after }
}

/// The second job's last call. The server dies so long after it.
fn dies_after_success(after: Duration) -> Rule {
    Rule::on("VM.set_name_description", kill(after)).nth(2)
}

#[tokio::test]
async fn a_master_that_dies_right_after_a_jobs_success_has_forgotten_it_and_the_promise_is_kept_anew() {
    let mut nights = Nights::short(Timings::default()).await;
    for seconds in [0.0, 0.5, 1.0, 2.0, 5.0, 10.0] {
        nights.before_slot().await;
        // The barrier is not passed before the server dies.
        let slow = Rule::on("pool.sync_database", Action::Delay(Duration::from_secs(60))).times(1);
        let dies = dies_after_success(Duration::from_secs_f64(seconds));
        nights.lab.simulation.set_faults(Plan::new(0).with(dies).with(slow));
        let vanished = nights.events("vanished").await;
        nights.until_morning().await;
        nights.check(&format!("{seconds} s")).await;
        assert_eq!(nights.events("vanished").await, vanished + 2, "{seconds} s: both are written down as forgotten");
        for attempts in nights.attempts().await {
            let states: Vec<AttemptState> = attempts.iter().map(|attempt| attempt.state).collect();
            assert_eq!(states, [AttemptState::Forgotten, AttemptState::Succeeded], "{seconds} s");
        }
    }
    assert_eq!(nights.events("left-behind").await, 12, "their disks are listed");
}

#[tokio::test]
async fn a_master_that_dies_after_the_barrier_was_passed_has_forgotten_removals_at_most_and_ghosts_go_again() {
    let mut nights = Nights::short(Timings::default()).await;
    let mut ghosts = 0;
    for seconds in [0.3, 0.6, 1.0, 2.0, 5.0, 10.0] {
        nights.before_slot().await;
        nights.lab.simulation.set_faults(Plan::new(0).with(dies_after_success(Duration::from_secs_f64(seconds))));
        nights.until_morning().await;
        for attempts in nights.attempts().await {
            assert_eq!(attempts.len(), 1, "{seconds} s: what passed the barrier is not taken again");
        }
        assert_eq!(nights.events("vanished").await, 0);
        ghosts = nights.events("ghost").await;
        let held = nights.lab.held();
        assert!(held.values().all(|due| due.len() >= 2), "{seconds} s: {held:?}");
        nights.lab.simulation.set_faults(Plan::default());
        nights.until_morning().await;
        nights.check(&format!("the night after {seconds} s")).await;
    }
    assert!(ghosts >= 4, "{ghosts}: some removals came back");
}

/// Work on disks takes seconds, and in each night something happens to the server at another moment of the run. A server that forgot
/// removals shows ghosts, which go in the next pass.
async fn at_any_moment(order: &Order, moments: impl IntoIterator<Item = u64>, forgets: bool) {
    let mut timings = Timings::default();
    timings.set("VDI.snapshot", Duration::from_secs(7));
    timings.set("VDI.destroy", Duration::from_secs(5));
    let mut nights = Nights::short(timings).await;
    for seconds in moments {
        nights.before_slot().await;
        let clock = nights.lab.clock.clone();
        clock.advance(Duration::from_secs(1 + seconds)).await;
        clock.run(nights.lab.simulation.carry_out(order)).await.unwrap();
        nights.until_morning().await;
        let held = nights.lab.held();
        assert!(held.values().all(|due| due.len() >= 2), "{seconds} s: {held:?}");
        if forgets {
            nights.until_morning().await;
        }
        nights.check(&format!("{seconds} s")).await;
    }
}

#[tokio::test]
async fn a_server_killed_at_any_moment_of_a_run_costs_no_promise() {
    let moments = [1, 6, 13, 20, 27, 29, 31, 34, 40, 46, 52, 60, 75, 95];
    at_any_moment(&Order::Kill { down: Some(Duration::from_secs(20)) }, moments, true).await;
}

#[tokio::test]
async fn a_server_restarted_in_the_middle_of_a_snapshot_or_of_an_uninstall_costs_no_promise() {
    let moments = [3, 10, 17, 22, 27, 31, 36, 43];
    at_any_moment(&Order::Stop { down: Some(Duration::from_secs(20)) }, moments, false).await;
}

#[tokio::test]
async fn a_planned_change_of_master_at_any_moment_of_a_run_costs_no_promise() {
    let moments = [3, 10, 17, 22, 27, 31, 36, 43];
    at_any_moment(&Order::Promote { host: None, emergency: false }, moments, false).await;
}

/// The role forbids `pool.sync_database`, so that the members have yesterday's database.
#[tokio::test]
async fn a_member_that_takes_over_with_yesterdays_database_loses_no_promise_and_nothing_real_goes_for_a_ghost() {
    let mut nights = Nights::new(Timings::default(), "0 2 * * *", "2026-03-02T02:00:00Z", TimeDelta::days(1)).await;
    let denied = ApiError::new("RBAC_PERMISSION_DENIED", ["pool.sync_database", "no"]);
    nights.lab.simulation.set_faults(Plan::new(0).with(Rule::on("pool.sync_database", Action::Refuse(denied))));
    nights.until_morning().await;
    nights.until_morning().await;
    nights.check("by time").await;
    let real: BTreeSet<_> = nights.lab.snapshots().into_iter().map(|found| (found.vm, found.mark.due_at)).collect();
    let newest = nights.due - TimeDelta::days(1);
    nights.lab.simulation.promote(None, true).await.unwrap();
    let back = nights.lab.held();
    assert!(back.values().all(|due| due.len() == 2 && !due.contains(&newest.format("%m-%d %H:%M").to_string())), "{back:?}");
    nights.lab.pass(3600).await;
    assert_eq!((nights.events("vanished").await, nights.events("ghost").await), (2, 2));
    nights.check("an hour after the promotion").await;
    let now: BTreeSet<_> = nights.lab.snapshots().into_iter().map(|found| (found.vm, found.mark.due_at)).collect();
    assert_eq!(now, real, "the same slots have a snapshot as before");
    nights.until_morning().await;
    let held = nights.lab.held();
    assert!(held.values().all(|due| due.len() == 3), "what was taken anew is not a day old, so one more stays: {held:?}");
    nights.until_morning().await;
    nights.check("two nights later").await;
}

/// The same with a policy that keeps one: that of the night before is the only one that every member knows, so it stays for a day more,
/// and when a member takes over it is there with its disks.
#[tokio::test]
async fn the_only_snapshot_of_a_policy_is_not_removed_for_one_that_the_master_alone_knows() {
    let world = world(Timings::default());
    let vms = with_disks(&world, 2, 2);
    let mut lab = Lab::with("2026-03-01T12:30:00Z", world, vec![policy_for("nightly", "0 2 * * *", &vms, 1)]).await;
    let denied = ApiError::new("RBAC_PERMISSION_DENIED", ["pool.sync_database", "no"]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("pool.sync_database", Action::Refuse(denied))));
    lab.start().await;
    lab.until("2026-03-05T10:00:00Z").await;
    let all = |nights: &[&str]| {
        vms.iter().map(|vm| (vm.clone(), nights.iter().map(|night| format!("{night} 02:00")).collect())).collect()
    };
    assert_eq!(lab.held(), all(&["03-04", "03-05"]), "one more than the rules keep");
    lab.simulation.promote(None, true).await.unwrap();
    assert_eq!(lab.held(), all(&["03-03", "03-04"]), "the member's database is of yesterday");
    let real = lab.snapshots().into_iter().filter(|found| found.mark.due_at == at("2026-03-04T02:00:00Z"));
    let lost = real.filter(|found| {
        lab.step(|world| {
            let drives = world.database.texts("VM", &found.reference, "VBDs").into_iter();
            let disks = drives.map(|vbd| world.database.text("VBD", &vbd, "VDI")).filter(|vdi| world.database.exists("VDI", vdi));
            disks.map(|vdi| world.database.text("VDI", &vdi, "uuid")).any(|uuid| world.durable.is_missing(&uuid))
        })
    });
    assert_eq!(lost.count(), 0, "what the member knows has its disks");
    lab.pass(3600).await;
    assert_eq!(lab.held(), all(&["03-04", "03-05"]), "the promise is kept anew, and the ghosts are gone");
    // Whoever gives the role has what the rules say after the next run.
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-03-06T10:00:00Z").await;
    assert_eq!(lab.held(), all(&["03-06"]));
    lab.stop().await;
}

#[tokio::test]
async fn an_emergency_after_the_barrier_loses_nothing_because_every_member_has_it() {
    let mut nights = Nights::short(Timings::default()).await;
    let before = nights.lab.snapshots();
    nights.lab.simulation.promote(None, true).await.unwrap();
    nights.lab.pass(600).await;
    assert_eq!(nights.lab.snapshots(), before);
    nights.until_morning().await;
    nights.check("the next night").await;
}

#[tokio::test]
async fn nothing_is_removed_while_history_and_pool_are_not_compared() {
    let mut nights = Nights::short(Timings::default()).await;
    nights.lab.clock.advance_to(nights.due - TimeDelta::seconds(60)).await;
    nights.lab.simulation.set_faults(Plan::new(0).with(Rule::on("SR.scan", Action::Slow(6000.0))));
    nights.lab.simulation.kill().await;
    nights.lab.simulation.up().await.unwrap();
    nights.lab.clock.advance_to(nights.due + TimeDelta::seconds(250)).await;
    let calls = nights.lab.simulation.shared().unwrap().calls();
    assert!(calls.contains_key("Async.SR.scan"), "it is being compared: {calls:?}");
    assert_eq!(calls.get("Async.VM.destroy"), None, "{calls:?}");
    nights.until_morning().await;
    nights.check("in the end").await;
}
