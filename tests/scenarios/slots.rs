//! Slots: what is due is run once, and what is not run is a row with its reason. Around them: which VMs, when exactly, and what a
//! failure means for what is there already.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use xensnap::domain::retention::Order;
use xensnap::domain::schedule::{CatchUp, TimeWindow, Windows};
use xensnap::domain::selection::{Clause, Condition, DiskClause, DiskField, Field, Selection};
use xensnap::domain::span::Exact;
use xensnap::engine::pins;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::ledger::Deed;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{Ref, Value};
use xensnap::store::{JobState, Origin, Outcome, Page, RunFilter, SlotState};
use xensnap::xenapi::calls;

use super::lab::{Lab, NOON, at, originator, policy};
use super::look;
use super::person::{self, Person};

fn nightly(last: u32) -> xensnap::domain::policy::Policy {
    policy("nightly", "0 2 * * *", "*", last)
}

fn verdict(due: &str, state: SlotState) -> (String, SlotState) {
    (due.to_owned(), state)
}

/// The due times of our snapshots of one policy, of all VMs together.
fn dues(lab: &Lab, policy: &str) -> BTreeSet<String> {
    let ours = lab.snapshots().into_iter().filter(|found| found.mark.policy.as_str() == policy);
    ours.map(|found| found.mark.due_at.format("%m-%d %H:%M").to_string()).collect()
}

fn set(dues: &[&str]) -> BTreeSet<String> {
    dues.iter().map(|due| (*due).to_owned()).collect()
}

fn plain_vms(lab: &Lab) -> Vec<Ref> {
    lab.step(|world| {
        let database = &world.database;
        let plain =
            |vm: &Ref| !["is_a_template", "is_a_snapshot", "is_control_domain"].iter().any(|f| database.bool("VM", vm, f));
        database.refs("VM").into_iter().filter(plain).collect()
    })
}

fn disk_drives(lab: &Lab, vm: &Ref) -> usize {
    lab.step(|world| {
        let vbds = world.database.texts("VM", vm, "VBDs");
        vbds.iter().filter(|vbd| &*world.database.text("VBD", vbd, "type") == "Disk").count()
    })
}

/// Everything that the service created or destroyed in the pool.
fn deeds(lab: &Lab) -> Vec<(Deed, &'static str)> {
    let ledger = lab.simulation.shared().unwrap().ledger();
    let ours = ledger.into_iter().filter(|entry| *entry.actor.originator == *originator("lab"));
    ours.map(|entry| (entry.deed, entry.class)).collect()
}

fn refuse(method: &str, code: &str) -> Rule {
    Rule::on(method, Action::Refuse(ApiError::new(code, ["the simulation", "wants it so"])))
}

#[tokio::test]
async fn missed_nights_are_made_up_for_once_after_the_service_was_down() {
    let mut lab = Lab::new(2, vec![nightly(2)]).await;
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    lab.stop().await;
    lab.until("2026-03-05T10:00:00Z").await;
    lab.start().await;
    lab.until("2026-03-05T12:00:00Z").await;
    let expected = [
        verdict("03-02 02:00", SlotState::Claimed),
        verdict("03-03 02:00", SlotState::Missed),
        verdict("03-04 02:00", SlotState::Missed),
        verdict("03-05 02:00", SlotState::Late),
    ];
    assert_eq!(look::verdicts(&lab.store(), "nightly").await, expected);
    assert!(look::slots(&lab.store(), "nightly").await.iter().all(|slot| !slot.detail.is_empty()));
    assert_eq!(dues(&lab, "nightly"), set(&["03-02 02:00", "03-05 02:00"]));
    lab.until("2026-03-06T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-05 02:00", "03-06 02:00"]));
    lab.stop().await;
}

#[rstest]
#[case::that_does_not_catch_up(CatchUp::None, "the policy does not catch up")]
#[case::that_catches_up_for_an_hour(CatchUp::One { max_age: Exact::seconds(3600) }, "the policy catches up for 1h")]
#[tokio::test]
async fn a_night_is_recorded_as_missed_by_a_policy(#[case] catch_up: CatchUp, #[case] why: &str) {
    let mut policy = nightly(2);
    policy.schedule.catch_up = catch_up;
    let mut lab = Lab::new(1, vec![policy]).await;
    lab.start().await;
    lab.stop().await;
    lab.until("2026-03-02T10:00:00Z").await;
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    let slots = look::slots(&lab.store(), "nightly").await;
    assert_eq!(slots.len(), 1);
    assert_eq!(slots[0].state, SlotState::Missed);
    assert!(slots[0].detail.contains(why), "{}", slots[0].detail);
    assert!(dues(&lab, "nightly").is_empty());
    lab.stop().await;
}

#[tokio::test]
async fn a_slot_that_comes_while_the_run_before_still_works_is_recorded_as_overlapped() {
    let recipe = Recipe { hosts: 2, vms: 1, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, at(NOON));
    world.storage.timings = Timings::instant();
    world.storage.timings.scale = 1.0;
    world.storage.timings.set("VDI.snapshot", Duration::from_secs(90 * 60));
    let mut lab = Lab::with(NOON, world, vec![policy("hourly", "0 * * * *", "*", 2)]).await;
    lab.start().await;
    lab.until("2026-03-01T15:30:00Z").await;
    let slots = look::slots(&lab.store(), "hourly").await;
    assert_eq!(slots[0].state, SlotState::Claimed);
    assert_eq!(slots[1].state, SlotState::Overlapped);
    assert!(slots[1].detail.contains("the run of slot 2026-03-01 13:00:00Z still works"), "{}", slots[1].detail);
    assert!(dues(&lab, "hourly").contains("03-01 13:00"));
    // The run of three o'clock ends at half past four.
    lab.until("2026-03-01T16:45:00Z").await;
    lab.stop().await;
}

/// What the service could not do before it stopped is past its deadline when it starts again. That is told, and costs no other slot.
#[tokio::test]
async fn a_run_of_an_earlier_life_whose_time_is_over_is_no_reason_to_skip_a_slot() {
    let mut lab = Lab::new(2, vec![policy("hourly", "0 * * * *", "*", 2)]).await;
    lab.start().await;
    let busy = ApiError::new("OTHER_OPERATION_IN_PROGRESS", ["VM", "OpaqueRef:x", "export", "OpaqueRef:y"]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("Async.VM.snapshot", Action::Refuse(busy))));
    lab.until("2026-03-01T13:30:00Z").await;
    lab.stop().await;
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-03-01T14:02:00Z").await;
    lab.start().await;
    lab.until("2026-03-01T14:10:00Z").await;
    let slots = look::slots(&lab.store(), "hourly").await;
    assert_eq!((slots[0].state, slots[1].state), (SlotState::Claimed, SlotState::Late));
    assert_eq!(dues(&lab, "hourly"), BTreeSet::from(["03-01 14:00".to_owned()]));
    let runs = lab.store().runs(RunFilter::default(), Page::first(10)).await.unwrap().rows;
    let outcomes: Vec<_> = runs.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Succeeded), Some(Outcome::Failed)]);
    lab.stop().await;
}

#[tokio::test]
async fn slots_outside_the_window_and_in_a_blackout_are_skipped_with_their_reason() {
    let mut hourly = policy("hourly", "0 * * * *", "*", 24);
    let window = |text: &str| text.parse::<TimeWindow>().unwrap();
    hourly.schedule.windows = Windows { open: vec![window("20:00-23:30")], blackouts: vec![window("2026-03-01 21:00-22:00")] };
    let mut lab = Lab::new(1, vec![hourly]).await;
    lab.start().await;
    lab.until("2026-03-02T00:30:00Z").await;
    let slots = look::slots(&lab.store(), "hourly").await;
    let reason = |hour: u32| {
        let slot = slots.iter().find(|slot| slot.due_at == at(NOON) + TimeDelta::hours(i64::from(hour) - 12)).unwrap();
        (slot.state, slot.detail.clone())
    };
    assert_eq!(reason(19), (SlotState::Skipped, "skipped: outside the policy's window".to_owned()));
    assert_eq!(reason(20).0, SlotState::Claimed);
    assert_eq!(reason(21), (SlotState::Skipped, "skipped: in the blackout \"2026-03-01 21:00-22:00\"".to_owned()));
    assert_eq!(reason(22).0, SlotState::Claimed);
    assert_eq!(reason(24).0, SlotState::Skipped);
    assert_eq!(slots.len(), 12, "one row for each hour from 13:00 to midnight");
    assert_eq!(dues(&lab, "hourly"), set(&["03-01 20:00", "03-01 22:00", "03-01 23:00"]));
    lab.stop().await;
}

#[tokio::test]
async fn a_policy_that_wants_it_runs_once_more_whenever_the_service_starts() {
    let mut wanting = nightly(5);
    wanting.schedule.run_on_start = true;
    let mut lab = Lab::new(1, vec![wanting]).await;
    lab.start().await;
    lab.until("2026-03-01T13:00:00Z").await;
    lab.stop().await;
    lab.until("2026-03-01T15:00:00Z").await;
    lab.start().await;
    lab.until("2026-03-02T03:00:00Z").await;
    let origins: Vec<Origin> = look::slots(&lab.store(), "nightly").await.iter().map(|slot| slot.origin).collect();
    assert_eq!(origins, [Origin::Start, Origin::Start, Origin::Schedule]);
    assert_eq!(lab.snapshots().len(), 3);
    lab.stop().await;
}

#[tokio::test]
async fn nothing_runs_merely_because_a_policy_was_made_renamed_rescheduled_or_enabled_again() {
    let at_ten = |id: &str| policy(id, "0 10 * * *", "*", 3);
    let off = |mut policy: xensnap::domain::policy::Policy| {
        policy.enabled = false;
        policy
    };
    let mut lab = Lab::new(1, vec![at_ten("renamed"), at_ten("rescheduled"), off(at_ten("enabled")), off(at_ten("off"))]).await;
    lab.start().await;
    lab.until("2026-03-03T12:00:00Z").await;
    let before = lab.snapshots().len();
    assert_eq!(before, 4, "two nights of two policies");
    let mut renamed = at_ten("renamed");
    renamed.name = "quite another name".to_owned();
    let rescheduled = policy("rescheduled", "0 11 * * *", "*", 3);
    let changes = lab.reload(vec![renamed, rescheduled, at_ten("enabled"), at_ten("made"), off(at_ten("off"))]).await;
    assert_eq!((changes.added, changes.renamed), (vec!["made".to_owned()], vec!["renamed".to_owned()]));
    lab.until("2026-03-04T09:00:00Z").await;
    assert_eq!(lab.snapshots().len(), before, "their times of this morning are past for all of them");
    lab.until("2026-03-04T12:00:00Z").await;
    assert_eq!(dues(&lab, "renamed"), set(&["03-02 10:00", "03-03 10:00", "03-04 10:00"]));
    assert_eq!(dues(&lab, "rescheduled"), set(&["03-02 10:00", "03-03 10:00", "03-04 11:00"]));
    assert_eq!(dues(&lab, "enabled"), set(&["03-04 10:00"]));
    assert_eq!(dues(&lab, "made"), set(&["03-04 10:00"]));
    assert!(look::slots(&lab.store(), "off").await.is_empty());
    lab.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_doubles_nothing() {
    let mut lab = Lab::new(2, vec![nightly(5)]).await;
    lab.start().await;
    lab.until("2026-03-02T02:30:00Z").await;
    lab.clock.step_wall_clock(TimeDelta::hours(-3));
    lab.until("2026-03-02T03:00:00Z").await;
    assert_eq!(look::verdicts(&lab.store(), "nightly").await, [verdict("03-02 02:00", SlotState::Claimed)]);
    assert_eq!(lab.snapshots().len(), 2);
    lab.until("2026-03-03T03:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-02 02:00", "03-03 02:00"]));
    assert_eq!(lab.snapshots().len(), 4);
    lab.stop().await;
}

#[tokio::test]
async fn what_a_clock_passes_over_that_jumps_forward_is_decided_as_late_or_missed() {
    let mut lab = Lab::new(2, vec![nightly(5)]).await;
    lab.start().await;
    lab.until("2026-03-01T23:00:00Z").await;
    lab.clock.step_wall_clock(TimeDelta::hours(5));
    lab.until("2026-03-02T06:00:00Z").await;
    assert_eq!(look::verdicts(&lab.store(), "nightly").await, [verdict("03-02 02:00", SlotState::Late)]);
    lab.clock.step_wall_clock(TimeDelta::days(3));
    lab.until("2026-03-05T08:00:00Z").await;
    let expected = [
        verdict("03-02 02:00", SlotState::Late),
        verdict("03-03 02:00", SlotState::Missed),
        verdict("03-04 02:00", SlotState::Missed),
        verdict("03-05 02:00", SlotState::Late),
    ];
    assert_eq!(look::verdicts(&lab.store(), "nightly").await, expected);
    assert_eq!(lab.snapshots().len(), 4);
    lab.stop().await;
}

#[tokio::test]
async fn a_vm_that_stays_busy_until_the_deadline_has_failed_and_the_cause_says_with_what() {
    let mut policy = nightly(2);
    policy.schedule.deadline = Some(Exact::seconds(1800));
    let mut lab = Lab::new(1, vec![policy]).await;
    lab.start().await;
    lab.simulation.set_faults(Plan::new(1).with(refuse("VM.snapshot", "OTHER_OPERATION_IN_PROGRESS")));
    lab.until("2026-03-02T04:00:00Z").await;
    let job = look::jobs(&lab.store(), "nightly").await.remove(0);
    assert_eq!(job.state, JobState::Failed);
    assert!(job.attempts >= 4, "{} attempts", job.attempts);
    let cause = job.cause.unwrap().text;
    assert!(cause.contains("deadline") && cause.contains("OTHER_OPERATION_IN_PROGRESS"), "{cause}");
    let ended = job.finished_at.unwrap();
    assert!(ended >= at("2026-03-02T02:30:00Z") && ended < at("2026-03-02T02:36:00Z"), "{ended}");
    assert_eq!(look::runs(&lab.store(), "nightly").await[0].outcome, Some(Outcome::Failed));
    lab.stop().await;
}

#[tokio::test]
async fn a_vm_that_is_busy_for_a_while_is_tried_again_within_its_slot() {
    let mut lab = Lab::new(1, vec![nightly(2)]).await;
    lab.start().await;
    lab.simulation.set_faults(Plan::new(1).with(refuse("VM.snapshot", "OTHER_OPERATION_IN_PROGRESS").times(3)));
    lab.until("2026-03-02T04:00:00Z").await;
    let job = look::jobs(&lab.store(), "nightly").await.remove(0);
    assert_eq!((job.state, job.attempts), (JobState::Done, 4));
    assert_eq!(lab.snapshots().len(), 1);
    lab.stop().await;
}

#[tokio::test]
async fn vms_are_spread_over_the_slot_and_each_keeps_its_place_from_night_to_night() {
    let mut policy = nightly(5);
    policy.schedule.spread = Exact::seconds(1800);
    let mut lab = Lab::new(6, vec![policy]).await;
    lab.start().await;
    lab.until("2026-03-03T04:00:00Z").await;
    let places = |night: &str| -> Vec<(String, TimeDelta)> {
        let due: DateTime<Utc> = at(night);
        let ours = lab.snapshots().into_iter().filter(|found| found.mark.due_at == due);
        let taken = |reference: &Ref| {
            lab.step(|world| world.database.get("VM", reference, "snapshot_time").and_then(Value::as_date)).unwrap()
        };
        ours.map(|found| (found.vm.clone(), taken(&found.reference) - due)).collect()
    };
    let (first, second) = (places("2026-03-02T02:00:00Z"), places("2026-03-03T02:00:00Z"));
    assert_eq!(first.len(), 6);
    assert!(first.iter().all(|(_, after)| (TimeDelta::zero()..TimeDelta::minutes(30)).contains(after)), "{first:?}");
    assert!(first.iter().map(|(_, after)| after).collect::<BTreeSet<_>>().len() >= 5, "{first:?}");
    assert_eq!(first, second);
    lab.stop().await;
}

#[tokio::test]
async fn a_policy_that_observes_writes_down_what_it_would_do_and_touches_nothing() {
    let mut watching = nightly(1);
    watching.observe = true;
    let mut lab = Lab::new(2, vec![watching]).await;
    lab.start().await;
    lab.until("2026-03-04T04:00:00Z").await;
    assert_eq!(deeds(&lab), []);
    let jobs = look::jobs(&lab.store(), "nightly").await;
    assert_eq!(jobs.len(), 6);
    assert!(jobs.iter().all(|job| job.state == JobState::Observed));
    assert!(jobs[0].cause.as_ref().unwrap().text.contains("would take a disk snapshot"));
    let runs = look::runs(&lab.store(), "nightly").await;
    assert!(runs.iter().all(|run| run.outcome == Some(Outcome::Observed)));
    lab.stop().await;
}

#[tokio::test]
async fn a_policy_that_observes_what_it_took_before_removes_none_of_it() {
    let mut lab = Lab::new(1, vec![nightly(3)]).await;
    lab.start().await;
    lab.until("2026-03-04T04:00:00Z").await;
    let before = deeds(&lab).len();
    let mut watching = nightly(1);
    watching.observe = true;
    lab.reload(vec![watching]).await;
    lab.until("2026-03-06T04:00:00Z").await;
    assert_eq!(deeds(&lab).len(), before);
    assert_eq!(lab.snapshots().len(), 3);
    let last = look::jobs(&lab.store(), "nightly").await.pop().unwrap();
    let first = lab.snapshots().remove(0).uuid.to_string();
    assert!(last.cause.as_ref().unwrap().text.contains(&first), "{last:?}");
    lab.stop().await;
}

#[rstest]
#[case::removes_first(Order::PruneFirst, 2, &[Deed::Destroyed, Deed::Created])]
#[case::keeps_the_only_good_one_until_the_new_one_is_durable(Order::PruneFirst, 1, &[Deed::Created, Deed::Destroyed])]
#[case::by_default_takes_first(Order::SnapshotFirst, 2, &[Deed::Created, Deed::Destroyed])]
#[tokio::test]
async fn the_order_of_a_run(#[case] order: Order, #[case] last: u32, #[case] expected: &[Deed]) {
    let mut policy = nightly(last);
    policy.retention.order = order;
    let mut lab = Lab::new(1, vec![policy]).await;
    lab.start().await;
    lab.until("2026-03-03T04:00:00Z").await;
    let before = deeds(&lab).len();
    lab.until("2026-03-04T04:00:00Z").await;
    let night: Vec<Deed> = deeds(&lab)[before..].iter().filter(|(_, class)| *class == "VM").map(|(deed, _)| *deed).collect();
    assert_eq!(night, expected);
    assert_eq!(lab.snapshots().len(), last as usize);
    lab.stop().await;
}

#[tokio::test]
async fn two_policies_on_one_vm_at_the_same_minute_each_keep_their_own() {
    let mut lab = Lab::new(2, vec![nightly(1), policy("second", "0 2 * * *", "*", 3)]).await;
    lab.start().await;
    lab.until("2026-03-06T04:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-06 02:00"]));
    assert_eq!(dues(&lab, "second"), set(&["03-04 02:00", "03-05 02:00", "03-06 02:00"]));
    assert_eq!(lab.snapshots().len(), 2 * (1 + 3));
    for policy in ["nightly", "second"] {
        let runs = look::runs(&lab.store(), policy).await;
        assert!(runs.len() == 5 && runs.iter().all(|run| run.outcome == Some(Outcome::Succeeded)), "{runs:?}");
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_vm_that_is_deleted_before_its_turn_is_skipped_and_says_so() {
    let mut policy = nightly(2);
    policy.schedule.spread = Exact::seconds(1800);
    let mut lab = Lab::new(3, vec![policy]).await;
    lab.start().await;
    lab.until("2026-03-02T02:00:01Z").await;
    let last = look::jobs(&lab.store(), "nightly").await.into_iter().max_by_key(|job| job.not_before).unwrap();
    let person = Person::new(&lab);
    let vm = lab.step(|world| world.database.by_uuid("VM", &last.vm_uuid.to_string()).cloned()).unwrap();
    if lab.step(|world| &*world.database.text("VM", &vm, "power_state") != "Halted") {
        person.does(calls::vm::hard_shutdown(&person::vm(&vm))).await;
    }
    person.does(calls::vm::destroy(&person::vm(&vm))).await;
    lab.until("2026-03-02T04:00:00Z").await;
    let jobs = look::jobs(&lab.store(), "nightly").await;
    let of_it = jobs.iter().find(|job| job.vm_uuid == last.vm_uuid).unwrap();
    assert_eq!((of_it.state, of_it.cause.as_ref().unwrap().code.as_str()), (JobState::Skipped, "vm-gone"));
    assert_eq!(lab.snapshots().len(), 2);
    assert_eq!(look::runs(&lab.store(), "nightly").await[0].outcome, Some(Outcome::Succeeded));
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn a_new_vm_is_covered_by_itself_and_one_that_is_tagged_is_not_any_more() {
    let mut lab = Lab::new(2, vec![nightly(3)]).await;
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    let person = Person::new(&lab);
    let old = plain_vms(&lab);
    let halted = old.iter().find(|vm| lab.step(|world| &*world.database.text("VM", vm, "power_state") == "Halted"));
    let origin = halted.unwrap_or(&old[0]).clone();
    if halted.is_none() {
        person.does(calls::vm::hard_shutdown(&person::vm(&origin))).await;
    }
    person.does(calls::vm::clone(&person::vm(&origin), "made today")).await;
    let tagged = old.iter().find(|vm| **vm != origin).unwrap().clone();
    let tag = xensnap::xenapi::Call::<xensnap::xenapi::types::Void>::idempotent("VM.add_tags");
    person.does(tag.with(&person::vm(&tagged)).with("xensnap:skip=being moved")).await;
    lab.until("2026-03-03T12:00:00Z").await;
    let of = |vm: &Ref| {
        let name = lab.step(|world| world.database.text("VM", vm, "name_label").to_string());
        lab.held().remove(&name).unwrap_or_default()
    };
    assert_eq!(lab.held()["made today"], ["03-03 02:00"]);
    assert_eq!(of(&origin), ["03-02 02:00", "03-03 02:00"]);
    assert_eq!(of(&tagged), ["03-02 02:00"], "what it has stays");
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn disks_that_a_policy_excludes_are_in_no_snapshot() {
    let mut without_second = policy("partial", "0 2 * * *", "*", 2);
    let second = DiskField::Position.pattern("1").unwrap();
    without_second.snapshot.exclude_disks = vec![DiskClause(vec![(DiskField::Position, vec![second])])];
    let mut lab = Lab::new(12, vec![without_second]).await;
    let two = plain_vms(&lab).into_iter().find(|vm| disk_drives(&lab, vm) == 2).expect("the recipe makes a VM with two disks");
    let uuid = lab.step(|world| world.database.text("VM", &two, "uuid").to_string());
    let only = Condition::parse(Field::Uuid, &[&uuid]).unwrap();
    lab.policies[0].selection = Selection { include: vec![Clause(vec![only])], ..Selection::default() };
    lab.start().await;
    lab.until("2026-03-05T12:00:00Z").await;
    let ours = lab.snapshots();
    assert_eq!(ours.len(), 2);
    assert!(ours.iter().all(|found| disk_drives(&lab, &found.reference) == 1));
    lab.stop().await;
}

#[tokio::test]
async fn a_pinned_snapshot_stays_until_its_date_and_the_server_itself_guards_it() {
    let mut lab = Lab::new(1, vec![nightly(1)]).await;
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    let pinned = lab.snapshots().remove(0);
    let row = look::snapshots(&lab.store(), "nightly").await.remove(0);
    let site = lab.handle().sites().borrow()[0].clone();
    pins::pin(&mut site.worker(), &site, &row, at("2026-03-06T00:00:00Z"), "before the audit").await.unwrap().unwrap();
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-02 02:00", "03-05 02:00"]));
    let person = Person::new(&lab);
    let refused = person.tries(calls::vm::destroy(&person::vm(&pinned.reference))).await.unwrap_err();
    assert!(refused.to_string().contains("OPERATION_BLOCKED"), "{refused}");
    lab.until("2026-03-06T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-06 02:00"]), "the pin is over");
    person.leaves().await;
    lab.stop().await;
}

#[tokio::test]
async fn a_pin_that_ends_right_before_a_run_does_not_hold_the_snapshot_over_it() {
    let mut lab = Lab::new(1, vec![nightly(1)]).await.looking_every(24);
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    let row = look::snapshots(&lab.store(), "nightly").await.remove(0);
    let site = lab.handle().sites().borrow()[0].clone();
    pins::pin(&mut site.worker(), &site, &row, at("2026-03-04T01:59:59Z"), "").await.unwrap().unwrap();
    lab.until("2026-03-03T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-02 02:00", "03-03 02:00"]));
    lab.until("2026-03-04T02:10:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-04 02:00"]));
    lab.stop().await;
}

#[tokio::test]
async fn a_pin_outlives_a_lost_history_and_still_ends_at_its_date() {
    let mut lab = Lab::new(1, vec![nightly(1)]).await;
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    let row = look::snapshots(&lab.store(), "nightly").await.remove(0);
    let site = lab.handle().sites().borrow()[0].clone();
    pins::pin(&mut site.worker(), &site, &row, at("2026-03-05T00:00:00Z"), "before: the audit").await.unwrap().unwrap();
    lab.stop().await;
    lab.folder = super::lab::folder();
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-02 02:00", "03-04 02:00"]), "it still holds");
    let rows = look::snapshots(&lab.store(), "nightly").await;
    let pinned: Vec<_> = rows.iter().filter_map(|row| row.pinned_until).collect();
    assert_eq!(pinned, [at("2026-03-05T00:00:00Z")]);
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-05 02:00"]), "the pin is over");
    lab.stop().await;
}

#[tokio::test]
async fn what_a_person_removed_while_the_service_was_away_is_not_taken_again() {
    let mut lab = Lab::new(2, vec![nightly(2)]).await;
    lab.start().await;
    lab.until("2026-03-03T12:00:00Z").await;
    lab.stop().await;
    let newest = lab.snapshots().into_iter().max_by_key(|found| (found.mark.due_at, found.uuid)).unwrap();
    let person = Person::new(&lab);
    person.does(calls::vm::destroy(&person::vm(&newest.reference))).await;
    lab.until("2026-03-03T15:00:00Z").await;
    lab.start().await;
    lab.until("2026-03-03T20:00:00Z").await;
    assert!(!lab.snapshots().iter().any(|found| found.vm == newest.vm && found.mark.due_at == newest.mark.due_at));
    let told = look::events(&lab.store(), "vanished").await;
    assert!(told.len() == 1 && told[0].text.contains("somebody else removed it"), "{told:?}");
    lab.until("2026-03-04T12:00:00Z").await;
    assert_eq!(lab.held()[&newest.vm], ["03-02 02:00", "03-04 02:00"]);
    person.leaves().await;
    lab.stop().await;
}

#[rstest]
#[case::taking_first(Order::SnapshotFirst)]
#[case::making_room_first(Order::PruneFirst)]
#[tokio::test]
async fn the_last_good_snapshots_stay_as_long_as_new_ones_fail(#[case] order: Order) {
    let mut policy = nightly(1);
    policy.retention.order = order;
    policy.schedule.deadline = Some(Exact::seconds(600));
    let mut lab = Lab::new(2, vec![policy]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    lab.simulation.set_faults(Plan::new(1).with(refuse("VM.snapshot", "SR_BACKEND_FAILURE_46")));
    lab.until("2026-03-06T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-02 02:00"]));
    assert_eq!(lab.snapshots().len(), 2);
    let jobs = look::jobs(&lab.store(), "nightly").await;
    assert!(jobs[2..].iter().all(|job| job.state == JobState::Failed), "{jobs:?}");
    lab.simulation.set_faults(Plan::new(1));
    lab.until("2026-03-07T12:00:00Z").await;
    assert_eq!(dues(&lab, "nightly"), set(&["03-07 02:00"]));
    lab.stop().await;
}

/// Between its mark and the pool's database being on disk somebody deletes a VM. Its snapshot stays and counts for nothing.
#[tokio::test]
async fn a_vm_that_somebody_deletes_before_its_snapshot_counted_does_not_keep_the_run_from_ending() {
    let mut lab = Lab::new(3, vec![policy("hourly", "0 * * * *", "*", 2)]).await;
    lab.start().await;
    lab.until("2026-03-01T12:59:00Z").await;
    let late = Rule::on("pool.sync_database", Action::Delay(Duration::from_secs(600)));
    lab.simulation.set_faults(Plan::new(0).with(late));
    lab.until("2026-03-01T13:05:00Z").await;
    let marked = lab.snapshots();
    assert_eq!(marked.len(), 3);
    let vm = lab.step(|world| world.database.text("VM", &marked[0].reference, "snapshot_of"));
    let person = Person::new(&lab);
    let _ = person.tries(calls::vm::hard_shutdown(&person::vm(&vm))).await;
    person.does(calls::vm::destroy(&person::vm(&vm))).await;
    person.leaves().await;
    // The next life compares history and pool before it goes on with the run.
    lab.stop().await;
    lab.simulation.set_faults(Plan::default());
    lab.start().await;
    lab.until("2026-03-01T14:50:00Z").await;
    let runs = lab.store().runs(RunFilter::default(), Page::first(10)).await.unwrap().rows;
    let outcomes: Vec<_> = runs.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Succeeded), Some(Outcome::Partial)], "{runs:?}");
    assert_eq!(lab.snapshots().len(), 5, "that of the VM that is gone stays");
    lab.stop().await;
}

fn pool_of(lab: &Lab) -> uuid::Uuid {
    lab.handle().sites().borrow()[0].uuid.0
}

/// For an hour the clock is a year ahead. Everything up to then is decided, and would stay so.
#[tokio::test]
async fn a_clock_that_was_a_year_ahead_for_an_hour_costs_no_due_time_afterwards() {
    let mut lab = Lab::new(2, vec![policy("hourly", "0 * * * *", "*", 3)]).await;
    lab.start().await;
    lab.until("2026-03-01T13:30:00Z").await;
    lab.clock.step_wall_clock(TimeDelta::days(365));
    lab.pass(3600).await;
    lab.clock.step_wall_clock(TimeDelta::days(-365));
    lab.until("2026-03-01T18:30:00Z").await;
    let due: BTreeSet<String> =
        lab.snapshots().iter().map(|found| found.mark.due_at.format("%Y-%m-%d %H:%M").to_string()).collect();
    for hour in ["2026-03-01 15:00", "2026-03-01 16:00", "2026-03-01 17:00", "2026-03-01 18:00"] {
        let slot =
            lab.store().slot("hourly", pool_of(&lab), at(&format!("{}:00Z", hour.replace(' ', "T")))).await.unwrap().unwrap();
        assert_eq!((slot.state, slot.outcome), (SlotState::Claimed, Some(Outcome::Succeeded)), "{hour}: {slot:?}; {due:?}");
    }
    assert_eq!(look::events(&lab.store(), "clock-set-back").await.len(), 1);
    lab.stop().await;
}

/// The same while the service is started anew in between: what it finds in its history is of a time to come.
#[tokio::test]
async fn a_service_that_ran_by_a_clock_that_was_ahead_goes_on_by_the_right_one() {
    let mut lab = Lab::new(2, vec![policy("hourly", "0 * * * *", "*", 3)]).await;
    lab.start().await;
    lab.until("2026-03-01T13:30:00Z").await;
    lab.clock.step_wall_clock(TimeDelta::days(40));
    lab.pass(3600).await;
    lab.stop().await;
    lab.clock.step_wall_clock(TimeDelta::days(-40));
    lab.start().await;
    lab.until("2026-03-01T17:30:00Z").await;
    let newest = lab.store().slot("hourly", pool_of(&lab), at("2026-03-01T17:00:00Z")).await.unwrap().unwrap();
    assert_eq!(newest.outcome, Some(Outcome::Succeeded), "{newest:?}");
    lab.stop().await;
}
