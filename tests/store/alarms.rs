//! Alarms and their messages: raised once, told by a message that is on disk before it is sent, tried until it arrives.

use serde_json::json;
use uuid::Uuid;
use xensnap::domain::alarm::{Changes, Condition, Edge};
use xensnap::domain::event::Severity;
use xensnap::store::{AlarmForm, Covering, DeliveryState, Keep, Store, Tried};

use crate::support::*;

fn condition(key: &str) -> Condition {
    Condition {
        key: key.into(),
        code: "missed".into(),
        severity: Severity::Error,
        pool: Some("tokyo".into()),
        policy: Some("nightly".into()),
        vm: Some((Uuid::from_u128(1), "vm".into())),
        run: Some(999),
        text: "wrong".into(),
        since: hour(0),
    }
}

async fn raise(store: &Store, keys: &[&str]) {
    let raise = keys.iter().map(|key| (condition(key), Some(true))).collect();
    store.change_alarms(Changes { raise, ..Changes::default() }, hour(1)).await.unwrap();
}

async fn message(store: &Store, channels: &[&str], n: i64) {
    let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
    store.write_message((AlarmForm::Immediate, Uuid::new_v4(), json!({ "n": n })), channels, hour(n)).await.unwrap();
}

#[tokio::test]
async fn what_is_raised_already_is_not_raised_again_and_what_is_over_may_be() {
    let world = World::new().await;
    raise(&world.store, &["a", "b"]).await;
    raise(&world.store, &["a"]).await;
    let raised = world.store.raised_alarms().await.unwrap();
    assert_eq!(raised.iter().map(|raised| raised.what.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    // A run that history does not have is left out.
    assert_eq!(raised[0].what, Condition { run: None, ..condition("a") });
    let clear = Changes { clear: vec![(raised[0].id, Some(true))], ..Changes::default() };
    world.store.change_alarms(clear.clone(), hour(2)).await.unwrap();
    world.store.change_alarms(clear, hour(3)).await.unwrap();
    raise(&world.store, &["a"]).await;
    let told = world.store.alarms_to_tell(true).await.unwrap();
    let told: Vec<(Edge, &str)> = told.iter().map(|told| (told.edge, told.what.key.as_str())).collect();
    assert_eq!(told, [(Edge::Raised, "a"), (Edge::Raised, "b"), (Edge::Cleared, "a"), (Edge::Raised, "a")]);
}

#[tokio::test]
async fn a_message_takes_what_is_to_be_told_and_waits_for_each_channel_over_restarts() {
    let world = World::new().await;
    raise(&world.store, &["a"]).await;
    message(&world.store, &["admins", "chat"], 2).await;
    message(&world.store, &["admins"], 3).await;
    assert!(world.store.alarms_to_tell(true).await.unwrap().is_empty());
    world.store.close().await.unwrap();
    let store = open(&world.path()).await.store;
    let waiting = store.deliveries_waiting().await.unwrap();
    let told: Vec<_> = waiting.iter().map(|due| (due.delivery.channel.as_str(), due.content["n"].as_i64().unwrap())).collect();
    assert_eq!(told, [("admins", 2), ("chat", 2)], "the oldest of each channel");
    let (admins, chat) = (waiting[0].delivery.id, waiting[1].delivery.id);
    store.delivery_tried(admins, Tried::Failed("no route".into(), hour(5)), hour(4)).await.unwrap();
    store.delivery_tried(chat, Tried::Delivered, hour(4)).await.unwrap();
    store.delivery_tried(chat, Tried::GivenUp("late".into()), hour(5)).await.unwrap();
    let all = store.deliveries(hour(0), 10).await.unwrap();
    let states: Vec<_> = all.iter().map(|one| (one.channel.as_str(), one.state, one.attempts, one.error.as_deref())).collect();
    let expected = [
        ("admins", DeliveryState::Waiting, 0, None),
        ("chat", DeliveryState::Delivered, 1, None),
        ("admins", DeliveryState::Waiting, 1, Some("no route")),
    ];
    assert_eq!(states, expected);
    store.hasten_deliveries(hour(4)).await.unwrap();
    assert_eq!(store.deliveries_waiting().await.unwrap()[0].delivery.next_try_at, hour(4));
}

#[tokio::test]
async fn without_a_channel_nothing_waits() {
    let world = World::new().await;
    raise(&world.store, &["a"]).await;
    message(&world.store, &[], 2).await;
    assert!(world.store.alarms_to_tell(true).await.unwrap().is_empty());
    assert!(world.store.deliveries(hour(0), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_covered_keeps_its_time_under_another_name_and_begins_anew_after_a_gap() {
    let world = World::new().await;
    let covering =
        |name: &str, n| Covering { policy: "nightly".into(), vm: Uuid::from_u128(1), vm_name: name.into(), since: hour(n) };
    world.store.change_coverings(POOL, vec![covering("a", 1)], vec![], hour(1)).await.unwrap();
    world.store.change_coverings(POOL, vec![covering("b", 2)], vec![], hour(2)).await.unwrap();
    assert_eq!(world.store.coverings(POOL).await.unwrap(), [covering("b", 1)]);
    world.store.change_coverings(POOL, vec![], vec![("nightly".into(), Uuid::from_u128(1))], hour(3)).await.unwrap();
    assert!(world.store.coverings(POOL).await.unwrap().is_empty());
    let unknown = Covering { policy: "no such policy".into(), ..covering("a", 4) };
    world.store.change_coverings(POOL, vec![covering("a", 4), unknown], vec![], hour(4)).await.unwrap();
    assert_eq!(world.store.coverings(POOL).await.unwrap(), [covering("a", 4)]);
}

#[tokio::test]
async fn what_is_over_and_was_delivered_is_forgotten_and_what_is_not_stays() {
    let world = World::new().await;
    raise(&world.store, &["a", "b"]).await;
    let over = world.store.raised_alarms().await.unwrap()[0].id;
    world.store.change_alarms(Changes { clear: vec![(over, None)], ..Changes::default() }, hour(1)).await.unwrap();
    message(&world.store, &["admins"], 2).await;
    message(&world.store, &["chat"], 3).await;
    let waiting = world.store.deliveries_waiting().await.unwrap();
    world.store.delivery_tried(waiting[0].delivery.id, Tried::Delivered, hour(4)).await.unwrap();
    let day = chrono::TimeDelta::days(1);
    let keep = Keep { runs: day, snapshots: day, events: day };
    let forgotten = world.store.forget(keep, 100, hour(1000)).await.unwrap();
    assert_eq!(forgotten.alarms, 1);
    assert_eq!(world.store.raised_alarms().await.unwrap().len(), 1);
    let left = world.store.deliveries(hour(0), 10).await.unwrap();
    assert_eq!(left.iter().map(|one| one.channel.as_str()).collect::<Vec<_>>(), ["chat"]);
}
