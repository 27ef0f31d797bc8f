//! Text from servers and guests may be anything. It is stored as it is, clipped, or refused; it never becomes anything else.

use serde_json::json;
use uuid::Uuid;
use xensnap::store::{Cause, Error, EventFilter, EventKind, JobState, NewEvent, NewJob, NewRemoval, Page, PolicySeen, Role};

use crate::support::*;

fn nasty() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "\0",
        "a\0b\0",
        "'; DROP TABLE slots; --",
        "\"quoted\" and 'quoted' and `quoted` and [quoted]",
        "%_%\\",
        "$1 ?1 :name @name",
        "\u{202e}gnp.exe\u{202c}",
        "e\u{301} é 🏳️‍🌈 \u{10ffff} \u{feff}",
        "line\r\nline\u{85}line\u{2028}line\x1b[31mred\x07",
    ]
    .map(str::to_owned)
    .into();
    texts.push("☃".repeat(300));
    texts
}

#[tokio::test]
async fn every_text_comes_back_as_it_went_in() {
    let world = World::new().await;
    for (n, text) in nasty().into_iter().enumerate() {
        let due = hour(n as i64);
        let run = world.run("nightly", due).await;
        let vm = NewJob { vm_name: text.clone(), ..job(n as u128, due) };
        let job = world.store.add_jobs(run.id, vec![vm], due).await.unwrap().remove(0);
        assert_eq!(job.vm_name, text);
        let cause = Cause::new(text.clone(), text.clone());
        world.store.end_job(job.id, JobState::Failed, Some(cause.clone()), due).await.unwrap();
        assert_eq!(world.store.job(job.id).await.unwrap().cause, Some(cause));
        assert!(world.store.find_vms(&text).await.unwrap().iter().any(|vm| vm.uuid == job.vm_uuid), "{text:?}");

        let event = NewEvent { data: json!({ "text": text }), ..NewEvent::new(due, EventKind::Started, text.clone()) };
        world.store.note_event(event).await.unwrap();
        let events = world.store.events(EventFilter::default(), Page::first(1)).await.unwrap().rows;
        assert_eq!((&events[0].text, events[0].data["text"].as_str()), (&text, Some(text.as_str())));

        let mut new = snapshot(Uuid::new_v4(), n as u128, "nightly", due);
        new.name.clone_from(&text);
        new.disks[0].name.clone_from(&text);
        let id = world.store.remember(new, due).await.unwrap();
        let known = world.store.snapshot(id).await.unwrap();
        assert_eq!((&known.name, &known.disks[0].name), (&text, &text));
        world.store.keep(&format!("note-{n}{text}"), &json!(text), due).await.unwrap();
        assert_eq!(world.store.kept(&format!("note-{n}{text}")).await.unwrap(), Some(json!(text)));
    }
    world.store.check().await.unwrap();
}

#[tokio::test]
async fn names_that_identify_are_told_apart_to_the_last_byte() {
    let world = World::new().await;
    let ids: Vec<String> = nasty().into_iter().filter(|id| !id.is_empty()).collect();
    let seen = ids.iter().map(|id| PolicySeen { name: id.clone(), ..policy(id) }).collect();
    world.store.see_policies(seen, hour(0)).await.unwrap();
    let known = world.store.policies().await.unwrap();
    assert!(ids.iter().all(|id| known.iter().any(|policy| policy.id == *id && policy.name == *id)));
    let job = world.job(&ids[0], hour(0), 1).await;
    world.store.write_intent(job.id, "nonce\0one", MASTER_START, hour(0)).await.unwrap();
    assert_eq!(world.store.attempt_by_nonce("nonce").await.unwrap(), None);
    assert!(world.store.attempt_by_nonce("nonce\0one").await.unwrap().is_some());
}

#[tokio::test]
async fn what_people_read_is_clipped_and_says_so() {
    let world = World::new().await;
    let huge = "ü".repeat(5_000_000);
    let job = world.job("nightly", hour(0), 1).await;
    let cause = Cause::new(huge.clone(), huge.clone());
    world.store.end_job(job.id, JobState::Failed, Some(cause), hour(0)).await.unwrap();
    let cause = world.store.job(job.id).await.unwrap().cause.unwrap();
    assert!(cause.code.len() < 1100 && cause.text.len() < 17_000, "{} {}", cause.code.len(), cause.text.len());
    assert!(cause.text.starts_with("üüü") && cause.text.ends_with("more bytes)"));

    let parts = vec![(Role::Disk, Uuid::from_u128(1))];
    let new = NewRemoval { pool: POOL, snapshot: Uuid::from_u128(2), run: None, reason: huge.clone(), parts };
    assert!(world.store.plan_removal(new, hour(0)).await.unwrap().reason.len() < 17_000);
    let long = NewJob { vm_name: huge.clone(), ..crate::support::job(7, hour(1)) };
    let run = world.run("hourly", hour(1)).await;
    let added = world.store.add_jobs(run.id, vec![long], hour(1)).await.unwrap();
    assert!(added[0].vm_name.len() < 1100);
    assert_eq!(world.store.find_vms(&huge).await.unwrap().len(), 1, "and is found by the whole name all the same");
}

#[tokio::test]
async fn what_must_be_whole_is_refused_when_it_is_too_long_and_nothing_is_written() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let huge = "n".repeat(2000);
    let error = world.store.write_intent(job.id, &huge, MASTER_START, hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { length: 2000, .. }), "{error:?}");
    assert_eq!(world.store.job(job.id).await.unwrap().state, JobState::Queued);
    let data = json!("x".repeat(5 << 20));
    let event = NewEvent { data, ..NewEvent::new(hour(0), EventKind::Started, "") };
    assert!(matches!(world.store.note_event(event).await, Err(Error::TooLong { .. })));
    let attempt = world.intent(&job).await;
    let mut new = snapshot(Uuid::from_u128(9), 1, "nightly", hour(0));
    let disk = new.disks[0].clone();
    new.disks = vec![disk; 50_000];
    let error = world.store.snapshot_taken(attempt.id, new, hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert_eq!(world.store.snapshots_by_uuid(Uuid::from_u128(9)).await.unwrap(), []);
}

#[tokio::test]
async fn times_at_the_ends_of_the_calendar_are_kept() {
    let world = World::new().await;
    for time in
        [chrono::DateTime::<chrono::Utc>::MAX_UTC, chrono::DateTime::<chrono::Utc>::MIN_UTC, at("1969-12-31T23:59:59.999999Z")]
    {
        let id = world.store.note_event(NewEvent::new(time, EventKind::Started, "")).await.unwrap();
        let events = world.store.events(EventFilter::default(), Page::first(9)).await.unwrap().rows;
        let kept = events.iter().find(|event| event.id == id).unwrap().at;
        assert_eq!(kept.timestamp_micros(), time.timestamp_micros());
    }
}

#[tokio::test]
async fn a_column_that_something_else_wrote_is_an_error_and_no_default() {
    use sqlx::Connection as _;
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.path());
    let mut other = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE vms SET uuid = 'zzzzzzzz-0000-0000-0000-000000000001'").execute(&mut other).await.unwrap();
    let error = world.store.job(job.id).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { column: "vm_uuid", .. }), "{error:?}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}
