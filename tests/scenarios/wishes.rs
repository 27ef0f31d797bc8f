//! What people want of work that goes on: pauses and cancellations, said at the socket; and what the service tells of itself meanwhile.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use xensnap::domain::schedule::CatchUp;
use xensnap::simulator::faults::{Action, Moment, Plan, Rule};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::storage::timings::Timings;
use xensnap::store::{JobState, Outcome, SlotState};

use super::control::{Peer, code, said};
use super::lab::{Lab, NOON, at, policy};
use super::look;

async fn nightly(vms: usize) -> Lab {
    let mut lab = Lab::new(vms, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    lab.start().await;
    lab
}

/// A pool whose storage takes more than a minute for a snapshot.
async fn slow(vms: usize) -> Lab {
    let recipe = Recipe { hosts: 1, vms, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, at(NOON));
    let mut timings = Timings::default();
    timings.scale = 600.0;
    world.storage.timings = timings;
    let mut lab = Lab::with(NOON, world, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    lab.start().await;
    lab
}

async fn ask(lab: &Lab, ask: Value) -> Vec<Value> {
    Peer::of(lab).await.ask(ask).await
}

async fn status(lab: &Lab) -> Value {
    let mut answer = ask(lab, json!({ "status": {} })).await;
    answer.swap_remove(0)["data"].take()
}

#[tokio::test]
async fn what_is_due_while_all_is_paused_is_skipped_with_the_reason_also_over_a_restart() {
    let mut lab = nightly(2).await;
    let pause = json!({ "pause": { "what": { "all": {} }, "until": "2026-03-03T01:00:00Z", "reason": "the SAN is moved" } });
    let told = ask(&lab, pause).await;
    assert!(said(&told)[0].starts_with("paused (everything) by "), "{told:?}");
    let now = status(&lab).await;
    assert_eq!((&now["paused"][0]["reason"], &now["coming"][0]["paused"]), (&json!("the SAN is moved"), &json!(true)));
    lab.stop().await;
    lab.start().await;
    lab.until("2026-03-02T03:00:00Z").await;
    let slots = look::slots(&lab.store(), "nightly").await;
    assert_eq!((slots.len(), slots[0].state, slots[0].reason.as_str()), (1, SlotState::Skipped, "paused"));
    assert!(slots[0].detail.ends_with("until 2026-03-03 01:00 UTC: the SAN is moved"), "{}", slots[0].detail);
    let run = ask(&lab, json!({ "run": { "policy": "nightly" } })).await;
    assert!(said(&run)[0].contains("paused (everything)") && run.last().unwrap()["end"]["failed"] == true, "{run:?}");
    // It is over by itself.
    lab.until("2026-03-03T03:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 2);
    lab.stop().await;
}

#[tokio::test]
async fn a_pause_of_a_policy_or_a_pool_ends_when_it_is_resumed_and_nothing_is_made_up_for() {
    let mut lab = nightly(1).await;
    for what in [json!({ "policy": "nightly" }), json!({ "pool": "lab" })] {
        assert!(ask(&lab, json!({ "pause": { "what": what } })).await.last().unwrap().get("end").is_some());
    }
    lab.until("2026-03-02T03:00:00Z").await;
    assert_eq!(said(&ask(&lab, json!({ "resume": { "what": { "policy": "nightly" } } })).await).len(), 1);
    lab.until("2026-03-03T03:00:00Z").await;
    assert!(lab.snapshots().is_empty(), "the pool is paused still");
    assert_eq!(said(&ask(&lab, json!({ "resume": { "what": { "all": {} } } })).await).len(), 1);
    assert_eq!(code(&ask(&lab, json!({ "resume": { "what": { "all": {} } } })).await), "not-found");
    lab.until("2026-03-04T03:00:00Z").await;
    let verdicts = look::verdicts(&lab.store(), "nightly").await;
    let states: Vec<SlotState> = verdicts.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [SlotState::Skipped, SlotState::Skipped, SlotState::Claimed]);
    assert_eq!((look::events(&lab.store(), "paused").await.len(), look::events(&lab.store(), "resumed").await.len()), (2, 2));
    lab.stop().await;
}

#[tokio::test]
async fn of_a_paused_vm_or_host_only_the_jobs_are_skipped() {
    let mut lab = nightly(3).await;
    let vm = lab.vms().remove(0);
    assert_eq!(code(&ask(&lab, json!({ "pause": { "what": { "vm": "no such VM" } } })).await), "not-found");
    ask(&lab, json!({ "pause": { "what": { "vm": vm }, "reason": "it is being moved" } })).await;
    lab.until("2026-03-02T03:00:00Z").await;
    let jobs = look::jobs(&lab.store(), "nightly").await;
    let skipped: Vec<_> = jobs.iter().filter(|job| job.state == JobState::Skipped).collect();
    assert_eq!((jobs.len(), skipped.len(), skipped[0].vm_name.as_str()), (3, 1, vm.as_str()));
    assert!(skipped[0].cause.as_ref().unwrap().text.ends_with("until it is resumed: it is being moved"));
    assert_eq!(lab.snapshots().len(), 2);
    lab.stop().await;
}

#[tokio::test]
async fn a_pause_whose_end_is_past_is_refused() {
    let mut lab = nightly(1).await;
    let pause = json!({ "pause": { "what": { "all": {} }, "until": "2026-03-01T11:00:00Z" } });
    assert_eq!(code(&ask(&lab, pause).await), "usage");
    lab.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_stops_what_the_server_works_on_and_what_has_not_begun() {
    let mut lab = slow(4).await;
    lab.until("2026-03-02T02:00:30Z").await;
    let now = status(&lab).await;
    let jobs = &now["running"][0]["jobs"];
    assert_eq!((&jobs["total"], &jobs["taken"]), (&json!(4), &json!(0)), "{now}");
    let mut peer = Peer::of(&lab).await;
    let told = peer.ask_as("alice", json!({ "cancel": { "subject": "1" } })).await;
    assert!(said(&told)[0].contains("are stopped at the server"), "{told:?}");
    lab.pass(1800).await;
    let runs = look::runs(&lab.store(), "nightly").await;
    let jobs = look::jobs(&lab.store(), "nightly").await;
    assert_eq!(runs[0].outcome, Some(Outcome::Cancelled), "{jobs:#?}");
    assert!(jobs.iter().all(|job| job.state == JobState::Cancelled), "{jobs:#?}");
    assert!(jobs[0].cause.as_ref().unwrap().text.starts_with("cancelled by alice as "));
    assert_eq!(look::events(&lab.store(), "cancelled").await.len(), 1 + 4);
    assert_eq!((lab.snapshots().len(), lab.count("task")), (0, 0), "nothing is left");
    assert_eq!(code(&peer.ask(json!({ "cancel": { "subject": "1" } })).await), "not-found");
    lab.stop().await;
}

#[tokio::test]
async fn one_vm_is_cancelled_and_the_others_go_on() {
    let mut lab = slow(6).await;
    lab.until("2026-03-02T02:00:30Z").await;
    let jobs = look::jobs(&lab.store(), "nightly").await;
    let waiting = jobs.iter().find(|job| job.state == JobState::Queued).expect("one waits");
    ask(&lab, json!({ "cancel": { "subject": waiting.vm_name } })).await;
    lab.pass(3600).await;
    let runs = look::runs(&lab.store(), "nightly").await;
    assert_eq!((runs[0].outcome, runs[0].done, runs[0].skipped), (Some(Outcome::Partial), 5, 1));
    assert!(lab.snapshots().iter().all(|found| found.vm != waiting.vm_name));
    lab.stop().await;
}

#[tokio::test]
async fn a_cancellation_is_not_forgotten_over_a_restart() {
    let mut lab = slow(4).await;
    lab.until("2026-03-02T02:00:30Z").await;
    ask(&lab, json!({ "cancel": { "subject": "1" } })).await;
    lab.stop().await;
    lab.start().await;
    lab.pass(3600).await;
    let jobs = look::jobs(&lab.store(), "nightly").await;
    assert!(jobs.iter().any(|job| job.state == JobState::Cancelled), "{jobs:#?}");
    assert!(jobs.iter().all(|job| job.state.is_final()), "{jobs:#?}");
    lab.stop().await;
}

#[tokio::test]
async fn the_status_tells_pools_and_troubles_and_since_when() {
    let mut lab = nightly(2).await;
    let now = status(&lab).await;
    let pool = &now["pools"][0];
    assert_eq!((&pool["name"], &pool["phase"], &pool["vms"]), (&json!("lab"), &json!("connected"), &json!(2)), "{now}");
    assert!(
        pool["clock_ahead_seconds"].as_f64().unwrap().abs() <= 1.0 && pool["release"].is_string() && pool["master"].is_object()
    );
    assert_eq!((&now["coming"][0]["due_at"], &now["troubles"]), (&json!("2026-03-02T02:00:00Z"), &json!([])));
    // A night without a pool.
    lab.stop().await;
    lab.until("2026-03-04T12:00:00Z").await;
    lab.start().await;
    lab.pass(60).await;
    let slots = look::verdicts(&lab.store(), "nightly").await;
    assert!(slots.iter().any(|(_, state)| *state == SlotState::Missed), "{slots:?}");
    assert_eq!(status(&lab).await["troubles"], json!([]), "a later run made up for it: {slots:?}");
    lab.stop().await;
}

#[tokio::test]
async fn a_missed_night_is_told_until_a_later_one_went_well() {
    let mut nightly = policy("nightly", "0 2 * * *", "*", 9);
    nightly.schedule.catch_up = CatchUp::None;
    let mut lab = Lab::new(1, vec![nightly]).await;
    lab.start().await;
    lab.stop().await;
    lab.until("2026-03-03T12:00:00Z").await;
    lab.start().await;
    lab.pass(60).await;
    let now = status(&lab).await;
    let trouble = &now["troubles"][0];
    assert_eq!((&trouble["code"], &trouble["weight"]), (&json!("missed"), &json!("critical")), "{now}");
    assert_eq!((&trouble["since"], &trouble["policy"]), (&json!("2026-03-02T02:00:00Z"), &json!("nightly")));
    assert!(trouble["text"].as_str().unwrap().starts_with("policy nightly: 2 slots missed"), "{now}");
    lab.until("2026-03-04T03:00:00Z").await;
    assert_eq!(status(&lab).await["troubles"], json!([]));
    lab.stop().await;
}

#[tokio::test]
async fn a_clock_that_differs_is_told_and_a_pool_that_is_away_can_be_paused() {
    let mut lab = nightly(1).await;
    lab.simulation.set_faults(Plan::new(0).with(Rule::at(Moment::Since(Duration::ZERO), Action::Skew(TimeDelta::minutes(-5)))));
    lab.pass(10).await;
    let now = status(&lab).await;
    assert_eq!(
        (&now["pools"][0]["clock_ahead_seconds"], &now["troubles"][0]["code"]),
        (&json!(-300.0), &json!("clock")),
        "{now}"
    );
    lab.simulation.kill().await;
    lab.pass(600).await;
    assert!(ask(&lab, json!({ "pause": { "what": { "pool": "lab" } } })).await.last().unwrap().get("end").is_some());
    lab.stop().await;
}

#[tokio::test]
async fn a_pool_that_goes_away_is_told_with_since_when_and_comes_back() {
    let mut lab = nightly(1).await;
    lab.simulation.kill().await;
    lab.pass(600).await;
    let now = status(&lab).await;
    assert_eq!((&now["pools"][0]["phase"], &now["troubles"][0]["code"]), (&json!("unreachable"), &json!("unreachable")), "{now}");
    assert!(now["troubles"][0]["since"].as_str().unwrap() < "2026-03-01T12:10");
    lab.simulation.up().await.unwrap();
    lab.pass(1200).await;
    let now = status(&lab).await;
    assert_eq!((&now["pools"][0]["phase"], &now["troubles"]), (&json!("connected"), &json!([])), "{now}");
    lab.stop().await;
}

#[tokio::test]
async fn coverage_tells_kept_broken_pending_and_unprotected() {
    let mut lab = Lab::new(3, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    let vms = lab.vms();
    lab.policies = vec![policy("nightly", "0 2 * * *", &vms[0], 9), policy("hourly", "0 * * * *", &vms[1], 9)];
    lab.start().await;
    let rpos = |coverage: &Value| -> Vec<(String, String)> {
        let vms = coverage["vms"].as_array().unwrap().iter();
        vms.map(|vm| (vm["name"].as_str().unwrap().to_owned(), vm["rpo"].as_str().unwrap().to_owned())).collect()
    };
    let told = |coverage: Vec<Value>| coverage[0]["data"].clone();
    let expected = |states: [&str; 3]| {
        let mut all: Vec<(String, String)> = vms.iter().cloned().zip(states.map(str::to_owned)).collect();
        all.sort();
        all
    };
    let first = told(ask(&lab, json!({ "coverage": {} })).await);
    assert_eq!(rpos(&first), expected(["pending", "pending", "unprotected"]));
    lab.until("2026-03-02T03:30:00Z").await;
    let second = told(ask(&lab, json!({ "coverage": {} })).await);
    assert_eq!(rpos(&second), expected(["kept", "kept", "unprotected"]));
    // An hour and an hour for the run.
    let hourly = second["vms"].as_array().unwrap().iter().find(|vm| vm["name"] == *vms[1]).unwrap();
    assert_eq!(hourly["policies"][0]["rpo_seconds"], 7200);
    ask(&lab, json!({ "pause": { "what": { "policy": "hourly" } } })).await;
    lab.until("2026-03-02T06:30:00Z").await;
    let third = told(ask(&lab, json!({ "coverage": {} })).await);
    assert_eq!(rpos(&third), expected(["kept", "broken", "unprotected"]));
    lab.stop().await;
}

#[tokio::test]
async fn coverage_of_a_pool_that_is_away_is_told_from_the_inventory_or_after_a_restart_from_the_history() {
    let mut lab = nightly(2).await;
    lab.until("2026-03-02T03:00:00Z").await;
    lab.simulation.kill().await;
    lab.until("2026-03-03T12:00:00Z").await;
    let told =
        |answer: Vec<Value>| answer.iter().find_map(|piece| piece.get("data").cloned()).unwrap_or_else(|| panic!("{answer:?}"));
    let lost = told(ask(&lab, json!({ "coverage": {} })).await);
    let facts = |told: &Value| -> Vec<Value> {
        told["vms"].as_array().unwrap().iter().map(|vm| json!([vm["name"], vm["source"], vm["rpo"], vm["newest"]])).collect()
    };
    assert_eq!((&lost["unreached"], &lost["away"][0]["pool"]), (&json!(["lab"]), &json!("lab")), "{lost}");
    assert!(lost["away"][0]["since"].as_str().unwrap() < "2026-03-02T03:10", "{lost}");
    let as_seen = facts(&lost);
    lab.stop().await;
    lab.start_alone().await;
    lab.pass(600).await;
    let alone = told(ask(&lab, json!({ "coverage": {} })).await);
    let from_history = facts(&alone);
    assert_eq!(from_history.len(), 2, "{alone}");
    for (seen, known) in as_seen.iter().zip(&from_history) {
        // More than a night and a quarter have passed since the only one.
        assert_eq!((&known[1], &known[2]), (&json!("history"), &json!("broken")), "{alone}");
        assert_eq!((&seen[0], &seen[1], &seen[2], &seen[3]), (&known[0], &json!("pool"), &known[2], &known[3]), "{lost} {alone}");
    }
    let away = &alone["away"][0];
    assert_eq!(away["pool"], "lab");
    assert!(away["last_seen"].as_str().unwrap() >= "2026-03-01T12:00", "{away}");
    assert!(away["since"].as_str().unwrap() >= "2026-03-03T12:00", "{away}");
    lab.stop().await;
}
