//! Deletion: what a service without guards would have removed, and what becomes of it here. A number that somebody lowered, a clock that
//! was wrong, a policy that was lost, another pool: in each case all is there until it is certain that it is to go.

use std::time::Duration;

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;
use xensnap::clock::Clock as _;
use xensnap::domain::guard::removals::Limits;
use xensnap::domain::mark::KEY;
use xensnap::domain::policy::{Afterwards, Policy};
use xensnap::domain::retention::Rules;
use xensnap::domain::span::Exact;
use xensnap::engine::pins;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Moment, Plan, Rule};
use xensnap::simulator::value::Value as Field;
use xensnap::store::{ApprovalState, Outcome};
use xensnap::xenapi::calls;

use super::control::{Peer, code, said};
use super::foreign::Foreign;
use super::lab::{Lab, at, policy};
use super::look;
use super::person::{self, Person};

const NIGHTLY: &str = "0 2 * * *";

/// Longer than the service goes without looking whether the clocks agree again.
const A_WHILE: u64 = 3 * 3600;

fn nightly(last: u32) -> Policy {
    policy("nightly", NIGHTLY, "*", last)
}

/// The same with bounds so wide that only the other guards are in the way.
fn unbounded(rules: Rules) -> Policy {
    let mut policy = nightly(1);
    policy.retention.rules = rules;
    policy.guards.removals = Limits { per_vm: Some(1000), per_run: Some(1000) };
    policy
}

/// So many VMs, of which a policy has taken a snapshot each night up to that of the thirteenth of March; it is noon.
async fn after_twelve_nights(vms: usize, policy: Policy) -> Lab {
    let mut lab = Lab::new(vms, vec![policy]).await.looking_every(2);
    lab.start().await;
    lab.until("2026-03-13T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 12 * vms);
    lab
}

async fn ask(lab: &Lab, ask: Value) -> Vec<Value> {
    Peer::of(lab).await.ask(ask).await
}

/// Asks for something that takes its time.
async fn work(lab: &Lab, ask: Value) -> Vec<Value> {
    let mut peer = Peer::of(lab).await;
    tokio::join!(peer.ask(ask), lab.pass(300)).0
}

async fn troubles(lab: &Lab) -> Vec<Value> {
    let mut answer = ask(lab, json!({ "status": {} })).await;
    answer.swap_remove(0)["data"]["troubles"].as_array().cloned().unwrap()
}

async fn codes(lab: &Lab) -> Vec<(String, String)> {
    let text = |trouble: &Value, key: &str| trouble[key].as_str().unwrap().to_owned();
    troubles(lab).await.iter().map(|trouble| (text(trouble, "code"), text(trouble, "weight"))).collect()
}

async fn questions(lab: &Lab, about: Value) -> Vec<Value> {
    let mut answer = ask(lab, json!({ "questions": about })).await;
    answer.swap_remove(0)["data"]["questions"].as_array().cloned().unwrap_or_default()
}

/// Agrees to a question as it was shown, and to nothing else.
async fn agree(lab: &Lab, shown: &Value) -> Vec<Value> {
    let (id, run) = (shown["question"].as_i64().unwrap(), shown["run"].as_i64().unwrap());
    work(lab, json!({ "approve": { "run": run, "questions": [id] } })).await
}

async fn last_run(lab: &Lab) -> xensnap::store::Run {
    look::runs(&lab.store(), "nightly").await.pop().unwrap()
}

/// The nights of a VM's snapshots.
fn nights(lab: &Lab, vm: &str) -> usize {
    lab.held().get(vm).map_or(0, Vec::len)
}

// Numbers.

#[tokio::test]
async fn a_number_that_was_lowered_by_mistake_removes_nothing_before_somebody_agrees_to_the_list() {
    let mut lab = after_twelve_nights(2, nightly(12)).await;
    let before = Foreign::all_snapshots(&lab);
    lab.reload(vec![nightly(2)]).await;
    lab.until("2026-03-14T12:00:00Z").await;
    before.assert_untouched(&lab);
    let run = last_run(&lab).await;
    assert_eq!((run.outcome, run.removed, run.approval_needed), (Some(Outcome::Succeeded), 0, true));
    let jobs = lab.store().jobs_of(run.id).await.unwrap();
    let cause = jobs[0].cause.clone().unwrap();
    assert_eq!(cause.code, "approval-needed");
    let why = "11 snapshots of one VM would go, and max_removals_per_vm is 8";
    assert!(cause.text.contains(why) && cause.text.contains(&format!("xensnap prune --approve {}", run.id)), "{}", cause.text);
    assert_eq!(look::events(&lab.store(), "approval-needed").await.len(), 2);
    let wrong = troubles(&lab).await;
    assert_eq!((wrong.len(), wrong[0]["code"].as_str()), (1, Some("approval")), "{wrong:?}");
    assert!(wrong[0]["text"].as_str().unwrap().contains("the removal of 22 snapshots of 2 VMs waits"), "{wrong:?}");
    let told = ask(&lab, json!({ "explain": { "subject": lab.vms()[0] } })).await;
    assert!(said(&told).iter().any(|line| line.contains(why) && line.contains("--approve")), "{told:?}");

    let asked = questions(&lab, json!({ "run": run.id.0 })).await;
    assert_eq!((asked.len(), asked[0]["snapshots"].as_array().unwrap().len()), (2, 11), "{asked:?}");
    let answer = work(&lab, json!({ "approve": { "run": run.id.0 } })).await;
    assert!(said(&answer).iter().all(|line| line.ends_with("11 snapshots of policy nightly removed")), "{answer:?}");
    assert!(lab.vms().iter().all(|vm| lab.held()[vm] == ["03-13 02:00", "03-14 02:00"]), "{:?}", lab.held());
    assert_eq!(code(&work(&lab, json!({ "approve": { "run": run.id.0 } })).await), "not-found", "once");
    assert_eq!(troubles(&lab).await, [] as [Value; 0]);
    let used = lab.store().approvals(ApprovalState::Used).await.unwrap();
    assert!(used.len() == 2 && used.iter().all(|used| used.decided_by.is_some()), "{used:?}");
    assert!(!last_run(&lab).await.approval_needed);
    lab.until("2026-03-15T12:00:00Z").await;
    assert!(lab.vms().iter().all(|vm| lab.held()[vm] == ["03-14 02:00", "03-15 02:00"]), "{:?}", lab.held());
    lab.stop().await;
}

#[tokio::test]
async fn a_vm_with_too_many_stops_alone_and_the_question_goes_when_it_does_not_arise_any_more() {
    let mut lab = after_twelve_nights(2, nightly(20)).await;
    let names = lab.vms();
    // A person has made room for one of them by hand.
    let gone: Vec<_> = lab.snapshots().into_iter().filter(|found| found.vm == names[1]).take(8).collect();
    let person = Person::new(&lab);
    for found in &gone {
        person.does(calls::vm::destroy(&person::vm(&found.reference))).await;
    }
    person.leaves().await;
    lab.reload(vec![nightly(2)]).await;
    lab.until("2026-03-14T12:00:00Z").await;
    assert_eq!((nights(&lab, &names[0]), nights(&lab, &names[1])), (13, 2));
    assert_eq!(questions(&lab, json!({})).await.len(), 1);
    // The mistake is mended.
    lab.reload(vec![nightly(12)]).await;
    lab.until("2026-03-15T12:00:00Z").await;
    assert_eq!((nights(&lab, &names[0]), nights(&lab, &names[1])), (12, 3));
    assert_eq!(questions(&lab, json!({})).await, [] as [Value; 0]);
    assert!(codes(&lab).await.iter().all(|(code, _)| code != "approval"));
    lab.stop().await;
}

#[tokio::test]
async fn a_run_removes_no_more_than_its_bound_and_the_vms_beyond_wait() {
    let mut bounded = nightly(12);
    bounded.guards.removals.per_run = Some(2);
    let mut lab = after_twelve_nights(3, bounded).await;
    lab.until("2026-03-14T12:00:00Z").await;
    let run = last_run(&lab).await;
    assert_eq!((run.removed, run.approval_needed, lab.snapshots().len()), (2, true, 37));
    let asked = questions(&lab, json!({ "policy": "nightly" })).await;
    assert_eq!(asked[0]["why"], "1 snapshots would go beside 2 of other VMs, and max_removals_per_run is 2", "{asked:?}");
    lab.stop().await;
}

#[tokio::test]
async fn an_agreement_covers_what_was_shown_and_every_other_look_is_taken_all_the_same() {
    let mut lab = after_twelve_nights(1, nightly(12)).await;
    let vm = lab.vms().remove(0);
    lab.reload(vec![nightly(2)]).await;
    lab.until("2026-03-14T12:00:00Z").await;
    let first = questions(&lab, json!({})).await.remove(0);
    lab.until("2026-03-15T12:00:00Z").await;
    // The next night asks anew, about one more; what was shown before is not what waits.
    let old = first["question"].as_i64().unwrap();
    let stale = agree(&lab, &first).await;
    assert_eq!(code(&stale), "not-found", "{stale:?}");
    assert!(stale[0]["error"]["text"].as_str().unwrap().contains("a later run asks anew"), "{stale:?}");
    let other = work(&lab, json!({ "approve": { "policy": "nightly", "questions": [old] } })).await;
    assert_eq!((code(&other), nights(&lab, &vm)), ("failed", 14), "{other:?}");
    let second = questions(&lab, json!({})).await.remove(0);
    assert_eq!(second["snapshots"].as_array().unwrap().len(), 12);

    // One of the list is pinned, one has lost its mark, and the policy keeps more by now.
    let rows = look::snapshots(&lab.store(), "nightly").await;
    let site = lab.handle().sites().borrow()[0].clone();
    pins::pin(&mut site.worker(), &site, &rows[0], at("2027-01-01T00:00:00Z"), "an audit").await.unwrap().unwrap();
    let robbed = lab.snapshots()[1].clone();
    let person = Person::new(&lab);
    person.does(calls::vm::remove_from_other_config(&person::vm(&robbed.reference), KEY)).await;
    person.leaves().await;
    lab.reload(vec![nightly(4)]).await;
    let answer = agree(&lab, &second).await;
    assert!(said(&answer)[0].contains("8 snapshots of policy nightly removed, "), "{answer:?}");
    let held = lab.held()[&vm].clone();
    assert_eq!(held, ["03-02 02:00", "03-12 02:00", "03-13 02:00", "03-14 02:00", "03-15 02:00"]);
    assert!(lab.step(|world| world.database.exists("VM", &robbed.reference)), "what carries no mark is nobody's");
    lab.stop().await;
}

/// The policy gives up one more by now, which nobody was shown.
#[tokio::test]
async fn an_agreement_removes_nothing_that_was_not_shown() {
    let mut lab = after_twelve_nights(1, nightly(12)).await;
    let vm = lab.vms().remove(0);
    lab.reload(vec![nightly(2)]).await;
    lab.until("2026-03-14T12:00:00Z").await;
    let question = questions(&lab, json!({})).await.remove(0);
    lab.reload(vec![nightly(1)]).await;
    let answer = agree(&lab, &question).await;
    assert!(said(&answer)[0].contains("11 snapshots of policy nightly removed"), "{answer:?}");
    assert_eq!(lab.held()[&vm], ["03-13 02:00", "03-14 02:00"]);
    lab.stop().await;
}

#[tokio::test]
async fn what_was_agreed_to_is_carried_out_by_the_next_life_and_no_more_than_that() {
    let mut lab = after_twelve_nights(1, nightly(12)).await;
    lab.reload(vec![nightly(2)]).await;
    lab.until("2026-03-14T12:00:00Z").await;
    // The service is killed right after it has written the agreement down.
    let open = lab.store().approvals(ApprovalState::Pending).await.unwrap().remove(0);
    lab.store().decide(open.id, ApprovalState::Granted, "alice", lab.clock.now()).await.unwrap();
    lab.stop().await;
    lab.start().await;
    assert_eq!(lab.snapshots().len(), 13);
    lab.until("2026-03-15T12:00:00Z").await;
    assert_eq!(lab.held().into_values().next().unwrap(), ["03-14 02:00", "03-15 02:00"]);
    let used = lab.store().approvals(ApprovalState::Used).await.unwrap();
    assert_eq!((used.len(), used[0].decided_by.as_deref()), (1, Some("alice")));
    lab.stop().await;
}

#[rstest]
#[case::of_nothing(json!({}), "usage")]
#[case::of_both(json!({ "policy": "nightly", "run": 1 }), "usage")]
#[case::of_an_unknown_run(json!({ "run": 999_999 }), "not-found")]
#[case::of_a_negative_run(json!({ "run": i64::MIN }), "not-found")]
#[case::of_a_run_beyond_numbers(json!({ "run": 1e300 }), "bad-request")]
#[case::of_a_run_as_text(json!({ "run": "1 OR 1=1" }), "bad-request")]
#[case::of_an_unknown_policy(json!({ "policy": "../../etc" }), "not-found")]
#[case::with_a_condition_that_nobody_knows(json!({ "policy": "nightly", "only_vm": "x" }), "bad-request")]
#[case::of_other_questions(json!({ "policy": "nightly", "questions": [i64::MAX, -1, 0] }), "failed")]
#[case::of_questions_as_text(json!({ "policy": "nightly", "questions": ["*"] }), "bad-request")]
#[tokio::test]
async fn a_yes_that_is_not_clear_is_none(#[case] yes: Value, #[case] expected: &str) {
    let mut lab = Lab::new(1, vec![nightly(5)]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-06T12:00:00Z").await;
    let mut strict = nightly(1);
    strict.guards.removals.per_vm = Some(0);
    lab.reload(vec![strict]).await;
    let answer = work(&lab, json!({ "prune": { "policy": "nightly" } })).await;
    assert!(said(&answer)[0].contains("a person has to agree first: xensnap prune nightly --approve"), "{answer:?}");
    let answer = work(&lab, json!({ "approve": yes })).await;
    assert_eq!((code(&answer), lab.snapshots().len()), (expected, 5), "{answer:?}");
    assert_eq!(lab.store().approvals(ApprovalState::Pending).await.unwrap().len(), 1);
    lab.stop().await;
}

// Clocks.

/// The service's clock shows another time; the pool's is right.
fn ours_is_wrong_by(lab: &Lab, by: TimeDelta) {
    lab.clock.step_wall_clock(by);
    skew(lab, -by);
}

fn skew(lab: &Lab, by: TimeDelta) {
    lab.simulation.faults().add(Rule::at(Moment::Since(Duration::ZERO), Action::Skew(by)));
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_a_year_gives_up_no_month_of_snapshots() {
    let within = Rules { within: Some("5d".parse().unwrap()), ..Rules::last(1) };
    let mut lab = Lab::new(1, vec![unbounded(within)]).await.looking_every(2);
    lab.start().await;
    lab.until("2026-03-06T12:00:00Z").await;
    let before = Foreign::all_snapshots(&lab);
    ours_is_wrong_by(&lab, TimeDelta::days(365));
    lab.pass(A_WHILE).await;
    lab.until("2027-03-08T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 5 + 3, "snapshots are taken");
    before.assert_untouched(&lab);
    let told = look::events(&lab.store(), "clock-implausible").await;
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert!(told[0].text.contains("the server's clock is 365d behind ours"), "{}", told[0].text);
    assert_eq!(codes(&lab).await, [("clock".to_owned(), "critical".to_owned())]);
    let answer = work(&lab, json!({ "prune": { "policy": "nightly" } })).await;
    assert!(said(&answer)[0].contains("nothing is removed of pool lab"), "{answer:?}");

    ours_is_wrong_by(&lab, TimeDelta::days(-365));
    lab.until("2026-03-08T15:00:00Z").await;
    let answer = work(&lab, json!({ "prune": { "policy": "nightly" } })).await;
    assert_eq!(said(&answer), ["lab: 0 snapshots of policy nightly removed"]);
    // The night that the clock had passed over is made up for, and by the right time what is older than five days goes.
    let held = lab.held().into_values().next().unwrap();
    for night in ["03-04 02:00", "03-05 02:00", "03-06 02:00", "03-08 02:00"] {
        assert!(held.iter().any(|due| due == night), "{night} is not in {held:?}");
    }
    assert_eq!(look::events(&lab.store(), "clock-agrees").await.len(), 1);
    assert!(codes(&lab).await.iter().all(|(code, _)| code != "clock"));
    lab.stop().await;
}

#[tokio::test]
async fn retention_goes_on_by_itself_once_the_clocks_agree_again() {
    let mut lab = Lab::new(1, vec![unbounded(Rules::last(2))]).await.looking_every(2);
    lab.start().await;
    lab.until("2026-03-03T12:00:00Z").await;
    skew(&lab, TimeDelta::hours(1));
    lab.until("2026-03-06T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 5, "three were to go");
    skew(&lab, TimeDelta::hours(-1));
    lab.until("2026-03-07T12:00:00Z").await;
    assert_eq!(lab.held().into_values().next().unwrap(), ["03-06 02:00", "03-07 02:00"]);
    lab.stop().await;
}

/// Both clocks jump, and the server does not say what time it has: nobody confirms it.
#[tokio::test]
async fn a_jump_that_no_server_confirms_removes_nothing_until_one_does() {
    let mut lab = Lab::new(1, vec![unbounded(Rules::last(2))]).await.looking_every(2);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    let silent = ApiError::new("INTERNAL_ERROR", ["who knows"]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("host.get_servertime", Action::Refuse(silent))));
    lab.clock.step_wall_clock(TimeDelta::days(40));
    lab.until("2026-04-15T12:00:00Z").await;
    let held = lab.snapshots().len();
    assert!(held >= 4, "{:?}", lab.held());
    let wrong = troubles(&lab).await;
    let clock = wrong.iter().find(|trouble| trouble["code"] == "clock").unwrap();
    assert!(clock["text"].as_str().unwrap().contains("may have jumped ahead since, and the server does not say"), "{clock}");
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-04-16T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 2);
    lab.stop().await;
}

/// A machine whose battery died comes up years ago, and is set right a while later.
#[tokio::test]
async fn a_countdown_that_began_by_a_wrong_clock_is_not_over_when_it_is_set_right() {
    let mut going = nightly(9);
    going.retention.on_policy_removed = Afterwards::RemoveAfter(Exact::seconds(30 * 86_400));
    let mut lab = Lab::new(1, vec![going]).await.looking_every(2);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    ours_is_wrong_by(&lab, TimeDelta::days(-2000));
    lab.reload(vec![]).await;
    lab.pass(A_WHILE).await;
    ours_is_wrong_by(&lab, TimeDelta::days(2000));
    lab.until("2026-03-10T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 3);
    lab.until("2026-04-10T12:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 0, "thirty days after it was noticed by a right one");
    lab.stop().await;
}

#[tokio::test]
async fn a_pin_and_the_history_outlast_a_clock_that_jumped_ahead() {
    let mut lab = Lab::new(1, vec![unbounded(Rules::last(1))]).await.looking_every(2);
    lab.keep_history = Some(TimeDelta::days(90));
    lab.start().await;
    lab.until("2026-03-02T12:00:00Z").await;
    let pinned = lab.snapshots().remove(0);
    let row = look::snapshots(&lab.store(), "nightly").await.remove(0);
    let site = lab.handle().sites().borrow()[0].clone();
    pins::pin(&mut site.worker(), &site, &row, at("2026-06-01T00:00:00Z"), "an audit").await.unwrap().unwrap();
    lab.until("2026-03-04T12:00:00Z").await;
    let known = (look::runs(&lab.store(), "nightly").await.len(), look::events(&lab.store(), "pin-over").await.len());
    assert_eq!(known, (3, 0));
    ours_is_wrong_by(&lab, TimeDelta::days(365));
    lab.until("2027-03-04T20:00:00Z").await;
    let blocked = |lab: &Lab| lab.step(|world| world.database.map_text("VM", &pinned.reference, "blocked_operations", "destroy"));
    assert!(blocked(&lab).is_some(), "the server guards it still");
    assert!(look::runs(&lab.store(), "nightly").await.len() >= 3, "nothing is forgotten");
    ours_is_wrong_by(&lab, TimeDelta::days(-365));
    lab.until("2026-03-06T12:00:00Z").await;
    assert!(blocked(&lab).is_some() && lab.step(|world| world.database.exists("VM", &pinned.reference)));
    assert!(look::runs(&lab.store(), "nightly").await.len() >= 3);
    lab.stop().await;
}

// Policies and pools.

fn selecting_nobody() -> Policy {
    policy("nightly", NIGHTLY, "no VM is called so", 2)
}

fn renamed() -> Policy {
    Policy { name: "Every night".to_owned(), ..nightly(2) }
}

fn with_another_id() -> Policy {
    policy("every-night", NIGHTLY, "*", 2)
}

fn disabled() -> Policy {
    Policy { enabled: false, ..nightly(2) }
}

/// Three nights of two snapshots; whatever becomes of the policy, what it has stays, and a pruning by hand changes nothing of that.
#[rstest]
#[case::that_is_in_no_file(vec![])]
#[case::whose_selection_fits_no_vm(vec![selecting_nobody()])]
#[case::that_got_another_id(vec![with_another_id()])]
#[case::that_is_disabled(vec![disabled()])]
#[tokio::test]
async fn a_policy_lets_nothing_go_by_being_lost(#[case] policies: Vec<Policy>) {
    let mut lab = Lab::new(2, vec![nightly(2)]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    let before = lab.snapshots();
    assert_eq!(before.len(), 4);
    let theirs = Foreign::all_snapshots(&lab);
    lab.reload(policies).await;
    lab.until("2026-03-12T12:00:00Z").await;
    work(&lab, json!({ "prune": { "policy": "nightly" } })).await;
    theirs.assert_untouched(&lab);
    lab.stop().await;
    lab.start().await;
    lab.until("2026-03-16T12:00:00Z").await;
    theirs.assert_untouched(&lab);
    lab.stop().await;
}

#[tokio::test]
async fn a_policy_that_was_renamed_goes_on_with_what_it_has() {
    let mut lab = Lab::new(1, vec![nightly(2)]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    lab.reload(vec![renamed()]).await;
    lab.until("2026-03-06T12:00:00Z").await;
    assert_eq!(lab.held().into_values().next().unwrap(), ["03-05 02:00", "03-06 02:00"]);
    lab.stop().await;
}

/// What is asked while the policy is lost is asked by nobody any more, and cannot be agreed to.
#[tokio::test]
async fn a_question_of_a_policy_that_is_in_no_file_any_more_removes_nothing() {
    let mut lab = after_twelve_nights(1, nightly(12)).await;
    lab.reload(vec![nightly(2)]).await;
    lab.until("2026-03-14T12:00:00Z").await;
    let run = last_run(&lab).await.id.0;
    lab.reload(vec![]).await;
    let answer = work(&lab, json!({ "approve": { "run": run } })).await;
    assert!(said(&answer)[0].contains("is in no file any more, so that its snapshots stay"), "{answer:?}");
    assert_eq!((lab.snapshots().len(), codes(&lab).await), (13, vec![]));
    lab.stop().await;
}

/// The pool is another one than before, with the same objects: it was rebuilt, or restored under another identity.
async fn another_pool(lab: &mut Lab) -> Uuid {
    lab.stop().await;
    let uuid = Uuid::from_u128(0xdead_beef);
    lab.step(|world| {
        let pool = world.database.refs("pool").remove(0);
        world.database.set("pool", &pool, "uuid", Field::str(uuid.to_string().as_str())).unwrap();
    });
    uuid
}

#[tokio::test]
async fn of_a_pool_with_another_uuid_nothing_is_removed() {
    let mut lab = Lab::new(1, vec![unbounded(Rules::last(2))]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    let theirs = Foreign::all_snapshots(&lab);
    another_pool(&mut lab).await;
    lab.start().await;
    lab.until("2026-03-09T12:00:00Z").await;
    theirs.assert_untouched(&lab);
    assert_eq!(lab.snapshots().len(), 2 + 2, "what it takes of the new pool is looked after");
    lab.stop().await;
}

#[tokio::test]
async fn a_pool_that_is_not_the_pinned_one_is_not_worked_with() {
    let mut lab = Lab::new(1, vec![unbounded(Rules::last(2))]).await.looking_every(8);
    lab.start().await;
    lab.until("2026-03-04T12:00:00Z").await;
    let (theirs, pinned) = (Foreign::all_snapshots(&lab), lab.handle().sites().borrow()[0].uuid.0);
    another_pool(&mut lab).await;
    lab.pinned = Some(pinned);
    lab.start_alone().await;
    lab.until("2026-03-05T03:00:00Z").await;
    theirs.assert_untouched(&lab);
    assert_eq!(lab.snapshots().len(), 2, "nothing is taken of it either");
    assert!(codes(&lab).await.contains(&("unreachable".to_owned(), "critical".to_owned())));
    lab.stop().await;
}
