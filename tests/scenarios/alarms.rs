//! Alarms: what goes wrong is told once when it begins and once when it ends, whether or not anything ran, however much it is, and
//! whatever those do who are to be told.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use xensnap::daemon::{Alarms, Channel, DeadMan, Route};
use xensnap::domain::alarm::Rules;
use xensnap::domain::event::Severity;
use xensnap::domain::policy::Policy;
use xensnap::domain::schedule::Schedule;
use xensnap::domain::span::Exact;
use xensnap::domain::zone::Zone;
use xensnap::outward::{WebRoute, signature};
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::store::{DeliveryState, EventFilter, Page};

use super::control::Peer;
use super::lab::{Lab, at, policy};
use super::receiver::{Answer, Receiver};

fn web(receiver: &Receiver, timeout: u64) -> WebRoute {
    let timeout = Duration::from_secs(timeout);
    WebRoute { url: receiver.address.clone(), secret: Some("hunter2".into()), ca_file: None, timeout }
}

/// Everybody is told at once, through one channel.
fn told(receiver: &Receiver) -> Alarms {
    Alarms {
        look_every: Duration::from_secs(600),
        rules: Rules { least: Severity::Error, remind: None },
        interval: TimeDelta::zero(),
        give_up: TimeDelta::days(3),
        digest: None,
        channels: vec![Channel { name: "chat".into(), route: Route::Web(Box::new(web(receiver, 30))) }],
        pool_messages: None,
        dead_man: None,
    }
}

async fn lab(vms: usize, policies: Vec<Policy>, alarms: Alarms) -> Lab {
    let mut lab = Lab::new(vms, policies).await;
    lab.alarms = Some(Arc::new(alarms));
    lab.start().await;
    lab
}

fn promising(rpo_hours: u64, cron: &str) -> Policy {
    Policy { rpo: Some(Exact::seconds(rpo_hours * 3600)), ..policy("nightly", cron, "*", 9) }
}

fn full() -> Plan {
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]);
    Plan::new(0).with(Rule::on("VM.snapshot", Action::Refuse(full)))
}

/// The kinds of events that the history has, of these.
async fn events(lab: &Lab, kind: &str) -> Vec<String> {
    let filter = EventFilter { kind: Some(kind.into()), ..EventFilter::default() };
    lab.store().events(filter, Page::first(1000)).await.unwrap().rows.into_iter().map(|event| event.text).collect()
}

#[tokio::test]
async fn a_night_that_fails_is_told_once_with_its_vms_and_once_more_when_it_is_good_again() {
    let receiver = Receiver::new(&[]).await;
    let mut lab = lab(2, vec![policy("nightly", "0 2 * * *", "*", 9)], told(&receiver)).await;
    lab.simulation.set_faults(full());
    lab.until("2026-03-02T03:00:00Z").await;
    let first = receiver.has(1).await.remove(0);
    assert_eq!(first.told(), [("raised".to_owned(), "run-failed".to_owned())]);
    let alarm = &first.json()["alarms"][0];
    assert_eq!((&alarm["severity"], &alarm["pool"], &alarm["policy"]), (&json!("error"), &json!("lab"), &json!("nightly")));
    assert_eq!(alarm["vms"].as_array().unwrap().len(), 2);
    assert_eq!(alarm["vms"][0]["code"], "SR_BACKEND_FAILURE_44");
    // It goes on, and a second night fails: that is no news.
    lab.until("2026-03-03T12:00:00Z").await;
    assert_eq!(receiver.seen().len(), 1);
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-03-04T03:00:00Z").await;
    let seen = receiver.has(2).await;
    assert_eq!(seen[1].told(), [("cleared".to_owned(), "run-failed".to_owned())]);
    assert_eq!(seen[1].json()["raised"], 0);
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(receiver.seen().len(), 2);
    lab.stop().await;
}

#[tokio::test]
async fn a_promise_is_broken_by_time_alone_and_kept_again_by_a_snapshot() {
    let receiver = Receiver::new(&[]).await;
    let mut lab = lab(1, vec![promising(26, "0 2 * * *")], told(&receiver)).await;
    lab.until("2026-03-02T03:00:00Z").await;
    assert_eq!(lab.snapshots().len(), 1);
    // A person pauses the policy and forgets it.
    let mut peer = Peer::of(&lab).await;
    peer.ask(json!({ "pause": { "what": { "policy": "nightly" } } })).await;
    lab.until("2026-03-03T03:55:00Z").await;
    assert!(receiver.seen().is_empty());
    lab.until("2026-03-03T05:00:00Z").await;
    let first = receiver.has(1).await.remove(0);
    assert_eq!(first.told(), [("raised".to_owned(), "rpo-broken".to_owned())]);
    assert_eq!(first.json()["alarms"][0]["since"], "2026-03-03T04:00:00Z");
    assert_eq!(events(&lab, "rpo-broken").await.len(), 1);
    peer.ask(json!({ "resume": { "what": { "all": {} } } })).await;
    lab.until("2026-03-04T03:00:00Z").await;
    assert_eq!(receiver.has(2).await[1].told(), [("cleared".to_owned(), "rpo-broken".to_owned())]);
    assert_eq!(events(&lab, "rpo-kept").await.len(), 1);
    lab.stop().await;
}

#[tokio::test]
async fn a_vm_that_never_had_a_snapshot_is_measured_from_when_its_policy_covers_it_also_in_the_next_life() {
    let receiver = Receiver::new(&[]).await;
    let mut lab = lab(1, vec![promising(26, "0 2 1 1 *")], told(&receiver)).await;
    lab.until("2026-03-02T10:00:00Z").await;
    lab.stop().await;
    assert!(receiver.seen().is_empty());
    lab.start().await;
    lab.until("2026-03-02T13:30:00Z").await;
    assert!(receiver.seen().is_empty(), "covered since noon of the day before, less than 26 hours");
    lab.until("2026-03-02T14:30:00Z").await;
    let first = receiver.has(1).await.remove(0);
    assert!(
        first.json()["alarms"][0]["text"].as_str().unwrap().contains("it has had no good snapshot for longer than"),
        "{:?}",
        first.json()
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_storm_is_one_message_of_bounded_length() {
    const VMS: usize = 250;
    let receiver = Receiver::new(&[]).await;
    let mut lab = lab(VMS, vec![promising(2, "0 2 1 1 *")], told(&receiver)).await;
    lab.until("2026-03-01T14:40:00Z").await;
    let seen = receiver.has(1).await;
    assert_eq!(seen.len(), 1);
    let message = seen[0].json();
    assert_eq!((message["alarms"].as_array().unwrap().len(), &message["more"]), (100, &json!(VMS - 100)));
    assert_eq!(message["raised"], VMS);
    assert!(seen[0].body.len() < 128 << 10, "{}", seen[0].body.len());
    assert_eq!(events(&lab, "rpo-broken").await.len(), VMS);
    lab.until("2026-03-01T18:00:00Z").await;
    assert_eq!(receiver.seen().len(), 1);
    lab.stop().await;
}

#[tokio::test]
async fn a_receiver_that_fails_first_gets_the_same_message_again_and_can_check_whose_it_is() {
    let answers = [Answer::Status(500), Answer::Never, Answer::Cut, Answer::Status(302), Answer::Status(200)];
    let receiver = Receiver::new(&answers).await;
    let mut alarms = told(&receiver);
    alarms.channels = vec![Channel { name: "chat".into(), route: Route::Web(Box::new(web(&receiver, 1))) }];
    let mut lab = lab(1, vec![promising(1, "0 2 1 1 *")], alarms).await;
    lab.until("2026-03-01T14:00:00Z").await;
    let seen = receiver.has(5).await;
    let messages: std::collections::BTreeSet<&str> = seen.iter().map(|one| one.header("x-xensnap-message").unwrap()).collect();
    assert_eq!((seen.len(), messages.len()), (5, 1), "it is the same message");
    for request in &seen {
        assert!(request.head.starts_with("POST /alarms/hunter2 HTTP/1.1\r\n"));
        let timestamp: i64 = request.header("x-xensnap-timestamp").unwrap().parse().unwrap();
        assert_eq!(request.header("x-xensnap-signature"), Some(signature("hunter2", timestamp, &request.body).as_str()));
    }
    lab.pass(60).await;
    let delivery = lab.store().deliveries(at("2026-03-01T00:00:00Z"), 10).await.unwrap().remove(0);
    assert_eq!((delivery.state, delivery.attempts, delivery.error), (DeliveryState::Delivered, 5, None));
    let delayed = events(&lab, "alarm-delayed").await;
    assert!(delayed.len() == 1 && delayed[0].contains("HTTP 500") && !delayed[0].contains("hunter2"), "{delayed:?}");
    lab.stop().await;
}

#[tokio::test]
async fn what_could_not_be_delivered_is_delivered_by_the_next_life() {
    let receiver = Receiver::new(&[Answer::Status(503)]).await;
    let mut lab = lab(1, vec![promising(1, "0 2 1 1 *")], told(&receiver)).await;
    lab.until("2026-03-01T13:10:10Z").await;
    let first = receiver.has(1).await;
    lab.clock.settle().await;
    lab.stop().await;
    lab.start().await;
    lab.pass(1200).await;
    let seen = receiver.has(2).await;
    assert_eq!(seen[1].header("x-xensnap-message"), first[0].header("x-xensnap-message"));
    assert_eq!(seen.len(), 2, "and it is not told anew");
    lab.stop().await;
}

#[tokio::test]
async fn what_cannot_be_delivered_is_given_up_after_its_time_and_said_to_be() {
    let receiver = Receiver::new(&[Answer::Status(500); 100]).await;
    let mut alarms = told(&receiver);
    alarms.give_up = TimeDelta::hours(2);
    let mut lab = lab(1, vec![promising(1, "0 2 1 1 *")], alarms).await;
    let mut peer = Peer::of(&lab).await;
    lab.until("2026-03-01T14:00:00Z").await;
    let status = |pieces: Vec<serde_json::Value>| pieces[0]["data"].clone();
    let troubles = status(peer.ask(json!({ "status": {} })).await)["troubles"].clone();
    assert_eq!((&troubles[0]["code"], &troubles[0]["weight"]), (&json!("alarms"), &json!("warning")), "{troubles}");
    lab.until("2026-03-01T16:00:00Z").await;
    assert_eq!(events(&lab, "alarm-undelivered").await.len(), 1);
    let tries = receiver.seen().len();
    assert!((5..=12).contains(&tries), "{tries} tries");
    lab.until("2026-03-01T20:00:00Z").await;
    assert_eq!(receiver.seen().len(), tries);
    let troubles = status(peer.ask(json!({ "status": {} })).await)["troubles"].clone();
    assert_eq!((&troubles[0]["code"], &troubles[0]["weight"]), (&json!("alarms"), &json!("critical")), "{troubles}");
    let report = status(peer.ask(json!({ "alarms": {} })).await);
    assert_eq!((&report["deliveries"][0]["state"], &report["alarms"][0]["code"]), (&json!("given-up"), &json!("rpo-broken")));
    lab.stop().await;
}

#[tokio::test]
async fn one_that_never_answers_holds_up_neither_the_others_nor_a_run() {
    let (deaf, good) = (Receiver::new(&[Answer::Never; 100]).await, Receiver::new(&[]).await);
    let mut alarms = told(&good);
    alarms.channels.insert(0, Channel { name: "deaf".into(), route: Route::Web(Box::new(web(&deaf, 1))) });
    let quick = Policy { rpo: Some(Exact::seconds(3600)), ..policy("promise", "0 2 1 1 *", "*", 1) };
    let mut lab = lab(1, vec![policy("hourly", "0 * * * *", "*", 9), quick], alarms).await;
    lab.until("2026-03-01T13:20:00Z").await;
    deaf.has(1).await;
    assert_eq!(good.has(1).await.len(), 1);
    lab.until("2026-03-01T14:05:00Z").await;
    assert_eq!(lab.snapshots().len(), 2);
    lab.stop().await;
}

#[tokio::test]
async fn what_matters_less_goes_with_the_digest_and_only_when_something_changed() {
    let receiver = Receiver::new(&[]).await;
    let mut alarms = told(&receiver);
    alarms.digest = Some(Schedule::new(vec!["0 7 * * *".parse().unwrap()], Zone::utc()).unwrap());
    // Its schedule promises a snapshot each night.
    let mut lab = lab(1, vec![policy("nightly", "0 2 * * *", "*", 9)], alarms).await;
    Peer::of(&lab).await.ask(json!({ "pause": { "what": { "policy": "nightly" } } })).await;
    lab.until("2026-03-03T06:50:00Z").await;
    assert!(receiver.seen().is_empty());
    lab.until("2026-03-03T07:20:00Z").await;
    let first = receiver.has(1).await.remove(0);
    assert_eq!(
        (first.told(), first.json()["form"].clone()),
        (vec![("raised".to_owned(), "behind-schedule".to_owned())], json!("digest"))
    );
    lab.until("2026-03-05T12:00:00Z").await;
    assert_eq!(receiver.seen().len(), 1, "it is still so, which is no news");
    lab.stop().await;
}

#[tokio::test]
async fn what_goes_on_is_told_again_only_as_often_as_is_wished() {
    let receiver = Receiver::new(&[]).await;
    let mut alarms = told(&receiver);
    alarms.rules.remind = Some(TimeDelta::hours(6));
    let mut lab = lab(1, vec![promising(1, "0 2 1 1 *")], alarms).await;
    lab.until("2026-03-02T01:30:00Z").await;
    let edges: Vec<String> = receiver.has(3).await.iter().map(|request| request.told()[0].0.clone()).collect();
    assert_eq!(edges, ["raised", "reminded", "reminded"]);
    lab.stop().await;
}

#[tokio::test]
async fn messages_are_gathered_so_that_there_is_one_in_the_configured_time() {
    let receiver = Receiver::new(&[]).await;
    let mut alarms = told(&receiver);
    alarms.interval = TimeDelta::hours(3);
    let policies = [1, 2, 3]
        .map(|hours| Policy { rpo: Some(Exact::seconds(hours * 3600)), ..policy(&format!("p{hours}"), "0 2 1 1 *", "*", 9) });
    let mut lab = lab(1, policies.to_vec(), alarms).await;
    lab.until("2026-03-01T15:50:00Z").await;
    assert_eq!(receiver.has(1).await.len(), 1);
    lab.until("2026-03-01T17:00:00Z").await;
    let seen = receiver.has(2).await;
    assert_eq!(seen.iter().map(|request| request.told().len()).collect::<Vec<_>>(), [1, 2]);
    lab.stop().await;
}

#[tokio::test]
async fn the_pool_keeps_alarms_about_its_snapshots_among_its_messages() {
    let receiver = Receiver::new(&[]).await;
    let mut alarms = told(&receiver);
    alarms.channels.clear();
    alarms.pool_messages = Some(Severity::Warning);
    let mut lab = lab(2, vec![policy("nightly", "0 2 * * *", "*", 9)], alarms).await;
    let messages = |lab: &Lab| {
        let all = lab.step(|world| world.messages.iter().cloned().collect::<Vec<_>>());
        all.into_iter().filter(|message| message.name.starts_with("VMSS_")).collect::<Vec<_>>()
    };
    lab.simulation.set_faults(full());
    lab.until("2026-03-02T03:00:00Z").await;
    let written = messages(&lab);
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!((&*written[0].name, written[0].priority, &*written[0].cls), ("VMSS_SNAPSHOT_FAILED", 3, "Pool"));
    let lines: Vec<String> = written[0].body.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.starts_with("VM:") && line.contains(" Error:['SR_BACKEND_FAILURE_44', '")), "{lines:?}");
    lab.simulation.set_faults(Plan::default());
    lab.until("2026-03-03T03:00:00Z").await;
    assert_eq!(
        messages(&lab).iter().map(|message| message.name.to_string()).collect::<Vec<_>>(),
        ["VMSS_SNAPSHOT_FAILED", "VMSS_SNAPSHOT_SUCCEEDED"]
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_monitor_outside_is_told_that_all_is_well_while_due_times_are_looked_after() {
    let receiver = Receiver::new(&[Answer::Status(200), Answer::Status(500), Answer::Status(500), Answer::Status(500)]).await;
    let mut alarms = told(&receiver);
    alarms.channels.clear();
    alarms.dead_man = Some(DeadMan { route: web(&receiver, 30), interval: Duration::from_secs(300) });
    let mut lab = lab(1, vec![policy("nightly", "0 2 * * *", "*", 9)], alarms).await;
    lab.until("2026-03-01T13:00:00Z").await;
    let seen = receiver.has(12).await;
    assert!((12..=14).contains(&seen.len()), "{}", seen.len());
    assert!(seen.iter().all(|request| request.head.starts_with("GET ") && request.body.is_empty()));
    assert_eq!(events(&lab, "monitor-away").await.len(), 1, "told once, at the third failure");
    lab.stop().await;
    let seen = receiver.seen().len();
    lab.clock.advance(Duration::from_secs(3600)).await;
    assert_eq!(receiver.seen().len(), seen, "nobody says that all is well of a service that does not run");
}

#[tokio::test]
async fn channels_are_tried_because_somebody_asks_and_each_is_told_how_it_went() {
    let (good, bad) = (Receiver::new(&[]).await, Receiver::new(&[Answer::Status(403)]).await);
    let mut alarms = told(&good);
    alarms.channels.push(Channel { name: "other".into(), route: Route::Web(Box::new(web(&bad, 30))) });
    alarms.pool_messages = Some(Severity::Warning);
    let mut lab = lab(1, vec![policy("nightly", "0 2 * * *", "*", 9)], alarms).await;
    let mut peer = Peer::of(&lab).await;
    let answer = peer.ask(json!({ "alarms-test": {} })).await;
    let said: Vec<&str> = answer.iter().filter_map(|piece| piece["say"].as_str()).collect();
    assert!(said[0].starts_with("chat: http://127.0.0.1:") && said[0].ends_with("/... took it"), "{said:?}");
    assert!(said[1].starts_with("other: http://127.0.0.1:") && said[1].contains("refuses it (HTTP 403"), "{said:?}");
    assert_eq!(said[2], "pool:lab: the pool lab keeps it among its messages");
    assert_eq!(answer.last().unwrap()["end"]["failed"], true);
    assert_eq!(good.seen()[0].json()["form"], "test");
    let unknown = peer.ask(json!({ "alarms-test": { "channel": "chatt" } })).await;
    assert_eq!(unknown[0]["error"]["text"], "no channel is called chatt; did you mean chat?");
    assert!(lab.store().deliveries(at("2026-01-01T00:00:00Z"), 10).await.unwrap().is_empty());
    lab.stop().await;
}
